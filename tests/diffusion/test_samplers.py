"""Samplers against exact results: Gaussian recursions, one-dimensional flows, posteriors, orders of convergence."""

import itertools
import math

import pytest
import torch
from exact_scores import PROCESSES, Mixture, gaussian_score, unit_noises

from wavelab import diffusion
from wavelab.diffusion import mcmc as mcmc_module
from wavelab.diffusion import samplers as samplers_module

processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def orders(errors):
    """Orders of convergence between runs with the number of steps doubled."""
    return [math.log2(a / b) for a, b in itertools.pairwise(errors)]


# Output variance h and share rho of the mean of uniform Euler–Maruyama steps for the OU process, by exact recursion.
GOLDEN = [
    (8, 5, 0.001, 1.27149066, 0.88012292), (8, 5, 0.1, 1.25477626, 0.87468343), (8, 5, 1, 1.45454539, 0.83710035),
    (8, 5, 10, 5.68113653, 0.71990048), (16, 5, 0.1, 0.63460610, 0.95520117), (16, 5, 1, 1.18518404, 0.91999795),
    (16, 5, 10, 7.25616852, 0.83555958), (64, 10, 0.001, 0.31251127, 0.98909013), (64, 10, 1, 1.08474576, 0.96044962),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "T", "variance", "h", "rho"), GOLDEN)
def test_euler_maruyama_has_the_exact_gaussian_output(steps, T, variance, h, rho, monkeypatch):
    process, times = diffusion.OU(T), diffusion.time_grid(T, steps)
    x = unit_noises(monkeypatch, samplers_module, steps)
    out = diffusion.euler_maruyama(gaussian_score(process, variance), process, times, x)
    assert float(out.square().sum()) == pytest.approx(h, abs=6e-9)
    monkeypatch.setattr(samplers_module, "normal", lambda x, generator: torch.zeros_like(x))
    mean = diffusion.euler_maruyama(
        gaussian_score(process, variance, mean=1.0), process, times, torch.zeros(1, 1).double()
    )
    assert float(mean) == pytest.approx(rho, abs=6e-9)


def test_euler_maruyama_by_monte_carlo():
    process, g = diffusion.OU(5.0), generator(3)
    score, times = gaussian_score(process, 10.0), diffusion.time_grid(5.0, 16)
    x = diffusion.euler_maruyama(score, process, times, process.prior((40000, 1), g), generator=g)
    assert float(x.var()) == pytest.approx(7.25616852, rel=4 * (2 / 40000) ** 0.5)
    assert abs(float(x.mean())) < 4 * (7.256 / 40000) ** 0.5


def test_last_noise_can_be_left_out(monkeypatch):
    process, times = diffusion.OU(5.0), diffusion.time_grid(5.0, 8)
    x, score = unit_noises(monkeypatch, samplers_module, 8), gaussian_score(process, 0.1)
    with_noise = diffusion.euler_maruyama(score, process, times, x).square().sum()
    x = unit_noises(monkeypatch, samplers_module, 8)
    without = diffusion.euler_maruyama(score, process, times, x, last_noise=False).square().sum()
    assert float(with_noise - without) == pytest.approx(2 * 5 / 8)  # 2 delta


@pytest.mark.parametrize("name", ["OU", "VP"])
def test_euler_maruyama_has_weak_order_one(name, monkeypatch):
    process, errors = PROCESSES[name], []
    for steps in (100, 200, 400):
        x = unit_noises(monkeypatch, samplers_module, steps)
        out = diffusion.euler_maruyama(gaussian_score(process, 2.5), process, diffusion.time_grid(process.T, steps), x)
        errors.append(abs(float(out.square().sum()) - 2.5))
    assert all(0.9 < order < 1.15 for order in orders(errors))


@processes
def test_ancestral_small_is_exact_for_data_at_one_point(process, monkeypatch):
    point, score, states = 1.7, gaussian_score(process, 0.0, mean=1.7), []
    times = diffusion.time_grid(process.T, 6, "quadratic")
    x = unit_noises(monkeypatch, samplers_module, 6) * float(process.sigma(process.T))
    bias = process.alpha(process.T) * point  # the sampler is affine: start at the mean, subtract it again
    keep = lambda step, t, x: states.append((t, x))  # noqa: E731
    out = diffusion.ancestral(score, process, times, x + bias, callback=keep)
    torch.testing.assert_close(out, torch.full_like(out, point))
    for t, state in states[:-1]:
        spread = (state - process.alpha(t) * point).square().sum()
        torch.testing.assert_close(spread, process.sigma(t) ** 2)


@pytest.mark.parametrize("name", ["OU", "VP", "linear chain", "cosine chain"])
def test_ancestral_large_is_exact_for_white_gaussian_data(name, monkeypatch):
    process, states = PROCESSES[name], []
    times = diffusion.time_grid(process.T, 5)
    x = unit_noises(monkeypatch, samplers_module, 5)
    keep = lambda step, t, x: states.append(float(x.square().sum()))  # noqa: E731
    diffusion.ancestral(gaussian_score(process, 1.0), process, times, x, variance="large", callback=keep)
    assert states[:-1] == pytest.approx([1.0] * 4)


def test_ancestral_steps_are_the_posterior_of_the_chain(monkeypatch):
    # One step of DDPM in its own symbols (Ho et al. 2020, equation 7) with a score that names x0 exactly.
    chain, k, x0, x = diffusion.Chain.linear(1000), 400, 0.8, torch.tensor([[0.3]], dtype=torch.float64)
    beta, kept = chain.betas[k - 1], (1 - chain.betas).cumprod(0)
    expected = (kept[k - 2].sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - kept[k - 2]) * x) / (1 - kept[k - 1])
    monkeypatch.setattr(samplers_module, "normal", lambda x, generator: torch.ones_like(x))
    first = []
    keep = lambda step, t, x: first.append(x)  # noqa: E731
    score, times = gaussian_score(chain, 0.0, mean=x0), torch.tensor([0.0, k - 1, k])
    for variance, std in (("small", (beta * (1 - kept[k - 2]) / (1 - kept[k - 1])).sqrt()), ("large", beta.sqrt())):
        diffusion.ancestral(score, chain, times, x, variance=variance, callback=keep)
        torch.testing.assert_close(first[-2], expected + std, rtol=1e-5, atol=1e-6)


def test_clipping_bounds_the_result():
    process = diffusion.VP()
    for sampler in (diffusion.ancestral, diffusion.ddim):
        x, g = process.prior((200, 1), generator()), generator(1)
        out = sampler(gaussian_score(process, 9.0), process, diffusion.time_grid(1.0, 20), x, generator=g, clip=1.0)
        assert float(out.abs().max()) <= 1.0 + 1e-6
        free = sampler(gaussian_score(process, 9.0), process, diffusion.time_grid(1.0, 20), x, generator=g)
        assert float(free.abs().max()) > 3


def test_ddim_of_a_process_is_ddim_of_the_chain_with_its_marginals():
    process, mixture = diffusion.VP(), Mixture([0.3, 0.7], [-2.0, 1.0], 0.5)
    chain = diffusion.Chain.like(process, 50)
    x = torch.randn(20, 1, generator=generator(), dtype=torch.float64)
    a = diffusion.ddim(mixture.score(process), process, diffusion.time_grid(1.0, 50), x)
    b = diffusion.ddim(mixture.score(chain), chain, diffusion.time_grid(50, 50), x)
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_ddim_with_all_its_noise_is_ancestral():
    process, x = diffusion.OU(), torch.randn(50, 2, generator=generator())
    score, times = gaussian_score(process, 2.0), diffusion.time_grid(5.0, 12, "quadratic")
    a = diffusion.ddim(score, process, times, x, generator=generator(1), eta=1.0)
    b = diffusion.ancestral(score, process, times, x, generator=generator(1))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", [diffusion.ddim, diffusion.heun], ids=["ddim", "heun"])
def test_deterministic_samplers_do_not_depend_on_the_process(sampler):
    # At equal sigma / alpha all processes have the same flow in x / alpha.
    ve, vp, mixture = diffusion.VE(), diffusion.VP(), Mixture([0.5, 0.5], [-1.0, 2.0], 0.3)
    times = diffusion.time_grid(1.0, 15)
    times = times[ve.sigma(times) < 100 * vp.sigma(1.0)]
    matched = torch.cat([times[:1], vp.time(ve.log_noise(times[1:]))])
    y = 5 * torch.randn(10, 1, generator=generator(), dtype=torch.float64)
    a = sampler(mixture.score(ve), ve, times, y)
    b = sampler(mixture.score(vp), vp, matched, vp.alpha(matched[-1]) * y)
    torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("sampler", "low", "high"),
    [(diffusion.ddim, 0.85, 1.15), (diffusion.heun, 1.8, 2.3), (diffusion.probability_flow, 1.8, 2.3)],
    ids=["ddim", "heun", "probability flow"],
)
@pytest.mark.parametrize("name", ["OU", "VP"])
def test_orders_on_a_mixture_whose_flow_is_known(sampler, low, high, name):
    # In one dimension the probability flow keeps the rank: F_0(x_0) = F_T(x_T).
    process, mixture, errors = PROCESSES[name], Mixture([0.3, 0.7], [-1.5, 1.0], 0.5), []
    x = torch.linspace(-2.5, 2.5, 41, dtype=torch.float64)[:, None]
    rank = mixture.cdf(x, process.alpha(process.T), process.sigma(process.T))
    for steps in (80, 160, 320):
        times = diffusion.time_grid(process.T, steps, "quadratic")
        out = sampler(mixture.score(process), process, times, x)
        errors.append(float((mixture.cdf(out) - rank).abs().mean()))
    assert all(low < order < high for order in orders(errors)), (errors, orders(errors))
    assert errors[-1] < (5e-3 if sampler is diffusion.ddim else 3e-4)


def test_heun_ends_at_the_denoised_sample():
    process, x = diffusion.OU(), torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    score, t = gaussian_score(process, 2.0), 0.7
    out = diffusion.heun(score, process, torch.tensor([0.0, t], dtype=torch.float64), x)
    torch.testing.assert_close(out, diffusion.tweedie(score(x, t), x, t, process))


@processes
def test_churn_keeps_the_target(process):
    g, schedule = generator(1), "uniform" if isinstance(process, diffusion.VE) else "quadratic"
    times, x = diffusion.time_grid(process.T, 60, schedule), process.prior((20000, 1), g)
    out = diffusion.heun(gaussian_score(process, 2.0), process, times, x, generator=g, churn=20.0)
    again = diffusion.heun(gaussian_score(process, 2.0), process, times, x, generator=g, churn=20.0)
    assert not torch.equal(out, again)  # it is random
    assert float(out.var()) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("name", ["OU", "VP", "VE", "cosine chain"])
@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (diffusion.euler_maruyama, {}), (diffusion.ancestral, {}), (diffusion.ancestral, {"variance": "large"}),
        (diffusion.ddim, {}), (diffusion.ddim, {"eta": 0.5}), (diffusion.heun, {}), (diffusion.probability_flow, {}),
        (diffusion.predictor_corrector, {"snr": 0.1}),
    ],
    ids=["euler_maruyama", "ancestral", "ancestral, large", "ddim", "ddim, eta=0.5", "heun", "flow", "corrector"],
)  # fmt: skip
def test_every_sampler_reaches_the_known_mixture_from_every_process(name, sampler, options):
    process, g = PROCESSES[name], generator(11)
    steps = process.T if name == "cosine chain" else 100
    times = diffusion.time_grid(process.T, steps, "quadratic" if name == "OU" else "uniform")
    x = process.prior((2000, 2), g)
    check_mixture(sampler(MIXTURE.score(process), process, times, x, generator=g, **options))


MIXTURE = Mixture([0.25, 0.75], [[-2.0, 0.0], [1.0, 1.0]], 0.4)


def check_mixture(x, weight=0.25):
    """The weights, means and widths of MIXTURE, from 2000 samples: four standard errors of the weight are 0.04."""
    x, left = x.double(), x[:, 0] < -0.5
    assert float(left.double().mean()) == pytest.approx(weight, abs=0.045)
    for side, mean in ((left, (-2.0, 0.0)), (~left, (1.0, 1.0))):
        torch.testing.assert_close(x[side].mean(0), torch.tensor(mean).double(), rtol=0, atol=0.1)
        assert float(x[side].std(0).mean()) == pytest.approx(0.4, abs=0.05)


def geometric_noise(process, low, high, levels):
    """Times at which sigma / alpha runs geometrically from low to high, after 0."""
    log_noise = torch.linspace(math.log(low), math.log(high), levels, dtype=torch.float64)
    return torch.cat([log_noise.new_zeros(1), process.time(log_noise)])


@pytest.mark.parametrize("name", ["OU", "VE"])
def test_annealed_langevin_reaches_the_known_mixture(name):
    process, g = PROCESSES[name], generator(1)
    times = geometric_noise(process, 0.05, 10.0, 30)
    x = process.scale(times[-1]).float() * torch.randn(2000, 2, generator=g)
    out = diffusion.annealed_langevin(
        MIXTURE.score(process), process, times, x, generator=g, steps_per_level=20, step_size=0.4, denoise=True
    )
    check_mixture(out)


def test_annealed_langevin_does_not_depend_on_the_process():
    # In x / alpha every process has the same levels and steps, if it is rescaled between them.
    outs = []
    for name in ("OU", "VE"):
        process, g = PROCESSES[name], generator(1)
        times = geometric_noise(process, 0.1, 5.0, 8)
        x = 5 * process.alpha(times[-1]) * torch.randn(20, 2, generator=g, dtype=torch.float64)
        out = diffusion.annealed_langevin(MIXTURE.score(process), process, times, x, generator=g, steps_per_level=3)
        outs.append(out)
    torch.testing.assert_close(*outs)


def test_langevin_has_the_exact_stationary_variance(monkeypatch):
    # x <- (1 - eps / v) x + sqrt(2 eps) z settles at v / (1 - eps / (2 v)).
    variance, epsilon, steps = 2.0, 0.4, 60
    x = unit_noises(monkeypatch, mcmc_module, steps)
    out = diffusion.langevin(lambda x: -x / variance, x, steps, epsilon, None)
    assert float(out.square().sum()) == pytest.approx(variance / (1 - epsilon / (2 * variance)), rel=1e-5)


def test_langevin_keeps_the_weights_it_starts_with_and_annealing_does_not():
    mixture, g = Mixture([0.2, 0.8], [-4.0, 4.0], 0.5), generator(2)
    process = diffusion.VE(sigma_min=0.05, sigma_max=10.0)
    x = torch.where(torch.rand(2000, 1, generator=g) < 0.5, -4.0, 4.0)
    plain = diffusion.langevin(lambda x: mixture.score(process)(x, 0.0), x, 300, 0.02, g)
    assert float((plain < 0).double().mean()) == pytest.approx(0.5, abs=0.05)
    times = diffusion.time_grid(1.0, 60)
    annealed = diffusion.annealed_langevin(
        mixture.score(process), process, times, process.prior((2000, 1), g), generator=g, step_size=0.1
    )
    assert float((annealed < 0).double().mean()) == pytest.approx(0.2, abs=0.04)


def test_annealed_langevin_keeps_the_noise_of_its_last_level_unless_denoised():
    process, times = diffusion.OU(), diffusion.time_grid(5.0, 20, "geometric", t_1=0.02)
    score, outs = gaussian_score(process, 0.0, mean=1.0), []
    for denoise in (False, True):
        x, g = process.prior((5000, 1), generator()), generator(1)
        outs.append(diffusion.annealed_langevin(score, process, times, x, generator=g, denoise=denoise))
    ratio = float(process.log_noise(0.02).exp())
    assert float(outs[0].std()) == pytest.approx(ratio / (1 - 0.1 / 2) ** 0.5, rel=0.05)
    torch.testing.assert_close(outs[1], torch.ones_like(outs[1]), rtol=0, atol=1e-5)


def test_corrector_repairs_a_coarse_predictor():
    # Ten Euler–Maruyama steps get the variance of a Gaussian wrong; Langevin steps at each level mend half of it.
    process, errors = diffusion.OU(), []
    times = diffusion.time_grid(5.0, 10, "quadratic")
    for corrector_steps in (0, 20):
        g = generator(4)
        x = diffusion.predictor_corrector(
            gaussian_score(process, 4.0), process, times, process.prior((4000, 4), g), generator=g,
            corrector_steps=corrector_steps, snr=0.2, last_noise=True,
        )  # fmt: skip
        errors.append(abs(float(x.var()) - 4.0))
    assert errors[1] < 0.5 * errors[0]
