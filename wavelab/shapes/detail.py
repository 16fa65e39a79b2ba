r"""The detail predictor: a U-Net that guesses the detail volume from the coarse one, by regression.

The detail of a smooth surface is nearly a function of the coarse volume, so no diffusion is needed for it. In training
the coarse volumes are given some noise, and the network is told how much, so that it also copes with volumes that a
generator made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavelab import networks
from wavelab.diffusion.times import normal
from wavelab.errors import InvalidInput
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.generator import Scaling

UPSAMPLING = ("wavelet", "nearest")


@dataclass(frozen=True)
class DetailPredictor:
    """A network with what it takes to turn coarse volumes into details.

    Args:
        pyramid: the transform.
        coarse: scaling of the coarse volumes.
        detail: scaling of the details.
        upsampling: how a coarse volume comes to the size of the detail: ``"wavelet"``, by the synthesis filter, or
            ``"nearest"``, as in the paper's code.
        noise: largest standard deviation of the noise in training, in units of the scaled coarse volumes.

    Raises:
        InvalidInput: another way of upsampling, or a negative noise.
    """

    pyramid: Pyramid
    coarse: Scaling
    detail: Scaling
    upsampling: str = "wavelet"
    noise: float = 0.2

    def __post_init__(self):
        """Check the arguments."""
        if self.upsampling not in UPSAMPLING:
            raise InvalidInput(f"upsampling is {self.upsampling!r}; give one of {', '.join(UPSAMPLING)}.")
        if not self.noise >= 0:
            raise InvalidInput(f"noise is {self.noise!r}; give a number of at least 0.")

    def loss(self) -> Callable[[nn.Module, tuple[Tensor, Tensor], torch.Generator], Tensor]:
        r"""Return the loss of a batch ``(coarse, detail)``: the mean squared error of the scaled detail.

        .. math:: \mathbb E\,\|f_\theta(\uparrow(C+\sigma z),\sigma)-D\|^2/d,\qquad\sigma\sim U(0,\texttt{noise})
        """

        def loss(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
            coarse, wanted = self.coarse.apply(batch[0]), self.detail.apply(batch[1])
            sigma = self.noise * torch.rand(len(coarse), generator=generator, device=generator.device).to(coarse)
            noisy = coarse + sigma[:, None, None, None, None] * normal(coarse, generator)
            return (model(self._upsampled(noisy), _log(sigma)) - wanted).square().mean()

        return loss

    @torch.no_grad()
    def predict(self, model: nn.Module, coarse: Tensor, sigma: float = 0.0, batch: int = 16) -> Tensor:
        """Return the details of coarse volumes ``(batch, 1, n, n, n)``, both in their own units.

        Args:
            model: the trained network.
            coarse: the volumes.
            sigma: how noisy they are taken to be, in units of the scaled volumes.
            batch: volumes at once.
        """
        done, device = [], next(model.parameters()).device
        for part in self.coarse.apply(coarse).to(device).split(batch):
            level = torch.full((len(part),), float(sigma)).to(part)
            done.append(model(self._upsampled(part), _log(level)))
        return self.detail.undo(torch.cat(done))

    def _upsampled(self, x: Tensor) -> Tensor:
        if self.upsampling == "wavelet":
            return self.pyramid.upsample(x)
        size = self.pyramid.sizes[-2]
        return torch.nn.functional.interpolate(x, size=(size,) * 3, mode="nearest")


def network(width: int = 12, mults: Sequence[int] = (1, 2, 4), seed: int = 0) -> networks.UNet:
    """Return a fresh 3-D U-Net from upsampled coarse volumes to details."""
    return networks.UNet(1, 1, width=width, mults=mults, dims=3, padding="zeros", seed=seed)


def _log(sigma: Tensor) -> Tensor:
    return (sigma + 1e-3).log()
