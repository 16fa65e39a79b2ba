"""A small made-up course: its folder, its chapters, and a whole chapter to try things on."""

from wavelab.course.convert import to_notebook

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


def project(folder):
    """Make a project with a bibliography and no chapters in a folder, and return the folder."""
    (folder / "book").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "book" / "references.bib").write_text(BIBLIOGRAPHY)
    return folder


def chapter(course, body, name="1-part/01-first"):
    """Write a chapter with this text and return its path."""
    path = course / "notebooks" / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + body)
    return path


def converted(course, body):
    """Return the Markdown of a chapter with this text, without the row of links, the set-up and the title."""
    cells = to_notebook(chapter(course, f"# Title\n\n{body}")).cells[2:]
    return "\n\n".join(cell.source for cell in cells).removeprefix("# Title").strip()


def code(text, tags):
    """Return a tagged code cell as the source of a chapter has it."""
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
WHOLE = (
    "(ch-whole)=\n# A whole chapter\n\nSee {cite:t}`haar`, {eq}`eq-w` and {ref}`ex-halve`.\n\n"
    + code('profile = "smoke"\nseed = 0', "parameters, deterministic")
    + "$$ y = x / 2 $$ (eq-w)\n\n```{code-cell} ipython3\nimport wavelab\n\nprint('seed', seed)\n```\n\n"
    + "## Exercises\n\n"
    + GATED
)
