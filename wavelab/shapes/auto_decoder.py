"""A baseline in place of the diffusion generator: a variational auto-decoder of coarse volumes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wavelab.diffusion.times import normal
from wavelab.networks.base import Network, seeded
from wavelab.shapes.gans import halvings


class AutoDecoder(Network):
    r"""A table of Gaussian codes, one a training shape, and a decoder to coarse volumes.

    .. math:: \mathcal L=\mathbb E\|D(\mu_i+\sigma_i z)-x_i\|^2
              +\frac{\beta}{2}\sum_k\big(\mu_{ik}^2+\sigma_{ik}^2-1-\log\sigma_{ik}^2\big)

    There is no encoder. A new shape is the decoder's value at a code drawn from the standard Gaussian.

    Args:
        shapes: number of training shapes.
        size: points a side of the volumes, a power of two of at least 8.
        latent: length of the code.
        width: channels at the finest level.
        weight: :math:`\beta`, in units of the mean squared error.
        seed: what the initial weights are drawn from.

    Source:
        Zadeh et al. (2019), Variational auto-decoder.
    """

    def __init__(
        self, shapes: int, size: int = 16, latent: int = 64, width: int = 64, weight: float = 1e-3, seed: int = 0
    ) -> None:
        """Build table and decoder."""
        super().__init__(self.chosen(locals()))
        widths = [width * 2**k for k in range(halvings(size))][::-1]
        with seeded(seed):
            self.means = nn.Embedding(shapes, latent)
            self.log_stds = nn.Embedding(shapes, latent)
            nn.init.normal_(self.means.weight, std=0.1)
            nn.init.constant_(self.log_stds.weight, -1.0)
            self.decoder = nn.Sequential(
                nn.Linear(latent, widths[0] * 4**3),
                nn.Unflatten(1, (widths[0], 4, 4, 4)),
                *(layer for a, b in zip(widths, [*widths[1:], widths[-1]]) for layer in _grow(a, b)),
                nn.SiLU(),
                nn.Conv3d(widths[-1], 1, 3, padding=1),
            )

    def loss(self, batch: tuple[Tensor, Tensor], rng: torch.Generator) -> Tensor:
        """Return the loss of a batch ``(volumes, numbers of the shapes)``."""
        x, number = batch
        mean, log_std = self.means(number), self.log_stds(number)
        found = self.decoder(mean + log_std.exp() * normal(mean, rng))
        divergence = (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).sum(1) / 2
        return (found - x).square().mean() + self.config["weight"] * divergence.mean()

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw scaled volumes ``(count, 1, size, size, size)``."""
        z = normal(next(self.parameters()).new_empty(count, self.config["latent"]), rng)
        return torch.cat([self.decoder(part) for part in z.split(16)])


def _grow(a: int, b: int) -> list[nn.Module]:
    return [nn.SiLU(), nn.ConvTranspose3d(a, b, 4, 2, 1), nn.GroupNorm(min(8, b), b)]
