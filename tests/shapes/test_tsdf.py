"""Signed distances of clean and of messy meshes, against solids whose distance is known; and back by marching cubes."""

import igl
import numpy as np
import pytest
import torch
import trimesh

from wavelab.data.volumes import chest_ct
from wavelab.errors import InvalidInput
from wavelab.shapes import meshes, tsdf
from wavelab.shapes.assembly import Union
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.parametric import KINDS, shape
from wavelab.shapes.solids import Box, Lathe

SIZE = 40
STEP = 2 / (SIZE - 1)


def _truth(union, reach=tsdf.VOXELS * STEP):
    return union.grid(SIZE, reach)


def _agrees(found, exact, off=0.003):
    """Distances agree outside; inside where parts overlap the union of parts may go deeper than one of them."""
    outside = exact > 0
    np.testing.assert_allclose(found.values[outside], exact[outside], atol=off)
    np.testing.assert_array_equal(found.values[np.abs(exact) > off] < 0, exact[np.abs(exact) > off] < 0)


@pytest.mark.parametrize("kind", KINDS)
def test_parametric_meshes_give_their_own_distance(kind):
    for seed in range(3):
        union = shape(kind, seed)
        _agrees(tsdf.from_mesh(union.mesh(), SIZE, thin="keep"), _truth(union))


TABLE = Union((Box((0, 0.5, 0), (0.6, 0.06, 0.4)), Lathe.rod((0, -0.5, 0), (0, 0.5, 0), 0.12)))


def test_parts_that_face_inwards_count_the_same():
    parts = [solid.mesh() for solid in TABLE.solids]
    parts[1].invert()
    _agrees(tsdf.from_mesh(trimesh.util.concatenate(parts), SIZE), _truth(TABLE))


def test_single_triangles_that_face_inwards_are_turned():
    mesh = TABLE.mesh()
    mesh.faces[::3] = mesh.faces[::3, ::-1]
    _agrees(tsdf.from_mesh(mesh, SIZE), _truth(TABLE))


def test_holes_are_closed():
    ball = trimesh.creation.icosphere(subdivisions=4)
    hole = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.9], process=False)
    assert not hole.is_watertight
    found, whole = (tsdf.from_mesh(mesh, SIZE).values for mesh in (hole, ball))
    assert tsdf.occupancy_iou(found, whole) > 0.93


def test_a_basket_stays_open_and_has_no_second_wall():
    ball = trimesh.creation.icosphere(subdivisions=4)
    bowl = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.3], process=False)
    found = tsdf.from_mesh(bowl, SIZE, reach=3 * STEP)
    back = found.mesh()
    away = igl.point_mesh_squared_distance(np.asarray(back.vertices), bowl.vertices, bowl.faces.astype(np.int64))[0]
    assert np.sqrt(away.max()) < STEP / found.scale
    assert _kept(found, bowl) == 1
    with pytest.raises(InvalidInput, match=r"1 of 1 parts"):
        tsdf.from_mesh(bowl, SIZE, sheets="refuse")


def test_an_inside_wider_than_the_truncation_has_no_hollow_behind_a_hole():
    ball = trimesh.creation.icosphere(subdivisions=4)
    hole = trimesh.Trimesh(ball.vertices, ball.faces[ball.triangles_center[:, 2] < 0.93], process=False)
    found, whole = (tsdf.from_mesh(mesh, SIZE, reach=2 * STEP).values for mesh in (hole, ball))
    assert found[SIZE // 2, SIZE // 2, SIZE // 2] == pytest.approx(-2 * STEP)
    assert tsdf.occupancy_iou(found, whole) > 0.9


def test_a_deep_inside_is_inside_far_from_any_surface():
    found = tsdf.from_mesh(trimesh.creation.icosphere(subdivisions=3), SIZE, reach=0.1)
    assert found.values[SIZE // 2, SIZE // 2, SIZE // 2] == pytest.approx(-0.1)
    axis = np.linspace(-1, 1, SIZE)
    radius = np.sqrt(sum(c**2 for c in np.meshgrid(axis, axis, axis, indexing="ij")))
    np.testing.assert_allclose(found.values, (radius - 0.9).clip(-0.1, 0.1), atol=0.006)


def test_an_open_sheet_becomes_a_plate_or_is_refused():
    sheet = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    found = tsdf.from_mesh(sheet, SIZE)
    thick = (found.values < 0).sum() * STEP**3 / 1.8**2
    assert 0.5 * STEP < thick < 3 * STEP
    with pytest.raises(InvalidInput, match=r"sheet\.obj: 1 of 1 parts"):
        tsdf.from_mesh(sheet, SIZE, sheets="refuse", name="sheet.obj")


def _kept(found, mesh):
    """Return which share of the surface is still there, to a grid distance."""
    voxel = 2 / (len(found.values) - 1) / found.scale
    back, points = found.mesh(), np.asarray(mesh.sample(1000, seed=0))
    away = igl.point_mesh_squared_distance(points, back.vertices, back.faces.astype(np.int64))[0]
    return float((np.sqrt(away) < voxel).mean())


@pytest.mark.parametrize("thickness", [0.05, 0.4, 0.8, 1.2])
def test_a_closed_plate_thinner_than_the_grid_keeps_its_surface(thickness):
    plate = trimesh.creation.box((1, thickness * STEP / 1.8, 0.7))
    plate.apply_transform(trimesh.transformations.rotation_matrix(0.3, [1, 2, 3]))
    found = tsdf.from_mesh(plate, SIZE)
    assert _kept(found, plate) == 1
    thick = (found.values < 0).sum() * STEP**2 / (0.7 * found.scale**2)
    assert 1.2 < thick < 2.1
    if thickness < 0.5:
        assert _kept(tsdf.from_mesh(plate, SIZE, thin="keep"), plate) < 0.9


def test_a_tree_of_thousands_of_closed_leaves_is_one_surface(monkeypatch):
    rng = np.random.default_rng(0)
    leaf = trimesh.creation.box((0.1, 0.004, 0.05))
    turns = trimesh.transformations.random_rotation_matrix
    leaves = [leaf.copy().apply_transform(turns(rng.random(3))).apply_translation(p) for p in rng.normal(size=(300, 3))]
    tree = trimesh.util.concatenate([*leaves, trimesh.creation.cylinder(0.1, 3)])
    calls, add = [], tsdf._add
    monkeypatch.setattr(tsdf, "_add", lambda *arguments: calls.append(arguments) or add(*arguments))
    found = tsdf.from_mesh(tree, SIZE)
    assert len(calls) == 2 and _kept(found, tree) > 0.98
    calls.clear()
    tsdf.from_mesh(leaves[0], SIZE)  # alone it is as large as the cube
    assert len(calls) == 1 and calls[0][4] is False


def test_what_is_thick_enough_is_left_alone_edges_and_corners_too():
    solid = trimesh.creation.box((1, 0.6, 0.4))
    solid.apply_transform(trimesh.transformations.rotation_matrix(0.7, [3, 1, 2]))
    solids = [solid, trimesh.creation.icosphere(subdivisions=3), trimesh.creation.cylinder(0.3, 1)]
    for mesh in solids:
        exact, found = (tsdf.from_mesh(mesh, SIZE, thin=thin).values for thin in ("keep", "thicken"))
        np.testing.assert_array_equal(found, exact)


def test_only_the_thin_places_of_a_part_grow():
    profile = [[0, 0], [0, 0.01], [0.7, 0.01], [0.7, 0.33], [1, 0.33], [1, 0], [0, 0]]  # a thick ring, a thin disc
    mesh = trimesh.creation.revolve(profile, sections=48)
    exact, found = (tsdf.from_mesh(mesh, SIZE, thin=thin) for thin in ("keep", "thicken"))
    changed = np.argwhere(np.abs(found.values - exact.values) > 0.01 * STEP) * STEP - 1
    radius = np.linalg.norm(changed[:, :2], axis=1)
    assert radius.max() < 0.9 * 0.7 + 3 * STEP and _kept(exact, mesh) < 0.75 and _kept(found, mesh) > 0.99


def test_a_half_pipe_is_a_sheet_and_a_cube_without_lid_is_not():
    angle = np.linspace(0, np.pi, 30)
    rim = np.stack([np.cos(angle), np.sin(angle)], 1)
    vertices = np.concatenate([np.c_[rim, np.zeros(30)], np.c_[rim, np.full(30, 3.0)]])
    k = np.arange(29)
    pipe = np.concatenate([np.c_[k, k + 1, k + 31], np.c_[k, k + 31, k + 30]])
    assert meshes.is_sheet(vertices, pipe)
    cube = trimesh.creation.box().subdivide().subdivide()
    assert not meshes.is_sheet(cube.vertices, cube.faces[cube.triangles_center[:, 2] < 0.49])


def test_there_and_back_in_the_units_of_the_mesh():
    union = shape("chair", 3)
    mesh = union.mesh()
    mesh.vertices = 250 * mesh.vertices + [1000, -50, 3]
    found = tsdf.from_mesh(mesh, 64).mesh()
    voxel = 2 / 63 / tsdf.from_mesh(mesh, 64).scale
    np.testing.assert_allclose(found.bounds, mesh.bounds, atol=voxel)
    assert found.is_watertight and found.volume > 0
    points = found.sample(2000, seed=0)
    away = igl.point_mesh_squared_distance(np.asarray(points), mesh.vertices, mesh.faces.astype(np.int64))[0]
    assert np.sqrt(away.max()) < voxel


def test_a_shape_cut_by_the_cube_is_still_closed():
    axis = np.linspace(-1, 1, 24)
    x = np.meshgrid(axis, axis, axis, indexing="ij")[0]
    half = tsdf.surface(x)
    assert half.is_watertight and half.volume == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((8, 8, 8)), "no surface"),
        (np.full((8, 8, 8), np.nan), "NaN"),
        (np.ones((8, 8, 9)), "expected"),
        (np.ones((8, 8)), "expected"),
    ],
)
def test_volumes_without_a_surface_are_refused(values, words):
    with pytest.raises(InvalidInput, match=f"thing.*{words}"):
        tsdf.surface(values, "thing")


@pytest.mark.parametrize(
    "options", [{"size": 4}, {"size": 8.5}, {"reach": 1e-3}, {"reach": np.nan}, {"sheets": "keep"}, {"thin": "off"}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        tsdf.from_mesh(TABLE.mesh(), **{"size": SIZE, **options})


def test_a_mask_gives_its_distance_in_millimetres():
    """A ball of 20 mm in voxels of 2.5 x 1 x 1 mm, at the edge of its volume."""
    spacing, radius = (2.5, 1.0, 1.0), 20.0
    grids = [s * np.arange(n) for s, n in zip(spacing, (24, 44, 44))]
    away = np.stack(np.meshgrid(grids[0] - 30, grids[1] - 22, grids[2] - 21, indexing="ij"))
    found = tsdf.from_mask(np.linalg.norm(away, axis=0) < radius, spacing, SIZE)
    mesh = found.mesh()
    assert mesh.is_watertight
    np.testing.assert_allclose(mesh.bounds.mean(0), [30, 22, 21], atol=1.0)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices - [30, 22, 21], axis=1), radius, atol=1.3)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)


def test_the_surface_of_a_mask_is_half_way_between_voxels_along_every_axis():
    mask = np.zeros((16, 40, 40), dtype=bool)
    mask[5:10, 12:28, 12:28] = True
    bounds = tsdf.from_mask(mask, (2.5, 1.0, 1.0), 64).mesh().bounds
    np.testing.assert_allclose(bounds, [[11.25, 11.5, 11.5], [23.75, 27.5, 27.5]], atol=0.3)


def test_a_vertebra_of_the_patient_goes_through_the_pipeline():
    volume = chest_ct()
    mask = volume.labels() == volume.structures["vertebrae_T8"]
    found = tsdf.from_mask(mask, volume.spacing, 64)
    pyramid = Pyramid()
    x = torch.from_numpy(found.values)[None, None]
    back = pyramid.join(*pyramid.split(x))[0, 0].numpy()
    assert tsdf.occupancy_iou(back, found.values) > 0.93
    voxels = mask.sum() * np.prod(volume.spacing)
    assert tsdf.TSDF(back, found.reach, found.centre, found.scale).mesh().volume == pytest.approx(voxels, rel=0.1)


@pytest.mark.parametrize("options", [{"size": 4}, {"reach": np.nan}])
def test_wrong_options_of_a_mask_are_refused(options):
    with pytest.raises(InvalidInput, match=next(iter(options))):
        tsdf.from_mask(np.ones((4, 4, 4)), (1, 1, 1), **options)


@pytest.mark.parametrize(
    ("mask", "spacing", "words"),
    [
        (np.zeros((4, 4, 4)), (1, 1, 1), "spleen is empty"),
        (np.ones((4, 4)), (1, 1, 1), "three axes"),
        (np.ones((4, 4, 4)), (1, 0, 1), "spacing"),
    ],
)
def test_masks_without_an_organ_are_refused(mask, spacing, words):
    with pytest.raises(InvalidInput, match=words):
        tsdf.from_mask(mask, spacing, name="spleen")
