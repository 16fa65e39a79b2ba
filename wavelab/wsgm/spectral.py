"""Stationary linear algebra on the half plane of ``rfft2``: one small matrix a frequency couples the channels.

Matrices are ``(freqs, rows, columns)`` with ``freqs = M (M/2 + 1)``, complex.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from wavelab.diffusion import Process


def transform(y: Tensor, h: Tensor | None = None) -> Tensor:
    """Return orthonormal Fourier coefficients of y, then those of h: ``(batch, channels, M, M / 2 + 1)``."""
    return torch.fft.rfft2(y if h is None else torch.cat([y, h], 1), norm="ortho")


def inverse(z: Tensor, space: torch.Size) -> Tensor:
    """Invert :func:`transform`."""
    return torch.fft.irfft2(z, s=space, norm="ortho")


def multiply(W: Tensor, z: Tensor) -> Tensor:
    """Multiply what :func:`transform` returns by the matrices ``W``."""
    W = W.unflatten(0, z.shape[-2:]).permute(2, 3, 0, 1)
    return sum(W[:, k] * z[:, k : k + 1] for k in range(z.shape[1]))


def fourier(y: Tensor, h: Tensor | None = None) -> Tensor:
    """Return what :func:`transform` does as ``(freqs, batch, channels)``, for products over the batch."""
    return transform(y, h).flatten(2).permute(2, 0, 1)


def covariance(z: Tensor) -> Tensor:
    """Return the mean of z z* at every frequency."""
    return cross_covariance(z, z)


def cross_covariance(g: Tensor, z: Tensor) -> Tensor:
    """Return the mean of g z* at every frequency; g may have leading axes."""
    return g.mT @ z.conj() / z.shape[1]


def multiplicity(space: torch.Size) -> Tensor:
    """Return how many frequencies of the whole plane each one of the half plane stands for: 2, or 1 on its borders."""
    columns = torch.full((space[1] // 2 + 1,), 2.0)
    columns[0] = 1.0
    if space[1] % 2 == 0:
        columns[-1] = 1.0
    return columns.expand(space[0], -1).reshape(-1)


def noisy_precision(spectrum: Tensor, c: int, process: Process, t: float) -> Tensor:
    r"""Return the first ``c`` rows of the inverse covariance of :math:`(\alpha_t y + \sigma_t z, h)`.

    Minus their product with (y, h) is the score of the Gaussian law: :math:`-\bar\Sigma_t^{-1}(y - A_th)`.
    """
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    first = (torch.arange(spectrum.shape[-1], device=spectrum.device) < c).float()
    scale = 1 + (alpha - 1) * first
    return torch.linalg.inv(scale[:, None] * spectrum * scale + torch.diag(sigma**2 * first))[:, :c]


def estimator(spectrum: Tensor, c: int, process: Process, t: float) -> Tensor:
    r"""Return the matrices of the best linear estimate of clean y from :math:`(\alpha_t y + \sigma_t z, h)`.

    Tweedie's formula with the Gaussian score :math:`s`: :math:`\hat y = (y_t + \sigma_t^2 s)/\alpha_t`.
    """
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    first = torch.eye(spectrum.shape[-1], device=spectrum.device)[:c]
    return (first - sigma**2 * noisy_precision(spectrum, c, process, t)) / alpha


def row_energy(field: Callable, y: Tensor, h: Tensor | None) -> Tensor:
    """Return the sum of squares of each row of the Jacobian of an affine ``field`` in y: ``(1, *sites)``."""
    units = torch.eye(y[0].numel(), device=y.device).reshape(-1, *y.shape[1:])
    zero = None if h is None else torch.zeros(len(units), *h.shape[1:], device=h.device)
    base = field(torch.zeros_like(units[:1]), None if zero is None else zero[:1])
    return (field(units, zero) - base).square().sum(0).detach()
