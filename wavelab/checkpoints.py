"""Load a trained model or train it: ``load_or_train``, and the command that keeps the shipped checkpoints.

Usage:
    python -m wavelab.checkpoints list              trained models: shipped, finished and under way
    python -m wavelab.checkpoints verify            check hashes, sizes and manifests of the shipped ones
    python -m wavelab.checkpoints ship 08-patches   copy a finished training into data/checkpoints
    python -m wavelab.checkpoints ship --half NAME  the same with weights in half precision, half as large
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from wavelab import networks
from wavelab.errors import DataCorrupt, InvalidInput, UnknownName, WavelabError
from wavelab.manifest import Manifest, asked_for, load_weights
from wavelab.paths import BUILD, ROOT, atomic_write, sha256
from wavelab.training import History
from wavelab.training.folder import CHECKPOINT
from wavelab.training.loop import processes
from wavelab.training.state import load_state, load_tensors, save_tensors

if TYPE_CHECKING:
    from wavelab.runtime import Run

SHIPPED = ROOT / "data" / "checkpoints"
TRAINING = BUILD / "training"
LARGEST, IN_ALL = 6_000_000, 60_000_000  # bytes
MODEL, MANIFEST = "model.safetensors", "manifest.json"
METHODS = (  # have their own networks
    "wavelab.medical.learned", "wavelab.medical.mwcnn", "wavelab.medical.wavelet_sgm",
    "wavelab.shapes.auto_decoder", "wavelab.shapes.gans", "wavelab.shapes.point_diffusion",
)  # fmt: skip


def load_or_train(
    name: str,
    model: nn.Module,
    fit: Callable[[nn.Module, Path], History],
    *,
    run: Run,
    config: Mapping[str, Any] | None = None,
    data: Any = None,
    fresh: bool | None = None,
) -> tuple[nn.Module, Manifest]:
    """Load the weights of a model where they are known, train it otherwise.

    In this order: the shipped checkpoint of this name and profile, unless ``run.train``; a finished training of the
    same configuration in ``_build/training``; ``fit``, which goes on where it was interrupted.

    Args:
        name: such as ``"08-patches"``; begins with the chapter's number.
        model: the model, with first weights; its ``config`` is its architecture.
        fit: ``fit(model, folder)`` trains the model in place, normally by :func:`wavelab.training.train`, and returns
            the history.
        run: the chapter's run.
        config: the settings that shape the result, such as ``asdict(training)``; a shipped checkpoint must agree.
        data: what it learns from: ids of registered data sets, or a mapping from names to hashes or descriptions.
        fresh: train even where a finished training exists and do not go on with an unfinished one; by default on the
            smoke profile only, whose runs are to execute every line.

    Returns:
        The model, in evaluation mode, and its manifest.

    Raises:
        CheckpointMismatch: the shipped checkpoint belongs to another architecture, other settings or other data.
        DataCorrupt: a checkpoint is truncated or has the wrong hash.
        InvalidInput: a name that cannot be a file's, or a configuration that cannot be recorded.
    """
    _check_name(name)
    asked = asked_for(model, config, data)
    shipped = _paths(SHIPPED, name, run.profile)
    if not run.train and shipped[1].is_file():
        manifest = Manifest.load(shipped[1], "shipped")
        manifest.check(asked, shipped[0])
        return _loaded(model, shipped[0], manifest, run)
    fresh = run.profile == "smoke" if fresh is None else fresh
    folder = _folder(name, run, asked)
    if (folder / MANIFEST).is_file() and not fresh:
        return _loaded(model, folder / MODEL, Manifest.load(folder / MANIFEST, "finished"), run)
    return _trained(name, model, fit, run, asked, folder, fresh)


def _trained(
    name: str,
    model: nn.Module,
    fit: Callable[[nn.Module, Path], History],
    run: Run,
    asked: dict[str, Any],
    folder: Path,
    fresh: bool,
) -> tuple[nn.Module, Manifest]:
    """Train, store weights and manifest, say so."""
    state = processes()
    if fresh and state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    state.wait_for_everyone()
    history = fit(model.to(run.device), folder)
    model.eval()
    if state.is_main_process:
        save_tensors(model.state_dict(), folder / MODEL)
        manifest = Manifest.of(name, run.profile, run.seed, model, asked, history, sha256(folder / MODEL))
        manifest.save(folder / MANIFEST)
    state.wait_for_everyone()
    return model, Manifest.load(folder / MANIFEST, "trained")


def _loaded(model: nn.Module, path: Path, manifest: Manifest, run: Run) -> tuple[nn.Module, Manifest]:
    load_weights(model, path, manifest)
    return model.to(run.device).eval(), manifest


def _folder(name: str, run: Run, asked: Mapping[str, Any]) -> Path:
    """Return the training's folder: one for each configuration, and of a smoke run within the run's own."""
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    parent = run.folder / "training" if run.profile == "smoke" else TRAINING
    return parent / f"{name}.{run.profile}" / key


def _paths(folder: Path, name: str, profile: str) -> tuple[Path, Path]:
    return folder / f"{name}.{profile}.safetensors", folder / f"{name}.{profile}.json"


def _check_name(name: str) -> None:
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise InvalidInput(f"The checkpoint's name is {name!r}; give letters, digits and hyphens, as in '08-patches'.")


def ship(name: str, profile: str = "cpu", half: bool = False) -> Path:
    """Copy a finished training into ``data/checkpoints``; of several the one that ended last.

    Args:
        name: of the checkpoint.
        profile: that it was trained on.
        half: store weights in half precision, each within 0.05 per cent; a model computes in float32 all the same.

    Raises:
        UnknownName: there is no finished training of that name and profile.
        InvalidInput: the file or all of them together would be too large to ship, or a weight does not fit into half
            precision.
        DataCorrupt: the file is damaged.
    """
    finished = sorted(TRAINING.glob(f"*.{profile}/*/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    known = {path.parent.parent.name.removesuffix(f".{profile}"): path.parent for path in finished}
    if name not in known:
        raise UnknownName.among(f"finished training on {profile}", name, known)
    manifest = Manifest.load(known[name] / MANIFEST)
    _check_hash(known[name] / MODEL, manifest)
    weights, description = _paths(SHIPPED, name, profile)
    size = (known[name] / MODEL).stat().st_size // (2 if half else 1)
    others = sum(path.stat().st_size for path in SHIPPED.glob("*.*") if path not in (weights, description))
    if size > LARGEST or others + size > IN_ALL:
        raise InvalidInput(
            f"{name} has {size / 1e6:.1f} MB, the other checkpoints {others / 1e6:.1f} MB; expected at most "
            f"{LARGEST / 1e6:.0f} MB each and {IN_ALL / 1e6:.0f} MB in all. Make the network smaller."
        )
    if half:
        save_tensors(_halved(load_tensors(known[name] / MODEL)[0], name), weights)
        manifest = replace(manifest, sha256=sha256(weights), precision="float16")
    else:
        with atomic_write(weights) as temporary:
            shutil.copyfile(known[name] / MODEL, temporary)
    manifest.save(description)
    return weights


def _halved(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    found = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    for key, value in found.items():
        if not value.isfinite().all():
            raise InvalidInput(f"{key} of {name} has a value beyond 65504; ship it without half precision.")
    return found


def verify() -> list[str]:
    """Check every shipped checkpoint; return what is wrong, one line each.

    Weights are loaded into networks of the classes that are known; of others, such as a chapter's own, only the hash is
    checked.
    """
    for module in METHODS:
        importlib.import_module(module)
    problems, total = [], 0
    for path in sorted(SHIPPED.glob("*.safetensors")):
        total += path.stat().st_size
        if path.stat().st_size > LARGEST:
            problems.append(f"{path.name} has {path.stat().st_size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}.")
        try:
            manifest = Manifest.load(path.with_suffix(".json"))
            _check_hash(path, manifest)
            if manifest.architecture.get("class") in networks.Network.known:
                load_weights(networks.build(manifest.architecture), path, manifest)
        except WavelabError as error:
            problems.append(str(error))
    for path in sorted(SHIPPED.glob("*.json")):
        total += path.stat().st_size
        if not path.with_suffix(".safetensors").is_file():
            problems.append(f"{path.name} is a manifest without its checkpoint; restore or remove it.")
    if total > IN_ALL:
        problems.append(f"All checkpoints together have {total / 1e6:.1f} MB, more than {IN_ALL / 1e6:.0f}.")
    return problems


def overview() -> str:
    """Return a table of the trained models: shipped, finished here, under way here."""
    lines = [f"{'name':<28} {'profile':<7} {'state':<9} {'parameters':>10} {'steps':>8} {'minutes':>8} {'loss':>10}"]
    for path in sorted(SHIPPED.glob("*.json")):
        lines.append(_row(Manifest.load(path), "shipped"))
    for folder in sorted(TRAINING.glob("*/*/")):
        if (folder / MANIFEST).is_file():
            lines.append(_row(Manifest.load(folder / MANIFEST), "finished"))
        elif (folder / CHECKPOINT).is_file():
            lines.append(_row_under_way(folder))
    return "\n".join(lines)


def _row(manifest: Manifest, state: str) -> str:
    loss = "–" if manifest.final_loss is None else f"{manifest.final_loss:.4g}"
    return (
        f"{manifest.name:<28} {manifest.profile:<7} {state:<9} {manifest.parameters:>10,} {manifest.steps:>8} "
        f"{manifest.seconds / 60:>8.1f} {loss:>10}"
    )


def _row_under_way(folder: Path) -> str:
    state = load_state(folder / CHECKPOINT)
    name, _, profile = folder.parent.name.rpartition(".")
    loss = f"{state.losses[-1]:.4g}" if state.losses else "–"
    return f"{name:<28} {profile:<7} {'unfinished':<9} {'':>9} {state.step:>8} {state.seconds / 60:>8.1f} {loss:>10}"


def _check_hash(path: Path, manifest: Manifest) -> None:
    found = sha256(path)
    if found != manifest.sha256:
        raise DataCorrupt(f"{path} has the SHA-256 {found}, its manifest expects {manifest.sha256}.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after printing what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m wavelab.checkpoints", description="Keep the trained models.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show trained models: shipped, finished and under way")
    commands.add_parser("verify", help="check hashes, sizes and manifests of the shipped checkpoints")
    shipping = commands.add_parser("ship", help="copy finished trainings into data/checkpoints")
    shipping.add_argument("names", nargs="+", metavar="NAME")
    shipping.add_argument("--profile", default="cpu")
    shipping.add_argument("--half", action="store_true", help="store weights in half precision")
    options = parser.parse_args(arguments)
    try:
        return _do(options)
    except WavelabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _do(options: argparse.Namespace) -> int:
    if options.command == "list":
        print(overview())
    elif options.command == "ship":
        for name in options.names:
            path = ship(name, options.profile, options.half)
            print(f"{path.relative_to(SHIPPED.parent)}  {path.stat().st_size / 1e6:.2f} MB")
    else:
        problems = verify()
        print("\n".join(problems) or f"{len(list(SHIPPED.glob('*.safetensors')))} checkpoints: nothing wrong")
        return 1 if problems else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
