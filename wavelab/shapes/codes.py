"""One call each way: a mesh to its coefficient volumes, and back; and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import trimesh
from torch import Tensor

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, WavelabError
from wavelab.paths import atomic_write
from wavelab.shapes import meshes, tsdf
from wavelab.shapes.coefficients import Pyramid
from wavelab.training.state import load_tensors, save_tensors

_KIND = "wavelab shape code, version 1"


@dataclass(frozen=True)
class Code:
    """A shape as two volumes, and what it takes to make a mesh of them.

    Attributes:
        coarse: ``(n, n, n)``, the low-pass volume.
        detail: ``(m, m, m)``, the residual one level finer.
        pyramid: the transform.
        reach: truncation of the distance, in units of the cube.
        centre: of the mesh's box, in its own units.
        scale: from the mesh's units to those of the cube.
    """

    coarse: Tensor
    detail: Tensor
    pyramid: Pyramid
    reach: float
    centre: tuple[float, float, float]
    scale: float


def encode(
    mesh: trimesh.Trimesh | Path | str,
    pyramid: Pyramid | None = None,
    reach: float | None = None,
    *,
    sheets: str = "thicken",
    name: str = "mesh",
) -> Code:
    """Turn a mesh, or a file of one, into its coefficient volumes.

    Args:
        mesh: a mesh or a path; see :func:`wavelab.shapes.meshes.load`.
        pyramid: the transform; left out, that of the course, 64 points and two levels.
        reach: truncation; see :func:`wavelab.shapes.tsdf.from_mesh`.
        sheets: what to do with parts that enclose nothing; see there.
        name: of a mesh that is no file, for errors.

    Raises:
        DataUnavailable, DataCorrupt, InvalidInput: see the two functions.
    """
    pyramid = pyramid or Pyramid()
    if not isinstance(mesh, trimesh.Trimesh):
        mesh, name = meshes.load(mesh), Path(mesh).name
    found = tsdf.from_mesh(mesh, pyramid.size, reach, sheets=sheets, name=name)
    coarse, detail = pyramid.split(torch.from_numpy(found.values)[None, None])
    centre = tuple(float(c) for c in found.centre)
    return Code(coarse[0, 0], detail[0, 0], pyramid, found.reach, centre, found.scale)


def decode(code: Code, detail: bool = True, name: str = "code") -> trimesh.Trimesh:
    """Turn coefficient volumes into a mesh, in the units of the mesh that they came from.

    Args:
        code: from :func:`encode` or :func:`load`.
        detail: whether to use the detail volume; without it only the coarse one counts.
        name: of the code, for errors.

    Raises:
        InvalidInput: the volumes hold NaN or no surface.
    """
    fine = code.detail[None, None] if detail else None
    values = code.pyramid.join(code.coarse[None, None], fine)[0, 0].numpy()
    found = tsdf.surface(values, name)
    found.vertices = found.vertices / code.scale + np.asarray(code.centre)
    return found


def save(code: Code, path: Path | str) -> None:
    """Write a code as safetensors, whole or not at all.

    Raises:
        StorageError: the file cannot be written.
    """
    settings = {**code.pyramid.settings(), "reach": code.reach, "centre": code.centre, "scale": code.scale}
    about = {"kind": _KIND, "settings": json.dumps(settings)}
    save_tensors({"coarse": code.coarse, "detail": code.detail}, Path(path), about)


def load(path: Path | str) -> Code:
    """Read what :func:`save` wrote.

    Raises:
        DataUnavailable: there is no such file.
        DataCorrupt: it is damaged, or no code.
    """
    path = Path(path)
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}.")
    tensors, about = load_tensors(path)
    if about.get("kind") != _KIND or set(tensors) != {"coarse", "detail"}:
        raise DataCorrupt(f"{path} holds no coefficients of a shape; write them by python -m wavelab.shapes encode.")
    try:
        return _code(tensors, json.loads(about["settings"]))
    except (WavelabError, ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(f"{path} holds settings that cannot be used: {error}") from error


def encode_file(path: Path, target: Path, pyramid: Pyramid, reach: float | None, sheets: str) -> None:
    """Encode one file; see :func:`encode`."""
    save(encode(path, pyramid, reach, sheets=sheets), target)


def decode_file(path: Path, target: Path, detail: bool) -> None:
    """Decode one file; see :func:`decode`."""
    data = decode(load(path), detail, path.name).export(file_type=target.suffix[1:])
    with atomic_write(target) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _code(tensors: Mapping[str, Tensor], settings: dict) -> Code:
    reach, centre, scale = (settings.pop(key) for key in ("reach", "centre", "scale"))
    pyramid = Pyramid(**settings)
    for name, size in zip(("coarse", "detail"), (pyramid.sizes[-1], pyramid.sizes[-2])):
        if tuple(tensors[name].shape) != (size,) * 3:
            raise InvalidInput(f"the {name} volume has the shape {tuple(tensors[name].shape)}, expected {size}³")
    if not all(np.isfinite([reach, scale, *centre])) or scale <= 0 or len(centre) != 3:
        raise InvalidInput("centre and scale must be finite, and scale positive")
    return Code(tensors["coarse"], tensors["detail"], pyramid, float(reach), tuple(map(float, centre)), float(scale))
