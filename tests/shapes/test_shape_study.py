"""The study of Part 5: every model learns on the smoke profile, and every method generates."""

import pytest
import torch
import trimesh

from wavelab.errors import UnknownName
from wavelab.shapes import furniture
from wavelab.shapes.setups import OFFICIAL, PARTS, QUALITY, SETUPS, Setup
from wavelab.shapes.study import DECODED, METHODS, Study


@pytest.mark.parametrize("method", METHODS)
def test_every_method_generates(study, method):
    found = study.generate(method, 2)
    wanted = (2, 128, 3) if method == "Point-Diff" else (2, 1, 32, 32, 32)
    assert tuple(found.shape) == wanted and found.isfinite().all()
    torch.testing.assert_close(study.generate(method, 2), found, rtol=0, atol=0)
    assert not torch.equal(study.generate(method, 2, stream=1), found)


@pytest.mark.parametrize("wavelet", sorted(set(DECODED.values())))
def test_training_shapes_come_back_from_coarse_volume_and_detail(study, wavelet):
    pyramid = study.pyramid(wavelet)
    coarse, detail = study.volumes(wavelet)
    assert len(coarse) == SETUPS["smoke"].shapes
    scaled = study.scaling(wavelet).apply(coarse)
    assert abs(float(scaled.square().mean()) - 1) < 1e-3  # all of the few shapes set the scale here
    again = pyramid.split(pyramid.join(coarse, detail))
    if wavelet != "cubic":  # samples of a spline through samples are not quite those samples
        torch.testing.assert_close(again[0], coarse, atol=1e-4, rtol=1e-4)


def test_the_first_shapes_are_the_same(study):
    torch.testing.assert_close(study.volumes(count=3)[0], study.volumes()[0][:3])
    torch.testing.assert_close(study.clouds(2), study.clouds()[:2])


def test_names_of_checkpoints_say_chapter_shape_and_part(study):
    assert study.generator()[1].name == "19-chair-generator"
    assert study.detail("haar")[1].name == "20-chair-detail-haar"
    assert study.voxel_gan()[1].name == "20-chair-voxel-gan"


def test_every_method_tells_its_networks(study):
    names = {method: [m.name for m in study.manifests(method)] for method in METHODS}
    assert names["ours"] == ["19-chair-generator", "19-chair-detail"] and names["coarse only"] == names["ours"][:1]
    assert names["VAD"] == ["20-chair-auto-decoder", "19-chair-detail"]
    assert names["TSDF"] == ["20-chair-generator-cubic"] and len(names["IM-GAN"]) == 2
    assert study.tag("cubic") != study.tag("TSDF") != study.tag("haar")


def test_coarse_volumes_without_detail_are_only_joined(study):
    coarse = study.volumes()[0][:2]
    torch.testing.assert_close(study.decode(coarse, "coarse only"), study.pyramid().join(coarse))
    assert not torch.allclose(study.decode(coarse, "ours"), study.pyramid().join(coarse), atol=1e-5)


def test_zero_padding_makes_volumes_that_a_network_cannot_halve(study):
    small = Setup(40, 2, 4, 8, (1, 2, 4), 1, 4, 4, 64, "zero", precision="float32", updates=dict.fromkeys(PARTS, 2))
    found = Study(study.run, "airplane", small)
    assert found.pyramid().sizes == (40, 28, 22)  # 22 is no multiple of 4
    assert found.coarse("ours", 1, torch.Generator().manual_seed(0)).shape == (1, 1, 22, 22, 22)
    assert found.generate("ours", 1).shape == found.generate("VAD", 1).shape == (1, 1, 40, 40, 40)
    assert found.auto_decoder()[0].config["size"] == 32
    assert Study(study.run, "chair", OFFICIAL).pyramid().sizes == (256, 136, 76, 46)
    assert OFFICIAL.reach == pytest.approx(0.1)


def test_real_models_are_a_training_set_too(study, monkeypatch):
    monkeypatch.setattr(furniture, "numbered", lambda kind, number: trimesh.creation.box((1, 1 + 0.1 * number, 2)))
    found = Study(study.run, "furniture-chair")
    assert len(found.volumes()[0]) == SETUPS["smoke"].shapes
    assert found.generator()[1].data == {"models, chair": "numbers 0 to 7"}
    assert found.generate("ours", 1).isfinite().all() and len(found.clouds(2)) == 2


def test_the_quality_mode_has_twice_the_points():
    assert Study(None, "chair", QUALITY).pyramid().sizes == (128, 64, 32)


def test_an_unknown_method_is_named(study):
    with pytest.raises(UnknownName, match="Voxel-GAN"):
        study.generate("VoxelGAN", 1)
