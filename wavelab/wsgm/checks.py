"""What a cascade refuses: data, requests, networks and scores that do not fit its scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wavelab.errors import InvalidInput
from wavelab.subbands import check_levels, check_sizes, check_tensor
from wavelab.wavelets import Whitening


def check_data(x: Tensor, levels: int, dims: int, channels: int | None = None) -> None:
    """Refuse data that is not ``(batch, channels, *space)`` or cannot be halved ``levels`` times."""
    check_tensor(x, "x", dims)
    check_levels(levels)
    if x.ndim != dims + 2:
        raise InvalidInput(f"x has shape {tuple(x.shape)}; expected (batch, channels, *{dims} space axes).")
    check_sizes(x, levels, dims)
    if channels not in (None, x.shape[1]):
        raise InvalidInput(f"x has shape {tuple(x.shape)}; expected {channels} channels, as in training.")


def check_scale(cascade, j: int) -> None:
    """Refuse a scale that the cascade does not have."""
    if j not in range(1, cascade.levels + 1):
        raise InvalidInput(f"There is no scale {j!r}; expected 1 (finest) to {cascade.levels} (coarsest).")


def check_request(cascade, shape: Sequence[int], detail_scores: Sequence[Callable]) -> None:
    """Refuse a shape of images, or a number of scores, that the cascade cannot make."""
    if len(shape) != cascade.dims + 2 or shape[0] < 1:
        raise InvalidInput(
            f"shape is {tuple(shape)}; expected (batch, {cascade.channels}, *{cascade.dims} space axes)."
        )
    check_data(torch.empty(1).expand(1, *shape[1:]), cascade.levels, cascade.dims, cascade.channels)
    if len(detail_scores) != cascade.levels:
        raise InvalidInput(f"There are {len(detail_scores)} detail scores; expected {cascade.levels}, finest first.")


def check_network(cascade, model, j: int | None) -> None:
    """Refuse a network whose channels are not those of the details of scale ``j`` (None: of the coarse image).

    A model without a ``config`` is let through; a wrong shape is then refused when it is used.

    Raises:
        InvalidInput: other channels, the two sets named; or there is no such scale.
    """
    if j is not None:
        check_scale(cascade, j)
    channels = cascade.channels if j is None else cascade.detail_channels
    condition = 0 if j is None else cascade.channels
    wanted = {"in_channels": channels, "out_channels": channels, "cond_channels": condition}
    config = getattr(model, "config", None)
    if not isinstance(config, dict):
        return
    given = {name: config.get(name, 0) for name in wanted}
    if given != wanted:
        what = "the coarse image" if j is None else f"the {2**cascade.dims - 1} detail bands of scale {j}"
        raise InvalidInput(f"The network has {given}; expected {wanted} for {what}.")


def bind(score: Callable, name: str, *cond: Tensor) -> Callable:
    """Bind the condition of a score, and refuse a value of another shape than its argument."""

    def bound(x, t):
        value = score(x, t, *cond)
        if value.shape != x.shape:
            raise InvalidInput(
                f"The score of {name} has shape {tuple(value.shape)}; expected that of its argument, {tuple(x.shape)}."
            )
        return value

    return bound


def read_whitening(numbers: dict) -> Whitening:
    """Make a whitening of the lists ``mean`` and ``std``; raise ValueError where they make none."""
    mean, std = (torch.tensor(numbers[key], dtype=torch.float64) for key in ("mean", "std"))
    if mean.shape != std.shape or not (std > 0).all():
        raise ValueError(f"bad means or standard deviations: {numbers}")
    return Whitening(mean, std)
