r"""Simulated scans, and how a score reconstructs them or draws from their posterior.

Images are in units of water (chest) or from 0 to 1 (brain). Scores are networks that predict v for :data:`PROCESS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wavelab.data.volumes import MU_WATER
from wavelab.diffusion import VE, ancestral, score_function
from wavelab.diffusion.times import normal
from wavelab.medical import mri
from wavelab.medical.checks import check_number
from wavelab.medical.ct import CT, counts, log_transform, log_variance
from wavelab.medical.geometry import Fan, Parallel
from wavelab.medical.mri import MRI
from wavelab.medical.reconstruct import Consistency, consistency, guidance, levels, plug_and_play
from wavelab.medical.regularise import Regulariser

PROCESS = VE(sigma_min=0.005, sigma_max=3.0)
LEVELS = (0.01, 1.0)  # of noise, between which scores are trained


class Scans(NamedTuple):
    """Images and what a scanner measured of them.

    Attributes:
        truth: ``(images, 1, height, width)``.
        physics: the scanner.
        y: its measurements.
        weight: the inverse of their variances.
        start: the simplest reconstruction: filtered back-projection with a Hann window, or zero-filling.
    """

    truth: Tensor
    physics: CT | MRI
    y: Tensor
    weight: Tensor
    start: Tensor

    def part(self, chosen: slice) -> Scans:
        """Return some of the images."""
        return Scans(self.truth[chosen], self.physics, *(t[chosen] for t in (self.y, self.weight, self.start)))


def scan_ct(truth: Tensor, beam: Fan | Parallel, photons: float, generator: torch.Generator) -> Scans:
    """Scan images in units of water with Poisson noise.

    Args:
        truth: images ``(images, 1, size, size)``.
        beam: of the scanner.
        photons: that a bin counts without an object.
        generator: source of the noise.

    Raises:
        InvalidInput: see :func:`wavelab.medical.ct.counts`.
    """
    scanner = CT(beam, unit=MU_WATER, device=truth.device)
    k = counts(truth, scanner, photons, generator)
    y = log_transform(k, photons)
    return Scans(truth, scanner, y, 1 / log_variance(k), scanner.fbp(y, "hann"))


def scan_mri(truth: Tensor, mask: Tensor, sigma: float, generator: torch.Generator) -> Scans:
    r"""Scan real images with complex noise of variance :math:`\sigma^2` in k-space.

    Args:
        truth: images ``(images, 1, height, width)``.
        mask: which points are measured.
        sigma: standard deviation of the noise.
        generator: its source.

    Raises:
        InvalidInput: a mask or images that do not fit, or a standard deviation that is not positive.
    """
    check_number("sigma", sigma)
    scanner = MRI(mask.to(truth.device))
    y = scanner.A(truth)
    y = y + scanner.mask * mri.noise(y, sigma, generator)
    weight = torch.full((len(y), 1, 1, 1), 2 / sigma**2, dtype=truth.dtype, device=truth.device)
    return Scans(truth, scanner, y, weight, scanner.A_adjoint(y))


def noisy_images(physics: CT | MRI, y: Tensor) -> Tensor:
    """Turn measurements into the images that scores learn from: plain filtered back-projection, or the adjoint."""
    return physics.fbp(y) if isinstance(physics, CT) else physics.A_adjoint(y)


def reconstruct(
    net: nn.Module,
    scans: Scans,
    *,
    strength: float = 1.0,
    top: float = 0.3,
    end: float = LEVELS[0],
    steps: int = 16,
    inner: int = 10,
    regulariser: Regulariser | None = None,
    batch: int = 10,
) -> Tensor:
    r"""Reconstruct scans by :func:`wavelab.medical.reconstruct.plug_and_play`, noise levels in equal ratios.

    Args:
        net: predicts v, as all scores of the study.
        scans: what was measured.
        strength: :math:`\lambda`.
        top: largest noise level.
        end: smallest; for a relabelled score not below the noise of its images.
        steps: how many.
        inner: conjugate gradients in each.
        regulariser: applied to the estimate before the data.
        batch: images at once.
    """
    score, sigmas, done = score_function(net, PROCESS, prediction="v"), np.geomspace(end, top, steps), []
    for first in range(0, len(scans.truth), batch):
        part = scans.part(slice(first, first + batch))
        consistent, options = consistent_with(part, inner), {"strength": strength, "regulariser": regulariser}
        done.append(plug_and_play(score, PROCESS, sigmas, consistent, part.start, **options))
    return torch.cat(done)


def sample(
    net: nn.Module,
    scans: Scans,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    top: float = 0.5,
    end: float = LEVELS[0],
    steps: int = 24,
    inner: int = 6,
    batch: int = 10,
) -> Tensor:
    """Draw one image a scan from the posterior, by guided ancestral sampling; see :func:`reconstruct`."""
    options = {"strength": strength, "top": top, "end": end, "steps": steps, "inner": inner, "batch": batch}
    return guided(ancestral, net, scans, generator, **options)


@torch.no_grad()
def guided(
    sampler: Callable[..., Tensor],
    net: nn.Module,
    scans: Scans,
    generator: torch.Generator,
    *,
    strength: float,
    top: float,
    steps: int,
    inner: int,
    end: float = LEVELS[0],
    batch: int = 10,
    **options: Any,
) -> Tensor:
    """Walk a sampler of :mod:`wavelab.diffusion` with data consistency, from noise of level ``top`` about the start."""
    score, done = score_function(net, PROCESS, prediction="v"), []
    times = levels(PROCESS, np.geomspace(end, top, steps))
    for first in range(0, len(scans.truth), batch):
        part = scans.part(slice(first, first + batch))
        guide = guidance(PROCESS, consistent_with(part, inner), strength)
        start = part.start + top * normal(part.start, generator)
        done.append(sampler(score, PROCESS, times, start, generator=generator, guidance=guide, **options))
    return torch.cat(done)


def consistent_with(scans: Scans, inner: int) -> Consistency:
    """Return the data-consistency step of scans, with ``inner`` conjugate gradients for CT."""
    weight = float(scans.weight.mean()) if isinstance(scans.physics, MRI) else scans.weight
    return consistency(scans.physics, scans.y, weight, inner)
