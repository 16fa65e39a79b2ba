"""Coarse and detail volumes: sizes, exact inversion, PyWavelets' low-pass volumes, the paper's setting."""

import numpy as np
import pytest
import pywt
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes.coefficients import OFFICIAL, Pyramid
from wavelab.shapes.parametric import shape
from wavelab.shapes.tsdf import occupancy_iou


def _random(size, dtype=torch.float64):
    return torch.randn(2, 1, size, size, size, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("mode", ["periodic", "zero"])
@pytest.mark.parametrize("wavelet", ["haar", "bior6.8", "bior4.4", "sym4", "bior2.2"])
def test_every_pyramid_is_inverted_exactly(wavelet, mode):
    pyramid, x = Pyramid(32, 2, wavelet, mode), _random(32)
    coarse, residuals = pyramid.decompose(x)
    assert [r.shape[-1] for r in residuals] == list(pyramid.sizes[-2::-1])
    torch.testing.assert_close(pyramid.compose(coarse, residuals), x, rtol=0, atol=1e-10)
    low, detail = pyramid.split(x)
    torch.testing.assert_close(low, coarse)
    torch.testing.assert_close(detail, residuals[0])
    torch.testing.assert_close(pyramid.join(low, detail), pyramid.compose(coarse, residuals[:1]))


@pytest.mark.parametrize(("mode", "padding"), [("periodic", "periodization"), ("zero", "zero")])
def test_coarse_volumes_are_those_of_pywavelets(mode, padding):
    x = _random(32)
    coarse = Pyramid(32, 2, "bior4.4", mode).split(x)[0]
    with pytest.warns(UserWarning, match="Level value"):
        wanted = pywt.wavedecn(x[0, 0].numpy(), "bior4.4", padding, level=2)[0]
    np.testing.assert_allclose(coarse[0, 0].numpy(), wanted, atol=1e-10)


def test_coarse_and_detail_are_the_finer_low_pass_volume():
    """Two volumes hold what the low-pass volume one level finer holds, no more and no less."""
    pyramid, x = Pyramid(64, 2), _random(64)
    coarse, detail = pyramid.split(x)
    finer = Pyramid(64, 1).split(x)[0]
    torch.testing.assert_close(pyramid.upsample(coarse) + detail, finer)
    torch.testing.assert_close(pyramid.join(coarse, detail), Pyramid(64, 1).join(finer))


def test_a_constant_grows_by_the_gain():
    pyramid = Pyramid(64, 2)
    coarse, detail = pyramid.split(torch.full((1, 1, 64, 64, 64), 0.2, dtype=torch.float64))
    torch.testing.assert_close(coarse, torch.full_like(coarse, 0.2 * pyramid.gain))
    assert detail.abs().max() < 1e-12 and pyramid.gain == pytest.approx(8)


def test_cubic_samples_and_splines_are_exact_for_cubic_polynomials():
    pyramid = Pyramid(32, 2, "cubic")

    def polynomial(n):
        x = torch.linspace(-1, 1, n, dtype=torch.float64)
        p = 1 + x - 2 * x**2 + 3 * x**3
        return (p[:, None, None] * p[:, None] + p)[None, None]

    coarse, detail = pyramid.split(polynomial(32))
    assert pyramid.gain == 1 and pyramid.sizes == (32, 16, 8)
    torch.testing.assert_close(coarse, polynomial(8))
    torch.testing.assert_close(pyramid.upsample(coarse), polynomial(16))
    torch.testing.assert_close(detail, torch.zeros_like(detail), atol=1e-10, rtol=0)


def test_gradients_pass():
    pyramid, x = Pyramid(8, 1, "bior2.2"), _random(8).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: pyramid.split(v), x)
    coarse, detail = (v.detach().requires_grad_() for v in pyramid.split(x))
    assert torch.autograd.gradcheck(pyramid.join, (coarse, detail))


def test_the_setting_of_the_paper():
    """Sizes 136, 76 and 46; three per cent of the coefficients change the distance of a chair by under three."""
    assert OFFICIAL.sizes == (256, 136, 76, 46)
    x = torch.from_numpy(shape("chair", 3).grid(256, 0.1))[None, None]
    coarse, detail = OFFICIAL.split(x)
    assert (coarse.numel() + detail.numel()) / x.numel() == pytest.approx(0.032, abs=0.0005)
    change = float((OFFICIAL.join(coarse, detail) - x).abs().sum() / x.abs().sum())
    assert 0.02 < change < 0.03
    periodic = Pyramid(256, 3)
    assert periodic.sizes == (256, 128, 64, 32)
    without_border = float((periodic.join(*periodic.split(x)) - x).abs().sum() / x.abs().sum())
    assert without_border < 0.15 * change  # most of the change is the border's


def test_what_survives_without_details():
    """bior6.8 keeps more of a chair than Haar, and details bring most of the rest."""
    x = torch.from_numpy(shape("chair", 3).grid(64, 6 * 2 / 63))[None, None]
    kept = {}
    for wavelet in ("haar", "bior6.8"):
        pyramid = Pyramid(64, 2, wavelet)
        coarse, detail = pyramid.split(x)
        kept[wavelet] = [occupancy_iou(pyramid.join(coarse, d), x) for d in (None, detail)]
    assert kept["bior6.8"][0] > kept["haar"][0] + 0.1
    assert kept["bior6.8"][1] > max(kept["bior6.8"][0], 0.85)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Pyramid(64, 2, mode="symmetric"), InvalidInput, "periodic"),
        (lambda: Pyramid(60, 3), InvalidInput, "halved 3 times"),
        (lambda: Pyramid(64, 0), InvalidInput, "levels is 0"),
        (lambda: Pyramid(64, 2, "bior6.9"), UnknownName, "bior6.8"),
        (lambda: Pyramid().split(torch.zeros(1, 1, 32, 32, 32)), InvalidInput, "64, 64, 64"),
        (lambda: Pyramid().join(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 16)), InvalidInput, "detail"),
    ],
)
def test_what_does_not_fit_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
