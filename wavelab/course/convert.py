"""Turn a chapter's source into the notebook that Jupyter, GitHub and Colab open.

Authors edit ``notebooks/<part>/NN-name.md``: MyST Markdown, read with jupytext. The ``NN-name.ipynb`` beside it is
made here: a row of links, an install cell, then the chapter as Markdown that reads well anywhere, with solutions folded
and stubs derived from them; the references come last.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import jupytext
import nbformat
import yaml
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from wavelab.course.citations import references
from wavelab.course.links import HEADER, Page, read_text, survey
from wavelab.course.myst import render
from wavelab.course.solutions import role, solution_cells, stub
from wavelab.errors import InvalidInput
from wavelab.paths import atomic_write

__all__ = ["drifted", "read_chapter", "stub", "to_notebook", "write_notebook"]

_INSTALL = '''\
# Set-up. Where the course's package `wavelab` is installed, this cell does nothing. Elsewhere, as in Colab, it takes
# the clone of the course that lies around this notebook, or clones the course into the current folder, and installs
# those packages of the list that are missing. torch and numpy stay as they are.
import importlib.util
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

REPOSITORY = "{repository}"
NEEDED = """
{needed}
"""

if importlib.util.find_spec("wavelab") is None:
    clone, here = Path(REPOSITORY.split("/")[-1]).absolute(), Path.cwd()
    found = [folder for folder in (here, *here.parents, clone) if (folder / "wavelab" / "__init__.py").is_file()]
    present = {{(d.name or "").lower().replace("_", "-"): d.version for d in distributions()}}
    missing = [package for package in NEEDED.split() if package.split(">=")[0].lower() not in present]
    fixed = [f"{{name}}=={{present[name]}}" for name in ("torch", "numpy") if name in present]
    try:
        if not found:
            command = ["git", "clone", "--quiet", "--depth", "1", REPOSITORY, str(clone)]
            subprocess.run(command, check=True, capture_output=True, text=True)
        if missing:
            command = [sys.executable, "-m", "pip", "install", "--quiet", *missing, *fixed]
            subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"The set-up stopped at: {{' '.join(command)}}\\n{{getattr(error, 'stderr', None) or error}}\\n"
            f"It needs git and a network. Without them, clone {{REPOSITORY}} where there is one, install the packages "
            "listed above, and open this notebook inside the clone."
        ) from None
    sys.path.insert(0, str((*found, clone)[0]))
    importlib.invalidate_caches()
'''
_UNREADABLE = (KeyError, TypeError, ValueError, yaml.YAMLError, MystMetadataParsingError, nbformat.ValidationError)


def read_chapter(path: Path | str) -> NotebookNode:
    """Read a chapter's source as a notebook.

    Args:
        path: a MyST Markdown file with a jupytext header (``format_name: myst``) and the kernelspec ``python3``.

    Returns:
        The notebook, unconverted, one cell for each cell of the source.

    Raises:
        InvalidInput: the file is missing, is no such source, or jupytext cannot read it.
    """
    source = read_text(Path(path))
    try:
        header = yaml.safe_load(HEADER.match(source)["yaml"] or "")
        found = header["jupytext"]["text_representation"]["format_name"], header["kernelspec"]["name"]
        notebook = jupytext.reads(source, fmt="md:myst")
    except _UNREADABLE as error:
        found = f"{type(error).__name__}: {error}"
    if found != ("myst", "python3"):
        raise InvalidInput(
            f"{path} is not a chapter's source ({found}). It starts with a header that gives "
            "jupytext: text_representation: format_name: myst, and kernelspec: name: python3."
        )
    return notebook


def to_notebook(path: Path | str) -> NotebookNode:
    """Convert a chapter's source into the notebook that readers open.

    Args:
        path: the chapter's source, ``<project>/notebooks/<part>/NN-name.md``.

    Returns:
        A notebook without outputs; equal sources give equal notebooks, cell ids included.

    Raises:
        InvalidInput: an unknown directive, role, citation or target, or a malformed exercise; names chapter and line.
    """
    path = Path(path).resolve()
    source = read_chapter(path)
    page = replace(survey(path, render), surveying=False, counts=Counter())
    cells = [*_opening(page), *_cells(page, source.cells)]
    if works := references(page):
        cells.append(new_markdown_cell(works))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    notebook.nbformat_minor = 5
    _name(cells)
    nbformat.validate(notebook)
    return notebook


def _name(cells: Sequence[NotebookNode]) -> None:
    """Give each cell an id that follows from its content alone, and from how many equal cells come before it."""
    seen = Counter()
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1


def write_notebook(path: Path | str) -> Path:
    """Write a chapter's notebook beside its source, whole or not at all.

    Args:
        path: the chapter's source.

    Returns:
        The notebook's path.

    Raises:
        InvalidInput: the source cannot be converted; see `to_notebook`.
        StorageError: the notebook cannot be written; the old one stays.
    """
    content, target = _bytes(path), Path(path).with_suffix(".ipynb")
    with atomic_write(target) as temporary:
        temporary.write_bytes(content)
    return target


def drifted(path: Path | str) -> bool:
    """Return whether the notebook beside a source is missing or differs from what the source gives now.

    Args:
        path: the chapter's source.

    Raises:
        InvalidInput: the source cannot be converted; see `to_notebook`.
    """
    content, target = _bytes(path), Path(path).with_suffix(".ipynb")
    return not target.is_file() or target.read_bytes() != content


def _bytes(path: Path | str) -> bytes:
    return (nbformat.writes(to_notebook(path), version=nbformat.NO_CONVERT) + "\n").encode()


def _opening(page: Page) -> Iterator[NotebookNode]:
    """Yield the row of links and the install cell."""
    project = tomllib.loads(read_text(page.root / "pyproject.toml"))["project"]
    repository = project["urls"]["Repository"].removesuffix("/").removesuffix(".git")
    colab = repository.replace("https://github.com", "https://colab.research.google.com/github")
    place = page.path.relative_to(page.root).with_suffix(".ipynb").as_posix()
    yield new_markdown_cell(f"[Open in Colab]({colab}/blob/main/{place}) · [Source]({page.path.name})")
    needed = [text for text in project["dependencies"] if re.split(r"\W", text)[0] not in ("torch", "numpy")]
    code = _INSTALL.format(repository=repository, needed=textwrap.fill(" ".join(needed), 110))
    yield new_code_cell(code.rstrip(), metadata={"tags": ["install"]})


def _cells(page: Page, source: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield the chapter's cells; inside a gated solution they are folded, and what is asked comes before them."""
    gate, inside = "", []
    for piece in _pieces(page, source):
        if isinstance(piece, str):
            if bool(piece) == bool(gate):
                raise page.error(piece or "{solution-end}", "solution-start and solution-end do not alternate.")
            yield from solution_cells(page, gate, inside) if gate else ()
            gate, inside = piece, []
        elif gate:
            inside.append(piece)
        elif piece.cell_type != "markdown" and role(piece):
            raise page.error(piece.source, f"this cell is tagged {role(piece)!r} but stands in no gated solution.")
        else:
            yield piece
    if gate:
        raise page.error(gate, f"the solution to {gate!r} has no solution-end.")


def _pieces(page: Page, source: Sequence[NotebookNode]) -> Iterator[NotebookNode | str]:
    """Yield the cells with their text as Markdown, and between them, where a solution starts, its label, else ''."""
    for cell in source:
        if cell.cell_type != "markdown":
            yield cell
            continue
        text = re.sub(r"^#+ References\s*\Z", "", render(page, cell.source), flags=re.MULTILINE)
        for number, piece in enumerate(re.split("\0(.*?)\0", text)):
            if number % 2:
                yield piece
            elif piece.strip():
                yield new_markdown_cell(piece.strip(), metadata=cell.metadata)
