"""Checks of arguments and measurements that the modules of Part 4 share."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput
from wavelab.filterbank import filters


def check_whole(name: str, value: int, least: int = 1) -> None:
    """Raise InvalidInput unless a value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InvalidInput(f"{name} is {value!r}; give a whole number of at least {least}.")


def check_number(name: str, value: float, *, zero: bool = False) -> None:
    """Raise InvalidInput unless a value is a finite positive number, or zero where that is allowed."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise InvalidInput(f"{name} is {value!r}; give a finite number, {'at least' if zero else 'above'} 0.")
    if value == 0 and not zero:
        raise InvalidInput(f"{name} is 0; give a positive number.")


def check_bounds(low: float, high: float) -> None:
    """Raise InvalidInput unless bounds are in order."""
    if not low < high:
        raise InvalidInput(f"The bounds are {low} and {high}; the first must be the smaller.")


def check_orthonormal(wavelet: str) -> None:
    """Raise InvalidInput unless shrinking the coefficients of a wavelet is the prox of their size."""
    if not filters(wavelet).orthogonal:
        raise InvalidInput(f"{wavelet} is not orthonormal, so shrinkage is no prox; give one such as haar or sym4.")


def check_finite(x: Tensor, name: str) -> None:
    """Raise InvalidInput if a tensor holds NaN or infinite values; not on a GPU, which would have to wait."""
    if x.device.type == "cpu" and not torch.isfinite(x.detach().sum()) and not bool(torch.isfinite(x.detach()).all()):
        raise InvalidInput(f"{name} (shape {tuple(x.shape)}) holds NaN or infinite values; mend or mask them first.")


def check_measurements(physics, y: Tensor, start: Tensor | None = None, weights: Tensor | None = None) -> None:
    """Raise if measurements are not those of a scanner, if any value is missing, or if a weight is negative.

    Args:
        physics: a scanner with ``A_adjoint``, which refuses another geometry.
        y: its measurements ``(batch, 1, ...)``.
        start: images, of which there must be as many.
        weights: of the measurements, broadcast against them.

    Raises:
        InvalidInput: see above; the message names what is wrong.
    """
    if not isinstance(y, Tensor):
        raise InvalidInput(f"y is a {type(y).__name__}; expected a tensor of measurements (batch, 1, ...).")
    if not bool(torch.isfinite(y).all()):
        raise InvalidInput(f"y (shape {tuple(y.shape)}) holds NaN or infinite values; set them and their weights to 0.")
    physics.A_adjoint(y[:1])
    if start is not None and (len(start) != len(y) or not bool(torch.isfinite(start).all())):
        raise InvalidInput(f"start has shape {tuple(start.shape)}; expected {len(y)} images without NaN, one a scan.")
    if weights is None:
        return
    if not bool((weights >= 0).all()) or not bool(torch.isfinite(weights).all()):
        raise InvalidInput("weights holds negative, NaN or infinite values; give inverse variances, 0 for no data.")
    sizes = zip(reversed(weights.shape), reversed(y.shape), strict=False)
    if weights.ndim > y.ndim or any(own not in (1, size) for own, size in sizes):
        raise InvalidInput(f"weights has shape {tuple(weights.shape)}, which does not fit y, {tuple(y.shape)}.")
