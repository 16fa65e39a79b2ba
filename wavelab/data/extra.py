"""What the readers of the papers' own data sets share: libraries that are optional, and the choice of slices."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from wavelab.errors import DataUnavailable, InvalidInput


def library(name: str, extra: str = "medical", purpose: str = "Reading this file") -> ModuleType:
    """Import an optional library, or say which extra to install for it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataUnavailable(
            f'{purpose} needs {name}, which does not import ({error}): pip install "wavelab[{extra}]".'
        ) from error


def chosen(numbers: Sequence[int] | None, count: int, name: str, what: str) -> np.ndarray:
    """Return the numbers as an array after checking that each is one of ``count``; None means all.

    Args:
        numbers: as the caller's user gave them; any order, repeats allowed.
        count: how many there are; numbers run from 0.
        name: of the argument, for the message.
        what: has the ``count`` parts, for the message.
    """
    if numbers is None:
        return np.arange(count)
    array = np.asarray(numbers)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InvalidInput(f"{name} must be a sequence of whole numbers, at least one, got {numbers!r}.")
    if array.min() < 0 or array.max() >= count:
        raise InvalidInput(f"{name} run from {array.min()} to {array.max()}; {what} has 0 to {count - 1}.")
    return array
