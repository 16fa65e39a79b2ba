"""Citations as links, and the list of the cited works, from ``book/references.bib``."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple
from urllib.parse import quote

from pybtex.database import Entry, parse_string
from pybtex.exceptions import PybtexError
from pybtex.richtext import Text

from wavelab.course.links import Page, read_text
from wavelab.errors import InvalidInput

_VENUES = ("journal", "booktitle", "publisher", "school", "institution", "howpublished")


class _Work(NamedTuple):
    """One cited work: ``Guth et al.``, ``2022a``, and its line in the list of references."""

    authors: str
    year: str
    line: str


def cite(page: Page, content: str, *, textual: bool) -> str:
    """Return a citation as links into the list of references.

    Args:
        page: where the citation stands.
        content: the keys of the works, separated by commas.
        textual: ``Guth et al. (2022)`` if true, else ``(Guth et al., 2022)``.

    Returns:
        The links in Markdown.

    Raises:
        InvalidInput: a key is not in the bibliography, or there is no bibliography.
    """
    keys = [key.strip() for key in content.split(",")]
    page.cited.update(keys)
    if page.surveying:
        return ""
    works = _works(page)
    if textual:
        return ", ".join(f"[{works[key].authors} ({works[key].year})](#ref-{key})" for key in keys)
    return "(" + "; ".join(f"[{works[key].authors}, {works[key].year}](#ref-{key})" for key in keys) + ")"


def references(page: Page) -> str:
    """Return the list of the works that a page cites, in Markdown; nothing where it cites none.

    Raises:
        InvalidInput: a key is not in the bibliography, or there is no bibliography.
    """
    lines = [f'<a id="ref-{key}"></a>{work.line}' for key, work in _works(page).items()]
    return "\n\n".join(["## References", *lines]) if lines else ""


def _works(page: Page) -> dict[str, _Work]:
    """Return the works that a page cites."""
    entries = _entries(page.root / "book" / "references.bib") if page.cited else {}
    for key in sorted(page.cited - set(entries)):
        close = ", ".join(difflib.get_close_matches(key, entries)) or "none is close to it"
        raise page.error(key, f"{key!r} is not in book/references.bib. Keys like it: {close}.")
    return _listed({key: entries[key] for key in page.cited})


def _listed(entries: Mapping[str, Entry]) -> dict[str, _Work]:
    """Return works sorted by author and year; letters tell those apart that would be cited alike."""
    found = [(_with_initials(entry), entry.fields.get("year", "n.d."), key) for key, entry in entries.items()]
    found.sort(key=lambda work: (work[0].casefold(), *work[1:]))
    alike = Counter((_authors(entries[key]), year) for _, year, key in found)
    works, seen = {}, Counter()
    for full, year, key in found:
        who = _authors(entries[key])
        letter = ascii_lowercase[seen[who, year]] if alike[who, year] > 1 else ""
        seen[who, year] += 1
        works[key] = _Work(who, year + letter, f"{full} ({year}{letter}).{_described(entries[key])}")
    return works


def _entries(path: Path) -> dict[str, Entry]:
    try:
        return dict(_parsed(read_text(path)))
    except PybtexError as error:
        raise InvalidInput(f"{path} is not a bibliography that BibTeX would read: {error}") from error


@lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, Entry]:
    return parse_string(text, "bibtex").entries


@lru_cache(maxsize=4096)
def _plain(text: str) -> str:
    """Return the LaTeX of a bibliography as Markdown."""
    return str(Text.from_latex(text)).replace("*", r"\*")


def _people(entry: Entry) -> list[tuple[str, str]]:
    """Return surname and initials of each author, or of each editor."""
    return [
        (
            _plain(" ".join(person.prelast_names + person.last_names)),
            "".join(f" {_plain(name)[0]}." for name in person.first_names + person.middle_names),
        )
        for person in entry.persons.get("author") or entry.persons.get("editor") or []
    ]


def _title(entry: Entry) -> str:
    return _plain(entry.fields.get("title", entry.key))


def _authors(entry: Entry) -> str:
    """Return the authors as a citation names them: ``Ho``, ``Ho and Jain``, ``Ho et al.``; the title if none."""
    names = [surname for surname, _ in _people(entry)] or [_title(entry)]
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _with_initials(entry: Entry) -> str:
    """Return all the authors: ``Ho, J., Jain, A.``; the title if none."""
    names = [f"{surname},{initials}" if initials else surname for surname, initials in _people(entry)]
    return ", ".join(names).replace(", others", " et al.") or _title(entry)


def _described(entry: Entry) -> str:
    """Return title, place of publication and link of a work."""
    of = {name: _plain(entry.fields.get(name, "")) for name in (*_VENUES, "title", "volume", "number", "pages")}
    venue = next((of[name] for name in _VENUES if of[name]), "")
    where = (f"*{venue}*" if venue else "") + (f", {of['volume']}" if of["volume"] else "")
    where += (f"({of['number']})" if of["number"] else "") + (f", {of['pages']}" if of["pages"] else "")
    text = "".join(f" {part}." for part in (of["title"], where) if part)
    link = _link(entry)
    return f"{text} [{link}]({link})" if link else text


def _link(entry: Entry) -> str:
    if "doi" in entry.fields:
        return f"https://doi.org/{quote(entry.fields['doi'], safe='/')}"
    return (
        f"https://arxiv.org/abs/{entry.fields['eprint']}" if "eprint" in entry.fields else entry.fields.get("url", "")
    )
