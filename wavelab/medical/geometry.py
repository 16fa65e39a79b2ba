r"""Where the rays run: parallel and fan beams as small frozen objects.

The object is a square image of ``size`` × ``size`` pixels of width ``pixel`` around the axis of rotation, ``x`` to the
right and ``y`` upwards, in mm. At the angle :math:`\beta` the detector lies along :math:`e=(\cos\beta,\sin\beta)` and
the rays travel along :math:`n=(-\sin\beta,\cos\beta)`. Angles are in radians.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from wavelab.errors import InvalidInput
from wavelab.medical.checks import check_number, check_whole


@dataclass(frozen=True)
class _Beam:
    size: int
    pixel: float
    views: int
    bins: int
    bin_width: float
    angles: tuple[float, ...] | None = field(default=None, kw_only=True)

    turn = math.pi  # the angle that the views cover

    def __post_init__(self):
        for name in ("size", "views", "bins"):
            check_whole(name, getattr(self, name))
        for name in ("pixel", "bin_width"):
            check_number(name, getattr(self, name))
        object.__setattr__(self, "angles", self._checked_angles())

    def _checked_angles(self) -> tuple[float, ...]:
        if self.angles is None:
            return tuple((np.arange(self.views) * (self.turn / self.views)).tolist())
        angles = np.asarray(self.angles, dtype=float)
        if angles.shape != (self.views,) or not np.isfinite(angles).all():
            raise InvalidInput(f"angles has shape {angles.shape}; expected {self.views} finite angles, one a view.")
        if (np.diff(angles) <= 0).any() or angles[-1] - angles[0] >= 2 * math.pi:
            raise InvalidInput("angles must increase, in radians, within one turn; sort them and the sinogram's rows.")
        return tuple(angles.tolist())

    @property
    def image_shape(self) -> tuple[int, int]:
        """Shape of an image."""
        return self.size, self.size

    @property
    def sinogram_shape(self) -> tuple[int, int]:
        """Shape of a sinogram, (views, bins)."""
        return self.views, self.bins

    @property
    def detector(self) -> np.ndarray:
        """Positions of the bins' centres along the detector, mm."""
        return (np.arange(self.bins) - (self.bins - 1) / 2) * self.bin_width

    @property
    def is_complete(self) -> bool:
        """Whether the views are evenly spaced over the whole turn that filtered back-projection needs."""
        step = np.diff([*self.angles, self.angles[0] + self.turn])
        return bool(np.allclose(step, self.turn / self.views, rtol=1e-3))  # angles of files are often float32

    def axes(self, views=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors ``e`` and ``n`` of the views, each ``(views, 1, 2)``."""
        beta = np.asarray(self.angles)[views, None]
        cos, sin = np.cos(beta), np.sin(beta)
        return np.stack([cos, sin], -1), np.stack([-sin, cos], -1)

    def subset(self, every: int):
        """Return the geometry with every ``every``-th view: 720 views become 60 by ``subset(12)``.

        Raises:
            InvalidInput: a number that does not divide that of the views.
        """
        check_whole("every", every)
        if self.views % every:
            raise InvalidInput(f"every is {every!r}; give a whole number that divides the {self.views} views.")
        return replace(self, views=self.views // every, angles=self.angles[::every])


@dataclass(frozen=True)
class Parallel(_Beam):
    r"""Parallel beam: the bin at ``s`` measures the line :math:`\{s\,e + l\,n\}`.

    Args:
        size: pixels a side.
        pixel: width of a pixel, mm.
        views: number of angles, evenly spaced over half a turn.
        bins: bins of the detector.
        bin_width: distance of their centres, mm.
        angles: other angles, increasing, radians.

    Raises:
        InvalidInput: numbers or lengths that are not positive, or angles that are not one a view, or not in order.
    """

    def rays(self, views=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return a point on every ray and its direction of length 1, each ``(views, bins, 2)``, mm."""
        e, n = self.axes(views)
        points = self.detector[:, None] * e
        return points, np.broadcast_to(n, points.shape)


@dataclass(frozen=True)
class Fan(_Beam):
    r"""Fan beam with a flat detector: from the source at :math:`-R\,n` to the bin at :math:`D\,n+u\,e`.

    Args:
        size: pixels a side.
        pixel: width of a pixel, mm.
        views: number of angles, evenly spaced over a whole turn.
        bins: bins of the detector.
        bin_width: distance of their centres on the detector, mm.
        source: distance :math:`R` from the source to the axis, mm.
        distance: distance :math:`D` from the axis to the detector, mm.
        angles: other angles, increasing, radians.

    Raises:
        InvalidInput: as for :class:`Parallel`, or a source inside the image.
    """

    source: float = 500.0
    distance: float = 500.0

    turn = 2 * math.pi

    def __post_init__(self):
        super().__post_init__()
        check_number("source", self.source)
        check_number("distance", self.distance, zero=True)
        if self.source <= (reach := self.size * self.pixel / math.sqrt(2)):
            raise InvalidInput(
                f"The source is {self.source} mm from the axis, inside the image, whose corners are at {reach:.0f} mm."
            )

    def rays(self, views=slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Return a point on every ray and its direction of length 1, each ``(views, bins, 2)``, mm."""
        e, n = self.axes(views)
        along = self.detector[:, None] * e + (self.source + self.distance) * n
        direction = along / np.linalg.norm(along, axis=-1, keepdims=True)
        return np.broadcast_to(-self.source * n, direction.shape), direction


def fitted(kind: type[_Beam], size: int, pixel: float, views: int, bins: int | None = None) -> _Beam:
    """Return a beam that just covers the circle inscribed in the image; a fan has source and detector at 500 mm.

    Args:
        kind: :class:`Parallel` or :class:`Fan`.
        size: pixels a side.
        pixel: width of a pixel, mm.
        views: number of views.
        bins: bins of the detector; left out, rays are 0.7 pixels apart at the axis.

    Raises:
        InvalidInput: numbers or lengths that are not positive, or an image that a fan of this radius does not hold.
    """
    check_whole("size", size)
    check_number("pixel", pixel)
    radius = size * pixel / 2
    if kind is Fan and radius >= 500:
        raise InvalidInput(f"An image of {size} pixels of {pixel} mm reaches the source, 500 mm from the axis.")
    near, magnified = (radius / math.sqrt(1 - (radius / 500) ** 2), 2.0) if kind is Fan else (radius, 1.0)
    bins = math.ceil(2 * near / (0.7 * pixel)) if bins is None else bins
    check_whole("bins", bins)
    return kind(size, pixel, views, bins, 2 * near * magnified / bins)
