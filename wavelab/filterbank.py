"""Filters of PyWavelets, and the fast periodised filter bank under :mod:`wavelab.wavelets`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import pywt
import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName


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
    bank = _pywt(wavelet)
    taps = (torch.tensor(f, dtype=torch.float64) for f in bank.filter_bank)
    return Filters(wavelet, *taps, orthogonal=bool(bank.orthogonal))


@cache
def _pywt(wavelet: str) -> pywt.Wavelet:
    known = pywt.wavelist(kind="discrete")
    if wavelet not in known:
        raise UnknownName.among("wavelet", wavelet, known)
    return pywt.Wavelet(wavelet)


@lru_cache(maxsize=256)
def _matrix(wavelet: str, synthesis: bool, n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The n × n analysis matrix (synthesis: its dual's), low-pass rows first."""
    bank = _pywt(wavelet)
    low, high = (bank.rec_lo, bank.rec_hi) if synthesis else (bank.dec_lo[::-1], bank.dec_hi[::-1])
    rows = torch.arange(n // 2)
    matrix = torch.zeros(2, n // 2, n, dtype=torch.float64)
    for i, (a, b) in enumerate(zip(low, high)):
        column = (2 * rows + i - (len(low) // 2 - 1)) % n
        matrix[0, rows, column] += a
        matrix[1, rows, column] += b
    return matrix.reshape(n, n).to(device=device, dtype=dtype)


def _step(x: Tensor, wavelet: str, synthesis: bool, dims: int) -> tuple[Tensor, Tensor]:
    lead, space = x.shape[: x.ndim - dims], x.shape[x.ndim - dims :]
    for axis in range(-dims, 0):
        m = _matrix(wavelet, synthesis, x.shape[axis], x.dtype, x.device)
        x = torch.tensordot(x, m, ([axis], [1])).movedim(-1, axis)
    half = [n // 2 for n in space]
    x = x.reshape(*lead, *(v for h in half for v in (2, h)))
    k = len(lead)
    # First letter of a band is the last axis: its bit is the most significant one.
    order = [*range(k), *(k + 2 * a for a in reversed(range(dims))), *(k + 2 * a + 1 for a in range(dims))]
    x = x.permute(order).reshape(*lead, 2**dims, *half)
    return x.select(k, 0).contiguous(), x.narrow(k, 1, 2**dims - 1).contiguous()


def _unstep(approx: Tensor, detail: Tensor, wavelet: str, synthesis: bool, dims: int) -> Tensor:
    k = approx.ndim - dims
    lead, half = approx.shape[:k], approx.shape[k:]
    x = torch.cat([approx.unsqueeze(k), detail], k).reshape(*lead, *[2] * dims, *half)
    order = [*range(k), *(v for a in range(dims) for v in (k + dims - 1 - a, k + dims + a))]
    x = x.permute(order).reshape(*lead, *(2 * h for h in half))
    for axis in range(-dims, 0):
        m = _matrix(wavelet, synthesis, x.shape[axis], x.dtype, x.device)
        x = torch.tensordot(x, m, ([axis], [0])).movedim(-1, axis)
    return x.contiguous()


class _Analysis(torch.autograd.Function):
    """Pyramid of the analysis matrix; its backward is its transpose, :class:`_Synthesis` with the same matrix."""

    @staticmethod
    def forward(x, wavelet, synthesis, levels, dims, check):
        details = []
        for _ in range(levels):
            x, detail = _step(x, wavelet, synthesis, dims)
            details.append(detail)
        if check and not bool(x.sum().isfinite()):
            raise InvalidInput("x holds NaN or infinite values; expected finite numbers. Find them with x.isfinite().")
        return (x, *reversed(details))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.options = inputs[1:]

    @staticmethod
    def backward(ctx, *grads):
        wavelet, synthesis, _, dims, _ = ctx.options
        return _Synthesis.apply(wavelet, synthesis, dims, *grads), None, None, None, None, None


class _Synthesis(torch.autograd.Function):
    """The transpose of :class:`_Analysis`."""

    @staticmethod
    def forward(wavelet, synthesis, dims, approx, *details):
        x = approx
        for detail in details:
            x = _unstep(x, detail, wavelet, synthesis, dims)
        return x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.options = inputs[0], inputs[1], len(inputs) - 4, inputs[2]

    @staticmethod
    def backward(ctx, grad):
        wavelet, synthesis, levels, dims = ctx.options
        return (None, None, None, *_Analysis.apply(grad, wavelet, synthesis, levels, dims, False))


def analysis(x: Tensor, wavelet: str, levels: int, dims: int) -> tuple[Tensor, ...]:
    """Return the approximation and the details, coarsest first."""
    return _Analysis.apply(x, wavelet, False, levels, dims, True)


def synthesis(approx: Tensor, details: list[Tensor], wavelet: str, dims: int) -> Tensor:
    """Return the signal of the coefficients."""
    return _Synthesis.apply(wavelet, True, dims, approx, *details)
