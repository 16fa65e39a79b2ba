"""Splits of one volume into training, validation and test slices that do not touch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from wavelab.errors import InvalidInput

PARTS = ("train", "validation", "test")


def split_slices(
    n: int, fractions: Sequence[float] = (0.7, 0.15, 0.15), *, gap: int = 5, blocks: int = 1
) -> dict[str, np.ndarray]:
    """Split ``n`` consecutive slices into contiguous blocks with unused slices between any two of different parts.

    Neighbouring slices of one patient are nearly the same image. A random split would put near copies of the test
    slices into training; blocks with a gap do not. It is still one patient, and no result says more than that.

    With ``blocks=1`` the order is train, gap, validation, gap, test. With more, that pattern is repeated, so that each
    part sees several regions of the body and more slices are spent on gaps.

    Args:
        n: number of slices.
        fractions: shares of train, validation and test among the slices that are used; not negative, sum 1. A part
            with share 0 is left empty and takes no gap.
        gap: unused slices between two blocks, at least.
        blocks: how often the pattern is repeated.

    Returns:
        Sorted slice numbers for ``"train"``, ``"validation"`` and ``"test"``, each an int64 array.

    Raises:
        InvalidInput: a value is out of range, or ``n`` is too small for every block to hold a slice.
    """
    _check(n, fractions, gap, blocks)
    parts = [part for part, share in zip(PARTS, fractions, strict=True) if share > 0]
    shares = [share for share in fractions if share > 0]
    usable = n - gap * (blocks * len(parts) - 1)
    if usable < blocks * len(parts):
        raise InvalidInput(
            f"{n} slices are too few for {blocks} x {len(parts)} blocks with gaps of {gap}: "
            f"at least {gap * (blocks * len(parts) - 1) + blocks * len(parts)} are needed."
        )
    chosen: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
    start = 0
    for block in range(blocks):
        size = (block + 1) * usable // blocks - block * usable // blocks
        for part, length in zip(parts, _lengths(size, shares), strict=True):
            chosen[part].append(np.arange(start, start + length))
            start += length + gap
    empty = np.arange(0)
    return {part: np.concatenate([empty, *ranges]) for part, ranges in chosen.items()}


def _check(n: int, fractions: Sequence[float], gap: int, blocks: int) -> None:
    """Refuse arguments that are out of range."""
    for name, value, least in (("n", n, 1), ("gap", gap, 0), ("blocks", blocks, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InvalidInput(f"{name} must be a whole number of at least {least}, got {value!r}.")
    good = len(fractions) == 3 and all(math.isfinite(f) and f >= 0 for f in fractions)
    if not good or not math.isclose(sum(fractions), 1.0, abs_tol=1e-9):
        raise InvalidInput(f"fractions must be three shares for {', '.join(PARTS)} that sum to 1, got {fractions!r}.")


def _lengths(total: int, shares: Sequence[float]) -> list[int]:
    """Divide ``total`` slices by their shares, each at least one, by the largest remainder."""
    lengths = [max(1, math.floor(share * total)) for share in shares]
    while sum(lengths) != total:
        short = [share * total - length for share, length in zip(shares, lengths, strict=True)]
        if sum(lengths) < total:
            lengths[short.index(max(short))] += 1
        else:
            lengths[lengths.index(max(lengths))] -= 1
    return lengths
