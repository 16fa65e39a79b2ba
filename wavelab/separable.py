"""One level of the periodised transform along every space axis, as fast as plain torch allows.

Filtering is separable, so a level is one operation an axis. Which one was chosen by measurement (two AVX-512 cores,
float32; ``python -m tests.bench.bench_wavelets`` shows the result):

- **Two taps (haar):** gather the ``2**dims`` phases ``x[2k + p]`` and mix them with one tiny matrix product. It runs
  near the speed of a copy; butterflies axis by axis read and write everything once an axis.
- **Short axes:** one product with the whole matrix; fewer calls beat fewer multiplications.
- **From 128 to 2048 values:** the matrix is a band that wraps around. It is cut into blocks of rows, each of which
  meets only the columns it needs: 16 rows a block where the axis is not the last, 32 for the last one, where narrower
  products are slow. On 256 values that takes a fifth to two fifths of the whole matrix' time.
- **Beyond, or where blocks do not fit:** strided convolution of the signal, padded periodically.

Results stay where the products put them, low-pass and high-pass in runs; one copy at the end sorts them into
sub-bands. A large batch goes through in parts, since fresh memory costs more than filling it: the parts share a
little of it. Off the CPU it is the whole matrix up to 512 values and convolution beyond: fewer calls, by reasoning and
not by measurement. Inside ``torch.compile`` it is convolution throughout, which the compiler can see through.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from wavelab.filterbank import taps
from wavelab.plans import MANY, Axis, Plan, cached_plan, make_plan

PART = 2**21  # values of a batch that go through together


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
    approx, detail = x.new_empty(x.shape[0], *half), x.new_empty(x.shape[0], 2**dims - 1, *half)
    plan = _plan(x, space, wavelet, dual, False)
    for part in _parts(x):
        if plan:
            _split(_filter(x[part], plan), approx[part], detail[part], plan)
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
    space = [2 * n for n in half]
    approx, detail = approx.reshape(-1, *half), detail.reshape(-1, 2**dims - 1, *half)
    x = approx.new_empty(approx.shape[0], *space)
    plan = _plan(x, space, wavelet, dual, True)
    for part in _parts(x):
        if plan:
            _filter(_merge(approx[part], detail[part], plan), plan, x[part])
        else:
            _unmix_phases(approx[part], detail[part], x[part], wavelet, dual)
    return x.view(*lead, *space)


def _plan(x: Tensor, space: list[int], wavelet: str, dual: bool, transpose: bool) -> Plan | None:
    """Choose how to transform every axis; ``None`` where the phases are mixed instead."""
    options = tuple(space), wavelet, dual, transpose, x.numel() >= MANY, x.dtype, x.device
    if torch.compiler.is_compiling():
        return make_plan(*options, convolve=True)
    return None if len(taps(wavelet, dual)[0]) == 2 else cached_plan(*options)


def _parts(x: Tensor) -> list[slice]:
    """Cut a batch into parts of a few megabytes."""
    batch, *space = x.shape
    size = max(1, PART // math.prod(space))
    if batch <= size or torch.compiler.is_compiling():
        return [slice(None)]
    return [slice(start, start + size) for start in range(0, batch, size)]


def _filter(x: Tensor, plan: Plan, out: Tensor | None = None) -> Tensor:
    """Transform every axis of ``(batch, *space)``: the last but one, then those before it, then the last.

    Args:
        x: what to transform, ``(batch, *space)`` or any shape of as many values in that order.
        plan: how to transform each axis.
        out: where to write the result, shape ``(batch, *space)``; fresh memory where it is not given.

    Returns:
        The result in the order of ``x``.
    """
    *outer, last = plan.axes
    columns = last.n
    for axis in reversed(outer):
        x = _rows(x.reshape(-1, axis.n, columns), axis)
        columns *= axis.n
    return _columns(x.reshape(-1, last.n), last, out)


def _rows(x: Tensor, axis: Axis) -> Tensor:
    """Transform the middle axis of ``(batch, n, columns)``."""
    if axis.kernel is not None:
        return _convolve(x, axis)
    batch, n, columns = x.shape
    out, inner, outer = torch.empty_like(x), axis.inner, set(range(len(axis.blocks))) - set(axis.inner)
    if inner:  # of all signals at once; a block that reaches into the next signal is wrong and gets overwritten
        ((i, j, matrix),) = axis.blocks[inner.start]
        windows = x.view(batch * n, columns)[i:].unfold(0, j - i, axis.block).transpose(1, 2)
        target = out.view(-1, axis.block, columns)[inner.start : inner.start + windows.shape[0]]
        torch.bmm(matrix.expand(target.shape[0], -1, -1), windows, out=target)
    for k in outer:
        (i, j, matrix), *rest = axis.blocks[k]
        rows = torch.bmm(matrix.expand(batch, -1, -1), x[:, i:j])
        for i, j, matrix in rest:
            rows.baddbmm_(matrix.expand(batch, -1, -1), x[:, i:j])
        out[:, k * axis.block : (k + 1) * axis.block] = rows
    return out


def _columns(x: Tensor, axis: Axis, out: Tensor | None) -> Tensor:
    """Transform the last axis of ``(signals, n)``."""
    if axis.kernel is not None:
        result = _convolve(x.unsqueeze(-1), axis).squeeze(-1)
        return result if out is None else out.view(result.shape).copy_(result)
    out = torch.empty_like(x) if out is None else out.view(x.shape)
    for target, ((i, j, matrix), *rest) in zip(out.split(axis.block, 1), axis.blocks):
        torch.mm(x[:, i:j], matrix.T, out=target)
        for i, j, matrix in rest:
            target.addmm_(x[:, i:j], matrix.T)
    return out


def _convolve(x: Tensor, axis: Axis) -> Tensor:
    """Transform the middle axis of ``(batch, n, columns)``, its coefficients first all low-pass, then all high-pass."""
    batch, n, columns = x.shape
    inputs, length = axis.kernel.shape[1:3]  # one signal to two bands, or two bands to the two phases of a signal
    x = x.reshape(batch, inputs, n // inputs, columns)
    places = torch.arange(x.shape[2] + length + inputs - 3, device=x.device) - axis.before
    x = F.conv2d(x.index_select(2, places % x.shape[2]), axis.kernel, stride=(2 // inputs, 1))
    return (x if inputs == 1 else x.transpose(1, 2)).reshape(batch, n, columns)


def _split(x: Tensor, approx: Tensor, detail: Tensor, plan: Plan) -> None:
    """Sort the coefficients on the grid of the signal into the approximation and the details."""
    batch = approx.shape[0]
    x = x.reshape(batch, *plan.grid).permute(plan.order)
    for source, target in _bands(x, approx.view(batch, *plan.band), detail.view(batch, -1, *plan.band)):
        target.copy_(source)


def _merge(approx: Tensor, detail: Tensor, plan: Plan) -> Tensor:
    """Lay the coefficients out on the grid of the signal, in the runs that the axes ask for."""
    batch = approx.shape[0]
    x = approx.new_empty(batch, *plan.grid)
    coefficients = approx.reshape(batch, *plan.band), detail.reshape(batch, -1, *plan.band)
    for target, source in _bands(x.permute(plan.order), *coefficients):
        target.copy_(source)
    return x


def _bands(x: Tensor, approx: Tensor, detail: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pair the parts of ``(batch, 2, ..., 2, *band)`` with those of the approximation and the details."""
    for k in reversed(range(x.ndim - approx.ndim)):
        high, x = x.select(1, 1), x.select(1, 0)
        part = detail.narrow(1, 2**k - 1, 2**k)
        yield high, part if k == 1 else part.reshape(high.shape)
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
    x = x.view(x.shape[0], *(v for n in x.shape[1:] for v in (n // 2, 2)))
    return x.permute(0, *range(2 * dims, 0, -2), *range(1, 2 * dims, 2))


def _mix_phases(x: Tensor, approx: Tensor, detail: Tensor, wavelet: str, dual: bool) -> None:
    """Analyse by a filter of two taps: ``y_b(k) = sum_p m_bp x(2k + p)``."""
    batch, matrix = x.shape[0], _mixing(wavelet, dual, x.ndim - 1, x.dtype, x.device)
    phases = _phases(x).reshape(batch, matrix.shape[0], -1)
    matrix = matrix.expand(batch, -1, -1)
    torch.bmm(matrix[:, :1], phases, out=approx.view(batch, 1, -1))
    torch.bmm(matrix[:, 1:], phases, out=detail.view(batch, -1, phases.shape[-1]))


def _unmix_phases(approx: Tensor, detail: Tensor, out: Tensor, wavelet: str, dual: bool) -> None:
    """Apply the transpose of :func:`_mix_phases`."""
    batch, matrix = approx.shape[0], _mixing(wavelet, dual, out.ndim - 1, out.dtype, out.device)
    low, high = approx.reshape(batch, 1, -1), detail.reshape(batch, matrix.shape[0] - 1, -1)
    weight = matrix[0, 0].item()  # the low-pass filter counts alike in all phases
    mixed = torch.baddbmm(low, matrix[1:].T.expand(batch, -1, -1), high, beta=weight)
    phases = _phases(out)
    mixed = mixed.view(phases.shape)
    for p in (0, 1):  # two simple copies are quicker than one intricate copy
        phases[:, p].copy_(mixed[:, p])
