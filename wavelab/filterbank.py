"""Filters of PyWavelets, and the fast periodised filter bank under :mod:`wavelab.wavelets`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import pywt
import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName

P_ROW, P_COL, Q_COL = 16, 32, 1


@dataclass(frozen=True)
class Filters:
    """The four filters of a two-channel filter bank, as PyWavelets tabulates them.

    Attributes:
        name: the PyWavelets name.
        dec_lo: analysis low-pass filter, float64, shape ``(taps,)``.
        dec_hi: analysis high-pass filter, float64, shape ``(taps,)``.
        rec_lo: synthesis low-pass filter, float64, shape ``(taps,)``.
        rec_hi: synthesis high-pass filter, float64, shape ``(taps,)``.
        orthogonal: whether the synthesis filters are the analysis filters reversed.
    """

    name: str
    dec_lo: Tensor
    dec_hi: Tensor
    rec_lo: Tensor
    rec_hi: Tensor
    orthogonal: bool


def filters(wavelet: str) -> Filters:
    """Return the filters of a wavelet.

    Args:
        wavelet: any discrete PyWavelets name, such as ``"haar"``, ``"db4"``, ``"bior6.8"``.

    Returns:
        The four filters in float64, a fresh copy on every call.

    Raises:
        UnknownName: there is no discrete wavelet of that name.
    """
    bank = lookup(wavelet)
    taps = (torch.tensor(f, dtype=torch.float64) for f in bank.filter_bank)
    return Filters(wavelet, *taps, orthogonal=bool(bank.orthogonal))


@cache
def lookup(wavelet: str) -> pywt.Wavelet:
    """Return PyWavelets' own object, or refuse an unknown name."""
    known = pywt.wavelist(kind="discrete")
    if wavelet not in known:
        raise UnknownName.among("wavelet", wavelet, known)
    return pywt.Wavelet(wavelet)


def analysis_matrix(wavelet: str, dual: bool, n: int) -> Tensor:
    """Return the n × n analysis matrix in float64, low-pass rows first (``dual``: that of the dual wavelet)."""
    bank = lookup(wavelet)
    low, high = (bank.rec_lo, bank.rec_hi) if dual else (bank.dec_lo[::-1], bank.dec_hi[::-1])
    rows = torch.arange(n // 2)
    matrix = torch.zeros(2, n // 2, n, dtype=torch.float64)
    for i, (a, b) in enumerate(zip(low, high)):
        column = (2 * rows + i - (len(low) // 2 - 1)) % n
        matrix[0, rows, column] += a
        matrix[1, rows, column] += b
    return matrix.reshape(n, n)


@lru_cache(maxsize=256)
def _plan(wavelet, dual, transpose, n, block, q, dtype, device):
    """Blocks of rows, each a list of (start, stop, matrix)."""
    m = analysis_matrix(wavelet, dual, n)
    m = m.reshape(2, n // (2 * q), q, n).transpose(0, 1).reshape(n, n)
    if transpose:
        m = m.T
    return [_pieces(rows.to(dtype=dtype, device=device)) for rows in m.split(block)]


def _pieces(rows: Tensor) -> list[tuple[int, int, Tensor]]:
    n = rows.shape[1]
    used = rows.ne(0).any(0).nonzero().flatten()
    gaps = torch.diff(used, append=used[:1] + n)
    widest = int(gaps.argmax())
    start, length = int(used[(widest + 1) % len(used)]), n - int(gaps[widest]) + 1
    if length > 0.8 * n:
        return [(0, n, rows.contiguous())]
    ends = [(start, min(start + length, n)), (0, start + length - n)]
    return [(a, b, rows[:, a:b].contiguous()) for a, b in ends if b > a]


def _rows(x: Tensor, plan) -> Tensor:
    """(batch, n, columns) → (blocks, batch, block, columns)."""
    batch, _, columns = x.shape
    if len(plan) == 1:
        return torch.matmul(plan[0][0][2], x).unsqueeze(0)
    out = x.new_empty(len(plan), batch, plan[0][0][2].shape[0], columns)
    for target, pieces in zip(out.unbind(), plan):
        (start, stop, m), *rest = pieces
        torch.bmm(m.expand(batch, -1, -1), x[:, start:stop], out=target)
        for start, stop, m in rest:
            target.baddbmm_(m.expand(batch, -1, -1), x[:, start:stop])
    return out


def _columns(x: Tensor, plan) -> Tensor:
    if len(plan) == 1:
        return x @ plan[0][0][2].T
    out = torch.empty_like(x)
    for target, pieces in zip(out.split(plan[0][0][2].shape[0], 1), plan):
        (start, stop, m), *rest = pieces
        torch.mm(x[:, start:stop], m.T, out=target)
        for start, stop, m in rest:
            target.addmm_(x[:, start:stop], m.T)
    return out


def _block(n: int, last: bool) -> int:
    b = P_COL if last else P_ROW
    if n % b or n <= (64 if last else 32):
        return n
    return b


def _bands(a: Tensor, d: Tensor, v: Tensor, k: int, dims: int, gather: bool) -> None:
    """Copy between v (B, 2, .., 2, *half) and approx (B, *half), detail (B, 2**dims-1, *half)."""
    for bit in range(dims):
        part = d[:, 2 ** (dims - 1 - bit) - 1 : 2 ** (dims - bit) - 1]
        part = part.unflatten(1, [2] * (dims - 1 - bit) or [1])
        w = v[(slice(None), *[0] * bit, 1)]
        if dims - 1 - bit == 0:
            part = part.squeeze(1)
        w.copy_(part.view(w.shape)) if gather else part.view(w.shape).copy_(w)
    w = v[(slice(None), *[0] * dims)]
    w.copy_(a.view(w.shape)) if gather else a.view(w.shape).copy_(w)


def _analyse(x: Tensor, wavelet: str, dual: bool, dims: int) -> tuple[Tensor, Tensor]:
    lead, space = x.shape[: x.ndim - dims], x.shape[x.ndim - dims :]
    batch = math.prod(lead)
    x = x.reshape(batch, *space).contiguous()
    if len(lookup(wavelet).dec_lo) == 2:
        approx, detail = _analyse_haar(x, wavelet, dual, dims)
        half = [n // 2 for n in space]
        return approx.view(*lead, *half), detail.view(*lead, -1, *half)
    blocks = [_block(n, i == dims - 1) for i, n in enumerate(space)]
    plans = [
        _plan(wavelet, dual, False, n, b, b // 2, x.dtype, x.device) for n, b in zip(space, blocks)
    ]
    x = _columns(x.view(-1, space[-1]), plans[-1])
    cols, outer = space[-1], batch
    for i in range(dims - 2, -1, -1):
        x = _rows(x.view(outer * math.prod(space[:i]), space[i], cols), plans[i])
        cols, outer = cols * blocks[i], outer * (space[i] // blocks[i])
    shape, where = [n // b for n, b in zip(space[:-1], blocks)] + [batch], dims - 1
    for n, b in zip(space[:-1], blocks):
        shape += [2, b // 2]
    shape += [space[-1] // blocks[-1], 2, blocks[-1] // 2]
    x = x.view(shape)
    bands = [*(dims + 2 * i for i in range(dims - 1)), 3 * dims - 1]
    grid = [v for i in range(dims - 1) for v in (i, dims + 2 * i + 1)] + [3 * dims - 2, 3 * dims]
    x = x.permute(dims - 1, *reversed(bands), *grid)
    half = [n // 2 for n in space]
    approx, detail = x.new_empty(batch, *half), x.new_empty(batch, 2**dims - 1, *half)
    _bands(approx, detail, x, 1, dims, False)
    return approx.view(*lead, *half), detail.view(*lead, -1, *half)


@lru_cache(maxsize=256)
def _kron(wavelet, dual, dims, dtype, device):
    m = analysis_matrix(wavelet, dual, 2)
    out = m
    for _ in range(dims - 1):
        out = torch.kron(out, m)
    return out.to(dtype=dtype, device=device)


def _phases(x: Tensor, dims: int) -> Tensor:
    """View (B, *n) as (B, 2.., *half): last axis' phase first."""
    x = x.view(x.shape[0], *(v for n in x.shape[1:] for v in (n // 2, 2)))
    return x.permute(0, *(2 * i + 2 for i in reversed(range(dims))), *(2 * i + 1 for i in range(dims)))


def _analyse_haar(x, wavelet, dual, dims):
    batch, half = x.shape[0], [n // 2 for n in x.shape[1:]]
    m = _kron(wavelet, dual, dims, x.dtype, x.device).expand(batch, -1, -1)
    phases = _phases(x, dims).reshape(batch, 2**dims, -1)
    return torch.bmm(m[:, :1], phases).view(batch, *half), torch.bmm(m[:, 1:], phases).view(batch, -1, *half)


def _synthesise_haar(approx, detail, wavelet, dual, dims):
    batch, half = approx.shape[0], approx.shape[1:]
    m = _kron(wavelet, dual, dims, approx.dtype, approx.device)
    phases = torch.bmm(m[1:].T.expand(batch, -1, -1), detail.reshape(batch, 2**dims - 1, -1))
    x = approx.new_empty(batch, *(2 * n for n in half))
    target = _phases(x, dims)
    torch.add(phases.view(target.shape), approx.view(batch, *[1] * dims, *half), alpha=float(m[0, 0]), out=target)
    return x


def _synthesise(approx: Tensor, detail: Tensor, wavelet: str, dual: bool, dims: int) -> Tensor:
    k = approx.ndim - dims
    lead, half = approx.shape[:k], approx.shape[k:]
    batch, space = math.prod(lead), [2 * n for n in half]
    approx, detail = approx.reshape(batch, *half), detail.reshape(batch, 2**dims - 1, *half)
    if len(lookup(wavelet).dec_lo) == 2:
        return _synthesise_haar(approx, detail, wavelet, dual, dims).view(*lead, *space)
    blocks = [_block(n, i == dims - 1) for i, n in enumerate(space)]
    qs = [n // 2 if n == b else (1 if i < dims - 1 else Q_COL) for i, (n, b) in enumerate(zip(space, blocks))]
    plans = [
        _plan(wavelet, dual, True, n, b, q, approx.dtype, approx.device) for n, b, q in zip(space, blocks, qs)
    ]
    x = approx.new_empty(batch, *(v for n, q in zip(space, qs) for v in (n // (2 * q), 2, q)))
    bands = [3 * i + 2 for i in reversed(range(dims))]
    grid = [v for i in range(dims) for v in (3 * i + 1, 3 * i + 3)]
    v = x.permute(0, *bands, *grid)
    gs = [w for n, q in zip(space, qs) for w in (n // (2 * q), q)]
    _bands(approx.reshape(batch, *gs), detail.reshape(batch, -1, *gs), v, 1, dims, True)
    x = _columns(x.view(-1, space[-1]), plans[-1])
    cols, outer = space[-1], batch
    for i in range(dims - 2, -1, -1):
        x = _rows(x.view(outer * math.prod(space[:i]), space[i], cols), plans[i])
        cols, outer = cols * blocks[i], outer * (space[i] // blocks[i])
    x = x.view(*(n // b for n, b in zip(space[:-1], blocks)), batch, *blocks[:-1], space[-1])
    x = x.permute(dims - 1, *(v for i in range(dims - 1) for v in (i, dims + i)), 2 * dims - 1)
    return x.reshape(*lead, *space)


class _Analysis(torch.autograd.Function):
    """Pyramid of the analysis matrix; its backward is its transpose, :class:`_Synthesis` with the same matrix."""

    @staticmethod
    def forward(x, wavelet, dual, levels, dims, check):
        details = []
        for _ in range(levels):
            x, detail = _analyse(x, wavelet, dual, dims)
            details.append(detail)
        if check and not math.isfinite(x.sum().item()) and not bool(x.isfinite().all()):
            raise InvalidInput("x holds NaN or infinite values; expected finite numbers. Find them with x.isfinite().")
        return (x, *reversed(details))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.options = inputs[1:]

    @staticmethod
    def backward(ctx, *grads):
        wavelet, dual, _, dims, _ = ctx.options
        return _Synthesis.apply(wavelet, dual, dims, *grads), None, None, None, None, None


class _Synthesis(torch.autograd.Function):
    """The transpose of :class:`_Analysis`."""

    @staticmethod
    def forward(wavelet, dual, dims, approx, *details):
        x = approx
        for detail in details:
            x = _synthesise(x, detail, wavelet, dual, dims)
        return x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.options = inputs[0], inputs[1], len(inputs) - 4, inputs[2]

    @staticmethod
    def backward(ctx, grad):
        wavelet, dual, levels, dims = ctx.options
        return (None, None, None, *_Analysis.apply(grad, wavelet, dual, levels, dims, False))


def analysis(x: Tensor, wavelet: str, levels: int, dims: int) -> tuple[Tensor, ...]:
    """Return the approximation and the details, coarsest first."""
    return _Analysis.apply(x, wavelet, False, levels, dims, True)


def synthesis(approx: Tensor, details: Sequence[Tensor], wavelet: str, dims: int) -> Tensor:
    """Return the signal of the coefficients."""
    return _Synthesis.apply(wavelet, True, dims, approx, *details)
