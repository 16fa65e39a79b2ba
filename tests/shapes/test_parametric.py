"""Parametric chairs and airplanes: the same for the same seed, all different, whole, and thick enough for a grid."""

import numpy as np
import pytest
from scipy import ndimage

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes.parametric import KINDS, shape

VOXEL = 2 / 63


@pytest.fixture(scope="module", params=KINDS)
def grids(request):
    return request.param, np.stack([shape(request.param, seed).grid(64, 0.2) for seed in range(24)])


def test_the_same_seed_gives_the_same_shape(grids):
    kind, volumes = grids
    np.testing.assert_array_equal(shape(kind, 3).grid(64, 0.2), volumes[3])


def test_no_two_shapes_are_alike(grids):
    inside = (grids[1] < 0).reshape(len(grids[1]), -1)
    both = (inside[:, None] & inside).sum(-1)
    either = (inside[:, None] | inside).sum(-1)
    overlap = (both / either)[np.triu_indices(len(inside), 1)]
    assert overlap.max() < 0.95 and np.median(overlap) < 0.6


def test_shapes_are_in_one_piece_and_fill_their_cube(grids):
    """At 64³ a few thin joints may open; most shapes hold together, and none loses much."""
    whole = []
    for volume in grids[1]:
        labels, count = ndimage.label(volume < 0.25 * VOXEL, np.ones((3, 3, 3)))
        sizes = np.bincount(labels.ravel())[1:]
        whole.append(count == 1)
        assert sizes.max() > 0.97 * sizes.sum()
        reach = np.abs(np.argwhere(volume < 0) - 31.5).max() * VOXEL
        assert 0.9 - 1.5 * VOXEL < reach <= 0.9
    assert np.mean(whole) > 0.9


def test_meshes_are_closed_parts(grids):
    for seed in range(6):
        mesh = shape(grids[0], seed).mesh()
        assert mesh.is_watertight and mesh.volume > 0


def test_wrong_names_and_seeds_are_refused():
    with pytest.raises(UnknownName, match="chair"):
        shape("chiar", 0)
    for seed in (-1, 1.5, True):
        with pytest.raises(InvalidInput, match="whole number"):
            shape("chair", seed)
