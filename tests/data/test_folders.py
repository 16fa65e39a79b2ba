"""Folders of pictures, in the layout of CelebA-HQ: numbered files in one folder."""

import numpy as np
import pytest
from PIL import Image

from wavelab.data.folders import image_folder
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput


@pytest.fixture
def celeba(tmp_path):
    """A tiny tree with the official names: a grey ramp of colours, one picture wider than high."""
    for index, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        Image.new("RGB", (16, 16), colour).save(tmp_path / f"{index:05d}.png")
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(tmp_path / "00003.jpg", quality=100, subsampling=0)
    return tmp_path


def test_pictures_come_in_order_as_colour_squares(celeba):
    x = image_folder(celeba, 4)
    assert x.shape == (4, 3, 4, 4)
    np.testing.assert_allclose(x[:3].mean((2, 3)), [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert x[3].min() > 0.9, "the middle of the wide picture is white"
    assert len(image_folder(celeba, 4, count=2)) == 2


def test_reduction_is_by_area_means(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    means = pixels.reshape(4, 2, 4, 2, 3).mean((1, 3)) / 127.5 - 1
    np.testing.assert_allclose(
        image_folder(tmp_path, 4)[0].movedim(0, -1), means, atol=1.01 / 127.5
    )  # each direction rounds


def test_what_is_missing_is_said(celeba, tmp_path):
    with pytest.raises(DataUnavailable, match=r"no folder .*nowhere.*CelebA-HQ is free for research"):
        image_folder(tmp_path / "nowhere", 4)
    with pytest.raises(DataUnavailable, match=r"holds 4 pictures.*at least 10"):
        image_folder(celeba, 4, count=10)
    with pytest.raises(InvalidInput, match="size must be a positive whole number, got 0"):
        image_folder(celeba, 0)
    (celeba / "00001.png").write_bytes((celeba / "00000.png").read_bytes()[:40])
    with pytest.raises(DataCorrupt, match=r"00001\.png cannot be read"):
        image_folder(celeba, 4)
