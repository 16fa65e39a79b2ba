r"""Computed tomography: line integrals, their adjoint, filtered back-projection, and photons.

Images hold the linear attenuation :math:`\mu`, ``(..., size, size)``, in 1/mm (from Hounsfield units by
:func:`wavelab.data.volumes.hu_to_mu`) or in multiples of a ``unit``, such as that of water. Sinograms hold line
integrals without unit, ``(..., views, bins)``. Chapter "Inverse problems" explains both.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical.checks import check_finite, check_number, check_whole
from wavelab.medical.geometry import Fan, Parallel, fitted
from wavelab.medical.projector import Projector, back_projector, joseph

__all__ = [
    "CT", "FILTERS", "Fan", "Parallel", "counts", "fitted", "log_transform", "log_variance", "low_dose", "sparse_view",
]  # fmt: skip

FILTERS = ("ramp", "hann", "cosine")
LOWEST, HIGHEST = -0.005, 1.0  # 1/mm; between air with much noise and an implant of steel


class CT:
    r"""The operator of a CT scanner, :math:`y = A\mu`, with its exact adjoint and filtered back-projection.

    ``A``, ``A_adjoint`` and ``fbp`` take batches, are differentiable (each one's gradient is its transpose), and run
    on any device that torch has sparse products for.

    Args:
        beam: :class:`Fan` or :class:`Parallel`.
        unit: the attenuation in 1/mm that images hold as 1; ``MU_WATER`` makes 0 air and 1 water.
        dtype: of the matrices: float32, or float64 for checks.
        device: where the matrices lie.

    Raises:
        InvalidInput: no beam, a unit that is not positive, or another dtype.

    Source:
        Kak & Slaney (1988), Principles of computerized tomographic imaging, chapter 3.
    """

    def __init__(self, beam: Fan | Parallel, unit: float = 1.0, dtype: torch.dtype = torch.float32, device="cpu"):
        """Build the system matrix; the one for back-projection follows when it is needed."""
        if not isinstance(beam, Fan | Parallel):
            raise InvalidInput(f"beam is {beam!r}; give a Fan or a Parallel.")
        check_number("unit", unit)
        if dtype not in (torch.float32, torch.float64):
            raise InvalidInput(f"dtype is {dtype!r}; give torch.float32 or torch.float64.")
        self.beam, self.unit, self.dtype, self.device = beam, unit, dtype, torch.device(device)
        self._rays = Projector(beam, lambda views: unit * joseph(beam, views), dtype, device)

    def A(self, x: Tensor) -> Tensor:
        r"""Integrate along every ray: images ``(..., size, size)`` to sinograms ``(..., views, bins)``.

        Raises:
            InvalidInput: images of another size, or with NaN.
        """
        return self._rays(_shaped(x, "x", self.beam.image_shape, "images"))

    def A_adjoint(self, y: Tensor) -> Tensor:
        r"""Apply :math:`A^\top`: sinograms ``(..., views, bins)`` to images ``(..., size, size)``.

        Raises:
            InvalidInput: sinograms of another geometry, or with NaN.
        """
        return self._rays.adjoint(_shaped(y, "y", self.beam.sinogram_shape, "sinograms"))

    def fbp(self, y: Tensor, filter: str = "ramp", cutoff: float = 1.0) -> Tensor:
        r"""Reconstruct by filtered back-projection.

        .. math:: \mu(x) = \frac{\pi}{V}\sum_{v=1}^{V} \frac{1}{U_v(x)^2}\,\big(h * c\,y_v\big)\big(s_v(x)\big)

        with the ramp filter ``h``, for a fan :math:`U = (R + n\cdot x)/R` and the cosine of each ray's angle ``c``; for
        parallel rays both are 1. The convolution is sampled in space, which keeps the mean right. Pixels that some
        view does not see are set to 0.

        Args:
            y: sinograms ``(..., views, bins)``.
            filter: ``"ramp"``, or its product with a ``"hann"`` or ``"cosine"`` window against noise.
            cutoff: where the window ends, as a share of the highest frequency, in (0, 1].

        Returns:
            Attenuation in this scanner's unit, shape ``(..., size, size)``.

        Raises:
            InvalidInput: sinograms of another geometry or with NaN, views that do not cover the whole turn evenly, a
                cutoff out of range.
            UnknownName: there is no such filter.
        """
        y = _shaped(y, "y", self.beam.sinogram_shape, "sinograms").to(self.dtype)
        if not self.beam.is_complete:
            raise InvalidInput(
                "Filtered back-projection needs views that cover the turn evenly, a parallel beam's half of it; "
                "reconstruct other sets of angles by least squares."
            )
        response = torch.from_numpy(_response(self.beam.bins, self._bin_at_axis, filter, cutoff)).to(y)
        length = 2 * (len(response) - 1)
        filtered = torch.fft.irfft(torch.fft.rfft(y * self._cosines.to(y), length) * response, length)
        image = self._pixels.adjoint(filtered[..., : self.beam.bins].contiguous())
        return math.pi / (self.beam.views * self.unit) * self._seen.to(image) * image

    @cached_property
    def _seen(self) -> Tensor:
        """Which pixels every view sees."""
        beam = self.beam
        reach = beam.detector[-1]
        radius = (
            beam.source * reach / math.hypot(beam.source + beam.distance, reach) if isinstance(beam, Fan) else reach
        )
        grid = (torch.arange(beam.size) - (beam.size - 1) / 2) * beam.pixel
        return torch.hypot(grid[:, None], grid) <= radius

    @property
    def _bin_at_axis(self) -> float:
        """Distance of two bins where their rays pass the axis, mm."""
        beam = self.beam
        return beam.bin_width * (beam.source / (beam.source + beam.distance) if isinstance(beam, Fan) else 1.0)

    @cached_property
    def _cosines(self) -> Tensor:
        """Cosine of every ray's angle to the central ray, shape ``(bins,)``."""
        if isinstance(self.beam, Parallel):
            return torch.ones(self.beam.bins)
        far = self.beam.source + self.beam.distance
        return torch.from_numpy(far / np.hypot(far, self.beam.detector))

    @cached_property
    def _pixels(self) -> Projector:
        """Pixel-driven back-projection, as the adjoint of a projector."""
        beam = self.beam
        if isinstance(beam, Parallel):
            return Projector(
                beam, lambda views: back_projector(beam, np.ones_like, lambda e, n: e, views), self.dtype, self.device
            )
        far = beam.source + beam.distance
        return Projector(
            beam,
            lambda views: back_projector(
                beam, lambda n: (beam.source / (beam.source + n)) ** 2, lambda e, n: far * e / (beam.source + n), views
            ),
            self.dtype,
            self.device,
        )


def _response(bins: int, width: float, filter: str, cutoff: float) -> np.ndarray:
    r"""Frequency response of the ramp sampled in space: :math:`h_0=1/4w^2`, :math:`h_n=-1/(\pi n w)^2` for odd n."""
    if filter not in FILTERS:
        raise UnknownName.among("filter", filter, FILTERS)
    if not 0 < cutoff <= 1:
        raise InvalidInput(f"cutoff is {cutoff!r}; give a share of the highest frequency, above 0 and at most 1.")
    length = 2 ** math.ceil(math.log2(2 * bins))
    n = np.minimum(np.arange(length), length - np.arange(length))
    h = np.zeros(length)
    h[n % 2 == 1] = -1 / (np.pi * n[n % 2 == 1] * width) ** 2
    h[0] = 1 / (2 * width) ** 2
    response = np.fft.rfft(h).real * width
    frequency = np.linspace(0, 1, len(response)) / cutoff
    window = {
        "ramp": np.ones_like,
        "hann": lambda f: 0.5 + 0.5 * np.cos(np.pi * f),
        "cosine": lambda f: np.cos(np.pi / 2 * f),
    }
    return response * np.where(frequency <= 1, window[filter](frequency), 0.0)


def counts(x: Tensor, ct: CT, photons: float, generator: torch.Generator) -> Tensor:
    r"""Simulate a scan: Poisson counts :math:`k_i \sim \mathrm{Poisson}\big(I_0\,e^{-(Ax)_i}\big)`.

    Args:
        x: attenuation in the scanner's unit, ``(..., size, size)``.
        ct: the scanner.
        photons: photons :math:`I_0` that a bin would count without an object.
        generator: source of randomness, on the same device.

    Raises:
        InvalidInput: images of another size, NaN, Hounsfield units in place of attenuation, an object that hardly any
            ray comes through, or no photons.
    """
    _check_photons(photons)
    if _shaped(x, "x", ct.beam.image_shape, "images").numel() == 0:
        raise InvalidInput(f"x has shape {tuple(x.shape)}: there is no image.")
    low, high = (float(value) * ct.unit for value in x.aminmax())
    if low < LOWEST or high > HIGHEST:
        raise InvalidInput(
            f"x runs from {low:.4g} to {high:.4g} 1/mm; air has 0 and water 0.02. Convert Hounsfield units by "
            "wavelab.data.volumes.hu_to_mu first, divide by the scanner's unit, and set all outside the scan to 0."
        )
    expected = photons * torch.exp(-ct.A(x))
    if expected.median() < 0.1:
        raise InvalidInput(
            f"Half of the rays keep less than a tenth of a photon of {photons:g}: look at the units of x and scanner."
        )
    return torch.poisson(expected, generator=generator)


def log_transform(k: Tensor, photons: float) -> Tensor:
    r"""Turn counts into line integrals, :math:`\tilde y = \ln I_0 - \ln\max(k, 1)`.

    A ray that no photon survives is starved: its line integral is only known to be large. Counting it as one photon
    bounds it by :math:`\ln I_0`, and biases it low.

    Raises:
        InvalidInput: negative counts, NaN, or no photons.
    """
    _check_photons(photons)
    _check_counts(k)
    return math.log(photons) - k.clamp_min(1).log()


def log_variance(k: Tensor) -> Tensor:
    r"""Estimate the variance of each line integral from its counts: :math:`\operatorname{Var}\tilde y \approx 1/k`.

    By the delta method on :math:`-\ln k`, with the count for its mean; a starved ray counts as one photon.

    Raises:
        InvalidInput: negative counts, or NaN.
    """
    _check_counts(k)
    return 1 / k.clamp_min(1)


def low_dose(size: int, pixel: float, views: int | None = None) -> Fan:
    """Return the fan beam of the low-dose task, source and detector 500 mm from the axis.

    Args:
        size: pixels a side.
        pixel: width of a pixel, mm.
        views: left out, 1000 for 512 pixels as in the paper, and in proportion for others, a multiple of 4.

    Raises:
        InvalidInput: see :func:`fitted`.

    Source:
        The geometry of Wu et al. (2023); the detector here just covers the image's circle.
    """
    check_whole("size", size)
    return fitted(Fan, size, pixel, max(4, 4 * round(1000 * size / 512 / 4)) if views is None else views)


def sparse_view(size: int, pixel: float, views: int = 60, full: int = 720) -> Fan:
    """Return the fan beam of the sparse-view task: ``views`` of ``full`` ones, evenly spaced.

    Raises:
        InvalidInput: ``views`` does not divide ``full``; see also :func:`fitted`.
    """
    beam = fitted(Fan, size, pixel, full)
    check_whole("views", views)
    if full % views:
        raise InvalidInput(f"views is {views!r}; give a number that divides {full}.")
    return beam.subset(full // views)


def _shaped(x: Tensor, name: str, shape: tuple[int, int], what: str) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        given = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise InvalidInput(f"{name} is {given}; expected a tensor of real numbers, {what} (..., {shape}).")
    if x.shape[-2:] != shape:
        raise InvalidInput(f"{name} has shape {tuple(x.shape)}; this geometry has {what} of {shape[0]} x {shape[1]}.")
    check_finite(x, name)
    return x


def _check_photons(photons: float) -> None:
    check_number("photons", photons)
    if photons < 1:
        raise InvalidInput(f"photons is {photons!r}; give the photons a bin counts without an object, at least 1.")


def _check_counts(k: Tensor) -> None:
    if not bool((k >= 0).all()) or not bool(torch.isfinite(k).all()):
        raise InvalidInput("k holds negative, infinite or NaN values; expected counts of photons.")
