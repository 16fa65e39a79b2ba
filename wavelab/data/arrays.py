"""Arrays kept beside their source files in a form that opens in a millisecond: memory-mapped ``.npy``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from wavelab.data.download import folder
from wavelab.data.registry import Dataset
from wavelab.errors import DataCorrupt
from wavelab.paths import atomic_write

LAYOUT = 1  # raise when the conversion changes, so that older arrays are not taken for new ones


def array_path(dataset: Dataset) -> Path:
    """Return where the array made from a data set's file is kept; the name carries the file's SHA-256."""
    return folder() / f"{dataset.id}.{LAYOUT}-{dataset.sha256[:16]}.npy"


def is_cached(dataset: Dataset) -> bool:
    """Say whether the array of a data set can be opened without reading its source file."""
    return _open(array_path(dataset), dataset) is not None


def cached(dataset: Dataset, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array of a data set as a read-only memory map, making it first when the cache lacks it.

    Args:
        dataset: a volume of the registry.
        make: reads the source file and returns the array; called only when needed.

    Raises:
        DataCorrupt: what ``make`` returns is not what the registry states, or is empty or not finite.
        StorageError: the cache cannot be written.
    """
    path = array_path(dataset)
    array = _open(path, dataset)
    if array is None:
        made = make()
        _check(made, dataset)
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.save(file, made, allow_pickle=False)
        _forget_older(dataset)
        array = _open(path, dataset)
    if array is None:
        raise DataCorrupt(f"{path} cannot be read back although it was just written. Is the disk sound?")
    return array


def _open(path: Path, dataset: Dataset) -> np.ndarray | None:
    """Map an array of the cache; None where it is missing, cut short or of another shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if (array.shape, array.dtype.name) == (dataset.shape, dataset.dtype) else None


def _check(array: np.ndarray, dataset: Dataset) -> None:
    """Refuse an array that cannot be the registered volume."""
    if (array.shape, array.dtype.name) != (dataset.shape, dataset.dtype):
        raise DataCorrupt(
            f"Data set {dataset.id!r} holds {array.dtype} values of shape {array.shape}, "
            f"expected {dataset.dtype} of shape {dataset.shape}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataCorrupt(f"Data set {dataset.id!r} holds NaN or infinite values.")


def _forget_older(dataset: Dataset) -> None:
    """Remove arrays of the same data set made from another file or by an older conversion."""
    for old in folder().glob(f"{dataset.id}.*.npy"):
        if old != array_path(dataset):
            old.unlink(missing_ok=True)
