"""The manifest of a trained model: what it is, how it was made, and the hash of its weights."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accelerate
import torch
from torch import nn

import wavelab
from wavelab import networks
from wavelab.data import registry
from wavelab.errors import CheckpointMismatch, DataCorrupt, DataUnavailable, WavelabError
from wavelab.paths import atomic_write, sha256
from wavelab.training import History
from wavelab.training.state import architecture, difference, load_tensors, plain

CURVE = 200  # points kept of a loss curve
_CURVE = "@curve@"


@dataclass(frozen=True)
class Manifest:
    """What is known of a trained model.

    Attributes:
        name: such as ``"08-patches"``; begins with the chapter's number.
        profile: the profile it was trained on.
        architecture: the model's ``config``.
        config: the settings it was trained with, as the chapter gave them.
        data: hash or description of what it was trained on, by name.
        seed: the run's seed.
        parameters: number of trainable parameters.
        command: what trains it again.
        steps: updates made.
        seconds: wall time of the training, summed over interruptions.
        cpu_seconds: processor time, where it was measured.
        machine: on what.
        final_loss: the last entry of the loss curve.
        curve: ``[step, loss]`` pairs, at most 200.
        versions: of Python and the packages.
        sha256: of the file of weights.
        precision: of the weights in the file.
        origin: ``"shipped"``, ``"finished"`` (an earlier run here) or ``"trained"`` (just now); not stored.
    """

    name: str
    profile: str
    architecture: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    seed: int
    parameters: int
    command: str
    steps: int
    seconds: float
    cpu_seconds: float
    machine: str
    final_loss: float | None
    curve: list[list[float]]
    versions: dict[str, str]
    sha256: str
    precision: str = "float32"
    origin: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree with what is asked for: architecture, settings and data, flat."""
        return identity(_complete(self.architecture), self.config, self.data)

    def save(self, path: Path) -> None:
        """Write the manifest as JSON, whole or not at all."""
        stored = {name: value for name, value in dataclasses.asdict(self).items() if name != "origin"}
        curve = json.dumps(stored["curve"], separators=(",", ":"))  # in one line: it is a third shorter so
        text = json.dumps(stored | {"curve": _CURVE}, indent=1, ensure_ascii=False).replace(f'"{_CURVE}"', curve)
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, origin: str = "") -> Manifest:
        """Read what :meth:`save` wrote.

        Raises:
            DataUnavailable: there is no such file.
            DataCorrupt: the file holds something else.
        """
        if not path.is_file():
            raise DataUnavailable(f"There is no manifest {path}; a checkpoint and its manifest go together.")
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")), origin=origin)
        except (ValueError, TypeError) as error:
            raise DataCorrupt(f"{path} is not the manifest of a checkpoint: {error}.") from error

    @classmethod
    def of(
        cls, name: str, profile: str, seed: int, model: nn.Module, asked: Mapping[str, Any], history: History, hash: str
    ) -> Manifest:
        """Describe a training that has just ended; ``asked`` holds architecture, config and data."""
        points = range(0, len(history.steps), -(-max(1, len(history.steps)) // CURVE))
        chapter = name.partition("-")[0]
        return cls(
            name=name,
            profile=profile,
            **asked,
            seed=seed,
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            command=f"make train CHAPTER={chapter}" + (f" PROFILE={profile}" if profile != "cpu" else ""),
            steps=int(history.steps[-1]) if len(history.steps) else 0,
            seconds=round(history.seconds, 1),
            cpu_seconds=round(history.cpu_seconds, 1),
            machine=_machine(next(model.parameters()).device),
            final_loss=float(history.losses[-1]) if len(history.losses) else None,
            curve=[[int(history.steps[i]), float(f"{history.losses[i]:.5g}")] for i in points],
            versions=_versions(),
            sha256=hash,
            origin="trained",
        )

    def check(self, asked: Mapping[str, Any], path: Path) -> None:
        """Refuse a checkpoint of another architecture, other settings or other data.

        Raises:
            CheckpointMismatch: shows both.
        """
        if told := difference(self.identity, identity(**asked), ("shipped", "asked for")):
            raise CheckpointMismatch(
                f"The checkpoint {path} was not made for this. {told}\nSet train=True to train with the settings "
                f"asked for ({self.command}), or go back to the shipped ones."
            )


def identity(architecture: Mapping[str, Any], config: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return architecture, settings and data as one flat dictionary."""
    groups = {"architecture": architecture, "config": config, "data": data}
    return {f"{group}.{name}": value for group, named in groups.items() for name, value in named.items()}


def asked_for(model: nn.Module, config: Mapping[str, Any] | None, data: Any) -> dict[str, Any]:
    """Return architecture, settings and data as JSON would give them back; ids of data sets become hashes."""
    if data is not None and not isinstance(data, Mapping):
        ids: Iterable[str] = [data] if isinstance(data, str) else data
        data = {id: registry.find(id).sha256 for id in ids}
    return {"architecture": architecture(model), "config": plain(dict(config or {})), "data": plain(dict(data or {}))}


def load_weights(model: nn.Module, path: Path, manifest: Manifest) -> None:
    """Load a file of weights into a model, after checking its hash.

    Raises:
        DataUnavailable: there is no such file.
        DataCorrupt: the file's hash is not the manifest's, or its content is not a model's.
        CheckpointMismatch: the weights are those of another architecture.
    """
    if not path.is_file():
        raise DataUnavailable(f"There is no checkpoint {path}, though it has a manifest. {_remedy(path, manifest)}")
    found = sha256(path)
    if found != manifest.sha256:
        raise DataCorrupt(
            f"{path} is truncated or was changed: its SHA-256 is {found}, expected {manifest.sha256}. "
            + _remedy(path, manifest)
        )
    tensors, _ = load_tensors(path)
    wanted = {name: list(value.shape) for name, value in model.state_dict().items()}
    shapes = {name: list(value.shape) for name, value in tensors.items()}
    if told := difference(shapes, wanted, ("weights in the file", "weights of the model")):
        raise CheckpointMismatch(f"{path} holds the weights of another architecture. {told}\n{_remedy(path, manifest)}")
    model.load_state_dict(tensors)


def _complete(architecture: dict[str, Any]) -> dict[str, Any]:
    """Fill in options that the network did not have yet when the checkpoint was made; they have their defaults."""
    try:
        return networks.build(architecture).config
    except WavelabError:
        return architecture


def _remedy(path: Path, manifest: Manifest) -> str:
    if manifest.origin == "finished":
        return f"Remove the folder {path.parent} and train again."
    return f"Restore it from the repository, or train it again: {manifest.command}."


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{torch.get_num_threads()} thread{'s' * (torch.get_num_threads() != 1)}, {platform.machine()}"


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "wavelab": wavelab.__version__,
    }
