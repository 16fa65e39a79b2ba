"""Moves of a Markov chain on many periodic square lattices at once; :mod:`wavelab.wsgm.phi4` is their public face.

Sites whose row plus column is even touch odd ones only, so each colour of the checkerboard moves at once. A colour is
kept as ``(L, L / 2, chains)``: its column ``c`` of row ``r`` is site ``2 c + (r + colour) mod 2`` of that row.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor


def split(x: Tensor) -> list[Tensor]:
    """Return the even and the odd colour of fields ``(chains, 1, L, L)``."""
    rows = x.squeeze(1).movedim(0, -1)
    row = torch.arange(rows.shape[0], device=x.device)[:, None]
    even = torch.arange(0, rows.shape[0], 2, device=x.device) + row % 2
    return [rows[row, even].contiguous(), rows[row, even + 1 - 2 * (row % 2)].contiguous()]


def join(colours: list[Tensor]) -> Tensor:
    """Invert :func:`split`."""
    pairs = torch.stack(colours, 2)
    pairs[1::2] = pairs[1::2].flip(2)
    return pairs.flatten(1, 2).movedim(-1, 0).unsqueeze(1).contiguous()


def around(other: Tensor, colour: int) -> Tensor:
    """Sum the four neighbours of every site of ``colour``, given the other colour."""
    total = other.roll(1, 0) + other.roll(-1, 0) + other  # above, below, and the one beside in the same column
    total[colour::2] += other[colour::2].roll(1, 1)
    total[1 - colour :: 2] += other[1 - colour :: 2].roll(-1, 1)
    return total


def metropolis(colours: list[Tensor], bond: float, well: float, step: float, generator: torch.Generator) -> None:
    """Propose x_u + step (2 U - 1) everywhere, one colour after the other; accept with min(1, exp(-change of E))."""
    for k in (0, 1):
        x, pull = colours[k], bond * around(colours[1 - k], k)
        moved = torch.rand(x.shape, generator=generator, device=x.device).mul_(2 * step).sub_(step).add_(x)
        square, new = x * x, moved * moved
        change = new * (new - well) - square * (square - well) - pull * (moved - x)
        colours[k] = torch.where(_accepted(change, generator), moved, x)


def sign_flips(colours: list[Tensor], bond: float, generator: torch.Generator) -> None:
    """Propose -x_u everywhere: only the bonds change, by 2 b x_u times the sum of the neighbours."""
    for k in (0, 1):
        x = colours[k]
        change = 2 * bond * x * around(colours[1 - k], k)
        colours[k] = torch.where(_accepted(change, generator), -x, x)


def _accepted(change: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(change.shape, generator=generator, device=change.device) < change.neg().exp()


def flip_clusters(x: Tensor, bond: float, generator: torch.Generator) -> Tensor:
    """Join neighbours of equal sign with probability 1 - exp(-2 b x_u x_v); flip each cluster with probability 1/2."""
    site = torch.arange(x.numel(), dtype=torch.int32, device=x.device).reshape(x.shape)
    right, below = x.roll(-1, -1), x.roll(-1, -2)
    ends = torch.stack([site.roll(-1, -1), site.roll(-1, -2)], -1)
    odds = 1 - torch.stack([x * right, x * below], -1).mul(-2 * bond).clamp(max=0).exp()
    joined = torch.rand(odds.shape, generator=generator, device=x.device) < odds
    starts = np.concatenate([[0], joined.sum(-1).flatten().cumsum(0).cpu().numpy()]).astype(np.int32)
    ends = ends[joined].cpu().numpy()
    graph = csr_matrix((np.ones(len(ends)), ends, starts), (x.numel(), x.numel()))
    count, label = connected_components(graph, directed=False)
    sign = torch.rand(count, generator=generator, device=x.device).lt(0.5) * 2.0 - 1
    return x * sign[torch.from_numpy(label).long().to(x.device)].reshape(x.shape)
