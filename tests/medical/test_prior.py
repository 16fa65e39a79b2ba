"""Deep image prior: better than where it starts, stopped before the noise, reproducible, and bad input."""

import json
import math

import numpy as np
import pytest
import torch

from wavelab import networks
from wavelab.errors import InvalidInput, TrainingDiverged, UnknownName
from wavelab.medical import mri
from wavelab.medical.ct import CT, Parallel, fitted
from wavelab.medical.mri import MRI
from wavelab.medical.phantoms import thorax
from wavelab.medical.prior import PriorNet, deep_image_prior

SMALL = {"width": 8, "levels": 2, "inputs": 4}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed))


def scan(size=16, acceleration=2, real=True):
    return MRI(mri.mask("gaussian", (size, size), acceleration, np.random.default_rng(0)), real)


def measure(physics, x, sigma=0.0, seed=0):
    y = physics.A(x)
    noise = mri.noise(y, sigma, generator(seed)) if y.is_complex() else sigma * draw(*y.shape, seed=seed)
    return y + noise * getattr(physics, "mask", 1)


def error(x, picture):
    return float((x - picture).square().mean())


@pytest.fixture(scope="module")
def picture():
    return (thorax(1, 32, np.random.default_rng(0)) / 1000 + 1).float()


@pytest.fixture
def small():
    """Return a scan of 16 x 16 points and its measurements of a disc."""
    disc = (torch.hypot(*torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 2, indexing="ij")) < 0.6).float()
    return scan(), measure(scan(), disc[None, None], 0.1)


def test_the_fit_beats_its_start_and_stops_before_the_noise(picture):
    physics = scan(32)
    y = measure(physics, picture, 0.5)
    path = []
    fit = deep_image_prior(
        physics, y, generator(1), steps=180, average=0.9, bounds=(0, 1.5), network={"width": 16, "levels": 2},
        callback=lambda step, x: path.append(error(x, picture)),
    )  # fmt: skip
    best = path[fit.step - 1]
    assert error(fit.image, picture) == best < 0.35 * error(physics.least_squares(y), picture)
    assert path[-1] > 1.25 * best  # later pictures are worse, ...
    assert fit.errors[-1, 0] < fit.errors[fit.step - 1, 0]  # ... although they fit the data better
    assert best < 1.5 * min(path)  # of all that there were, one of the good ones


def test_the_fit_beats_filtered_back_projection(picture):
    physics = CT(fitted(Parallel, 32, 1.0, 15))
    y = measure(physics, picture, 2.0)
    fit = deep_image_prior(physics, y, generator(), steps=120, network={"width": 16, "levels": 3})
    assert error(fit.image, picture) < 0.4 * error(physics.fbp(y), picture)


def test_the_first_picture_is_flat_in_the_scans_units():
    physics = scan()
    for unit in (1e-3, 1.0, 1e3):
        x = unit * (2 + 0.1 * draw(1, 1, 16, 16))
        fit = deep_image_prior(physics, measure(physics, x), generator(), steps=1, network=SMALL)
        torch.testing.assert_close(fit.image, x.mean().expand_as(x), rtol=1e-4, atol=0)


def test_units_do_not_matter(small):
    physics, y = small
    one, other = (deep_image_prior(physics, c * y, generator(), steps=15, network=SMALL) for c in (1, 1024))
    torch.testing.assert_close(other.image, 1024 * one.image, rtol=1e-2, atol=10)


def test_bounds_hold_and_are_needed_for_it(small):
    physics, y = small
    free = deep_image_prior(physics, y, generator(), steps=40, network=SMALL, hold_out=0).image
    within = deep_image_prior(physics, y, generator(), steps=40, network=SMALL, hold_out=0, bounds=(0.2, 0.5)).image
    assert free.min() < 0.2 and free.max() > 0.5
    assert within.min() >= 0.2 and within.max() <= 0.5 and within.std() > 0.02


def test_complex_images():
    physics = scan(real=False)
    x = torch.complex(torch.linspace(0, 1, 16).expand(16, 16), torch.linspace(1, 0, 16)[:, None].expand(16, 16))
    y = measure(physics, x[None, None], 0.01)
    fit = deep_image_prior(physics, y, generator(), steps=60, network=SMALL)
    assert fit.image.shape == (1, 1, 16, 16) and fit.image.is_complex()
    flat = (x - x.mean()).abs().square().mean()
    assert (fit.image - x).abs().square().mean() < 0.3 * flat


def test_what_is_held_out_is_not_seen(small):
    physics, y = small
    fit = deep_image_prior(physics, y, generator(), steps=5, network=SMALL, hold_out=0.5)
    # Leave out one measured point after the other: it changes the fit, or it was held out.
    points = physics.mask.nonzero()[::4]
    kept = 0
    for i, j in points.tolist():
        weights = torch.ones(16, 16)
        weights[i, j] = 0
        other = deep_image_prior(physics, y, generator(), steps=2, network=SMALL, hold_out=0.5, weights=weights)
        kept += not torch.equal(other.errors[:, 0], fit.errors[:2, 0])
    assert 0.3 < kept / len(points) < 0.7


def test_the_mean_is_that_of_the_pictures(small):
    physics, y = small
    plain, mean = [], []
    options = {"steps": 12, "network": SMALL, "hold_out": 0}
    deep_image_prior(physics, y, generator(), average=0.0, callback=lambda _, x: plain.append(x), **options)
    fit = deep_image_prior(physics, y, generator(), average=0.5, callback=lambda _, x: mean.append(x), **options)
    expected = plain[0]
    for k, x in enumerate(plain[1:], 1):
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * x
    torch.testing.assert_close(mean[-1], expected)
    assert fit.step == 12 and torch.equal(fit.image, mean[-1]) and fit.errors[:, 1].isnan().all()


def test_held_out_error_is_that_of_the_mean(small):
    physics, y = small
    weights, pictures = physics.mask.float(), []
    weights[6:11, 6:11] = 0  # the middle, which is never held out
    fit = deep_image_prior(
        physics, y, generator(), steps=8, network=SMALL, hold_out=0.99, weights=weights,
        callback=lambda _, x: pictures.append(x),
    )  # fmt: skip
    held = torch.stack([(weights * (physics.A(x) - y).abs().square()).sum() / weights.sum() for x in pictures])
    torch.testing.assert_close(fit.errors[:, 1], held, rtol=0.05, atol=0)  # all but one of the points
    assert fit.step == 1 + int(fit.errors[:, 1].argmin())


def test_the_middle_of_k_space_is_never_held_out():
    physics = MRI(torch.ones(16, 16, dtype=torch.bool), real=False)
    x = torch.full((1, 1, 16, 16), 3 + 4j)
    x = x + 0.1 * torch.complex(draw(1, 1, 16, 16), draw(1, 1, 16, 16, seed=1))
    for seed in range(3):
        fit = deep_image_prior(physics, physics.A(x), generator(seed), steps=3, network=SMALL, hold_out=0.9)
        assert (fit.errors[:, 1] < 0.1).all()  # the zero frequency alone would add 80^2 / 208


def test_the_generator_decides(small):
    physics, y = small
    state = torch.get_rng_state()
    with torch.no_grad():  # the caller's matter only
        first = deep_image_prior(physics, y, generator(), steps=4, network=SMALL).image
    one, same, other = (
        deep_image_prior(physics, y, generator(seed), steps=4, network=SMALL).image for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and torch.equal(one, first) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_size_of_the_network():
    def conv(inputs, outputs, kernel=3):
        return (kernel**2 * inputs + 1) * outputs + 2 * outputs  # with the normalisation behind it

    down = 8 * conv(32, 32)
    up = 3 * conv(36, 32) + conv(32, 32) + 4 * conv(32, 32, 1)
    assert networks.count(PriorNet()) == down + up + 3 * conv(32, 4, 1) + 33 == 120_133


@pytest.mark.parametrize("size", [(16, 16), (19, 22)])
def test_the_network_keeps_the_grid(size):
    model = PriorNet(2, 4, 8, 3)
    with torch.no_grad():
        model.out.weight.fill_(0.1)
    z = draw(1, 4, *size).requires_grad_()
    out = model(z)
    assert out.shape == (1, 2, *size)
    (out * draw(*out.shape, seed=1)).sum().backward()
    assert z.grad.abs().max() > 0
    assert [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0] == []
    assert networks.build(json.loads(json.dumps(model.config))).config == model.config


def test_bad_networks():
    with pytest.raises(InvalidInput, match="levels is 0"):
        PriorNet(levels=0)
    with pytest.raises(InvalidInput, match=r"PriorNet\.down: z has shape \(1, 4, 8, 16\); 4 levels need at least 16"):
        PriorNet(inputs=4)(draw(1, 4, 8, 16))
    with pytest.raises(
        InvalidInput, match=r"PriorNet\.down\[0\]: x has shape \(1, 3, 16, 16\); expected .* 4 channels"
    ):
        PriorNet(inputs=4)(draw(1, 3, 16, 16))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0; give a positive whole number"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"average": 1.0}, "average=1.0"),
        ({"hold_out": 1.0}, "hold_out=1.0"),
        ({"bounds": (1, 0)}, r"bounds is \(1, 0\); give two increasing numbers"),
        ({"weights": torch.ones(7, 7)}, r"weights has shape \(7, 7\); give one that fits y, \(1, 1, 16, 16\)"),
        ({"weights": torch.full((16, 16), -1.0)}, "weights holds negative"),
        ({"weights": torch.zeros(16, 16)}, "No measurement of positive weight"),
    ],
)
def test_impossible_options(small, options, message):
    with pytest.raises(InvalidInput, match=message):
        deep_image_prior(*small, generator(), **options)


def test_bad_measurements(small):
    physics, y = small
    with pytest.raises(InvalidInput, match=r"give the measurements of one image, \(1, 1, \.\.\.\), a call"):
        deep_image_prior(physics, y.repeat(2, 1, 1, 1), generator())
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        deep_image_prior(physics, y * math.nan, generator())
    with pytest.raises(InvalidInput, match="all zero"):
        deep_image_prior(physics, 0 * y, generator())
    with pytest.raises(InvalidInput, match="None for complex images"):
        deep_image_prior(scan(real=False), y, generator(), bounds=(0, 1))
    with pytest.raises(UnknownName, match=r"no option of PriorNet 'widht'\. Did you mean 'width'"):
        deep_image_prior(physics, y, generator(), network={"widht": 8})


def test_divergence(small):
    with pytest.raises(TrainingDiverged, match=r"Step \d+ of the deep image prior gave an error of .*learning rate"):
        deep_image_prior(*small, generator(), steps=20, learning_rate=1e30, network=SMALL)
