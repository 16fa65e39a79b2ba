"""The metrics against scikit-image, SciPy and closed forms; their errors."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import skimage.metrics
import torch

from wavelab import metrics
from wavelab.errors import InvalidInput, UnknownName


def _noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _covariance(d, rng, rank=None):
    factor = rng.normal(size=(d, rank or 2 * d))
    return factor @ factor.T / d


def test_psnr_and_ssim_are_scikit_images_on_each_picture():
    reference = _noise(3, 2, 24, 32)
    x = reference + 0.3 * _noise(3, 2, 24, 32, seed=1)
    pairs = list(zip(x.numpy().astype(float), reference.numpy().astype(float)))
    psnr = [skimage.metrics.peak_signal_noise_ratio(b, a, data_range=6.0) for a, b in pairs]
    options = {"channel_axis": 0, "data_range": 6.0, "gaussian_weights": True, "use_sample_covariance": False}
    ssim = [skimage.metrics.structural_similarity(b, a, sigma=1.5, **options) for a, b in pairs]
    np.testing.assert_allclose(metrics.psnr(x, reference, 6.0, each=True), psnr, rtol=1e-12)
    np.testing.assert_allclose(metrics.ssim(x, reference, 6.0, each=True), ssim, rtol=1e-12)
    assert metrics.psnr(x, reference, 6.0) == pytest.approx(np.mean(psnr))
    assert metrics.ssim(x.numpy(), reference.numpy(), 6.0) == pytest.approx(np.mean(ssim))


@pytest.mark.parametrize("complex_", [np.full((1, 1, 16, 16), 1j), torch.full((1, 1, 16, 16), 1j)])
def test_complex_pictures_are_refused(complex_):
    with pytest.raises(InvalidInput, match="complex; expected real numbers"):
        metrics.psnr(np.zeros((1, 1, 16, 16)), complex_)


def test_psnr_of_a_known_error_and_of_none():
    flat = np.zeros((8, 8))
    assert metrics.psnr(flat + 0.1, flat, 1.0) == pytest.approx(20.0)
    assert metrics.psnr(flat + 0.1, flat, 10.0) == pytest.approx(40.0)
    assert metrics.psnr(flat, flat) == np.inf
    volume = np.random.default_rng(0).random((12, 12, 12))
    assert metrics.ssim(volume, volume, dims=3) == pytest.approx(1.0)


def test_spectrum_of_a_wave_and_of_noise():
    u = np.arange(32)
    wave = np.cos(2 * np.pi * 3 * u / 32)[None, :] * np.ones((32, 1))
    spectrum = metrics.power_spectrum(wave)
    assert spectrum[0, 3] == spectrum[0, -3] == pytest.approx(32**2 / 4)
    assert spectrum.sum() == pytest.approx(32**2 / 2)
    x = _noise(50, 2, 16, 16)
    np.testing.assert_allclose(metrics.power_spectrum(x).mean(), x.square().mean(), rtol=1e-6)
    by_hand = (np.abs(np.fft.fft2(x.double().numpy())) ** 2).mean((0, 1)) / 256
    np.testing.assert_allclose(metrics.power_spectrum(x), by_hand, rtol=1e-10)
    np.testing.assert_allclose(metrics.power_spectrum(x[:, :, 0], 1).shape, (16,))


@pytest.mark.parametrize("space", [(32,), (32, 32), (33, 33), (16, 16, 16), (16, 32)])
def test_radial_average_reads_off_a_function_of_the_frequency(space):
    side = max(space)
    axes = np.meshgrid(*(np.fft.fftfreq(n) * side for n in space), indexing="ij")
    shell = np.rint(np.sqrt(sum(f**2 for f in axes)))
    k, profile = metrics.radial(1 / (1 + shell))
    np.testing.assert_array_equal(k, np.arange(side // 2 + 1))
    np.testing.assert_allclose(profile, 1 / (1 + k))


def test_frechet_equals_scipys_square_roots_and_the_commuting_case():
    rng = np.random.default_rng(0)
    a, b, m = _covariance(6, rng), _covariance(6, rng), rng.normal(size=6)
    root = scipy.linalg.sqrtm(a)
    expected = m @ m + np.trace(a + b - 2 * scipy.linalg.sqrtm(root @ b @ root)).real
    assert metrics.frechet(m, a, np.zeros(6), b) == pytest.approx(expected, rel=1e-10)
    assert metrics.frechet(np.zeros(6), b, torch.from_numpy(m), torch.from_numpy(a)) == pytest.approx(expected)
    s, t = rng.random(5), rng.random(5)
    assert metrics.frechet(s, np.diag(s**2), t, np.diag(t**2)) == pytest.approx(2 * ((s - t) ** 2).sum())


def test_frechet_takes_singular_covariances_and_many_at_once():
    rng = np.random.default_rng(1)
    thin = _covariance(8, rng, rank=3)
    assert metrics.frechet(np.zeros(8), thin, np.zeros(8), thin) < 1e-6
    covariances = np.stack([_covariance(4, rng) for _ in range(6)]).reshape(2, 3, 4, 4)
    means = rng.normal(size=(2, 3, 4))
    values = metrics.frechet(means, covariances, 0 * means, covariances)
    np.testing.assert_allclose(values, np.square(means).sum(-1), rtol=1e-6)


def test_wavelet_distance_is_zero_to_itself_and_sees_a_shift_exactly():
    x = _noise(60, 2, 16, 16)
    distance = metrics.FrechetWavelet(x, levels=2)
    assert distance(x) < 1e-8
    shift = metrics.FrechetWavelet(x, levels=2).each(x + 0.5)
    # Only the lowest Haar packet sees a constant: 0.5 * 2**2 in each of its 2 * 4 * 4 coefficients.
    np.testing.assert_allclose(shift, [32 * 4.0, *[0.0] * 15], atol=1e-6)
    assert metrics.frechet_wavelet(x + 0.5, x, levels=2) == pytest.approx(8.0)


def test_wavelet_distance_of_scaled_noise_is_the_closed_form():
    x = _noise(4000, 1, 8, 8)
    # N(0, I) against N(0, 4 I): (2 - 1)^2 for each of the 2 * 2 coefficients a packet.
    assert metrics.frechet_wavelet(2 * _noise(4000, 1, 8, 8, seed=1), x, levels=2) == pytest.approx(4.0, rel=0.03)


def test_relative_wavelet_distance_weighs_every_packet_alike():
    x = _noise(300, 1, 16, 16).cumsum(-1)  # packets of very different variance
    x = x - x.mean(0)
    judge = metrics.FrechetWavelet(x, levels=2)
    assert judge(3 * x, relative=True) == pytest.approx(4.0)  # (3 - 1)^2 in units of each packet's variance
    np.testing.assert_allclose(judge.each(0 * x, relative=True), 1)
    low = metrics.FrechetWavelet(np.kron(x[:, :, ::4, ::4], np.ones((4, 4))), levels=2)
    with pytest.raises(InvalidInput, match="does not vary in packet"):
        low(x, relative=True)


def test_wavelet_distance_of_halves_shrinks_as_one_over_n():
    x = _noise(3200, 1, 16, 16)
    halves = [metrics.frechet_wavelet(x[:n], x[n : 2 * n], levels=2) for n in (100, 400, 1600)]
    ratios = np.array(halves[:-1]) / halves[1:]
    np.testing.assert_allclose(ratios, 4, rtol=0.15)  # the bias of finite sets
    d = 16
    assert halves[-1] == pytest.approx(d * (d + 5) / (2 * 1600), rel=0.05)  # means 2d/n, covariances d (d + 1) / (2n)


def test_histogram_distance_of_disjoint_equal_and_shifted_values():
    values = np.linspace(0, 1, 1000)
    assert metrics.histogram_distance(values, values) == 0
    assert metrics.histogram_distance(values + 5, values) == pytest.approx(1 - 1 / 64, abs=2e-3)
    assert metrics.histogram_distance(values + 0.25, values, bins=100) == pytest.approx(0.25, abs=2e-3)
    n = 200_000
    noise = [torch.rand(n, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert metrics.histogram_distance(*noise) == pytest.approx((64 / np.pi / n) ** 0.5, rel=0.3)


def test_nearest_finds_planted_copies():
    reference = _noise(300, 1, 8, 8)
    x = torch.cat([reference[[7, 250]], reference[[3]] + 0.1])
    distance, index = metrics.nearest(x, reference, k=2)
    np.testing.assert_array_equal(index[:, 0], [7, 250, 3])
    np.testing.assert_allclose(distance[:, 0], [0, 0, 0.1], atol=1e-7)
    brute = np.sqrt(np.square(x.numpy()[:, None] - reference.numpy()[None]).mean((2, 3, 4)))
    np.testing.assert_allclose(distance, np.sort(brute, 1)[:, :2], atol=1e-6)


def test_interval_is_students():
    values = np.array([1.0, 2.0, 4.0, 8.0])
    result = metrics.interval(values, 0.9)
    low, high = scipy.stats.t.interval(0.9, 3, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose(result, [3.75, low, high])


def test_bootstrap_interval_covers_and_repeats():
    rng = np.random.default_rng(0)
    result = [metrics.bootstrap(rng.normal(size=40), np.mean, rng, 0.9, 200) for _ in range(100)]
    covered = np.mean([r.low < 0 < r.high for r in result])
    assert 0.78 <= covered <= 0.97
    again = [metrics.bootstrap(np.arange(9.0), np.median, np.random.default_rng(3)) for _ in range(2)]
    assert again[0] == again[1] and again[0].value == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.psnr(np.zeros((8, 8)), np.zeros((8, 9))), r"\(1, 1, 8, 9\)"),
        (lambda: metrics.psnr(np.zeros((8, 8)), np.zeros((8, 8)), 0.0), "data_range"),
        (lambda: metrics.psnr(np.zeros((2, 8, 8)), np.zeros((2, 8, 8))), "channels"),
        (lambda: metrics.ssim(np.zeros((8, 8)), np.zeros((8, 8))), "11"),
        (lambda: metrics.power_spectrum(np.full((8, 8), np.nan)), "NaN"),
        (lambda: metrics.power_spectrum("picture"), "str"),
        (lambda: metrics.radial(3.0), "shape"),
        (lambda: metrics.frechet([0, 0], np.eye(2), [0, 0, 0], np.eye(3)), r"\(3,\)"),
        (lambda: metrics.frechet([0, 0], np.diag([1, -1]), [0, 0], np.eye(2)), "eigenvalue -1"),
        (lambda: metrics.frechet([0, 0], [[1, 1], [0, 1]], [0, 0], np.eye(2)), "cov1 is not symmetric"),
        (lambda: metrics.frechet([0, 0], np.eye(2), [0, 0], np.ones(2)), "cov2"),
        (lambda: metrics.frechet_wavelet(_noise(3, 1, 8, 8), _noise(3, 1, 16, 16), levels=1), "coefficients"),
        (lambda: metrics.frechet_wavelet(_noise(1, 1, 8, 8), _noise(3, 1, 8, 8), levels=1), "at least two"),
        (lambda: metrics.frechet_wavelet(_noise(3, 1, 12, 12), _noise(3, 1, 12, 12)), "multiple of 8"),
        (lambda: metrics.histogram_distance([1.0], [2.0, 2.0]), "varies"),
        (lambda: metrics.nearest(_noise(3, 4), _noise(3, 5)), "reference"),
        (lambda: metrics.nearest(_noise(3, 4), _noise(3, 4), k=4), "at least k"),
        (lambda: metrics.interval([1.0]), "two"),
        (lambda: metrics.interval([1.0, 2.0], 95), "95"),
        (lambda: metrics.bootstrap([1.0], np.mean, np.random.default_rng()), "two"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_unknown_wavelet():
    with pytest.raises(UnknownName, match="haarr"):
        metrics.FrechetWavelet(_noise(3, 1, 8, 8), 1, "haarr")
