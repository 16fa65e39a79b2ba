"""Collections of shapes as coefficients or as points, made in parallel and kept in the cache.

A kind is ``"chair"`` or ``"airplane"`` for parametric shapes, whose numbers are seeds; or, such as
``"furniture-chair"``, real models by number, see :func:`wavelab.shapes.furniture.numbered`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import DataCorrupt, InvalidInput
from wavelab.paths import cache_dir
from wavelab.shapes import airplanes, assembly, batch, chairs, furniture, meshes, solids, tsdf
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.metrics import surface_points
from wavelab.shapes.parametric import shape
from wavelab.shapes.tsdf import VOXELS, surface
from wavelab.training.state import load_tensors, save_tensors

FURNITURE = "furniture-"  # begins the kinds that are real models
_SOURCES = (airplanes, assembly, chairs, solids)  # what a parametric shape follows from
_SOURCES_OF_MODELS = (furniture, meshes, tsdf)
_TOGETHER = 25  # shapes in a job


def parametric(
    kind: str,
    seeds: range,
    pyramid: Pyramid | None = None,
    reach: float | None = None,
    *,
    workers: int = -1,
    progress: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return coarse volumes and details of parametric shapes, from the cache where they are there.

    Args:
        kind: such as ``"chair"`` or ``"furniture-chair"``.
        seeds: of the shapes; see :func:`wavelab.shapes.parametric.shape`.
        pyramid: the transform; left out, that of the course.
        reach: truncation in units of the cube; left out, six grid distances.
        workers: processes; -1 for one each core.
        progress: whether to draw a bar.

    Returns:
        float32, ``(shapes, 1, n, n, n)`` and ``(shapes, 1, m, m, m)``.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: no seeds.
        StorageError: the cache cannot be written.
    """
    pyramid = pyramid or Pyramid()
    reach = _reach(pyramid.size) if reach is None else reach
    found = _kept(kind, seeds, (pyramid, reach), _encoded, ("coarse", "detail"), workers, progress)
    return found["coarse"], found["detail"]


def clouds(
    kind: str, seeds: range, points: int = 2048, size: int = 64, *, workers: int = -1, progress: bool = True
) -> Tensor:
    """Return points on the surfaces of parametric shapes, from the cache where they are there.

    Args:
        kind: such as ``"chair"`` or ``"furniture-chair"``.
        seeds: of the shapes.
        points: on each of them, spread evenly.
        size: points a side of the grid whose surface is taken.
        workers: processes; -1 for one each core.
        progress: whether to draw a bar.

    Returns:
        float32, ``(shapes, points, 3)``.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: no seeds, or a number of points that is not positive.
        StorageError: the cache cannot be written.
    """
    return _kept(kind, seeds, (points, size), _spread, ("points",), workers, progress)["points"]


def _kept(
    kind: str,
    seeds: range,
    settings: tuple[Any, ...],
    make: Callable[..., tuple[Tensor, ...]],
    names: tuple[str, ...],
    workers: int,
    progress: bool,
) -> dict[str, Tensor]:
    """Return the tensors that ``make`` gives for parts of the seeds, joined, from the cache where they are there."""
    if len(seeds) == 0:
        raise InvalidInput(f"seeds is {seeds}; give at least one.")
    path = _place(kind, seeds, settings)
    with contextlib.suppress(DataCorrupt):
        found = load_tensors(path)[0]
        if set(found) == set(names):
            return found
    parts = [seeds[k : k + _TOGETHER] for k in range(0, len(seeds), _TOGETHER)]
    jobs = [(kind, part, *settings) for part in parts]
    made = batch.mapped(make, jobs, workers=workers, progress=progress, unit=f"×{_TOGETHER} {kind}s")
    found = {name: torch.cat([part[k] for part in made]) for k, name in enumerate(names)}
    save_tensors(found, path)
    return found


def _encoded(kind: str, seeds: range, pyramid: Pyramid, reach: float) -> tuple[Tensor, Tensor]:
    volumes = [torch.from_numpy(_grid(kind, seed, pyramid.size, reach)) for seed in seeds]
    return pyramid.split(torch.stack(volumes)[:, None])


def _grid(kind: str, number: int, size: int, reach: float) -> np.ndarray:
    """Return the truncated distance of one shape."""
    if not kind.startswith(FURNITURE):
        return shape(kind, number).grid(size, reach)
    mesh = furniture.numbered(kind.removeprefix(FURNITURE), number)
    return tsdf.from_mesh(mesh, size, reach, name=f"{kind} {number}").values


def _spread(kind: str, seeds: range, points: int, size: int) -> tuple[Tensor]:
    surfaces = [surface(_grid(kind, seed, size, _reach(size)), f"{kind} {seed}") for seed in seeds]
    found = [surface_points(mesh, points, seed) for mesh, seed in zip(surfaces, seeds)]
    return (torch.from_numpy(np.array(found, dtype=np.float32)),)


def _reach(size: int) -> float:
    return VOXELS * 2 / (size - 1)


def _place(kind: str, seeds: range, settings: tuple[Any, ...]) -> Path:
    """Return the file in the cache: its name follows from the arguments and from the sources of the generator."""
    plain = [one.settings() if isinstance(one, Pyramid) else one for one in settings]
    told = json.dumps([kind, seeds.start, seeds.stop, seeds.step, *plain]).encode()
    sources = _SOURCES_OF_MODELS if kind.startswith(FURNITURE) else _SOURCES
    code = b"".join(Path(module.__file__).read_bytes() for module in sources)
    key = hashlib.sha256(told + code).hexdigest()[:16]
    return cache_dir() / "shapes" / f"{kind}-{len(seeds)}-{key}.safetensors"
