"""Sub-bands: their names, their order, and how to move them between channels, vectors and pictures.

A sub-band's name has one letter an axis, **the last axis first**: width, then height, then depth. ``L`` is low-pass,
``H`` high-pass. Where sub-bands have an axis of their own they stand in the order of :data:`SUBBANDS`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput

SUBBANDS = {dims: tuple(map("".join, itertools.product("LH", repeat=dims))) for dims in (1, 2, 3)}


def pack(approx: Tensor, detail: Tensor, dims: int = 2) -> Tensor:
    """Put the sub-bands of one level on the channel axis, LL of all channels first.

    Channel ``band * channels + c`` of the result is sub-band ``SUBBANDS[dims][band]`` of channel ``c``.

    Args:
        approx: shape ``(batch, channels, *space)``.
        detail: shape ``(batch, channels, 2**dims - 1, *space)``.
        dims: number of space axes.

    Returns:
        Shape ``(batch, 2**dims * channels, *space)``.

    Raises:
        InvalidInput: tensors that do not fit together.
    """
    check_tree(approx, [detail], dims)
    if approx.ndim < dims + 1:
        raise InvalidInput(f"approx has shape {tuple(approx.shape)}; expected a channel axis before {dims} space axes.")
    bands = detail.movedim(-dims - 1, -dims - 2).flatten(-dims - 2, -dims - 1)
    return torch.cat([approx, bands], -dims - 1)


def unpack(x: Tensor, dims: int = 2) -> tuple[Tensor, Tensor]:
    """Undo :func:`pack`.

    Args:
        x: shape ``(batch, 2**dims * channels, *space)``.
        dims: number of space axes.

    Returns:
        ``approx`` of shape ``(batch, channels, *space)`` and ``detail`` of shape
        ``(batch, channels, 2**dims - 1, *space)``.

    Raises:
        InvalidInput: the channel axis is not a multiple of ``2**dims``.
    """
    check_tensor(x, "x", dims)
    bands = 2**dims
    if x.ndim <= dims or x.shape[-dims - 1] % bands:
        raise InvalidInput(f"x has shape {tuple(x.shape)}; expected {bands} channels a packed one, for dims={dims}.")
    x = x.unflatten(-dims - 1, (bands, -1)).movedim(-dims - 2, -dims - 1)
    return x.select(-dims - 1, 0), x.narrow(-dims - 1, 1, bands - 1)


def flatten(approx: Tensor, details: Sequence[Tensor], dims: int = 2) -> Tensor:
    """Join all coefficients into one vector a channel, coarsest first.

    Args:
        approx: shape ``(..., *space / 2**levels)``.
        details: one tensor a level, coarsest first.
        dims: number of space axes.

    Returns:
        Shape ``(..., n)`` with ``n`` the number of values of the signal.

    Raises:
        InvalidInput: tensors that do not fit together.
    """
    check_tree(approx, details, dims)
    return torch.cat([approx.flatten(-dims), *(d.flatten(-dims - 1) for d in details)], -1)


def unflatten(x: Tensor, space: Sequence[int], levels: int) -> tuple[Tensor, list[Tensor]]:
    """Undo :func:`flatten`.

    Args:
        x: shape ``(..., n)``.
        space: the signal's space shape; its product is ``n``.
        levels: number of levels.

    Returns:
        ``approx`` and ``details`` as :func:`dwt` returns them.

    Raises:
        InvalidInput: ``n`` is not the product of ``space``, or ``space`` cannot be halved ``levels`` times.
    """
    dims, space = len(space), list(space)
    check_tensor(x, "x", 1)
    check_levels(levels)
    if x.shape[-1] != math.prod(space) or any(n % 2**levels for n in space):
        raise InvalidInput(f"x has {x.shape[-1]} values; expected {space} of them, each a multiple of {2**levels}.")
    grids = [[n >> j for n in space] for j in range(levels, 0, -1)]
    shapes = [grids[0], *([2**dims - 1, *grid] for grid in grids)]
    parts = x.split([math.prod(shape) for shape in shapes], -1)
    approx, *details = (part.unflatten(-1, shape) for part, shape in zip(parts, shapes))
    return approx, details


def mosaic(approx: Tensor, details: Sequence[Tensor], normalise: bool = False) -> Tensor:
    """Lay a 2-D coefficient tree out as one image: LL top left, HL right of it, LH below it, HH diagonal.

    Args:
        approx: shape ``(..., h, w)``.
        details: one tensor a level, coarsest first, ``(..., 3, h, w)``.
        normalise: for display, scale the approximation from its own range to [0, 1] and every detail band by its own
            largest magnitude to [0, 1] with zero at 0.5.

    Returns:
        Shape ``(..., height, width)``.

    Raises:
        InvalidInput: tensors that do not fit together.
    """
    check_tree(approx, details, 2)
    image = _to_unit(approx) if normalise else approx
    for detail in details:
        if normalise:
            detail = 0.5 + 0.5 * detail / detail.abs().amax((-2, -1), keepdim=True).clamp_min(1e-30)
        lh, hl, hh = detail.unbind(-3)
        image = torch.cat([torch.cat([image, hl], -1), torch.cat([lh, hh], -1)], -2)
    return image


def parents(detail: Tensor, dims: int = 2) -> Tensor:
    """Repeat every coefficient over its children's grid, one level finer.

    The children of coefficient ``k`` are the ``2**dims`` coefficients ``2k`` and ``2k + 1`` along every axis, in the
    same sub-band. ``zip(map(parents, details), details[1:])`` lists all parent-child pairs of a tree.

    Args:
        detail: shape ``(..., 2**dims - 1, *space)``.
        dims: number of space axes.

    Returns:
        Shape ``(..., 2**dims - 1, *2 space)``.

    Source:
        Shapiro (1993), Embedded image coding using zerotrees. Chapter "The statistics of wavelet coefficients".
    """
    check_tensor(detail, "detail", dims)
    for axis in range(-dims, 0):
        detail = detail.repeat_interleave(2, axis)
    return detail


def _to_unit(x: Tensor) -> Tensor:
    low, high = x.amin((-2, -1), keepdim=True), x.amax((-2, -1), keepdim=True)
    return (x - low) / (high - low).clamp_min(1e-30)


def check_tensor(x: Tensor, name: str, dims: int) -> None:
    """Refuse what is not a non-empty floating-point tensor with at least ``dims`` axes."""
    if dims not in SUBBANDS:
        raise InvalidInput(f"dims is {dims!r}; expected 1, 2 or 3.")
    if not isinstance(x, Tensor):
        raise InvalidInput(f"{name} is a {type(x).__name__}; expected a torch tensor, see torch.as_tensor.")
    if not x.dtype.is_floating_point:
        raise InvalidInput(f"{name} has dtype {x.dtype}; expected a floating-point one, for instance {name}.float().")
    if x.ndim < dims or not x.numel():
        raise InvalidInput(f"{name} has shape {tuple(x.shape)}; expected values on at least {dims} axes.")


def check_levels(levels: int) -> None:
    """Refuse what is not a whole number of at least 1."""
    if not isinstance(levels, (int, np.integer)) or levels < 1:
        raise InvalidInput(f"levels is {levels!r}; expected a whole number, at least 1.")


def check_sizes(x: Tensor, levels: int, dims: int) -> None:
    """Refuse a space axis that cannot be halved ``levels`` times, and name the nearest size that can."""
    step = 2**levels
    for axis in range(x.ndim - dims, x.ndim):
        n = x.shape[axis]
        if n % step:
            lower, upper = n // step * step, -(-n // step) * step
            nearest = lower if lower and n - lower <= upper - n else upper
            raise InvalidInput(
                f"Axis {axis} of x has {n} values; {levels} levels need a multiple of {step}. "
                f"The nearest valid size is {nearest}: crop, pad or resize, or take fewer levels."
            )


def check_tree(approx: Tensor, details: Sequence[Tensor], dims: int) -> None:
    """Refuse coefficients that do not fit together."""
    check_tensor(approx, "approx", dims)
    if isinstance(details, Tensor):
        raise InvalidInput("details is a tensor; expected a list of tensors, one a level, coarsest first.")
    lead, space = approx.shape[: approx.ndim - dims], approx.shape[approx.ndim - dims :]
    for j, detail in enumerate(details):
        check_tensor(detail, f"details[{j}]", dims)
        expected = (*lead, 2**dims - 1, *(n << j for n in space))
        if detail.shape != expected or detail.dtype != approx.dtype or detail.device != approx.device:
            raise InvalidInput(
                f"details[{j}] has shape {tuple(detail.shape)}, {detail.dtype} on {detail.device}; "
                f"expected {expected}, {approx.dtype} on {approx.device}: one tensor a level, coarsest first."
            )
