"""A training's state as one safetensors file: weights, their mean, optimiser, losses, and the step.

The step is also the position in the data and the random state: the order of the data follows from ``(seed, epoch)``,
every other random number from ``(seed, step, shard)``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from wavelab.errors import DataCorrupt, InvalidInput
from wavelab.paths import atomic_write


@dataclass
class State:
    """Everything that an interrupted training needs to go on.

    Attributes:
        model, ema: weights and their running mean, by name.
        optimizer: the optimiser's tensors, ``"<parameter's number>/<name>"``.
        step: updates made so far.
        steps, losses: the history so far.
        window: losses since the last entry of the history.
        seconds, cpu_seconds: time spent so far.
    """

    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    step: int = 0
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    window: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0


_NUMBERS = ("step", "steps", "losses", "window", "seconds", "cpu_seconds")


def save_state(state: State, path: Path) -> None:
    """Write a state, whole or not at all.

    Raises:
        StorageError: the file cannot be written; the one before stays.
    """
    groups = {"model": state.model, "ema": state.ema, "optimizer": state.optimizer}
    tensors = {f"{group}/{name}": value for group, named in groups.items() for name, value in named.items()}
    save_tensors(tensors, path, {"state": json.dumps({name: getattr(state, name) for name in _NUMBERS})})


def load_state(path: Path) -> State:
    """Read what :func:`save_state` wrote, to the last bit.

    Raises:
        DataCorrupt: the file is truncated, damaged or holds something else.
    """
    tensors, metadata = load_tensors(path)
    try:
        numbers = json.loads(metadata["state"])
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for name, value in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = value
        return State(**groups, **{name: numbers[name] for name in _NUMBERS})
    except (KeyError, TypeError, ValueError) as error:
        raise DataCorrupt(
            f"{path} is a safetensors file but not the checkpoint of a training ({error!r}); remove it to start anew."
        ) from error


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write named tensors to a safetensors file, whole or not at all.

    Raises:
        StorageError: the file cannot be written; the one before stays.
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, dict(metadata or {}))
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file.

    Raises:
        DataCorrupt: the file is truncated, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DataCorrupt(
            f"{path} is truncated or damaged ({error}); expected a whole safetensors file. Remove it to start anew."
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state by parameter number and name."""
    states = optimizer.state_dict()["state"]
    return {f"{number}/{name}": value for number, named in states.items() for name, value in named.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what :func:`optimizer_tensors` returned."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        states.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def architecture(model: nn.Module) -> dict[str, Any]:
    """Return what tells a model's architecture: its ``config``, or else its class and the shapes of its weights."""
    config = getattr(model, "config", None)
    if isinstance(config, dict):
        return plain(config)
    return {
        "class": type(model).__name__,
        "shapes": {name: list(value.shape) for name, value in model.state_dict().items()},
    }


def plain(value: Any) -> Any:
    """Return a value as JSON would give it back: tuples become lists, keys become text.

    Raises:
        InvalidInput: it holds something that JSON cannot.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{value!r} cannot be recorded ({error}); give numbers, text, lists, dictionaries."
        ) from error


def difference(given: Mapping[str, Any], wanted: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Return two configurations beside each other, the entries that differ first; empty where they are equal."""
    different = sorted(key for key in {*given, *wanted} if given.get(key) != wanted.get(key))
    if not different:
        return ""
    lines = [f"They differ in {', '.join(different)}."]
    for name, config in zip(names, (given, wanted), strict=True):
        ordered = {key: config[key] for key in [*different, *sorted({*config} - {*different})] if key in config}
        lines.append(f"  {name}: {json.dumps(ordered, ensure_ascii=False)}")
    return "\n".join(lines)
