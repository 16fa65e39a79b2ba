"""Losses on noisy images against Gaussian images, for which the best network is a known filter."""

import math

import pytest
import torch

from wavelab.diffusion import VE
from wavelab.errors import InvalidInput
from wavelab.medical import wavelet_sgm as sgm
from wavelab.medical.mwcnn import MWCNN
from wavelab.networks import UNet, build

PROCESS = VE(sigma_min=0.01, sigma_max=10.0)
SIZE = 16


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _frequencies():
    f = torch.fft.fftfreq(SIZE) * 2 * math.pi
    return torch.hypot(f[:, None], f)


IMAGES = 1 / (0.3 + _frequencies()) ** 2  # power of the clean images by frequency
NOISE = 0.02 * _frequencies()  # and of their noise: that of filtered back-projection


def _draw(count, spectrum, seed):
    z = torch.randn(count, 1, SIZE, SIZE, generator=_generator(seed))
    return sgm.filtered(z, spectrum.sqrt())


class Wiener(torch.nn.Module):
    """The best noise estimate for Gaussian images, times ``1 + error`` of a parameter."""

    def __init__(self, power=IMAGES):
        super().__init__()
        self.power, self.error = power, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, log_noise, cond=None):
        sigma = log_noise.exp()[:, None, None, None]
        x_t = x * (1 + sigma**2).sqrt()
        eps = sgm.filtered(x_t, sigma / (self.power + sigma**2)) * (1 + self.error)
        # As a network that predicts v says it: eps = sin x_t / scale + cos v.
        return (eps - sigma / (1 + sigma**2) * x_t) * (1 + sigma**2).sqrt()


def _slope(loss, batch, repeats=20):
    """Mean of d loss / d error over fresh draws of images, noise and levels, in units of its standard error."""
    model, slopes = Wiener(), []
    for seed in range(repeats):
        (slope,) = torch.autograd.grad(loss(model, batch(seed), _generator(1000 + seed)), model.error)
        slopes.append(slope)
    slopes = torch.stack(slopes)
    return float(slopes.mean() / (slopes.std() / repeats**0.5))


def _clean(seed):
    return _draw(100, IMAGES, seed)


def _noisy(seed):
    return _clean(seed) + _draw(100, NOISE, 500 + seed)


def test_noise_estimate_undoes_the_prediction_of_v():
    x_t, sigma = torch.randn(3, 1, SIZE, SIZE, generator=_generator()), torch.tensor([0.1, 1.0, 3.0])
    expected = sgm.filtered(x_t, sigma[:, None, None, None] / (IMAGES + sigma[:, None, None, None] ** 2))
    torch.testing.assert_close(sgm.noise_estimate(Wiener(), PROCESS, x_t, sigma), expected, atol=1e-5, rtol=1e-4)


def test_the_clean_score_is_the_minimum_on_clean_images_and_not_on_noisy_ones():
    loss = sgm.score_loss(PROCESS, 0.05, 1.0)
    assert abs(_slope(loss, _clean)) < 4
    assert _slope(loss, _noisy) > 10  # less of what is there should be called noise: some of it is in the images


def test_relabelling_finds_the_clean_score_from_images_with_coloured_noise():
    assert abs(_slope(sgm.relabel_loss(PROCESS, 0.05, 1.0, NOISE), _noisy)) < 4
    assert abs(_slope(sgm.relabel_loss(PROCESS, 0.05, 1.0, float(NOISE.mean())), _noisy)) > 6


def test_relabelling_white_noise_is_the_printed_identity():
    """D(x, sigma) = x + sigma^2 / (sigma^2 - s^2) (D_noisy(x, tau) - x) for the best filters of both."""
    s, sigma = 0.3, 0.5
    tau, x = math.sqrt(sigma**2 - s**2), _draw(2, IMAGES, 0)
    d_noisy = sgm.filtered(x, (IMAGES + s**2) / (IMAGES + s**2 + tau**2))
    d_clean = sgm.filtered(x, IMAGES / (IMAGES + sigma**2))
    torch.testing.assert_close(x + sigma**2 / tau**2 * (d_noisy - x), d_clean, atol=1e-5, rtol=1e-4)


def test_hybrid_learns_the_clean_score_at_all_levels_when_its_estimates_are_clean():
    loss = sgm.relabel_loss(PROCESS, 0.02, 1.0, NOISE, clean=True, border=1.2)
    assert abs(_slope(loss, lambda seed: (_noisy(seed), _clean(seed)))) < 4
    assert _slope(loss, lambda seed: (_noisy(seed), _noisy(seed))) > 10


def test_noise_spectrum_is_recovered():
    found = sgm.noise_spectrum(_draw(4000, NOISE, 3))
    torch.testing.assert_close(found, NOISE, rtol=0.12, atol=1e-6)
    assert found.mean() == pytest.approx(float(_draw(4000, NOISE, 3).square().mean()), rel=1e-3)


class Shrink(torch.nn.Module):
    """A linear denoiser with one parameter."""

    def __init__(self, gain):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def forward(self, y):
        return self.gain * y - 0.1 * y**2


@pytest.mark.parametrize("gain", [0.4, 0.9])
def test_stein_estimates_the_error_under_coloured_noise(gain):
    x, n = _draw(3000, IMAGES, 0), _draw(3000, 4 * NOISE, 1)
    loss = sgm.sure_loss(
        lambda batch, g: sgm.filtered(torch.randn(batch[0].shape, generator=g), (4 * NOISE).sqrt()), 1e-3
    )
    model = Shrink(gain)
    with torch.no_grad():
        true = (model(x + n) - x).square().mean()
        estimate = loss(model, (x + n,), _generator(5)) - 4 * NOISE.mean()
    assert float(estimate) == pytest.approx(float(true), rel=0.02)


def test_recorrupted_loss_is_the_supervised_one_at_higher_noise():
    x, n = _draw(4000, IMAGES, 0), _draw(4000, 4 * NOISE, 1)
    loss = sgm.recorrupted_loss(
        lambda batch, g: sgm.filtered(torch.randn(batch[0].shape, generator=g), (4 * NOISE).sqrt())
    )
    noisier = x + _draw(4000, 5 * NOISE, 7)  # (1 + 0.5**2) times the variance
    difference = [  # to the supervised loss
        (loss(model, (x + n,), _generator(5)) - (model(noisier) - x).square().mean()).item()
        for model in (Shrink(0.4), Shrink(0.7), Shrink(1.0))
    ]
    assert max(difference) - min(difference) < 0.03 * difference[0]


def test_feedback_teaches_the_wavelet_network_what_the_reconstruction_says():
    y, target = _draw(8, IMAGES, 0), _draw(8, IMAGES, 1)
    expected = (0.5 * y - 0.1 * y**2 - target).square().mean()
    torch.testing.assert_close(sgm.feedback_loss(Shrink(0.5), (y, target), _generator()), expected)


def test_flips_are_the_same_for_all_tensors_of_a_sample():
    x = _draw(64, IMAGES, 0)
    a, b = sgm.flipped((x, 2 * x), _generator())
    torch.testing.assert_close(b, 2 * a)
    moved = ((a - x).abs().amax((1, 2, 3)) > 0).sum()
    assert 15 < moved < 49


def test_front_end_is_seen_through_or_taken_away():
    net = UNet(1, 1, width=4, mults=(1,), padding="zeros").config
    model = sgm.FrontEnd(net, MWCNN(1, width=4, levels=1).config)
    for parameter in model.score.out.parameters():
        torch.nn.init.normal_(parameter, generator=_generator(1))
    for parameter in model.wavelet.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=_generator(2))
    x, level = _draw(2, IMAGES, 0), torch.zeros(2)
    through = model(x, level)
    model.active = False
    torch.testing.assert_close(model(x, level), model.score(x, level))
    assert not torch.allclose(through, model(x, level))
    assert build(model.config).config == model.config


CALLS = {
    "in order": lambda: sgm.score_loss(PROCESS, 1.0, 0.1),
    "positive": lambda: sgm.score_loss(PROCESS, 0.0, 0.1),
    "spectrum": lambda: sgm.relabel_loss(PROCESS, 0.1, 1.0, -NOISE),
    "no level": lambda: sgm.relabel_loss(PROCESS, 0.1, 1.0, 4.0),
    "border": lambda: sgm.relabel_loss(PROCESS, 0.1, 1.0, NOISE, border=0.5),
    "step": lambda: sgm.sure_loss(None, 0.0),
    "alpha": lambda: sgm.recorrupted_loss(None, -1.0),
}


@pytest.mark.parametrize("words, call", CALLS.items(), ids=CALLS)
def test_bad_input_is_named(words, call):
    with pytest.raises(InvalidInput, match=words):
        call()
