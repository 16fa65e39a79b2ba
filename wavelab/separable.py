"""One level of the periodised transform along every space axis, as fast as plain torch allows.

Filtering is separable, so a level is one operation an axis. Which one was chosen by measurement (two AVX-512 cores,
float32; ``python -m tests.bench.bench_wavelets`` shows the result):

- **Two taps (haar):** gather the ``2**dims`` phases ``x[2k + p]`` and mix them with one tiny matrix product. It runs
  near the speed of a copy; butterflies axis by axis read and write everything once an axis.
- **Up to 64 values:** one product with the whole matrix; fewer calls beat fewer multiplications.
- **From 65 to 1024 values:** the matrix is a band that wraps around. It is cut into blocks of rows, each of which
  meets only the columns it needs: 16 rows a block where the axis is not the last, 32 for the last one, where
  narrower products are slow. On 256 values that takes a fifth to a third of the time of the whole matrix.
- **Beyond, or where blocks do not fit:** strided convolution of the signal, padded periodically.

The results of the blocks are left where the products put them; one copy at the end sorts them into sub-bands. A large
batch goes through in parts, since fresh memory costs more than filling it: the parts share a little of it.
Accelerators have no use for short products one after the other: there it is the whole matrix up to 512 values and
convolution beyond. Inside ``torch.compile`` it is convolution throughout, which the compiler can see through.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wavelab.filterbank import analysis_matrix, taps

ROWS, COLUMNS = 16, 32  # rows of a block: any axis but the last, the last axis
WHOLE, BLOCKED, WHOLE_ELSEWHERE = 64, 1024, 512  # largest axis for the whole matrix, for blocks; off the CPU
MANY = 2**16  # values that make blocks pay off
PART = 2**20  # values of a batch that go through together

Piece = tuple[int, int, Tensor]  # first column, last column + 1, what a block of rows has there


class Axis(NamedTuple):
    """How one axis is transformed: by blocks of a matrix, or by a kernel."""

    n: int  # values
    block: int  # rows of a block; n where there is only one
    run: int  # coefficients lie in runs of this length, low-pass and high-pass in turn
    blocks: tuple[tuple[Piece, ...], ...]
    inner: range  # the blocks that do not wrap around: one matrix for all, each a block further on
    kernel: Tensor | None  # shape (2, 1, taps, 1)
    transpose: bool


def analyse(x: Tensor, wavelet: str, dual: bool, dims: int) -> tuple[Tensor, Tensor]:
    """Apply one level of the analysis matrix to every axis.

    Args:
        x: shape ``(..., *space)``.
        wavelet: any discrete PyWavelets name.
        dual: whether to take the dual wavelet's matrix.
        dims: number of space axes.

    Returns:
        ``approx`` of shape ``(..., *space / 2)`` and ``detail`` of shape ``(..., 2**dims - 1, *space / 2)``, both
        contiguous.
    """
    lead, space = x.shape[: x.ndim - dims], x.shape[x.ndim - dims :]
    half = [n // 2 for n in space]
    x = x.reshape(-1, *space).contiguous()
    approx, detail = x.new_empty(len(x), *half), x.new_empty(len(x), 2**dims - 1, *half)
    axes = _axes(x, tuple(space), wavelet, dual, False)
    for part in _parts(x):
        if axes:
            _split(_filter(x[part], axes), approx[part], detail[part], axes)
        else:
            _mix_phases(x[part], approx[part], detail[part], wavelet, dual)
    return approx.view(*lead, *half), detail.view(*lead, 2**dims - 1, *half)


def synthesise(approx: Tensor, detail: Tensor, wavelet: str, dual: bool, dims: int) -> Tensor:
    """Apply the transpose of :func:`analyse`; with the dual wavelet's matrix that is the inverse transform.

    Args:
        approx: shape ``(..., *space)``.
        detail: shape ``(..., 2**dims - 1, *space)``.
        wavelet: any discrete PyWavelets name.
        dual: whether to take the dual wavelet's matrix.
        dims: number of space axes.

    Returns:
        Shape ``(..., *2 space)``, contiguous.
    """
    lead, half = approx.shape[: approx.ndim - dims], approx.shape[approx.ndim - dims :]
    space = tuple(2 * n for n in half)
    approx, detail = approx.reshape(-1, *half), detail.reshape(-1, 2**dims - 1, *half)
    x = approx.new_empty(len(approx), *space)
    axes = _axes(x, space, wavelet, dual, True)
    for part in _parts(x):
        if axes:
            _sort(_filter(_merge(approx[part], detail[part], axes), axes), x[part], axes)
        else:
            _unmix_phases(approx[part], detail[part], x[part], wavelet, dual)
    return x.view(*lead, *space)


def _parts(x: Tensor) -> list[slice]:
    size = len(x) if torch.compiler.is_compiling() else max(1, PART // math.prod(x.shape[1:]))
    return [slice(start, start + size) for start in range(0, len(x), size)]


def _axes(x: Tensor, space: tuple[int, ...], wavelet: str, dual: bool, transpose: bool) -> tuple[Axis, ...]:
    """Choose how to transform every axis; nothing where the phases are mixed instead."""
    if torch.compiler.is_compiling():
        kernel = x.new_tensor(taps(wavelet, dual)).view(2, 1, -1, 1)
        return tuple(Axis(n, n, n // 2, (), range(0), kernel, transpose) for n in space)
    if len(taps(wavelet, dual)[0]) == 2:
        return ()
    blocks = [ROWS] * (len(space) - 1) + [COLUMNS]
    options = x.numel() >= MANY, wavelet, dual, transpose, x.dtype, x.device
    return tuple(_axis(n, block, *options) for n, block in zip(space, blocks))


@lru_cache(maxsize=256)
def _axis(n, block, many, wavelet, dual, transpose, dtype, device) -> Axis:
    """Choose how to transform one axis, as the module's docstring says."""
    on_cpu = device.type == "cpu"
    blocked = on_cpu and many and WHOLE < n <= BLOCKED and n % block == 0
    if not blocked and n > (4 * WHOLE if on_cpu else WHOLE_ELSEWHERE):
        kernel = torch.tensor(taps(wavelet, dual), dtype=dtype, device=device).view(2, 1, -1, 1)
        return Axis(n, n, n // 2, (), range(0), kernel, transpose)
    block = block if blocked else n
    run = 1 if blocked and transpose else block // 2
    matrix = analysis_matrix(wavelet, n, dual)
    matrix = matrix.view(2, n // (2 * run), run, n).transpose(0, 1).reshape(n, n)
    matrix = (matrix.T if transpose else matrix).to(device, dtype)
    blocks = tuple(_pieces(rows) for rows in matrix.split(block))
    whole = [k for k, pieces in enumerate(blocks) if len(pieces) == 1 and pieces[0][1] - pieces[0][0] < n]
    inner = range(whole[0], whole[-1] + 1) if whole else range(0)
    return Axis(n, block, run, blocks, inner, None, transpose)


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


def _filter(x: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """Transform every axis of ``(batch, *space)``: the last but one, then those before it, then the last.

    Returns:
        ``(blocks of the last axis, blocks of axis 1, ..., batch, rows of a block of axis 1, ..., of the last axis)``.
    """
    *outer, last = axes
    columns = last.n
    for axis in reversed(outer):
        x = _rows(x.reshape(-1, axis.n, columns), axis)
        columns *= axis.block
    return _columns(x.reshape(-1, last.n), last)


def _rows(x: Tensor, axis: Axis) -> Tensor:
    """Transform the middle axis of ``(batch, n, columns)``: ``(blocks, batch, rows of a block, columns)``."""
    if axis.kernel is not None:
        return _convolve(x, axis)
    batch, _, columns = x.shape
    out = x.new_empty(len(axis.blocks), batch, axis.block, columns)
    for target, ((i, j, matrix), *rest) in zip(out.unbind(), axis.blocks):
        torch.bmm(matrix.expand(batch, -1, -1), x[:, i:j], out=target)
        for i, j, matrix in rest:
            target.baddbmm_(matrix.expand(batch, -1, -1), x[:, i:j])
    return out


def _columns(x: Tensor, axis: Axis) -> Tensor:
    """Transform the last axis of ``(signals, n)``: ``(blocks, signals, rows of a block)``."""
    if axis.kernel is not None:
        return _convolve(x.unsqueeze(-1), axis)
    out = x.new_empty(len(axis.blocks), len(x), axis.block)
    inner = axis.inner
    if inner:  # all of them at once
        ((i, j, matrix),) = axis.blocks[inner.start]
        windows = x[:, i:].unfold(1, j - i, axis.block)[:, : len(inner)].transpose(0, 1)
        torch.bmm(windows, matrix.T.expand(len(inner), -1, -1), out=out[inner.start : inner.stop])
    for k in (*range(inner.start), *range(inner.stop, len(out))):
        (i, j, matrix), *rest = axis.blocks[k]
        torch.mm(x[:, i:j], matrix.T, out=out[k])
        for i, j, matrix in rest:
            out[k].addmm_(x[:, i:j], matrix.T)
    return out


def _convolve(x: Tensor, axis: Axis) -> Tensor:
    """Transform the middle axis of ``(batch, n, columns)``, its coefficients first all low-pass, then all high-pass."""
    batch, n, columns = x.shape
    length = axis.kernel.shape[2]
    before = length // 2 - 1
    if axis.transpose:
        places = torch.arange(-(length // 2), n // 2 + length // 2, device=x.device) % (n // 2)
        padded = x.reshape(batch, 2, n // 2, columns).index_select(2, places)
        x = F.conv_transpose2d(padded, axis.kernel, stride=(2, 1))
        return x[:, 0, before + 2 * (length // 2) :][:, :n]
    places = torch.arange(-before, n + length - 2 - before, device=x.device) % n
    return F.conv2d(x.index_select(1, places).unsqueeze(1), axis.kernel, stride=(2, 1)).reshape(batch, n, columns)


def _split(x: Tensor, approx: Tensor, detail: Tensor, axes: tuple[Axis, ...]) -> None:
    """Sort what :func:`_filter` returns into the approximation and the details."""
    dims, batch = len(axes), len(approx)
    counts, runs = [axis.n // axis.block for axis in axes], [axis.block // 2 for axis in axes]
    x = x.reshape(counts[-1], *counts[:-1], batch, *(v for run in runs for v in (2, run)))
    bands = [dims + 1 + 2 * i for i in reversed(range(dims))]  # the last axis' letter comes first
    grid = [v for i in range(dims) for v in ((i + 1) % dims, dims + 2 + 2 * i)]
    size = [v for pair in zip(counts, runs) for v in pair]
    coefficients = approx.view(batch, *size), detail.view(batch, -1, *size)
    for source, target in _bands(x.permute(dims, *bands, *grid), *coefficients):
        target.copy_(source)


def _merge(approx: Tensor, detail: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """Lay the coefficients out on the grid of the signal, in the runs that the axes ask for."""
    dims, batch = len(axes), len(approx)
    size = [v for axis in axes for v in (axis.n // (2 * axis.run), axis.run)]
    x = approx.new_empty(batch, *(v for axis in axes for v in (axis.n // (2 * axis.run), 2, axis.run)))
    grid = [v for i in range(dims) for v in (3 * i + 1, 3 * i + 3)]
    view = x.permute(0, *(3 * i + 2 for i in reversed(range(dims))), *grid)
    for target, source in _bands(view, approx.reshape(batch, *size), detail.reshape(batch, -1, *size)):
        target.copy_(source)
    return x


def _sort(x: Tensor, out: Tensor, axes: tuple[Axis, ...]) -> None:
    """Bring what :func:`_filter` returns into the order of the signal."""
    dims, counts, blocks = len(axes), [axis.n // axis.block for axis in axes], [axis.block for axis in axes]
    x = x.reshape(counts[-1], *counts[:-1], len(out), *blocks)
    x = x.permute(dims, *(v for i in range(dims) for v in ((i + 1) % dims, dims + 1 + i)))
    out.view(x.shape).copy_(x)


def _bands(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair the parts of ``(batch, 2, ..., 2, *grid)`` with those of the approximation and the details."""
    for k in reversed(range(x.ndim - approx.ndim)):
        high, x = x[:, 1], x[:, 0]
        yield high, detail[:, 2**k - 1 : 2 ** (k + 1) - 1].reshape(high.shape)
    yield x, approx


@lru_cache(maxsize=256)
def _mixing(wavelet: str, dual: bool, dims: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix of size ``2**dims`` that mixes the phases of a signal, for two taps."""
    matrix = mixing = torch.tensor(taps(wavelet, dual), dtype=torch.float64)
    for _ in range(dims - 1):
        mixing = torch.kron(mixing, matrix)
    return mixing.to(device, dtype)


def _phases(x: Tensor) -> Tensor:
    """View ``(batch, *space)`` as ``(batch, 2, ..., 2, *space / 2)``, the last axis' phase first."""
    dims = x.ndim - 1
    x = x.view(len(x), *(v for n in x.shape[1:] for v in (n // 2, 2)))
    return x.permute(0, *range(2 * dims, 0, -2), *range(1, 2 * dims, 2))


def _mix_phases(x: Tensor, approx: Tensor, detail: Tensor, wavelet: str, dual: bool) -> None:
    """Analyse by a filter of two taps: ``y_b(k) = sum_p m_bp x(2k + p)``."""
    batch, matrix = len(x), _mixing(wavelet, dual, x.ndim - 1, x.dtype, x.device)
    phases = _phases(x).reshape(batch, len(matrix), -1)
    matrix = matrix.expand(batch, -1, -1)
    torch.bmm(matrix[:, :1], phases, out=approx.view(batch, 1, -1))
    torch.bmm(matrix[:, 1:], phases, out=detail.view(batch, -1, phases.shape[-1]))


def _unmix_phases(approx: Tensor, detail: Tensor, out: Tensor, wavelet: str, dual: bool) -> None:
    """Apply the transpose of :func:`_mix_phases`."""
    batch, matrix = len(approx), _mixing(wavelet, dual, out.ndim - 1, out.dtype, out.device)
    low, high = approx.reshape(batch, 1, -1), detail.reshape(batch, len(matrix) - 1, -1)
    weight = matrix[0, 0].item()  # the low-pass filter counts alike in all phases
    mixed = torch.baddbmm(low, matrix[1:].T.expand(batch, -1, -1), high, beta=weight)
    phases = _phases(out)
    mixed = mixed.view(phases.shape)
    for p in (0, 1):  # two simple copies are quicker than one intricate copy
        phases[:, p].copy_(mixed[:, p])
