r"""The Fréchet inception distance, for those who have the weights of the network that it needs.

The features come from torch-fidelity's Inception network, an optional extra (``pip install "wavelab[fid]"``). Its
weights are published as a pickle, which this package never loads; :data:`HOW` says how to turn them into safetensors.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput
from wavelab.metrics import frechet
from wavelab.paths import cache_dir

WEIGHTS = "fid-inception.safetensors"
HOW = (
    "Download weights-inception-2015-12-05-6726825d.pth from torch-fidelity's release page and convert it once: python "
    "-c \"import torch, safetensors.torch as s; s.save_file(torch.load('weights-inception-2015-12-05-6726825d.pth', "
    "weights_only=True), '{path}')\""
)

Features = Callable[[Tensor], Tensor]


def inception(path: Path | str | None = None, device: torch.device | str = "cpu") -> Features:
    """Load the Inception network of the FID.

    Args:
        path: its weights as safetensors; by default ``fid-inception.safetensors`` in the cache.
        device: where it runs.

    Returns:
        A function from pictures, uint8 ``(batch, 3, height, width)``, to features ``(batch, 2048)``.

    Raises:
        DataUnavailable: torch-fidelity or the weights are missing; the message says where to get them.
        DataCorrupt: the file holds something else.
    """
    path = Path(path) if path is not None else cache_dir() / WEIGHTS
    try:
        module = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise DataUnavailable(
            f'The FID needs torch-fidelity, which does not import ({error}): pip install "wavelab[fid]".'
        ) from error
    if not path.is_file():
        raise DataUnavailable(f"The weights of the FID's network are not at {path}. {HOW.format(path=path)}")
    try:
        weights = load_file(path)
        with mock.patch.object(module, "load_state_dict_from_url", lambda *_, **__: weights):  # no download, no pickle
            network = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).to(device).eval()
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DataCorrupt(f"{path} does not hold the weights of the FID's network: {error}. {HOW.format(path=path)}"
                          ) from error  # fmt: skip

    @torch.no_grad()
    def features(pictures: Tensor) -> Tensor:
        return network(pictures.to(device))[0]

    return features


def inception_distance(x: Tensor, reference: Tensor, features: Features | None = None, batch: int = 64) -> float:
    r"""Compute the Fréchet inception distance between two sets of pictures.

    .. math:: \|m_1 - m_2\|^2 + \operatorname{Tr}\big(C_1 + C_2 - 2 (C_1 C_2)^{1/2}\big)

    Args:
        x: pictures from -1 to 1, shape ``(batch, 1 or 3, height, width)``; grey ones are shown in three equal channels.
        reference: as ``x``; usual are 10 000 or more of each.
        features: from uint8 pictures to features; by default :func:`inception`.
        batch: pictures a call of ``features``.

    Returns:
        The distance, 0 for equal sets.

    Raises:
        InvalidInput: another shape, fewer than two pictures, values that are not finite.
        DataUnavailable, DataCorrupt: see :func:`inception`.

    Source:
        Heusel, Ramsauer, Unterthiner, Nessler & Hochreiter (2017), GANs trained by a two time-scale update rule.
    """
    for name, pictures in (("x", x), ("reference", reference)):
        if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or len(pictures) < 2 or not pictures.isfinite().all():
            raise InvalidInput(
                f"{name} has shape {tuple(pictures.shape)}; expected at least two finite pictures, shape (batch, 1 or "
                "3, height, width)."
            )
    features = features or inception()
    moments = [_moments(pictures, features, batch) for pictures in (x, reference)]
    return frechet(*moments[0], *moments[1])


def _moments(pictures: Tensor, features: Features, batch: int) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of the features."""
    rows = [features(_bytes(part)).double().cpu() for part in pictures.split(batch)]
    rows = torch.cat(rows)
    return rows.mean(0), torch.cov(rows.T)


def _bytes(pictures: Tensor) -> Tensor:
    """Return pictures from -1 to 1 as uint8 in three channels."""
    levels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels
