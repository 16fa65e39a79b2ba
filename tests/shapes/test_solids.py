"""Solids: signed distances against their own meshes, closed surfaces, boxes that hold them, bad input."""

import igl
import numpy as np
import pytest

from wavelab.errors import InvalidInput
from wavelab.shapes.assembly import Union
from wavelab.shapes.solids import Box, Lathe, Loft

RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
AIRFOIL = np.array([[1.0, 0, 0], [0.6, 0.09, 0], [0.2, 0.1, 0], [0.0, 0, 0], [0.2, -0.05, 0], [0.6, -0.04, 0]])
SOLIDS = {
    "box": Box((0.1, -0.2, 0.3), (0.5, 0.2, 0.05)),
    "turned box": Box((0.1, -0.2, 0.3), (0.5, 0.2, 0.05), TURN * np.linalg.det(TURN)),
    "rod": Lathe.rod((0, 0, 0), (0.3, 0.6, -0.2), 0.1, 0.03),
    "cone": Lathe((0.1, 0, 0), (0, 0, 2), [(0, 0.4), (0.8, 0)]),
    "spindle": Lathe((0, -0.5, 0), (0.2, 1, 0), [(0, 0.1), (0.2, 0.3), (0.2, 0.15), (0.7, 0.2), (1.0, 0.05)]),
    "wing": Loft(AIRFOIL, 0.4 * AIRFOIL + [0.5, 0.1, 1.2]),
}


def _points(solid, count=3000):
    low, high = solid.bounds()
    return np.random.default_rng(1).uniform(low - 0.2, high + 0.2, (count, 3))


@pytest.mark.parametrize("name", SOLIDS)
def test_the_distance_is_that_of_the_mesh(name):
    """Round solids differ from their polygons by the polygon's error only."""
    solid, points = SOLIDS[name], _points(SOLIDS[name])
    mesh = solid.mesh()
    squared = igl.point_mesh_squared_distance(points, mesh.vertices, mesh.faces.astype(np.int64))[0]
    inside = igl.fast_winding_number(mesh.vertices, mesh.faces.astype(np.int64), points) > 0.5
    found = solid.sdf(points)
    off = 1e-9 if not isinstance(solid, Lathe) else 0.002 * np.ptp(solid.bounds(), axis=0).max()
    np.testing.assert_allclose(np.abs(found), np.sqrt(squared), atol=off)
    clear = np.sqrt(squared) > off
    np.testing.assert_array_equal(found[clear] < 0, inside[clear])
    assert inside.sum() > 30


@pytest.mark.parametrize("name", SOLIDS)
def test_meshes_are_closed_and_face_outwards(name):
    mesh = SOLIDS[name].mesh()
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.volume > 0


@pytest.mark.parametrize("name", SOLIDS)
def test_bounds_hold_the_solid_and_not_much_more(name):
    solid = SOLIDS[name]
    low, high = solid.bounds()
    vertices = solid.mesh().vertices
    slack = 0.01 * np.ptp(vertices, axis=0).max()
    assert (vertices >= low - slack).all() and (vertices <= high + slack).all()
    np.testing.assert_allclose([vertices.min(0), vertices.max(0)], [low, high], atol=slack)


def test_gradients_have_length_one():
    h = 1e-6
    for solid in SOLIDS.values():
        points = _points(solid, 500)
        slope = np.stack([(solid.sdf(points + h * e) - solid.sdf(points - h * e)) / (2 * h) for e in np.eye(3)])
        assert np.median(np.abs(np.linalg.norm(slope, axis=0) - 1)) < 1e-6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box((0, 0, 0), (1, 0, 1)), "half sides"),
        (lambda: Lathe((0, 0, 0), (0, 0, 0), [(0, 1), (1, 1)]), "length 0"),
        (lambda: Lathe((0, 0, 0), (0, 0, 1), [(1, 1), (0, 1)]), "rising places"),
        (lambda: Lathe((0, 0, 0), (0, 0, 1), [(0, -1), (1, 1)]), "rising places"),
        (lambda: Loft(AIRFOIL, AIRFOIL[:3]), "as many corners"),
        (lambda: Loft(AIRFOIL, AIRFOIL), "area"),
        (lambda: Loft(AIRFOIL, AIRFOIL[[0, 2, 1, 3, 4, 5]] + [0, 0, 1]), "convex"),
    ],
)
def test_bad_solids_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_a_union_is_the_nearest_of_its_parts():
    union = Union(tuple(SOLIDS.values()))
    points = np.random.default_rng(2).uniform(-1.5, 2.5, (4000, 3))
    every = np.min([solid.sdf(points) for solid in SOLIDS.values()], axis=0)
    np.testing.assert_allclose(union.sdf(points), every)
    np.testing.assert_allclose(union.sdf(points, 0.3), every.clip(max=0.3))
    assert len(union.mesh().split()) == len(SOLIDS)


def test_a_grid_holds_the_union_in_the_middle_of_its_cube():
    union, size, reach = Union((SOLIDS["wing"], SOLIDS["spindle"])), 40, 0.25
    centre, scale = union.frame(0.8)
    axis = np.linspace(-1, 1, size)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    wanted = (union.sdf(points / scale + centre) * scale).clip(-reach, reach)
    found = union.grid(size, reach, 0.8)
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-6)
    inside = points[found.ravel() < 0]
    assert np.abs(inside).max() <= 0.8 and np.abs(inside).max() > 0.8 - 2 * 2 / (size - 1)
