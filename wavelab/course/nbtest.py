"""Prepare the notebooks that nbval tests, one test a cell.

They are what a reader on Colab gets: the generated notebooks, with papermill's parameters. Chapters marked
``deterministic`` are executed once and stored with their outputs, so that nbval compares a second run with the first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
import papermill

from wavelab.course import Chapter
from wavelab.course.convert import to_notebook
from wavelab.course.execution import check_parameters, execute, parameters
from wavelab.paths import BUILD

FOLDER = BUILD / "nbval"


def prepare(chosen: Sequence[Chapter], profile: str = "smoke") -> list[Path]:
    """Write one notebook a chapter into ``_build/nbval`` and return their paths.

    Raises:
        ChapterFailed: a cell of a deterministic chapter raised an error.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with ProcessPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        return list(pool.map(prepare_one, chosen, [profile] * len(chosen)))


def prepare_one(chapter: Chapter, profile: str) -> Path:
    """Prepare one chapter: executed and marked for comparison where it is deterministic, else only parameterised."""
    notebook, path = to_notebook(chapter.source), FOLDER / f"{chapter.name}.ipynb"
    values = {"profile": profile}
    check_parameters(values, parameters(notebook, chapter.name), chapter.name)
    if is_deterministic(notebook):
        execute(notebook, path, values, where=chapter.name, run_dir=FOLDER / "run")
        stored = nbformat.read(path, as_version=4)
        for cell in stored.cells:
            if cell.cell_type == "code":
                tags = cell.metadata.get("tags", [])
                if "nbval-ignore-output" not in tags:
                    cell.metadata.tags = [*tags, "nbval-check-output"]
        nbformat.write(stored, path)
        return path
    plain = path.with_suffix(".plain.ipynb")
    nbformat.write(notebook, plain)
    papermill.execute_notebook(plain, path, values, prepare_only=True, progress_bar=False)
    plain.unlink()
    return path


def is_deterministic(notebook: nbformat.NotebookNode) -> bool:
    """Return whether the parameters cell carries the tag ``deterministic``."""
    return any({"parameters", "deterministic"} <= set(cell.metadata.get("tags", [])) for cell in notebook.cells)
