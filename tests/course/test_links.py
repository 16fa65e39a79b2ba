"""References between chapters, citations, and errors that name chapter, line and cause."""

import pytest
from made_course import EXERCISE, GATED, HEADER, chapter, code, converted, project

from wavelab.course.convert import drifted, to_notebook, write_notebook
from wavelab.errors import InvalidInput


@pytest.fixture
def course(tmp_path):
    return project(tmp_path)


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
    write_notebook(path)
    other.write_text(HEADER + "# New title\n")
    assert drifted(path)
    assert "[New title](02-near.ipynb)" in to_notebook(path).cells[2].source


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
        write_notebook(path)
    assert str(caught.value).startswith(f"1-part/01-first.md, line {line}: ")
    assert words in str(caught.value)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
