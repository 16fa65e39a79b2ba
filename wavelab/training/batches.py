"""Which samples a step sees, and from what its random numbers are drawn: functions of seed and step alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput


class Batches:
    """Batches of a data set in an order that follows from the seed: a new permutation each epoch.

    The permutations are thought one after the other; step ``k`` takes the ``k``-th ``batch_size`` entries.
    """

    def __init__(self, data: Any, batch_size: int, shards: int, seed: int) -> None:
        self.data, self.seed = data, seed
        self.count, self.size = _length(data), batch_size // shards
        self.shards = shards
        self._order = lru_cache(maxsize=2)(self._permutation)

    def indices(self, step: int, shard: int) -> Tensor:
        """Return the numbers of the samples that one shard of one step sees."""
        first = (step * self.shards + shard) * self.size
        places = range(first, first + self.size)
        return torch.tensor([self._order(place // self.count)[place % self.count] for place in places])

    def __call__(self, step: int, shard: int) -> Any:
        """Return one shard of one step's batch, as the data set gives it."""
        indices = self.indices(step, shard)
        if isinstance(self.data, tuple):
            return tuple(part[indices] for part in self.data)
        return self.data[indices]

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(self.count)


def seed_of(seed: int, step: int, shard: int) -> int:
    """Return the seed of every random number that one shard of one step draws."""
    return int(np.random.SeedSequence([seed, 1, step, shard]).generate_state(1, np.uint64)[0] >> 1)


def describe(data: Any) -> dict[str, Any]:
    """Return what tells data sets apart: class and sizes, and of tensors the mean, spread and a projection, rounded."""
    parts = data if isinstance(data, tuple) else (data,)
    return {"samples": _length(data), "parts": [_describe_part(part) for part in parts]}


def _describe_part(part: Any) -> dict[str, Any]:
    if not isinstance(part, Tensor):
        return {"class": type(part).__name__}
    values = (torch.view_as_real(part) if part.is_complex() else part).cpu().double()
    spread, mean = torch.std_mean(values)
    return {
        "shape": list(part.shape),
        "dtype": str(part.dtype).removeprefix("torch."),
        "mean": round(float(mean), 3),
        "std": round(float(spread), 3) if math.isfinite(spread) else None,
        "projection": _projection(values.flatten(1) if values.ndim > 1 else values[:, None]),
    }


def _projection(values: Tensor) -> float | None:
    r"""Return :math:`a^\top X b/\|X\|` with fixed Gaussian vectors: other values, or another order, give another."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, generator=generator, dtype=torch.float64) for size in values.shape)
    found = float(a @ values @ b / values.norm().clamp_min(1e-30))
    return round(found, 3) if math.isfinite(found) else None


def _length(data: Any) -> int:
    parts = data if isinstance(data, tuple) else (data,)
    lengths = {len(part) for part in parts if hasattr(part, "__len__") and hasattr(part, "__getitem__")}
    if len(lengths) != 1 or not all(hasattr(part, "__getitem__") for part in parts) or 0 in lengths:
        raise InvalidInput(
            f"The data is {type(data).__name__} with lengths {sorted(lengths)}; expected a tensor (samples, ...), a "
            "tuple of tensors with equally many samples, or an object with __len__ and __getitem__; and at least one."
        )
    return lengths.pop()
