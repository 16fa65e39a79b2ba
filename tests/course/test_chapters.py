"""The chapters of the course itself, without running them."""

import ast
import itertools
import re

import jupytext
import nbformat
import pytest

from wavelab.course import chapters, select
from wavelab.course.convert import stub
from wavelab.course.execution import parameters
from wavelab.course.pages import cost_page, readme_table, results_page
from wavelab.errors import InvalidInput, UnknownName
from wavelab.paths import ROOT

CHAPTERS = chapters()
NAMES = [chapter.name for chapter in CHAPTERS]


@pytest.fixture(params=CHAPTERS, ids=NAMES)
def chapter(request):
    return request.param


def test_numbers_follow_the_order():
    assert [int(chapter.name[:2]) for chapter in CHAPTERS] == [chapter.number for chapter in CHAPTERS]


def test_frame(chapter):
    """Title, box of aims, parameters, a summary, three kinds of exercise, each with a solution."""
    text = chapter.source.read_text(encoding="utf-8")
    assert re.search(r"^```\{admonition\} In this chapter", text, re.MULTILINE)
    for heading in ("## Summary", "## Exercises"):
        assert f"\n{heading}\n" in text
    known = parameters(jupytext.read(chapter.source), chapter.name)
    assert (known["profile"], known["seed"], known["train"]) == ("cpu", 0, False)
    exercises = re.findall(r"\{exercise(?:-start)?\} (\w+):.*\n:label: ([\w-]+)", text)
    solved = set(re.findall(r"\{solution(?:-start)?\} ([\w-]+)", text))
    assert {"Code", "Think", "Explore"} <= {kind for kind, _ in exercises}
    assert {label for _, label in exercises} == solved


def test_no_outputs_are_committed(chapter):
    notebook = nbformat.read(chapter.source.with_suffix(".ipynb"), as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")


def test_every_cell_is_introduced_and_short(chapter):
    cells = jupytext.read(chapter.source).cells
    for before, cell in itertools.pairwise(cells):
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type != "code" or tags & {"parameters", "solution", "check"}:
            continue
        ast.parse(cell.source)
        assert before.cell_type == "markdown" or "parameters" in before.metadata.get("tags", []), cell.source
        assert max(map(len, cell.source.splitlines())) <= 120, cell.source


def test_stubs_are_derived_from_their_solutions(chapter):
    found = 0
    for cell in jupytext.read(chapter.source).cells:
        if "solution" in cell.metadata.get("tags", []):
            text, found = stub(cell.source, "Exercise 1"), found + 1
            names = [node.name for node in ast.parse(cell.source).body if isinstance(node, ast.FunctionDef)]
            assert names == [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
            assert text.count("raise NotImplementedError") == len(names)
    assert found >= 1


def test_colab_buttons_lead_to_notebooks_that_exist(chapter):
    first = nbformat.read(chapter.source.with_suffix(".ipynb"), as_version=4).cells[0].source
    path = re.search(r"colab\.research\.google\.com/github/[^/]+/[^/]+/blob/main/([^)\s]+)", first)[1]
    assert (ROOT / path).is_file()
    assert ROOT / path == chapter.source.with_suffix(".ipynb")


def test_select():
    assert select([]) == CHAPTERS
    assert select(["1"]) == select([NAMES[0]]) == select([NAMES[0][:2]]) == CHAPTERS[:1]
    assert select(["1-foundations"]) == [c for c in CHAPTERS if c.part == "1-foundations"]
    with pytest.raises(UnknownName, match="chapter '99'"):
        select(["99"])


@pytest.mark.parametrize("source", ["", "x = 1", "seed = 1 + 1", "seed = f()", "import os"])
def test_parameters_must_be_literals(source):
    cell = nbformat.v4.new_code_cell(source)
    if source.startswith(("seed", "import")):
        cell.metadata.tags = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    with pytest.raises(InvalidInput, match="parameters"):
        parameters(notebook, "chapter 1")


def test_pages_are_made_from_records():
    for page in (results_page(), cost_page()):
        assert "None" not in page
        assert all(name in page for name in NAMES)
    assert readme_table() in (ROOT / "README.md").read_text(encoding="utf-8")
