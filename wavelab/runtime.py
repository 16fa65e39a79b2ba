"""Profile, device, precision, seeds and folders: one call starts a chapter."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.paths import BUILD, ROOT, atomic_write

PROFILES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Run:
    """Everything a chapter needs to know about the run it is part of.

    Attributes:
        chapter: the chapter's name, such as ``"03-images-and-subbands"``.
        profile: ``"smoke"`` (tests), ``"cpu"`` (a laptop, the built book) or ``"gpu"`` (the papers' sizes).
        seed: the seed from which every random stream of the run is derived.
        train: whether to train from scratch even where a checkpoint is shipped.
        device: the device that tensors live on.
        precision: ``"float32"``, or ``"bfloat16"`` for the gpu profile on a device that has it.
        sizes: the chapter's own table, one attribute a row, at this profile's column.
        folder: where this run may write.
    """

    chapter: str
    profile: str
    seed: int
    train: bool
    device: torch.device
    precision: str
    sizes: Any
    folder: Path

    def generator(
        self, stream: int = 0, device: torch.device | str | None = None, seed: int | None = None
    ) -> torch.Generator:
        """Return a fresh torch generator; equal ``seed`` and ``stream`` give equal numbers.

        Args:
            stream: which of the run's independent streams.
            device: of the generator; left out, the run's.
            seed: in place of the run's; a literal for what a shipped model is trained on, whoever runs the chapter.
        """
        return torch.Generator(device or self.device).manual_seed(self._derived(stream, seed))

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Return a fresh NumPy generator; equal ``seed`` and ``stream`` give equal numbers."""
        return np.random.default_rng([self.seed, stream])

    def _derived(self, stream: int, seed: int | None) -> int:
        entropy = [self.seed if seed is None else seed, stream]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def record(self, results: Mapping[str, Any]) -> None:
        """Write the chapter's results as one JSON record, ``record.json`` in the run's folder.

        Args:
            results: numbers, strings, lists and dictionaries; NumPy and torch scalars are converted.

        Raises:
            InvalidInput: a value is not finite or cannot be written as JSON.
        """
        record = {
            "chapter": self.chapter,
            "profile": self.profile,
            "seed": self.seed,
            "device": self.device.type,
            "sizes": asdict(self.sizes),
            "results": _plain(results, "results"),
        }
        path = self.folder / "record.json"
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def measured(
        self,
        name: str,
        measure: Callable[..., Any],
        points: Sequence[Sequence[Any]],
        settings: Mapping[str, Any],
        again: bool = False,
    ) -> list[Any]:
        """Return ``measure(*point)`` for every point, from the shipped table where it has the point.

        For measurements that take too long for every run, such as hundreds of samples at 512 steps. A table is shipped
        in ``data/results/measured``; what it lacks is measured now, and kept in the run's folder after every
        point, so that an interrupted measurement goes on where it was. ``make record`` copies the table from there.

        Args:
            name: the table's name within the chapter.
            measure: takes the entries of a point and returns numbers, lists or dictionaries.
            points: what to measure, plain values.
            settings: what else the values depend on: sizes, seeds, hashes of checkpoints. A table with other settings
                is not used.
            again: measure every point anew instead of using the shipped table.

        Returns:
            One value a point, in the order of ``points``.
        """
        wanted = _plain({**settings, "seed": self.seed}, "settings")
        own = self.folder / "measured" / f"{self.chapter}.{name}.{self.profile}.json"
        shipped = ROOT / "data" / "results" / "measured" / own.name
        known = {} if again else _table(shipped, wanted)
        known |= _table(own, wanted)
        for point in points:
            if (key := json.dumps(point)) not in known:
                known[key] = _plain(measure(*point), f"{name}{key}")
                rows = [{"point": json.loads(at), "value": value} for at, value in known.items()]
                with atomic_write(own) as temporary:
                    temporary.write_text(json.dumps({"settings": wanted, "rows": rows}, indent=1) + "\n")
        return [known[json.dumps(point)] for point in points]


def start(
    chapter: str,
    profile: str = "cpu",
    seed: int = 0,
    train: bool = False,
    sizes: Mapping[str, Sequence[Any]] | None = None,
    **overrides: Any,
) -> Run:
    """Start a chapter: choose device and sizes, set the figure style, print what was chosen.

    Args:
        chapter: the chapter's name, its file name without the ending.
        profile: one of ``"smoke"``, ``"cpu"``, ``"gpu"``.
        seed: a non-negative integer.
        train: train from scratch even where a checkpoint is shipped.
        sizes: the chapter's table: each name with its value for smoke, cpu and gpu.
        **overrides: values that replace the profile's; ``None`` leaves the profile's choice.

    Returns:
        The frozen :class:`Run`.

    Raises:
        UnknownName: a profile or an override that does not exist.
        InvalidInput: a malformed table, or a seed that is not a non-negative integer.
    """
    if profile not in PROFILES:
        raise UnknownName.among("profile", profile, PROFILES)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InvalidInput(f"The seed is {seed!r}; give a non-negative integer, such as 0.")
    if not isinstance(train, bool):
        raise InvalidInput(f"train is {train!r}; give True or False.")
    device = _device()
    run = Run(
        chapter=chapter,
        profile=profile,
        seed=seed,
        train=train,
        device=device,
        precision=_precision(profile, device),
        sizes=_sizes(sizes or {}, profile, overrides),
        folder=_folder(chapter, profile),
    )
    _use_figure_style(quick=profile == "smoke")
    print(describe(run))
    return run


def describe(run: Run) -> str:
    """Return the run's choices as a small text table."""
    rows = [
        ("chapter", run.chapter),
        ("profile", f"{run.profile}  (of {', '.join(PROFILES)})"),
        ("device", f"{_device_name(run.device)}, {run.precision}"),
        ("seed", f"{run.seed}" + (", training from scratch" if run.train else "")),
        *((f"· {name}", f"{value}") for name, value in asdict(run.sizes).items()),
        ("expected", _expected(run)),
    ]
    if run.profile == "gpu" and run.device.type == "cpu":
        rows.append(
            ("note", "no GPU was found, so the gpu profile will be slow; profile='cpu' is meant for this machine")
        )
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


@contextlib.contextmanager
def attempt() -> Iterator[None]:
    """Run a check on a reader's attempt at an exercise; an exercise not yet done says so and the notebook goes on."""
    try:
        yield
    except NotImplementedError as waiting:
        print(f"{waiting}. Nothing is checked until you do; the solution is folded below.")


def measured_costs() -> dict[str, dict[str, Any]]:
    """Return the recorded cost of each chapter and profile: ``{"01-name.cpu": {"seconds": …, "peak_mib": …}}``."""
    path = ROOT / "data" / "results" / "cost.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _table(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a measured table by point; none where it is missing, unreadable or of other settings."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        fits = table["settings"] == settings
        return {json.dumps(row["point"]): row["value"] for row in table["rows"]} if fits else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sizes(table: Mapping[str, Sequence[Any]], profile: str, overrides: Mapping[str, Any]) -> Any:
    for name, row in table.items():
        if isinstance(row, str) or not isinstance(row, Sequence) or len(row) != len(PROFILES):
            raise InvalidInput(f"The size {name!r} is {row!r}; give one value each for {', '.join(PROFILES)}.")
    for name in overrides:
        if name not in table:
            raise UnknownName.among("size in this chapter's table", name, table)
    column = PROFILES.index(profile)
    chosen = {name: row[column] if overrides.get(name) is None else overrides[name] for name, row in table.items()}
    return make_dataclass("Sizes", list(chosen), frozen=True)(**chosen)


def _device() -> torch.device:
    wanted = os.environ.get("WAVELAB_DEVICE")
    if wanted:
        try:
            device = torch.device(wanted)
        except RuntimeError as error:
            raise InvalidInput(f"WAVELAB_DEVICE is {wanted!r}; give cpu, cuda, cuda:0 or mps.") from error
        there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
        if (device.index or 0) >= there.get(device.type, 0):
            raise InvalidInput(
                f"WAVELAB_DEVICE is {wanted!r}, which is not on this machine; give cpu, or leave it out."
            )
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def _precision(profile: str, device: torch.device) -> str:
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if profile == "gpu" and has_bf16 else "float32"


def _folder(chapter: str, profile: str) -> Path:
    given = os.environ.get("WAVELAB_RUN_DIR")
    folder = (Path(given) if given else BUILD / "interactive" / profile) / chapter
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _expected(run: Run) -> str:
    cost = measured_costs().get(f"{run.chapter}.{run.profile}")
    if cost is None:
        return f"not yet measured on the {run.profile} profile"
    return f"about {cost['seconds']:.0f} s and {cost['peak_mib'] / 1024:.1f} GiB ({cost['machine']})"


def _use_figure_style(quick: bool) -> None:
    from wavelab import plotting

    plotting.use_style(quick=quick)


def _plain(value: Any, where: str) -> Any:
    """Convert to plain JSON values; refuse what JSON cannot carry."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray | torch.Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidInput(f"{where} is {value!r}; a record holds finite numbers, text, lists and dictionaries.")
