"""Collections of shapes as coefficients, made in parallel and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from torch import Tensor

from wavelab.errors import DataCorrupt, InvalidInput
from wavelab.paths import cache_dir
from wavelab.shapes import airplanes, assembly, batch, chairs, solids
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.parametric import shape
from wavelab.shapes.tsdf import VOXELS
from wavelab.training.state import load_tensors, save_tensors

_SOURCES = (airplanes, assembly, chairs, solids)  # what a parametric shape follows from
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
        kind: ``"chair"`` or ``"airplane"``.
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
    if len(seeds) == 0:
        raise InvalidInput(f"seeds is {seeds}; give at least one.")
    pyramid = pyramid or Pyramid()
    reach = VOXELS * 2 / (pyramid.size - 1) if reach is None else reach
    path = _place(kind, seeds, pyramid, reach)
    if path.is_file():
        try:
            found = load_tensors(path)[0]
            return found["coarse"], found["detail"]
        except (DataCorrupt, KeyError):
            path.unlink(missing_ok=True)  # it can be made again
    parts = [seeds[k : k + _TOGETHER] for k in range(0, len(seeds), _TOGETHER)]
    jobs = [(kind, part, pyramid, reach) for part in parts]
    made = batch.mapped(_encoded, jobs, workers=workers, progress=progress, unit=f"×{_TOGETHER} {kind}s")
    coarse, detail = (torch.cat([part[k] for part in made]) for k in (0, 1))
    save_tensors({"coarse": coarse, "detail": detail}, path)
    return coarse, detail


def _encoded(kind: str, seeds: range, pyramid: Pyramid, reach: float) -> tuple[Tensor, Tensor]:
    torch.set_num_threads(1)
    volumes = [torch.from_numpy(shape(kind, seed).grid(pyramid.size, reach)) for seed in seeds]
    return pyramid.split(torch.stack(volumes)[:, None])


def _place(kind: str, seeds: range, pyramid: Pyramid, reach: float) -> Path:
    """Return the file in the cache: its name follows from the arguments and from the sources of the generator."""
    settings = [kind, seeds.start, seeds.stop, seeds.step, pyramid.settings(), reach]
    sources = b"".join(Path(module.__file__).read_bytes() for module in _SOURCES)
    key = hashlib.sha256(json.dumps(settings).encode() + sources).hexdigest()[:16]
    return cache_dir() / "shapes" / f"{kind}-{len(seeds)}-{key}.safetensors"
