"""Models of a collection as meshes: turned upright, or refused by name."""

import numpy as np
import pytest
import trimesh

from wavelab.data.furniture import Model
from wavelab.errors import DataCorrupt, InvalidInput, UnknownName
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


def _tilted(monkeypatch, names="abcdefg"):
    models = [Model(n, n, "", "", "", "furniture-cc0", f"{n}/box.obj", (1.0,) * 3, None) for n in names]
    furniture._kept_apart.cache_clear()
    monkeypatch.setattr(furniture, "of_kind", lambda kind: models)
    content = {n: trimesh.creation.box((1, 2, 3 + k)).export(file_type="obj").encode() for k, n in enumerate(names)}
    monkeypatch.setattr(furniture, "content", lambda model: content[model.name])


def test_numbers_tell_models_copies_and_what_is_held_out(monkeypatch):
    _tilted(monkeypatch)

    def depth(number):
        return float(np.ptp(furniture.numbered("chair", number).bounds, axis=0)[2])

    first = furniture.HELD_OUT
    assert [depth(k) for k in range(5)] == pytest.approx([4, 5, 6, 7, 9])  # b c d e g
    assert [depth(first + k) for k in range(2)] == pytest.approx([3, 8])  # a f
    assert depth(5) != pytest.approx(4) and 4 / 1.25 <= depth(5) <= 4 * 1.25
    assert depth(first + 2) / 3 == pytest.approx(depth(5) / 4)  # the first copy is stretched alike everywhere
    furniture._kept_apart.cache_clear()


def test_a_copy_is_stretched_and_mirrored_and_stays_a_solid():
    mesh = trimesh.creation.icosphere(2)
    mesh.vertices[mesh.vertices[:, 0] > 0] *= 1.5  # right and left differ
    assert furniture.augmented(mesh, 0) is mesh
    for copy in (1, 2, 3, 4):
        found = furniture.augmented(mesh, copy)
        k = np.argmax(abs(mesh.vertices).min(1))  # no coordinate of it is zero
        factors = found.vertices[k] / mesh.vertices[k]
        assert (factors[0] < 0) == (copy % 2 == 1) and (abs(factors) >= 0.8).all() and (abs(factors) <= 1.25).all()
        assert found.is_watertight and found.volume == pytest.approx(mesh.volume * abs(factors.prod()))


def test_a_number_that_is_none_is_refused():
    with pytest.raises(InvalidInput, match="at least 0"):
        furniture.numbered("chair", -1)
    with pytest.raises(UnknownName, match="chair"):
        furniture.numbered("chiar", 0)


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
