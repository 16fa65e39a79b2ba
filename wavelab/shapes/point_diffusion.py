r"""A baseline that diffuses points: each point of a cloud is denoised on its own, given a code of the whole shape.

The code has a learned law: a normalising flow turns a Gaussian into it.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavelab.diffusion import Chain
from wavelab.diffusion.times import normal
from wavelab.networks.base import Network, seeded

PROCESS = Chain(torch.linspace(1e-4, 0.05, 200, dtype=torch.float64))


class PointDiffusion(Network):
    r"""Encoder, flow and denoiser of point clouds.

    .. math:: \mathcal L=\mathbb E\|\epsilon_\theta(x_t,t,z)-\epsilon\|^2+\beta\,\mathrm{KL}\big(q(z|X)\,\|\,p(z)\big)

    with a Gaussian :math:`q` from a point-wise network with a maximum over points, and :math:`p` the image of a
    standard Gaussian under affine couplings.

    Args:
        latent: length of the code.
        width: units of the encoder and of the denoiser.
        couplings: layers of the flow.
        weight: :math:`\beta`.
        seed: what the initial weights are drawn from.

    Source:
        Luo & Hu (2021), Diffusion probabilistic models for 3D point cloud generation.
    """

    def __init__(
        self, latent: int = 128, width: int = 128, couplings: int = 8, weight: float = 1e-3, seed: int = 0
    ) -> None:
        """Build the three networks."""
        super().__init__(self.chosen(locals()))
        self.latent, self.weight = latent, weight
        with seeded(seed):
            self.points = _stack(3, width, 2 * width)
            self.head = _stack(2 * width, width, 2 * latent)
            self.flow = nn.ModuleList([_stack(latent // 2, width, latent) for _ in range(couplings)])
            self.layers = nn.ModuleList([_Gated(a, b, latent + 3) for a, b in _sizes(width)])
        for layer in self.flow:
            nn.init.zeros_(layer[-1].weight)
            nn.init.zeros_(layer[-1].bias)

    def encode(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the standard deviation of the code of clouds ``(batch, n, 3)``."""
        mean, log_std = self.head(self.points(clouds).amax(1)).chunk(2, -1)
        return mean, log_std.clamp(-6, 2)

    def denoise(self, x: Tensor, t: Tensor, code: Tensor) -> Tensor:
        """Return the noise of points ``(batch, n, 3)`` at times ``(batch,)``."""
        beta = PROCESS.betas.to(x)[t.long() - 1][:, None]
        given = torch.cat([code, beta, beta.sin(), beta.cos()], 1)[:, None]
        h = x
        for k, layer in enumerate(self.layers):
            h = layer(h, given)
            if k + 1 < len(self.layers):
                h = F.leaky_relu(h, 0.02)
        return x + h

    def to_gaussian(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the flow makes of a code, and the logarithm of the volume it gains."""
        volume = code.new_zeros(len(code))
        for layer in self.flow:
            kept, moved = code.chunk(2, -1)
            shift, log_scale = layer(kept).chunk(2, -1)
            log_scale = torch.tanh(log_scale)
            code = torch.cat([moved * log_scale.exp() + shift, kept], -1)
            volume = volume + log_scale.sum(-1)
        return code, volume

    def from_gaussian(self, w: Tensor) -> Tensor:
        """Return the code of which :meth:`to_gaussian` makes ``w``."""
        for layer in reversed(self.flow):
            moved, kept = w.chunk(2, -1)
            shift, log_scale = layer(kept).chunk(2, -1)
            w = torch.cat([kept, (moved - shift) * (-torch.tanh(log_scale)).exp()], -1)
        return w

    def loss(self, clouds: Tensor, rng: torch.Generator, points: int = 512) -> Tensor:
        """Return the loss of clouds ``(batch, n, 3)``, scaled to unit variance.

        The code is one of the whole cloud. Given it, points are independent, so some of them are enough for the rest.
        """
        mean, log_std = self.encode(clouds)
        code = mean + log_std.exp() * normal(mean, rng)
        clouds = clouds[:, torch.randperm(clouds.shape[1], generator=rng, device=rng.device)[:points].to(clouds.device)]
        t = torch.randint(1, PROCESS.T + 1, (len(clouds),), generator=rng, device=rng.device).to(clouds.device)
        x_t, eps = PROCESS.noise(clouds, t.double(), rng)
        error = (self.denoise(x_t, t, code) - eps).square().mean()
        w, volume = self.to_gaussian(code)
        log_prior = volume - (w.square() + math.log(2 * math.pi)).sum(-1) / 2
        entropy = (log_std + (1 + math.log(2 * math.pi)) / 2).sum(-1)
        return error + self.weight * (-log_prior - entropy).mean()

    @torch.no_grad()
    def sample(self, count: int, points: int, rng: torch.Generator, batch: int = 16) -> Tensor:
        """Draw scaled clouds ``(count, points, 3)`` by ancestral sampling, all steps."""
        device = next(self.parameters()).device
        codes = self.from_gaussian(normal(torch.empty(count, self.latent, device=device), rng))
        return torch.cat([self._walk(code, points, rng) for code in codes.split(batch)])

    def _walk(self, code: Tensor, points: int, rng: torch.Generator) -> Tensor:
        x = normal(code.new_empty(len(code), points, 3), rng)
        betas = PROCESS.betas.to(code)
        kept = (1 - betas).cumprod(0)
        for k in range(PROCESS.T, 0, -1):
            eps = self.denoise(x, torch.full((len(x),), k, device=x.device), code)
            x = (x - betas[k - 1] / (1 - kept[k - 1]).sqrt() * eps) / (1 - betas[k - 1]).sqrt()
            if k > 1:
                x = x + (betas[k - 1] * (1 - kept[k - 2]) / (1 - kept[k - 1])).sqrt() * normal(x, rng)
        return x


class _Gated(nn.Module):
    """A linear layer of points whose output is scaled and shifted by what is given for the whole cloud."""

    def __init__(self, a: int, b: int, given: int) -> None:
        super().__init__()
        self.linear, self.gate, self.shift = nn.Linear(a, b), nn.Linear(given, b), nn.Linear(given, b, bias=False)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        return self.linear(x) * torch.sigmoid(self.gate(given)) + self.shift(given)


def _sizes(width: int) -> list[tuple[int, int]]:
    sizes = [3, width, 2 * width, 4 * width, 2 * width, width, 3]
    return list(itertools.pairwise(sizes))


def _stack(a: int, hidden: int, b: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(a, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, b))
