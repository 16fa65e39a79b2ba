"""Objectives: the identities they rest on, the convention for networks, the divergence."""

import itertools

import pytest
import torch
from exact_scores import PROCESSES, Mixture, gaussian_score
from torch import nn

from wavelab import diffusion
from wavelab.diffusion.objectives import value_and_divergence
from wavelab.errors import InvalidInput, UnknownName

processes = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class ExactNetwork(nn.Module):
    """What a perfect network says for N(0, variance) data, from the scaled input and the log noise alone."""

    def __init__(self, variance, prediction="eps"):
        super().__init__()
        self.variance, self.prediction = variance, prediction

    def forward(self, x, log_noise, cond=None):
        ratio = log_noise.to(x).exp().reshape(-1, *[1] * (x.ndim - 1))
        cos, sin = 1 / torch.sqrt(1 + ratio**2), ratio / torch.sqrt(1 + ratio**2)
        spread = cos**2 * self.variance + sin**2
        x0, eps = cos * self.variance / spread * x, sin / spread * x
        return {"x0": x0, "eps": eps, "v": cos * eps - sin * x0}[self.prediction]


@processes
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_perfect_outputs_give_the_score_and_the_clean_sample_back(process, prediction):
    x0, t = torch.randn(5, 2, 3, generator=generator(), dtype=torch.float64), torch.linspace(0.1, 1, 5) * process.T
    x_t, z = process.noise(x0, t, generator(1))
    output = diffusion.target(x0, z, t, process, prediction)
    sigma = process.sigma(t).to(x0)[:, None, None]
    score = diffusion.to_score(output, x_t, t, process, prediction)
    torch.testing.assert_close(score, -z / sigma, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(diffusion.to_denoised(output, x_t, t, process, prediction), x0, rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(diffusion.tweedie(score, x_t, t, process), x0, rtol=1e-4, atol=2e-3)


@processes
@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_networks_become_scores_and_denoisers(process, prediction):
    model, x = ExactNetwork(2.5, prediction), torch.randn(4, 1, 6, generator=generator(), dtype=torch.float64)
    exact = gaussian_score(process, 2.5)
    score = diffusion.score_function(model, process, prediction=prediction)
    denoise = diffusion.denoiser(model, process, prediction=prediction)
    for t in (0.3 * process.T, torch.tensor(0.7 * process.T)):
        torch.testing.assert_close(score(x, t), exact(x, t), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(denoise(x, t), diffusion.tweedie(exact(x, t), x, t, process), rtol=1e-4, atol=1e-5)
    t = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64) * process.T
    rows = [exact(x[k : k + 1], t[k]) for k in range(4)]
    torch.testing.assert_close(score(x, t), torch.cat(rows))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_denoising_and_explicit_loss_differ_by_a_constant(sigma):
    # E|s(x_t) + z/sigma|^2 = E|s(x_t) - true score|^2 + C, with C free of s: exact sums on a grid, in one dimension.
    mixture = Mixture([0.3, 0.7], [-1.5, 1.0], 0.4)
    x0 = torch.linspace(-7, 7, 701, dtype=torch.float64)
    z = torch.linspace(-8, 8, 801, dtype=torch.float64)
    joint = mixture.log_prob(x0[:, None]).exp()[:, None] * torch.exp(-(z**2) / 2)
    joint = joint / joint.sum()
    x = x0[:, None] + sigma * z
    slopes, logs = mixture.parts(x.reshape(-1, 1), 1.0, sigma)
    true = (logs.softmax(1)[..., None] * slopes).sum(1).reshape(x.shape)
    fields = [lambda x: -x, lambda x: torch.sin(x) * x, lambda x: 0 * x + 1]
    gaps = [(joint * ((s(x) + z / sigma) ** 2 - (s(x) - true) ** 2)).sum().item() for s in fields]
    assert max(gaps) - min(gaps) < 1e-8 and gaps[0] > 0.1


@processes
def test_the_loss_of_a_perfect_network_is_the_posterior_variance(process):
    variance, t = 2.0, 0.25 * process.T
    x0 = variance**0.5 * torch.randn(40000, 1, generator=generator())
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    spread = alpha**2 * variance + sigma**2
    for prediction, expected in (("eps", alpha**2 * variance / spread), ("x0", sigma**2 * variance / spread)):
        loss = diffusion.denoising_loss(
            ExactNetwork(variance, prediction), process, x0, generator(3), prediction=prediction, t=t
        )
        assert float(loss) == pytest.approx(expected, rel=0.04)
        worse = diffusion.denoising_loss(
            ExactNetwork(1.3, prediction), process, x0, generator(3), prediction=prediction, t=t
        )
        assert loss < worse


@processes
def test_networks_are_called_with_unit_variance_log_noise_and_condition(process):
    seen = {}

    def model(x, log_noise, cond):
        seen.update(x=x, log_noise=log_noise, cond=cond)
        return x

    x0, cond = torch.randn(6000, 1, 2, generator=generator()), torch.randn(6000, 3, 2)
    diffusion.denoising_loss(model, process, x0, generator(1), cond=cond)
    assert float(seen["x"].var()) == pytest.approx(1, abs=0.05)
    assert seen["log_noise"].shape == (6000,) and seen["log_noise"].dtype == torch.float32
    assert seen["cond"] is cond


def test_training_times_follow_their_schedule():
    process = diffusion.OU(T=4.0)
    for schedule, power in (("quadratic", 2), ("uniform", 1)):
        t = diffusion.training_times(process, 20000, generator(), schedule, t_min=0.01)
        assert float(t.min()) >= 0.01 and float(t.max()) <= 4
        assert float(t.mean()) == pytest.approx(0.01 + 3.99 / (power + 1), rel=0.03)
    whole = diffusion.training_times(diffusion.Chain.linear(100), 5000, generator(), "uniform")
    assert set(whole.tolist()) == set(range(1, 101))


def test_losses_draw_everything_from_the_generator():
    x0, model = torch.randn(8, 1, 4, generator=generator()), ExactNetwork(1.0)
    losses = [diffusion.denoising_loss(model, diffusion.VP(), x0, generator(seed)) for seed in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]


def test_hutchinson_is_the_trace_when_averaged_over_all_signs():
    matrix = torch.randn(4, 4, generator=generator(), dtype=torch.float64)
    x = torch.randn(3, 4, generator=generator(1), dtype=torch.float64)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    field = lambda x: x @ matrix.T + torch.sin(x)  # noqa: E731
    exact = matrix.trace() + torch.cos(x).sum(1)
    probes = signs[:, None].expand(16, 3, 4)
    torch.testing.assert_close(value_and_divergence(field, x, probes)[1], exact)
    torch.testing.assert_close(diffusion.divergence(field, x, probes=None), exact)
    drawn = diffusion.divergence(field, x, generator(2), probes=3000)
    spread = (matrix + matrix.T).square().triu(1).sum().sqrt()
    assert (drawn - exact).abs().max() < 4 * spread / 3000**0.5
    assert (drawn - exact).abs().max() > 0  # it was an estimate


def test_divergence_of_a_field_on_images():
    x = torch.randn(2, 1, 3, 3, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(diffusion.divergence(lambda x: x**3, x, probes=None), (3 * x**2).sum((1, 2, 3)))
    torch.testing.assert_close(diffusion.divergence(lambda x: x**3, x, generator()), (3 * x**2).sum((1, 2, 3)))


def test_implicit_loss_is_least_at_the_true_score():
    # For s = -a x and N(0, v) data the loss is a^2 v / 2 - a, least at a = 1 / v.
    x = torch.randn(50, 1, generator=generator(), dtype=torch.float64)
    v = x.square().mean()
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for probes in (1, None):
        loss = diffusion.implicit_score_loss(lambda x: -a * x, x, generator(1), probes)
        torch.testing.assert_close(loss, a**2 * v / 2 - a)
        (slope,) = torch.autograd.grad(loss, a)
        torch.testing.assert_close(slope, a * v - 1)


def test_implicit_and_explicit_loss_differ_by_a_constant_on_a_mixture():
    mixture = Mixture([0.3, 0.7], [-1.5, 1.0], 0.5)
    x = torch.linspace(-7, 7, 4001, dtype=torch.float64)[:, None]
    p = mixture.log_prob(x).exp()
    p = p / p.sum()
    slopes, logs = mixture.parts(x, 1.0, 0.0)
    true, gaps = (logs.softmax(1)[..., None] * slopes).sum(1), []
    for s in (lambda x: -x, lambda x: torch.sin(2 * x)):
        implicit = sum(
            float(w) * diffusion.implicit_score_loss(s, piece, probes=None).item()
            for w, piece in zip(p[::20] / p[::20].sum(), x[::20].split(1))
        )
        explicit = float((p * 0.5 * (s(x) - true).square()[:, 0]).sum())
        gaps.append(explicit - implicit)
    assert abs(gaps[0] - gaps[1]) < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diffusion.denoising_loss(lambda x, n, c: x[:, :1], diffusion.OU(), torch.ones(2, 3), generator()),
         r"\(2, 1\) for x_t of shape \(2, 3\)"),
        (lambda: diffusion.training_times(diffusion.OU(), 4, generator(), t_min=0.0), "t_min is 0"),
        (lambda: diffusion.divergence(lambda x: x, torch.ones(2, 2), generator(), probes=0), "probes is 0"),
        (lambda: diffusion.divergence(lambda x: x, torch.ones(2, 2)), "torch.Generator"),
        (lambda: diffusion.divergence(torch.no_grad()(lambda x: x**2), torch.ones(2, 2), probes=None), "no_grad"),
        (lambda: diffusion.divergence(lambda x: x.sum(1), torch.ones(2, 2), probes=None), r"shape \(2,\)"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_unknown_predictions_and_schedules_are_named():
    with pytest.raises(UnknownName, match=r"prediction 'epsilon'.*eps"):
        diffusion.score_function(ExactNetwork(1.0), diffusion.OU(), prediction="epsilon")
    with pytest.raises(UnknownName, match="prediction"):
        diffusion.denoising_loss(ExactNetwork(1.0), diffusion.OU(), torch.ones(2, 2), generator(), prediction="z")
    with pytest.raises(UnknownName, match="schedule"):
        diffusion.training_times(diffusion.OU(), 2, generator(), "log")
