"""Samplers that let a chain wander at each noise level: Langevin, annealed Langevin, predictor–corrector.

They are called like those of :mod:`wavelab.diffusion.samplers`. Chapter 7 explains the first two, chapter 8 the third.
:func:`autocorrelation_time` tells how long a chain takes to forget; chapter 11 needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wavelab.diffusion.objectives import tweedie
from wavelab.diffusion.process import Process
from wavelab.diffusion.times import check_positive, check_steps, normal
from wavelab.diffusion.walk import Callback, Guidance, Score, backwards, check_output, checked, counted, report
from wavelab.errors import InvalidInput
from wavelab.subbands import check_tensor


@torch.no_grad()
def langevin(
    score: Callable[[Tensor], Tensor],
    x: Tensor,
    steps: int,
    step_size: float,
    generator: torch.Generator,
    *,
    callback: Callback | None = None,
    progress: bool = False,
) -> Tensor:
    r"""Walk along the score of one fixed density, with noise: the unadjusted Langevin algorithm.

    .. math:: x\leftarrow x+\epsilon\,s(x)+\sqrt{2\epsilon}\,z

    Args:
        score: ``score(x)``.
        x: the start, ``(batch, ...)``.
        steps: how many.
        step_size: :math:`\epsilon`; the bias it leaves shrinks with it.
        generator: source of the noise.
        callback: called as ``callback(step, 0.0, x)``.
        progress: whether to draw a bar.

    Returns:
        The last state.

    Raises:
        InvalidInput: no step, a step size that is not positive, a score of another shape.

    Source:
        Roberts & Tweedie (1996), Exponential convergence of Langevin distributions.
    """
    check_steps(steps)
    check_positive(step_size=step_size)
    for step in counted(steps, progress):
        x = _langevin_step(x, check_output(score(x), x, "score"), step_size, normal(x, generator))
        report(callback, step, 0.0, x)
    return x


@torch.no_grad()
def annealed_langevin(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    steps_per_level: int = 10,
    step_size: float = 0.1,
    denoise: bool = False,
) -> Tensor:
    r"""Run Langevin at every noise level in turn, from the noisiest to the cleanest.

    .. math:: x\leftarrow x+\epsilon_k s(x,t_k)+\sqrt{2\epsilon_k}\,z,\quad\epsilon_k=\texttt{step\_size}\,\sigma_k^2

    Between levels ``x`` is scaled by the ratio of the alphas. The last level is ``t_1``, so the result still carries
    the small noise of that level unless it is denoised.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        steps_per_level: Langevin steps at each of ``t_N, ..., t_1``.
        step_size: the step in units of the level's noise variance.
        denoise: whether to end with Tweedie's formula at ``t_1``.

    Returns:
        ``x_0``, with the noise of ``t_1`` unless denoised.

    Raises:
        InvalidInput: no step, or a step size that is not positive.

    Source:
        Song & Ermon (2019), Generative modeling by estimating gradients of the data distribution, algorithm 1.
    """
    check_steps(steps_per_level)
    check_positive(step_size=step_size)
    s = checked(score, guidance)
    count = 0
    for _, t, earlier in backwards(process, times, progress):
        epsilon = step_size * process.sigma(t) ** 2
        for _ in range(steps_per_level):
            x = _langevin_step(x, s(x, t), epsilon, normal(x, generator))
            count += 1
            report(callback, count, t, x)
        if denoise and earlier == 0:
            return tweedie(s(x, t), x, t, process)
        x = x * (process.alpha(earlier) / process.alpha(t))
    return x


@torch.no_grad()
def predictor_corrector(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    corrector_steps: int = 1,
    snr: float = 0.16,
    last_noise: bool = False,
) -> Tensor:
    r"""Alternate a step of Euler–Maruyama with Langevin steps at the noise level it has reached.

    The corrector's step follows the norms of noise and score, averaged over the batch:

    .. math:: x\leftarrow x+\epsilon\,s(x,t)+\sqrt{2\epsilon}\,z,\qquad
        \epsilon=2\big(\texttt{snr}\;\lVert z\rVert/\lVert s\rVert\big)^2

    Nothing is corrected at ``t = 0``.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end.
        x: the start, ``process.prior(shape, generator)``.
        generator: source of the noise.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        corrector_steps: Langevin steps after each predictor step; 0 leaves Euler–Maruyama.
        snr: size of the corrector's step.
        last_noise: whether the last predictor step adds its noise.

    Returns:
        ``x_0``.

    Raises:
        InvalidInput: fewer than 0 corrector steps, or ``snr`` not positive.

    Source:
        Song et al. (2021), Score-based generative modeling through stochastic differential equations, algorithms 1
        to 5.
    """
    if corrector_steps < 0:
        raise InvalidInput(f"corrector_steps is {corrector_steps}; expected 0 or more.")
    check_positive(snr=snr)
    s = checked(score, guidance)
    for step, t, earlier in backwards(process, times, progress):
        # Predict.
        delta, g = t - earlier, process.diffusion(t)
        x = x + delta * (g**2 * s(x, t) - process.drift(x, t))
        if last_noise or earlier > 0:
            x = x + g * delta.sqrt() * normal(x, generator)
        # Correct.
        for _ in range(corrector_steps if earlier > 0 else 0):
            value, z = s(x, earlier), normal(x, generator)
            epsilon = 2 * (snr * _norm(z) / _norm(value)) ** 2
            x = _langevin_step(x, value, epsilon, z)
        report(callback, step, earlier, x)
    return x


def _langevin_step(x: Tensor, score: Tensor, epsilon: float | Tensor, z: Tensor) -> Tensor:
    return x + epsilon * score + (2 * epsilon) ** 0.5 * z


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).mean()


def autocorrelation_time(series: Tensor, window: float = 6.0) -> tuple[float, float]:
    r"""Integrated autocorrelation time in sweeps, :math:`\tau = \frac12 + \sum_{k=1}^{W}\rho_k`, with its error.

    :math:`W` is the smallest lag with :math:`W \ge \mathrm{window}\cdot\tau`. A mean over :math:`n` sweeps then has the
    variance of a mean over :math:`n/2\tau` independent ones; independent sweeps have :math:`\tau=\frac12`.

    Args:
        series: an observable ``(chains, sweeps)``; chains are pooled.
        window: factor between window and autocorrelation time.

    Returns:
        The time and its statistical error, :math:`\tau\sqrt{2(2W+1)/n}` with :math:`n` the number of all values.

    Raises:
        InvalidInput: another shape, a constant series, or one too short to hold the window.

    Source:
        Madras & Sokal (1988), The pivot algorithm; Wolff (2004), Monte Carlo errors with less errors.
    """
    check_tensor(series, "series", 1)
    if series.ndim != 2 or series.shape[1] < 4:
        raise InvalidInput(f"series has shape {tuple(series.shape)}; expected (chains, sweeps), at least 4 sweeps.")
    x = series.double() - series.double().mean()
    if not x.abs().max() > 0:
        raise InvalidInput("series is constant; its autocorrelation is not defined.")
    n = x.shape[1]
    power = torch.fft.rfft(x, 2 * n).abs().square().mean(0)
    rho = torch.fft.irfft(power, 2 * n)[:n] / torch.arange(n, 0, -1, device=x.device)
    tau = (rho / rho[0]).cumsum(0) - 0.5
    lags = torch.arange(n, device=x.device)
    fits = ((lags >= window * tau) & (lags > 0)).nonzero().flatten().tolist()
    if not fits or fits[0] > n // 2:
        raise InvalidInput(
            f"{n} sweeps are too few for an autocorrelation time of about {float(tau.max()):.0f}; run longer."
        )
    width = fits[0]
    return float(tau[width]), float(tau[width]) * math.sqrt(2 * (2 * width + 1) / x.numel())
