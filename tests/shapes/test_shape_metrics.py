"""Distances against their definitions, scores of sets whose answers are known, quality of known surfaces."""

import itertools
import sys

import numpy as np
import pytest
import trimesh

from wavelab.errors import DataUnavailable, InvalidInput
from wavelab.shapes import metrics

RNG = np.random.default_rng(0)


def _clouds(count=5, points=40, rng=RNG):
    return rng.normal(size=(count, points, 3))


def test_chamfer_is_its_definition():
    a, b = RNG.normal(size=(30, 3)), RNG.normal(size=(50, 3))
    squared = ((a[:, None] - b) ** 2).sum(-1)
    assert metrics.chamfer(a, b) == pytest.approx(squared.min(1).mean() + squared.min(0).mean())
    assert metrics.chamfer(a, a) == 0


def test_earth_mover_is_the_best_assignment():
    a, b = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 3))
    every = [np.linalg.norm(a - b[list(order)], axis=1).mean() for order in itertools.permutations(range(6))]
    assert metrics.earth_mover(a, b) == pytest.approx(min(every))
    shift = np.array([0.3, 0, 0.4])
    cloud = RNG.normal(size=(60, 3))
    assert metrics.earth_mover(cloud, cloud[::-1] + shift) == pytest.approx(0.5)


def test_sinkhorn_is_near_the_exact_distance():
    pytest.importorskip("ot", exc_type=ImportError)
    a, b = _clouds(2, 60)
    exact = metrics.earth_mover(a, b)
    found = [metrics.earth_mover_sinkhorn(a, b, epsilon) for epsilon in (0.3, 0.1, 0.02)]
    assert exact - 1e-6 < found[2] < found[1] < found[0] < exact + 0.3 * np.log(60)
    assert found[2] == pytest.approx(exact, rel=0.01)
    assert metrics.earth_mover_sinkhorn(a, b[:20], 0.1) > 0
    with pytest.raises(InvalidInput, match="positive"):
        metrics.earth_mover_sinkhorn(a, b, 0.0)


def test_sinkhorn_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(DataUnavailable, match=r"wavelab\[shapes\]"):
        metrics.earth_mover_sinkhorn(*_clouds(2))


@pytest.mark.parametrize(
    ("matrix", "pair"),
    [(metrics.chamfer_matrix, metrics.chamfer), (metrics.earth_mover_matrix, metrics.earth_mover)],
)
def test_matrices_hold_all_pairs(matrix, pair):
    a, b = _clouds(4), _clouds(3)
    wanted = [[pair(x, y) for y in b] for x in a]
    np.testing.assert_allclose(matrix(a, b, progress=False), wanted)
    own = matrix(a, a, progress=False)
    np.testing.assert_allclose(own, [[pair(x, y) for y in a] for x in a], atol=1e-12)
    np.testing.assert_allclose(own, own.T)


def _line(positions):
    """Matrices of distances of shapes that are numbers."""
    generated, reference = (np.asarray(p, dtype=float) for p in positions)
    return [np.abs(x[:, None] - y) for x, y in ((generated, reference), (generated, generated), (reference, reference))]


def test_scores_of_sets_on_a_line():
    """Two generated shapes sit on one reference shape, one on another; the third is missed."""
    found = metrics.set_scores(*_line(([0.0, 0.1, 5.0], [0.05, 5.2, 20.0])))
    assert found.mmd.value == pytest.approx((0.05 + 0.2 + 15) / 3)
    assert found.coverage.value == pytest.approx(2 / 3)
    assert found.accuracy.value == pytest.approx(1 / 6)  # only the last one's nearest is of its own set


def test_sets_that_cannot_and_that_can_be_told_apart():
    rng = np.random.default_rng(1)
    alike = metrics.set_scores(*_line(rng.normal(size=(2, 2000))))
    assert alike.accuracy.low < 0.5 < alike.accuracy.high
    assert alike.coverage.value == pytest.approx(5 / 9, abs=0.03)  # cells of a Poisson process: 1 - (2/3)²
    apart = metrics.set_scores(*_line((rng.normal(size=400), rng.normal(size=400) + 50)))
    assert apart.accuracy.value == 1 and apart.coverage.value < 0.01
    collapsed = metrics.set_scores(*_line((1e-9 * rng.normal(size=400), rng.normal(size=400))))
    assert collapsed.coverage.value < 0.01 and collapsed.accuracy.value > 0.95


def test_the_interval_of_1_nna_knows_that_neighbours_come_in_pairs():
    rng = np.random.default_rng(2)
    values, widths = [], []
    for _ in range(60):
        x, y = rng.normal(size=(2, 100, 3))
        gaps = [np.linalg.norm(a[:, None] - b, axis=-1) for a, b in ((x, y), (x, x), (y, y))]
        found = metrics.set_scores(*gaps).accuracy
        values.append(found.value)
        widths.append((found.high - found.low) / (2 * 1.96))
    assert np.mean(widths) == pytest.approx(np.std(values), rel=0.2)
    assert np.mean(widths) > 1.15 * np.sqrt(0.25 / 200)  # as if all 200 answers were independent


def test_points_lie_on_the_surface_and_spread_by_area():
    box = trimesh.creation.box((4, 1, 1))
    points = metrics.surface_points(box, 5000, seed=3)
    off = np.abs(np.abs(points) - np.array([2, 0.5, 0.5])).min(1)
    assert points.shape == (5000, 3) and off.max() < 1e-9
    ends = (np.abs(np.abs(points[:, 0]) - 2) < 1e-9).mean()
    assert ends == pytest.approx(2 / 18, abs=0.02)
    np.testing.assert_array_equal(points, metrics.surface_points(box, 5000, seed=3))


def test_a_unit_box_forgets_place_and_size():
    clouds = _clouds()
    moved = 7 * clouds + [1, -4, 2]
    np.testing.assert_allclose(metrics.in_unit_box(moved), metrics.in_unit_box(clouds))
    assert np.ptp(metrics.in_unit_box(clouds), axis=1).max(1) == pytest.approx(2)


def test_quality_of_known_surfaces():
    ball, ring = trimesh.creation.icosphere(subdivisions=3), trimesh.creation.torus(2, 0.5)
    assert metrics.quality(ball)[:4] == (1, 1.0, True, 0)
    two = metrics.quality(trimesh.util.concatenate([ball, ring.apply_translation([9, 0, 0])]))
    assert two.components == 2 and two.genus == 1 and two.closed
    rough = ball.copy()
    rough.vertices = rough.vertices * (1 + 0.02 * np.random.default_rng(0).normal(size=(len(rough.vertices), 1)))
    assert metrics.quality(rough).roughness > 2 * metrics.quality(ball).roughness
    assert not metrics.quality(trimesh.Trimesh(ball.vertices, ball.faces[1:])).closed
    assert metrics.quality(trimesh.creation.box()).roughness == pytest.approx(12 * 90 / (12 + 6 * 2**0.5), rel=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.earth_mover(np.zeros((3, 3)), np.zeros((4, 3))), "3 and 4 points"),
        (lambda: metrics.chamfer(np.zeros((0, 3)), np.zeros((4, 3))), "expected"),
        (lambda: metrics.chamfer(np.full((2, 3), np.nan), np.zeros((4, 3))), "finite"),
        (lambda: metrics.chamfer_matrix(np.zeros((4, 3)), np.zeros((1, 4, 3)), progress=False), "expected"),
        (lambda: metrics.set_scores(np.zeros((3, 4)), np.zeros((3, 3)), np.zeros((4, 4))), "3 and 4 shapes"),
        (lambda: metrics.set_scores(np.zeros((3, 3)), np.zeros((2, 2)), np.zeros((3, 3))), "do not fit"),
        (lambda: metrics.set_scores(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 2))), "do not fit"),
        (lambda: metrics.surface_points(trimesh.Trimesh(), 5), "no area"),
        (lambda: metrics.surface_points(trimesh.creation.box(), 0), "positive"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()
