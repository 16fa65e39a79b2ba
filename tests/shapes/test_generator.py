"""Generator and detail predictor: scaling, losses with known minima, samplers with an exact model, bad input."""

import math

import pytest
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes import detail, generator
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.detail import DetailPredictor
from wavelab.shapes.generator import PROCESS, Scaling
from wavelab.shapes.parametric import shape
from wavelab.training import Training, train

PYRAMID, REACH = Pyramid(32, 2), 0.3


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def volumes():
    x = torch.stack([torch.from_numpy(shape("chair", k).grid(32, REACH)) for k in range(6)])[:, None]
    return PYRAMID.split(x)


def test_scaled_volumes_have_unit_size_and_empty_space_is_zero(volumes):
    scaling = Scaling.of_coarse(volumes[0], PYRAMID, REACH)
    scaled = scaling.apply(volumes[0])
    assert scaled.square().mean().sqrt() == pytest.approx(1, rel=1e-5)
    assert scaled[..., 0, 0, 0].abs().median() < 0.01
    torch.testing.assert_close(scaling.undo(scaled), volumes[0])
    assert Scaling.of_detail(volumes[1]).apply(volumes[1]).square().mean().sqrt() == pytest.approx(1, rel=1e-5)


class _Gaussian(torch.nn.Module):
    """The exact noise prediction for white Gaussian volumes of variance s²."""

    def __init__(self, s):
        super().__init__()
        self.s = torch.nn.Parameter(torch.tensor(float(s)))

    def forward(self, x, log_noise, cond=None):
        """x arrives at unit variance if the data has; ε = σ x_t / (α² s² + σ²)."""
        share = torch.sigmoid(2 * log_noise.double()).to(x)[:, None, None, None, None]  # σ² where α² + σ² = 1
        return share.sqrt() * x / ((1 - share) * self.s**2 + share)


@pytest.mark.parametrize("sampler", generator.SAMPLERS)
def test_samplers_draw_what_an_exact_model_knows(sampler):
    drawn = generator.sample(_Gaussian(0.5), Scaling(3.0, 2.0), 24, 8, _generator(), sampler=sampler, batch=10)
    assert drawn.shape == (24, 1, 8, 8, 8)
    assert drawn.mean() == pytest.approx(3.0, abs=0.05) and drawn.std() == pytest.approx(1.0, rel=0.1)


def test_inversion_finds_the_noise_behind_a_volume():
    scaling, volumes = Scaling(3.0, 2.0), 3 + torch.randn(3, 1, 8, 8, 8, generator=_generator(4))
    noise = generator.invert(_Gaussian(0.5), scaling, volumes, steps=500, batch=2)
    torch.testing.assert_close(noise, (volumes - 3) / 2 / 0.5, rtol=0.02, atol=0.02)  # the flow stretches every value
    back = generator.sample(_Gaussian(0.5), scaling, 3, 8, _generator(), steps=500, sampler="ddim", start=noise)
    torch.testing.assert_close(back, volumes, rtol=0, atol=0.05)
    with pytest.raises(InvalidInput, match="1 to 1000"):
        generator.invert(_Gaussian(0.5), scaling, volumes, steps=0)


def test_the_loss_is_least_at_the_exact_model():
    x = 0.5 * torch.randn(64, 1, 8, 8, 8, generator=_generator(1))
    found = {s: float(generator.loss(_Gaussian(s), x, _generator(2)).detach()) for s in (0.3, 0.5, 0.8)}
    assert found[0.5] < min(found[0.3], found[0.8])


def test_ddim_follows_its_start_and_interpolation_keeps_the_norm():
    a, b = (torch.randn(1, 8, 8, 8, generator=_generator(k)) for k in (3, 4))
    path = generator.interpolate(a, b, 5)
    torch.testing.assert_close(path[0], a)
    torch.testing.assert_close(path[-1], b)
    assert path[2].norm() == pytest.approx(math.sqrt(512), rel=0.1)
    options = {"sampler": "ddim", "steps": 10, "start": path}
    one, two = (generator.sample(_Gaussian(0.5), Scaling(0, 1), 5, 8, _generator(k), **options) for k in (5, 6))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize(("wavelet", "alike"), [("haar", True), ("bior6.8", False)])
def test_why_volumes_are_not_mirrored(wavelet, alike):
    chair = torch.from_numpy(shape("chair", 1).grid(32, REACH))[None, None]
    coarse = Pyramid(32, 2, wavelet).split(chair)[0]
    turned = Pyramid(32, 2, wavelet).split(chair.flip(2))[0].flip(2)
    off = (coarse - turned).square().mean().sqrt() / (coarse - coarse.max()).square().mean().sqrt()
    assert (off < 1e-3) if alike else (off > 0.1)


@pytest.mark.parametrize("upsampling", detail.UPSAMPLING)
def test_the_predictor_learns_details(volumes, tmp_path, upsampling):
    coarse, wanted = volumes
    scalings = Scaling.of_coarse(coarse, PYRAMID, REACH), Scaling.of_detail(wanted)
    predictor = DetailPredictor(PYRAMID, *scalings, upsampling, noise=0.05)
    net = detail.network(4, (1, 2))
    train(net, predictor.loss(), (coarse, wanted), Training(60, 4, 5e-3), tmp_path, progress=False)
    found = predictor.predict(net, coarse, batch=4)
    assert found.shape == wanted.shape
    assert (found - wanted).square().mean() < 0.7 * wanted.square().mean()


def test_a_model_that_knows_the_details_has_no_loss(volumes):
    coarse, wanted = volumes
    predictor = DetailPredictor(PYRAMID, Scaling(0.0, 1.0), Scaling(0.0, 1.0), noise=0.0)

    class Known(torch.nn.Module):
        def forward(self, x, log_noise):
            which = torch.cdist(x.flatten(1), PYRAMID.upsample(coarse).flatten(1)).argmin(1)
            return wanted[which]

    assert float(predictor.loss()(Known(), (coarse, wanted), _generator())) == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda net: generator.sample(net, Scaling(0, 1), 2, 8, _generator(), sampler="heun"), UnknownName, "ddim"),
        (lambda net: generator.sample(net, Scaling(0, 1), 2, 8, _generator(), steps=0), InvalidInput, "1 to 1000"),
        (
            lambda net: generator.sample(net, Scaling(0, 1), 2, 8, _generator(), start=torch.zeros(2, 1, 4, 4, 4)),
            InvalidInput,
            "start has the shape",
        ),
        (lambda net: Scaling.of_coarse(torch.full((1, 1, 8, 8, 8), 2.4), PYRAMID, 0.3), InvalidInput, "empty"),
        (lambda net: DetailPredictor(PYRAMID, Scaling(0, 1), Scaling(0, 1), "linear"), InvalidInput, "nearest"),
        (lambda net: DetailPredictor(PYRAMID, Scaling(0, 1), Scaling(0, 1), noise=-1), InvalidInput, "noise is -1"),
    ],
)
def test_what_cannot_be_done_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(_Gaussian(1.0))


def test_networks_fit_their_volumes():
    assert PROCESS.T == 1000
    assert generator.network(8, (1, 2))(torch.zeros(2, 1, 8, 8, 8), torch.zeros(2)).shape == (2, 1, 8, 8, 8)
    paper = sum(p.numel() for p in generator.network(64, (1, 2, 2, 2), 3).parameters())
    assert 20e6 < paper < 45e6
