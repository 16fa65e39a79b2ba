r"""The system matrix of a beam, and a fast exact pair of it and its transpose.

Entry :math:`a_{ij}` is the length in mm that ray ``i`` is taken to run through pixel ``j``, after Joseph (1982): a ray
that runs more along ``x`` than ``y`` visits every column of pixels once and interpolates linearly between the two
nearest pixels of the column.

A quarter turn maps the square grid onto itself. Where it maps the views onto one another as well, a quarter of the
matrix serves for all of them, applied to the image and its three rotations at once: a quarter of the memory, and
each number read from it is used four times.
"""

from __future__ import annotations

import warnings
from functools import cached_property

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from wavelab.medical.geometry import _Beam

_CHUNK = 1 << 22  # candidate entries that are held at once


def joseph(beam: _Beam, views: slice = slice(None)) -> scipy.sparse.csr_matrix:
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


def back_projector(beam: _Beam, distance_weight, coordinate, views: slice = slice(None)) -> scipy.sparse.csc_matrix:
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
    first = np.arange(len(beam.angles[views])) * beam.bins
    chunk = max(1, _CHUNK // (2 * len(first)))
    parts = [_interpolate(beam, views, first, xy[k : k + chunk], distance_weight, coordinate)
             for k in range(0, len(xy), chunk)]  # fmt: skip
    counts, rows, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return scipy.sparse.csc_matrix((values, rows, starts), shape=(len(first) * beam.bins, len(xy)))


def _interpolate(beam: _Beam, views: slice, first: np.ndarray, xy: np.ndarray, distance_weight, coordinate):
    """Return for some pixels how many bins they take, and all their rows and weights, pixel after pixel."""
    e, n = (xy @ axis[:, 0].T for axis in beam.axes(views))
    place = coordinate(e, n) / beam.bin_width + (beam.bins - 1) / 2
    below = np.floor(place).astype(np.int32)
    share = place - below
    index = np.stack([below, below + 1], -1)
    weight = np.stack([1 - share, share], -1) * distance_weight(n)[..., None]
    inside = (index >= 0) & (index < beam.bins)
    return inside.sum((1, 2)), (index + first[:, None])[inside].astype(np.int32), weight[inside]


def quarter_turns(beam: _Beam) -> tuple[int, int]:
    """Return into how many equal blocks of views the beam falls, and how many quarter turns each leads on."""
    angles = np.asarray(beam.angles)
    for blocks in (4, 2):
        if beam.views % blocks:
            continue
        folded = angles.reshape(blocks, -1)
        turns = (folded[1, 0] - folded[0, 0]) / (np.pi / 2)
        steps = folded - folded[0] - np.pi / 2 * round(turns) * np.arange(blocks)[:, None]
        if round(turns) > 0 and np.abs(steps).max() < 1e-9:
            return blocks, round(turns)
    return 1, 0


class Projector:
    """A matrix of rays by pixels and its transpose, applied to batches, differentiable, on any device.

    Both directions are products with a stored sparse matrix, so that one is the other's exact transpose.
    """

    def __init__(self, beam: _Beam, build, dtype: torch.dtype = torch.float32, device="cpu"):
        """Build the matrix, rays by pixels in any sparse format, by ``build(views)`` for the first block of views."""
        self.beam = beam
        self.blocks, self.turns = quarter_turns(beam)
        self._built = build(slice(0, beam.views // self.blocks)).astype(str(dtype).split(".")[1])
        self.dtype, self.device = dtype, torch.device(device)

    @cached_property
    def matrix(self) -> Tensor:
        """The matrix of the first block, sparse CSR."""
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
        rotated = torch.stack([x.rot90(-self.turns * k, (-2, -1)) for k in range(self.blocks)], -3)
        flat = rotated.reshape(-1, self.beam.size**2).T.contiguous()
        rays = (self.matrix @ flat).T  # (batch * blocks, rays of a block)
        return rays.reshape(*x.shape[:-2], self.beam.views, self.beam.bins)

    def _back(self, y: Tensor) -> Tensor:
        flat = y.reshape(-1, self.transpose.shape[1]).T.contiguous()
        images = (self.transpose @ flat).T.reshape(*y.shape[:-2], self.blocks, *self.beam.image_shape)
        return sum(images[..., k, :, :].rot90(self.turns * k, (-2, -1)) for k in range(self.blocks))


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
