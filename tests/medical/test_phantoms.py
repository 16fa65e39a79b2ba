"""Random phantoms: reproducible, in Hounsfield units, with the parts of a chest."""

import numpy as np
import pytest
import torch

from wavelab.errors import InvalidInput
from wavelab.medical.phantoms import thorax


def _draw(count=6, size=64, seed=0):
    return thorax(count, size, np.random.default_rng(seed))


def test_phantoms_are_reproducible_and_differ():
    torch.testing.assert_close(_draw(), _draw(), rtol=0, atol=0)
    assert (_draw()[0] - _draw()[1]).abs().mean() > 20
    assert (_draw() - _draw(seed=1)).abs().mean() > 20


def test_a_chest_has_air_lungs_soft_tissue_and_bone():
    x = _draw(20)
    assert x.shape == (20, 1, 64, 64) and x.dtype == torch.float32
    assert (x[..., 0, :] == -1000).all() and (x[..., 0] == -1000).all()
    shares = {
        "air": (x < -990), "lung": (x > -990) & (x < -600), "soft": (x > -150) & (x < 150), "bone": x > 200
    }  # fmt: skip
    shares = {name: where.float().mean((1, 2, 3)) for name, where in shares.items()}
    assert (shares["air"] > 0.4).all() and (shares["lung"] > 0.04).all()
    assert (shares["soft"] > 0.12).all() and (shares["bone"] > 0.005).all()


def test_size_changes_the_pixels_and_not_the_chest():
    small, large = _draw(3, 32), _draw(3, 128)
    difference = torch.nn.functional.avg_pool2d(large, 4) - small
    assert difference.abs().mean() < 8 and abs(difference.mean()) < 1  # HU; edges are sampled more coarsely


@pytest.mark.parametrize("count, size", [(0, 64), (2, -1), (2.0, 64)])
def test_bad_input_is_named(count, size):
    with pytest.raises(InvalidInput, match="positive whole number"):
        thorax(count, size, np.random.default_rng(0))
