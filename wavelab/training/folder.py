"""The folder of a training: whose it is, and the state to go on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from wavelab.errors import InvalidInput
from wavelab.paths import atomic_write
from wavelab.training.batches import describe
from wavelab.training.settings import Training
from wavelab.training.state import State, architecture, difference, load_state, plain, save_state

CHECKPOINT, CONFIG, LOG, HISTORY = "checkpoint.safetensors", "run.json", "log.jsonl", "history.json"


def begin(
    accelerator: Accelerator, model: nn.Module, data: Any, training: Training, folder: Path, resume: bool
) -> State:
    """Return the state to go on from; the first one is saved too, so that even the first weights are the same."""
    config = plain({"training": asdict(training), "architecture": architecture(model), "data": describe(data)})
    known = resume and (folder / CHECKPOINT).is_file()
    if known:
        _check_same_run(folder, config)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for left in folder.glob(f".{CHECKPOINT}.*"):  # of a run killed while it wrote
            left.unlink(missing_ok=True)
        if not known:
            _write_first(model, config, folder)
    accelerator.wait_for_everyone()
    return load_state(folder / CHECKPOINT)


def _write_first(model: nn.Module, config: dict[str, Any], folder: Path) -> None:
    for name in (CHECKPOINT, LOG, HISTORY):
        (folder / name).unlink(missing_ok=True)
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_state(State(model.state_dict(), model.state_dict(), {}), folder / CHECKPOINT)


def _check_same_run(folder: Path, config: dict[str, Any]) -> None:
    path = folder / CONFIG
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = {}
    flat = [{f"{part}.{name}": v for part, named in c.items() for name, v in named.items()} for c in (there, config)]
    if told := difference(*flat, ("in the folder", "asked for")):
        raise InvalidInput(
            f"The folder {folder} holds another run. {told}\nGive another folder, the same settings, or resume=False "
            "to overwrite it."
        )
