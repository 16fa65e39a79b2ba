"""The furniture of :mod:`wavelab.data.furniture` as meshes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
import trimesh

from wavelab.data.furniture import Model, content
from wavelab.shapes import batch, meshes, tsdf
from wavelab.shapes.coefficients import Pyramid


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


def survey(
    models: Sequence[Model],
    pyramid: Pyramid | None = None,
    *,
    limit: float = 120.0,
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Send models to coefficients and back, and say what became of each.

    Args:
        models: of a catalogue.
        pyramid: the transform; left out, that of the course.
        limit: seconds a model may take.
        workers: processes; left out, one for each core.
        progress: whether to draw a bar.

    Returns:
        For each model ``id``, ``name``, ``error`` (None, or why there is no mesh), ``seconds``, and where a mesh came
        back: whether it is ``closed``, and the overlap with the TSDF of the model, to four digits, of what the
        ``coarse`` volume alone gives, and of what coarse volume and ``detail`` give.
    """
    jobs = [(model.id, (model, pyramid or Pyramid())) for model in models]
    outcomes = batch.run(_there_and_back, jobs, workers=workers, limit=limit, progress=progress)
    return [
        {"id": model.id, "name": model.name, "error": o.error, "seconds": round(o.seconds, 2), **(o.value or {})}
        for model, o in zip(models, outcomes)
    ]


def _there_and_back(model: Model, pyramid: Pyramid) -> dict[str, Any]:
    torch.set_num_threads(1)
    values = tsdf.from_mesh(read(model), pyramid.size, name=model.name).values
    coarse, detail = pyramid.split(torch.from_numpy(values)[None, None])
    rough, fine = (pyramid.join(coarse, d)[0, 0].numpy() for d in (None, detail))
    return {
        "closed": bool(tsdf.surface(fine, model.name).is_watertight),
        "coarse": round(tsdf.occupancy_iou(rough, values), 4),
        "detail": round(tsdf.occupancy_iou(fine, values), 4),
    }
