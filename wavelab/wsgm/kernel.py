r"""What a discretised sampler does to one Gaussian direction: an exact recursion for two numbers.

Data :math:`N(\mu,\lambda)` in one direction, noised by the Ornstein-Uhlenbeck process :math:`dx=-x\,dt+\sqrt2\,dw`,
is :math:`N(e^{-t}\mu, d_t)` with :math:`d_t=e^{-2t}\lambda+1-e^{-2t}`. A sampler that starts from :math:`N(0,1)` and
uses the exact score stays Gaussian, and ends at :math:`N(\rho\mu, h)`. Nothing here is random or trained.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import erf

from wavelab.diffusion import check_times
from wavelab.errors import InvalidInput, UnknownName
from wavelab.wsgm.fields import check_eigenvalues

SAMPLERS = ("euler-maruyama", "ancestral", "ancestral-small")


def grid(times: ArrayLike) -> np.ndarray:
    """Return a time grid as increasing float64 numbers from 0 to T.

    Args:
        times: increasing from 0 to T, or the same grid in the order of sampling, decreasing to 0; a NumPy array,
            tensor or list.

    Raises:
        InvalidInput: anything else.
    """
    try:
        array = np.asarray(times.detach().cpu() if isinstance(times, torch.Tensor) else times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"times is {times!r}; expected numbers, for instance from time_grid(T, steps).") from error
    if array.ndim == 1 and len(array) > 1 and (np.diff(array) < 0).all():
        if array[-1] != 0:
            raise InvalidInput(f"times decreases and ends at {array[-1]:g}; sampling has to end at time 0.")
        array = array[::-1]
    return check_times(torch.from_numpy(array.copy())).numpy()


def kernel(lam: ArrayLike, times: ArrayLike, sampler: str = "euler-maruyama") -> tuple[np.ndarray, np.ndarray]:
    r"""Return the output law :math:`N(\rho\mu, h)` of a sampler in directions of variance :math:`\lambda`.

    For :math:`k=N,\dots,1`, from :math:`h=1` and :math:`\rho=0`,

    .. math:: h \leftarrow a_k^2 h + v_k, \qquad \rho \leftarrow a_k\rho + b_k .

    Euler-Maruyama, with the score at the start of the step and noise at the last one, has

    .. math:: a_k = 1+\delta_k-\frac{2\delta_k}{d_{t_k}},\qquad b_k = \frac{2\delta_k e^{-t_k}}{d_{t_k}},\qquad
              v_k = 2\delta_k .

    Ancestral sampling (DDPM) takes :math:`\hat x_0` from the score, then the mean of
    :math:`p(x_{t_{k-1}}\mid x_{t_k},\hat x_0)` and the variance :math:`\beta_k=1-e^{-2\delta_k}`, and no noise at the
    last step:

    .. math:: a_k = e^{\delta_k}\Big(1-\frac{\beta_k}{d_{t_k}}\Big),\qquad
              b_k = \frac{\beta_k\,e^{-t_{k-1}}}{d_{t_k}},\qquad v_k = \beta_k\,1_{k>1} .

    With the posterior's own, smaller variance, :math:`v_k=\beta_k\,(1-e^{-2t_{k-1}})/(1-e^{-2t_k})`.

    Args:
        lam: variances of the data, positive, any shape.
        times: the time grid, see :func:`grid`.
        sampler: ``"euler-maruyama"``, ``"ancestral"`` (the larger variance) or ``"ancestral-small"``.

    Returns:
        ``h`` and ``rho``, shaped like ``lam``.

    Raises:
        InvalidInput: a variance that is not positive, or times that are no grid.
        UnknownName: another sampler.

    Source:
        The recursion follows from Guth et al. (2022), section 2.1; Ho, Jain & Abbeel (2020), Denoising diffusion
        probabilistic models, for ancestral sampling. Chapter "Why score-based models are slow".
    """
    lam, times = check_eigenvalues(lam, "lam"), grid(times)
    if sampler not in SAMPLERS:
        raise UnknownName.among("sampler", sampler, SAMPLERS)
    h, rho = np.ones_like(lam), np.zeros_like(lam)
    for decay, noise, u, w, b, v in reversed(list(zip(*_coefficients(times, sampler)))):
        inverse = 1 / (decay * lam + noise)  # 1 / d_t
        a = (u * lam + w) * inverse
        h = a * a * h + v
        rho = a * rho + b * inverse
    return h, rho


def _coefficients(times: np.ndarray, sampler: str) -> tuple[list[float], ...]:
    """Return ``e^{-2t}``, ``1 - e^{-2t}``, ``u, w, b, v`` of the steps 1 to N, with ``a = (u lam + w) / d``."""
    t, before, delta = times[1:], times[:-1], np.diff(times)
    decay, noise = np.exp(-2 * t), -np.expm1(-2 * t)
    if sampler == "euler-maruyama":
        u, w = (1 + delta) * decay, (1 + delta) * noise - 2 * delta
        b, v = 2 * delta * np.exp(-t), 2 * delta
    else:
        beta = -np.expm1(-2 * delta)
        u, w = np.exp(delta) * decay, np.exp(-delta) * -np.expm1(-2 * before)  # free of cancellation
        share = -np.expm1(-2 * before) / noise if sampler == "ancestral-small" else before > 0
        b, v = beta * np.exp(-before), beta * share
    return tuple(values.tolist() for values in (decay, noise, u, w, b, v))


def limit_kernel(lam: ArrayLike, T: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the output law of the exact reverse process, the limit of infinitely many steps.

    What is left is the wrong start, :math:`N(0,1)` in place of :math:`N(e^{-T}\mu, d_T)`:

    .. math:: h = \lambda - \frac{e^{-2T}\lambda^2}{d_T}\Big(1-\frac1{d_T}\Big), \qquad
              \rho = 1 - \frac{e^{-2T}\lambda}{d_T}.

    Args:
        lam: variances of the data, positive.
        T: final time.

    Returns:
        ``h`` and ``rho``, shaped like ``lam``.
    """
    lam = check_eigenvalues(lam, "lam")
    noise = -np.expm1(-2 * T)
    d = np.exp(-2 * T) * lam + noise
    return lam - np.exp(-4 * T) * lam**2 * (lam - 1) / d**2, noise / d


def gaussian_kl(lam: ArrayLike, h: ArrayLike, shift: ArrayLike = 0.0) -> np.ndarray:
    r"""Return :math:`\mathrm{KL}(N(\mu,\lambda)\,\|\,N(\rho\mu,h))` of scalar Gaussians, elementwise.

    .. math:: \tfrac12\Big[\frac{\lambda}{h}-1-\log\frac\lambda h\Big] + \frac{(\rho-1)^2\mu^2}{2h}

    Args:
        lam: variance of the data.
        h: variance of the output.
        shift: squared error of the mean, :math:`(\rho-1)^2\mu^2`.

    Returns:
        The divergence in nats.
    """
    excess = (np.asarray(lam) - h) / h
    return 0.5 * (excess - np.log1p(excess) + shift / np.asarray(h))


def total_variation(lam: ArrayLike, h: ArrayLike) -> np.ndarray:
    r"""Return the total variation distance between :math:`N(0,\lambda)` and :math:`N(0,h)`, elementwise.

    The densities cross at :math:`x_*^2 = \log(h/\lambda)\,/\,(1/\lambda-1/h)`, hence

    .. math:: \tfrac12\int|p-q| = \Big|\operatorname{erf}\frac{x_*}{\sqrt{2\lambda}} -
              \operatorname{erf}\frac{x_*}{\sqrt{2h}}\Big|, \quad\text{between 0 and 1.}

    Args:
        lam: variance of one law, positive.
        h: variance of the other, positive.

    Returns:
        The distance.
    """
    lam, h = check_eigenvalues(lam, "lam"), check_eigenvalues(h, "h")
    lam, h = np.broadcast_arrays(lam, h)
    excess = (h - lam) / lam
    small = np.abs(excess) < 1e-12
    safe = np.where(small, 1.0, excess)
    crossing = np.sqrt(np.where(small, 1.0, (1 + safe) * np.log1p(safe) / safe))  # x_* / sqrt(lam)
    return np.abs(erf(crossing / np.sqrt(2)) - erf(crossing / np.sqrt(2 * (1 + excess))))
