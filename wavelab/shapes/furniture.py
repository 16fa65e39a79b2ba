"""The furniture of :mod:`wavelab.data.furniture` as meshes."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
import trimesh

from wavelab.data.furniture import Model, content
from wavelab.shapes import meshes


def read(model: Model) -> trimesh.Trimesh:
    """Return a model in its own units, y upwards, turned as its catalogue says; textures are left alone.

    Raises:
        DataUnavailable, DataCorrupt, StorageError: see :func:`wavelab.data.furniture.content`.
        InvalidInput: it holds no surface; see :func:`wavelab.shapes.meshes.parse`.
    """
    path = PurePosixPath(model.member)
    mesh = meshes.parse(content(model), path.suffix.lower().removeprefix("."), f"{model.name} ({path.name})")
    if model.rotation is not None:
        mesh.vertices = mesh.vertices @ np.array(model.rotation).T
    return mesh
