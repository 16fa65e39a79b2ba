"""Periodic continuation of a grid, one copy forward and one backward.

``torch.nn.functional.pad(mode="circular")`` records every slice that it copies, which makes its backward pass several
times slower than the copy itself. Here padding and its transpose are one node each in the graph, and each is the
other's derivative, so gradients of any order work.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}  # by number of space axes


def layout(x: Tensor, dims: int) -> torch.memory_format:
    """Return the memory layout of ``x``: channels last where it is stored so, else contiguous."""
    last = LAYOUTS.get(dims)
    return last if last and x.stride(1) == 1 and x.shape[1] > 1 else torch.contiguous_format


class Wrap(torch.autograd.Function):
    """Continue the last ``dims`` axes periodically by ``amount`` points on both sides."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, amount: int, dims: int) -> Tensor:
        """Copy ``x`` into the middle, then each pair of edges, axis after axis."""
        ctx.arguments = (amount, dims)
        sizes = x.shape[-dims:]
        shape = (*x.shape[:-dims], *(size + 2 * amount for size in sizes))
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x, dims))
        views = [out]  # views[k] leaves out the padding of the last k axes
        for axis in range(1, dims + 1):
            views.append(views[-1].narrow(-axis, amount, sizes[-axis]))
        views.pop().copy_(x)
        for axis in range(dims, 0, -1):
            view, size = views[axis - 1], sizes[-axis]
            view.narrow(-axis, 0, amount).copy_(view.narrow(-axis, size, amount))
            view.narrow(-axis, size + amount, amount).copy_(view.narrow(-axis, amount, amount))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Apply the transpose."""
        return Fold.apply(grad, *ctx.arguments), None, None


class Fold(torch.autograd.Function):
    """Cut ``amount`` points off both sides of the last ``dims`` axes and add them where they were copied from."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, amount: int, dims: int) -> Tensor:
        """Fold axis after axis."""
        ctx.arguments = (amount, dims)
        return _fold(x, amount, dims, layout(x, dims))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Apply the transpose."""
        return Wrap.apply(grad, *ctx.arguments), None, None


def _fold(x: Tensor, amount: int, axes: int, form: torch.memory_format) -> Tensor:
    if axes == 0:
        return x.clone(memory_format=form)
    size = x.shape[-axes] - 2 * amount
    out = _fold(x.narrow(-axes, amount, size), amount, axes - 1, form)
    for start, end in ((0, size - amount), (size + amount, 0)):
        edge = x.narrow(-axes, start, amount)
        out.narrow(-axes, end, amount).add_(_fold(edge, amount, axes - 1, form) if axes > 1 else edge)
    return out


def wrap(x: Tensor, amount: int, dims: int) -> Tensor:
    """Continue the last axes of ``x`` periodically.

    Args:
        x: shape ``(..., *space)``.
        amount: points added on both sides, at most the smallest size.
        dims: number of space axes.

    Returns:
        Shape ``(..., *(size + 2 * amount))``.
    """
    return Wrap.apply(x, amount, dims)


class _Periodic:
    """Replaces how a convolution of torch pads periodically; its parameters and arguments stay the same."""

    def forward(self, x: Tensor) -> Tensor:
        convolve = getattr(F, f"conv{len(self.kernel_size)}d")
        wrapped = wrap(x, self.padding[0], len(self.kernel_size))
        return convolve(wrapped, self.weight, self.bias, dilation=self.dilation)


class PeriodicConv1d(_Periodic, nn.Conv1d):
    """A convolution on a circle."""


class PeriodicConv2d(_Periodic, nn.Conv2d):
    """A convolution on a torus."""


class PeriodicConv3d(_Periodic, nn.Conv3d):
    """A convolution on a three-dimensional torus."""


PERIODIC = {1: PeriodicConv1d, 2: PeriodicConv2d, 3: PeriodicConv3d}
