"""The evaluation of Part 5: every method against shapes that no model was trained on, and how new its shapes are.

Generating and comparing takes minutes a method, so what was measured is kept in tables
(:meth:`wavelab.runtime.Run.measured`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.metrics import Interval, interval
from wavelab.shapes import batch, collection, lightfield, metrics
from wavelab.shapes.study import HELD_OUT, METHODS, Study
from wavelab.shapes.tsdf import surface

SANITY = ("training shapes", "jittered", "ten repeated")  # jittered: the held-out shapes with noise on their points
_JITTER = 0.02  # standard deviation of that noise, in units of the cube


class Evaluation:
    """Scores of the methods of a study.

    Args:
        study: the trained models.
        count: number of generated and of held-out shapes.
        assigned: how many of them, and how many points of each, the earth mover's distance takes.
        again: measure anew instead of reading the shipped tables.
    """

    def __init__(self, study: Study, count: int = 200, assigned: tuple[int, int] = (100, 512), again: bool = False):
        """Keep the arguments."""
        self.study, self.count, self.assigned, self.again = study, count, assigned, again
        self.settings = {
            "size": study.setup.size, "points": study.setup.points, "count": count, "assigned": list(assigned),
        }  # fmt: skip

    def scores(self, method: str, stream: int = 0) -> dict[str, Interval]:
        """Return MMD, COV and 1-NNA by both distances, such as ``"MMD, CD"``, for a method or a sanity row.

        A shape without a surface counts as one whose points all lie in the centre. The unit of MMD is that of the cube:
        squared for CD, plain for EMD.
        """
        found = self._row(method, stream)["scores"]
        return {name: Interval(*value) for name, value in found.items()}

    def surfaces(self, method: str, stream: int = 0) -> dict[str, Interval]:
        """Return what the surfaces are like, mean and interval; empty where there are fewer than two surfaces."""
        found = self._row(method, stream)["quality"]
        return {name: interval(np.array(values, dtype=float)) for name, values in found.items() if len(values) > 1}

    def cost(self, method: str, stream: int = 0) -> tuple[float, int]:
        """Return processor seconds of this process a generated shape, and how many shapes have no surface."""
        found = self._row(method, stream)
        return found["seconds"], found["empty"]

    def _row(self, method: str, stream: int) -> dict[str, Any]:
        if method not in METHODS + SANITY:
            raise UnknownName.among("method", method, METHODS + SANITY)
        point = (method, stream, "" if method in SANITY else self.study.tag(method))
        table = f"{self.study.kind}-scores"
        return self.study.run.measured(table, self._measured, [point], self.settings, self.again)[0]

    def _measured(self, method: str, stream: int, tag: str) -> dict[str, Any]:
        if method in SANITY:
            clouds, found = self._sanity(method), {"quality": {}, "seconds": 0.0, "empty": 0}
        else:
            clouds, found = self._made(method, stream)
        return {**found, "scores": {name: list(value) for name, value in self.compared(clouds).items()}}

    def compared(self, clouds: np.ndarray) -> dict[str, Interval]:
        """Compare clouds ``(count, points, 3)`` with the held-out shapes."""
        few, points = self.assigned
        distances: dict[str, tuple[Callable[..., np.ndarray], np.ndarray, np.ndarray, np.ndarray]] = {
            "CD": (metrics.chamfer_matrix, clouds, *self._reference),
            "EMD": (metrics.earth_mover_matrix, clouds[:few, :points], *self._reference_assigned),
        }
        found = {}
        for name, (matrix, made, reference, own) in distances.items():
            scores = metrics.set_scores(matrix(made, reference), matrix(made, made), own)
            found |= {f"{kind}, {name}": value for kind, value in zip(("MMD", "COV", "1-NNA"), scores)}
        return found

    @cached_property
    def held_out(self) -> np.ndarray:
        """Points on the held-out shapes."""
        setup = self.study.setup
        seeds = range(HELD_OUT, HELD_OUT + self.count)
        return collection.clouds(self.study.kind, seeds, setup.points, setup.size).numpy()

    @cached_property
    def _reference(self) -> tuple[np.ndarray, np.ndarray]:
        return self.held_out, metrics.chamfer_matrix(self.held_out, self.held_out)

    @cached_property
    def _reference_assigned(self) -> tuple[np.ndarray, np.ndarray]:
        few = self.held_out[: self.assigned[0], : self.assigned[1]]
        return few, metrics.earth_mover_matrix(few, few)

    def _sanity(self, name: str) -> np.ndarray:
        if name == "training shapes":
            return self.study.clouds(self.count).numpy()
        if name == "jittered":
            rng = self.study.run.rng(40)
            return self.held_out + _JITTER * rng.standard_normal(self.held_out.shape)
        return self.study.clouds(self.count).numpy()[np.arange(self.count) % 10]

    def _made(self, method: str, stream: int) -> tuple[np.ndarray, dict[str, Any]]:
        """Generate shapes; return points and what else there is to say of them."""
        before = time.process_time()
        made = self.study.generate(method, self.count, stream, progress=True)
        seconds = (time.process_time() - before) / self.count
        if method == "Point-Diff":
            return made.numpy(), {"quality": {}, "seconds": seconds, "empty": 0}
        points = self.study.setup.points
        rows = described(made, points)
        clouds = _filled(rows, points)
        qualities = np.array([row[1] for row in rows if row is not None], dtype=float).reshape(-1, 5)
        quality = dict(zip(metrics.Quality._fields, qualities.T.tolist())) if len(qualities) else {}
        return clouds, {"quality": quality, "seconds": seconds, "empty": self.count - len(qualities)}


def described(
    volumes: Tensor, points: int, *, progress: bool = True
) -> list[tuple[np.ndarray, metrics.Quality] | None]:
    """Return points on the surface of each TSDF ``(count, 1, n, n, n)`` and its quality; None where there is none."""
    jobs = [(volume.squeeze(0).numpy(), points, k) for k, volume in enumerate(volumes)]
    return batch.mapped(_described, jobs, progress=progress)


def points_on(made: Tensor, points: int, *, progress: bool = True) -> np.ndarray:
    """Return points on generated shapes, of which none is passed over: one without a surface is a cloud in the centre.

    Args:
        made: TSDFs ``(count, 1, n, n, n)``; or clouds ``(count, m, 3)``, of which the first ``points`` are kept.
        points: on each shape.
        progress: whether to draw a bar.

    Returns:
        Shape ``(count, points, 3)``.

    Raises:
        InvalidInput: another shape than these, or clouds of fewer points.
    """
    if made.ndim == 3 and made.shape[1] >= points and made.shape[2] == 3:
        return made[:, :points].numpy()
    if made.ndim != 5:
        raise InvalidInput(
            f"made has the shape {tuple(made.shape)}; give TSDFs (count, 1, n, n, n), or clouds (count, m, 3) of at "
            f"least {points} points."
        )
    return _filled(described(made, points, progress=progress), points)


def _filled(rows: list[tuple[np.ndarray, metrics.Quality] | None], points: int) -> np.ndarray:
    nothing = np.zeros((points, 3))  # a shape that is not there is no chair
    return np.array([nothing if row is None else row[0] for row in rows])


def _described(values: np.ndarray, points: int, seed: int) -> tuple[np.ndarray, metrics.Quality] | None:
    try:
        mesh = surface(values)
    except InvalidInput:  # nowhere negative, or everywhere
        return None
    return metrics.surface_points(mesh, points, seed), metrics.quality(mesh)


def nearest(made: Tensor, study: Study, *, fields: int = 1) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Find the training shape nearest to each of the given ones, by CD and by the LFD-like distance without alignment.

    Args:
        made: TSDFs ``(count, 1, n, n, n)``, each with a surface.
        study: whose training shapes are looked through, as far as coarse volume and detail show them.
        fields: light fields of each shape.

    Returns:
        For ``"CD"`` and ``"LFD"`` the distances and the numbers of the training shapes, ``(count,)`` each.
    """
    clouds = np.array([row[0] for row in described(made, study.setup.points) if row is not None])
    parts = zip(*(volume.split(100) for volume in study.volumes()))
    known = np.concatenate([_light_fields(study.pyramid().join(*part), fields) for part in parts])
    distances = {
        "CD": metrics.chamfer_matrix(clouds, study.clouds().numpy()),
        "LFD": lightfield.lightfield_matrix(_light_fields(made, fields), known, align=False),
    }
    return {name: (matrix.min(1), matrix.argmin(1)) for name, matrix in distances.items()}


def _light_fields(volumes: Tensor, fields: int) -> np.ndarray:
    return lightfield.light_fields(list(volumes[:, 0].numpy()), fields=fields)
