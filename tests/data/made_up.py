"""Made-up registries, wheels, packages and volumes for the tests of the data room."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np

ENTRY = """
[{id}]
description = "made up for the tests"
package = "tinydata"
version = "1.0"
member = "tinydata/{member}"
file = "{file}"
sha256 = "{sha256}"
size = {size}
profile = "cpu"
licence = "CC0"
citation = "none"
{more}
"""


def entry(id, member, content, file=None, more=""):
    """Return the registry's text for one member with its true hash."""
    digest = hashlib.sha256(content).hexdigest()
    return ENTRY.format(id=id, member=member, file=file or member, sha256=digest, size=len(content), more=more)


def make_wheel(folder, members, package="tinydata", version="1.0"):
    """Write a wheel that pip accepts, holding ``members`` (name: bytes)."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{package}-{version}-py3-none-any.whl"
    info = f"{package}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def make_nifti(path, array, affine=None, slope=None, shift=None):
    """Write a NIfTI file whose stored integers are ``array``."""
    import nibabel

    image = nibabel.Nifti1Image(array, np.eye(4) if affine is None else affine)
    if slope is not None:
        image.header.set_slope_inter(slope, shift)
    nibabel.save(image, path)
    return path


def listing(folder):
    """Return the names of everything below a folder, hidden and temporary files included."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*")) if Path(folder).exists() else []


def make_deb(folder, members, version="1.0", kind="xz", after=b""):
    """Write a Debian package in the official format, holding ``members`` (name: bytes, or a TarInfo)."""
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / f"tinydata_{version}_all.deb"
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": _tar({"./control": b"Package: tinydata\n!"}, "xz")}
    parts[f"data.tar.{kind}" if kind else "data.tar"] = _tar(members, kind) if kind in ("", "gz", "xz") else b"other"
    package.write_bytes(b"!<arch>\n" + b"".join(_part(name, content) for name, content in parts.items()) + after)
    return package


def _part(name, content):
    """Return one part of an ``ar`` archive: a header of 60 bytes, the content, and a line end to an even place."""
    header = f"{name:<16}{1608597687:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    assert len(header) == 60
    return header + content + b"\n" * (len(content) % 2)


def _tar(members, kind):
    """Return a compressed tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{kind}") as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info is not content:
                info.size = len(content)
            archive.addfile(info, None if info is content else io.BytesIO(content))
    return file.getvalue()
