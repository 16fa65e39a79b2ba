"""Forward processes: their equations, their marginals, their inverses."""

import math

import pytest
import torch
from exact_scores import PROCESSES

from wavelab import diffusion
from wavelab.errors import InvalidInput

processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@processes
def test_marginals_solve_the_moment_equations_of_the_sde(process):
    # For dx = a(t) x dt + g(t) dw: alpha' = a alpha and (sigma^2)' = 2 a sigma^2 + g^2.
    t = torch.tensor([0.021, 0.3, 0.55, 0.999], dtype=torch.float64) * process.T
    t = (t.floor() + 0.5 if isinstance(process, diffusion.Chain) else t).requires_grad_()
    a = process.drift(torch.ones(4, 1, dtype=torch.float64), t)[:, 0]
    alpha, variance = process.alpha(t), process.sigma(t) ** 2
    if alpha.requires_grad:
        (slope,) = torch.autograd.grad(alpha.sum(), t, retain_graph=True)
        torch.testing.assert_close(slope, a * alpha, rtol=1e-9, atol=1e-12)
    (slope,) = torch.autograd.grad(variance.sum(), t)
    torch.testing.assert_close(slope, 2 * a * variance + process.diffusion(t) ** 2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["OU", "VP", "linear chain"])
def test_simulated_paths_have_the_stated_mean_and_variance(name):
    process, count, steps = PROCESSES[name], 20000, 400
    g, end = generator(1), 0.3 * process.T
    x, delta = torch.full((count, 1), 2.0), end / steps
    for k in range(steps):
        t = k * delta
        x = x + delta * process.drift(x, t) + process.diffusion(t) * delta**0.5 * torch.randn(x.shape, generator=g)
    alpha, sigma = float(process.alpha(end)), float(process.sigma(end))
    assert abs(float(x.mean()) - 2 * alpha) < 4 * sigma / count**0.5 + 0.01
    assert float(x.std()) == pytest.approx(sigma, rel=0.02)


@processes
def test_all_start_at_data_and_know_their_noise(process):
    assert float(process.alpha(0)) == 1 and float(process.sigma(0)) == 0
    t = torch.linspace(0.02, 1, 9, dtype=torch.float64) * process.T
    alpha, sigma = process.alpha(t), process.sigma(t)
    torch.testing.assert_close(process.log_noise(t), torch.log(sigma / alpha))
    torch.testing.assert_close(process.scale(t), torch.sqrt(alpha**2 + sigma**2))
    torch.testing.assert_close(process.time(process.log_noise(t)), t)


@processes
def test_noise_is_drawn_with_one_time_a_sample_as_with_one_time(process):
    x0, t = torch.randn(3, 2, 4, generator=generator()), torch.tensor([0.1, 0.5, 1.0]) * process.T
    x_t, z = process.noise(x0, t, generator(2))
    for k in range(3):
        expected = process.alpha(t[k]).float() * x0[k] + process.sigma(t[k]).float() * z[k]
        torch.testing.assert_close(x_t[k], expected)
    again, _ = process.noise(x0, t, generator(2))
    assert torch.equal(x_t, again) and x_t.dtype == torch.float32


@processes
def test_prior_and_its_density_agree(process):
    x = process.prior((4000, 1, 3), generator())
    assert float(x.std()) == pytest.approx(process.prior_std, rel=0.03)
    exact = torch.distributions.Normal(0.0, process.prior_std).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(process.prior_log_prob(x), exact, rtol=1e-4, atol=1e-4)


def test_ou_in_closed_form():
    t = torch.tensor([0.1, 2.0], dtype=torch.float64)
    torch.testing.assert_close(diffusion.OU().alpha(t), torch.exp(-t))
    torch.testing.assert_close(diffusion.OU().sigma(t) ** 2, 1 - torch.exp(-2 * t))
    x = torch.tensor([[3.0]])
    assert float(diffusion.OU().drift(x, 1.0)) == -3 and float(diffusion.OU().diffusion(1.0)) == pytest.approx(2**0.5)


def test_ddpm_chain_has_the_published_end_and_the_product_of_its_steps():
    chain = diffusion.Chain.linear(1000)
    assert chain.T == 1000 and float(chain.betas[0]) == pytest.approx(1e-4) and float(chain.betas[-1]) == 0.02
    torch.testing.assert_close(chain.alpha(torch.arange(1, 1001)), torch.sqrt((1 - chain.betas).cumprod(0)))
    assert float(chain.alpha(1000)) ** 2 == pytest.approx(4.0358e-5, rel=1e-4)
    assert float(diffusion.Chain.linear(100).log_noise(100)) == pytest.approx(float(chain.log_noise(1000)), abs=0.5)


def test_cosine_chain_follows_the_squared_cosine():
    chain, k = diffusion.Chain.cosine(100), torch.arange(1, 99)
    f = torch.cos((k.double() / 100 + 0.008) / 1.008 * math.pi / 2) ** 2
    expected = f / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(chain.alpha(k) ** 2, expected, rtol=1e-9, atol=0)
    assert float(chain.betas.max()) <= 0.999


def test_a_chain_like_a_process_has_its_marginals():
    chain, k = diffusion.Chain.like(diffusion.VP(), 40), torch.arange(1, 41)
    torch.testing.assert_close(chain.alpha(k), diffusion.VP().alpha(k.double() / 40))
    torch.testing.assert_close(chain.sigma(k), diffusion.VP().sigma(k.double() / 40))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("uniform", [0, 1.25, 2.5, 3.75, 5]),
        ("quadratic", [0, 0.3125, 1.25, 2.8125, 5]),
        ("geometric", [0, 0.005, 0.05, 0.5, 5]),
    ],
)
def test_time_grids(schedule, expected):
    times = diffusion.time_grid(5.0, 4, schedule, t_1=0.005)
    torch.testing.assert_close(times, torch.tensor(expected, dtype=torch.float64))
    assert times[-1] == 5 and torch.equal(diffusion.check_times(times), times)


def test_one_step_is_a_grid():
    for schedule in ("uniform", "quadratic", "geometric"):
        assert diffusion.time_grid(2.0, 1, schedule).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 1.0, 1.0], r"times\[2\] = 1 follows 1"),
        ([0.0, 2.0, 1.0], "does not increase"),
        ([5.0, 2.0, 0.0], "walks the grid from its end to 0"),
        ([0.1, 1.0], "starts at 0.1"),
        ([0.0, float("nan")], "NaN"),
        ([0.0, float("inf")], "infinite"),
        ([0.0], "at least two"),
        ([[0.0, 1.0]], "vector"),
    ],
)
def test_bad_times_are_refused_with_what_is_wrong(times, message):
    with pytest.raises(InvalidInput, match=message):
        diffusion.check_times(torch.tensor(times))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: diffusion.time_grid(1.0, 0), "steps is 0"),
        (lambda: diffusion.time_grid(1.0, 2.5), "steps is 2.5"),
        (lambda: diffusion.time_grid(-1.0, 4), "T is -1"),
        (lambda: diffusion.time_grid(1.0, 4, "cubic"), "cubic.*'uniform', 'quadratic' or 'geometric'"),
        (lambda: diffusion.time_grid(1.0, 4, "geometric", t_1=2.0), "t_1 is 2"),
        (lambda: diffusion.OU(T=0.0), "T is 0"),
        (lambda: diffusion.VP(beta_min=float("nan")), "beta_min is nan"),
        (lambda: diffusion.VE(sigma_min=2.0, sigma_max=1.0), "not above"),
        (lambda: diffusion.Chain(torch.tensor([0.5, 1.0])), "between 0 and 1"),
        (lambda: diffusion.Chain.linear(0), "steps is 0"),
        (lambda: diffusion.Chain.linear(10), "between 0 and 1"),
        (lambda: diffusion.Chain.like(diffusion.VE(), 10), "does not preserve"),
        (lambda: diffusion.OU().noise(torch.zeros(2, 3), torch.ones(3), generator()), "one a sample"),
        (lambda: diffusion.OU().prior((2, 3), None), "torch.Generator"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InvalidInput, match=message):
        make()
