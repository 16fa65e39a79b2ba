"""Gated solutions: the stub that the reader completes, the check of the attempt, and the solution folded away."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from wavelab.course.directives import details
from wavelab.course.links import Page
from wavelab.errors import InvalidInput

ATTEMPT = 'from wavelab.runtime import attempt  # says what is left to do, so that "Run all" goes on'
_TITLES = {"check": "# @title Check of the solution\n", "solution": "# @title Solution\n", "": "# @title Solution\n"}


def role(cell: NotebookNode) -> str:
    """Return ``solution`` or ``check`` for a cell that is tagged so, else nothing."""
    return next((tag for tag in cell.metadata.get("tags", []) if tag in ("solution", "check")), "")


def solution_cells(page: Page, label: str, cells: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """Yield a gated solution: for each solution cell a stub and the check of the attempt, then all of it folded.

    Args:
        page: the chapter.
        label: the exercise that is solved.
        cells: what stands between the start and the end of the solution; the text is Markdown already.

    Yields:
        The cells of the notebook.

    Raises:
        InvalidInput: a solution cell without a check after it, or one that no stub can be made of.
    """
    work = [(role(cell), cell.source) for cell in cells if role(cell)]
    if [kind for kind, _ in work] != ["solution", "check"] * (len(work) // 2):
        raise page.error(
            label, f"in the solution to {label!r} each cell tagged solution needs one tagged check after it."
        )
    for (_, solution), (_, check) in zip(work[::2], work[1::2]):
        try:
            code, attempt = stub(solution, page.exercises[label]), _attempt(check)
        except (InvalidInput, SyntaxError) as error:
            raise page.error(label, f"in the solution to {label!r}: {error}") from error
        yield new_code_cell(f"{ATTEMPT}\n\n{code}", metadata={"tags": ["stub"]})
        yield new_code_cell(attempt, metadata={"tags": ["attempt"]})
    for cell in cells:
        yield _folded(cell, f"Solution to {page.labels[label]}")


def _folded(cell: NotebookNode, title: str) -> NotebookNode:
    if cell.cell_type == "markdown":
        return new_markdown_cell(details(title, cell.source))
    head = "" if cell.source.startswith("%%") else _TITLES[role(cell)]
    metadata = cell.metadata | {"cellView": "form", "jupyter": {"source_hidden": True}}
    return new_code_cell(head + cell.source, metadata=metadata)


def _attempt(check: str) -> str:
    """Return the check inside ``with attempt():``; the inside of strings that span lines is not indented."""
    strings = [node for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Constant | ast.JoinedStr)]
    inside = {line for node in strings for line in range(node.lineno + 1, node.end_lineno + 1)}
    lines = enumerate(check.splitlines(), start=1)
    code = "\n".join(line if number in inside or not line else f"    {line}" for number, line in lines)
    ast.parse(f"with attempt():\n{code}")
    return f"with attempt():\n{code}"


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
    lines = source.splitlines()
    for node in sorted(_functions(source, label), key=lambda node: -node.lineno):
        message = json.dumps(f"{label}: write the body of {node.name}", ensure_ascii=False)
        raising = " " * (node.col_offset + 4) + f"raise NotImplementedError({message})"
        end = node.end_lineno
        while end < len(lines) and re.match(rf"[ ]{{{node.col_offset + 1},}}#", lines[end]):
            end += 1  # a last comment in the body
        lines[node.lineno - 1 : end] = [_head(node, lines), raising]
    return "\n".join(lines)


def _functions(source: str, label: str) -> list[ast.FunctionDef]:
    """Return the functions and methods of a solution, once it is sure that it only defines."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InvalidInput(f"{label}: the solution is not plain Python ({error}).") from error
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    functions = [node for holder in (tree, *classes) for node in holder.body if isinstance(node, ast.FunctionDef)]
    made = {node.name for node in (*functions, *classes)}
    rest = [node for node in tree.body if node not in functions and node not in classes]
    other = next((node for node in rest if not _only_defines(node, made)), None)
    if other or not functions:
        problem = f"line {other.lineno} does more" if other else "it defines no function"
        raise InvalidInput(f"{label}: a solution defines functions, beside imports and constants; {problem}.")
    return functions


def _only_defines(node: ast.stmt, made: set[str]) -> bool:
    """Return whether a statement is an import or a constant that uses nothing of what the solution makes."""
    uses = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign) and not made & uses


def _head(node: ast.FunctionDef, lines: list[str]) -> str:
    """Return a function's text from ``def`` to the end of its docstring, else to the end of its signature."""
    first = node.body[0]
    head = [*lines[node.lineno - 1 : first.lineno - 1], lines[first.lineno - 1].encode()[: first.col_offset].decode()]
    signature = re.sub(r"(\s*\n\s*#.*)*\s*\Z", "", "\n".join(head))
    documentation = ast.get_source_segment("\n".join(lines), first) if ast.get_docstring(node) is not None else ""
    return f"{signature}\n{' ' * (node.col_offset + 4)}{documentation}".rstrip()
