"""Shrinkages, rules and denoising, against brute force, PyWavelets and scikit-image."""

import math

import numpy as np
import pytest
import pywt
import torch
from skimage.data import camera
from skimage.restoration import denoise_wavelet, estimate_sigma

from wavelab import thresholds, wavelets
from wavelab.errors import InvalidInput, UnknownName
from wavelab.filterbank import noise_gains

VALUES = torch.linspace(-3, 3, 61, dtype=torch.float64)


def _noise(shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(scope="module")
def photo():
    return torch.as_tensor(camera()[::2, ::2] / 255.0)


@pytest.mark.parametrize("name", ["soft", "hard", "garrote"])
@pytest.mark.parametrize("tau", [0.0, 0.55, 2.05])
def test_shrinkages_equal_pywavelets(name, tau):
    ours = getattr(thresholds, name)(VALUES, tau)
    with np.errstate(all="ignore"):
        theirs = pywt.threshold(VALUES.numpy(), tau, name)
    np.testing.assert_allclose(ours, np.nan_to_num(theirs), atol=1e-12)


def test_soft_is_the_proximal_operator_of_the_absolute_value():
    u = torch.linspace(-4, 4, 80001, dtype=torch.float64)
    for x in (-2.3, -0.4, 0.0, 0.9, 3.0):
        best = u[(0.5 * (u - x) ** 2 + 0.8 * u.abs()).argmin()]
        assert abs(best - thresholds.soft(torch.tensor(x), 0.8)) < 1e-4


@pytest.mark.parametrize("name", ["soft", "hard", "garrote"])
def test_shrinkages_are_differentiable(name):
    x = torch.tensor([-2.0, -0.3, 0.4, 1.7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: getattr(thresholds, name)(v, 1.0), x)


def test_thresholds_broadcast_over_bands():
    x = torch.ones(2, 3, 4, 4)
    tau = torch.tensor([0.25, 0.5, 2.0]).reshape(3, 1, 1)
    assert thresholds.soft(x, tau)[0, :, 0, 0].tolist() == [0.75, 0.5, 0.0]


def test_mad_finds_the_noise_level(photo):
    for sigma, bias in ((0.05, 0.2), (0.2, 0.03)):  # weak noise hides among the picture's own details
        noisy = photo + sigma * _noise(photo.shape, 1)
        found = thresholds.mad(wavelets.dwt(noisy, "db2")[1][0][2])
        assert abs(found / sigma - 1) < bias
        assert abs(found / estimate_sigma(noisy.numpy()) - 1) < 0.02
    assert thresholds.mad(torch.tensor([[1.0, 2.0, 3.0, 10.0]])) == pytest.approx(2.5 / thresholds.MEDIAN)


def test_universal_is_rarely_exceeded():
    n = 4096
    largest = _noise((500, n), 2).abs().amax(1)
    tau = thresholds.universal(1.0, n)
    assert tau == pytest.approx(math.sqrt(2 * math.log(n)))
    expected = 1 - math.erf(tau / math.sqrt(2)) ** n
    share = (largest > tau).double().mean()
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 500)


@pytest.mark.parametrize("sigma", [1.0, 0.3])
def test_sure_equals_brute_force(sigma):
    clean = torch.zeros(3, 16, 16, dtype=torch.float64)
    clean[:, :4] = torch.tensor([0.0, 2.0, 8.0]).reshape(3, 1, 1)
    detail = sigma * (clean + _noise(clean.shape, 3))
    found = thresholds.sure(detail, sigma)
    assert found.shape == (3, 1, 1)
    for band, tau in zip(detail / sigma, found.flatten() / sigma, strict=True):
        w = band.abs().flatten()
        candidates = torch.cat([torch.zeros(1, dtype=w.dtype), w])
        risks = [len(w) - 2 * (w <= t).sum() + w.clamp_max(t).square().sum() for t in candidates]
        ours = len(w) - 2 * (w <= tau + 1e-12).sum() + w.clamp_max(tau).square().sum()
        assert ours <= min(risks) + 1e-9


def test_sure_estimates_the_risk_without_bias():
    clean = torch.linspace(0, 4, 64, dtype=torch.float64)
    noisy = clean + _noise((20000, 64), 4)
    tau = 1.3
    estimate = 64 - 2 * (noisy.abs() <= tau).sum(1) + noisy.abs().clamp_max(tau).square().sum(1)
    loss = (thresholds.soft(noisy, tau) - clean).square().sum(1)
    difference = estimate - loss
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(20000)


def test_bayes_equals_its_formula_and_kills_pure_noise():
    detail = _noise((2, 64, 64), 5)
    detail[0] *= 3
    detail[1] *= 0.5
    tau = thresholds.bayes(detail, 1.0).flatten()
    assert tau[0] == pytest.approx(1 / math.sqrt(detail[0].square().mean() - 1))
    assert tau[1] == detail[1].abs().max()
    assert thresholds.soft(detail[1], tau[1]).abs().max() == 0


def test_one_noise_level_a_band():
    detail = _noise((3, 8, 8), 6)
    levels = torch.tensor([0.5, 1.0, 2.0])
    for rule in (thresholds.sure, thresholds.bayes):
        together = rule(detail, levels)
        alone = torch.stack([rule(d, float(s)) for d, s in zip(detail, levels, strict=True)])
        torch.testing.assert_close(together, alone)


def _psnr(x, y):
    return float(-10 * torch.log10((x - y).square().mean()))


def test_denoise_is_as_good_as_scikit_image(photo):
    noisy = photo + 0.1 * _noise(photo.shape, 7)
    ours = _psnr(photo, thresholds.denoise(noisy, "db4", 4, sigma=0.1))
    options = {"wavelet": "db4", "wavelet_levels": 4, "method": "BayesShrink", "rescale_sigma": True}
    theirs = _psnr(photo, torch.as_tensor(denoise_wavelet(noisy.numpy(), sigma=0.1, **options)))
    assert abs(ours - theirs) < 0.3
    assert ours > _psnr(photo, noisy) + 5.5


def test_cycle_spinning_helps(photo):
    noisy = photo + 0.1 * _noise(photo.shape, 8)
    plain, spun = (_psnr(photo, thresholds.denoise(noisy, "haar", 3, shifts=s)) for s in (1, 8))
    assert spun > plain + 1


def test_all_shifts_make_it_shift_invariant(photo):
    noisy = photo[:32, :32] + 0.1 * _noise((32, 32), 9)
    options = {"wavelet": "haar", "levels": 2, "rule": "universal", "sigma": 0.1, "shifts": 4, "margin": 0}
    moved = thresholds.denoise(noisy.roll((1, 3), (0, 1)), **options)
    torch.testing.assert_close(moved, thresholds.denoise(noisy, **options).roll((1, 3), (0, 1)))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("rule", ["universal", "sure", "bayes"])
@pytest.mark.parametrize("shrinkage", ["soft", "hard", "garrote"])
def test_denoise_every_choice_on_batches(dims, rule, shrinkage):
    y = _noise((2, 3) + (16,) * dims, 10, torch.float32)
    x = thresholds.denoise(y, "db2", 2, rule=rule, shrinkage=shrinkage, dims=dims)
    assert x.shape == y.shape
    assert x.dtype == y.dtype
    assert x.square().mean() < y.square().mean()
    alone = thresholds.denoise(y[1, 2], "db2", 2, rule=rule, shrinkage=shrinkage, dims=dims)
    torch.testing.assert_close(x[1, 2], alone, atol=1e-5, rtol=1e-4)


def test_one_noise_level_an_image(photo):
    noisy = torch.stack([photo + s * _noise(photo.shape, 11) for s in (0.05, 0.2)])
    both = thresholds.denoise(noisy, sigma=torch.tensor([0.05, 0.2]))
    torch.testing.assert_close(both[1], thresholds.denoise(noisy[1], sigma=0.2))


def test_biorthogonal_noise_is_known_in_every_band():
    noise = _noise((8, 128, 128), 12)
    kept = thresholds.denoise(noise, "bior2.2", 3, rule="universal", sigma=1.0, shrinkage="hard", margin=0)
    approx, _ = wavelets.dwt(noise, "bior2.2", 3)
    empty = [torch.zeros(8, 3, 16 << j, 16 << j, dtype=torch.float64) for j in range(3)]
    smooth = wavelets.idwt(approx, empty, "bior2.2")
    assert (kept - smooth).square().mean() < 1e-3  # 0.02 if all bands counted alike
    found = thresholds.mad(wavelets.dwt(noise, "bior2.2")[1][0][:, 2]) / noise_gain_hh("bior2.2")
    assert (found - 1).abs().max() < 0.05


def noise_gain_hh(wavelet):
    return noise_gains(wavelet, 1)[0][-1]


@pytest.mark.parametrize("rule", thresholds.RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_picture_without_noise_stays(rule, dtype):
    flat = torch.full((64, 64), 0.7, dtype=dtype)
    square = torch.zeros(64, 64, dtype=dtype)
    square[20:44, 20:44] = 1
    for picture in (flat, square):
        torch.testing.assert_close(thresholds.denoise(picture, "db4", 4, rule=rule), picture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shrink", thresholds.SHRINKAGES.values())
@pytest.mark.parametrize("x", [torch.tensor([-3, 1, 2], dtype=torch.int16), np.ones(3)])
def test_shrinkage_wants_floats(shrink, x):
    with pytest.raises(InvalidInput, match="expected a floating-point tensor"):
        shrink(x, 1.9)


def test_bad_input():
    y = torch.ones(32, 32)
    for options, message in (
        ({"sigma": 0.0}, "noise level is 0"),
        ({"sigma": float("nan")}, "noise level"),
        ({"shifts": 0}, "shifts is 0"),
        ({"margin": 5}, "margin is 5"),
        ({"margin": 64}, "margin is 64"),
        ({"levels": 0}, "levels is 0"),
        ({"sigma": torch.ones(5)}, "sigma has shape"),
    ):
        with pytest.raises(InvalidInput, match=message):
            thresholds.denoise(y, **options)
    with pytest.raises(InvalidInput, match="nearest valid size"):
        thresholds.denoise(torch.ones(30, 32))
    with pytest.raises(UnknownName, match="'bayes'"):
        thresholds.denoise(y, rule="bays")
    with pytest.raises(UnknownName, match="'garrote'"):
        thresholds.denoise(y, shrinkage="garotte")
    with pytest.raises(InvalidInput, match="not negative"):
        thresholds.soft(y, -1.0)
    with pytest.raises(InvalidInput, match="not negative"):
        thresholds.hard(y, float("nan"))
    with pytest.raises(InvalidInput, match="at least 1"):
        thresholds.universal(1.0, 0)
