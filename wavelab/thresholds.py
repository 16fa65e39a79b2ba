"""Denoising by shrinking wavelet coefficients: three ways to shrink, three ways to choose how much.

Noise of standard deviation ``sigma`` spreads evenly over the coefficients of an orthonormal wavelet, while an image
gathers in few of them; small coefficients are therefore mostly noise. Chapter "Compression and denoising".
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.filterbank import noise_gains
from wavelab.subbands import check_tensor
from wavelab.wavelets import dwt, idwt

MAD = 0.6744897501960817  # median magnitude of a standard Gaussian


def soft(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Shrink towards zero.

    .. math:: \operatorname{sign}(x)\,\max(|x| - t, 0)

    Args:
        x: coefficients, any shape.
        threshold: ``t``, not negative, a number or a tensor that broadcasts to ``x``.

    Returns:
        The shape of ``x``; differentiable in ``x`` and ``threshold``.

    Raises:
        InvalidInput: a threshold that is negative or NaN.

    Source:
        Donoho & Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage.
    """
    t = _checked(x, threshold)
    return x - x.clamp(-t, t)


def hard(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Keep or kill: :math:`x` where :math:`|x| \ge t`, else 0.

    Args:
        x: coefficients, any shape.
        threshold: ``t``, not negative, a number or a tensor that broadcasts to ``x``.

    Returns:
        The shape of ``x``; differentiable in ``x`` except at the jump.

    Raises:
        InvalidInput: a threshold that is negative or NaN.

    Source:
        Donoho & Johnstone (1994).
    """
    return torch.where(x.abs() >= _checked(x, threshold), x, 0)


def garrote(x: Tensor, threshold: float | Tensor) -> Tensor:
    r"""Shrink large coefficients less: :math:`x - t^2/x` where :math:`|x| > t`, else 0.

    Args:
        x: coefficients, any shape.
        threshold: ``t``, not negative, a number or a tensor that broadcasts to ``x``.

    Returns:
        The shape of ``x``; differentiable in ``x`` and ``threshold``.

    Raises:
        InvalidInput: a threshold that is negative or NaN.

    Source:
        Gao (1998), Wavelet shrinkage denoising using the non-negative garrote.
    """
    t = _checked(x, threshold)
    keep = x.abs() > t
    return torch.where(keep, x - t**2 / torch.where(keep, x, 1), 0)


def universal_threshold(n: int, sigma: float | Tensor) -> float | Tensor:
    r"""Return the threshold that pure noise hardly ever exceeds: :math:`\sigma\sqrt{2\ln n}`.

    Args:
        n: number of values of the signal.
        sigma: standard deviation of the noise.

    Returns:
        The threshold, of the type and shape of ``sigma``.

    Source:
        Donoho & Johnstone (1994), VisuShrink.
    """
    return sigma * math.sqrt(2 * math.log(n))


def sure_threshold(detail: Tensor, sigma: float | Tensor, dims: int = 2, hybrid: bool = True) -> Tensor:
    r"""Return the soft threshold of least estimated risk, sub-band by sub-band.

    Stein's unbiased estimate of the risk of soft thresholding :math:`n` coefficients :math:`d_i` is

    .. math:: \mathrm{SURE}(t) = n\sigma^2 + \sum_i \min(d_i^2, t^2) - 2\sigma^2\,\#\{i: |d_i| \le t\};

    it is least at one of the :math:`|d_i|` or at 0. Only thresholds up to the universal one are considered.

    Args:
        detail: shape ``(..., bands, *space)``.
        sigma: standard deviation of the noise, a number or a tensor that broadcasts to ``(..., bands)``.
        dims: number of space axes.
        hybrid: take the universal threshold where a sub-band is too sparse for the estimate, that is where
            :math:`\frac1n\sum_i d_i^2/\sigma^2 - 1 \le (\log_2 n)^{3/2}/\sqrt n`.

    Returns:
        Shape ``(..., bands)``.

    Source:
        Donoho & Johnstone (1995), Adapting to unknown smoothness via wavelet shrinkage, SureShrink.
    """
    power = _flat(detail, dims).square().sort(-1).values
    n, variance = power.shape[-1], _noise(sigma, detail, dims).unsqueeze(-1) ** 2
    count = torch.arange(1, n + 1, device=power.device, dtype=power.dtype)
    risk = n * variance + power.cumsum(-1) + (n - count) * power - 2 * variance * count
    largest = 2 * math.log(n) * variance
    risk = torch.where(power <= largest, risk, torch.inf)
    least, index = risk.min(-1, keepdim=True)
    chosen = torch.where(least < n * variance, power.gather(-1, index), 0)
    if hybrid:
        sparse = power.mean(-1, keepdim=True) - variance <= variance * math.log2(n) ** 1.5 / math.sqrt(n)
        chosen = torch.where(sparse, largest, chosen)
    return chosen.squeeze(-1).sqrt()


def bayes_threshold(detail: Tensor, sigma: float | Tensor, dims: int = 2) -> Tensor:
    r"""Return the threshold for coefficients of generalised Gaussian shape, sub-band by sub-band.

    .. math:: t = \sigma^2 / \sigma_x, \qquad \sigma_x^2 = \max\bigl(\tfrac1n\textstyle\sum_i d_i^2 - \sigma^2, 0\bigr)

    and the largest magnitude, so that nothing is left, where :math:`\sigma_x = 0`.

    Args:
        detail: shape ``(..., bands, *space)``.
        sigma: standard deviation of the noise, a number or a tensor that broadcasts to ``(..., bands)``.
        dims: number of space axes.

    Returns:
        Shape ``(..., bands)``.

    Source:
        Chang, Yu & Vetterli (2000), Adaptive wavelet thresholding for image denoising and compression, BayesShrink.
    """
    values, variance = _flat(detail, dims), _noise(sigma, detail, dims) ** 2
    signal = (values.square().mean(-1) - variance).clamp_min(0).sqrt()
    largest = values.abs().amax(-1)
    return torch.where(signal > 0, torch.minimum(variance / signal, largest), largest)


MODES = {"soft": soft, "hard": hard, "garrote": garrote}
RULES = ("universal", "sure", "bayes")


def estimate_sigma(finest: Tensor, dims: int = 2) -> Tensor:
    r"""Estimate the noise from the finest diagonal sub-band, where images have little.

    .. math:: \hat\sigma = \operatorname{median}(|d|) / 0.6745

    over the coefficients that are not exactly zero: an empty background holds no noise.

    Args:
        finest: the finest details, shape ``(..., 2**dims - 1, *space)``.
        dims: number of space axes.

    Returns:
        Shape ``(...)``; 0 where all coefficients are zero.

    Source:
        Donoho & Johnstone (1994). The zeros are left out as scikit-image does.
    """
    magnitude = _flat(finest, dims)[..., -1, :].abs().sort(-1).values
    n, zeros = magnitude.shape[-1], (magnitude == 0).sum(-1, keepdim=True)
    middle = (zeros + n - 1).div(2, rounding_mode="floor"), (zeros + n).div(2, rounding_mode="floor").clamp_max(n - 1)
    return sum(magnitude.gather(-1, index) for index in middle).squeeze(-1) / (2 * MAD)


def denoise(
    x: Tensor,
    wavelet: str = "db4",
    levels: int = 4,
    rule: str = "bayes",
    mode: str = "soft",
    sigma: float | Tensor | None = None,
    shifts: int = 1,
    dims: int = 2,
) -> Tensor:
    r"""Remove white Gaussian noise by thresholding the details of every item and channel on its own.

    With ``shifts`` above 1 the result is the mean over that many circular shifts along every axis (cycle spinning),

    .. math:: \frac1{s^d}\sum_{\tau \in \{0..s-1\}^d} S_{-\tau}\, D(S_\tau\, x),

    which removes the artefacts that depend on how the wavelet's grid meets an edge.

    Args:
        x: noisy signal, shape ``(..., *space)``, each space axis a multiple of ``2**levels``.
        wavelet: any discrete PyWavelets name.
        levels: number of levels.
        rule: ``"universal"``, ``"sure"`` or ``"bayes"``.
        mode: ``"soft"``, ``"hard"`` or ``"garrote"``.
        sigma: standard deviation of the noise, a number or a tensor that broadcasts to the leading axes;
            estimated from the finest details where it is not given.
        shifts: shifts along every axis.
        dims: number of space axes.

    Returns:
        The shape of ``x``. Thresholds count as constants when differentiating.

    Raises:
        InvalidInput: as :func:`wavelab.wavelets.dwt`; a negative sigma; fewer than one shift.
        UnknownName: there is no such wavelet, rule or mode.

    Source:
        Donoho & Johnstone (1994, 1995); Chang, Yu & Vetterli (2000); Coifman & Donoho (1995), Translation-invariant
        de-noising. Chapter "Compression and denoising".
    """
    if rule not in RULES:
        raise UnknownName.among("threshold rule", rule, RULES)
    if mode not in MODES:
        raise UnknownName.among("threshold mode", mode, MODES)
    if not isinstance(shifts, int) or shifts < 1:
        raise InvalidInput(f"shifts is {shifts!r}; expected a whole number, at least 1.")
    check_tensor(x, "x", dims)
    gains = [gain.to(x).reshape(-1, *[1] * dims) for gain in noise_gains(wavelet, levels, dims)]
    if sigma is None:
        sigma = estimate_sigma(dwt(x.detach(), wavelet, 1, dims)[1][0], dims) / gains[-1][-1].item()
    sigma, space = torch.as_tensor(sigma, dtype=x.dtype, device=x.device), tuple(range(-dims, 0))
    if not (sigma >= 0).all():
        raise InvalidInput(f"sigma is {sigma.min().item():g} at its smallest; expected a deviation of at least 0.")
    total = torch.zeros_like(x)
    for shift in itertools.product(range(shifts), repeat=dims):
        approx, details = dwt(x.roll(shift, space), wavelet, levels, dims)
        options = sigma, math.prod(x.shape[-dims:]), rule, mode, dims
        details = [gain * _shrink(detail / gain, *options) for detail, gain in zip(details, gains)]
        total = total + idwt(approx, details, wavelet, dims).roll([-s for s in shift], space)
    return total / shifts**dims


def _shrink(detail: Tensor, sigma: Tensor, n: int, rule: str, mode: str, dims: int) -> Tensor:
    """Threshold one level's details; ``n`` is the number of values of the signal."""
    sigma = sigma.unsqueeze(-1)
    with torch.no_grad():
        if rule == "universal":
            threshold = universal_threshold(n, sigma).expand(detail.shape[:-dims])
        else:
            threshold = {"sure": sure_threshold, "bayes": bayes_threshold}[rule](detail, sigma, dims)
    return MODES[mode](detail, threshold.reshape(*threshold.shape, *[1] * dims))


def _flat(detail: Tensor, dims: int) -> Tensor:
    check_tensor(detail, "detail", dims)
    if detail.ndim < dims + 1 or detail.shape[-dims - 1] != 2**dims - 1:
        raise InvalidInput(f"detail has shape {tuple(detail.shape)}; expected (..., {2**dims - 1} sub-bands, *space).")
    return detail.flatten(-dims)


def _noise(sigma: float | Tensor, detail: Tensor, dims: int) -> Tensor:
    return torch.as_tensor(sigma, dtype=detail.dtype, device=detail.device).expand(detail.shape[:-dims])


def _checked(x: Tensor, threshold: float | Tensor) -> Tensor:
    threshold = torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    if not (threshold >= 0).all():
        raise InvalidInput(f"threshold is {threshold.min().item():g} at its smallest; expected at least 0.")
    return threshold
