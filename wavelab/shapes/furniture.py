"""The furniture of :mod:`wavelab.data.furniture` as meshes, and as training set."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
import trimesh

from wavelab.data.furniture import Model, content, of_kind
from wavelab.errors import InvalidInput
from wavelab.shapes import batch, meshes, tsdf
from wavelab.shapes.coefficients import Pyramid

HELD_OUT = 50_000  # number of the first shape that no model is trained on
EVERY = 5  # every so-many-th model is held out
STRETCH = 1.25  # of a copy along each axis, or its inverse


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


def numbered(kind: str, number: int) -> trimesh.Trimesh:
    """Return a model of a kind by number: to train on, or from ``HELD_OUT`` on one that is held out.

    Every fifth model of a kind is held out. Numbers past the last model begin again at the first, with copies; see
    :func:`augmented`.

    Args:
        kind: one of :data:`wavelab.data.furniture.KINDS`, such as ``"chair"``.
        number: at least 0.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: a number that is not a whole number of at least 0; or see :func:`read`.
    """
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise InvalidInput(f"number is {number!r}; give a whole number of at least 0.")
    models = _kept_apart(kind)[number >= HELD_OUT]
    copy, place = divmod(number % HELD_OUT, len(models))
    return augmented(read(models[place]), copy)


@functools.cache
def _kept_apart(kind: str) -> tuple[list[Model], list[Model]]:
    """Return the models of a kind to train on, and those that are held out."""
    models = of_kind(kind)
    return [model for k, model in enumerate(models) if k % EVERY], models[::EVERY]


def augmented(mesh: trimesh.Trimesh, copy: int) -> trimesh.Trimesh:
    r"""Return a copy of a mesh: number 0 is the mesh itself, others are stretched, and those of odd number mirrored.

    .. math:: v\mapsto\operatorname{diag}(\pm s_x,s_y,s_z)\,v,\qquad\log s\sim U(-\log\tfrac54,\log\tfrac54)

    Args:
        mesh: y upwards, so that the mirror exchanges left and right.
        copy: seeds the factors.
    """
    if copy == 0:
        return mesh
    factors = np.exp(np.random.default_rng(copy).uniform(-1, 1, 3) * np.log(STRETCH))
    factors[0] *= -1 if copy % 2 else 1
    faces = mesh.faces[:, ::-1] if copy % 2 else mesh.faces  # outside stays outside
    return trimesh.Trimesh(mesh.vertices * factors, faces, process=False)


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
