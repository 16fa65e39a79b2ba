"""The conversion of a chapter's source into the notebook that readers open."""

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest

from wavelab.course import convert
from wavelab.course.solutions import ATTEMPT
from wavelab.errors import InvalidInput, StorageError

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""
PYPROJECT = """\
[project]
name = "course"
dependencies = ["numpy>=1.26", "torch>=2.2", "PyWavelets>=1.6", "scikit-image>=0.22", "not-there-yet>=3.1"]
[project.urls]
Repository = "https://github.com/someone/course"
"""
BIBLIOGRAPHY = r"""
@article{haar, author={Haar, Alfr{\'e}d}, title={Zur {T}heorie}, journal={Math. Ann.}, volume={69}, number={3},
  pages={331--371}, year={1910}, doi={10.1007/(BF)01456326}}
@book{mallat, author={Mallat, St{\'e}phane}, title={A Tour}, publisher={Academic Press}, year={2009}}
@misc{mallat2, author={Mallat, St{\'e}phane}, title={B Tour}, year={2009}, url={https://example.org/b_tour}}
@article{two, author={Ho, Jo Ann and de Jong, Ab}, title={On $\phi^4$}, journal={J}, year={2020}, eprint={2001.00001}}
@article{three, author={Daubechies, I. and Cohen, A. and Feauveau, J.}, title={Bases}, journal={J}, year={1992}}
@misc{nobody, title={The Set}, year={2001}}
@article{some, author={Wu, W. and others}, title={Some}, journal={J}, year={2002}}
@article{unused, author={Nobody, N.}, title={Unused}, journal={J}, year={2000}}
"""


@pytest.fixture
def course(tmp_path):
    """Return the folder of a made-up project with a bibliography and no chapters."""
    (tmp_path / "book").mkdir()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "book" / "references.bib").write_text(BIBLIOGRAPHY)
    return tmp_path


def chapter(course, body, name="1-part/01-first"):
    path = course / "notebooks" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + body)
    return path


def converted(course, body):
    """Return the Markdown of a chapter with this text, without the row of links, the set-up and the title."""
    cells = convert.to_notebook(chapter(course, f"# Title\n\n{body}")).cells[2:]
    return "\n\n".join(cell.source for cell in cells).removeprefix("# Title").strip()


def code(text, tags):
    return f"```{{code-cell}} ipython3\n:tags: [{tags}]\n\n{text}\n```\n\n"


EXERCISE = "```{exercise-start} Code: halve\n:label: ex-halve\n```\nWrite `halve`.\n```{exercise-end}\n```\n\n"
SOLUTION = 'def halve(x, by=2):\n    """Return half of x."""\n    return x / by'
GATED = (
    EXERCISE
    + "```{solution-start} ex-halve\n:class: dropdown\n```\n\nDivide.\n\n"
    + code(SOLUTION, "solution, hide-input")
    + code("assert halve(4) == 2\nprint('right')", "check")
    + "```{solution-end}\n```\n"
)
CONSTRUCTS = {
    "note": ("```{note}\nText.\n```", "> **Note**\n>\n> Text."),
    "colon fence": (":::{tip}\nText.\n:::", "> **Tip**\n>\n> Text."),
    "seealso": ("```{seealso}\nText.\n```", "> **See also**\n>\n> Text."),
    "admonition": ("```{admonition} My *title*\n:class: tip\nText.\n```", "> **My *title***\n>\n> Text."),
    "folded admonition": (
        "```{admonition} Open\n:class: tip, dropdown\nText.\n```",
        "<details><summary>Open</summary>\n\nText.\n\n</details>",
    ),
    "options as yaml": (
        "```{admonition} Open\n---\nclass: dropdown\n---\nText.\n```",
        "<details><summary>Open</summary>\n\nText.\n\n</details>",
    ),
    "margin": ("```{margin}\nAside.\n```", "> Aside."),
    "dropdown": (":::{dropdown} More\n**Bold**\n:::", "<details><summary>More</summary>\n\n**Bold**\n\n</details>"),
    "tabs": (
        "::::{tab-set}\n:::{tab-item} A\nOne\n:::\n:::{tab-item} B\nTwo\n:::\n::::",
        "**A**\n\nOne\n\n**B**\n\nTwo",
    ),
    "cards": (
        "::::{grid} 1 2 2 2\n:::{grid-item-card} A\nOne\n:::\n:::{card} B\nhead\n^^^\nTwo\n:::\n::::",
        "**A**\n\nOne\n\n**B**\n\nhead\n\nTwo",
    ),
    "list-table": (
        "```{list-table} Sizes\n:header-rows: 1\n:name: tab-s\n\n"
        "* - a\n  - b\n* - $|x|$ and `p|q`\n  - long\n    line\n```",
        '<a id="tab-s"></a>\n\n**Table 1.** Sizes\n\n'
        "| a | b |\n| --- | --- |\n| $\\vert x\\vert $ and `p\\|q` | long line |",
    ),
    "list-table without header": ("```{list-table}\n* - a\n  - b\n```", "|  |  |\n| --- | --- |\n| a | b |"),
    "math": ("```{math}\nE = mc^2\n```", "$$\nE = mc^2\n$$"),
    "math with label": (
        "```{math}\n:label: eq-e\nE = mc^2\n```\n\n{eq}`eq-e`",
        '<a id="eq-e"></a>\n\n$$\nE = mc^2 \\tag{1}\n$$\n\n[(1)](#eq-e)',
    ),
    "dollar math with label": (
        "$$ a = b $$ (eq-a)\n\n$$\nc\n= d\n$$ (eq-c)\n\nSee {eq}`eq-c`.",
        '<a id="eq-a"></a>\n\n$$\na = b \\tag{1}\n$$\n\n'
        '<a id="eq-c"></a>\n\n$$\nc\n= d \\tag{2}\n$$\n\nSee [(2)](#eq-c).',
    ),
    "aligned rows": ("$$\na &= b \\\\\nc &= d\n$$", "$$\n\\begin{aligned}\na &= b \\\\\nc &= d\n\\end{aligned}\n$$"),
    "amsmath": ("\\begin{align}\na_1 &= b\n\\end{align}", "$$\n\\begin{aligned}\na_1 &= b\n\\end{aligned}\n$$"),
    "theorem": (
        "```{prf:theorem} Parseval\n:label: thm-p\nLet\n\n$$\nx\n= y\n$$\n```\n\n{prf:ref}`thm-p`",
        '<a id="thm-p"></a>\n\n> **Theorem 1 (Parseval).**\n>\n> Let\n>\n> $$x = y$$\n\n[Theorem 1](#thm-p)',
    ),
    "proof": ("```{prf:proof}\nClear.\n```", "> **Proof.**\n>\n> Clear."),
    "counts by kind": (
        "```{prf:lemma}\nA\n```\n\n```{prf:definition}\nB\n```\n\n```{prf:lemma}\nC\n```",
        "> **Lemma 1.**\n>\n> A\n\n> **Definition 1.**\n>\n> B\n\n> **Lemma 2.**\n>\n> C",
    ),
    "exercise": (
        "```{exercise} Think: why\n:label: ex-w\nWhy?\n```\n\n"
        "```{solution} ex-w\n:class: dropdown\nSo $x$.\n```\n\n{ref}`ex-w`",
        '<a id="ex-w"></a>\n\n**Exercise 1** *(Think: why)*\n\nWhy?\n\n'
        "<details><summary>Solution to Exercise 1</summary>\n\nSo $x$.\n\n</details>\n\n[Exercise 1](#ex-w)",
    ),
    "code block": ("```{code-block} python\nx = 1\n```", "```python\nx = 1\n```"),
    "target": (
        "(sec-a)=\n## A *b*\n\n{ref}`sec-a`, [](#sec-a)",
        '<a id="sec-a"></a>\n\n## A *b*\n\n[A *b*](#sec-a), [A *b*](#sec-a)',
    ),
    "reference with text": ("(sec-a)=\n## A\n\n{ref}`there <sec-a>`", '<a id="sec-a"></a>\n\n## A\n\n[there](#sec-a)'),
    "heading as target": ("## My `x` part\n\n[here](#my-x-part)", "## My `x` part\n\n[here](#My-x-part)"),
    "comment": ("One.\n% not shown {nonsense}`x`\nTwo.", "One.\nTwo."),
    "footnote": (
        "A[^n].\n\n[^n]: Note.",
        'A[<sup>n</sup>](#note-n).\n\n<a id="note-n"></a><sup>n</sup> Note.',
    ),
    "small roles": (
        "H{sub}`2`O x{sup}`2` {kbd}`Ctrl` {math}`x^2`",
        "H<sub>2</sub>O x<sup>2</sup> <kbd>Ctrl</kbd> $x^2$",
    ),
    "abbreviation": ("{abbr}`OU (Ornstein and Uhlenbeck)`", '<abbr title="Ornstein and Uhlenbeck">OU</abbr>'),
    "maths over two lines": ("a $x +\ny$ b", "a $x + y$ b"),
    "outer link": ("[a](https://example.org/x#y)", "[a](https://example.org/x#y)"),
}
UNTOUCHED = {
    "code fence": "```python\n# {note} `{ref}`x``\n% kept\n(a)=\n$$ a $$ (b)\n```",
    "tilde fence": "~~~\n```{note}\nkept\n```\n~~~",
    "fence in a list": "- item\n\n  ```\n  {cite:p}`x`\n  ```",
    "inline code": "Write `{note}` and `` {ref}`x` `` and `$x` and `[](a.md)` and `(a)=`.",
    "maths": r"$f(x) = [0, 1](y) \$ \{a\}$ and $$\{b\}$$ inside.",
    "escaped": r"It costs 5\$, \[no link\](x) and a \`tick.",
    "html comment": "<!-- {nonsense}`x` -->",
    "plain": "# Other\n\n- a\n- b\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote, 50 %",
}


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_construct(course, name):
    source, expected = CONSTRUCTS[name]
    assert converted(course, source) == expected


@pytest.mark.parametrize("name", UNTOUCHED)
def test_stays_as_it_is(course, name):
    assert converted(course, UNTOUCHED[name]) == UNTOUCHED[name]


def test_nested_directives(course):
    source = """\
::::::{admonition} Outer
:::::{tab-set}
::::{tab-item} One
```{prf:theorem}
:label: thm-x

:::{note}
See {eq}`eq-x`.
:::

$$
x \\\\
y
$$ (eq-x)
```
::::
:::::
::::::

- item

  ````{dropdown} In a list
  ```{list-table}
  * - {kbd}`a`
  ```
  ```python
  {note}
  ```
  ````
- next
"""
    expected = """\
> **Outer**
>
> **One**
>
> <a id="thm-x"></a>
>
> > **Theorem 1.**
> >
> > > **Note**
> > >
> > > See [(1)](#eq-x).
> >
> > <a id="eq-x"></a>
> >
> > $$\\begin{aligned} x \\\\ y \\end{aligned} \\tag{1}$$

- item

  <details><summary>In a list</summary>

  |  |
  | --- |
  | <kbd>a</kbd> |

  ```python
  {note}
  ```

  </details>

- next"""
    assert converted(course, source) == expected


def test_figure(course):
    folder = course / "notebooks" / "1-part"
    folder.mkdir(parents=True)
    (course / "book" / "wave.svg").write_text("<svg/>")
    (folder / "wave.svg").write_text("<svg/>")
    one = "```{figure} wave.svg\n:name: fig-w\n:alt: A wave.\nA wave of $x$.\n\nLegend.\n```"
    two = "```{figure} ../../book/wave.svg\n:alt: B\nA *steep* wave.\n```"
    three = "```{image} ./wave.svg\n:alt: C\n```"
    text = converted(
        course, f"{one}\n\n{two}\n\n{three}\n\n{{numref}}`fig-w` {{numref}}`picture %s <fig-w>` ![](wave.svg)"
    )
    assert text == (
        '<a id="fig-w"></a>\n\n![A wave.](wave.svg)\n\n*Figure 1. A wave of $x$.*\n\nLegend.\n\n'
        "![B](../../book/wave.svg)\n\n*Figure 2.* A *steep* wave.\n\n![C](wave.svg)\n\n"
        "[Figure 1](#fig-w) [picture 1](#fig-w) ![](wave.svg)"
    )


def test_substitution(course):
    path = chapter(course, "# T\n\n{sub-ref}`version`")
    path.write_text(path.read_text().replace("jupytext:", 'myst:\n  substitutions:\n    version: "1.2"\njupytext:', 1))
    assert "\n\n1.2" in convert.to_notebook(path).cells[2].source


def test_references_between_chapters(course):
    chapter(course, "(ch-far)=\n# Far away\n\n(sec-far)=\n## The *far* part\n\n$$ a $$ (eq-far)\n", "2-next/06-far")
    chapter(course, "# Near\n\n```{prf:theorem}\n:label: thm-near\nA\n```\n", "1-part/02-near")
    (course / "book" / "notation.md").write_text("(page-n)=\n# Notation\n\n```{glossary}\nx\n: y\n```\n")
    far = "../2-next/06-far.ipynb"
    pairs = {
        "[](02-near.md)": "[Near](02-near.ipynb)",
        "[back](./02-near.md)": "[back](02-near.ipynb)",
        "[](../2-next/06-far.md)": f"[Far away]({far})",
        "[x](../2-next/06-far.md#the-far-part)": f"[x]({far}#The-*far*-part)",
        "[](../2-next/06-far.md#sec-far)": f"[The *far* part]({far}#sec-far)",
        "{doc}`02-near`": "[Near](02-near.ipynb)",
        "{doc}`this <../2-next/06-far>`": f"[this]({far})",
        "{ref}`sec-far`": f"[The *far* part in Far away]({far}#sec-far)",
        "{ref}`ch-far`": f"[Far away]({far}#ch-far)",
        "{eq}`eq-far`": f"[(1) in Far away]({far}#eq-far)",
        "{prf:ref}`thm-near`": "[Theorem 1 in Near](02-near.ipynb#thm-near)",
        "{numref}`no. %s <thm-near>`": "[no. 1](02-near.ipynb#thm-near)",
        "{ref}`page-n`": "[Notation](../../book/notation.md#page-n)",
        "[](../../book/notation.md)": "[Notation](../../book/notation.md)",
        "[](../../notation.md)": "[Notation](../../book/notation.md)",  # where the book lays its own pages
        "[bib](../../book/references.bib)": "[bib](../../book/references.bib)",
    }
    assert converted(course, "\n\n".join(pairs)).split("\n\n") == list(pairs.values())


def test_a_reference_follows_the_other_chapter(course):
    other = chapter(course, "# Old title\n", "1-part/02-near")
    path = chapter(course, "# T\n\n[](02-near.md)")
    convert.write_notebook(path)
    other.write_text(HEADER + "# New title\n")
    assert convert.drifted(path)
    assert "[New title](02-near.ipynb)" in convert.to_notebook(path).cells[2].source


def test_citations_and_references(course):
    source = (
        "{cite:p}`haar,two` {cite:t}`three` {cite:t}`haar, mallat` {cite}`mallat2`\n\n"
        "## References\n\n```{bibliography}\n:filter: docname in docnames\n```"
    )
    text, references = converted(course, source).split("\n\n## References\n\n")
    assert text == (
        "([Haar, 1910](#ref-haar); [Ho and de Jong, 2020](#ref-two)) [Daubechies et al. (1992)](#ref-three) "
        "[Haar (1910)](#ref-haar), [Mallat (2009a)](#ref-mallat) ([Mallat, 2009b](#ref-mallat2))"
    )
    doi = "https://doi.org/10.1007/%28BF%2901456326"
    assert references.split("\n\n") == [
        '<a id="ref-three"></a>Daubechies, I., Cohen, A., Feauveau, J. (1992). Bases. *J*.',
        f'<a id="ref-haar"></a>Haar, A. (1910). Zur Theorie. *Math. Ann.*, 69(3), 331–371. [{doi}]({doi})',
        '<a id="ref-two"></a>Ho, J. A., de Jong, A. (2020). On $\\phi ^4$. *J*. '
        "[https://arxiv.org/abs/2001.00001](https://arxiv.org/abs/2001.00001)",
        '<a id="ref-mallat"></a>Mallat, S. (2009a). A Tour. *Academic Press*.',
        '<a id="ref-mallat2"></a>Mallat, S. (2009b). B Tour. [https://example.org/b_tour](https://example.org/b_tour)',
    ]


def test_works_without_all_authors(course):
    text, references = converted(course, "{cite:t}`some` {cite:p}`nobody`").split("\n\n## References\n\n")
    assert text == "[Wu and others (2002)](#ref-some) ([The Set, 2001](#ref-nobody))"
    assert references.split("\n\n")[1] == '<a id="ref-some"></a>Wu, W. et al. (2002). Some. *J*.'


def test_no_citation_needs_no_bibliography(course):
    (course / "book" / "references.bib").unlink()
    assert "References" not in converted(course, "Text.")


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("Fine.\n\n```{nonsense} a\nText\n```", 15, "{nonsense}"),
        ("Fine.\n\n````{note}\n```{nonsense}\nText\n```\n````", 16, "{nonsense}"),
        ("Some {nonsense}`x` here.", 13, "{nonsense}"),
        ("Some {ref}`nowhere` here.", 13, "'nowhere'"),
        ("(sec-one)=\n## A\n\n{ref}`sec-onne`", 16, "sec-one."),
        ("{eq}`nowhere`", 13, "'nowhere'"),
        ("{prf:ref}`nowhere`", 13, "'nowhere'"),
        ("[x](99-nowhere.md)", 13, "'99-nowhere.md'"),
        ("[x](#nowhere)", 13, "'nowhere'"),
        ("[x](01-first.md#nowhere)", 13, "'nowhere'"),
        ("{doc}`99-nowhere`", 13, "'99-nowhere'"),
        ("```{figure} none.png\nCaption\n```", 13, "'none.png'"),
        ("![](none.png)", 13, "'none.png'"),
        ("{cite:p}`haar,harr`", 13, "Keys like it: haar"),
        ("(sec-a)=\nText\n\n{ref}`sec-a`", 16, "needs a text"),
        ("(sec-a)=\n## A\n\n```{math}\n:label: sec-a\nx\n```", 13, "twice"),
        ("Text\n\n```{note}\nnever closed", 15, "```{note} is not closed"),
        ("- ```{note}\n  in a list item\n  ```", 13, "does not start its line"),
        ("The {{ version }}", 13, "{{ version }}"),
        ("```{list-table}\na\n```", 14, "list of lists"),
        ("```{list-table}\n* - a\n  - b\n* - c\n```", 14, "equally long"),
        ("```{note}\n---\na: [\n---\n```", 13, "not YAML"),
        ("```{note}\n---\n- a\n---\n```", 13, "not YAML"),
        ("```{solution} ex-none\nText\n```", 13, "'ex-none'"),
        ("```{solution-start} ex-none\n```\nText\n```{solution-end}\n```", 13, "'ex-none'"),
        (code("x = 1", "solution"), 16, "no gated solution"),
        (EXERCISE + "```{solution-start} ex-halve\n```\nText", 14, "no solution-end"),
        (EXERCISE + "```{solution-end}\n```", 20, "do not alternate"),
        (GATED.replace(code("assert halve(4) == 2\nprint('right')", "check"), ""), 14, "needs one tagged check"),
        (GATED.replace("return x / by", "%time"), 14, "not plain Python"),
        (GATED.replace("assert halve(4) == 2", "%time"), 14, "in the solution to 'ex-halve'"),
    ],
)
def test_errors_name_chapter_line_and_cause(course, body, line, words):
    path = chapter(course, f"# Title\n{body}\n")
    with pytest.raises(InvalidInput) as caught:
        convert.write_notebook(path)
    assert str(caught.value).startswith(f"1-part/01-first.md, line {line}: ")
    assert words in str(caught.value)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


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


SOLUTIONS = {
    "plain": SOLUTION,
    "imports, constants, two functions": (
        "import math\nfrom math import (\n    pi,\n)\n\nSCALE: float = 2.0\n\n\n"
        "def area(\n    r: float,  # radius, mm\n    *,\n    scale: float = SCALE,\n) -> float:\n"
        '    """Return the area.\n\n'
        '    Args:\n        r: é ü.\n    """\n    # the trick\n    def inner():\n        return pi\n'
        "    return scale * inner() * r**2\n    # more\n\n\n"
        'def _twice(x): "Doc."; return math.fabs(2 * x)'
    ),
    "no docstring": "def f(a, b=(1,\n  2)):\n    # the trick\n    return a",
    "one line": "def f(a, /, b: str = 'é', *c, **d): return a",
    "decorated": "import functools\n\n@functools.cache\ndef f(a):\n    '''Doc.'''\n    return a",
    "class": 'class Net:\n    """Doc."""\n\n    width = 3\n\n'
    '    def forward(self, x):\n        """Map."""\n        return x',
}


def functions(namespace):
    found = {name: value for name, value in namespace.items() if callable(value) and not name.startswith("__")}
    if "Net" in found:
        return {"Net.forward": found["Net"].forward}
    return {name: value for name, value in found.items() if getattr(value, "__module__", None) == "made"}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_stub_compiles_keeps_the_signature_and_raises(name):
    solution, attempt = {"__name__": "made"}, {"__name__": "made"}
    code = convert.stub(SOLUTIONS[name], 'Exercise 3: a "quoted" $\\ell$ title')
    exec(compile(SOLUTIONS[name], "solution", "exec"), solution)
    exec(compile(code, "stub", "exec"), attempt)
    assert "trick" not in code
    assert functions(solution).keys() == functions(attempt).keys() != set()
    for key, function in functions(attempt).items():
        assert inspect.signature(function) == inspect.signature(functions(solution)[key])
        assert inspect.getdoc(function) == inspect.getdoc(functions(solution)[key])
        needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind < 2]
        with pytest.raises(NotImplementedError) as raised:
            function(*[1.0] * len(needed))
        short = key.rpartition(".")[2]
        assert str(raised.value) == f'Exercise 3: a "quoted" $\\ell$ title: write the body of {short}'


def test_stub_keeps_the_formatting():
    source = SOLUTIONS["imports, constants, two functions"]
    message = '    raise NotImplementedError("Exercise 1: write the body of {}")'
    assert convert.stub(source, "Exercise 1") == (
        source.partition("    # the trick")[0]
        + message.format("area")
        + '\n\n\ndef _twice(x):\n    "Doc."\n'
        + message.format("_twice")
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1", "defines no function"),
        ("def f(:", "not plain Python"),
        ("%matplotlib inline", "not plain Python"),
        (SOLUTION + "\nprint(halve(2))", "line 4 does more"),
        (SOLUTION + "\ny = halve(2)", "line 4 does more"),
    ],
)
def test_stub_refuses(source, words):
    with pytest.raises(InvalidInput, match=words):
        convert.stub(source, "Exercise 1: halve")


def test_gated_solution(course):
    cells = convert.to_notebook(chapter(course, "# T\n\n" + GATED)).cells[2:]
    asked, stub, attempt, text, solution, check = cells
    assert asked.source.endswith("**Exercise 1** *(Code: halve)*\n\nWrite `halve`.")
    assert stub.source == (
        f"{ATTEMPT}\n\n"
        'def halve(x, by=2):\n    """Return half of x."""\n'
        '    raise NotImplementedError("Exercise 1: Code: halve: write the body of halve")'
    )
    assert attempt.source == "with attempt():\n    assert halve(4) == 2\n    print('right')"
    assert text.source == "<details><summary>Solution to Exercise 1</summary>\n\nDivide.\n\n</details>"
    assert solution.source == f"# @title Solution\n{SOLUTION}"
    assert solution.metadata == {
        "tags": ["solution", "hide-input"],
        "cellView": "form",
        "jupyter": {"source_hidden": True},
    }
    assert check.source == "# @title Check of the solution\nassert halve(4) == 2\nprint('right')"
    assert check.metadata.jupyter.source_hidden and check.metadata.tags == ["check"]


def test_two_pairs_and_code_that_is_neither(course):
    first, second = code(SOLUTION, "solution"), code(SOLUTION.replace("halve", "third"), "solution")
    checks = [code("assert halve(4) == 2", "check"), code("assert third(4) == 2", "check")]
    plain = "```{code-cell} ipython3\nx = 3\n```\n\n"
    gate = "```{solution-start} ex-halve\n```\n\n"
    body = EXERCISE + plain + gate + first + checks[0] + plain + second + checks[1] + "```{solution-end}\n```\n\nAfter."
    tags = [cell.metadata.get("tags", [cell.cell_type])[0] for cell in convert.to_notebook(chapter(course, body)).cells]
    assert tags == [
        *("markdown", "install", "markdown", "code", "stub", "attempt", "stub", "attempt"),
        *("solution", "check", "code", "solution", "check", "markdown"),
    ]


def test_the_check_of_an_attempt_keeps_its_strings(course):
    check = 'text = """a\nb"""\n\nif text:\n    assert text == "a\\nb"'
    body = GATED.replace("assert halve(4) == 2\nprint('right')", check)
    attempt = next(c for c in convert.to_notebook(chapter(course, body)).cells if c.metadata.get("tags") == ["attempt"])
    assert attempt.source == 'with attempt():\n    text = """a\nb"""\n\n    if text:\n        assert text == "a\\nb"'


WHOLE = (
    "(ch-whole)=\n# A whole chapter\n\nSee {cite:t}`haar`, {eq}`eq-w` and {ref}`ex-halve`.\n\n"
    + code('profile = "smoke"\nseed = 0', "parameters, deterministic")
    + "$$ y = x / 2 $$ (eq-w)\n\n```{code-cell} ipython3\nimport wavelab\n\nprint('seed', seed)\n```\n\n"
    + "## Exercises\n\n"
    + GATED
)


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
