"""Patches of the chest CT."""

import numpy as np
import pytest
import torch

from wavelab.data.patches import CENTRE, WIDTH, ct_patches
from wavelab.data.volumes import chest_ct
from wavelab.errors import InvalidInput


def draw(size=32, count=20, slices=(40, 41), seed=0, **options):
    return ct_patches(size, count, slices, np.random.default_rng(seed), **options)


def test_patches_are_pieces_of_the_scan_in_its_units():
    one = draw(size=16, count=1, slices=(40,), reduce=1)[0, 0].numpy()
    hu = chest_ct().array[40].astype(np.float32)
    expected = np.clip((hu - CENTRE) / (WIDTH / 2), -1, 1)
    windows = np.lib.stride_tricks.sliding_window_view(expected, (16, 16))
    assert (np.abs(windows - one).max(axis=(2, 3)) < 1e-5).sum() == 1


def test_reduction_averages_pixels():
    fine, coarse = chest_ct().array[40].astype(np.float32), draw(size=128, count=1, slices=(40,), reduce=4, inside=0)
    means = np.clip((fine.reshape(128, 4, 128, 4).mean(axis=(1, 3)) - CENTRE) / (WIDTH / 2), -1, 1)
    np.testing.assert_allclose(coarse[0, 0].numpy(), means, atol=1e-4)


def test_patches_lie_in_the_patient_and_repeat_with_the_generator():
    patches = draw(count=200, inside=0.9)
    assert patches.shape == (200, 1, 32, 32) and patches.dtype == torch.float32
    air = (patches <= (-950 - CENTRE) / (WIDTH / 2)).float().mean(dim=(1, 2, 3))
    assert air.max() <= 0.1 + 1e-6
    assert torch.equal(patches, draw(count=200, inside=0.9))
    assert not torch.equal(patches, draw(count=200, seed=1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "size must be a positive whole number, got 0"),
        ({"count": 2.5}, "count must be"),
        ({"slices": ()}, "slices must be a sequence"),
        ({"slices": (0, 133)}, "0 to 132"),
        ({"inside": 1.5}, "between 0 and 1"),
        ({"reduce": 3}, "reduce must divide"),
        ({"size": 512, "reduce": 2}, "do not fit"),
        ({"size": 256, "inside": 1.0}, "lower inside"),
    ],
)
def test_bad_input_is_named(options, match):
    with pytest.raises(InvalidInput, match=match):
        draw(**options)
