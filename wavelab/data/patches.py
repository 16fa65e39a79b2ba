"""Square patches of the chest CT: the real images that the generative chapters train on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wavelab.data.hounsfield import window
from wavelab.data.volumes import chest_ct
from wavelab.errors import InvalidInput

CENTRE, WIDTH = -200.0, 1600.0  # HU: lung, soft tissue and most bone, -1000 to 600
_INSIDE = -950.0  # HU: above it lies the patient, lungs included
_TRIES = 50  # batches of random places before giving up


def ct_patches(
    size: int, count: int, slices: Sequence[int], rng: np.random.Generator, *, reduce: int = 2, inside: float = 0.9
) -> Tensor:
    """Draw random square patches of axial slices of the chest CT.

    A slice is drawn uniformly from ``slices``, then a place in it. A patch is kept when enough of it lies in the
    patient; patches may overlap. Pixels are means over ``reduce`` x ``reduce`` pixels of the scan.

    Args:
        size: side of a patch in pixels after reduction.
        count: number of patches.
        slices: numbers of the slices to draw from; take them from :func:`wavelab.data.split_slices`, so that training
            and test patches come from different parts of the patient.
        rng: source of randomness.
        reduce: how many pixels of the scan make one; 2 gives 1.41 mm.
        inside: smallest share of a patch that lies in the patient, 0 to 1.

    Returns:
        float32, shape ``(count, 1, size, size)``: -1000 HU to 600 HU as -1 to 1, clipped.

    Raises:
        InvalidInput: a size, count or share out of range, no or unknown slices, or hardly any patch inside.
        DataUnavailable, DataCorrupt, StorageError: see :func:`wavelab.data.fetch`.
    """
    volume = chest_ct().array
    images = _reduced(volume, _checked(size, count, slices, reduce, inside, volume.shape), reduce)
    area = _areas(images > _INSIDE, size)
    kept: list[np.ndarray] = []
    for _ in range(_TRIES):
        z, y, x = (rng.integers(limit, size=2 * count) for limit in area.shape)
        good = area[z, y, x] >= inside * size**2
        kept.append(np.stack([z, y, x], axis=1)[good])
        if sum(map(len, kept)) >= count:
            break
    else:
        raise InvalidInput(f"Of {_TRIES * 2 * count} random patches only {sum(map(len, kept))} lie in the patient to "
                           f"{inside:.0%}; lower inside or take other slices.")  # fmt: skip
    z, y, x = np.concatenate(kept)[:count].T[:, :, None, None]
    cut = images[z, y + np.arange(size)[:, None], x + np.arange(size)]
    return torch.from_numpy(2 * window(cut, CENTRE, WIDTH) - 1)[:, None]


def _checked(size, count, slices, reduce, inside, shape) -> np.ndarray:
    """Return the slice numbers after checking all arguments."""
    for name, value in (("size", size), ("count", count), ("reduce", reduce)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InvalidInput(f"{name} must be a positive whole number, got {value!r}.")
    if not 0 <= inside <= 1:
        raise InvalidInput(f"inside must lie between 0 and 1, got {inside!r}.")
    chosen = np.asarray(slices)
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
        raise InvalidInput(f"slices must be a sequence of slice numbers, got {slices!r}.")
    if chosen.min() < 0 or chosen.max() >= shape[0]:
        raise InvalidInput(f"slices run from {chosen.min()} to {chosen.max()}; the scan has 0 to {shape[0] - 1}.")
    if size * reduce > min(shape[1:]) or shape[1] % reduce or shape[2] % reduce:
        raise InvalidInput(f"Patches of {size} x {size} pixels of {reduce} x {reduce} do not fit slices of "
                           f"{shape[1]} x {shape[2]}; reduce must divide both.")  # fmt: skip
    return chosen


def _reduced(volume: np.ndarray, slices: np.ndarray, reduce: int) -> np.ndarray:
    """Return the slices with blocks of pixels averaged, float32."""
    images = volume[slices]
    n, height, width = images.shape
    blocks = images.reshape(n, height // reduce, reduce, width // reduce, reduce)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _areas(mask: np.ndarray, size: int) -> np.ndarray:
    """Return how many true pixels each window of side ``size`` holds, indexed by its first corner."""
    sums = np.pad(mask, ((0, 0), (1, 0), (1, 0))).cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
    return sums[:, size:, size:] - sums[:, :-size, size:] - sums[:, size:, :-size] + sums[:, :-size, :-size]
