"""Every method of Part 4 behind one call, tuned on validation scans and judged on test scans.

A method is ``method(scans, **setting)`` and returns images. A grid is a list of settings; :func:`tune` tries them all
on the same scans, so that the budget of each method is the length of its grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wavelab import diffusion, metrics
from wavelab.errors import InvalidInput
from wavelab.medical import classical, reconstruct
from wavelab.medical.ct import CT
from wavelab.medical.prior import deep_image_prior
from wavelab.medical.regularise import Regulariser
from wavelab.medical.scans import LEVELS, PROCESS, Scans, guided

Method = Callable[..., Tensor]


def analytic(scans: Scans, **setting: Any) -> Tensor:
    """Filtered back-projection with a ``filter`` and a ``cutoff``, or zero-filling, which has no setting."""
    return scans.physics.fbp(scans.y, **setting) if isinstance(scans.physics, CT) else zero_filled(scans, **setting)


def zero_filled(scans: Scans) -> Tensor:
    """The adjoint of the measurements."""
    return scans.start


def least_squares(scans: Scans, steps: int, high: float) -> Tensor:
    """Weighted least squares within bounds, stopped after some steps."""
    return _fista(scans, classical.bounds(0.0, high), steps)


def total_variation(scans: Scans, weight: float, steps: int, high: float) -> Tensor:
    """FISTA with total variation and bounds."""
    return _fista(scans, classical.total_variation(weight, 3, 0.0, high), steps)


def wavelet_l1(scans: Scans, weight: float, steps: int, high: float, wavelet: str = "haar") -> Tensor:
    """FISTA with the l1 norm of wavelet details and bounds."""
    return _fista(scans, classical.wavelet_l1(weight, wavelet, 3, 0.0, high), steps)


def _fista(scans: Scans, prox: classical.Prox, steps: int) -> Tensor:
    return classical.fista(scans.physics, scans.y, prox, steps, scans.start.clamp_min(0.0), weights=scans.weight)


def image_prior(scans: Scans, seed: int = 0, oracle: bool = False, **setting: Any) -> Tensor:
    """Deep image prior of each scan, stopped by held-out measurements; with ``oracle`` where the error is least.

    All measurements count alike and values are not bounded: on a scan of the chest weights or a sigmoid made it slower.
    """
    pictures = []
    for k in range(len(scans.truth)):
        one, seen = scans.part(slice(k, k + 1)), _Best(scans.truth[k : k + 1])
        generator = torch.Generator(one.y.device).manual_seed(1000 * seed + k)
        fit = deep_image_prior(one.physics, one.y, generator, callback=seen if oracle else None, **setting)
        pictures.append(seen.image if oracle else fit.image)
    return torch.cat(pictures)


class _Best:
    """Keeps the picture nearest to the truth: an oracle, for the column that says so."""

    def __init__(self, truth: Tensor) -> None:
        self.truth, self.error, self.image = truth, float("inf"), truth

    def __call__(self, step: int, image: Tensor) -> None:
        if (error := float((image - self.truth).square().mean())) < self.error:
            self.error, self.image = error, image.clone()


@torch.no_grad()
def predictor_corrector(
    net: nn.Module, scans: Scans, generator: torch.Generator, *, strength: float = 1.0, steps: int = 40,
    snr: float = 0.16, top: float = 1.0, inner: int = 4,
) -> Tensor:  # fmt: skip
    """Sample with the reverse-diffusion predictor and one Langevin corrector a level, both with data consistency.

    Source:
        Song et al. (2021), Score-based generative modeling through stochastic differential equations; guided as in
        :func:`wavelab.medical.reconstruct.guidance`.
    """
    options = {"strength": strength, "steps": steps, "top": top, "inner": inner, "snr": snr}
    return guided(diffusion.predictor_corrector, net, scans, generator, **options)


@torch.no_grad()
def annealed_langevin(
    net: nn.Module, scans: Scans, generator: torch.Generator, *, strength: float = 1.0, steps: int = 12,
    steps_per_level: int = 5, step_size: float = 0.5, top: float = 1.0, inner: int = 4,
) -> Tensor:  # fmt: skip
    """Sample by Langevin steps at falling noise levels, each with data consistency, and denoise at the last.

    Source:
        Song & Ermon (2019), Generative modeling by estimating gradients of the data distribution; guided as in
        :func:`wavelab.medical.reconstruct.guidance`.
    """
    options = {"strength": strength, "steps": steps, "top": top, "inner": inner}
    walk = {"steps_per_level": steps_per_level, "step_size": step_size, "denoise": True}
    return guided(diffusion.annealed_langevin, net, scans, generator, **options, **walk)


def as_released(
    net: nn.Module, scans: Scans, generator: torch.Generator, regulariser: Regulariser | None = None, **setting: Any
) -> Tensor:
    """Reconstruct CT by :func:`wavelab.medical.reconstruct.annealed_sqs` with twelve levels from 1 to 0.01."""
    score = diffusion.score_function(net, PROCESS, prediction="v")
    sigmas = np.geomspace(LEVELS[0], LEVELS[1], 12)
    options = {"regulariser": regulariser, **setting}
    return reconstruct.annealed_sqs(score, PROCESS, sigmas, scans.physics, scans.y, scans.start, generator, **options)


def judge(images: Tensor, truth: Tensor, high: float) -> dict[str, list[float]]:
    """Return PSNR in dB and SSIM of each image, values clamped to ``[0, high]``, which is also the data range."""
    pair = [x.clamp(0, high).cpu() for x in (images, truth)]
    both = {"psnr": metrics.psnr, "ssim": metrics.ssim}
    return {name: measure(*pair, data_range=high, each=True).tolist() for name, measure in both.items()}


def tune(
    method: Method, grid: Sequence[Mapping[str, Any]], scans: Scans, high: float
) -> tuple[dict[str, Any], list[float]]:
    """Return the setting of a grid with the highest mean PSNR on validation scans, and the PSNR of each.

    Raises:
        InvalidInput: an empty grid.
    """
    if not grid:
        raise InvalidInput("The grid is empty; give at least one setting to try.")
    found = [float(np.mean(judge(method(scans, **setting), scans.truth, high)["psnr"])) for setting in grid]
    return dict(grid[int(np.argmax(found))]), found
