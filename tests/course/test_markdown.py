"""What directives, roles and the rest of MyST become."""

import pytest
from made_course import chapter, converted, project

from wavelab.course.convert import to_notebook

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


@pytest.fixture
def course(tmp_path):
    return project(tmp_path)


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
    assert "\n\n1.2" in to_notebook(path).cells[2].source
