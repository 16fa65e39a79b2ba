"""Meshes as they come: every format, scenes, broken files, surfaces that are none."""

import numpy as np
import pytest
import trimesh

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput
from wavelab.shapes import meshes


def _ball():
    return trimesh.creation.icosphere(subdivisions=2)


@pytest.mark.parametrize("kind", meshes.FORMATS)
def test_every_format_is_read(kind, tmp_path):
    path = tmp_path / f"ball.{kind.upper()}"
    path.write_bytes(_bytes(kind))
    found = meshes.load(path)
    assert len(found.faces) == len(_ball().faces) and found.is_watertight
    np.testing.assert_allclose(found.bounds, _ball().bounds, atol=1e-5)


def _bytes(kind):
    data = _ball().export(file_type=kind)
    return data.encode() if isinstance(data, str) else data


def test_the_meshes_of_a_scene_become_one_where_they_stand(tmp_path):
    scene = trimesh.Scene()
    for shift in (0, 3):
        scene.add_geometry(_ball(), transform=trimesh.transformations.translation_matrix([shift, 0, 0]))
    path = tmp_path / "two.glb"
    path.write_bytes(scene.export(file_type="glb"))
    found = meshes.load(path)
    np.testing.assert_allclose(found.bounds[:, 0], [-1, 4], atol=1e-5)
    assert len(meshes.components(found)) == 2


def test_missing_materials_do_not_matter(tmp_path):
    path = tmp_path / "chair.obj"
    path.write_text("mtllib nowhere.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl oak\nf 1 2 3\nf 1/7/9 2 4\n")
    assert len(meshes.load(path).faces) == 2


def test_faces_of_more_corners_become_triangles(tmp_path):
    path = tmp_path / "square.off"
    path.write_text("OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    assert len(meshes.load(path).faces) == 2


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("chair.fbx", b"x", InvalidInput, "obj, ply"),
        ("empty.obj", b"", InvalidInput, r"empty\.obj"),
        ("text.stl", b"this is no mesh at all, whatever its name", (DataCorrupt, InvalidInput), r"text\.stl"),
        ("lie.glb", b"solid lie\nendsolid", DataCorrupt, r"lie\.glb cannot be read as GLB"),
        (
            "cut.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 9\n",
            (DataCorrupt, InvalidInput),
            r"cut\.ply",
        ),
        ("cloud.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", InvalidInput, r"cloud\.obj holds .*no triangles"),
        ("flat.off", b"OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", InvalidInput, r"flat\.off has no area"),
        ("nan.off", b"OFF\n3 1 0\n0 0 0\nnan 0 0\n0 1 0\n3 0 1 2\n", (DataCorrupt, InvalidInput), r"nan\.off"),
        (
            "huge.off",
            b"OFF\n3 1 0\n0 0 0\n1e15 0 0\n0 1e15 0\n3 0 1 2\n",
            InvalidInput,
            r"huge\.off has coordinates up to",
        ),
        ("astray.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", (DataCorrupt, InvalidInput), r"astray\.obj"),
    ],
)
def test_what_is_no_surface_is_refused_with_its_name(name, content, error, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=words):
        meshes.load(tmp_path / name)


def test_a_missing_file_and_something_else_than_a_mesh():
    with pytest.raises(DataUnavailable, match=r"nothing\.obj"):
        meshes.load("nothing.obj")
    with pytest.raises(InvalidInput, match="PointCloud"):
        meshes.checked(trimesh.PointCloud(np.eye(3)))


def test_checking_merges_vertices_and_drops_slivers():
    ball = _ball()
    soup = trimesh.Trimesh(ball.triangles.reshape(-1, 3), np.arange(3 * len(ball.faces)).reshape(-1, 3), process=False)
    soup.faces = np.concatenate([soup.faces, [[0, 0, 1]]])
    found = meshes.checked(soup)
    assert len(found.vertices) == len(ball.vertices) and len(found.faces) == len(ball.faces)


def test_parts_touching_in_no_vertex_are_apart():
    parts = meshes.components(
        trimesh.util.concatenate([_ball(), trimesh.creation.box(), _ball().apply_translation([9, 0, 0])])
    )
    assert sorted(len(p.faces) for p in parts) == [12, 320, 320]


def test_bytes_are_read_like_files():
    found = meshes.parse(_bytes("stl"), "stl")
    assert found.is_watertight and len(found.faces) == len(_ball().faces)
    with pytest.raises(InvalidInput, match=r"chair is no mesh that is read here"):
        meshes.parse(b"", "", "chair")


def test_a_flat_part_is_a_sheet_however_it_is_bent_a_little():
    leaf = np.array([[0, 0, 0], [1, 0, 0.2], [2, 0, 0], [1, 1, 0], [1, -1, 0]], dtype=float)
    assert meshes.is_sheet(leaf, np.array([[0, 1, 3], [1, 2, 3], [0, 4, 1], [1, 4, 2]]))
    assert not meshes.is_sheet(_ball().vertices, _ball().faces.astype(np.int64))


def _without(mesh, keep):
    return trimesh.Trimesh(mesh.vertices, mesh.faces[keep(mesh.triangles_center)], process=False)


def test_closed_is_where_every_edge_has_two_sides():
    ball = _ball()
    assert meshes.is_closed(ball.faces.astype(np.int64))
    assert not meshes.is_closed(ball.faces[1:].astype(np.int64))
    turned = ball.faces.astype(np.int64).copy()
    turned[0] = turned[0, ::-1]
    assert not meshes.is_closed(turned)


def test_a_basket_and_a_tube_are_shells_and_a_ball_with_a_hole_is_not():
    ball = trimesh.creation.icosphere(subdivisions=4)
    tube = trimesh.creation.cylinder(0.3, 2, sections=24).subdivide().subdivide()
    basket, hole = (_without(ball, lambda c, top=top: c[:, 2] < top) for top in (0.3, 0.9))
    pipe = _without(tube, lambda c: np.abs(c[:, 2]) < 0.99)
    for mesh, shell in ((basket, True), (pipe, True), (hole, False), (ball, False)):
        assert meshes.is_shell(mesh.vertices, mesh.faces.astype(np.int64)) is shell


@pytest.mark.parametrize("extents", [(1, 12, 1), (1, 40, 1), (1, 1, 0.1)])
def test_a_long_or_flat_box_with_a_tiny_hole_is_no_shell(extents):
    """The way out must not be looked for in steps that jump through walls."""
    box = trimesh.creation.box(extents)
    vertices, faces = trimesh.remesh.subdivide_to_size(box.vertices, box.faces, 0.2)
    assert not meshes.is_shell(np.asarray(vertices), np.asarray(faces)[1:].astype(np.int64))
