"""What the sources of the course say of one another: labels, numbers, headings, and where a link leads.

A source is read twice. The survey, its first reading, collects what can be referred to and what is cited; the second
reading writes. The function that reads is handed in, so this module knows nothing of MyST.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from wavelab.errors import InvalidInput

HEADER = re.compile(r"(?:---\n(?P<yaml>[\s\S]*?)^---\n)?", re.MULTILINE)


@dataclass
class Page:
    """The source of a chapter or of a page of the book, and what its readings have found."""

    path: Path
    source: str
    reader: Callable[[Page, str], str]  # turns the MyST of this page into plain Markdown
    surveying: bool = True
    labels: dict[str, str] = field(default_factory=dict)  # label -> what a reference to it says
    headings: dict[str, str] = field(default_factory=dict)  # anchor in the book -> heading
    exercises: dict[str, str] = field(default_factory=dict)  # label -> "Exercise 1: its title"
    cited: set[str] = field(default_factory=set)
    counts: Counter = field(default_factory=Counter)

    @property
    def title(self) -> str:
        """The first heading."""
        return next(iter(self.headings.values()), self.path.stem)

    @property
    def root(self) -> Path:
        """The project's folder: the nearest one above the source that has a pyproject.toml."""
        for folder in self.path.parents:
            if (folder / "pyproject.toml").is_file():
                return folder
        raise InvalidInput(f"{self.path} lies in no project; a chapter is <project>/notebooks/<part>/NN-name.md.")

    def render(self, text: str) -> str:
        """Return a part of the page as plain Markdown."""
        return self.reader(self, text)

    def error(self, at: str, problem: str) -> InvalidInput:
        """Return the error that names the page and the first line of its text that holds ``at``."""
        first = at.strip().split("\n")[0]
        pattern = rf"(?<![\w-]){first}(?![\w-])" if re.fullmatch(r"[\w:.-]+", first) else re.escape(first)
        found = re.compile(pattern).search(self.source, HEADER.match(self.source).end())
        line = self.source.count("\n", 0, found.start() if found else 0) + 1
        return InvalidInput(f"{self.path.parent.name}/{self.path.name}, line {line}: {problem}")


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InvalidInput: there is no such file, or it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"Cannot read {path}: {error}. It has to be an existing text file in UTF-8.") from error


def survey(path: Path, reader: Callable[[Page, str], str]) -> Page:
    """Read a source for what it defines and cites.

    Args:
        path: a chapter or a page of the book.
        reader: what turns a part of a page into Markdown.

    Returns:
        The page, known by its text: a source that has not changed is read once.

    Raises:
        InvalidInput: the file cannot be read, or gives a label twice.
    """
    return _survey(path, read_text(path), reader)


@lru_cache(maxsize=256)
def _survey(path: Path, source: str, reader: Callable[[Page, str], str]) -> Page:
    page = Page(path, source, reader)
    page.render(source[HEADER.match(source).end() :])
    return page


def numbered(page: Page, kind: str, label: str) -> tuple[str, str]:
    """Count one more of a kind.

    Args:
        page: where it stands.
        kind: ``Theorem``, ``Equation`` and the like.
        label: its label, may be empty.

    Returns:
        The anchor and what a reference to it says, such as ``Theorem 1`` or, for an equation, ``(1)``.
    """
    page.counts[kind] += 1
    said = f"({page.counts[kind]})" if kind == "Equation" else f"{kind} {page.counts[kind]}"
    return anchor(page, label, said), said


def anchor(page: Page, label: str, said: str) -> str:
    """Return what a link to a label leads to, in HTML; nothing for an empty label.

    Raises:
        InvalidInput: the page gives the label twice.
    """
    if page.surveying and label in page.labels:
        raise page.error(label, f"the label {label!r} is given twice in this chapter.")
    if page.surveying and label:
        page.labels[label] = said
    return f'<a id="{label}"></a>\n\n' if label else ""


def link(page: Page, text: str, to: str) -> tuple[str, str]:
    """Return text and address of a link as they are in the notebook; links to chapters lead to their notebooks.

    Args:
        page: where the link stands.
        text: what it says; where empty, the title, heading or number of what it leads to is said.
        to: an address in the web, a file with or without ``#anchor``, or a label.

    Returns:
        The text and the address.

    Raises:
        InvalidInput: there is nothing at ``to``.
    """
    if page.surveying or re.match(r"[A-Za-z][\w+.-]*:|//", to):
        return text or to, to
    name, _, part = to.partition("#")
    file = _file(page, name) if name else None
    if file is None:
        said, address = reference(page, name or part, text)
        return text or said, address
    if file.suffix != ".md":
        return text or name, _address(page, file)
    other = survey(file, page.reader)
    said, mark = _place(other, part) if part else (other.title, "")
    if part and not mark:
        raise page.error(to, f"{name} has neither a label nor a heading {part!r}.")
    return text or said, _address(page, file) + mark


def reference(page: Page, label: str, words: str) -> tuple[str, str]:
    """Return what a reference to a label says and where it leads: in the chapter, else in the others or the book.

    Args:
        page: where the reference stands.
        label: a label, or the anchor of a heading of this page.
        words: the author's own text of the reference, may be empty.

    Returns:
        What it says unless the author has said it, and the address.

    Raises:
        InvalidInput: no source has the label, or it stands before no heading and there are no ``words``.
    """
    if page.surveying:
        return label, ""
    said, mark = _place(page, label)
    if mark and not (said or words):
        raise page.error(f"`{label}", f"no heading follows the label {label!r}, so a reference to it needs a text.")
    return (said, mark) if mark else _elsewhere(page, label)


def _elsewhere(page: Page, label: str) -> tuple[str, str]:
    known = list(page.labels)
    for path in (*sorted(page.root.glob("notebooks/*/*.md")), *sorted(page.root.glob("book/**/*.md"))):
        other = survey(path, page.reader)
        known += other.labels
        if label in other.labels:
            said = other.labels[label]
            there = "" if said in ("", other.title) else f" in {other.title}"
            return said + there, f"{_address(page, path)}#{label}"
    close = ", ".join(difflib.get_close_matches(label, known)) or "none is close to it"
    raise page.error(label, f"{label!r} is neither a file nor a label of the course. Labels like it: {close}.")


def _place(page: Page, part: str) -> tuple[str, str]:
    """Return what a label or a heading of a page is called, and its anchor in the notebook; empty where unknown."""
    if part in page.labels:
        return page.labels[part], f"#{part}"
    heading = page.headings.get(part, "")
    return heading, f"#{re.sub('[`$]', '', heading).replace(' ', '-')}" if heading else ""


def _file(page: Page, name: str) -> Path | None:
    """Return the file that a relative path means, seen from the source or from where the book lays its own pages."""
    start = page.root if name.startswith("/") else page.path.parent
    for place in (start / name.lstrip("/"), page.root / "book" / re.sub(r"^(\.*/)+", "", name)):
        for file in (place, Path(f"{place}.md")):
            if file.exists():
                return file.resolve()
    return None


def _address(page: Page, file: Path) -> str:
    if file.suffix == ".md" and file.parent.parent == page.root / "notebooks":
        file = file.with_suffix(".ipynb")
    return Path(os.path.relpath(file, page.path.parent)).as_posix()
