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

The results of the blocks are left where the products put them; one copy at the end sorts them into sub-bands.
Accelerators have no use for short products one after the other: there it is the whole matrix up to 512 values and
convolution beyond. Inside ``torch.compile`` it is convolution throughout, which the compiler can see through.
"""

from __future__ import annotations

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

Piece = tuple[int, int, Tensor]  # first column, last column + 1, what the block has there


class Axis(NamedTuple):
    """How one axis is transformed: by blocks of a matrix, or by a kernel."""

    n: int  # values
    block: int  # rows of a block; n where there is only one
    run: int  # coefficients lie in runs of this length, low-pass and high-pass in turn
    blocks: tuple[tuple[Piece, ...], ...]
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
    if len(taps(wavelet, dual)[0]) == 2:
        approx, detail = _mix_phases(x, wavelet, dual)
    else:
        axes = _axes(x, tuple(space), wavelet, dual, False)
        approx, detail = _split(_filter(x, axes), len(x), axes)
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
    if len(taps(wavelet, dual)[0]) == 2:
        return _unmix_phases(approx, detail, wavelet, dual).view(*lead, *space)
    axes = _axes(detail, space, wavelet, dual, True)
    x = _filter(_merge(approx, detail, axes), axes)
    outer = axes[:-1]
    x = x.reshape(*(axis.n // axis.block for axis in outer), len(approx), *(axis.block for axis in outer), space[-1])
    order = [dims - 1, *(v for i in range(dims - 1) for v in (i, dims + i)), 2 * dims - 1]
    return x.permute(order).reshape(*lead, *space)


def _axes(x: Tensor, space: tuple[int, ...], wavelet: str, dual: bool, transpose: bool) -> tuple[Axis, ...]:
    if torch.compiler.is_compiling():
        kernel = x.new_tensor(taps(wavelet, dual)).view(2, 1, -1, 1)
        return tuple(Axis(n, n, n // 2, (), kernel, transpose) for n in space)
    return _cached_axes(space, x.numel() >= MANY, wavelet, dual, transpose, x.dtype, x.device)


@lru_cache(maxsize=256)
def _cached_axes(space, many, wavelet, dual, transpose, dtype, device) -> tuple[Axis, ...]:
    """Choose how to transform every axis, as the module's docstring says."""
    axes = []
    for n, block in zip(space, [ROWS] * (len(space) - 1) + [COLUMNS]):
        on_cpu, kernel = device.type == "cpu", None
        blocked = on_cpu and many and WHOLE < n <= BLOCKED and n % block == 0
        if not blocked and n > (4 * WHOLE if on_cpu else WHOLE_ELSEWHERE):
            kernel = torch.tensor(taps(wavelet, dual), dtype=dtype, device=device).view(2, 1, -1, 1)
        block = block if blocked else n
        run = 1 if blocked and transpose else block // 2
        blocks = () if kernel is not None else _blocks(n, block, run, wavelet, dual, transpose)
        blocks = tuple(tuple((i, j, m.to(device, dtype)) for i, j, m in pieces) for pieces in blocks)
        axes.append(Axis(n, block, run, blocks, kernel, transpose))
    return tuple(axes)


def _blocks(n: int, block: int, run: int, wavelet: str, dual: bool, transpose: bool) -> list[list[Piece]]:
    """Cut the matrix into blocks of rows, the coefficients laid out in runs."""
    matrix = analysis_matrix(wavelet, n, dual)
    matrix = matrix.view(2, n // (2 * run), run, n).transpose(0, 1).reshape(n, n)
    matrix = matrix.T.contiguous() if transpose else matrix
    return [_pieces(rows) for rows in matrix.split(block)]


def _pieces(rows: Tensor) -> list[Piece]:
    """Leave out the columns where a block of rows is zero: one piece, or two where the band wraps around."""
    n = rows.shape[1]
    used = rows.ne(0).any(0).nonzero().flatten()
    gaps = torch.diff(used, append=used[:1] + n)
    widest = int(gaps.argmax())
    start, length = int(used[(widest + 1) % len(used)]), n + 1 - int(gaps[widest])
    if length > 0.8 * n:
        return [(0, n, rows)]
    ends = sorted([(start, min(start + length, n)), (0, start + length - n)], key=lambda end: end[0] - end[1])
    return [(i, j, rows[:, i:j].contiguous()) for i, j in ends if i < j]


def _filter(x: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """Transform every axis of ``(batch, *space)``, from the last to the first.

    Returns:
        ``(blocks of axis 1, ..., blocks of the last axis but one, batch, rows of a block of axis 1, ..., last axis)``.
    """
    x = _columns(x.view(-1, axes[-1].n), axes[-1])
    columns = axes[-1].n
    for axis in reversed(axes[:-1]):
        x = _rows(x.reshape(-1, axis.n, columns), axis)
        columns *= axis.block
    return x


def _columns(x: Tensor, axis: Axis) -> Tensor:
    """Transform the last axis of ``(signals, n)``."""
    if axis.kernel is not None:
        return _convolve(x.unsqueeze(-1), axis).squeeze(-1)
    if len(axis.blocks) == 1:
        return x @ axis.blocks[0][0][2].T
    out = torch.empty_like(x)
    for target, ((i, j, matrix), *rest) in zip(out.split(axis.block, 1), axis.blocks):
        torch.mm(x[:, i:j], matrix.T, out=target)
        for i, j, matrix in rest:
            target.addmm_(x[:, i:j], matrix.T)
    return out


def _rows(x: Tensor, axis: Axis) -> Tensor:
    """Transform the middle axis of ``(batch, n, columns)``: ``(blocks, batch, rows of a block, columns)``."""
    if axis.kernel is not None:
        return _convolve(x, axis)
    if len(axis.blocks) == 1:
        return axis.blocks[0][0][2] @ x
    batch, _, columns = x.shape
    out = x.new_empty(len(axis.blocks), batch, axis.block, columns)
    for target, ((i, j, matrix), *rest) in zip(out.unbind(), axis.blocks):
        torch.bmm(matrix.expand(batch, -1, -1), x[:, i:j], out=target)
        for i, j, matrix in rest:
            target.baddbmm_(matrix.expand(batch, -1, -1), x[:, i:j])
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


def _split(x: Tensor, batch: int, axes: tuple[Axis, ...]) -> tuple[Tensor, Tensor]:
    """Sort what :func:`_filter` returns into the approximation and the details."""
    dims = len(axes)
    counts, runs = [axis.n // axis.block for axis in axes], [axis.block // 2 for axis in axes]
    inner = [v for run in runs[:-1] for v in (2, run)]
    x = x.reshape(*counts[:-1], batch, *inner, counts[-1], 2, runs[-1])
    bands = [3 * dims - 1, *range(3 * dims - 4, dims - 1, -2)]  # the last axis' letter comes first
    grid = [*(v for i in range(dims - 1) for v in (i, dims + 2 * i + 1)), 3 * dims - 2, 3 * dims]
    size = [v for pair in zip(counts, runs) for v in pair]
    approx, detail = x.new_empty(batch, *size), x.new_empty(batch, 2**dims - 1, *size)
    for source, target in _bands(x.permute(dims - 1, *bands, *grid), approx, detail):
        target.copy_(source)
    return approx, detail


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


def _bands(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair the parts of ``(batch, 2, ..., 2, *grid)`` with those of the approximation and the details."""
    for k in reversed(range(x.ndim - approx.ndim)):
        high, x = x[:, 1], x[:, 0]
        yield high, detail[:, 2**k - 1 : 2 ** (k + 1) - 1].reshape(high.shape)
    yield x, approx


def _mixing(x: Tensor, wavelet: str, dual: bool) -> Tensor:
    """Return the ``2**dims`` × ``2**dims`` matrix that mixes the phases of ``(batch, *space)``, for two taps."""
    if torch.compiler.is_compiling():
        return _kronecker(x.new_tensor(taps(wavelet, dual)), x.ndim - 1)
    return _cached_mixing(wavelet, dual, x.ndim - 1, x.dtype, x.device)


@lru_cache(maxsize=256)
def _cached_mixing(wavelet, dual, dims, dtype, device) -> Tensor:
    return _kronecker(torch.tensor(taps(wavelet, dual), dtype=torch.float64), dims).to(device, dtype)


def _kronecker(matrix: Tensor, power: int) -> Tensor:
    result = matrix
    for _ in range(power - 1):
        result = torch.kron(result, matrix)
    return result


def _phases(x: Tensor) -> Tensor:
    """View ``(batch, *space)`` as ``(batch, 2, ..., 2, *space / 2)``, the last axis' phase first."""
    dims = x.ndim - 1
    x = x.view(len(x), *(v for n in x.shape[1:] for v in (n // 2, 2)))
    return x.permute(0, *range(2 * dims, 0, -2), *range(1, 2 * dims, 2))


def _mix_phases(x: Tensor, wavelet: str, dual: bool) -> tuple[Tensor, Tensor]:
    """Analyse by a filter of two taps: ``y_b(k) = sum_p m_bp x(2k + p)``."""
    batch, matrix = len(x), _mixing(x, wavelet, dual)
    phases = _phases(x).reshape(batch, len(matrix), -1)
    matrix = matrix.expand(batch, -1, -1)
    return torch.bmm(matrix[:, :1], phases), torch.bmm(matrix[:, 1:], phases)


def _unmix_phases(approx: Tensor, detail: Tensor, wavelet: str, dual: bool) -> Tensor:
    """Apply the transpose of :func:`_mix_phases`."""
    batch, half = len(approx), approx.shape[1:]
    matrix, weight = _mixing(approx, wavelet, dual), taps(wavelet, dual)[0][0] ** len(half)
    low, high = approx.reshape(batch, 1, -1), detail.reshape(batch, len(matrix) - 1, -1)
    mixed = torch.baddbmm(low, matrix[1:].T.expand(batch, -1, -1), high, beta=weight)  # low counts alike in all phases
    x = approx.new_empty(batch, *(2 * n for n in half))
    phases = _phases(x)
    mixed = mixed.view(phases.shape)
    for p in (0, 1):  # two simple copies are quicker than one intricate copy
        phases[:, p].copy_(mixed[:, p])
    return x
