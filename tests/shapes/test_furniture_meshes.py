"""Models of a collection as meshes: turned upright, or refused by name."""

import numpy as np
import pytest
import trimesh

from wavelab.data.furniture import Model
from wavelab.errors import DataCorrupt, InvalidInput
from wavelab.shapes import furniture
from wavelab.shapes.batch import Outcome

BOX = trimesh.creation.box((1, 2, 3)).export(file_type="obj").encode()


def _model(member="tiny/box/box.OBJ", rotation=None):
    return Model("Tiny#box", "Box", "Office", "Someone", "CC0", "furniture-cc0", member, (1.0, 3.0, 2.0), rotation)


def _content(monkeypatch, content):
    monkeypatch.setattr(furniture, "content", lambda model: content)


def test_a_model_keeps_its_units(monkeypatch):
    _content(monkeypatch, BOX)
    mesh = furniture.read(_model())
    np.testing.assert_allclose(np.ptp(mesh.bounds, axis=0), [1, 2, 3])
    assert mesh.is_watertight and mesh.volume == pytest.approx(6)


def test_a_model_is_turned_as_its_catalogue_says(monkeypatch):
    flat = "\n".join(f"v {x} {y} {z}" for x, y, z in [(0, 0, 0), (1, 0, 0), (0, 0, 5)]) + "\nf 1 2 3\n"
    _content(monkeypatch, flat.encode())
    mesh = furniture.read(_model(rotation=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))))
    np.testing.assert_allclose(mesh.bounds, [[0, 0, 0], [1, 5, 0]], atol=1e-12)  # z has become up


@pytest.mark.parametrize(
    ("member", "content", "error", "words"),
    [
        ("a/box.obj", b"", InvalidInput, r"Box \(box\.obj\)"),
        ("a/box.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", InvalidInput, r"Box \(box\.obj\) holds a cloud|no triangles"),
        ("a/box.glb", b"no mesh", DataCorrupt, r"Box \(box\.glb\) cannot be read as GLB"),
        ("a/box.3ds", b"x", InvalidInput, r"Box \(box\.3ds\) is no mesh that is read here"),
    ],
)
def test_what_is_no_mesh_is_refused_by_name(monkeypatch, member, content, error, words):
    _content(monkeypatch, content)
    with pytest.raises(error, match=words):
        furniture.read(_model(member))


def test_a_survey_reports_what_came_back_and_what_failed(monkeypatch):
    monkeypatch.setattr(furniture, "content", lambda model: BOX if "good" in model.member else b"")
    monkeypatch.setattr(furniture.batch, "run", here)
    good, bad = furniture.survey([_model("good/box.obj"), _model("bad/box.obj")], furniture.Pyramid(32, 1))
    assert good["error"] is None and good["closed"] and 0.8 < good["coarse"] <= good["detail"] <= 1
    assert "Box (box.obj)" in bad["error"] and "closed" not in bad


def here(function, jobs, **options):
    """Stand in for worker processes, which do not see what a test replaces."""
    outcomes = []
    for name, arguments in jobs:
        try:
            outcomes.append(Outcome(name, function(*arguments), None, 0.1))
        except InvalidInput as error:
            outcomes.append(Outcome(name, None, str(error), 0.1))
    return outcomes
