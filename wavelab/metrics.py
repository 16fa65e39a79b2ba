r"""How good a picture, or a set of pictures, is: errors, spectra, Fréchet distances, and intervals for all of them.

Tensors and arrays are taken alike, of shape ``(batch, channels, *space)`` or one bare picture ``(*space)``; results are
floats or NumPy arrays in double precision. Where two arguments stand side by side, the one that is judged comes
first and the reference second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from skimage import metrics as skimage_metrics

from wavelab.arrays import array, pictures
from wavelab.errors import InvalidInput
from wavelab.frechet import FrechetWavelet, frechet, frechet_wavelet

__all__ = [
    "FrechetWavelet", "Interval", "bootstrap", "frechet", "frechet_wavelet", "histogram_distance", "interval",
    "nearest", "power_spectrum", "psnr", "radial", "ssim",
]  # fmt: skip


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    value: float
    low: float
    high: float


def psnr(x, reference, data_range: float = 1.0, dims: int = 2, each: bool = False):
    r"""Compute the peak signal-to-noise ratio in decibels.

    .. math:: 10 \log_{10} \frac{R^2}{\langle (x - y)^2 \rangle}

    Args:
        x: pictures, shape ``(batch, channels, *space)`` or ``(*space)``.
        reference: what they should be, same shape.
        data_range: :math:`R`, the largest possible value less the smallest, in the units of the pictures.
        dims: number of space axes.
        each: return one number a picture instead of their mean.

    Returns:
        Decibels, infinite for equal pictures.

    Raises:
        InvalidInput: other or different shapes, values that are not finite, a range that is not positive.
    """
    x, reference = _pair(x, reference, data_range, dims)
    error = np.square(x - reference).reshape(len(x), -1).mean(1)
    with np.errstate(divide="ignore"):
        values = 10 * np.log10(data_range**2 / error)
    return values if each else float(values.mean())


def ssim(x, reference, data_range: float = 1.0, dims: int = 2, each: bool = False):
    """Compute the structural similarity, with the Gaussian window of 1.5 values and the constants of its authors.

    Args:
        x: pictures, shape ``(batch, channels, *space)`` or ``(*space)``, each side at least 11 values.
        reference: what they should be, same shape.
        data_range: the largest possible value less the smallest, in the units of the pictures.
        dims: number of space axes.
        each: return one number a picture instead of their mean.

    Returns:
        At most 1, which equal pictures reach.

    Raises:
        InvalidInput: as :func:`psnr`, or a side shorter than the window.

    Source:
        Wang, Bovik, Sheikh & Simoncelli (2004), Image quality assessment: from error visibility to structural
        similarity; computed by scikit-image.
    """
    x, reference = _pair(x, reference, data_range, dims)
    if min(x.shape[2:]) < 11:
        raise InvalidInput(f"The pictures measure {x.shape[2:]}; the window of the SSIM needs 11 values a side.")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0}
    values = [
        skimage_metrics.structural_similarity(a, b, data_range=data_range, **options) for a, b in zip(x, reference)
    ]
    return np.array(values) if each else float(np.mean(values))


def power_spectrum(x, dims: int = 2) -> np.ndarray:
    r"""Estimate the power spectrum: the mean of :math:`|\hat x(\omega)|^2 / d` over batch and channels.

    The mean of the pictures is not taken off. For a stationary field of mean zero this is unbiased for the
    eigenvalues of its covariance, and its own mean is the variance of a value.

    Args:
        x: shape ``(batch, channels, *space)`` or ``(*space)``.
        dims: number of space axes.

    Returns:
        Shape ``(*space)``, in the order of :func:`numpy.fft.fftn`.

    Raises:
        InvalidInput: another shape, or values that are not finite.
    """
    x = torch.from_numpy(pictures(x, "x", dims))
    axes = tuple(range(2, 2 + dims))
    power = torch.fft.fftn(x, dim=axes).abs().square_().mean((0, 1))
    return (power / power.numel()).numpy()


def radial(spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Average a spectrum over shells of equal frequency.

    Args:
        spectrum: shape ``(*space)``, in the order of :func:`numpy.fft.fftn`.

    Returns:
        k: the frequencies 0, 1, ... up to half the longest side, in cycles over that side; ``2 pi k / side`` is the
        angular frequency a value.
        P: the mean over the frequencies whose length rounds to ``k``. The corners beyond are left out.

    Raises:
        InvalidInput: an empty array or values that are not finite.
    """
    spectrum = array(spectrum, "spectrum")
    if not spectrum.ndim or not spectrum.size:
        raise InvalidInput(f"spectrum has shape {spectrum.shape}; expected one value a frequency.")
    side = max(spectrum.shape)
    axes = [np.fft.fftfreq(n) * side for n in spectrum.shape]
    shell = np.rint(np.sqrt(sum(np.square(f) for f in np.meshgrid(*axes, indexing="ij")))).astype(int).ravel()
    count, total = np.bincount(shell), np.bincount(shell, spectrum.ravel())
    k = np.arange(side // 2 + 1)
    return k, total[k] / count[k]


def histogram_distance(x, reference, bins: int = 64) -> float:
    r"""Compute the total variation between the histograms of all values.

    .. math:: \tfrac12 \sum_b |p_b - q_b|

    The bins divide the reference's range; what lies outside falls into the first or the last one.

    Args:
        x: values of any shape.
        reference: values of any shape.
        bins: number of bins, at least 2.

    Returns:
        A number in [0, 1]. For two samples of one law with ``n`` independent values each it is up to about
        ``sqrt(bins / (pi n))``, not 0.

    Raises:
        InvalidInput: an empty array, values that are not finite, a constant reference or too few bins.
    """
    x, reference = array(x, "x").ravel(), array(reference, "reference").ravel()
    if bins < 2 or not x.size or not reference.size or reference.min() == reference.max():
        raise InvalidInput(
            f"There are {x.size} and {reference.size} values and {bins} bins; expected a reference that varies, at "
            "least one value to compare and two bins."
        )
    inner = np.linspace(reference.min(), reference.max(), bins + 1)[1:-1]
    p, q = (np.bincount(np.searchsorted(inner, v), minlength=bins) / v.size for v in (x, reference))
    return float(0.5 * np.abs(p - q).sum())


def nearest(x, reference, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
    r"""Find every picture's nearest neighbours: copies of training pictures show at distance 0.

    Args:
        x: shape ``(batch, channels, *space)``, or vectors ``(batch, features)``.
        reference: the set to search, same shape but for the number.
        k: number of neighbours.

    Returns:
        distance: root mean squared difference to each neighbour, nearest first, shape ``(batch, k)``.
        index: their places in ``reference``, same shape.

    Raises:
        InvalidInput: shapes that do not fit, fewer than ``k`` references, values that are not finite.
    """
    a, b = (torch.from_numpy(array(v, name)) for v, name in ((x, "x"), (reference, "reference")))
    if a.ndim < 2 or a.shape[1:] != b.shape[1:] or not a.numel() or not 1 <= k <= len(b):
        raise InvalidInput(
            f"x has shape {tuple(a.shape)}, reference {tuple(b.shape)} and k is {k}; expected (batch, ...) of equal "
            "shapes and at least k references."
        )
    a, b = a.flatten(1), b.flatten(1)
    index = torch.cat([torch.cdist(part, b).topk(k, largest=False).indices for part in a.split(1024)])
    exact = torch.stack([(b[column] - a).square().mean(1).sqrt() for column in index.T], 1)  # without cancellation
    return exact.numpy(), index.numpy()


def interval(values, level: float = 0.95) -> Interval:
    r"""Compute the mean of independent values with Student's interval: :math:`\bar v \pm t\, s / \sqrt n`.

    Args:
        values: one number a seed or an image, at least two.
        level: coverage, between 0 and 1.

    Returns:
        ``Interval(value, low, high)``.

    Raises:
        InvalidInput: fewer than two values, values that are not finite, or a level outside (0, 1).
    """
    values = _sample(values, level)
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / math.sqrt(values.size)
    mean = values.mean()
    return Interval(float(mean), float(mean - half), float(mean + half))


def bootstrap(
    values, statistic: Callable, rng: np.random.Generator, level: float = 0.95, resamples: int = 1000
) -> Interval:
    """Compute a statistic with its percentile bootstrap interval.

    Args:
        values: independent observations along the first axis, at least two.
        statistic: a function from an array like ``values`` to a number.
        rng: where the resampling comes from.
        level: coverage, between 0 and 1.
        resamples: number of resamples.

    Returns:
        ``Interval(value, low, high)``, the value that of the original observations.

    Raises:
        InvalidInput: fewer than two values, values that are not finite, or a level outside (0, 1).

    Source:
        Efron (1979), Bootstrap methods: another look at the jackknife.
    """
    values = _sample(values, level)
    draws = [float(statistic(values[rng.integers(0, len(values), len(values))])) for _ in range(resamples)]
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(values)), float(low), float(high))


def _pair(x, reference, data_range: float, dims: int) -> tuple[np.ndarray, np.ndarray]:
    x, reference = pictures(x, "x", dims), pictures(reference, "reference", dims)
    if x.shape != reference.shape:
        raise InvalidInput(f"x has shape {x.shape} and reference {reference.shape}; expected equal shapes.")
    if not (math.isfinite(data_range) and data_range > 0):
        raise InvalidInput(f"data_range is {data_range}; expected a positive number in the units of the pictures.")
    return x, reference


def _sample(values, level: float) -> np.ndarray:
    values = array(values, "values")
    if values.ndim < 1 or len(values) < 2:
        raise InvalidInput(f"values has shape {values.shape}; an interval needs at least two independent values.")
    if not 0 < level < 1:
        raise InvalidInput(f"level is {level}; expected a coverage between 0 and 1, such as 0.95.")
    return values
