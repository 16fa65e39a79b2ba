r"""How good generated shapes are: distances of surfaces, scores of sets, quality of meshes.

A surface is a cloud of points spread evenly over its area. For sets of shapes, generated :math:`S_g` and reference
:math:`S_r`, the literature asks three questions of a matrix of distances: are real shapes met closely (MMD), are all of
them met (COV), and can the sets be told apart (1-NNA)?
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import trimesh
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from tqdm.auto import tqdm

from wavelab.data.extra import library
from wavelab.errors import InvalidInput
from wavelab.metrics import Interval, bootstrap
from wavelab.shapes import batch

Array = np.ndarray


def surface_points(mesh: trimesh.Trimesh, count: int = 2048, seed: int = 0) -> Array:
    """Spread points evenly over the area of a mesh.

    Args:
        mesh: with at least one triangle.
        count: number of points.
        seed: of the random places.

    Returns:
        float64, shape ``(count, 3)``.

    Raises:
        InvalidInput: a mesh without area, or a count that is not positive.
    """
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InvalidInput(f"count is {count!r}; give a positive whole number.")
    if len(mesh.faces) == 0 or not mesh.area > 0:
        raise InvalidInput("The mesh has no area to put points on.")
    return np.asarray(trimesh.sample.sample_surface(mesh, count, seed=seed)[0])


def in_unit_box(points: Array) -> Array:
    """Move and scale each cloud ``(..., n, 3)`` so that its box is centred and its longest side is 2."""
    low, high = points.min(-2, keepdims=True), points.max(-2, keepdims=True)
    return 2 * (points - (low + high) / 2) / (high - low).max(-1, keepdims=True)


def chamfer(a: Array, b: Array) -> float:
    r"""Compute the Chamfer distance of two clouds, squared and both ways.

    .. math:: \frac1{|A|}\sum_{x\in A}\min_{y\in B}\|x-y\|^2+\frac1{|B|}\sum_{y\in B}\min_{x\in A}\|x-y\|^2

    Args:
        a: points ``(n, 3)``.
        b: points ``(m, 3)``.

    Raises:
        InvalidInput: no points, or values that are not finite.
    """
    return float(chamfer_matrix(_cloud(a)[None], _cloud(b)[None], progress=False)[0, 0])


def chamfer_matrix(a: Array, b: Array, *, workers: int = -1, progress: bool = True) -> Array:
    """Compute the Chamfer distance of every cloud of ``a`` to every cloud of ``b``.

    Args:
        a: clouds ``(A, n, 3)``.
        b: clouds ``(B, m, 3)``; the same array as ``a`` saves half of the work.
        workers: threads; -1 for one each core.
        progress: whether to draw a bar.

    Returns:
        float64, shape ``(A, B)``.

    Raises:
        InvalidInput: no points, or values that are not finite.
    """
    bar = tqdm(total=len(a) if a is b else len(a) + len(b), disable=not progress, unit="shape")
    there = _one_way(a, b, workers, bar)
    back = there if a is b else _one_way(b, a, workers, bar)
    bar.close()
    return there + back.T


def _one_way(a: Array, b: Array, workers: int, bar: Any) -> Array:
    """Mean squared distance from the points of each ``b`` to each ``a``, by one tree for each ``a``; ``(A, B)``."""
    a, b = _clouds(a), _clouds(b)
    every, rows = b.reshape(-1, 3), []
    for cloud in a:
        away = cKDTree(cloud).query(every, workers=workers)[0]
        rows.append(np.square(away).reshape(len(b), -1).mean(1))
        bar.update()
    return np.array(rows)


def earth_mover(a: Array, b: Array) -> float:
    r"""Compute the earth mover's distance of two clouds of as many points, by the best assignment.

    .. math:: \min_{\pi}\frac1n\sum_i\|a_i-b_{\pi(i)}\|

    Args:
        a: points ``(n, 3)``; the time grows with the cube of n.
        b: points ``(n, 3)``.

    Raises:
        InvalidInput: different numbers of points, none, or values that are not finite.
    """
    a, b = _cloud(a), _cloud(b)
    if len(a) != len(b):
        raise InvalidInput(f"The clouds have {len(a)} and {len(b)} points; an assignment needs as many.")
    cost = cdist(a, b)
    return float(cost[linear_sum_assignment(cost)].mean())


def earth_mover_sinkhorn(a: Array, b: Array, epsilon: float = 0.01) -> float:
    r"""Compute the earth mover's distance with an entropic penalty; its time grows like :math:`n^2`.

    .. math:: \sum_{ij}P_{ij}\|a_i-b_j\|,\qquad
              P=\arg\min_P\sum_{ij}P_{ij}\|a_i-b_j\|+\varepsilon\sum_{ij}P_{ij}\log P_{ij}

    over matrices with row sums :math:`1/n` and column sums :math:`1/m`, by Sinkhorn's iteration. It is at least the
    exact distance, by at most :math:`\varepsilon\log\min(n,m)`.

    Args:
        a: points ``(n, 3)``.
        b: points ``(m, 3)``.
        epsilon: weight of the penalty, in units of distance.

    Raises:
        InvalidInput: no points, values that are not finite, or a penalty that is not positive.
        DataUnavailable: the library POT is not installed.

    Source:
        Cuturi (2013), Sinkhorn distances: lightspeed computation of optimal transport.
    """
    if not epsilon > 0:
        raise InvalidInput(f"epsilon is {epsilon!r}; give a positive weight, or use earth_mover for none.")
    cost = cdist(_cloud(a), _cloud(b))
    weights = [np.full(n, 1 / n) for n in cost.shape]
    transport = library("ot", "shapes", "The entropic distance").sinkhorn
    plan = transport(*weights, cost, epsilon, method="sinkhorn_log", numItermax=10_000)
    return float((plan * cost).sum())


def earth_mover_matrix(a: Array, b: Array, *, workers: int = -1, progress: bool = True) -> Array:
    """Compute the earth mover's distance of every cloud of ``a`` to every cloud of ``b``, in parallel processes.

    Args:
        a: clouds ``(A, n, 3)``.
        b: clouds ``(B, n, 3)``; the same array as ``a`` saves half of the work.
        workers: processes; -1 for one each core.
        progress: whether to draw a bar.

    Returns:
        float64, shape ``(A, B)``.
    """
    a_, b_ = _clouds(a), _clouds(b)
    jobs = [(cloud, b_[k + 1 :] if a is b else b_) for k, cloud in enumerate(a_)]
    rows = batch.mapped(_assigned, jobs, workers=workers, progress=progress)
    if a is not b:
        return np.array(rows)
    upper = np.array([np.pad(row, (len(a_) - len(row), 0)) for row in rows])
    return upper + upper.T


def _assigned(cloud: Array, others: Array) -> Array:
    return np.array([earth_mover(cloud, other) for other in others])


class SetScores(NamedTuple):
    """How a set of generated shapes compares with a reference set.

    Attributes:
        mmd: minimum matching distance, mean over reference shapes of the distance to the nearest generated one.
        coverage: share of reference shapes that are nearest to some generated one; two large samples of one law do not
            reach 1, on a line 5/9.
        accuracy: of telling both sets apart by nearest neighbours (1-NNA); 0.5 where they cannot be told apart.
    """

    mmd: Interval
    coverage: Interval
    accuracy: Interval


def set_scores(between: Array, generated: Array, reference: Array, resamples: int = 1000) -> SetScores:
    r"""Compute MMD, COV and 1-NNA from matrices of distances, with 95 % bootstrap intervals over the shapes.

    .. math::
        \mathrm{MMD}=\frac1{|S_r|}\sum_{r}\min_g d(g,r),\quad
        \mathrm{COV}=\frac{|\{\arg\min_r d(g,r)\}_g|}{|S_r|},\quad
        \text{1-NNA}=\frac{\#\{s: N_s\text{ is of the same set}\}}{|S_g|+|S_r|}

    with :math:`N_s` the nearest neighbour of :math:`s` among all others. The intervals take the shapes as they came and
    leave out that other samples would have other neighbours. For 1-NNA two shapes that are nearest to each other are
    drawn together, since they agree or differ together.

    Args:
        between: distances ``(generated, reference)``.
        generated: distances among the generated shapes.
        reference: distances among the reference shapes.
        resamples: of the bootstrap.

    Raises:
        InvalidInput: matrices that do not fit each other, fewer than two shapes of a kind, or for 1-NNA different
            numbers of shapes.

    Source:
        Achlioptas et al. (2018), Learning representations and generative models for 3D point clouds; Yang et al.
        (2019), PointFlow; Lopez-Paz & Oquab (2017), Revisiting classifier two-sample tests.
    """
    count = len(reference)
    squares = all(len(set(one.shape)) == 1 for one in (generated, reference))
    if between.shape != (len(generated), count) or not squares:
        raise InvalidInput(f"The matrices {between.shape}, {generated.shape} and {reference.shape} do not fit.")
    if len(generated) != count or count < 2:
        raise InvalidInput(f"There are {len(generated)} and {count} shapes; 1-NNA needs as many, at least 2 of each.")
    covered = np.bincount(between.argmin(1), minlength=count) > 0
    again = {"rng": np.random.default_rng(0), "resamples": resamples}
    means = (bootstrap(values, np.mean, **again) for values in (between.min(0), covered.astype(float)))
    return SetScores(*means, bootstrap(_same(between, generated, reference), _share, **again))


def _same(between: Array, generated: Array, reference: Array) -> Array:
    """Count shapes whose nearest neighbour is of their own set, and all shapes, in groups of mutual neighbours."""
    every = np.block([[_without_self(generated), between], [between.T, _without_self(reference)]])
    own, near = np.arange(len(every)), every.argmin(1)
    same = (own < len(generated)) == (near < len(generated))
    pair = np.where(near[near] == own, np.minimum(own, near), own)
    groups = np.unique(pair, return_inverse=True)[1]
    return np.stack([np.bincount(groups, same), np.bincount(groups)], 1)


def _share(counts: Array) -> float:
    return counts[:, 0].sum() / counts[:, 1].sum()


def _without_self(distances: Array) -> Array:
    return np.where(np.eye(len(distances), dtype=bool), np.inf, distances)


class Quality(NamedTuple):
    """What the surface of a mesh is like.

    Attributes:
        components: parts that hang together.
        largest: share of the largest part in the area.
        closed: whether no edge has only one triangle.
        genus: number of handles, all parts together.
        roughness: mean angle between neighbouring triangles in degrees, weighted by the lengths of their edges.
    """

    components: int
    largest: float
    closed: bool
    genus: int
    roughness: float


def quality(mesh: trimesh.Trimesh) -> Quality:
    """Measure the surface of a mesh; see :class:`Quality`."""
    parts = mesh.split(only_watertight=False)
    area = np.array([part.area for part in parts])
    edges = mesh.face_adjacency_edges
    lengths = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)
    angle = np.degrees(np.average(mesh.face_adjacency_angles, weights=lengths)) if len(edges) else 0.0
    handles = sum((2 - part.euler_number) // 2 for part in parts)
    return Quality(len(parts), float(area.max() / area.sum()), bool(mesh.is_watertight), int(handles), float(angle))


def _cloud(points: Array) -> Array:
    return _clouds(np.asarray(points)[None])[0]


def _clouds(points: Array) -> Array:
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[-1] != 3 or 0 in points.shape:
        raise InvalidInput(f"The clouds have the shape {points.shape}; expected (clouds, points, 3).")
    if not np.isfinite(points).all():
        raise InvalidInput("A cloud holds values that are not finite.")
    return points
