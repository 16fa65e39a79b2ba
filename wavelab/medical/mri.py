r"""Magnetic resonance imaging with one coil: masks on a Cartesian grid, the Fourier operator, data consistency.

Images are ``(..., height, width)``, real or complex; k-space has the same shape, complex, with the zero frequency in
the middle. :math:`\mathcal F` is the orthonormal Fourier transform. Chapter "Inverse problems" explains everything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical.checks import check_finite, check_number, check_whole

MASKS = ("gaussian", "uniform", "poisson")


def fft(x: Tensor) -> Tensor:
    """Orthonormal Fourier transform over the last two axes, zero frequency in the middle."""
    shifted = torch.fft.ifftshift(x, (-2, -1))
    return torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), (-2, -1))


def ifft(k: Tensor) -> Tensor:
    """Inverse of :func:`fft`."""
    shifted = torch.fft.ifftshift(k, (-2, -1))
    return torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), (-2, -1))


def mask(
    kind: str, shape: Sequence[int], acceleration: float, rng: np.random.Generator, centre: float = 0.08
) -> Tensor:
    """Draw which points of k-space are measured.

    ``"gaussian"`` draws whole columns, more of them near the middle (standard deviation ``15/128`` of the width);
    ``"uniform"`` takes columns at equal distances with a random start; ``"poisson"`` draws points of both axes that
    keep their distance (Poisson discs). All measure the middle fully, for auto-calibration.

    Args:
        kind: one of ``MASKS``.
        shape: ``(height, width)``.
        acceleration: all points divided by measured points, at least 1, which measures everything.
        rng: source of randomness.
        centre: share of the columns (for ``"poisson"``: of each axis) in the middle that are always measured.

    Returns:
        Boolean, shape ``shape``; exactly ``round(width / acceleration)`` columns, or as many points, are true.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: an acceleration or a share out of range, a middle larger than all that may be measured, or so few
            points that nothing would be measured.
    """
    if kind not in MASKS:
        raise UnknownName.among("mask", kind, MASKS)
    height, width = _checked_shape(shape)
    if not (math.isfinite(acceleration) and acceleration >= 1):
        raise InvalidInput(f"acceleration is {acceleration!r}; give a number of at least 1.")
    if not 0 <= centre <= 1:
        raise InvalidInput(f"centre is {centre!r}; give a share between 0 and 1.")
    if round((height * width if kind == "poisson" else width) / acceleration) < 1:
        raise InvalidInput(f"With acceleration {acceleration} nothing of {height} x {width} points is measured.")
    if kind == "poisson":
        return _poisson_discs(height, width, acceleration, rng, centre)
    middle = _middle(width, centre)
    wanted = round(width / acceleration)
    more = wanted - middle.sum()
    if more < 0:
        raise InvalidInput(
            f"The middle alone has {middle.sum()} columns, but acceleration {acceleration} allows {wanted} of {width}; "
            "lower centre."
        )
    chosen = middle | (_gaussian if kind == "gaussian" else _uniform)(middle, int(more), rng)
    return torch.from_numpy(np.broadcast_to(chosen, (height, width)).copy())


def _middle(width: int, centre: float) -> np.ndarray:
    lines = round(centre * width)
    start = width // 2 - lines // 2
    return (np.arange(width) >= start) & (np.arange(width) < start + lines)


def _gaussian(middle: np.ndarray, more: int, rng: np.random.Generator) -> np.ndarray:
    """Draw further columns without replacement, with Gaussian weights."""
    width = len(middle)
    drawn = np.zeros(width, bool)
    if not more:
        return drawn
    weight = np.exp(-0.5 * ((np.arange(width) - width // 2) / (15 / 128 * width)) ** 2) * ~middle
    drawn[rng.choice(width, more, replace=False, p=weight / weight.sum())] = True
    return drawn


def _uniform(middle: np.ndarray, more: int, rng: np.random.Generator) -> np.ndarray:
    """Take columns outside the middle at equal distances, from a random start."""
    free = np.flatnonzero(~middle)
    drawn = np.zeros(len(middle), bool)
    if more:
        drawn[free[((np.arange(more) + rng.random()) * len(free) / more).astype(int)]] = True
    return drawn


def _poisson_discs(height: int, width: int, acceleration: float, rng: np.random.Generator, centre: float) -> Tensor:
    """Take the widest discs that leave enough points, add the middle, and drop what is too many."""
    wanted = round(height * width / acceleration)
    block = _middle(height, centre)[:, None] & _middle(width, centre)
    if block.sum() > wanted:
        raise InvalidInput(f"The middle has {block.sum()} points, but acceleration {acceleration} allows {wanted}.")
    priority = rng.random((height, width))
    drawn = np.ones((height, width), bool)
    for squared in range(1, max(height, width)):
        fewer = block | _apart(priority, math.sqrt(squared))
        if fewer.sum() < wanted:
            break
        drawn = fewer
    spare = rng.permutation(np.flatnonzero(drawn & ~block))[: drawn.sum() - wanted]
    drawn.flat[spare] = False
    return torch.from_numpy(drawn)


def _apart(priority: np.ndarray, radius: float) -> np.ndarray:
    """Return a maximal set of grid points no closer than ``radius``: the first in each disc is kept, repeatedly."""
    reach = math.ceil(radius) - 1
    offsets = np.arange(-reach, reach + 1)
    disc = np.hypot(offsets[:, None], offsets) < radius
    kept, left = np.zeros(priority.shape, bool), priority.copy()
    while (left > 0).any():
        first = (left > 0) & (left == ndimage.maximum_filter(left, footprint=disc, mode="constant"))
        kept |= first
        left[ndimage.binary_dilation(first, disc)] = 0
    return kept


class MRI:
    r"""The operator of a single-coil scan, :math:`y = M\mathcal F x`, on real or complex images.

    For a real image :math:`\mathcal F x` is Hermitian: every measured point also tells its mirror image about the zero
    frequency. Then ``A_adjoint`` returns real images, and ``prox`` uses both points of a pair.

    Args:
        mask: boolean, ``(height, width)``: which points are measured.
        real: whether images are real, as in the paper, or complex.

    Raises:
        InvalidInput: a mask of another type or shape, or one that measures nothing.
    """

    def __init__(self, mask: Tensor, real: bool = True):
        """Keep the mask."""
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.ndim != 2:
            raise InvalidInput("mask must be a boolean tensor (height, width), such as wavelab.medical.mri.mask gives.")
        if not mask.any():
            raise InvalidInput("mask is empty: nothing is measured.")
        self.mask, self.real, self.device = mask, real, mask.device

    def A(self, x: Tensor) -> Tensor:
        """Measure images ``(..., height, width)``: k-space, 0 where nothing is measured.

        Raises:
            InvalidInput: images of another size, or complex ones where the scan is of real images.
        """
        return self.mask * fft(self._checked_images(x, "x"))

    def A_adjoint(self, y: Tensor) -> Tensor:
        r"""Apply :math:`A^*`: k-space to images, real ones if the scan is real: zero-filled reconstruction.

        Raises:
            InvalidInput: k-space of another size, or not complex.
        """
        return self._image(self.mask * self._checked_data(y))

    def prox(self, y: Tensor, z: Tensor, weight: float) -> Tensor:
        r"""Solve the data-consistency step in closed form.

        .. math:: \arg\min_x \tfrac12\|M\mathcal F x - y\|^2 + \tfrac{\rho}{2}\|x - z\|^2
                  = \mathcal F^*\,\frac{M^* y + \rho\,\mathcal F z}{M^* M + \rho}

        On real images :math:`M^*M` and :math:`M^*y` are averaged with their mirror images, since the normal operator
        is :math:`\Re\,\mathcal F^* M \mathcal F`.

        Args:
            y: k-space as :meth:`A` gives it.
            z: images.
            weight: :math:`\rho \ge 0`. With 0, what is measured is kept exactly and the rest taken from ``z``.

        Raises:
            InvalidInput: shapes of another scan, real k-space, complex images of a real scan, or a negative weight.
        """
        check_number("weight", weight, zero=True)
        density, data = self._normal(self._checked_data(y))
        k = fft(self._checked_images(z, "z"))
        if weight == 0:
            k = torch.where(density > 0, data / density.clamp_min(0.5), k)
        else:
            k = (data + weight * k) / (density + weight)
        return self._image(k)

    def least_squares(self, y: Tensor) -> Tensor:
        """Return the image of least norm that fits the data best: for real images, the mirror points are filled in."""
        return self.prox(y, torch.zeros_like(y.real if self.real else y), 0)

    def _normal(self, y: Tensor) -> tuple[Tensor, Tensor]:
        density, data = self.mask.to(y.real.dtype), self.mask * y
        if self.real:
            density, data = (density + _mirror(density)) / 2, (data + _mirror(data).conj()) / 2
        return density, data

    def _image(self, k: Tensor) -> Tensor:
        x = ifft(k)
        return x.real if self.real else x

    def _checked_images(self, x: Tensor, name: str) -> Tensor:
        if self.real and isinstance(x, Tensor) and x.is_complex():
            raise InvalidInput(
                f"{name} is complex, but this scan is of real images; use MRI(mask, real=False), or pass {name}.real."
            )
        return self._checked(x, name)

    def _checked_data(self, y: Tensor) -> Tensor:
        if isinstance(y, Tensor) and not y.is_complex():
            raise InvalidInput("y is real, but k-space is complex: pass what MRI.A gives, not images.")
        return self._checked(y, "y")

    def _checked(self, x: Tensor, name: str) -> Tensor:
        if not isinstance(x, Tensor) or x.shape[-2:] != self.mask.shape:
            shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInput(
                f"{name} has shape {shape}; this scan has {tuple(self.mask.shape)} as its last two axes."
            )
        check_finite(x, name)
        return x


def noise(y: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    r"""Return complex white noise like ``y``, of variance :math:`\sigma^2`: half of it real, half imaginary.

    Raises:
        InvalidInput: a negative or infinite standard deviation.
    """
    check_number("sigma", sigma, zero=True)
    parts = torch.randn(*y.shape, 2, generator=generator, dtype=y.real.dtype, device=y.device)
    return sigma / math.sqrt(2) * torch.view_as_complex(parts)


def _mirror(k: Tensor) -> Tensor:
    """Value at the opposite frequency, for an array with the zero frequency in the middle."""
    height, width = k.shape[-2:]
    shifts = (1 - height % 2, 1 - width % 2)
    return k.flip((-2, -1)).roll(shifts, (-2, -1))


def _checked_shape(shape: Sequence[int]) -> tuple[int, int]:
    if not isinstance(shape, Sequence) or len(shape) != 2:
        raise InvalidInput(f"shape is {shape!r}; give (height, width), two positive whole numbers.")
    for name, value in zip(("height", "width"), shape):
        check_whole(name, value)
    return int(shape[0]), int(shape[1])
