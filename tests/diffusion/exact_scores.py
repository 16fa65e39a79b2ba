"""Targets whose noisy scores are known, and noise that a test chooses."""

from __future__ import annotations

import torch
from torch import Tensor

from wavelab import diffusion

PROCESSES = {
    "OU": diffusion.OU(),
    "VP": diffusion.VP(),
    "VE": diffusion.VE(sigma_max=30.0),
    "linear chain": diffusion.Chain.linear(1000),
    "cosine chain": diffusion.Chain.cosine(50),
}


def gaussian_score(process, variance, mean=0.0):
    """The score of N(mean, variance) data after noise."""

    def score(x, t):
        alpha, sigma = process.alpha(t), process.sigma(t)
        return -(x - alpha * mean) / (alpha**2 * variance + sigma**2)

    return score


class Mixture:
    """A mixture of isotropic Gaussians in any dimension, with score, density and CDF (1-D) after noise."""

    def __init__(self, weights, means, std):
        self.weights = torch.tensor(weights, dtype=torch.float64)
        self.means = torch.tensor(means, dtype=torch.float64).reshape(len(weights), -1)
        self.std = std

    def parts(self, x: Tensor, alpha, sigma):
        variance = alpha**2 * self.std**2 + sigma**2
        difference = alpha * self.means.to(x) - x[:, None]
        squares = difference.square().sum(-1) / variance
        constant = -0.5 * x.shape[1] * torch.log(2 * torch.pi * torch.as_tensor(variance))
        return difference / variance, self.weights.log().to(x) - squares / 2 + constant

    def score(self, process):
        def score(x, t):
            slopes, logs = self.parts(x, process.alpha(t), process.sigma(t))
            return (logs.softmax(1)[..., None] * slopes).sum(1)

        return score

    def log_prob(self, x: Tensor, alpha=1.0, sigma=0.0):
        return self.parts(x, alpha, sigma)[1].logsumexp(1)

    def cdf(self, x: Tensor, alpha=1.0, sigma=0.0):
        std = (alpha**2 * self.std**2 + sigma**2) ** 0.5
        return (self.weights * torch.special.ndtr((x - alpha * self.means[:, 0]) / std)).sum(1)

    def sample(self, count, generator):
        k = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        return self.means[k] + self.std * torch.randn(
            count, self.means.shape[1], generator=generator, dtype=torch.float64
        )


def unit_noises(monkeypatch, module, draws):
    """Make a linear sampler reveal its coefficients: sample 0 starts at one, sample k meets unit noise at draw k.

    Returns the start; the squares of the outputs add up to the variance the sampler gives to standard Gaussian noise.
    """
    calls = []

    def unit(x, generator):
        calls.append(1)
        z = torch.zeros_like(x)
        z[len(calls)] = 1.0
        return z

    monkeypatch.setattr(module, "normal", unit)
    x = torch.zeros(draws + 1, 1, dtype=torch.float64)
    x[0] = 1.0
    return x
