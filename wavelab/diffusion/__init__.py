"""Diffusion from scratch: forward processes, objectives and samplers.

Tensors are ``(batch, channels, *space)``. A score is any ``score(x, t)``; a network becomes one by
:func:`score_function`. Times increase from 0 (data) to ``T`` (noise); samplers walk them from the end.
"""

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
from wavelab.diffusion.process import OU, VE, VP, Chain, Process
from wavelab.diffusion.times import check_times, time_grid

__all__ = [
    "OU", "VE", "VP", "Chain", "Process", "check_times", "denoiser", "denoising_loss", "divergence",
    "implicit_score_loss", "score_function", "target", "time_grid", "to_denoised", "to_score", "training_times",
    "tweedie",
]  # fmt: skip
