"""Exercises: the stub, the check of the attempt, the solution folded away."""

import inspect

import pytest
from made_course import EXERCISE, GATED, SOLUTION, chapter, code, project

from wavelab.course.convert import stub, to_notebook
from wavelab.course.solutions import ATTEMPT
from wavelab.errors import InvalidInput

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


@pytest.fixture
def course(tmp_path):
    return project(tmp_path)


def functions(namespace):
    found = {name: value for name, value in namespace.items() if callable(value) and not name.startswith("__")}
    if "Net" in found:
        return {"Net.forward": found["Net"].forward}
    return {name: value for name, value in found.items() if getattr(value, "__module__", None) == "made"}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_stub_compiles_keeps_the_signature_and_raises(name):
    solution, attempt = {"__name__": "made"}, {"__name__": "made"}
    code = stub(SOLUTIONS[name], 'Exercise 3: a "quoted" $\\ell$ title')
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
    assert stub(source, "Exercise 1") == (
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
        stub(source, "Exercise 1: halve")


def test_gated_solution(course):
    cells = to_notebook(chapter(course, "# T\n\n" + GATED)).cells[2:]
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
    tags = [cell.metadata.get("tags", [cell.cell_type])[0] for cell in to_notebook(chapter(course, body)).cells]
    assert tags == [
        *("markdown", "install", "markdown", "code", "stub", "attempt", "stub", "attempt"),
        *("solution", "check", "code", "solution", "check", "markdown"),
    ]


def test_the_check_of_an_attempt_keeps_its_strings(course):
    check = 'text = """a\nb"""\n\nif text:\n    assert text == "a\\nb"'
    body = GATED.replace("assert halve(4) == 2\nprint('right')", check)
    attempt = next(c for c in to_notebook(chapter(course, body)).cells if c.metadata.get("tags") == ["attempt"])
    assert attempt.source == 'with attempt():\n    text = """a\nb"""\n\n    if text:\n        assert text == "a\\nb"'
