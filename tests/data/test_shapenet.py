"""ShapeNet's loader on a tiny tree in the official layout, all the way to coefficients."""

import pytest
import trimesh

from wavelab.data.shapenet import shapenet
from wavelab.errors import DataUnavailable, UnknownName
from wavelab.shapes import codes
from wavelab.shapes.coefficients import Pyramid


@pytest.fixture
def tree(tmp_path):
    """Ten chairs of version 2, three of them without a mesh, and two airplanes of version 1."""
    box = trimesh.creation.box((1, 2, 1)).export(file_type="obj")
    for k in range(10):
        models = tmp_path / "03001627" / f"{k:02d}ab" / "models"
        models.mkdir(parents=True)
        if k not in (2, 5, 9):
            (models / "model_normalized.obj").write_text("mtllib model_normalized.mtl\n" + box)
    for k in range(2):
        (tmp_path / "02691156" / f"{k}f").mkdir(parents=True)
        (tmp_path / "02691156" / f"{k}f" / "model.obj").write_text(box)
    (tmp_path / "03001627" / "readme.txt").write_text("not a model")
    return tmp_path


def test_the_first_four_fifths_are_for_training(tree):
    assert [m.id for m in shapenet(tree, "chair")] == ["00ab", "01ab", "03ab", "04ab", "06ab", "07ab"]
    assert [m.id for m in shapenet(tree, "chair", "test")] == ["08ab"]
    assert shapenet(tree, "airplane")[0].path.name == "model.obj"


def test_a_model_goes_through_the_pipeline(tree):
    code = codes.encode(shapenet(tree, "chair")[0].path, Pyramid(32, 1))
    assert codes.decode(code).is_watertight


def test_what_is_not_there_is_named(tree):
    with pytest.raises(UnknownName, match="chair"):
        shapenet(tree, "chiar")
    with pytest.raises(UnknownName, match="train"):
        shapenet(tree, "chair", "validation")
    with pytest.raises(DataUnavailable, match=r"04379243.*registration"):
        shapenet(tree, "table")
    (tree / "04379243" / "a").mkdir(parents=True)
    with pytest.raises(DataUnavailable, match="no train model"):
        shapenet(tree, "table")
