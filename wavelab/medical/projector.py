r"""The system matrix of a beam, and a fast exact pair of it and its transpose.

Entry :math:`a_{ij}` is the length in mm that ray ``i`` is taken to run through pixel ``j``, after Joseph (1982): a ray
that runs more along ``x`` than ``y`` visits every column of pixels once and interpolates linearly between the two
nearest pixels of the column.

Quarter turns and mirrors map the square grid onto itself. Those that map the views onto one another as well leave few
views from which all others follow. The matrix is built for these alone and applied to all the turned and mirrored
images at once: an eighth of the memory, and each number read from it is used eight times.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from wavelab.medical.geometry import Parallel, _Beam

_CHUNK = 1 << 22  # candidate entries that are held at once


def joseph(beam: _Beam, views=slice(None)) -> scipy.sparse.csr_matrix:
    """Build the system matrix of some views, shape ``(views * bins, size * size)``, entries in mm.

    Source:
        Joseph (1982), An improved algorithm for reprojecting rays through pixel images.
    """
    points, directions = (a.reshape(-1, 2) for a in beam.rays(views))
    chunk = max(1, _CHUNK // (2 * beam.size))
    parts = [_entries(beam, points[k : k + chunk], directions[k : k + chunk]) for k in range(0, len(points), chunk)]
    counts, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return scipy.sparse.csr_matrix((values, columns, starts), shape=(len(points), beam.size**2))


def _entries(beam: _Beam, points: np.ndarray, directions: np.ndarray):
    """Return for each ray how many pixels it meets, and all their columns and lengths, ray after ray."""
    size = beam.size
    start = points / beam.pixel * [1, -1] + (size - 1) / 2  # in pixels: column, row
    steep = np.abs(directions[:, 1]) > np.abs(directions[:, 0])  # runs along the rows' axis
    major, minor = np.where(steep, start[:, ::-1].T, start.T)
    run, rise = np.where(steep, (directions * [1, -1])[:, ::-1].T, (directions * [1, -1]).T)
    slope = rise / run
    steps = np.arange(size)
    place = (minor - slope * major)[:, None] + slope[:, None] * steps
    below = np.floor(place).astype(np.int32)
    share = place - below
    index = np.stack([below, below + 1], -1)
    weight = np.stack([1 - share, share], -1) * (beam.pixel * np.sqrt(1 + slope**2))[:, None, None]
    stride_major, stride_minor = np.where(steep, size, 1), np.where(steep, 1, size)
    pixel = index * stride_minor[:, None, None] + (stride_major[:, None] * steps)[..., None]
    inside = (index >= 0) & (index < size) & (weight > 0)
    return inside.sum((1, 2)), pixel[inside].astype(np.int32), weight[inside]


def back_projector(beam: _Beam, distance_weight, coordinate, views=slice(None)) -> scipy.sparse.csc_matrix:
    """Build the transpose of pixel-driven back-projection with linear interpolation between bins.

    Args:
        beam: the geometry.
        distance_weight: takes positions along ``n`` and returns a weight.
        coordinate: takes positions along ``e`` and along ``n``, and returns the place on the detector, mm.
        views: which views.

    Returns:
        Shape ``(views * bins, size * size)``, stored pixel after pixel.
    """
    grid = (np.arange(beam.size) - (beam.size - 1) / 2) * beam.pixel
    xy = np.stack(np.meshgrid(grid, -grid), -1).reshape(-1, 2)
    first = np.arange(len(np.asarray(beam.angles)[views])) * beam.bins
    chunk = max(1, _CHUNK // (2 * len(first)))
    parts = [_interpolate(beam, views, first, xy[k : k + chunk], distance_weight, coordinate)
             for k in range(0, len(xy), chunk)]  # fmt: skip
    counts, rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return scipy.sparse.csc_matrix((values, rows, starts), shape=(len(first) * beam.bins, len(xy)))


def _interpolate(beam: _Beam, views, first: np.ndarray, xy: np.ndarray, distance_weight, coordinate):
    """Return for some pixels how many bins they take, and all their rows and weights, pixel after pixel."""
    e, n = (xy @ axis[:, 0].T for axis in beam.axes(views))
    place = coordinate(e, n) / beam.bin_width + (beam.bins - 1) / 2
    below = np.floor(place).astype(np.int32)
    share = place - below
    index = np.stack([below, below + 1], -1)
    weight = np.stack([1 - share, share], -1) * distance_weight(n)[..., None]
    inside = (index >= 0) & (index < beam.bins)
    return inside.sum((1, 2)), (index + first[:, None])[inside].astype(np.int32), weight[inside]


@dataclass(frozen=True)
class Symmetry:
    """The quarter turns and mirrors of the grid that map a beam's views onto one another.

    Attributes:
        elements: ``(turns, mirrored)``: mirrored left to right first, then turned anticlockwise so many quarters.
        views: the views from which all others follow.
        source: of each view, the place in ``views`` of the one that it comes from, and the element that leads to it.
        reversed: of each view, whether its bins run the other way then.
    """

    elements: tuple[tuple[int, bool], ...]
    views: np.ndarray
    source: tuple[np.ndarray, np.ndarray]
    reversed: np.ndarray


def symmetry(beam: _Beam) -> Symmetry:
    """Find the symmetries of a beam."""
    moved = {(turns, mirrored): _moved(beam, turns, mirrored) for mirrored in (False, True) for turns in range(4)}
    elements = tuple(g for g, (views, _) in moved.items() if views is not None)
    place, element = np.full(beam.views, -1), np.zeros(beam.views, int)
    reverse, chosen = np.zeros(beam.views, bool), []
    for view in range(beam.views):
        if place[view] >= 0:
            continue
        for k, g in enumerate(elements):
            target, flip = (part[view] for part in moved[g])
            if place[target] < 0:
                place[target], element[target], reverse[target] = len(chosen), k, flip
        chosen.append(view)
    return Symmetry(elements, np.array(chosen), (place, element), reverse)


def _moved(beam: _Beam, turns: int, mirrored: bool) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the view that each view becomes, or None where one becomes none of them, and whether its bins reverse."""
    angles = np.asarray(beam.angles)
    wanted = ((-angles if mirrored else angles) + turns * np.pi / 2)[:, None]
    gap = np.abs(np.remainder(wanted - angles + np.pi, 2 * np.pi) - np.pi)
    reverse = np.full(len(angles), mirrored)
    nearest, off = gap.argmin(1), gap.min(1)
    if isinstance(beam, Parallel):  # a ray and its opposite are one line; the detector may be seen from behind
        behind = np.abs(np.remainder(wanted - angles, 2 * np.pi) - np.pi)
        turned = (off > 1e-9) & (behind.min(1) < off)  # a full turn has both views; then take the one in front
        reverse = mirrored ^ turned
        nearest, off = np.where(turned, behind.argmin(1), nearest), np.where(turned, behind.min(1), off)
    return (nearest if off.max() < 1e-9 else None), reverse


class Projector:
    """A matrix of rays by pixels and its transpose, applied to batches, differentiable, on any device.

    Both directions are products with a stored sparse matrix, so that one is the other's exact transpose.
    """

    def __init__(self, beam: _Beam, build, dtype: torch.dtype = torch.float32, device="cpu"):
        """Build the matrix, rays by pixels in any sparse format, by ``build(views)`` for the views that are needed."""
        self.beam, self.symmetry = beam, symmetry(beam)
        self.dtype, self.device = dtype, torch.device(device)
        self._built = build(self.symmetry.views).astype(str(dtype).split(".")[1])
        self._source = tuple(torch.from_numpy(part).to(device) for part in self.symmetry.source)
        self._reversed = torch.from_numpy(self.symmetry.reversed)[:, None].to(device)

    @cached_property
    def matrix(self) -> Tensor:
        """The matrix of the views from which all others follow, sparse CSR."""
        return _to_torch(self._built.tocsr(), self.device)

    @cached_property
    def transpose(self) -> Tensor:
        """Its transpose, sparse CSR."""
        return _to_torch(self._built.T.tocsr(), self.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Project images ``(..., size, size)`` to sinograms ``(..., views, bins)``."""
        return _Apply.apply(x, self, True)

    def adjoint(self, y: Tensor) -> Tensor:
        """Apply the transpose to sinograms ``(..., views, bins)``."""
        return _Apply.apply(y, self, False)

    def _project(self, x: Tensor) -> Tensor:
        images = torch.stack([_undo(x, *g) for g in self.symmetry.elements], -3)
        rays = _product(self.matrix, images.reshape(-1, self.beam.size**2))
        rays = rays.reshape(*x.shape[:-2], len(self.symmetry.elements), -1, self.beam.bins)
        place, element = self._source
        y = rays[..., element, place, :]
        return torch.where(self._reversed, y.flip(-1), y)

    def _back(self, y: Tensor) -> Tensor:
        place, element = self._source
        rays = y.new_zeros(*y.shape[:-2], len(self.symmetry.elements), len(self.symmetry.views), self.beam.bins)
        rays[..., element, place, :] = torch.where(self._reversed, y.flip(-1), y)
        images = _product(self.transpose, rays.reshape(-1, self.transpose.shape[1]))
        images = images.reshape(*y.shape[:-2], len(self.symmetry.elements), *self.beam.image_shape)
        return sum(_do(images[..., k, :, :], *g) for k, g in enumerate(self.symmetry.elements))


def _do(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    return (x.flip(-1) if mirrored else x).rot90(turns, (-2, -1))


def _undo(x: Tensor, turns: int, mirrored: bool) -> Tensor:
    x = x.rot90(-turns, (-2, -1))
    return x.flip(-1) if mirrored else x


def _product(matrix: Tensor, rows: Tensor) -> Tensor:
    """Multiply each row by the matrix; products of four columns at a time are the fastest."""
    columns = torch.nn.functional.pad(rows.T, (0, -len(rows) % 4)).contiguous()
    with torch.autocast(rows.device.type, enabled=False):  # there are no sparse products of lower precision
        return (matrix @ columns)[:, : len(rows)].T


class _Apply(torch.autograd.Function):
    """One direction forwards, the other backwards; twice differentiable, since each is linear."""

    @staticmethod
    def forward(ctx, x: Tensor, projector: Projector, forwards: bool) -> Tensor:
        ctx.projector, ctx.forwards = projector, forwards
        x = x.detach().to(projector.dtype)
        return projector._project(x) if forwards else projector._back(x)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _Apply.apply(gradient, ctx.projector, not ctx.forwards), None, None


def _to_torch(matrix: scipy.sparse.csr_matrix, device: torch.device) -> Tensor:
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")  # the product, all we use, is tested
        return torch.sparse_csr_tensor(*parts, size=matrix.shape, device=device, check_invariants=False)
