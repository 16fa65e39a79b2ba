"""Checks of measurements that every reconstruction shares."""

from __future__ import annotations

import torch
from torch import Tensor

from wavelab.errors import InvalidInput


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
    physics.A_adjoint(y[:1])
    if not bool(torch.isfinite(y).all()):
        raise InvalidInput(
            f"y (shape {tuple(y.shape)}) holds NaN or infinite values; set them to 0 and their weights too."
        )
    if start is not None and (len(start) != len(y) or not bool(torch.isfinite(start).all())):
        raise InvalidInput(
            f"start has shape {tuple(start.shape)}; expected {len(y)} images without NaN, one a scan of y."
        )
    if weights is None:
        return
    if not bool((weights >= 0).all()) or not bool(torch.isfinite(weights).all()):
        raise InvalidInput("weights holds negative, NaN or infinite values; give inverse variances, 0 for no data.")
    sizes = zip(reversed(weights.shape), reversed(y.shape), strict=False)
    if weights.ndim > y.ndim or any(own not in (1, size) for own, size in sizes):
        raise InvalidInput(f"weights has shape {tuple(weights.shape)}, which does not fit y, {tuple(y.shape)}.")
