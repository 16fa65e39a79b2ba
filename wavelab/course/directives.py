"""The directives of MyST, one function each, as Markdown that reads well in Jupyter, on GitHub and in Colab."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from wavelab.course.links import Page, anchor, link, numbered

_BOXES = {name: name.capitalize() for name in ("note", "tip", "hint", "important", "warning", "caution", "danger")}
_BOXES |= {"seealso": "See also", "admonition": "", "margin": "", "sidebar": "", "dropdown": ""}
_STATEMENTS = ("theorem", "lemma", "proposition", "corollary", "definition", "remark", "algorithm", "example", "proof")
_SECTIONS = ("grid", "grid-item", "grid-item-card", "card", "tab-set", "tab-item")


@dataclass(frozen=True)
class Block:
    """One directive as its author has written it."""

    page: Page
    name: str
    arg: str
    options: dict[str, str]
    body: str

    @property
    def label(self) -> str:
        """What references call it; may be empty."""
        return self.options.get("label", self.options.get("name", ""))

    def title(self) -> str:
        """Return the argument as Markdown."""
        return self.page.render(self.arg)

    def inside(self) -> str:
        """Return the body as Markdown."""
        return self.page.render(self.body)


def directive(block: Block) -> str:
    """Return one directive as Markdown.

    Args:
        block: the directive. One that is not known may stand in a page that is only surveyed.

    Returns:
        Markdown; a gated solution begins with its exercise's label and ends with nothing, each between two zero bytes.

    Raises:
        InvalidInput: the directive is not known, or what it says is malformed.
    """
    if block.name in _DIRECTIVES:
        return _DIRECTIVES[block.name](block)
    if not block.page.surveying:
        problem = f"the directive {{{block.name}}} is not one that the notebooks know."
        raise block.page.error(f"{{{block.name}}}", problem)
    return "" if block.name in ("code-cell", "raw-cell") else block.inside()


def details(title: str, text: str) -> str:
    """Return a text that is folded under its title."""
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n</details>"


def formula(page: Page, tex: str, label: str = "") -> str:
    """Return a displayed formula; a labelled one carries its number.

    Args:
        page: where it stands.
        tex: LaTeX, with or without an environment of amsmath around it; rows may end in two backslashes.
        label: its label, may be empty.

    Returns:
        The formula between lines of two dollars.
    """
    tex = re.sub(r"\\(begin|end)\{(align|gather)\*?\}", r"\\\1{\2ed}", re.sub(r"(?<!\\)%.*", "", tex.strip()))
    tex = re.sub(r"\\(begin|end)\{equation\*?\}", "", tex).strip()
    if r"\\" in tex and not tex.startswith(r"\begin{"):
        tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
    mark, said = numbered(page, "Equation", label) if label else ("", "")
    tag = rf" \tag{{{said[1:-1]}}}" if said else ""
    return f"{mark}$$\n{tex}{tag}\n$$"


def _math(block: Block) -> str:
    return formula(block.page, f"{block.arg}\n{block.body}", block.label)


def _code(block: Block) -> str:
    fence = "````" if "```" in block.body else "```"
    return f"{fence}{block.arg}\n{block.body}{fence}"


def _figure(block: Block) -> str:
    picture = f"![{block.options.get('alt', '')}]({link(block.page, '', block.arg)[1]})"
    caption, _, legend = block.inside().partition("\n\n")
    if not caption:
        return picture
    mark, said = numbered(block.page, "Figure", block.label)
    line = f"*{said}.* {caption}" if "*" in caption else f"*{said}. {caption}*"
    return f"{mark}{picture}\n\n{line}\n\n{legend}".strip()


def _box(block: Block) -> str:
    """Return an admonition as a blockquote, or folded where its author wants that."""
    kind, title = _BOXES[block.name], block.title()
    if block.name == "dropdown" or "dropdown" in block.options.get("class", ""):
        return details(title or kind, block.inside())
    head, first = (kind, title) if kind else (title, "")
    return _quote(f"**{head}**" if head else "", f"{first}\n\n{block.inside()}".strip())


def _statement(block: Block) -> str:
    kind, title = block.name.removeprefix("prf:").capitalize(), block.title()
    mark, said = ("", kind) if kind == "Proof" else numbered(block.page, kind, block.label)
    return mark + _quote(f"**{said} ({title}).**" if title else f"**{said}.**", block.inside())


def _quote(title: str, text: str) -> str:
    """Return a blockquote; a displayed formula in it stands on one line, since not every reader takes more."""
    shown = re.compile(r"(```[\s\S]*?```)|\$\$\n([\s\S]+?)\n[ \t]*\$\$")
    text = shown.sub(lambda m: m[1] or f"$${' '.join(m[2].split())}$$", f"{title}\n\n{text}".strip())
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _exercise(block: Block) -> str:
    title = block.title()
    mark, said = numbered(block.page, "Exercise", block.label)
    block.page.exercises[block.label] = f"{said}: {title}" if title else said
    return f"{mark}**{said}**{f' *({title})*' if title else ''}\n\n{block.inside()}"


def _solution(block: Block) -> str:
    said = f"Solution to {_solved(block)}"
    return anchor(block.page, block.label, said) + details(said, block.inside())


def _gate(block: Block) -> str:
    _solved(block)
    return f"\0{block.arg}\0"


def _solved(block: Block) -> str:
    """Return the number of the exercise that a solution names."""
    page, label = block.page, block.arg
    if not page.surveying and label not in page.exercises:
        raise page.error(label or "{solution", f"a solution names an exercise {label!r} that this chapter has not.")
    return page.labels.get(label, "")


def _table(block: Block) -> str:
    title = block.title()
    mark, said = numbered(block.page, "Table", block.label) if title else ("", "")
    rows = _list_table(block) if block.name == "list-table" else block.inside()
    return f"{mark}**{said}.** {title}\n\n{rows}" if title else rows


def _list_table(block: Block) -> str:
    """Return a list of lists as a Markdown table."""
    rows = [[_bars(" ".join(block.page.render(cell).split())) for cell in row] for row in _rows(block)]
    empty, rule = [""] * len(rows[0]), ["---"] * len(rows[0])
    head = rows.pop(0) if block.options.get("header-rows", "0") != "0" else empty
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def _rows(block: Block) -> list[list[str]]:
    rows = []
    for line in block.body.strip("\n").splitlines():
        item = re.match(r"(?:([*-]) |  )[*-](?: +(.*))?$", line)
        rows += [[]] if item and item[1] else []
        if not rows:
            raise block.page.error(line, "a {list-table} is a list of lists: '* - a' starts a row, '  - b' goes on.")
        rows[-1] += [item[2] or ""] if item else []
        rows[-1][-1] += "" if item else f"\n{line.strip()}"
    if len({len(row) for row in rows}) != 1:
        raise block.page.error(block.body, "the rows of this {list-table} are not equally long.")
    return rows


def _bars(text: str) -> str:
    """Write the vertical bars of a table's cell so that none of them ends the cell."""
    text = re.sub(r"\$[^$]+\$", lambda m: m[0].replace(r"\|", r"\Vert ").replace("|", r"\vert "), text)
    return re.sub(r"\\?\|", lambda m: r"\|", text)


def _section(block: Block) -> str:
    """Return a card or a tab, or what holds them, as one part after another."""
    title, to = block.title(), ""
    inside = block.page.render(re.sub(r"^(\^{3,}|\+{3,})[ \t]*$", "", block.body, flags=re.MULTILINE))
    if "link" in block.options:
        title, to = link(block.page, title, block.options["link"])
    if to:
        return f"**[{title}]({to})**\n\n{inside}"
    return f"**{title}**\n\n{inside}" if title and block.name != "grid" else inside


_DIRECTIVES: dict[str, Callable[[Block], str]] = {
    **dict.fromkeys(_BOXES, _box),
    **dict.fromkeys((f"prf:{kind}" for kind in _STATEMENTS), _statement),
    **dict.fromkeys(_SECTIONS, _section),
    **dict.fromkeys(("figure", "image"), _figure),
    **dict.fromkeys(("code", "code-block"), _code),
    **dict.fromkeys(("list-table", "table"), _table),
    **dict.fromkeys(("exercise", "exercise-start"), _exercise),
    **dict.fromkeys(("exercise-end", "bibliography"), lambda block: ""),
    "math": _math,
    "solution": _solution,
    "solution-start": _gate,
    "solution-end": lambda block: "\0\0",
}
