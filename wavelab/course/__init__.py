"""List, run and check the chapters of the course: ``python -m wavelab.course list|run|check``.

A chapter's source is turned into a notebook by jupytext and executed once by papermill. A run is skipped when nothing
that can change its output has changed: the source, the package, the registry of data, the checkpoints, the parameters.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import yaml
from tqdm import tqdm

from wavelab.course.execution import check_parameters, execute, parameters
from wavelab.course.pages import update_readme
from wavelab.errors import ChapterFailed, InvalidInput, UnknownName, WavelabError
from wavelab.paths import BUILD, ROOT, atomic_write
from wavelab.runtime import PROFILES, measured_costs


@dataclass(frozen=True)
class Chapter:
    """A chapter of the course: its number, its source and its title."""

    number: int
    source: Path

    @property
    def name(self) -> str:
        """The file name without its ending, such as ``03-images-and-subbands``."""
        return self.source.stem

    @property
    def part(self) -> str:
        """The folder it lies in, such as ``1-foundations``."""
        return self.source.parent.name

    @property
    def title(self) -> str:
        """The first heading of the source."""
        for line in self.source.read_text(encoding="utf-8").splitlines():
            if line.startswith("# "):
                return line[2:].strip()
        raise InvalidInput(f"{self.source} has no title; start its text with a line '# Title'.")


@dataclass(frozen=True)
class Result:
    """What one run of a chapter came to."""

    chapter: Chapter
    notebook: Path
    seconds: float
    peak_mib: float
    skipped: bool


def chapters(root: Path = ROOT) -> list[Chapter]:
    """Return the chapters in the order of ``book/_toc.yml``.

    Raises:
        InvalidInput: the table of contents names a chapter that has no source, or a source is not in it.
    """
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    sources = [root / f"{file}.md" for file in files if file.startswith("notebooks/")]
    for source in sources:
        if not source.is_file():
            raise InvalidInput(f"book/_toc.yml names {source.relative_to(root)}, which does not exist.")
    stray = set((root / "notebooks").glob("*/*.md")) - set(sources)
    if stray:
        names = ", ".join(sorted(str(path.relative_to(root)) for path in stray))
        raise InvalidInput(f"Not in book/_toc.yml: {names}. Add it there or remove it.")
    return [Chapter(number, source) for number, source in enumerate(sources, start=1)]


def select(names: Iterable[str], known: list[Chapter] | None = None) -> list[Chapter]:
    """Return the chapters meant by ``names``: a number, a name, the beginning of a name or a part; all where empty.

    Raises:
        UnknownName: nothing matches.
    """
    known = chapters() if known is None else known
    chosen = []
    for name in names:
        found = [c for c in known if name in (c.name, c.part, str(c.number)) or c.name.startswith(f"{name}-")]
        if not found:
            raise UnknownName.among("chapter", name, [c.name for c in known])
        chosen += found
    return [c for c in known if c in chosen] if chosen else known


def run_key(chapter: Chapter, values: Mapping[str, Any], root: Path = ROOT) -> str:
    """Return a hash over everything that can change the output of a run."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    digest.update(platform.python_version().encode())
    package = root / "wavelab"
    watched = [path for path in sorted(package.rglob("*.py")) if path.parent != package / "course"]
    watched += sorted((root / "data" / "checkpoints").rglob("*.*"))
    watched += sorted((root / "data" / "results" / "measured").glob(f"{chapter.name}.*.json"))
    watched += [chapter.source, root / "data" / "registry.toml", root / "requirements.lock"]
    for path in watched:
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"missing")
    return digest.hexdigest()


def run_chapter(
    chapter: Chapter, profile: str, values: Mapping[str, Any] | None = None, *, force: bool = False, quiet: bool = False
) -> Result:
    """Run one chapter on a profile, or skip it when nothing has changed since its last run.

    Raises:
        UnknownName: a profile or a parameter that does not exist.
        ChapterFailed: a cell raised an error.
    """
    if profile not in PROFILES:
        raise UnknownName.among("profile", profile, PROFILES)
    values = {"profile": profile, **(values or {})}
    output = run_folder(profile) / chapter.part / f"{chapter.name}.ipynb"
    stamp = output.with_suffix(".json")
    notebook = jupytext.read(chapter.source)
    check_parameters(values, parameters(notebook, chapter.name), chapter.name)
    key = run_key(chapter, values)
    known = json.loads(stamp.read_text()) if stamp.is_file() and output.is_file() else {}
    if known.get("key") == key and not force:
        return Result(chapter, output, known["seconds"], known["peak_mib"], skipped=True)
    stamp.unlink(missing_ok=True)
    with _progress(chapter, profile, len(notebook.cells) + 1, quiet) as bar:
        seconds, peak = execute(
            notebook,
            output,
            values,
            where=chapter.name,
            run_dir=run_folder(profile),
            on_cell=lambda index: bar.update(index + 1 - bar.n),
        )
    with atomic_write(stamp) as temporary:
        temporary.write_text(json.dumps({"key": key, "seconds": seconds, "peak_mib": peak, "values": values}))
    return Result(chapter, output, seconds, peak, skipped=False)


def run(names: Iterable[str], profile: str, values: Mapping[str, Any] | None = None, *, force: bool = False) -> bool:
    """Run chapters one after another, report each, and return whether all of them ended well."""
    chosen, good = select(names), True
    for chapter in chosen:
        try:
            result = run_chapter(chapter, profile, values, force=force)
        except ChapterFailed as error:
            print(f"\n{error}\n", flush=True)
            good = False
            continue
        how = "unchanged since its last run" if result.skipped else f"{result.seconds:.0f} s"
        print(f"{chapter.name:<34} {how}, {result.peak_mib / 1024:.1f} GiB at most", flush=True)
    return good


def run_folder(profile: str) -> Path:
    """Return the folder that runs on a profile write to."""
    return BUILD / "run" / profile


def record(profile: str) -> list[Path]:
    """Copy the records, named figures and costs of the last runs on a profile into ``data/results``.

    Of the smoke profile only the costs are kept, since its numbers mean nothing.

    Raises:
        InvalidInput: a chapter has not been run on the profile.
    """
    results, written = ROOT / "data" / "results", []
    costs = measured_costs()
    for chapter in chapters():
        notebook = run_folder(profile) / chapter.part / f"{chapter.name}.ipynb"
        if not notebook.with_suffix(".json").is_file():
            raise InvalidInput(f"{chapter.name} has no run on {profile}; run it first: make run PROFILE={profile}")
        stamp = json.loads(notebook.with_suffix(".json").read_text())
        costs[f"{chapter.name}.{profile}"] = {
            "seconds": round(stamp["seconds"], 1),
            "peak_mib": round(stamp["peak_mib"]),
            "machine": f"{os.cpu_count()} cores, {platform.system()}",
        }
        made = run_folder(profile) / chapter.name / "record.json"
        if made.is_file() and profile != "smoke":
            written.append(results / f"{chapter.name}.{profile}.json")
            with atomic_write(written[-1]) as temporary:
                shutil.copyfile(made, temporary)
    for table in sorted(run_folder(profile).glob("*/measured/*.json")) if profile != "smoke" else ():
        written.append(results / "measured" / table.name)
        with atomic_write(written[-1]) as temporary:
            shutil.copyfile(table, temporary)
    for picture in sorted((run_folder(profile) / "figures").glob("*.png")) if profile != "smoke" else ():
        written.append(results / "figures" / picture.name)
        with atomic_write(written[-1]) as temporary:
            shutil.copyfile(picture, temporary)
    written.append(results / "cost.json")
    with atomic_write(written[-1]) as temporary:
        temporary.write_text(json.dumps(costs, indent=2, sort_keys=True) + "\n")
    if update_readme():
        written.append(ROOT / "README.md")
    return written


def overview(profile: str) -> str:
    """Return a table of the chapters with their measured cost and the state of their last run."""
    costs, lines = (
        measured_costs(),
        [f"{'':>3}  {'chapter':<34} {'smoke':>7} {'cpu':>7} {'gpu':>7}   last run on {profile}"],
    )
    for chapter in chapters():
        seconds = [costs.get(f"{chapter.name}.{name}", {}).get("seconds") for name in PROFILES]
        columns = " ".join(f"{f'{s:.0f} s' if s else '–':>7}" for s in seconds)
        lines.append(f"{chapter.number:>3}  {chapter.name:<34} {columns}   {_state(chapter, profile)}")
    return "\n".join(lines)


def check() -> list[str]:
    """Check every chapter without running it; return what is wrong, one line each."""
    from wavelab.course import convert

    problems = []
    for chapter in chapters():
        try:
            known = parameters(jupytext.read(chapter.source), chapter.name)
            if not chapter.title or not {"profile", "seed", "train"} <= set(known):
                problems.append(f"{chapter.name}: the parameters cell needs profile, seed and train")
            if convert.drifted(chapter.source):
                problems.append(f"{chapter.name}.ipynb differs from what its source gives; run: make notebooks")
        except WavelabError as error:
            problems.append(str(error))
    return problems


def _state(chapter: Chapter, profile: str) -> str:
    stamp = run_folder(profile) / chapter.part / f"{chapter.name}.json"
    if not stamp.is_file():
        return "never"
    known = json.loads(stamp.read_text())
    return "up to date" if known["key"] == run_key(chapter, known["values"]) else "out of date"


def _progress(chapter: Chapter, profile: str, cells: int, quiet: bool) -> tqdm:
    cost = measured_costs().get(f"{chapter.name}.{profile}")
    expected = f" of about {cost['seconds']:.0f} s" if cost else ""
    layout = "{desc} {bar} cell {n_fmt}/{total_fmt}, {elapsed}" + expected
    return tqdm(total=cells, desc=f"{chapter.name:<34}", bar_format=layout, disable=quiet, leave=False)
