"""Slices of the real volumes: units, sizes, splits that do not touch."""

import itertools

import numpy as np
import pytest
import torch

from wavelab.data.volumes import chest_ct
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical.slices import PARTS, brain_slices, chest_slices, posed


def test_chest_is_in_units_of_water():
    x, pixel = chest_slices("test")
    assert x.shape == (38, 1, 128, 128) and x.dtype == torch.float32 and pixel == pytest.approx(2.8125)
    assert x.min() == 0 and 1.5 < x.max() <= 3
    tissue = x[(x > 0.8) & (x < 1.2)]
    values, edges = np.histogram(tissue.numpy(), 40)
    modes = [edges[:-1][part][values[part].argmax()] for part in (edges[:-1] < 0.98, edges[:-1] >= 0.98)]
    np.testing.assert_allclose(modes, [0.9, 1.05], atol=0.03)  # fat, and muscle and organs
    assert ((x > 0.1) & (x < 0.4)).float().mean() > 0.02  # lung


def test_chest_pixels_are_means_of_the_scan():
    x, _ = chest_slices("train", 256)
    first = chest_ct().array[0].reshape(256, 2, 256, 2).mean((1, 3), dtype=np.float32).clip(-1000, 2000)
    np.testing.assert_allclose(x[0, 0].numpy(), first / 1000 + 1, atol=1e-6)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_brain_is_upright_and_whole(plane):
    x, pixel = brain_slices("train", plane=plane)
    assert x.shape[1:] == (1, 128, 128) and pixel == 1.5
    assert x.min() >= 0 and 0.8 < x.max() <= 1
    assert ((x > 0.1).float().mean((1, 2, 3)) > 0.02).all()  # brain in every slice
    frame = torch.cat([x[..., :2, :].flatten(), x[..., -2:, :].flatten(), x[..., :2].flatten(), x[..., -2:].flatten()])
    assert (frame > 0.1).float().mean() < 0.01  # and nowhere cut off


def test_poses_are_of_the_same_slices_and_all_differ():
    x = brain_slices("train", 128)[0][[20, 40]]
    found = posed(x, 3, np.random.default_rng(0), 64)
    assert found.shape == (6, 1, 64, 64) and found.min() >= 0 and found.max() <= 1
    torch.testing.assert_close(found, posed(x, 3, np.random.default_rng(0), 64), rtol=0, atol=0)
    assert torch.pdist(found.flatten(1)).min() > 3
    head = (found > 0.05).float().mean((1, 2, 3)).reshape(2, 3)
    whole = (x > 0.05).float().mean((1, 2, 3))[:, None]
    assert ((head / whole).log().abs() < 0.4).all()  # exp(0.3), and what edges take


def test_a_pose_moves_the_head_where_it_says():
    """With the generator's numbers at the middle of their ranges nothing moves."""

    class Middle:
        def uniform(self, low, high, size):
            return np.full(size, (low + high) / 2)

    x = brain_slices("train", 128)[0][30:31]
    still = posed(x, 1, Middle(), 64)
    torch.testing.assert_close(still, torch.nn.functional.avg_pool2d(x, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("load", [chest_slices, brain_slices])
def test_no_slice_is_near_one_of_another_part(load):
    parts = {part: load(part, 64)[0].flatten(1) for part in PARTS}
    for one, other in itertools.permutations(PARTS, 2):
        nearest = torch.cdist(parts[one], parts[other]).min()
        neighbours = (parts[one][1:] - parts[one][:-1]).norm(dim=1).median()
        assert nearest > neighbours


@pytest.mark.parametrize(
    "call, kind, words",
    [
        (lambda: chest_slices("training"), UnknownName, "train"),
        (lambda: chest_slices("train", 100), InvalidInput, "divisor of 512"),
        (lambda: brain_slices("tests"), UnknownName, "test"),
        (lambda: brain_slices("test", 200), InvalidInput, "1 to 192"),
        (lambda: brain_slices("test", plane="frontal"), UnknownName, "coronal"),
        (lambda: posed(torch.rand(2, 1, 8, 8), 0, np.random.default_rng(0), 8), InvalidInput, "copies is 0"),
        (lambda: posed(torch.rand(2, 1, 8, 8), 1, np.random.default_rng(0), 0), InvalidInput, "size is 0"),
        (lambda: posed(-torch.rand(2, 1, 8, 8), 1, np.random.default_rng(0), 8), InvalidInput, "negative values"),
    ],
)
def test_bad_input_is_named(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
