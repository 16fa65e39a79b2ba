"""Packages of Debian as a source of files: downloaded by apt, opened here, never installed.

A package is an archive of the old ``ar`` kind: eight bytes of magic, then members of 60 bytes of header each. The one
named ``data.tar``, with the ending of its compression, holds the files. Both are read as streams, so a package of any
size needs little memory.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from wavelab.data.registry import Dataset, is_inside
from wavelab.errors import DataCorrupt, DataUnavailable, StorageError, WavelabError

_BLOCK = 1 << 20  # bytes copied at once
_GONE = re.compile(r"Version '.*' for '.*' was not found")
_DISK = re.compile(r"enough free space|No space left|Read-only file system|Disk quota exceeded|File too large")
_DAMAGE = re.compile(r"Hash Sum mismatch|unexpected size")


def placed(dataset: Dataset, folder: Path) -> Path | None:
    """Return the package that somebody put into ``folder`` by hand, the latest by name; None where there is none."""
    return max(folder.glob(f"{dataset.package}_*.deb"), default=None)


def download(dataset: Dataset, folder: Path, temporary: Path, progress: bool = False) -> Path:
    """Let apt download the package of a data set; another version where the archive no longer has the registered one.

    Args:
        dataset: whose package is wanted.
        folder: of the data files; only named in errors.
        temporary: where the package is put.
        progress: let apt draw its progress, where standard output is a terminal.

    Returns:
        The path of the package.

    Raises:
        DataUnavailable: there is no apt here, no network, or no such package.
        DataCorrupt: what arrived is damaged.
        StorageError: the disk is full or read-only.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise DataUnavailable(
            f"Data set {dataset.id!r} is not in the cache folder {folder}, and this system has no apt-get to download "
            f"its package {dataset.requirement} with. {_by_hand(dataset, folder)}"
        )
    done = _run(apt, dataset.requirement, temporary, progress)
    if done.returncode != 0 and _GONE.search(done.stderr):
        done = _run(apt, dataset.package, temporary, progress)
    packages = sorted(temporary.glob("*.deb"))
    if done.returncode != 0 or len(packages) != 1:
        raise _failure(dataset, folder, done.stderr)
    return packages[0]


def unpack(package: Path, targets: Mapping[str, Path]) -> None:
    """Write members of a package to their targets in one pass; a member that is not there leaves no file.

    Args:
        package: a ``.deb`` file.
        targets: exact paths inside the package, without a leading ``./``, and where each one goes.

    Raises:
        DataCorrupt: the package is damaged, or a path leads out of its folder or is no plain file.
        DataUnavailable: it is compressed in a way that this Python cannot read.
        OSError: a target cannot be written.
    """
    outside = [name for name in targets if not is_inside(name)]
    if outside:
        raise DataCorrupt(f"Refused to unpack {outside[0]!r}: the path leads out of the cache folder.")
    try:
        with open(package, "rb") as file:
            name, size = _data(file)
            with tarfile.open(fileobj=_Section(file, size), mode=f"r|{name[9:]}") as archive:
                _copy(archive, dict(targets))
    except tarfile.CompressionError as error:
        raise DataUnavailable(
            f"The package {package.name} is compressed as {name}, which this Python cannot read. Unpack it with "
            f"'dpkg-deb -x {package.name} FOLDER' and copy the file that you need into the cache folder."
        ) from error
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError) as error:
        raise DataCorrupt(
            f"The package {package.name} is damaged: {error}. Fetch it anew; replace one placed by hand first."
        ) from error


class _Section:
    """The next bytes of an open file, as a file that ends where they end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, count: int) -> bytes:
        """Return at most ``count`` bytes."""
        content = self.file.read(min(count, self.left))
        self.left -= len(content)
        return content


def _data(file: BinaryIO) -> tuple[str, int]:
    """Go to where a package's files begin; return the member's name and its size in bytes."""
    whole = os.fstat(file.fileno()).st_size
    if file.read(8) != b"!<arch>\n":
        raise tarfile.ReadError("it does not begin as a package does")
    while header := file.read(60):
        name, size = header[:16].decode("latin-1").rstrip(" /"), header[48:58].strip()
        if len(header) < 60 or header[58:] != b"`\n" or not size.isdigit() or file.tell() + int(size) > whole:
            raise tarfile.ReadError(f"its part at byte {file.tell() - len(header)} is cut short or no part")
        if name == "data.tar" or name.startswith("data.tar."):
            return name, int(size)
        file.seek(int(size) + int(size) % 2, os.SEEK_CUR)  # parts begin at even places
    raise tarfile.ReadError("it has no data.tar")


def _copy(archive: tarfile.TarFile, wanted: dict[str, Path]) -> None:
    """Copy the wanted members of a tar stream to their targets; stop after the last one."""
    for member in archive:
        target = wanted.pop(member.name.removeprefix("./"), None)
        if target is None:
            continue
        if not member.isreg():
            raise tarfile.ReadError(f"{member.name} in it is no plain file")
        with archive.extractfile(member) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, _BLOCK)
        if not wanted:
            return


def _run(apt: str, wanted: str, temporary: Path, progress: bool) -> subprocess.CompletedProcess[str]:
    """Let apt download a package into a temporary folder; its messages are in English."""
    show = progress and sys.stdout.isatty()
    return subprocess.run(
        [apt, *([] if show else ["-qq"]), "download", wanted],
        cwd=temporary,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )


def _failure(dataset: Dataset, folder: Path, stderr: str) -> WavelabError:
    """Turn what apt said into the right error, with its last lines and what to do."""
    errors = [line.strip() for line in stderr.splitlines() if line.startswith("E:")]
    said = " ".join(errors[-3:])[-600:] or "nothing"
    package = f"the package {dataset.requirement} of data set {dataset.id!r}"
    if any(_DISK.search(line) for line in errors):
        return StorageError(
            f"Cannot download {package} into {folder}: the disk refused. Free some space, make the folder writable, or "
            f"name another cache folder in the environment variable WAVELAB_CACHE. apt says: {said}"
        )
    if any(_DAMAGE.search(line) for line in errors):
        return DataCorrupt(
            f"What arrived as {package} is damaged and was removed; fetch it anew with 'python -m wavelab.data fetch "
            f"{dataset.id}', after 'apt-get update' if that fails too. apt says: {said}"
        )
    return DataUnavailable(
        f"Data set {dataset.id!r} is not in the cache folder {folder}, and its package {dataset.requirement} could not "
        "be downloaded. Is the network there, and does apt know what packages there are ('apt-get update')? "
        f"{_by_hand(dataset, folder)} apt says: {said}"
    )


def _by_hand(dataset: Dataset, folder: Path) -> str:
    """Say how the file gets into the cache without apt."""
    return (
        f"To place it by hand: get {dataset.package}_{dataset.version}_all.deb, from the pool of any mirror of Debian, "
        f"where it lies under the package's name, or by 'apt-get download {dataset.package}' on another machine, and "
        f"put it into {folder}; or unpack it there and copy {dataset.member} to {folder / dataset.file}."
    )
