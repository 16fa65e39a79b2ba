r"""From noise to data: one readable function a sampler.

All are called ``sampler(score, process, times, x, generator=...)`` with

- ``score(x, t)``: the score of the noisy data, such as :func:`~wavelab.diffusion.score_function` of a network;
- ``times``: an increasing grid from 0, walked from its end (:func:`~wavelab.diffusion.time_grid`);
- ``x``: the start, ``process.prior(shape, generator)``;
- ``guidance(x, t, score)``: what to use instead of the score; samplers run under ``torch.no_grad``, so a guidance that
  differentiates opens ``torch.enable_grad`` itself;
- ``callback(step, t, x)``: called with every new state; ``progress``: a bar.

Each returns ``x_0`` in the shape of ``x``, never asks for the score at ``t = 0``, and raises
:class:`~wavelab.errors.InvalidInput` for a bad grid, a score of another shape, or noise without a generator.
Chapter 8 derives and compares them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wavelab.diffusion.objectives import tweedie
from wavelab.diffusion.process import Process
from wavelab.diffusion.times import check_times, normal
from wavelab.diffusion.walk import Callback, Guidance, Score, backwards, checked, report
from wavelab.errors import InvalidInput, UnknownName


@torch.no_grad()
def euler_maruyama(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    last_noise: bool = True,
) -> Tensor:
    r"""Discretise the reverse-time equation, with the score at the start of each step.

    .. math:: x_{t_{k-1}}=x_{t_k}+\delta_k\{-f(x_{t_k},t_k)+g^2s(x_{t_k},t_k)\}+g\sqrt{\delta_k}\,z_k

    For the OU process this is :math:`x+\delta(x+2s)+\sqrt{2\delta}\,z`.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        last_noise: whether the last step adds its noise; the analysis of the scheme keeps it.

    Returns:
        ``x_0``.

    Source:
        Guth et al. (2022), equation 6, with its time index put right.
    """
    s = checked(score, guidance)
    for step, t, earlier in backwards(process, times, progress):
        delta, g = t - earlier, process.diffusion(t)
        x = x + delta * (g**2 * s(x, t) - process.drift(x, t))
        if last_noise or earlier > 0:
            x = x + g * delta.sqrt() * normal(x, generator)
        report(callback, step, earlier, x)
    return x


@torch.no_grad()
def ancestral(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    variance: str = "small",
    clip: float | None = None,
) -> Tensor:
    r"""Draw from the Gaussian posterior of each step given the estimate of :math:`x_0`: DDPM's sampler.

    .. math:: x_s=\frac{\alpha_{t|s}\sigma_s^2}{\sigma_t^2}x_t+\frac{\alpha_s\sigma_{t|s}^2}{\sigma_t^2}\hat x_0
        +\tilde\sigma z,\qquad\alpha_{t|s}=\alpha_t/\alpha_s,\quad\sigma_{t|s}^2=\sigma_t^2-\alpha_{t|s}^2\sigma_s^2

    with :math:`\tilde\sigma^2=\sigma_{t|s}^2\sigma_s^2/\sigma_t^2` (small) or :math:`\sigma_{t|s}^2` (large). The last
    step adds no noise.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        variance: ``"small"``, right for data at one point, or ``"large"``, right for white Gaussian data.
        clip: if given, the estimate of ``x_0`` is clipped to ``[-clip, clip]``.

    Returns:
        ``x_0``.

    Raises:
        UnknownName: another variance.

    Source:
        Ho, Jain & Abbeel (2020), equations 6 and 7 and section 3.2.
    """
    if variance not in ("small", "large"):
        raise UnknownName.among("variance of ancestral sampling", variance, ("small", "large"))
    score = checked(score, guidance)
    for step, t, s in backwards(process, times, progress):
        x0 = _estimate(score, process, x, t, clip)
        kept = process.alpha(t) / process.alpha(s)
        added = process.sigma(t) ** 2 - kept**2 * process.sigma(s) ** 2
        to_x, to_x0 = kept * process.sigma(s) ** 2, process.alpha(s) * added
        x = (to_x * x + to_x0 * x0) / process.sigma(t) ** 2
        if s > 0:
            share = process.sigma(s) / process.sigma(t) if variance == "small" else 1.0
            x = x + added.sqrt() * share * normal(x, generator)
        report(callback, step, s, x)
    return x


@torch.no_grad()
def ddim(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    eta: float = 0.0,
    clip: float | None = None,
) -> Tensor:
    r"""Keep the estimated noise and shrink it: deterministic for ``eta = 0``, ancestral (small) for ``eta = 1``.

    .. math:: x_s=\alpha_s\hat x_0+\sqrt{\sigma_s^2-\eta^2\tilde\sigma^2}\,\hat\epsilon+\eta\tilde\sigma z,
        \qquad\hat\epsilon=(x_t-\alpha_t\hat x_0)/\sigma_t

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        eta: share of fresh noise, from 0 to 1; 0 needs no generator.
        clip: if given, the estimate of ``x_0`` is clipped to ``[-clip, clip]``.

    Returns:
        ``x_0``.

    Raises:
        InvalidInput: ``eta`` outside [0, 1].

    Source:
        Song, Meng & Ermon (2021), Denoising diffusion implicit models, equations 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise InvalidInput(f"eta is {eta}; expected a number from 0 (deterministic) to 1 (ancestral).")
    score = checked(score, guidance)
    for step, t, s in backwards(process, times, progress):
        x0 = _estimate(score, process, x, t, clip)
        eps = (x - process.alpha(t) * x0) / process.sigma(t)
        kept = process.alpha(t) / process.alpha(s)
        added = process.sigma(t) ** 2 - kept**2 * process.sigma(s) ** 2
        fresh = eta * added.sqrt() * process.sigma(s) / process.sigma(t)
        x = process.alpha(s) * x0 + (process.sigma(s) ** 2 - fresh**2).clamp_min(0).sqrt() * eps
        if fresh > 0:
            x = x + fresh * normal(x, generator)
        report(callback, step, s, x)
    return x


@torch.no_grad()
def heun(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    churn: float = 0.0,
) -> Tensor:
    r"""Integrate the probability flow by Heun's rule in the coordinates where it is simplest (EDM's sampler).

    With :math:`y=x/\alpha` and :math:`\hat\sigma=\sigma/\alpha` every process has the same flow,

    .. math:: \frac{dy}{d\hat\sigma}=\frac{y-D(y,\hat\sigma)}{\hat\sigma},\qquad D=\mathbb E[x_0|x_t]

    Two scores a step, one in the last step, which is Euler's and ends at the denoised sample.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        churn: noise added anew, spread over the steps (EDM's ``S_churn``); 0 is deterministic and needs no generator.

    Returns:
        ``x_0``.

    Raises:
        InvalidInput: a negative ``churn``.

    Source:
        Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion models, algorithm 2.
    """
    if not churn >= 0:
        raise InvalidInput(f"churn is {churn}; expected 0 or more.")
    score = checked(score, guidance)

    def slope(y: Tensor, t: Tensor) -> Tensor:
        x = process.alpha(t) * y
        return (y - tweedie(score(x, t), x, t, process)) / process.log_noise(t).exp()

    gamma = min(churn / (len(check_times(times)) - 1), 2**0.5 - 1)
    for step, t, s in backwards(process, times, progress):
        y, noise, end = x / process.alpha(t), process.log_noise(t).exp(), process.log_noise(s).exp()
        # Raise the noise for a moment.
        if gamma > 0:
            y = y + noise * ((1 + gamma) ** 2 - 1) ** 0.5 * normal(y, generator)
            noise = (1 + gamma) * noise
            t = process.time(noise.log())
        # Euler step.
        first = slope(y, t)
        y_end = y + (end - noise) * first
        # Correct it with the slope at its end.
        if s > 0:
            y_end = y + (end - noise) * (first + slope(y_end, s)) / 2
        x = process.alpha(s) * y_end
        report(callback, step, s, x)
    return x


def _estimate(score: Score, process: Process, x: Tensor, t: Tensor, clip: float | None) -> Tensor:
    x0 = tweedie(score(x, t), x, t, process)
    return x0 if clip is None else x0.clamp(-clip, clip)
