"""Build the book from executed notebooks; it executes nothing itself.

The pages of ``book/`` and the executed chapters are gathered in one folder, Jupyter Book turns it into HTML with every
warning an error, and each figure gets its twin for dark mode.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml

from wavelab.course import Chapter, chapters, run_folder
from wavelab.course.pages import cost_page, results_page
from wavelab.data import fetch
from wavelab.errors import InvalidInput, WavelabError
from wavelab.paths import BUILD, ROOT

FOLDER = BUILD / "book"
LONGEST_DRAWING = 8  # lines; a longer cell that draws a figure is folded
WIDGET = "application/vnd.jupyter.widget-view+json"  # such as a progress bar; a page has no kernel that moves it
REFERENCES = """## References

```{bibliography}
:filter: docname in docnames
:list: bullet
```"""


def build(profile: str, folder: Path = FOLDER) -> Path:
    """Build the book from the last runs on a profile.

    Args:
        profile: the profile whose executed notebooks are shown.
        folder: where the book is built; its pages go to ``html`` in it.

    Returns:
        The path of the first page.

    Raises:
        InvalidInput: a cell shows more than one figure.
        WavelabError: Jupyter Book reported an error or a warning; its output is shown.
    """
    source = gather(profile, folder / "source")
    jupyter_book = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", jupyter_book, "build", str(source), "--path-output", str(folder)]
    done = subprocess.run(
        [*command, "-W", "-n", "--keep-going", "-q"], capture_output=True, text=True, env=_build_environment()
    )
    if done.returncode != 0:
        raise WavelabError(f"The book was not built. Jupyter Book said:\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
    made = folder / "_build" / "html"
    for page in made.rglob("*.html"):
        finish_page(page, run_folder(profile) / "dark")
    shutil.rmtree(folder / "html", ignore_errors=True)
    shutil.copytree(made, folder / "html")
    return folder / "html" / "index.html"


def gather(profile: str, source: Path) -> Path:
    """Gather pages and executed chapters in the folder ``source``, and return it."""
    gather_pages(source)
    for chapter in chapters():
        target = source / "notebooks" / chapter.part / f"{chapter.name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(prepare_chapter(chapter, profile), target)
    for page in source.glob("*.md"):
        page.write_text(_book_links(page.read_text(encoding="utf-8")), encoding="utf-8")
    config = yaml.safe_load((ROOT / "book" / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = repository()
    (source / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return source


def gather_pages(source: Path) -> None:
    """Gather what is not a chapter: the pages of ``book/``, those made from records, figures and MathJax."""
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "book", source)
    shutil.copytree(ROOT / "data" / "results" / "figures", source / "_static" / "figures", dirs_exist_ok=True)
    (source / "_mathjax").mkdir()
    shutil.copyfile(fetch("mathjax"), source / "_mathjax" / "tex-svg-full.js")
    (source / "results.md").write_text(results_page(), encoding="utf-8")
    (source / "cost.md").write_text(cost_page(), encoding="utf-8")
    for page in source.glob("*.md"):
        text = page.read_text(encoding="utf-8").replace("](../notebooks/", "](notebooks/")
        page.write_text(text, encoding="utf-8")


def repository(root: Path = ROOT) -> str:
    """Return the address of the repository, which ``pyproject.toml`` alone names."""
    import tomllib

    with open(root / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def prepare_chapter(chapter: Chapter, profile: str) -> nbformat.NotebookNode:
    """Return the executed chapter as the book shows it: captions and text alternatives set, references at the end.

    A chapter that has not been run on the profile is shown without outputs, and says so.
    """
    path = executed(chapter, profile)
    notebook = nbformat.read(path, as_version=4) if path.is_file() else _unexecuted(chapter, profile)
    notebook.metadata.pop("widgets", None)  # or the page asks elsewhere for the scripts that move them
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata.tags = [*tags, "remove-cell"]
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            _describe_figure(cell, chapter.name)
            _fold_drawing(cell)
        else:
            cell.source = _book_links(cell.source)
    notebook.cells.append(nbformat.v4.new_markdown_cell(REFERENCES))
    return notebook


def executed(chapter: Chapter, profile: str) -> Path:
    """Return where the executed notebook of a chapter is, once it has been run on a profile."""
    return run_folder(profile) / chapter.part / f"{chapter.name}.ipynb"


def _unexecuted(chapter: Chapter, profile: str) -> nbformat.NotebookNode:
    notebook, command = jupytext.read(chapter.source), f"make book CHAPTER={chapter.number} PROFILE={profile}"
    told = f"This chapter has not been run on the profile `{profile}`, so it has no figures yet: `{command}`."
    notebook.cells.insert(1, nbformat.v4.new_markdown_cell(f":::{{note}}\n{told}\n:::"))
    return notebook


def _book_links(text: str) -> str:
    """Point links to other chapters at their executed notebooks, and links to the book's pages at where they lie."""
    text = re.sub(r"\]\(((?:[\w./-]*/)?\d\d-[\w-]+)\.md(#[\w-]+)?\)", r"](\1.ipynb\2)", text)
    return text.replace("](../../book/", "](../../")


def _fold_drawing(cell: nbformat.NotebookNode) -> None:
    """Fold the source of a cell that mostly draws; its figure stays in view."""
    draws = re.search(r"^\s*(plotting\.)?(show|explore)\(", cell.source, re.MULTILINE)
    if draws and cell.source.count("\n") >= LONGEST_DRAWING:
        cell.metadata.tags = [*cell.metadata.get("tags", []), "hide-input"]


def _describe_figure(cell: nbformat.NotebookNode, where: str) -> None:
    """Move a figure's text alternative and caption from the output to where the book reads them."""
    cell.outputs = [output for output in cell.outputs if not output.get("metadata", {}).get("caption")]
    shown = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    if len(shown) > 1:
        raise InvalidInput(f"A cell of {where} shows {len(shown)} figures; show one a cell, so that each has its text.")
    for output in shown:
        about: dict[str, Any] = output.metadata.get("image/png", {})
        if not about.get("alt"):
            raise InvalidInput(f"A figure of {where} has no text alternative; display it with plotting.show.")
        cell.metadata["mystnb"] = {"image": {"alt": about["alt"]}}
        if about.get("caption"):
            cell.metadata["mystnb"]["figure"] = {"caption": about["caption"]}


def finish_page(page: Path, dark: Path) -> None:
    """Give each figure its dark twin; take out the scripts of a live kernel and a role that misleads screen readers."""
    text = page.read_text(encoding="utf-8")
    new = re.sub(r"\s*<script[^>]*>(?:(?!</script>).)*</script>", _wanted_script, text, flags=re.DOTALL)
    new = new.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    new = re.sub(r"\s*<link[^>]*sphinx-thebe\.css[^>]*>", "", new)
    new = re.sub(r'<img\b[^>]*\bsrc="([^"]*_images/([0-9a-f]{64})\.png)"[^>]*>', lambda m: _twin(m, page, dark), new)
    if new != text:
        page.write_text(new, encoding="utf-8")


def _wanted_script(script: re.Match) -> str:
    """Drop what a live kernel would need, and the second of the two places where Jupyter Book loads MathJax."""
    again = "tex-svg-full.js" in script[0] and "defer" not in script[0]
    return "" if again or "thebe" in script[0] else script[0]


def _twin(match: re.Match, page: Path, dark: Path) -> str:
    """Return the picture for light pages and, where a run stored one, the picture for dark pages."""
    made = dark / f"{match[2]}.png"
    if not made.is_file():
        return match[0]
    address = match[1].replace(match[2], f"{match[2]}-dark")
    target = (page.parent / address).resolve()
    if not target.is_file():
        shutil.copyfile(made, target)
    light = _with_class(match[0], "only-light")
    return light + _with_class(match[0].replace(match[1], address), "only-dark")


def _with_class(image: str, name: str) -> str:
    if 'class="' in image:
        return image.replace('class="', f'class="{name} ', 1)
    return image.replace("<img", f'<img class="{name}"', 1)


def _build_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "ignore::DeprecationWarning"}
