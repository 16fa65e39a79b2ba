"""The periodised discrete wavelet transform in one, two and three dimensions, and what the course does with it.

Everything works on tensors ``(batch, channels, *space)``; more or fewer leading axes are fine, since only the last
``dims`` axes are transformed. One level halves every space axis and gives ``2**dims`` sub-bands: the approximation
and ``2**dims - 1`` details on an axis of their own, right before the space axes, in the order of :data:`SUBBANDS`.

A sub-band's name has one letter an axis, **the last axis first**: width, then height, then depth. ``L`` is low-pass,
``H`` high-pass. So in two dimensions LH is low horizontally and high vertically and holds horizontal edges; it is
PyWavelets' ``cH``. HL is ``cV`` and HH is ``cD``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import ptwt
import torch
from torch import Tensor

from wavelab.errors import InvalidInput
from wavelab.filterbank import Filters, analysis_matrix, check_wavelet, filters, noise_gains
from wavelab.separable import analyse, synthesise
from wavelab.subbands import (
    SUBBANDS,
    check_levels,
    check_sizes,
    check_tensor,
    check_tree,
    flatten,
    mosaic,
    pack,
    parents,
    unflatten,
    unpack,
)
from wavelab.whitening import Whitening

__all__ = [
    "SUBBANDS", "Filters", "Whitening", "analysis_matrix", "dwt", "filters", "flatten", "idwt", "mosaic", "noise_gains",
    "pack", "packets", "parents", "unflatten", "unpack",
]  # fmt: skip


class _Analysis(torch.autograd.Function):
    """The pyramid of the analysis matrix; its derivative is its transpose, :class:`_Synthesis` of the same matrix."""

    @staticmethod
    def forward(x, wavelet, dual, levels, dims, check):
        details = []
        with torch.autocast(x.device.type, enabled=False):  # the transform keeps the precision it is given
            for _ in range(levels):
                x, detail = analyse(x, wavelet, dual, dims)
                details.append(detail)
        if check and not torch.compiler.is_compiling():
            _check_finite(x)
        return (x, *reversed(details))

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, *ctx.options = inputs

    @staticmethod
    def backward(ctx, *grads):
        wavelet, dual, _, dims, _ = ctx.options
        return _Synthesis.apply(wavelet, dual, dims, *grads), None, None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        wavelet, dual, levels, dims, _ = ctx.options
        return _Analysis.apply(tangent, wavelet, dual, levels, dims, False)

    @staticmethod
    def vmap(info, in_dims, x, *options):
        outputs = _Analysis.apply(x.movedim(in_dims[0], 0), *options)
        return outputs, (0,) * len(outputs)


class _Synthesis(torch.autograd.Function):
    """The transpose of :class:`_Analysis`."""

    @staticmethod
    def forward(wavelet, dual, dims, approx, *details):
        x = approx
        with torch.autocast(x.device.type, enabled=False):
            for detail in details:
                x = synthesise(x, detail, wavelet, dual, dims)
        return x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.options, ctx.coefficients = inputs[:3], [(c.shape, c.dtype, c.device) for c in inputs[3:]]

    @staticmethod
    def backward(ctx, grad):
        wavelet, dual, dims = ctx.options
        levels = len(ctx.coefficients) - 1
        return None, None, None, *_Analysis.apply(grad, wavelet, dual, levels, dims, False)

    @staticmethod
    def jvp(ctx, *tangents):
        filled = (
            torch.zeros(shape, dtype=dtype, device=device) if tangent is None else tangent
            for tangent, (shape, dtype, device) in zip(tangents[3:], ctx.coefficients)
        )
        return _Synthesis.apply(*ctx.options, *filled)

    @staticmethod
    def vmap(info, in_dims, *inputs):
        moved = (
            c.expand(info.batch_size, *c.shape) if axis is None else c.movedim(axis, 0)
            for c, axis in zip(inputs[3:], in_dims[3:])
        )
        return _Synthesis.apply(*inputs[:3], *moved), 0


def _check_finite(approx: Tensor) -> None:
    """Look for NaN where looking is cheap: every value of the signal reaches the coarsest approximation."""
    if approx.device.type == "cpu" and not math.isfinite(approx.sum()) and not approx.isfinite().all():
        raise InvalidInput("x holds NaN or infinite values; expected finite numbers. Find them with x.isfinite().")


def dwt(x: Tensor, wavelet: str = "haar", levels: int = 1, dims: int = 2) -> tuple[Tensor, list[Tensor]]:
    r"""Transform the last ``dims`` axes of ``x`` by the periodised discrete wavelet transform.

    With the analysis filters :math:`h` and :math:`g` of even length :math:`F`, one level along one axis of length
    :math:`n` is

    .. math:: a_k = \sum_i h_i\, x_{(2k + F/2 - i) \bmod n}, \qquad d_k = \sum_i g_i\, x_{(2k + F/2 - i) \bmod n},

    applied to every axis in turn, and again to the approximation at every further level. For an orthogonal wavelet
    this is an orthogonal matrix: energy is kept and the inverse is the transpose.

    Args:
        x: floating-point tensor, shape ``(..., *space)``, normally ``(batch, channels, *space)``.
        wavelet: any discrete PyWavelets name.
        levels: number of levels, at least 1.
        dims: number of space axes, 1, 2 or 3. Each must be a positive multiple of ``2**levels``.

    Returns:
        approx: shape ``(..., *space / 2**levels)``.
        details: one tensor a level, coarsest first; level ``j`` has shape ``(..., 2**dims - 1, *space / 2**j)``,
        its sub-bands ordered as ``SUBBANDS[dims][1:]``.

    Raises:
        InvalidInput: not a floating-point tensor, empty, an axis that cannot be halved ``levels`` times, or (on the
            CPU) NaN or infinite values. Elsewhere they are passed on, since looking would wait for the device.
        UnknownName: there is no such wavelet.

    Source:
        Mallat (1989), A theory for multiresolution signal decomposition; Daubechies (1992), Ten lectures on
        wavelets. Chapters "Filter banks and multiresolution" and "Images and sub-bands".
    """
    check_wavelet(wavelet)
    check_tensor(x, "x", dims)
    check_levels(levels)
    check_sizes(x, levels, dims)
    transform = _Analysis.forward if torch.compiler.is_compiling() else _Analysis.apply
    approx, *details = transform(x, wavelet, False, levels, dims, True)
    return approx, details


def idwt(approx: Tensor, details: Sequence[Tensor], wavelet: str = "haar", dims: int = 2) -> Tensor:
    r"""Invert :func:`dwt` exactly, up to rounding.

    With the synthesis filters :math:`\tilde h` and :math:`\tilde g`, one level along one axis is

    .. math:: x_m = \sum_k a_k\, \tilde h_{(m - 2k + F/2 - 1) \bmod n} + d_k\, \tilde g_{(m - 2k + F/2 - 1) \bmod n}.

    Args:
        approx: shape ``(..., *space / 2**levels)``.
        details: one tensor a level, coarsest first, shapes ``(..., 2**dims - 1, *space / 2**j)``.
        wavelet: any discrete PyWavelets name.
        dims: number of space axes, 1, 2 or 3.

    Returns:
        The signal, shape ``(..., *space)``.

    Raises:
        InvalidInput: tensors that do not fit together.
        UnknownName: there is no such wavelet.

    Source:
        Mallat (1989); Daubechies (1992). Chapter "Filter banks and multiresolution".
    """
    check_wavelet(wavelet)
    check_tree(approx, details, dims)
    transform = _Synthesis.forward if torch.compiler.is_compiling() else _Synthesis.apply
    return transform(wavelet, True, dims, approx, *details)


def packets(x: Tensor, wavelet: str = "haar", levels: int = 1, dims: int = 2) -> Tensor:
    """Split every sub-band again and again: all wavelet packets of one depth, ordered by frequency.

    Args:
        x: shape ``(..., *space)``, each space axis a multiple of ``2**levels``.
        wavelet: any discrete PyWavelets name.
        levels: depth of the tree.
        dims: number of space axes.

    Returns:
        Shape ``(..., 2**(levels * dims), *space / 2**levels)``. Along an axis node 0 is the lowest of the
        ``2**levels`` bands of equal width and the last one the highest. In 2-D node ``v * 2**levels + u`` has
        vertical band ``v`` and horizontal band ``u``; in 3-D depth comes first.

    Raises:
        InvalidInput: as :func:`dwt`.
        UnknownName: there is no such wavelet.

    Source:
        Coifman & Wickerhauser (1992), Entropy-based algorithms for best basis selection; ordering from ptwt.
    """
    check_wavelet(wavelet)
    check_tensor(x, "x", dims)
    check_levels(levels)
    check_sizes(x, levels, dims)
    paths = ptwt.WaveletPacket.get_level(levels, "freq")
    order = torch.tensor([int(path.translate(str.maketrans("ad", "01")), 2) for path in paths], device=x.device)
    lead = x.ndim - dims
    for done in range(dims):
        x = x.unsqueeze(-2)  # (lead, nodes done, positions done, axes to come, nodes, positions)
        for _ in range(levels):
            low, (high,) = dwt(x, wavelet, 1, 1)
            x = torch.stack([low, high.squeeze(-2)], -2).flatten(-3, -2)
        x = x.index_select(-2, order).movedim((-2, -1), (lead, lead + done + 1))
    return x.flatten(lead, lead + dims - 1)
