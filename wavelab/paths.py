"""Where things live, and the one way files are written.

``ROOT`` is the project's folder. Everything wavelab writes goes into the project's ``_build`` folder, into
the folder of a run, or into the cache (``WAVELAB_CACHE``, by default the user's cache folder).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from wavelab.errors import InvalidInput, StorageError

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"


def cache_dir() -> Path:
    """Return the cache folder: ``$WAVELAB_CACHE`` where set, else the platform's user cache.

    Raises:
        InvalidInput: ``$WAVELAB_CACHE`` is a relative path, which each chapter would look for in its own folder.
    """
    chosen = os.environ.get("WAVELAB_CACHE")
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_absolute():
            raise InvalidInput(
                f"WAVELAB_CACHE is {chosen!r}, which is another folder in every program; give an absolute path, "
                f"such as {path.resolve()}."
            )
        return path
    import pooch

    return Path(pooch.os_cache("wavelab"))


def sha256(path: Path | str) -> str:
    """Return the SHA-256 of a file as a hexadecimal string."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and move it there when the block ends without an error.

    A reader sees the old file or the whole new one, never a part. On any error the temporary file is removed.

    Args:
        path: the file to write; its folder is made when missing.

    Yields:
        The temporary path to write to, in the same folder.

    Raises:
        StorageError: the folder or file cannot be written (read-only, full disk); nothing is left behind.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        reason = error.strerror or str(error)
        raise StorageError(
            f"Cannot write {path}: {reason}. Free some space or make {path.parent} writable; "
            "another cache folder can be named in the environment variable WAVELAB_CACHE."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
