r"""Shrink wavelet coefficients: three shrinkages, three rules for the threshold, and denoising by cycle spinning.

The model is :math:`y = x + \sigma z` with standard Gaussian :math:`z`. An orthonormal transform keeps the noise white,
so every coefficient is a clean one plus noise of the same :math:`\sigma`, and small ones are mostly noise. (The noise
in a sub-band of a biorthogonal one is :func:`~wavelab.filterbank.noise_gains` times that.) A rule returns one threshold
a sub-band, of a shape that broadcasts over the sub-band's space axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wavelab import wavelets
from wavelab.errors import InvalidInput, UnknownName
from wavelab.filterbank import noise_gains
from wavelab.subbands import check_levels, check_sizes, check_tensor

Threshold = Tensor | float
# The median of |z| for a standard Gaussian z.
MEDIAN = 0.6744897501960817


def soft(x: Tensor, threshold: Threshold) -> Tensor:
    r"""Move every value towards zero by the threshold; what would cross zero becomes zero.

    .. math:: s_\tau(x) = \operatorname{sign}(x)\,\max(|x| - \tau, 0)
              = \arg\min_u \tfrac12 (u - x)^2 + \tau |u|.

    Args:
        x: coefficients.
        threshold: :math:`\tau \ge 0`, a number or a tensor that broadcasts over ``x``.

    Returns:
        A tensor shaped like ``x``.

    Raises:
        InvalidInput: a negative or NaN threshold, or coefficients that are no floating-point tensor.

    Source:
        Donoho (1995), De-noising by soft-thresholding. Chapter "Compression and denoising".
    """
    threshold = _checked(threshold, x)
    return torch.sign(x) * (x.abs() - threshold).clamp_min(0)


def hard(x: Tensor, threshold: Threshold) -> Tensor:
    r"""Keep values larger than the threshold, set the rest to zero: :math:`h_\tau(x) = x\,1_{|x|>\tau}`.

    Arguments, result and errors are those of :func:`soft`.

    Source:
        Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage.
    """
    threshold = _checked(threshold, x)
    return torch.where(x.abs() > threshold, x, 0.0)


def garrote(x: Tensor, threshold: Threshold) -> Tensor:
    r"""Shrink small values much and large ones little: :math:`g_\tau(x) = (x - \tau^2/x)\,1_{|x|>\tau}`.

    It is continuous as the soft threshold is, and tends to :math:`x` for large values as the hard one does.
    Arguments, result and errors are those of :func:`soft`.

    Source:
        Gao (1998), Wavelet shrinkage denoising using the non-negative garrote.
    """
    threshold = _checked(threshold, x)
    kept = x.abs() > threshold
    return torch.where(kept, x - threshold**2 / torch.where(kept, x, 1.0), 0.0)


def mad(detail: Tensor, dims: int = 2) -> Tensor:
    r"""Estimate the noise level from a sub-band that holds little else, normally the finest HH.

    .. math:: \hat\sigma = \operatorname{median}(|d|) / 0.6745,

    since half of the magnitudes of standard Gaussian noise are below 0.6745.

    Args:
        detail: one sub-band, shape ``(..., *space)``.
        dims: number of space axes.

    Returns:
        Shape ``(...)``: one estimate a sub-band. The median is the mean of the two middle values.

    Raises:
        InvalidInput: not a floating-point tensor, or empty.

    Source:
        Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage, section 4.2.
    """
    check_tensor(detail, "detail", dims)
    ordered = detail.abs().flatten(-dims).sort(-1).values
    middle = ordered.shape[-1] // 2
    return (ordered[..., middle] + ordered[..., -1 - middle]) / 2 / MEDIAN


def universal(sigma: Threshold, count: int) -> Threshold:
    r"""Return :math:`\sigma\sqrt{2\ln n}`, which the largest of :math:`n` noise values exceeds ever more rarely.

    Args:
        sigma: noise level, a number or a tensor.
        count: number :math:`n \ge 1` of values.

    Raises:
        InvalidInput: a count below 1.

    Source:
        Donoho and Johnstone (1994), Ideal spatial adaptation by wavelet shrinkage.
    """
    if count < 1:
        raise InvalidInput(f"count is {count!r}; expected the number of coefficients, at least 1.")
    return sigma * math.sqrt(2 * math.log(count))


def sure(detail: Tensor, sigma: Threshold, dims: int = 2) -> Tensor:
    r"""Return the soft threshold with the smallest unbiased estimate of the risk.

    With :math:`w = d/\sigma` and :math:`n` coefficients in the sub-band,

    .. math:: \mathrm{SURE}(\tau) = n - 2\,\#\{i: |w_i|\le\tau\} + \sum_i \min(|w_i|, \tau)^2 ,

    minimised over :math:`\tau \in \{0, |w_1|, \dots, |w_n|\}`: between two of these it only grows.

    Args:
        detail: sub-bands, shape ``(..., *space)``.
        sigma: noise level, a positive number or a tensor of shape ``(...)`` with one value a sub-band.
        dims: number of space axes.

    Returns:
        Shape ``(..., 1, ..., 1)`` with ``dims`` ones, in the units of ``detail``.

    Raises:
        InvalidInput: a noise level that is not positive.

    Source:
        Stein (1981); Donoho and Johnstone (1995), Adapting to unknown smoothness via wavelet shrinkage.
    """
    check_tensor(detail, "detail", dims)
    sigma = _noise(sigma, detail, dims)
    least = torch.finfo(detail.dtype).eps * detail.abs().amax(tuple(range(-dims, 0)), keepdim=True)
    sigma = torch.maximum(sigma, least)  # less noise than rounding is none, and its square would overflow
    w = (detail.abs() / sigma).flatten(-dims).sort(-1).values
    w = F.pad(w, (1, 0))  # the candidate 0, at which nothing is set to zero
    n = w.shape[-1] - 1
    below = torch.arange(n + 1, device=w.device)
    risk = n - 2 * below + w.square().cumsum(-1) + (n - below) * w.square()
    best = w.gather(-1, risk.argmin(-1, keepdim=True))
    return best.reshape(detail.shape[:-dims] + (1,) * dims) * sigma


def bayes(detail: Tensor, sigma: Threshold, dims: int = 2) -> Tensor:
    r"""Return :math:`\sigma^2/\sigma_x`, near the best soft threshold where clean coefficients are heavy-tailed.

    The clean standard deviation is what the noise leaves unexplained,
    :math:`\sigma_x^2 = \max(\overline{d^2} - \sigma^2, 0)`. Where nothing is left the threshold is the largest
    magnitude, which sets the whole sub-band to zero.

    Args:
        detail: sub-bands, shape ``(..., *space)``.
        sigma: noise level, a positive number or a tensor of shape ``(...)`` with one value a sub-band.
        dims: number of space axes.

    Returns:
        Shape ``(..., 1, ..., 1)`` with ``dims`` ones.

    Raises:
        InvalidInput: a noise level that is not positive.

    Source:
        Chang, Yu and Vetterli (2000), Adaptive wavelet thresholding for image denoising and compression.
    """
    check_tensor(detail, "detail", dims)
    sigma = _noise(sigma, detail, dims)
    axes = tuple(range(-dims, 0))
    clean = (detail.square().mean(axes, keepdim=True) - sigma**2).clamp_min(0).sqrt()
    largest = detail.abs().amax(axes, keepdim=True)
    return torch.where(clean > 0, sigma**2 / clean, largest).minimum(largest)


# Each rule gets the details, the noise level, the number of space axes and the number of values of the image.
RULES: dict[str, Callable[..., Tensor]] = {
    "universal": lambda detail, sigma, dims, count: universal(_noise(sigma, detail, dims), count),
    "sure": lambda detail, sigma, dims, count: sure(detail, sigma, dims),
    "bayes": lambda detail, sigma, dims, count: bayes(detail, sigma, dims),
}
SHRINKAGES: dict[str, Callable[[Tensor, Threshold], Tensor]] = {"soft": soft, "hard": hard, "garrote": garrote}


def denoise(
    y: Tensor,
    wavelet: str = "db4",
    levels: int = 4,
    *,
    rule: str = "bayes",
    shrinkage: str = "soft",
    sigma: Threshold | None = None,
    shifts: int = 1,
    margin: int | None = None,
    dims: int = 2,
) -> Tensor:
    r"""Denoise by shrinking the details of a wavelet transform, averaged over shifts of the grid.

    .. math:: \hat x = \frac1{|K|} \sum_{k\in K} S_{-k}\, W^{-1} s_\tau\big(W S_k\, y\big),

    where :math:`S_k` shifts by :math:`k` and :math:`K = \{0,\dots,m-1\}^{n}`. One shift is the plain transform;
    ``2**levels`` shifts an axis make the result independent of where the grid lies.

    Args:
        y: noisy images or volumes, shape ``(..., *space)``.
        wavelet: any discrete PyWavelets name.
        levels: number of levels.
        rule: ``"universal"``, ``"sure"`` or ``"bayes"``, applied sub-band by sub-band.
        shrinkage: ``"soft"``, ``"hard"`` or ``"garrote"``.
        sigma: noise level in the units of ``y``, a number or one value an image, shape ``(...)``; estimated from
            each image's finest all-high sub-band by :func:`mad` where it is None.
        shifts: number :math:`m` of shifts an axis.
        margin: values mirrored at each border, so that the periodised transform sees no false edge; a multiple of
            ``2**levels``, by default ``2**levels``. 0 leaves the borders as they are.
        dims: number of space axes.

    Returns:
        A tensor shaped like ``y``.

    Raises:
        InvalidInput: a size that the levels do not divide, a margin, noise level or number of shifts out of range.
        UnknownName: there is no such wavelet, rule or shrinkage.

    Source:
        Donoho (1995); Coifman and Donoho (1995), Translation-invariant de-noising. Chapter "Compression and
        denoising".
    """
    shrink, choose = _find("shrinkage", shrinkage, SHRINKAGES), _find("rule", rule, RULES)
    check_tensor(y, "y", dims)
    check_levels(levels)
    check_sizes(y, levels, dims)
    margin = _margin(y, levels, margin, dims)
    if not isinstance(shifts, int) or shifts < 1:
        raise InvalidInput(f"shifts is {shifts!r}; expected a whole number of shifts an axis, at least 1.")
    padded = _mirror(y, margin, dims)
    gains = [gain.to(y) for gain in noise_gains(wavelet, levels, dims)]
    if sigma is None:
        sigma = mad(wavelets.dwt(y, wavelet, 1, dims)[1][0].select(-dims - 1, -1), dims) / gains[-1][-1]
        sigma = sigma.clamp_min(torch.finfo(y.dtype).tiny)
    sigma = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    if sigma.ndim and sigma.shape != y.shape[:-dims]:
        raise InvalidInput(
            f"sigma has shape {tuple(sigma.shape)}; expected a number or one an image, {tuple(y.shape[:-dims])}."
        )
    sigma = sigma.unsqueeze(-1)  # a sub-band has it times its gain
    axes, count = tuple(range(-dims, 0)), math.prod(y.shape[-dims:])
    total = torch.zeros_like(padded)
    for shift in itertools.product(range(shifts), repeat=dims):
        approx, details = wavelets.dwt(padded.roll(shift, axes), wavelet, levels, dims)
        details = [shrink(d, choose(d, sigma * gain, dims, count)) for d, gain in zip(details, gains)]
        total += wavelets.idwt(approx, details, wavelet, dims).roll([-k for k in shift], axes)
    inside = [slice(margin, n - margin) for n in padded.shape[-dims:]]
    return (total / shifts**dims)[(..., *inside)]


def _find(kind: str, name: str, known: dict[str, Callable]) -> Callable:
    if name not in known:
        raise UnknownName.among(kind, name, known)
    return known[name]


def _checked(threshold: Threshold, x: Tensor) -> Tensor:
    if not isinstance(x, Tensor) or not x.dtype.is_floating_point:
        kind = f"of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise InvalidInput(f"x is {kind}; expected a floating-point tensor, such as torch.as_tensor(x).float().")
    threshold = torch.as_tensor(threshold, dtype=x.dtype, device=x.device)
    if not bool((threshold >= 0).all()):
        raise InvalidInput(f"The threshold is {threshold.min().item():g}; expected a number that is not negative.")
    return threshold


def _noise(sigma: Threshold, detail: Tensor, dims: int) -> Tensor:
    """Return the noise level with ``dims`` axes of length one at its end, so that it broadcasts over sub-bands."""
    level = torch.as_tensor(sigma, dtype=detail.dtype, device=detail.device)
    if not bool((level > 0).all()):
        raise InvalidInput(f"The noise level is {level.min().item():g}; expected a positive number.")
    return level.reshape(level.shape + (1,) * dims) if level.ndim else level


def _margin(y: Tensor, levels: int, margin: int | None, dims: int) -> int:
    step, largest = 2**levels, min(y.shape[-dims:]) - 1
    if margin is None:
        return step if step <= largest else 0
    if margin < 0 or margin % step or margin > largest:
        raise InvalidInput(f"margin is {margin}; expected a multiple of {step} between 0 and {largest}.")
    return margin


def _mirror(y: Tensor, margin: int, dims: int) -> Tensor:
    if not margin:
        return y
    flat = y.reshape(1, -1, *y.shape[-dims:])
    return F.pad(flat, (margin,) * (2 * dims), mode="reflect").reshape(
        *y.shape[:-dims], *(n + 2 * margin for n in y.shape[-dims:])
    )
