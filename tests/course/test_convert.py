"""The conversion of a chapter's source into the notebook that readers open."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from made_course import HEADER, PYPROJECT, WHOLE, chapter, code, converted, project

from wavelab.course import convert
from wavelab.errors import InvalidInput, StorageError


@pytest.fixture
def course(tmp_path):
    return project(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# No header\n",
        b"\xff\xfe",
        HEADER.replace("format_name: myst", "format_name: markdown").encode(),
        HEADER.replace("name: python3", "name: julia").encode(),
        HEADER.replace("kernelspec:", "kernelspec: [").encode(),
        (HEADER + "```{code-cell} ipython3\n:tags: [a\nx\n```\n").encode(),
        (HEADER + "```{code-cell} ipython3\n:tags::[a]\n\nx\n```\n").encode(),
    ],
)
def test_what_is_no_source_is_refused(course, content):
    path = chapter(course, "")
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"01-first\.md"):
        convert.to_notebook(path)


def test_missing_source_project_or_bibliography(course, tmp_path_factory):
    with pytest.raises(InvalidInput, match="Cannot read"):
        convert.read_chapter(course / "none.md")
    with pytest.raises(InvalidInput, match="lies in no project"):
        convert.to_notebook(chapter(tmp_path_factory.mktemp("elsewhere"), "# T"))
    (course / "book" / "references.bib").write_text("@article{haar, title={")
    with pytest.raises(InvalidInput, match="BibTeX"):
        converted(course, "{cite:p}`haar`")
    (course / "book" / "references.bib").unlink()
    with pytest.raises(InvalidInput, match=r"references\.bib"):
        converted(course, "{cite:p}`haar`")


def test_read_chapter_keeps_cells_and_tags(course):
    notebook = convert.read_chapter(chapter(course, "# T\n\n" + code("seed = 0", "parameters, deterministic")))
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"]
    assert notebook.cells[1].metadata.tags == ["parameters", "deterministic"]


def test_opening_cells(course):
    links, install, title, parameters = convert.to_notebook(
        chapter(course, "# T\n\n" + code("seed = 0", "parameters, deterministic"))
    ).cells
    assert links.source == (
        "[Open in Colab](https://colab.research.google.com/github/someone/course/blob/main/notebooks/1-part/"
        "01-first.ipynb) · [Source](01-first.md)"
    )
    assert install.metadata.tags == ["install"]
    assert title.source == "# T"
    assert parameters.metadata.tags == ["parameters", "deterministic"]


def run_install(course, monkeypatch, here, importable, run=None):
    """Run the install cell in a folder; return the commands that it ran and the paths it put on sys.path."""
    path, commands = chapter(course, "# T"), []
    install = convert.to_notebook(path).cells[1].source
    before = list(sys.path)
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(before))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if importable else None)
    monkeypatch.setattr(subprocess, "run", run or (lambda command, **_: commands.append(command)))
    exec(compile(install, "install", "exec"), {})
    return commands, [folder for folder in sys.path if folder not in before]


def test_install_does_nothing_where_the_package_is(course, monkeypatch, tmp_path, capfd):
    assert run_install(course, monkeypatch, tmp_path, importable=True) == ([], [])
    assert capfd.readouterr() == ("", "")


def test_install_clones_and_adds_what_is_missing(course, monkeypatch, tmp_path):
    commands, added = run_install(course, monkeypatch, tmp_path, importable=False)
    clone, pip = commands
    target = str(tmp_path / "course")
    assert clone == ["git", "clone", "--quiet", "--depth", "1", "https://github.com/someone/course", target]
    assert pip[:6] == [sys.executable, "-m", "pip", "install", "--quiet", "not-there-yet>=3.1"]
    assert [name.split("==")[0] for name in pip[6:]] == ["torch", "numpy"]  # held at what is installed
    assert added == [target]


def test_install_takes_the_clone_around_the_notebook(course, monkeypatch):
    (course / "pyproject.toml").write_text(PYPROJECT.replace(', "not-there-yet>=3.1"', ""))
    (course / "wavelab").mkdir()
    (course / "wavelab" / "__init__.py").touch()
    here = course / "notebooks" / "1-part"
    here.mkdir(parents=True)
    assert run_install(course, monkeypatch, here, importable=False) == ([], [str(course)])


def test_install_with_real_git(course, monkeypatch, tmp_path_factory):
    origin, here = tmp_path_factory.mktemp("origin") / "wave", tmp_path_factory.mktemp("here")
    (origin / "wavelab").mkdir(parents=True)
    (origin / "wavelab" / "__init__.py").touch()
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=origin, check=True)
    text = PYPROJECT.replace(', "not-there-yet>=3.1"', "").replace("https://github.com/someone/course", origin.as_uri())
    (course / "pyproject.toml").write_text(text)
    for _ in range(2):  # the second time the clone is there already
        assert run_install(course, monkeypatch, here, False, subprocess.run)[1] == [str(here / "wave")]
        monkeypatch.undo()
    (course / "pyproject.toml").write_text(text.replace("/wave", "/gone"))
    with pytest.raises(RuntimeError, match=r"(?s)set-up stopped at: git clone.*gone.*needs git and a network"):
        run_install(course, monkeypatch, here, False, subprocess.run)
    assert not (here / "gone").exists()


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_run_all_works_and_papermill_finds_the_parameters(course, tmp_path):
    path = convert.write_notebook(chapter(course, WHOLE))
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(str(path), str(out), {"seed": 7}, cwd=str(path.parent), progress_bar=False)
    cells = {(cell.metadata.get("tags") or [""])[0]: cell for cell in nbformat.read(out, 4).cells if "outputs" in cell}
    assert printed(cells["install"]) == ""
    assert printed(cells[""]) == "seed 7\n"
    assert printed(cells["attempt"]).startswith("Exercise 1: Code: halve: write the body of halve")
    assert printed(cells["check"]) == "right\n"


def test_the_file_is_minimal_and_valid(course):
    path = convert.write_notebook(chapter(course, WHOLE))
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    assert path == course / "notebooks" / "1-part" / "01-first.ipynb"
    assert path.read_bytes().endswith(b"}\n") and (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code_cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_two_conversions_are_byte_identical(course):
    path = chapter(course, WHOLE + "\n\nSame.\n\n+++\n\nSame.\n\n+++\n\nSame.\n")
    first = convert.write_notebook(path).read_bytes()
    script = f"from wavelab.course import convert; convert.write_notebook({str(path)!r})"
    path.with_suffix(".ipynb").unlink()
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": "7"}, check=True)
    assert path.with_suffix(".ipynb").read_bytes() == first


def test_ids_follow_the_content(course):
    before = convert.to_notebook(chapter(course, WHOLE)).cells
    after = convert.to_notebook(chapter(course, WHOLE.replace("## Exercises", "New.\n\n+++\n\n## Exercises"))).cells
    assert len(after) == len(before) + 1
    assert len({cell.id for cell in after} - {cell.id for cell in before}) <= 2


def test_drift(course):
    path = chapter(course, WHOLE)
    assert convert.drifted(path)
    notebook = convert.write_notebook(path)
    assert not convert.drifted(path)
    notebook.write_bytes(notebook.read_bytes().replace(b"seed = 0", b"seed = 1"))
    assert convert.drifted(path)
    convert.write_notebook(path)
    path.write_text(path.read_text().replace("x / 2", "x / 3"))
    assert convert.drifted(path)


def test_a_failure_leaves_the_old_file(course, monkeypatch):
    path = chapter(course, WHOLE)
    notebook = convert.write_notebook(path)
    old = notebook.read_bytes()
    path.write_text(path.read_text() + "\n{nonsense}`x`\n")
    with pytest.raises(InvalidInput):
        convert.write_notebook(path)
    path.write_text(HEADER + "# New\n")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left"):
        convert.write_notebook(path)
    assert notebook.read_bytes() == old
    assert sorted(file.name for file in path.parent.iterdir()) == ["01-first.ipynb", "01-first.md"]
