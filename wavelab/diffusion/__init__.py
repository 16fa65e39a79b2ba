"""Diffusion from scratch: forward processes, objectives and samplers.

Tensors are ``(batch, channels, *space)``. A score is any ``score(x, t)``; a network becomes one by
:func:`score_function`. Times increase from 0 (data) to ``T`` (noise); samplers walk them from the end.
"""

from wavelab.diffusion.mcmc import annealed_langevin, autocorrelation_time, langevin, predictor_corrector
from wavelab.diffusion.objectives import (
    denoiser,
    denoising_loss,
    divergence,
    implicit_score_loss,
    score_function,
    target,
    to_denoised,
    to_score,
    training_times,
    tweedie,
)
from wavelab.diffusion.ode import log_likelihood, probability_flow
from wavelab.diffusion.process import OU, VE, VP, Chain, Process
from wavelab.diffusion.samplers import ancestral, ddim, euler_maruyama, heun
from wavelab.diffusion.times import check_times, time_grid

__all__ = [
    "OU", "VE", "VP", "Chain", "Process", "ancestral", "annealed_langevin", "autocorrelation_time",
    "check_times", "ddim", "denoiser",
    "denoising_loss", "divergence", "euler_maruyama", "heun", "implicit_score_loss", "langevin", "log_likelihood",
    "predictor_corrector", "probability_flow", "score_function", "target", "time_grid", "to_denoised", "to_score",
    "training_times", "tweedie",
]  # fmt: skip
