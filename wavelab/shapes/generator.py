r"""The generator of coarse volumes: denoising diffusion, 1000 steps of noise, about a tenth of them when sampling.

Volumes are measured from the value of empty space, so that empty space is 0, and divided by their root mean square.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavelab import diffusion, networks
from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes.coefficients import Pyramid

PROCESS = diffusion.Chain.linear(1000)
SAMPLERS = ("ancestral", "ddim")


@dataclass(frozen=True)
class Scaling:
    r"""Maps coefficients to numbers a network likes: :math:`(x-\text{empty})/\text{rms}`.

    Attributes:
        empty: value of empty space.
        rms: root mean square of what is left.
    """

    empty: float
    rms: float

    @classmethod
    def of_coarse(cls, coarse: Tensor, pyramid: Pyramid, reach: float) -> Scaling:
        """Measure the scaling of coarse volumes ``(batch, 1, n, n, n)``; empty space has ``reach`` times the gain."""
        empty = reach * pyramid.gain
        return cls(empty, _rms(coarse - empty))

    @classmethod
    def of_detail(cls, detail: Tensor) -> Scaling:
        """Measure the scaling of details, which are 0 in empty space."""
        return cls(0.0, _rms(detail))

    def apply(self, x: Tensor) -> Tensor:
        """Scale coefficients."""
        return (x - self.empty) / self.rms

    def undo(self, x: Tensor) -> Tensor:
        """Return scaled coefficients to their units."""
        return x * self.rms + self.empty


def network(width: int = 32, mults: Sequence[int] = (1, 2, 4), blocks: int = 1, seed: int = 0) -> networks.UNet:
    """Return a fresh 3-D U-Net with attention at its coarsest level.

    The generator of the paper has ``width=64, mults=(1, 2, 2, 2), blocks=3``.
    """
    last = len(mults) - 1
    return networks.UNet(
        1, 1, width=width, mults=mults, blocks=blocks, dims=3, attention=(last,), padding="zeros", seed=seed
    )


def loss(model: nn.Module, batch: Tensor, generator: torch.Generator) -> Tensor:
    """Return the noise-prediction loss of scaled volumes, times drawn evenly.

    Volumes are not mirrored: the course's shapes have mirror symmetry, and where a filter sits on a sample, as those of
    bior6.8 do, the mirror image of coefficients is not the coefficients of the mirror image.

    Source:
        Ho, Jain & Abbeel (2020), equation 14.
    """
    return diffusion.denoising_loss(model, PROCESS, batch, generator, schedule="uniform")


@torch.no_grad()
def sample(
    model: nn.Module,
    scaling: Scaling,
    count: int,
    size: int,
    generator: torch.Generator,
    *,
    steps: int = 100,
    sampler: str = "ancestral",
    start: Tensor | None = None,
    batch: int = 16,
    callback: Callable[[int, float, Tensor], None] | None = None,
    progress: bool = False,
) -> Tensor:
    """Generate coarse volumes.

    Args:
        model: predicts the noise of scaled volumes.
        scaling: of the training volumes.
        count: how many.
        size: points a side.
        generator: source of the noise.
        steps: of the 1000, at equal distances; the paper takes 100.
        sampler: ``"ancestral"`` as in the paper's code, or ``"ddim"``, which is deterministic given the start.
        start: noise to start from, ``(count, 1, size, size, size)``, for interpolation.
        batch: volumes at once.
        callback: called as ``callback(step, t, x)`` with the scaled volumes of each batch.
        progress: whether to draw a bar for each batch.

    Returns:
        Coarse volumes in their own units, ``(count, 1, size, size, size)``.

    Raises:
        UnknownName: there is no such sampler.
        InvalidInput: a start of another shape, or a number of steps that is not between 1 and 1000.
    """
    if sampler not in SAMPLERS:
        raise UnknownName.among("sampler", sampler, SAMPLERS)
    times = _times(steps)
    shape, device = (count, 1, size, size, size), next(model.parameters()).device
    if start is None:
        start = PROCESS.prior(shape, generator, device)
    elif tuple(start.shape) != shape:
        raise InvalidInput(f"start has the shape {tuple(start.shape)}, expected {shape}.")
    walk = getattr(diffusion, sampler)
    score, options = diffusion.score_function(model, PROCESS), {"callback": callback, "progress": progress}
    done = [walk(score, PROCESS, times, part, generator=generator, **options) for part in start.to(device).split(batch)]
    return scaling.undo(torch.cat(done))


@torch.no_grad()
def invert(model: nn.Module, scaling: Scaling, coarse: Tensor, *, steps: int = 100, batch: int = 16) -> Tensor:
    """Return the noise from which ``sample(..., sampler="ddim", start=noise)`` makes given coarse volumes, nearly.

    The probability flow is walked from data to noise by Heun's rule; with more steps the way back comes closer.

    Args:
        model: predicts the noise of scaled volumes.
        scaling: of the training volumes.
        coarse: volumes in their own units, ``(count, 1, n, n, n)``.
        steps: of the 1000, at equal distances.
        batch: volumes at once.

    Returns:
        ``(count, 1, n, n, n)``.

    Raises:
        InvalidInput: a number of steps that is not between 1 and 1000.
    """
    score, times = diffusion.score_function(model, PROCESS), _times(steps)
    parts = scaling.apply(coarse).to(next(model.parameters()).device).split(batch)
    return torch.cat([diffusion.probability_flow(score, PROCESS, times, part, reverse=True) for part in parts])


def interpolate(a: Tensor, b: Tensor, count: int) -> Tensor:
    r"""Return noise on the great circle from one start to another, for :func:`sample` with ``"ddim"``.

    .. math:: x(u)=\frac{\sin((1-u)\theta)}{\sin\theta}a+\frac{\sin(u\theta)}{\sin\theta}b

    Args:
        a: noise ``(1, n, n, n)``.
        b: the same.
        count: how many points, both ends counted.

    Returns:
        ``(count, 1, n, n, n)``.
    """
    cosine = float((a * b).sum() / (a.norm() * b.norm()))
    theta = torch.acos(torch.tensor(cosine).clamp(-1, 1))
    u = torch.linspace(0, 1, count).to(a)[:, None, None, None, None]
    return (torch.sin((1 - u) * theta) * a + torch.sin(u * theta) * b) / torch.sin(theta)


def _times(steps: int) -> Tensor:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= PROCESS.T:
        raise InvalidInput(f"steps is {steps!r}; give a whole number from 1 to {PROCESS.T}.")
    return torch.linspace(0, PROCESS.T, steps + 1, dtype=torch.float64).round()


def _rms(x: Tensor) -> float:
    value = float(x.double().square().mean().sqrt())
    if not value > 0:
        raise InvalidInput("The volumes are empty: they hold no shape to learn from.")
    return value
