"""How one level of the transform is carried out on a grid: whole matrix, blocks of it, or convolution, axis by axis.

:mod:`wavelab.separable` explains the choice and carries it out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from wavelab.filterbank import analysis_matrix, taps

ROWS, COLUMNS = 16, 32  # rows of a block: any axis but the last, the last axis
BLOCKED, MANY = range(128, 2049), 2**17  # length of an axis, values in all, for which blocks pay off
WHOLE, WHOLE_ELSEWHERE = 256, 512  # longest axis for the whole matrix where they do not, on the CPU and elsewhere

Piece = tuple[int, int, Tensor]  # first column, last column + 1, what a block of rows has there


class Axis(NamedTuple):
    """How one axis is transformed: by blocks of a matrix, or by a kernel."""

    n: int  # values
    block: int  # rows of a block; n where there is only one
    run: int  # coefficients lie in runs of this length, low-pass and high-pass in turn
    blocks: tuple[tuple[Piece, ...], ...]
    inner: range  # the blocks that do not wrap around: they share one matrix, each meets columns a block further on
    kernel: Tensor | None  # shape (2, 1, taps, 1), for the transpose (2, 2, taps, 1)
    before: int  # coefficients or values before the place where the kernel's result goes


class Plan(NamedTuple):
    """How all axes are transformed, and where the coefficients lie on the grid of the signal."""

    axes: tuple[Axis, ...]
    band: tuple[int, ...]  # shape of a band: number and length of the runs, axis by axis
    grid: tuple[int, ...]  # shape of all coefficients: number of runs, low-pass or high-pass, length, axis by axis
    order: tuple[int, ...]  # permutes (batch, *grid) to (batch, 2, ..., 2, *band), the last axis' letter first


def make_plan(
    space: tuple[int, ...],
    wavelet: str,
    dual: bool,
    transpose: bool,
    many: bool,
    dtype: torch.dtype,
    device: torch.device,
    convolve: bool = False,
) -> Plan:
    """Plan one level on a grid.

    Args:
        space: shape of the signal.
        wavelet: any discrete PyWavelets name.
        dual: whether to take the dual wavelet's matrix.
        transpose: whether to apply the transpose of the matrix.
        many: whether there are values enough for blocks to pay off.
        dtype: of the signal.
        device: of the signal.
        convolve: whether to convolve whatever the size.

    Returns:
        The plan; :data:`cached_plan` is the same with a memory.
    """
    sizes = [ROWS] * (len(space) - 1) + [COLUMNS]
    options = wavelet, dual, transpose, many, dtype, device, convolve
    axes = tuple(_axis(n, block, *options) for n, block in zip(space, sizes))
    d = range(len(axes))
    band = tuple(v for axis in axes for v in (axis.n // (2 * axis.run), axis.run))
    grid = tuple(v for axis in axes for v in (axis.n // (2 * axis.run), 2, axis.run))
    order = (0, *(3 * i + 2 for i in reversed(d)), *(v for i in d for v in (3 * i + 1, 3 * i + 3)))
    return Plan(axes, band, grid, order)


cached_plan = lru_cache(maxsize=256)(make_plan)


def _axis(n, block, wavelet, dual, transpose, many, dtype, device, convolve) -> Axis:
    """Choose how to transform one axis."""
    on_cpu = device.type == "cpu"
    blocked = on_cpu and many and n in BLOCKED and n % block == 0
    if convolve or (not blocked and n > (WHOLE if on_cpu else WHOLE_ELSEWHERE)):
        kernel, before = (_transposed_kernel if transpose else _kernel)(*taps(wavelet, dual))
        return Axis(n, n, n // 2, (), range(0), torch.tensor(kernel, dtype=dtype, device=device).unsqueeze(-1), before)
    block = block if blocked else n
    run = 1 if blocked and transpose else block // 2
    matrix = analysis_matrix(wavelet, n, dual)
    matrix = matrix.view(2, n // (2 * run), run, n).transpose(0, 1).reshape(n, n)
    matrix = (matrix.T if transpose else matrix).to(device, dtype)
    blocks = tuple(_pieces(rows) for rows in matrix.split(block))
    within = [k for k, pieces in enumerate(blocks) if len(pieces) == 1 and pieces[0][1] - pieces[0][0] < n]
    inner = range(within[0], within[-1] + 1) if within else range(0)
    return Axis(n, block, run, blocks, inner, None, 0)


def _kernel(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[list, int]:
    """Return the kernel of the strided convolution from one signal to two bands."""
    return [[low], [high]], len(low) // 2 - 1


def _transposed_kernel(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[list, int]:
    """Return the kernel from two bands to the two phases of the signal.

    Value ``2q + p`` is the sum of ``h[2r + p + F/2 - 1] c[q - r]`` over both bands and all ``r`` that meet a tap.
    """
    shift = len(low) // 2 - 1
    last = (len(low) - 1 - shift) // 2
    places = [2 * r + shift for r in range(last, -(shift + 1) // 2 - 1, -1)]
    tap = lambda filter_, i: filter_[i] if 0 <= i < len(filter_) else 0.0  # noqa: E731
    return [[[tap(filter_, i + p) for i in places] for filter_ in (low, high)] for p in (0, 1)], last


def _pieces(rows: Tensor) -> tuple[Piece, ...]:
    """Leave out the columns where a block of rows is zero: one piece, or two where the band wraps around."""
    n = rows.shape[1]
    used = rows.ne(0).any(0).nonzero().flatten()
    gaps = torch.diff(used, append=used[:1] + n)
    widest = int(gaps.argmax())
    start, length = int(used[(widest + 1) % len(used)]), n + 1 - int(gaps[widest])
    if length > 0.8 * n:
        return ((0, n, rows.contiguous()),)
    ends = sorted([(start, min(start + length, n)), (0, start + length - n)], key=lambda end: end[0] - end[1])
    return tuple((i, j, rows[:, i:j].contiguous()) for i, j in ends if i < j)
