r"""Many eigenvalues as few: integrate smooth functions of :math:`\log\lambda` against a cascade's directions.

The divergence of a cascade is a sum :math:`\sum_i f(\lambda_i) + m_i^2\,g(\lambda_i)` over all its directions, where
``f`` and ``g`` change with the time grid and the directions do not. Both are analytic in :math:`\log\lambda`, so that
their interpolation at Chebyshev points converges geometrically. Summing the interpolation polynomials over the
directions, once, leaves weights on a few hundred nodes: the sum at any time grid costs one recursion on the nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wavelab.wsgm.blocks import levels_of
from wavelab.wsgm.fields import check_eigenvalues
from wavelab.wsgm.kernel import gaussian_kl, kernel


@dataclass(frozen=True)
class Measure:
    r"""Directions of a Gaussian sampler: variances, how often each occurs, and the squared means they carry.

    Attributes:
        lam: variances :math:`\lambda_i`, shape ``(nodes,)``.
        count: how many directions have this variance, shape ``(nodes,)``; need be neither whole nor positive.
        squared_mean: sum of their :math:`m_i^2`, shape ``(nodes,)``.
    """

    lam: np.ndarray
    count: np.ndarray
    squared_mean: np.ndarray

    def kl(self, times: ArrayLike, sampler: str = "euler-maruyama") -> float:
        r"""Return the divergence per direction, :math:`\mathrm{KL}/d`, of a sampler on a time grid."""
        h, rho = kernel(self.lam, times, sampler)
        total = self.count @ gaussian_kl(self.lam, h) + self.squared_mean @ ((rho - 1) ** 2 / (2 * h))
        return float(total / self.count.sum())

    def compressed(self) -> Measure:
        """Return weights on Chebyshev points of the logarithm that integrate smooth functions alike."""
        low, high = np.log(self.lam.min()), np.log(self.lam.max())
        middle, half = (low + high) / 2, max((high - low) / 2, 0.1)
        nodes = 40 + int(24 * half)
        if nodes >= len(self.lam):
            return self
        angle = np.pi * (np.arange(nodes) + 0.5) / nodes
        moments = _chebyshev_moments((np.log(self.lam) - middle) / half, [self.count, self.squared_mean], nodes)
        moments[:, 1:] *= 2
        count, squared_mean = moments @ np.cos(np.outer(np.arange(nodes), angle)) / nodes
        return Measure(np.exp(middle + half * np.cos(angle)), count, squared_mean)


def directions(
    spectrum: ArrayLike, wavelet: str | None = None, levels: int | None = None, whitening: str = "joint"
) -> Measure:
    """Collect the directions in which a score-based model, or a wavelet cascade of them, works.

    Args:
        spectrum: without a wavelet, eigenvalues of any covariance, any shape; with one, shape ``(L,)*n``.
        wavelet: an orthogonal wavelet, or None for one model of the whole field.
        levels: number of scales, see :func:`wavelab.wsgm.blocks.levels_of`.
        whitening: ``"joint"`` or ``"per-channel"``.

    Returns:
        One entry a distinct variance. In a cascade the coarsest field is scaled to variance 1.
    """
    if wavelet is None:
        lam, count = np.unique(check_eigenvalues(spectrum), return_counts=True)
        return Measure(lam, count.astype(float), np.zeros(len(lam)))
    found = levels_of(spectrum, wavelet, levels, whitening)
    coarse = found[-1].spectrum / found[-1].spectrum.mean()
    lam = np.concatenate([coarse.ravel(), *(level.values.ravel() for level in found)])
    means = np.concatenate([np.zeros(coarse.size), *(level.squared_means.ravel() for level in found)])
    return Measure(lam, np.ones(len(lam)), means)


def _chebyshev_moments(x: np.ndarray, weights: list[np.ndarray], count: int) -> np.ndarray:
    """Sums of ``weights * T_k(x)`` for ``k < count``, by the recurrence ``T_{k+1} = 2 x T_k - T_{k-1}``."""
    weights, moments = np.stack(weights), np.empty((len(weights), count))
    before, now = x, np.ones_like(x)  # T_{-1} = T_1 = x
    for k in range(count):
        moments[:, k] = weights @ now
        before, now = now, 2 * x * now - before
    return moments
