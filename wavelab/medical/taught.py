"""The supervised networks of Part 4: trained on pairs of scans and true images, which the noisy modes never see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from wavelab.checkpoints import load_or_train
from wavelab.errors import UnknownName
from wavelab.manifest import Manifest
from wavelab.medical import classical
from wavelab.medical.ct import CT
from wavelab.medical.learned import REDCNN, DataConsistencyCascade, PrimalDual, supervised
from wavelab.medical.scans import Scans
from wavelab.medical.wavelet_sgm import flipped
from wavelab.networks import Network
from wavelab.runtime import Run
from wavelab.training import Training, train

KINDS = ("red-cnn", "primal-dual", "cascade")
SIZES = {  # width inside, updates
    "smoke": (4, 3),
    "cpu": (28, 5000),
    "gpu": (96, 50_000),
}


def network(kind: str, scans: Scans, width: int, seed: int = 0) -> Network:
    """Return a fresh network for scans of this kind; the cascade is for MRI.

    Raises:
        UnknownName: there is no such kind.
    """
    if kind == "red-cnn":
        return REDCNN(1, width, seed=seed)
    if kind == "cascade":
        return DataConsistencyCascade(width, weight=1.0, seed=seed)  # noisy data must not be kept exactly
    if kind == "primal-dual":
        if not isinstance(scans.physics, CT):
            return PrimalDual(width, data_channels=2, seed=seed)
        norm = classical.norm(scans.physics, scans.truth.shape[-2:]) ** 0.5
        return PrimalDual(width, norm=round(norm, 3), seed=seed)
    raise UnknownName.among("supervised network", kind, KINDS)


def teach(
    run: Run, name: str, kind: str, scans: Scans, data: Sequence[str], settings: Mapping[str, Any], seed: int = 0
) -> tuple[nn.Module, Manifest]:
    """Load a supervised network, or train it on scans whose truth is known.

    Args:
        run: the chapter's run.
        name: of the checkpoint, such as ``"15-red-cnn"``.
        kind: one of ``KINDS``.
        scans: the training scans, several noise draws of every image one after the other.
        data: ids of the registered data sets behind them.
        settings: how the scans were made, plain values; a part of what identifies the trained network.
        seed: of the first weights and of the batches.

    Raises:
        UnknownName: there is no such kind.
    """
    width, updates = SIZES[run.profile]
    training = Training(updates, 4, 1e-3, seed=seed, checkpoint_every=100, precision="bfloat16")
    inputs = {"red-cnn": (_images(scans),), "primal-dual": (scans.y, _images(scans)), "cascade": (scans.y,)}
    net = network(kind, scans, width, seed)

    def fit(net, folder):
        return train(net, _loss(kind, scans), (*inputs[kind], scans.truth), training, folder)

    return load_or_train(name, net, fit, run=run, config=asdict(training) | dict(settings), data=list(data))


@torch.no_grad()
def apply(kind: str, net: nn.Module, scans: Scans, batch: int = 10) -> Tensor:
    """Reconstruct scans with a network of :func:`teach`."""
    done = []
    for first in range(0, len(scans.truth), batch):
        part = scans.part(slice(first, first + batch))
        inputs: dict[str, tuple[Any, ...]] = {
            "red-cnn": (_images(part),),
            "primal-dual": (part.y, part.physics, _images(part)),
            "cascade": (part.y, part.physics),
        }
        done.append(net(*inputs[kind]))
    return torch.cat(done)


def _images(scans: Scans) -> Tensor:
    return scans.start.clamp_min(0)


def _loss(kind: str, scans: Scans) -> Callable[..., Tensor]:
    """Return the supervised loss; images, which need no scanner, are flipped at random."""
    if kind != "red-cnn":
        return supervised(scans.physics)
    plain = supervised()
    return lambda model, batch, generator: plain(model, flipped(batch, generator), generator)
