"""The errors that wavelab raises on purpose.

Each message names what was given, what was expected and what to do next. All derive from
:class:`WavelabError`, so a caller can catch everything this package raises deliberately in one clause.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WavelabError(Exception):
    """Base class of every error raised on purpose by wavelab."""


class InvalidInput(WavelabError, ValueError):
    """A value has the wrong type, shape, range or content."""


class UnknownName(WavelabError, LookupError):
    """A profile, parameter, chapter, wavelet or data set that does not exist."""

    @classmethod
    def among(cls, kind: str, given: object, known: Iterable[str]) -> UnknownName:
        """Build the error with the closest known names: ``UnknownName.among("profile", "cpuu", PROFILES)``."""
        known = sorted(known)
        close = difflib.get_close_matches(str(given), known, n=3, cutoff=0.5)
        hint = f"Did you mean {', '.join(map(repr, close))}?" if close else f"Known: {', '.join(known[:40])}."
        return cls(f"There is no {kind} {given!r}. {hint}")


class DataUnavailable(WavelabError):
    """A data set can be neither found in the cache nor fetched."""


class DataCorrupt(WavelabError):
    """A file is not what it should be: wrong hash, damaged archive, unreadable volume."""


class StorageError(WavelabError, OSError):
    """A file cannot be written: read-only folder, full disk, missing permission."""


class ChapterFailed(WavelabError):
    """A cell of a chapter raised an error; the message names chapter, cell and cause."""


class TrainingDiverged(WavelabError, ArithmeticError):
    """A training's loss or gradient became NaN or infinite; the last good checkpoint is kept."""


class CheckpointMismatch(WavelabError):
    """A checkpoint belongs to another architecture, configuration or data set than the one asked for."""
