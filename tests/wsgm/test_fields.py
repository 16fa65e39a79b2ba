"""Gaussian fields: spectra, samples with that spectrum, exact scores, and what is refused."""

import numpy as np
import pytest
import torch

from wavelab.diffusion import OU, euler_maruyama, time_grid
from wavelab.errors import InvalidInput
from wavelab.wsgm import fields, theory


@pytest.mark.parametrize(("L", "n", "eta"), [(8, 1, 1), (16, 2, 3), (7, 2, 1.5), (4, 3, 2)])
def test_power_law_is_normalised_and_a_power_law(L, n, eta):
    P = fields.power_law(L, n, eta)
    assert P.shape == (L,) * n and P.dtype == np.float64
    assert P.mean() == pytest.approx(1, rel=1e-12)
    omega = np.sqrt(sum(w**2 for w in np.meshgrid(*[2 * np.pi * np.fft.fftfreq(L)] * n, indexing="ij")))
    np.testing.assert_allclose(P.flat[0] / P, 1 + (omega * L / (2 * np.pi)) ** eta, rtol=1e-12)


def test_power_law_rounds_off_at_xi():
    P = fields.power_law(64, 1, 2, xi=0.5)
    np.testing.assert_allclose(P[0] / P[1], 1 + (2 * np.pi / 64 / 0.5) ** 2)


@pytest.mark.parametrize(("L", "kappa", "smallest"), [(8, 182, 0.0577), (16, 1449, 0.0259), (64, 9.3e4, 0.0060)])
def test_condition_number_of_the_reference(L, kappa, smallest):
    P = fields.power_law(L, 2, 3)
    assert fields.condition_number(P) == pytest.approx(1 + (L / 2**0.5) ** 3, rel=1e-12)
    assert fields.condition_number(P) == pytest.approx(kappa, rel=5e-3)
    assert P.min() == pytest.approx(smallest, abs=6e-5)


@pytest.mark.parametrize(("L", "n"), [(16, 1), (8, 2), (7, 2), (4, 3)])
def test_samples_have_the_spectrum(L, n):
    P, count = fields.power_law(L, n, 3), 4000
    x = fields.gaussian(P, count, torch.Generator().manual_seed(1))
    assert x.shape == (count, 1, *P.shape) and x.dtype == torch.float32
    ratio = fields.periodogram(x) / P
    assert np.abs(ratio - 1).max() < 6 * (2 / count) ** 0.5  # real modes: variance 2 / count
    assert ratio.mean() == pytest.approx(1, abs=6 * (2 / count / P.size) ** 0.5)


def test_samples_follow_the_generator():
    P = fields.power_law(8, 2, 2)
    first, again, other = (fields.gaussian(P, 2, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(("L", "n", "t"), [(8, 1, 0.3), (6, 2, 1.0), (5, 2, 0.1)])
def test_score_is_the_gradient_of_the_log_density(L, n, t):
    P = fields.power_law(L, n, 2)
    d = np.exp(-2 * t) * P + 1 - np.exp(-2 * t)
    F = np.fft.fftn(np.eye(P.size).reshape(-1, *P.shape), axes=range(1, n + 1), norm="ortho").reshape(P.size, -1)
    covariance = torch.from_numpy((F.conj().T / (1 / d.ravel()) @ F).real)  # symmetric under F -> F^T
    law = torch.distributions.MultivariateNormal(torch.zeros(P.size, dtype=torch.float64), covariance)
    x = torch.randn(3, 1, *P.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(law.log_prob(x.reshape(3, -1)).sum(), x)
    torch.testing.assert_close(fields.score(P)(x, t), gradient)
    times = torch.full((3,), t)
    torch.testing.assert_close(fields.score(P)(x, times), gradient, rtol=1e-5, atol=1e-5)


def test_sampler_with_the_exact_score_gives_the_spectrum_of_theory():
    P, times, count = fields.power_law(8, 2, 3), time_grid(5, 12), 6000
    g = torch.Generator().manual_seed(5)
    start = torch.randn(count, 1, 8, 8, generator=g)
    x = euler_maruyama(fields.score(P), OU(5.0), times, start, generator=g)
    ratio = fields.periodogram(x) / theory.output_spectrum(P, times)
    assert np.abs(ratio - 1).max() < 6 * (2 / count) ** 0.5
    assert np.abs(fields.periodogram(x) / P - 1).max() > 1  # and that is not the data's


@pytest.mark.parametrize(
    "arguments",
    [(1, 2, 3), (8.0, 2, 3), (8, 4, 3), (8, 0, 3), (8, 2, 0), (8, 2, -1), (8, 2, np.nan), (8, 2, 3, 0.0)],
)
def test_power_law_refuses(arguments):
    with pytest.raises(InvalidInput, match="expected"):
        fields.power_law(*arguments)


@pytest.mark.parametrize(
    ("spectrum", "reason"),
    [
        (np.array([1.0, 0.0, 1.0, 0.0]), "positive definite"),
        (np.array([1.0, -1.0, 1.0, -1.0]), "positive definite"),
        (np.array([1.0, np.nan]), "not finite"),
        (np.zeros(0), "empty"),
        ("white", "real numbers"),
        (np.ones((4, 8)), "expected"),
        (np.array([4.0, 3.0, 2.0, 1.0]), "not even"),
        (np.fft.fftshift(fields.power_law(7, 2, 2)), "fftfreq"),
    ],
)
def test_not_a_spectrum(spectrum, reason):
    with pytest.raises(InvalidInput, match=reason):
        fields.gaussian(spectrum, 1, torch.Generator())
    with pytest.raises(InvalidInput, match=reason):
        fields.score(spectrum)


def test_refuses_no_samples_and_another_size():
    with pytest.raises(InvalidInput, match="at least 1"):
        fields.gaussian(fields.power_law(4, 1, 1), 0, torch.Generator())
    with pytest.raises(InvalidInput, match="expected"):
        fields.score(fields.power_law(4, 1, 1))(torch.zeros(1, 1, 8), 0.1)
