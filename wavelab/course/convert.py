"""Turn a chapter's source into the notebook that Jupyter, GitHub and Colab open.

Authors edit ``notebooks/<part>/NN-name.md``: MyST Markdown, read with jupytext. The ``NN-name.ipynb`` beside it is
made here: a row of links, an install cell, then the chapter with directives, roles, citations and cross references
as Markdown that reads well anywhere. Solutions are folded, stubs are derived from them, the references come last.

A source is read twice: a survey collects what can be referred to and what is cited, the second reading writes.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import os
import re
import textwrap
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

import jupytext
import nbformat
import yaml
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pybtex.database import Entry, parse_string
from pybtex.exceptions import PybtexError
from pybtex.richtext import Text

from wavelab.errors import InvalidInput
from wavelab.paths import atomic_write

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
_ATTEMPT = 'from wavelab.runtime import attempt  # says what is left to do, so that "Run all" goes on'
_BOXES = {name: name.capitalize() for name in ("note", "tip", "hint", "important", "warning", "caution", "danger")}
_BOXES |= {"seealso": "See also", "admonition": "", "margin": "", "sidebar": ""}
_STATEMENTS = ("theorem", "lemma", "proposition", "corollary", "definition", "remark", "algorithm", "example", "proof")
_SECTIONS = ("grid", "grid-item", "grid-item-card", "card", "tab-set", "tab-item")
_FRONT = re.compile(r"(?:---\n(?P<yaml>[\s\S]*?)^---\n)?", re.MULTILINE)
_FENCE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<fence>`{3,}(?!`)|~{3,}(?!~)|:{3,}(?=\{))(?P<info>[^`\n]*)\n(?P<body>(?:.*\n)*?)"
    r"[ \t]*(?P=fence)[`~:]*[ \t]*$",
    re.MULTILINE,
)
_PIECE = r"(?:.|\n(?!\s*\n))"  # a character inside one paragraph
_TOKEN = re.compile(
    rf"""
      (?P<comment>^[ ]{{0,3}}%.*\n?)
    | (?P<target>^\((?P<id>[\w:.-]+)\)=[ \t]*$(?=(?:\s*\([\w:.-]+\)=)*\s*(?:\#+[ ]+(?P<of>.*))?))
    | (?P<heading>^(?P<level>\#{{1,6}})[ ]+(?P<title>.*\S))
    | (?P<display>^(?P<pad>[ \t]*)\$\$(?P<tex>(?:(?!\$\$)[\s\S])+)\$\$[ \t]*(?:\((?P<tag>[\w:.-]+)\))?[ \t]*$)
    | (?P<amsmath>^\\begin\{{(?P<env>(?:align|gather|equation)\*?)\}}[\s\S]+?\\end\{{(?P=env)\}})
    | (?P<stray>(?<![`:~])(?:`{{3,}}|:{{3,}}|~{{3,}})\{{[\w:.-]+\}}|\{{\{{\s*\w+\s*\}}\}})
    | (?P<role>\{{(?P<name>[a-z][\w:.-]*)\}}(?P<tick>`+)(?P<content>{_PIECE}+?)(?<!`)(?P=tick)(?!`))
    | (?P<code>(?<!`)(?P<ticks>`+)(?!`){_PIECE}+?(?<!`)(?P=ticks)(?!`))
    | (?P<maths>(?P<dollar>\$\$?)(?:\\[\s\S]|(?!\\|(?P=dollar)){_PIECE})+(?P=dollar))
    | (?P<footnote>\[\^(?P<mark>[\w-]+)\](?P<colon>:?))
    | (?P<link>(?P<bang>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^\s()]+)(?P<hover>\s+"[^"]*")?\))
    | \\. | <!--[\s\S]*?-->
    """,
    re.MULTILINE | re.VERBOSE,
)


@dataclass
class _Chapter:
    """One source, and what the readings of it have found."""

    path: Path
    source: str
    survey: bool = True
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

    def error(self, at: str, problem: str) -> InvalidInput:
        """Return the error that names the chapter and the first line of its text that holds ``at``."""
        first = at.strip().split("\n")[0]
        pattern = rf"(?<![\w-]){first}(?![\w-])" if re.fullmatch(r"[\w:.-]+", first) else re.escape(first)
        found = re.compile(pattern).search(self.source, _FRONT.match(self.source).end())
        line = self.source.count("\n", 0, found.start() if found else 0) + 1
        return InvalidInput(f"{self.path.parent.name}/{self.path.name}, line {line}: {problem}")


def read_chapter(path: Path | str) -> NotebookNode:
    """Read a chapter's source as a notebook.

    Args:
        path: a MyST Markdown file with a jupytext header (``format_name: myst``) and the kernelspec ``python3``.

    Returns:
        The notebook, unconverted, one cell for each cell of the source.

    Raises:
        InvalidInput: the file is missing, is no such source, or jupytext cannot read it.
    """
    source = _read(Path(path))
    try:
        header = yaml.safe_load(_FRONT.match(source)["yaml"] or "")
        found = header["jupytext"]["text_representation"]["format_name"], header["kernelspec"]["name"]
        notebook = jupytext.reads(source, fmt="md:myst")
    except (KeyError, TypeError, ValueError, yaml.YAMLError, MystMetadataParsingError) as error:
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
    chapter = replace(_survey(path), survey=False, counts=Counter())
    cells = [*_opening(chapter), *_cells(chapter, source.cells), *_references(chapter)]
    seen = Counter()
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        cell.id = f"{digest}-{seen[digest]}"
        seen[digest] += 1
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return notebook


def write_notebook(path: Path | str) -> Path:
    """Write a chapter's notebook beside its source, whole or not at all, and return where."""
    content = _content(path)
    with atomic_write(Path(path).with_suffix(".ipynb")) as temporary:
        temporary.write_bytes(content)
    return Path(path).with_suffix(".ipynb")


def drifted(path: Path | str) -> bool:
    """Return whether the notebook beside a source is missing or differs from what the source gives now."""
    content, target = _content(path), Path(path).with_suffix(".ipynb")
    return not target.is_file() or target.read_bytes() != content


def _content(path: Path | str) -> bytes:
    return (nbformat.writes(to_notebook(path), version=nbformat.NO_CONVERT) + "\n").encode()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"Cannot read {path}: {error}. It has to be an existing text file in UTF-8.") from error


def stub(source: str, label: str) -> str:
    """Return a solution's code with the body of each function replaced by ``raise NotImplementedError``.

    Imports, constants, signatures and docstrings stay as they are written.

    Args:
        source: imports, constants, functions and classes, nothing else.
        label: what the message starts with, such as ``"Exercise 2: one step of the Haar transform"``.

    Returns:
        The code of the stub.

    Raises:
        InvalidInput: the code does not parse, defines no function, or does more than define.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InvalidInput(f"{label}: the solution is not plain Python ({error}).") from error
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [node for holder in (tree, *classes) for node in holder.body if isinstance(node, ast.FunctionDef)]
    allowed, made = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign, {n.name for n in (*functions, *classes)}
    rest = [node for node in tree.body if node not in functions and node not in classes]
    uses = [node for node in rest if made & {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}]
    other = [node.lineno for node in rest if node in uses or not isinstance(node, allowed)]
    if other or not functions:
        problem = f"line {other[0]} does more" if other else "it defines no function"
        raise InvalidInput(f"{label}: a solution defines functions, beside imports and constants; {problem}.")
    lines = source.splitlines()
    for node in sorted(functions, key=lambda node: -node.lineno):
        message = json.dumps(f"{label}: write the body of {node.name}", ensure_ascii=False)
        raising = " " * (node.col_offset + 4) + f"raise NotImplementedError({message})"
        end = node.end_lineno
        while end < len(lines) and re.match(rf"[ ]{{{node.col_offset + 1},}}#", lines[end]):
            end += 1  # a last comment in the body
        lines[node.lineno - 1 : end] = [_head(node, lines), raising]
    return "\n".join(lines)


def _head(node: ast.FunctionDef, lines: list[str]) -> str:
    """Return a function's text from ``def`` to the end of its docstring, else to the end of its signature."""
    first = node.body[0]
    head = [*lines[node.lineno - 1 : first.lineno - 1], lines[first.lineno - 1].encode()[: first.col_offset].decode()]
    signature = re.sub(r"(\s*\n\s*#.*)*\s*\Z", "", "\n".join(head))
    documentation = ast.get_source_segment("\n".join(lines), first) if ast.get_docstring(node) is not None else ""
    return f"{signature}\n{' ' * (node.col_offset + 4)}{documentation}".rstrip()


def _attempt(check: str) -> str:
    """Return the check inside ``with attempt():``; the inside of strings that span lines is not indented."""
    strings = [node for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Constant | ast.JoinedStr)]
    inside = {line for node in strings for line in range(node.lineno + 1, node.end_lineno + 1)}
    lines = enumerate(check.splitlines(), start=1)
    code = "\n".join(line if number in inside or not line else f"    {line}" for number, line in lines)
    ast.parse(f"with attempt():\n{code}")
    return f"with attempt():\n{code}"


def _opening(chapter: _Chapter) -> Iterator[NotebookNode]:
    """Yield the row of links and the install cell."""
    project = tomllib.loads(_read(chapter.root / "pyproject.toml"))["project"]
    repository = project["urls"]["Repository"].removesuffix("/").removesuffix(".git")
    colab = repository.replace("https://github.com", "https://colab.research.google.com/github")
    place = chapter.path.relative_to(chapter.root).with_suffix(".ipynb").as_posix()
    yield new_markdown_cell(f"[Open in Colab]({colab}/blob/main/{place}) · [Source]({chapter.path.name})")
    needed = [text for text in project["dependencies"] if re.split(r"\W", text)[0] not in ("torch", "numpy")]
    code = _INSTALL.format(repository=repository, needed=textwrap.fill(" ".join(needed), 110))
    yield new_code_cell(code.rstrip(), metadata={"tags": ["install"]})


def _cells(chapter: _Chapter, source: list[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield the chapter's cells; inside a gated solution they are folded, and what is asked comes before them."""
    gate, folded, work = "", [], []
    for cell in source:
        if cell.cell_type != "markdown":
            role = next((tag for tag in cell.metadata.get("tags", []) if tag in ("solution", "check")), "")
            if role and not gate:
                raise chapter.error(cell.source, f"this cell is tagged {role!r} but stands in no gated solution.")
            work += [(role, cell.source)] if role else []
            folded += [_fold(cell, role)] if gate else []
            yield from [] if gate else [cell]
            continue
        text = re.sub(r"^#+ References\s*\Z", "", _render(chapter, cell.source), flags=re.MULTILINE)
        pieces = re.split("\0(.*?)\0", text)
        for text, mark in zip(pieces[::2], [*pieces[1::2], None]):
            if text.strip() and gate:
                folded.append(new_markdown_cell(_details(f"Solution to {chapter.labels[gate]}", text)))
            elif text.strip():
                yield new_markdown_cell(text.strip(), metadata=cell.metadata)
            if mark is not None:
                if bool(mark) == bool(gate):
                    raise chapter.error(
                        mark or gate or "{solution-end}", "solution-start and solution-end do not alternate."
                    )
                if gate:
                    yield from [*_attempts(chapter, gate, work), *folded]
                gate, folded, work = mark, [], []
    if gate:
        raise chapter.error(gate, f"the solution to {gate!r} has no solution-end.")


def _fold(cell: NotebookNode, role: str) -> NotebookNode:
    title = "# @title Check of the solution\n" if role == "check" else "# @title Solution\n"
    metadata = cell.metadata | {"cellView": "form", "jupyter": {"source_hidden": True}}
    return new_code_cell(("" if cell.source.startswith("%%") else title) + cell.source, metadata=metadata)


def _attempts(chapter: _Chapter, gate: str, work: list[tuple[str, str]]) -> Iterator[NotebookNode]:
    """Yield a stub and the check of the reader's attempt for each solution cell and its check."""
    if [role for role, _ in work] != ["solution", "check"] * (len(work) // 2):
        raise chapter.error(
            gate, f"in the solution to {gate!r} each cell tagged solution needs one tagged check after it."
        )
    for (_, solution), (_, check) in zip(work[::2], work[1::2]):
        try:
            code = f"{_ATTEMPT}\n\n{stub(solution, chapter.exercises[gate])}", _attempt(check)
        except (InvalidInput, SyntaxError) as error:
            raise chapter.error(gate, f"in the solution to {gate!r}: {error}") from error
        yield new_code_cell(code[0], metadata={"tags": ["stub"]})
        yield new_code_cell(code[1], metadata={"tags": ["attempt"]})


def _survey(path: Path) -> _Chapter:
    """Read a source for what it defines and cites."""
    return _surveyed(path, _read(path))


@lru_cache(maxsize=256)
def _surveyed(path: Path, source: str) -> _Chapter:
    chapter = _Chapter(path, source)
    _render(chapter, source[_FRONT.match(source).end() :])
    return chapter


def _render(chapter: _Chapter, text: str) -> str:
    """Turn MyST into plain Markdown: fenced blocks one after another, what stands between them as prose."""
    parts, end = [], 0
    for block in _FENCE.finditer(text):
        parts += [_prose(chapter, text[end : block.start()]), _block(chapter, block)]
        end = block.end()
    parts.append(_prose(chapter, text[end:]))
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def _block(chapter: _Chapter, block: re.Match) -> str:
    named = re.fullmatch(r"\{([\w:.-]+)\}[ \t]*(.*)", block["info"].strip())
    if not named:
        return block[0]
    body = re.sub(rf"^{block['indent']}", "", block["body"], flags=re.MULTILINE)
    header = re.match(r"---\n(?P<yaml>[\s\S]*?)^---[ \t]*\n|(?:[ \t]*:[\w-]+:.*\n)*", body, flags=re.MULTILINE)
    try:
        options = yaml.safe_load(header["yaml"] or "") or dict(re.findall(r":([\w-]+):[ \t]*(.*)", header[0]))
    except yaml.YAMLError as error:
        raise chapter.error(block["info"], f"the options of {{{named[1]}}} are not YAML: {error}") from error
    text = _directive(
        chapter, *named.groups(), {key: str(value) for key, value in options.items()}, body[header.end() :]
    )
    return textwrap.indent(text, block["indent"])


def _directive(chapter: _Chapter, name: str, arg: str, options: dict[str, str], body: str) -> str:
    """Return one directive as Markdown."""
    kind, label = name.removeprefix("prf:"), options.get("label", options.get("name", ""))
    if chapter.survey and name in ("code-cell", "raw-cell"):
        return ""
    if name in ("figure", "image"):
        return _figure(chapter, arg, options, body, label)
    if name == "math":
        return _display(chapter, f"{arg}\n{body}", label)
    if name in ("code", "code-block"):
        fence = "````" if "```" in body else "```"
        return f"{fence}{arg}\n{body}{fence}"
    if name == "solution-start":
        _exercise(chapter, arg)
        return f"\0{arg}\0"
    if name in ("solution-end", "exercise-end", "bibliography"):
        return "\0\0" if name == "solution-end" else ""
    if name == "solution":
        said = f"Solution to {_exercise(chapter, arg)}"
        return _anchor(chapter, label, said) + _details(said, _render(chapter, body))
    arg = _prose(chapter, arg)
    if name in ("exercise", "exercise-start"):
        anchor, said = _numbered(chapter, "Exercise", label)
        chapter.exercises[label] = f"{said}: {arg}" if arg else said
        return f"{anchor}**{said}**{f' *({arg})*' if arg else ''}\n\n{_render(chapter, body)}"
    if name == "dropdown" or (name in _BOXES and "dropdown" in options.get("class", "")):
        return _details(arg or _BOXES.get(name, ""), _render(chapter, body))
    if name in _BOXES:
        title = f"**{_BOXES[name] or arg}**" if _BOXES[name] or arg else ""
        return _quote(title, f"{arg if _BOXES[name] else ''}\n\n{_render(chapter, body)}".strip())
    if name.startswith("prf:") and kind in _STATEMENTS:
        anchor, said = ("", "Proof") if kind == "proof" else _numbered(chapter, kind.capitalize(), label)
        return anchor + _quote(f"**{said} ({arg}).**" if arg else f"**{said}.**", _render(chapter, body))
    if name in ("list-table", "table"):
        anchor, said = _numbered(chapter, "Table", label) if arg else ("", "")
        rows = _rows(chapter, options, body) if name == "list-table" else _render(chapter, body)
        return f"{anchor}**{said}.** {arg}\n\n{rows}" if arg else rows
    if name in _SECTIONS:
        inner = _render(chapter, re.sub(r"^(\^{3,}|\+{3,})[ \t]*$", "", body, flags=re.MULTILINE))
        text, to = _link(chapter, arg, options["link"]) if "link" in options else (arg, "")
        title = f"**[{text}]({to})**\n\n" if to else f"**{arg}**\n\n" if arg and name != "grid" else ""
        return title + inner
    if chapter.survey:
        return _render(chapter, body)
    raise chapter.error(f"{{{name}}}", f"the directive {{{name}}} is not one that the notebooks know.")


def _quote(title: str, text: str) -> str:
    """Return a blockquote; a displayed formula in it stands on one line, since not every reader takes more."""
    formula = re.compile(r"(```[\s\S]*?```)|\$\$\n([\s\S]+?)\n[ \t]*\$\$")
    text = formula.sub(lambda m: m[1] or f"$${' '.join(m[2].split())}$$", f"{title}\n\n{text}".strip())
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def _details(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text.strip()}\n\n</details>"


def _figure(chapter: _Chapter, file: str, options: dict[str, str], body: str, label: str) -> str:
    picture = f"![{options.get('alt', '')}]({_link(chapter, '', file)[1]})"
    caption, _, legend = _render(chapter, body).partition("\n\n")
    if not caption:
        return picture
    anchor, said = _numbered(chapter, "Figure", label)
    line = f"*{said}.* {caption}" if "*" in caption else f"*{said}. {caption}*"
    return f"{anchor}{picture}\n\n{line}\n\n{legend}".strip()


def _rows(chapter: _Chapter, options: dict[str, str], body: str) -> str:
    """Return a list of lists as a Markdown table."""
    rows = []
    for line in body.strip("\n").splitlines():
        item = re.match(r"(?:([*-]) |  )[*-](?: +(.*))?$", line)
        rows += [[]] if item and item[1] else []
        if not rows:
            raise chapter.error(line, "a {list-table} is a list of lists: '* - a' starts a row, '  - b' goes on.")
        rows[-1] += [item[2] or ""] if item else []
        rows[-1][-1] += "" if item else f"\n{line.strip()}"
    if len({len(row) for row in rows}) != 1:
        raise chapter.error(body, "the rows of this {list-table} are not equally long.")
    cells = [[_bars(" ".join(_render(chapter, cell).split())) for cell in row] for row in rows]
    head = [cells.pop(0)] if options.get("header-rows", "0") != "0" else [[""] * len(rows[0])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [*head, ["---"] * len(rows[0]), *cells])


def _bars(text: str) -> str:
    """Write the vertical bars of a table's cell so that none of them ends the cell."""
    text = re.sub(r"\$[^$]+\$", lambda m: m[0].replace(r"\|", r"\Vert ").replace("|", r"\vert "), text)
    return re.sub(r"\\?\|", lambda m: r"\|", text)


def _display(chapter: _Chapter, tex: str, label: str = "") -> str:
    """Return a displayed formula; a labelled one carries its number."""
    tex = re.sub(r"\\(begin|end)\{(align|gather)\*?\}", r"\\\1{\2ed}", re.sub(r"(?<!\\)%.*", "", tex.strip()))
    tex = re.sub(r"\\(begin|end)\{equation\*?\}", "", tex).strip()
    if r"\\" in tex and not tex.startswith(r"\begin{"):
        tex = f"\\begin{{aligned}}\n{tex}\n\\end{{aligned}}"
    anchor, said = _numbered(chapter, "Equation", label) if label else ("", "")
    tag = rf" \tag{{{said[1:-1]}}}" if said else ""
    return f"{anchor}$$\n{tex}{tag}\n$$"


def _numbered(chapter: _Chapter, kind: str, label: str) -> tuple[str, str]:
    """Count one more of a kind; return its anchor and what a reference to it says, such as ``Theorem 1`` or ``(1)``."""
    chapter.counts[kind] += 1
    said = f"({chapter.counts[kind]})" if kind == "Equation" else f"{kind} {chapter.counts[kind]}"
    return _anchor(chapter, label, said), said


def _anchor(chapter: _Chapter, label: str, said: str) -> str:
    if chapter.survey and label in chapter.labels:
        raise chapter.error(label, f"the label {label!r} is given twice in this chapter.")
    if chapter.survey and label:
        chapter.labels[label] = said
    return f'<a id="{label}"></a>\n\n' if label else ""


def _exercise(chapter: _Chapter, label: str) -> str:
    if not chapter.survey and label not in chapter.exercises:
        raise chapter.error(label or "{solution", f"a solution names an exercise {label!r} that this chapter has not.")
    return chapter.labels.get(label, "")


def _prose(chapter: _Chapter, text: str) -> str:
    return _TOKEN.sub(lambda token: _token(chapter, token), text)


def _token(chapter: _Chapter, token: re.Match) -> str:
    """Return one piece of prose as plain Markdown; code, comments in HTML and escaped characters stay as they are."""
    match token.lastgroup:
        case "comment":
            return ""
        case "target":
            return _anchor(chapter, token["id"], token["of"] or "").removesuffix("\n")
        case "heading":
            slug = re.sub(r"[^\w\- ]", "", token["title"].lower()).replace(" ", "-")
            chapter.headings.setdefault(slug, token["title"])
            return f"{token['level']} {_prose(chapter, token['title'])}"
        case "display":
            return textwrap.indent(_display(chapter, token["tex"], token["tag"] or ""), token["pad"])
        case "amsmath":
            return _display(chapter, token[0])
        case "maths":
            return token[0].replace("\n", " ")
        case "role":
            return _role(chapter, token["name"], " ".join(token["content"].split()))
        case "footnote":
            anchor, mark = f'<a id="note-{token["mark"]}"></a>', f"<sup>{token['mark']}</sup>"
            return f"{anchor}{mark}" if token["colon"] else f"[{mark}](#note-{token['mark']})"
        case "link":
            text, to = _link(chapter, "" if token["bang"] else _prose(chapter, token["text"]), token["to"])
            return f"{token['bang']}[{token['text'] if token['bang'] else text}]({to}{token['hover'] or ''})"
        case "stray" if not chapter.survey:
            raise chapter.error(
                token[0], f"{token[0]} is not closed in its cell, does not start its line, or is no directive."
            )
    return token[0]


def _role(chapter: _Chapter, name: str, content: str) -> str:
    """Return one role as plain Markdown."""
    words, _, target = content.removesuffix(">").rpartition("<") if content.endswith(">") else ("", "", content)
    words = words.strip()
    if name in ("cite", "cite:p", "cite:t"):
        return _cite(chapter, content, textual=name == "cite:t")
    if name in ("ref", "numref", "eq", "prf:ref"):
        said, to = _find(chapter, target, words)
        number = re.search(r"\d+|$", said)[0]
        return f"[{words.replace('%s', number) or said}]({to})"
    if name in ("doc", "download"):
        text, to = _link(chapter, words, target)
        return f"[{text}]({to})"
    if name in ("sub", "sup", "kbd"):
        return f"<{name}>{content}</{name}>"
    if name == "abbr":
        short, long = re.fullmatch(r"(.*?)\s*(?:\((.*)\))?", content).groups()
        return f'<abbr title="{long}">{short}</abbr>' if long else short
    if name == "math":
        return f"${content}$"
    if name == "sub-ref" and (found := re.search(rf"^\s+{content}:[ ]*(.+)$", chapter.source, re.MULTILINE)):
        return found[1].strip("\"'")
    if chapter.survey:
        return ""
    raise chapter.error(f"{{{name}}}`", f"the role {{{name}}} with {content!r} is not one that the notebooks know.")


def _link(chapter: _Chapter, text: str, to: str) -> tuple[str, str]:
    """Return text and address of a link as they are in the notebook; links to chapters lead to their notebooks."""
    if chapter.survey or re.match(r"[A-Za-z][\w+.-]*:|//", to):
        return text or to, to
    name, _, anchor = to.partition("#")
    file = _file(chapter, name) if name else None
    if file is None:
        said, address = _find(chapter, name or anchor, text)
    else:
        said, address = name, _address(chapter, file)
    if file and file.suffix == ".md":
        other = _survey(file)
        said, mark = _place(other, anchor) if anchor else (other.title, "")
        if anchor and not mark:
            raise chapter.error(to, f"{name} has neither a label nor a heading {anchor!r}.")
        address += mark
    return text or said, address


def _file(chapter: _Chapter, name: str) -> Path | None:
    """Return the file that a relative path means, seen from the source or from where the book lays its own pages."""
    start = chapter.root if name.startswith("/") else chapter.path.parent
    for place in (start / name.lstrip("/"), chapter.root / "book" / re.sub(r"^(\.*/)+", "", name)):
        for file in (place, Path(f"{place}.md")):
            if file.exists():
                return file.resolve()
    return None


def _address(chapter: _Chapter, file: Path) -> str:
    if file.suffix == ".md" and file.parent.parent == chapter.root / "notebooks":
        file = file.with_suffix(".ipynb")
    return Path(os.path.relpath(file, chapter.path.parent)).as_posix()


def _place(chapter: _Chapter, anchor: str) -> tuple[str, str]:
    """Return what a label or a heading of a chapter is called, and its anchor in the notebook; empty where unknown."""
    if anchor in chapter.labels:
        return chapter.labels[anchor], f"#{anchor}"
    heading = chapter.headings.get(anchor, "")
    return heading, f"#{re.sub('[`$]', '', heading).replace(' ', '-')}" if heading else ""


def _find(chapter: _Chapter, label: str, words: str) -> tuple[str, str]:
    """Return what a reference to a label says and where it leads: in the chapter, else in the others or the book."""
    if chapter.survey:
        return label, ""
    said, mark = _place(chapter, label)
    if mark and not (said or words):
        raise chapter.error(f"`{label}", f"no heading follows the label {label!r}, so a reference to it needs a text.")
    if mark:
        return said, mark
    known = list(chapter.labels)
    for path in (*sorted(chapter.root.glob("notebooks/*/*.md")), *sorted(chapter.root.glob("book/**/*.md"))):
        other = _survey(path)
        known += other.labels
        if label in other.labels:
            said = other.labels[label]
            there = "" if said in ("", other.title) else f" in {other.title}"
            return said + there, f"{_address(chapter, path)}#{label}"
    close = ", ".join(difflib.get_close_matches(label, known)) or "none is close to it"
    raise chapter.error(label, f"{label!r} is neither a file nor a label of the course. Labels like it: {close}.")


def _cite(chapter: _Chapter, content: str, *, textual: bool) -> str:
    keys = [key.strip() for key in content.split(",")]
    chapter.cited.update(keys)
    if chapter.survey:
        return ""
    works = _works(chapter)
    if textual:
        return ", ".join(f"[{works[key][0]} ({works[key][1]})](#ref-{key})" for key in keys)
    return "(" + "; ".join(f"[{works[key][0]}, {works[key][1]}](#ref-{key})" for key in keys) + ")"


def _references(chapter: _Chapter) -> Iterator[NotebookNode]:
    """Yield the list of the cited works, where there are any."""
    lines = [f'<a id="ref-{key}"></a>{text}' for key, (_, _, text) in _works(chapter).items()]
    if lines:
        yield new_markdown_cell("\n\n".join(["## References", *lines]))


def _works(chapter: _Chapter) -> dict[str, tuple[str, str, str]]:
    """Return authors, year and full reference of each cited work, sorted by author and year."""
    if not chapter.cited:
        return {}
    entries = _entries(chapter.root / "book" / "references.bib")
    for key in sorted(chapter.cited - set(entries)):
        close = ", ".join(difflib.get_close_matches(key, entries)) or "none is close to it"
        raise chapter.error(key, f"{key!r} is not in book/references.bib. Keys like it: {close}.")
    found = [(_names(entries[key], full=True), entries[key].fields.get("year", "n.d."), key) for key in chapter.cited]
    found.sort(key=lambda work: (work[0].casefold(), *work[1:]))
    same = Counter((_names(entries[key]), year) for _, year, key in found)
    works, seen = {}, Counter()
    for full, year, key in found:
        who = _names(entries[key])
        seen[who, year] += 1
        letter = "abcdefghijklmnopqrstuvwxyz"[seen[who, year] - 1] if same[who, year] > 1 else ""
        works[key] = who, year + letter, f"{full} ({year}{letter}).{_described(entries[key])}"
    return works


def _entries(path: Path) -> dict[str, Entry]:
    try:
        return dict(_parsed(_read(path)))
    except PybtexError as error:
        raise InvalidInput(f"{path} is not a bibliography that BibTeX would read: {error}") from error


@lru_cache(maxsize=8)
def _parsed(text: str) -> dict[str, Entry]:
    return parse_string(text, "bibtex").entries


def _plain(text: str) -> str:
    return str(Text.from_latex(text)).replace("*", r"\*")


def _names(entry: Entry, full: bool = False) -> str:
    """Return the authors as ``Guth et al.``, or all of them with initials."""
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    last = [_plain(" ".join(person.prelast_names + person.last_names)) for person in people]
    if not last:
        return _plain(entry.fields.get("title", entry.key))
    if full:
        first = ["".join(f" {_plain(name)[0]}." for name in p.first_names + p.middle_names) for p in people]
        return ", ".join(f"{surname}{',' * bool(given)}{given}" for surname, given in zip(last, first)).replace(
            ", others", " et al."
        )
    return f"{last[0]} et al." if len(last) > 2 else " and ".join(last)


def _described(entry: Entry) -> str:
    """Return title, place of publication and link of a work."""
    venues = ("journal", "booktitle", "publisher", "school", "institution", "howpublished")
    of = {
        name: _plain(entry.fields[name])
        for name in (*venues, "title", "volume", "number", "pages")
        if name in entry.fields
    }
    venue = next((of[name] for name in venues if name in of), "")
    where = f"*{venue}*" if venue else ""
    where += (f", {of['volume']}" if "volume" in of else "") + (f"({of['number']})" if "number" in of else "")
    where += f", {of['pages']}" if "pages" in of else ""
    link = entry.fields.get("url", "")
    if "eprint" in entry.fields:
        link = f"https://arxiv.org/abs/{entry.fields['eprint']}"
    if "doi" in entry.fields:
        link = f"https://doi.org/{quote(entry.fields['doi'], safe='/')}"
    text = "".join(f" {part}." for part in (of.get("title"), where) if part)
    return f"{text} [{link}]({link})" if link else text
