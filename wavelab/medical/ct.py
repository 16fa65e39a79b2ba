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
from wavelab.medical.geometry import Fan, Parallel, fitted
from wavelab.medical.projector import Projector, back_projector, joseph

__all__ = [
    "CT", "FILTERS", "Fan", "Parallel", "counts", "fitted", "log_transform", "log_variance", "low_dose", "sparse_view",
]  # fmt: skip

FILTERS = ("ramp", "hann", "cosine")
HIGHEST = 1.0  # 1/mm; every tissue and metal implant at diagnostic energies lies below


class CT:
    r"""The operator of a CT scanner, :math:`y = A\mu`, with its exact adjoint and filtered back-projection.

    ``A``, ``A_adjoint`` and ``fbp`` take batches, are differentiable (each one's gradient is its transpose), and run
    on any device that torch has sparse products for.

    Args:
        beam: :class:`Fan` or :class:`Parallel`.
        unit: the attenuation in 1/mm that images hold as 1; ``MU_WATER`` makes 0 air and 1 water.
        dtype: of the matrices: float32, or float64 for checks.
        device: where the matrices lie.

    Source:
        Kak & Slaney (1988), Principles of computerized tomographic imaging, chapter 3.
    """

    def __init__(self, beam: Fan | Parallel, unit: float = 1.0, dtype: torch.dtype = torch.float32, device="cpu"):
        """Build the system matrix; the one for back-projection follows when it is needed."""
        if not isinstance(beam, Fan | Parallel):
            raise InvalidInput(f"beam is {beam!r}; give a Fan or a Parallel.")
        if not isinstance(unit, int | float) or not math.isfinite(unit) or unit <= 0:
            raise InvalidInput(f"unit is {unit!r}; give a positive attenuation in 1/mm.")
        self.beam, self.unit, self.dtype, self.device = beam, unit, dtype, torch.device(device)
        self._rays = Projector(beam, lambda views: unit * joseph(beam, views), dtype, device)

    def A(self, x: Tensor) -> Tensor:
        r"""Integrate along every ray: images ``(..., size, size)`` to sinograms ``(..., views, bins)``.

        Raises:
            InvalidInput: images of another size.
        """
        return self._rays(_shaped(x, "x", self.beam.image_shape, "images"))

    def A_adjoint(self, y: Tensor) -> Tensor:
        r"""Apply :math:`A^\top`: sinograms ``(..., views, bins)`` to images ``(..., size, size)``.

        Raises:
            InvalidInput: sinograms of another geometry.
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
            InvalidInput: sinograms of another geometry, views that do not cover the whole turn evenly, a cutoff out of
                range.
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
        InvalidInput: NaN, Hounsfield units in place of attenuation, or no photons.
    """
    _check_photons(photons)
    if not bool(torch.isfinite(x).all()):
        raise InvalidInput(f"x (shape {tuple(x.shape)}) holds NaN or infinite values; mend or mask them first.")
    if (highest := x.abs().max() * ct.unit) > HIGHEST:
        raise InvalidInput(
            f"x reaches an attenuation of {highest:.4g} 1/mm; water has 0.02. Convert Hounsfield units by "
            "wavelab.data.volumes.hu_to_mu first, and divide by the scanner's unit."
        )
    return torch.poisson(photons * torch.exp(-ct.A(x)), generator=generator)


def log_transform(k: Tensor, photons: float) -> Tensor:
    r"""Turn counts into line integrals, :math:`\tilde y = \ln I_0 - \ln\max(k, 1)`.

    A ray that no photon survives is starved: its line integral is only known to be large. Counting it as one photon
    bounds it by :math:`\ln I_0`, and biases it low.

    Raises:
        InvalidInput: negative counts, NaN, or no photons.
    """
    _check_photons(photons)
    if not bool((k >= 0).all()):
        raise InvalidInput("k holds negative counts or NaN; expected counts of photons.")
    return math.log(photons) - k.clamp_min(1).log()


def log_variance(k: Tensor) -> Tensor:
    r"""Estimate the variance of each line integral from its counts: :math:`\operatorname{Var}\tilde y \approx 1/k`.

    By the delta method on :math:`-\ln k`, with the count for its mean; a starved ray counts as one photon.
    """
    return 1 / k.clamp_min(1)


def low_dose(size: int, pixel: float, views: int | None = None) -> Fan:
    """Return the fan beam of the low-dose task, source and detector 500 mm from the axis.

    Args:
        size: pixels a side.
        pixel: width of a pixel, mm.
        views: left out, 1000 for 512 pixels as in the paper, and in proportion for others, a multiple of 4.

    Source:
        The geometry of Wu et al. (2023); the detector here just covers the image's circle.
    """
    return fitted(Fan, size, pixel, views or max(4, 4 * round(1000 * size / 512 / 4)))


def sparse_view(size: int, pixel: float, views: int = 60, full: int = 720) -> Fan:
    """Return the fan beam of the sparse-view task: ``views`` of ``full`` ones, evenly spaced.

    Raises:
        InvalidInput: ``views`` does not divide ``full``.
    """
    beam = fitted(Fan, size, pixel, full)
    if not isinstance(views, int) or views < 1 or full % views:
        raise InvalidInput(f"views is {views!r}; give a number that divides {full}.")
    return beam.subset(full // views)


def _shaped(x: Tensor, name: str, shape: tuple[int, int], what: str) -> Tensor:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise InvalidInput(f"{name} is a {type(x).__name__}; expected a tensor of real numbers, {what} (..., {shape}).")
    if x.shape[-2:] != shape:
        raise InvalidInput(f"{name} has shape {tuple(x.shape)}; this geometry has {what} of {shape[0]} x {shape[1]}.")
    return x


def _check_photons(photons: float) -> None:
    if not isinstance(photons, int | float) or not math.isfinite(photons) or photons < 1:
        raise InvalidInput(f"photons is {photons!r}; give the photons a bin counts without an object, at least 1.")
