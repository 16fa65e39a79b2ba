import itertools

import numpy as np
import pytest

from wavelab.data import split_slices
from wavelab.errors import InvalidInput

PARTS = ["train", "validation", "test"]


def distances_between_parts(split):
    """Return the least distance in slices between any two parts."""
    pairs = itertools.combinations([part for part in split.values() if len(part)], 2)
    return min(int(np.abs(a[:, None] - b[None, :]).min()) for a, b in pairs)


@pytest.mark.parametrize("n", [70, 100, 133, 1000])
@pytest.mark.parametrize("gap", [0, 1, 5, 12])
@pytest.mark.parametrize("blocks", [1, 2])
def test_parts_are_disjoint_in_range_and_apart(n, gap, blocks):
    split = split_slices(n, gap=gap, blocks=blocks)
    joined = np.concatenate(list(split.values()))
    assert list(split) == PARTS
    assert len(np.unique(joined)) == len(joined) == n - gap * (3 * blocks - 1)  # every other slice is used
    assert joined.min() == 0
    assert joined.max() == n - 1
    assert distances_between_parts(split) == gap + 1  # exactly `gap` unused slices between


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_each_part_is_made_of_contiguous_blocks(blocks):
    for part in split_slices(133, blocks=blocks).values():
        assert np.count_nonzero(np.diff(part) > 1) == blocks - 1
        assert (np.diff(part) > 0).all()


def test_the_chest_ct_by_hand():
    split = split_slices(133)
    assert [len(split[part]) for part in PARTS] == [86, 19, 18]
    assert [(int(split[part][0]), int(split[part][-1])) for part in PARTS] == [(0, 85), (91, 109), (115, 132)]


def test_lengths_follow_the_fractions():
    split = split_slices(1000, (0.5, 0.3, 0.2), gap=0)
    assert [len(split[part]) for part in PARTS] == [500, 300, 200]


def test_a_tiny_share_still_gets_a_slice():
    split = split_slices(100, (0.998, 0.001, 0.001))
    assert [len(split[part]) for part in PARTS] == [88, 1, 1]


def test_a_share_of_zero_takes_no_slices_and_no_gap():
    split = split_slices(105, (0.8, 0.0, 0.2))
    assert [len(split[part]) for part in PARTS] == [80, 0, 20]
    assert split["test"][0] - split["train"][-1] == 6


def test_it_indexes_a_volume():
    volume = np.arange(133)[:, None, None] * np.ones((1, 2, 2))
    split = split_slices(133)
    assert np.array_equal(volume[split["test"], 0, 0], split["test"])


def test_the_smallest_number_that_works_and_one_less():
    assert [len(part) for part in split_slices(13).values()] == [1, 1, 1]
    with pytest.raises(InvalidInput, match=r"12 slices are too few.*at least 13 are needed"):
        split_slices(12)
    assert [len(part) for part in split_slices(31, blocks=2).values()] == [2, 2, 2]
    with pytest.raises(InvalidInput, match="at least 31 are needed"):
        split_slices(30, blocks=2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n": 0}, "n must be a whole number of at least 1"),
        ({"n": 133.0}, "n must be a whole number"),
        ({"n": True}, "n must be a whole number"),
        ({"n": 133, "gap": -1}, "gap must be a whole number of at least 0"),
        ({"n": 133, "blocks": 0}, "blocks must be a whole number of at least 1"),
        ({"n": 133, "fractions": (0.7, 0.3)}, "three shares"),
        ({"n": 133, "fractions": (0.7, 0.2, 0.2)}, "sum to 1"),
        ({"n": 133, "fractions": (1.2, -0.1, -0.1)}, "three shares"),
        ({"n": 133, "fractions": (np.nan, 0.5, 0.5)}, "three shares"),
    ],
)
def test_wrong_arguments_are_refused(arguments, says):
    with pytest.raises(InvalidInput, match=says):
        split_slices(**arguments)
