"""The probability flow, its likelihood, and what all samplers share: grids, hooks, generators, refusals."""

import itertools

import pytest
import torch
from exact_scores import PROCESSES, Mixture, gaussian_score

from wavelab import diffusion
from wavelab.errors import InvalidInput, UnknownName

processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
SAMPLERS = (
    diffusion.euler_maruyama, diffusion.ancestral, diffusion.ddim, diffusion.heun, diffusion.predictor_corrector,
    diffusion.annealed_langevin, diffusion.probability_flow,
)  # fmt: skip
RANDOM = SAMPLERS[:2] + SAMPLERS[4:6]
samplers = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)
random_samplers = pytest.mark.parametrize("sampler", RANDOM, ids=lambda sampler: sampler.__name__)
OU, TIMES = diffusion.OU(), diffusion.time_grid(5.0, 12, "quadratic")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def start(seed=0, shape=(4, 2, 3)):
    return OU.prior(shape, generator(seed))


@pytest.mark.parametrize("name", ["OU", "VP", "linear chain"])
def test_flow_from_data_to_noise_and_back_is_the_identity(name):
    process, mixture, gaps = PROCESSES[name], Mixture([0.3, 0.7], [[-1.5, 0.0], [1.0, 0.5]], 0.5), []
    x = mixture.sample(50, generator(1))
    for steps in (100, 200):
        times = diffusion.time_grid(process.T, steps, "quadratic")
        noise = diffusion.probability_flow(mixture.score(process), process, times, x, reverse=True)
        back = diffusion.probability_flow(mixture.score(process), process, times, noise)
        gaps.append(float((back - x).abs().max()))
    assert (noise - x).abs().max() > 0.5  # it went somewhere
    assert gaps[1] < 0.35 * gaps[0] and gaps[1] < 3e-3


def test_flow_turns_data_into_noise_of_the_right_law():
    mixture = Mixture([0.3, 0.7], [-1.5, 1.0], 0.5)
    x = torch.linspace(-2.5, 2.0, 31, dtype=torch.float64)[:, None]
    times = diffusion.time_grid(5.0, 150, "quadratic")
    out = diffusion.probability_flow(mixture.score(OU), OU, times, x, reverse=True)
    rank = mixture.cdf(out, OU.alpha(5.0), OU.sigma(5.0))
    torch.testing.assert_close(rank, mixture.cdf(x), rtol=0, atol=1e-3)


@processes
def test_likelihood_of_a_correlated_gaussian_is_exact(process):
    covariance = torch.tensor([[2.0, 0.8], [0.8, 0.7]], dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0], [1.0, -0.5], [-2.0, 0.3]], dtype=torch.float64)

    def score(x, t):
        noisy = process.alpha(t) ** 2 * covariance + process.sigma(t) ** 2 * torch.eye(2, dtype=torch.float64)
        return -torch.linalg.solve(noisy, x.T).T

    times = diffusion.time_grid(process.T, 200, "quadratic")
    exact = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(x)
    found = diffusion.log_likelihood(score, process, times, x, probes=None)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.05 if isinstance(process, diffusion.VE) else 0.01)


def test_likelihood_of_a_mixture_is_exact_and_converges_at_order_two():
    mixture = Mixture([0.3, 0.7], [-1.5, 1.0], 0.5)
    x, errors = torch.linspace(-3, 3, 61, dtype=torch.float64)[:, None], []
    process = diffusion.OU(T=9.0)  # long enough for the prior to be exact
    for steps in (80, 160):
        times = diffusion.time_grid(9.0, steps, "quadratic")
        found = diffusion.log_likelihood(mixture.score(process), process, times, x, probes=None)
        errors.append(float((found - mixture.log_prob(x)).abs().mean()))
    assert errors[1] < 2e-3 and 3 < errors[0] / errors[1] < 5.5


def test_likelihood_by_probes_is_unbiased():
    mixture = Mixture([0.5, 0.5], [[-1.0, 0.5, 0.0], [1.0, -0.5, 0.3]], 0.6)
    times, x = diffusion.time_grid(5.0, 25, "quadratic"), mixture.sample(3, generator(1))
    exact = diffusion.log_likelihood(mixture.score(OU), OU, times, x, probes=None)
    many = diffusion.log_likelihood(mixture.score(OU), OU, times, x.repeat(400, 1), generator(2)).reshape(400, 3)
    error = (many.mean(0) - exact).abs()
    assert (error < 4 * many.std(0) / 20).all() and (many.std(0) > 0.01).all()
    averaged = diffusion.log_likelihood(mixture.score(OU), OU, times, x.repeat(100, 1), generator(2), probes=9)
    assert float(averaged.reshape(100, 3).std(0).mean()) < 0.5 * float(many.std(0).mean())


def test_likelihood_of_images_sums_over_all_axes():
    x = torch.randn(2, 1, 3, 3, generator=generator(), dtype=torch.float64)
    times = diffusion.time_grid(5.0, 200, "quadratic")
    found = diffusion.log_likelihood(gaussian_score(OU, 1.0), OU, times, x, generator())
    exact = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-6)


@random_samplers
def test_same_generator_gives_the_same_samples(sampler):
    runs = [sampler(gaussian_score(OU, 2.0), OU, TIMES, start(), generator=generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@samplers
def test_samplers_leave_the_global_generator_and_the_start_alone(sampler):
    x, state = start(), torch.random.get_rng_state()
    before = x.clone()
    sampler(gaussian_score(OU, 2.0), OU, TIMES, x, generator=generator(1))
    assert torch.equal(x, before) and torch.equal(state, torch.random.get_rng_state())


@samplers
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_precision_stay(sampler, dtype):
    out = sampler(gaussian_score(OU, 2.0), OU, TIMES, start().to(dtype), generator=generator(1))
    assert out.shape == (4, 2, 3) and out.dtype == dtype and out.isfinite().all() and not out.requires_grad


@samplers
def test_the_score_is_asked_at_given_times_and_never_at_zero(sampler):
    asked = []

    def score(x, t):
        asked.append(float(t))
        return gaussian_score(OU, 2.0)(x, t)

    sampler(score, OU, TIMES, start(), generator=generator(1))
    assert asked[0] == 5.0 and min(asked) == pytest.approx(float(TIMES[1])) and set(asked) <= set(TIMES.tolist())
    assert asked == sorted(asked, reverse=True)


def test_the_way_to_noise_never_asks_for_the_score_of_clean_data():
    asked = []

    def score(x, t):
        asked.append(float(t))
        return -x

    diffusion.probability_flow(score, OU, TIMES, start(), reverse=True)
    diffusion.log_likelihood(score, OU, TIMES, start(), generator())
    assert min(asked) == pytest.approx(float(TIMES[1])) and max(asked) == 5.0


@samplers
def test_callback_sees_every_state(sampler, capsys):
    states = []
    out = sampler(
        gaussian_score(OU, 2.0), OU, TIMES, start(), generator=generator(1),
        callback=lambda step, t, x: states.append((step, t, x)), progress=True,
    )  # fmt: skip
    count = 12 * (10 if sampler is diffusion.annealed_langevin else 1)
    assert [step for step, _, _ in states] == list(range(1, count + 1))
    assert all(a[1] >= b[1] for a, b in itertools.pairwise(states)) and "sampling" in capsys.readouterr().err
    if sampler is not diffusion.annealed_langevin:
        assert states[-1][1] == 0 and torch.equal(states[-1][2], out)


@samplers
def test_guidance_replaces_the_score(sampler):
    # Guiding the score of one Gaussian into that of another gives the samples of the other.
    other = gaussian_score(OU, 0.5, mean=1.0)
    guided = sampler(
        gaussian_score(OU, 2.0), OU, TIMES, start(), generator=generator(1),
        guidance=lambda x, t, s: s + (other(x, t) - gaussian_score(OU, 2.0)(x, t)),
    )  # fmt: skip
    direct = sampler(other, OU, TIMES, start(), generator=generator(1))
    torch.testing.assert_close(guided, direct, rtol=1e-4, atol=1e-4)


def test_guidance_by_a_measurement_moves_gaussian_samples_to_the_posterior():
    # Prior N(0, 1) and y = x + noise of variance 0.25, measured as 1.5: the posterior is N(1.2, 0.2).
    def guidance(x, t, score):
        mean, spread = OU.alpha(t) * x, OU.sigma(t) ** 2  # of x_0 given x_t
        return score + OU.alpha(t) * (1.5 - mean) / (0.25 + spread)

    times, g, process = diffusion.time_grid(5.0, 60, "quadratic"), generator(3), OU
    x = diffusion.heun(gaussian_score(process, 1.0), process, times, process.prior((20000, 1), g), guidance=guidance)
    assert float(x.mean()) == pytest.approx(1.2, abs=0.02) and float(x.var()) == pytest.approx(0.2, rel=0.06)


def test_langevin_hands_its_states_to_the_callback():
    states = []
    out = diffusion.langevin(
        lambda x: -x, start(), 5, 0.1, generator(1), callback=lambda step, t, x: states.append((step, t, x))
    )
    assert [s[:2] for s in states] == [(k, 0.0) for k in range(1, 6)] and torch.equal(states[-1][2], out)


@samplers
@pytest.mark.parametrize(
    ("times", "message"),
    [
        (TIMES.flip(0), "does not increase"),
        (TIMES[1:], "starts at"),
        (TIMES[:1], "at least two"),
        (2 * TIMES, r"ends at 10, beyond T = 5 of OU"),
        (TIMES * float("nan"), "NaN"),
    ],
    ids=["decreasing", "not from 0", "no step", "too long", "nan"],
)
def test_bad_grids_are_refused(sampler, times, message):
    with pytest.raises(InvalidInput, match=message):
        sampler(gaussian_score(OU, 2.0), OU, times, start(), generator=generator())


@samplers
def test_a_score_of_another_shape_is_refused_with_both_shapes(sampler):
    with pytest.raises(InvalidInput, match=r"score returned shape \(4, 1, 3\) for x of shape \(4, 2, 3\)"):
        sampler(lambda x, t: x[:, :1], OU, TIMES, start(), generator=generator())
    with pytest.raises(InvalidInput, match="score returned NoneType"):
        sampler(lambda x, t: None, OU, TIMES, start(), generator=generator())
    with pytest.raises(InvalidInput, match="guidance returned shape"):
        sampler(lambda x, t: -x, OU, TIMES, start(), generator=generator(), guidance=lambda x, t, s: s[:1])


@random_samplers
def test_noise_without_a_generator_is_refused(sampler):
    with pytest.raises(InvalidInput, match=r"torch\.Generator"):
        sampler(gaussian_score(OU, 2.0), OU, TIMES, start())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, x, g: diffusion.ancestral(s, OU, TIMES, x, generator=g, variance="medium"), UnknownName, "medium"),
        (lambda s, x, g: diffusion.ddim(s, OU, TIMES, x, eta=1.5), InvalidInput, "eta is 1.5"),
        (lambda s, x, g: diffusion.ddim(s, OU, TIMES, x, eta=0.5), InvalidInput, "torch.Generator"),
        (lambda s, x, g: diffusion.heun(s, OU, TIMES, x, churn=-1.0), InvalidInput, "churn is -1"),
        (lambda s, x, g: diffusion.predictor_corrector(s, OU, TIMES, x, generator=g, corrector_steps=-1), InvalidInput,
         "corrector_steps is -1"),
        (lambda s, x, g: diffusion.predictor_corrector(s, OU, TIMES, x, generator=g, snr=0), InvalidInput, "snr is 0"),
        (lambda s, x, g: diffusion.annealed_langevin(s, OU, TIMES, x, generator=g, steps_per_level=0), InvalidInput,
         "steps is 0"),
        (lambda s, x, g: diffusion.langevin(lambda x: -x, x, 0, 0.1, g), InvalidInput, "steps is 0"),
        (lambda s, x, g: diffusion.langevin(lambda x: -x, x, 3, -0.1, g), InvalidInput, "step_size is -0.1"),
        (lambda s, x, g: diffusion.langevin(lambda x: x[:1], x, 3, 0.1, g), InvalidInput, "score returned shape"),
        (lambda s, x, g: diffusion.log_likelihood(s, OU, TIMES, x), InvalidInput, "torch.Generator"),
        (lambda s, x, g: diffusion.log_likelihood(torch.no_grad()(s), OU, TIMES, x, g), InvalidInput, "no_grad"),
    ],
)  # fmt: skip
def test_bad_options_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(gaussian_score(OU, 2.0), start(), generator())
