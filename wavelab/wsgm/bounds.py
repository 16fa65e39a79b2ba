r"""The error terms of Theorems 1 and 2 of Guth et al. (2022), as printed and as they come out.

``lam`` are the eigenvalues :math:`\lambda` of the covariance :math:`\Sigma`, any shape; :math:`\langle\cdot\rangle` is
their mean. Chapter "Why score-based models are slow" derives and checks every function here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from wavelab.errors import InvalidInput
from wavelab.wsgm.fields import check_eigenvalues


def _log_ratio(lam: np.ndarray) -> np.ndarray:
    r""":math:`\log\lambda/(\lambda-1)`, which is 1 at :math:`\lambda=1`."""
    excess = lam - 1
    near = np.abs(excess) < 1e-8
    return np.where(near, 1 - excess / 2, np.log1p(excess) / np.where(near, 1.0, excess))


def step_error(lam: ArrayLike) -> np.ndarray:
    r"""Return the first-order error of the variance, :math:`h = \lambda + \delta\,e(\lambda) + O(\delta^2)`.

    .. math:: e(\lambda) = 1 - \frac{\lambda^2\log\lambda}{2(\lambda-1)}, \qquad e(0)=1,\; e(1)=\tfrac12

    for Euler-Maruyama with uniform steps :math:`\delta` and large T.

    Source:
        Guth et al. (2022), appendix, as :math:`\Sigma_\delta`; the main text has a further term that is wrong.
    """
    lam = check_eigenvalues(lam, "lam")
    return 1 - lam**2 * _log_ratio(lam) / 2


def mean_error(lam: ArrayLike) -> np.ndarray:
    r"""Return the first-order error of the mean, :math:`\rho = 1 - \frac\delta4\,\frac{\lambda\log\lambda}{\lambda-1}`.

    Returns the factor of :math:`\delta`; the appendix prints :math:`-2/\lambda` in addition, which is wrong.
    """
    lam = check_eigenvalues(lam, "lam")
    return -lam * _log_ratio(lam) / 4


def leading_order(lam: ArrayLike, delta: float, T: float) -> float:
    r"""Return the leading order of :math:`\mathrm{KL}/d` of one model with uniform steps.

    .. math:: \frac{\mathrm{KL}}d \simeq \frac{\delta^2}4\Big\langle\Big(\frac{e(\lambda)}\lambda\Big)^2\Big\rangle
              + \frac{e^{-8T}}4\big\langle(\lambda-1)^2\lambda^2\big\rangle

    Args:
        lam: eigenvalues.
        delta: step size ``T / N``, positive.
        T: final time, positive.
    """
    lam = check_eigenvalues(lam, "lam")
    _check(delta=delta, T=T)
    steps = delta**2 / 4 * np.mean((step_error(lam) / lam) ** 2)
    return float(steps + np.exp(-8 * T) / 4 * np.mean((lam - 1) ** 2 * lam**2))


def leading_steps(eps: float, lam: ArrayLike, T: float) -> float:
    r"""Return the number of steps at leading order.

    .. math:: N \simeq \frac{T}{2\sqrt\varepsilon}\,\big\langle(e(\lambda)/\lambda)^2\big\rangle^{1/2}

    Args:
        eps: the divergence per dimension allowed, positive.
        lam: eigenvalues.
        T: final time, positive.
    """
    lam = check_eigenvalues(lam, "lam")
    _check(eps=eps, T=T)
    return float(T / (2 * np.sqrt(eps)) * np.sqrt(np.mean((step_error(lam) / lam) ** 2)))


def printed_terms(lam: ArrayLike, delta: float, T: float) -> tuple[float, float]:
    r"""Return the terms :math:`E_T` and :math:`E_\delta` of Theorem 1 as it is printed, for the whole field.

    .. math:: E_T = f\big(e^{-4T}|\operatorname{Tr}((\Sigma-I)\Sigma)|\big),\quad
              E_\delta = f\big(\delta\,|\operatorname{Tr}(\Sigma^{-1}-\tfrac12\Sigma(\Sigma-I)^{-1}\log\Sigma
              +\tfrac13(I-\Sigma^{-1}))|\big),\quad f(t)=t-\log(1+t)

    Args:
        lam: eigenvalues.
        delta: step size, positive.
        T: final time, positive.

    Source:
        Guth et al. (2022), Theorem 1.
    """
    lam = check_eigenvalues(lam, "lam")
    _check(delta=delta, T=T)
    late = np.exp(-4 * T) * abs(np.sum((lam - 1) * lam))
    steps = delta * abs(np.sum(1 / lam - lam * _log_ratio(lam) / 2 + (1 - 1 / lam) / 3))
    return float(late - np.log1p(late)), float(steps - np.log1p(steps))


def general_bound(lam: ArrayLike, delta: float, T: float) -> tuple[float, float]:
    r"""Return the terms :math:`E_T` and :math:`E_\delta` of Theorem 2 for a Gaussian, bounds on the total variation.

    .. math:: E_T = \sqrt2\,e^{-T}\,\mathrm{KL}(p\|N(0,I))^{1/2},\qquad
              E_\delta = 6\sqrt\delta\,\big[1+(E\|x\|^4)^{1/4}\big]\,\big[1+K+M(1+(2\alpha)^{-1/2})\big],

    with the constants of a Gaussian, :math:`K=\max(1,\|\Sigma^{-1}\|)`, :math:`M=2K^2\|\Sigma-I\|`,
    :math:`\alpha=2`, and :math:`E\|x\|^4=(\operatorname{Tr}\Sigma)^2+2\operatorname{Tr}\Sigma^2`.

    Args:
        lam: eigenvalues.
        delta: step size, positive.
        T: final time, positive.

    Source:
        Guth et al. (2022), Theorem 2 and its corollary.
    """
    lam = check_eigenvalues(lam, "lam")
    _check(delta=delta, T=T)
    start = 0.5 * np.sum(lam - 1 - np.log(lam))
    K = max(1.0, 1 / lam.min())
    M = 2 * K**2 * np.abs(lam - 1).max()
    moment = (np.sum(lam) ** 2 + 2 * np.sum(lam**2)) ** 0.25
    steps = 6 * np.sqrt(delta) * (1 + moment) * (1 + K + M * (1 + 4**-0.5))
    return float(np.sqrt(2 * start) * np.exp(-T)), float(steps)


def _check(**values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise InvalidInput(f"{name} is {value}; expected a positive number.")
