r"""The probability flow: the ordinary equation with the same marginals, walked either way, and the likelihood it gives.

.. math:: \frac{dx}{dt}=f(x,t)-\tfrac12g(t)^2s(x,t)

Chapter 8 derives it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from wavelab.diffusion.objectives import rademacher, value_and_divergence
from wavelab.diffusion.process import Process
from wavelab.diffusion.walk import Callback, Guidance, Score, backwards, checked, report

Slope = Callable[..., tuple[Tensor, ...]]


@torch.no_grad()
def probability_flow(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    *,
    generator: torch.Generator | None = None,
    guidance: Guidance | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    reverse: bool = False,
) -> Tensor:
    r"""Integrate the probability flow by Heun's rule in time, from noise to data or from data to noise.

    .. math:: \tilde x=x+h\,v(x,t),\qquad x\leftarrow x+\tfrac h2\big(v(x,t)+v(\tilde x,t+h)\big)

    The step that touches ``t = 0`` is Euler's with the slope at ``t_1``.

    Args:
        score: ``score(x, t)``, the score of the noisy data.
        process: the forward process.
        times: an increasing grid from 0, walked from its end, or from 0 with ``reverse``.
        x: the start: noise from ``process.prior``, or data with ``reverse``.
        generator: not needed; accepted so that all samplers can be called alike.
        guidance: ``guidance(x, t, score)``, a value to use instead of the score.
        callback: called as ``callback(step, t, x)`` with every new state.
        progress: whether to draw a bar.
        reverse: walk from data (``x`` clean) to noise instead.

    Returns:
        The state at the other end.

    Source:
        Song et al. (2021), equation 13.
    """
    s = checked(score, guidance)

    def slope(x: Tensor, t: Tensor) -> tuple[Tensor]:
        return (process.drift(x, t) - process.diffusion(t) ** 2 / 2 * s(x, t),)

    for step, start, end in _ordered(process, times, progress, reverse):
        (x,) = _heun_step(slope, (x,), start, end)
        report(callback, step, end, x)
    return x


@torch.no_grad()
def log_likelihood(
    score: Score,
    process: Process,
    times: Tensor,
    x: Tensor,
    generator: torch.Generator | None = None,
    probes: int | None = 1,
    *,
    progress: bool = False,
) -> Tensor:
    r"""Return the log density that the probability flow gives to clean samples.

    .. math:: \log p_0(x_0)=\log p_T(x_T)+\int_0^T\mathrm{div}\,v(x_t,t)\,dt

    along the flow from data to noise. The same probes serve the whole way.

    Args:
        score: must be differentiable by autograd.
        process: the forward process.
        times: an increasing grid from 0.
        x: clean samples ``(batch, ...)``.
        generator: source of the random signs.
        probes: Hutchinson probes, see :func:`wavelab.diffusion.divergence`; None for the exact divergence.
        progress: whether to draw a bar.

    Returns:
        Nats a sample, shape ``(batch,)``.

    Raises:
        InvalidInput: a score that autograd cannot follow, or probes without a generator.

    Source:
        Song et al. (2021), appendix D.2; Grathwohl et al. (2019), FFJORD.
    """
    s, signs = checked(score), rademacher(x, generator, probes)

    def slope(x: Tensor, _: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        value, div = value_and_divergence(lambda y: s(y, t), x, signs)
        pull = process.drift(torch.ones_like(x), t).flatten(1).sum(1)  # div f: the drift is linear, f = a(t) x
        half = process.diffusion(t) ** 2 / 2
        return process.drift(x, t) - half * value, pull - half * div

    gained = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for _, start, end in _ordered(process, times, progress, reverse=True):
        x, gained = _heun_step(slope, (x, gained), start, end)
    return process.prior_log_prob(x) + gained


def _heun_step(slope: Slope, state: tuple[Tensor, ...], start: Tensor, end: Tensor) -> tuple[Tensor, ...]:
    """Return the state at ``end``; the slope is never asked for at time 0, where the score of data may not exist."""
    h = end - start
    first = slope(*state, start if start > 0 else end)
    guess = tuple(a + h * v for a, v in zip(state, first))
    if start == 0 or end == 0:
        return guess
    second = slope(*guess, end)
    return tuple(a + h / 2 * (v + w) for a, v, w in zip(state, first, second))


def _ordered(process: Process, times: Tensor, progress: bool, reverse: bool) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield ``(step, from, to)`` in the direction of the walk."""
    walk = backwards(process, times, progress)
    if not reverse:
        return walk
    pairs = [(earlier, t) for _, t, earlier in walk]
    return ((step, *pair) for step, pair in enumerate(reversed(pairs), 1))
