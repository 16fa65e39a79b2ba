"""Linear scores: exact for Gaussian fields, the energy found again, derivatives by autograd, and bad input."""

import functools

import numpy as np
import pytest
import torch

from wavelab import diffusion
from wavelab.diffusion.samplers import euler_maruyama
from wavelab.errors import InvalidInput
from wavelab.wsgm import fields, linear, phi4, spectral, theory
from wavelab.wsgm.cascade import Cascade

OU = diffusion.OU(T=5.0)
TIMES = torch.tensor([0.01, 0.1, 1.0, 5.0])


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@functools.cache
def _phi4(L=8, count=4000):
    return phi4.sample(L, count, _generator(L), burn_in=150)


def _gaussian(L=8, count=4000, seed=0):
    return fields.gaussian(fields.power_law(L, 2, 2.0), count, _generator(seed))


def _all_shifts(x):
    """Every translation of every sample: an empirical law that is exactly stationary."""
    M = x.shape[-1]
    return torch.cat([x.roll((i, j), (-2, -1)) for i in range(M) for j in range(M)])


@pytest.mark.parametrize("t", [0.003, 0.3, 4.0])
@pytest.mark.parametrize("conditional", [False, True])
def test_gaussian_score_is_exact(conditional, t):
    """The closed form against the inverse of the dense covariance of noisy data and condition."""
    x = _all_shifts(torch.randn(60, 4 if conditional else 1, 4, 4, generator=_generator(1)).cumsum(1).cumsum(3) / 4)
    y, h = (x[:, :3], x[:, 3:]) if conditional else (x, None)
    score = linear.fit(y, _generator(), h=h, times=TIMES, features=0)
    flat = x.flatten(1).double()
    alpha, sigma = np.exp(-t), np.sqrt(1 - np.exp(-2 * t))
    d = y[0].numel()
    scale = torch.ones(flat.shape[1], dtype=torch.float64)
    scale[:d] = alpha
    covariance = scale[:, None] * (flat.T @ flat / len(flat)) * scale
    covariance[:d, :d] += sigma**2 * torch.eye(d)
    y_t, z = torch.randn(5, *y.shape[1:], generator=_generator(2)), None if h is None else h[:5]
    both = torch.cat([y_t.flatten(1), *([] if z is None else [z.flatten(1)])], 1).double()
    expected = -torch.linalg.solve(covariance, both.T).T[:, :d].reshape(y_t.shape)
    torch.testing.assert_close(score(y_t, t, z).double(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("denoised", [False, True])
def test_potentials_leave_a_gaussian_field_alone(denoised):
    x = _gaussian()
    plain = linear.fit(x, _generator(), times=TIMES, features=0)
    full = linear.fit(x, _generator(), times=TIMES, denoised=denoised)
    for t in (0.01, 0.1, 1.0):
        y, _ = OU.noise(_gaussian(seed=1)[:200], t, _generator(3))
        error = (full(y, t) - plain(y, t)).square().mean() / plain(y, t).square().mean()
        assert error < 0.01


@pytest.mark.parametrize("denoised", [False, True])
def test_the_energy_is_found_again(denoised):
    x = _phi4()
    std = x.std()
    score = linear.fit(
        x / std, _generator(), times=torch.tensor([1e-4, 1e-3]), denoised=denoised, potential_samples=4000
    )
    fresh = phi4.sample(8, 300, _generator(20), burn_in=150)
    exact = -std * phi4.gradient(fresh)
    error = (score(fresh / std, 1e-4) - exact).square().mean() / exact.square().mean()
    assert error < 0.03
    gaussian = linear.fit(x / std, _generator(), times=TIMES, features=0)(fresh / std, 1e-4)
    assert (gaussian - exact).square().mean() / exact.square().mean() > 0.2


def _excess_loss(score, y, h, t):
    """Denoising loss minus what no score can avoid, up to a constant of the data: smaller is better."""
    y_t, z = OU.noise(y, t, _generator(5))
    return (OU.sigma(t).float() * score(y_t, t, h) + z).square().mean()


@pytest.mark.parametrize("conditional", [False, True])
def test_potentials_improve_the_score_of_fresh_fields(conditional):
    cascade = Cascade.fit(_phi4(), "db4", 1, "joint")
    fresh = phi4.sample(8, 1500, _generator(21), burn_in=150)
    losses = {}
    for name, options in {"gaussian": {"features": 0}, "noisy": {}, "denoised": {"denoised": True}}.items():
        if conditional:
            _, (score,) = linear.fit_cascade(cascade, _phi4(), _generator(), times=TIMES, **options)
            y, h = cascade.analyse(fresh)[0]
        else:
            score, y, h = linear.fit(_phi4() / 0.92, _generator(), times=TIMES, **options), fresh / 0.92, None
        losses[name] = {t: _excess_loss(score, y, h, t) for t in (0.01, 0.1)}
    for t in (0.01, 0.1):
        assert losses["noisy"][t] < losses["gaussian"][t] - 1e-4
        assert losses["denoised"][t] < losses["gaussian"][t] - 1e-4
    assert losses["denoised"][0.1] < losses["noisy"][0.1]


def test_forces_are_derivatives():
    x = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    force, curvature = linear.potential_forces(x, 5)
    for k in range(5):
        (expected,) = torch.autograd.grad(force[k].sum(), x, retain_graph=True)
        torch.testing.assert_close(curvature[k], expected)
    torch.testing.assert_close(force.flip(1), -force)


def test_divergence_by_autograd():
    """The sum over sites of v'' times the Jacobian's row energy is the divergence of the features' gradients."""
    cascade = Cascade.fit(_phi4(), "db4", 1, "joint")
    y, h = (part[:1] for part in cascade.analyse(_phi4())[0])

    def gradient(v):
        sites = cascade.refine(h, v.reshape(y.shape), 1)
        energy = torch.log(torch.cosh(sites)).sum()
        return torch.autograd.grad(energy, v, create_graph=True)[0]

    v = y.flatten().requires_grad_()
    exact = torch.autograd.functional.jacobian(gradient, v).trace()
    sites = cascade.refine(h, y, 1)
    energies = spectral.row_energy(lambda v, h: cascade.refine(h, v, 1), y, h)
    torch.testing.assert_close(((1 - sites.tanh() ** 2) * energies).sum(), exact, rtol=1e-4, atol=1e-4)


def test_normal_equations_hold():
    """What is solved is stationary: the score is orthogonal to features up to the divergence (Stein's identity)."""
    x = _phi4() / _phi4().std()
    t = 0.2
    score = linear.fit(x, _generator(), times=torch.tensor([0.19, 0.2]), potential_samples=4000, features=4)
    y, _ = OU.noise(x, t, _generator(6))
    force, curvature = linear.potential_forces(y / score.scale[1], 4)
    for k in range(4):
        terms = (score(y, t) * force[k] + curvature[k] / score.scale[1]).sum((1, 2, 3))
        assert abs(terms.mean()) < 5 * terms.std() / len(terms) ** 0.5 + 0.02 * force[k].square().sum((1, 2, 3)).mean()


def test_sampling_a_gaussian_field_follows_the_theory():
    x = _gaussian(count=6000)
    score = linear.fit(x, _generator(), times=TIMES, features=0)
    cascade = Cascade.fit(x, "db4", 2, "joint")
    coarse, details = linear.fit_cascade(cascade, x, _generator(), times=TIMES, features=0)
    times, spectrum = diffusion.time_grid(5.0, 12), fields.power_law(8, 2, 2.0)
    start = OU.prior((6000, 1, 8, 8), _generator(7))
    drawn = {
        None: euler_maruyama(score, OU, times, start, generator=_generator(8)),
        "db4": cascade.sample(coarse, details, OU, times, (6000, 1, 8, 8), _generator(9)),
    }
    for wavelet, samples in drawn.items():
        measured = fields.periodogram(samples)
        expected = theory.output_spectrum(spectrum, times.numpy(), wavelet)
        np.testing.assert_allclose(measured, expected, rtol=0.12)


def test_times_between_and_beyond_the_fitted_ones():
    x = _phi4() / _phi4().std()
    score = linear.fit(x, _generator(), times=TIMES)
    y = x[:50]
    a, b = score(y, 0.1), score(y, 0.1001)
    assert (a - b).square().mean() < 1e-4 * a.square().mean()
    assert score(y, 7.0).isfinite().all() and score(y, 1e-4).isfinite().all()
    between = score.site_force(torch.linspace(-2, 2, 5), 0.3)
    torch.testing.assert_close(between.flip(0), -between)


def test_table_of_forces_is_fine_enough():
    theta = torch.randn(8, generator=_generator(10))
    x = torch.linspace(-6, 6, 4001)
    exact = torch.einsum("i,ip->p", theta, linear.potential_forces(x, 8)[0])
    assert (linear._read_force(x, theta) - exact).abs().max() < 2e-4 * exact.abs().max()


def test_one_seed_one_result():
    x = _phi4()[:200]
    first, second = (linear.fit(x, _generator(4), times=TIMES) for _ in range(2))
    assert torch.equal(first.theta, second.theta)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"y": torch.zeros(10, 4, 4)}, "expected"),
        ({"h": torch.zeros(9, 1, 4, 4)}, "same batch"),
        ({"y": torch.zeros(1, 1, 4, 4)}, "samples"),
        ({"y": torch.full((10, 1, 4, 4), float("nan"))}, "NaN"),
        ({"times": torch.tensor([0.2, 0.1])}, "increasing"),
        ({"times": torch.tensor([0.0, 0.1])}, "positive"),
        ({"features": -1}, "features"),
    ],
)
def test_bad_input_to_fit(change, words):
    options = {"y": torch.randn(10, 1, 4, 4, generator=_generator()), "times": TIMES, **change}
    with pytest.raises(InvalidInput, match=words):
        linear.fit(options.pop("y"), _generator(), **options)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((torch.zeros(2, 2, 4, 4), 0.1), "channels"),
        ((torch.zeros(2, 1, 8, 8), 0.1), "grid"),
        ((torch.zeros(2, 1, 4, 4), 0.1, torch.zeros(2, 1, 4, 4)), "channels"),
        ((torch.zeros(2, 1, 4, 4), 0.0), "positive time"),
        ((torch.zeros(2, 1, 4, 4), torch.tensor([0.1, 0.2])), "one positive time"),
    ],
)
def test_bad_input_to_a_score(arguments, words):
    score = linear.fit(torch.randn(40, 1, 4, 4, generator=_generator()), _generator(), times=TIMES)
    with pytest.raises(InvalidInput, match=words):
        score(*arguments)
