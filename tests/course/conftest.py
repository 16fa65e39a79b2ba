"""A small project with two chapters, and a way to call the command line on it."""

import os
import shutil
import subprocess
import sys

import pytest

from wavelab.paths import ROOT

HEADER = """---
jupytext:
  formats: md:myst
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""

CHAPTER = (
    HEADER
    + """
# {title}

```{{code-cell}} ipython3
:tags: [parameters, deterministic]

profile = "cpu"
seed = 0
train = False
size = None
```

The next cell computes.

```{{code-cell}} ipython3
value = seed + 1
print(profile, value)
```

```{{code-cell}} ipython3
{last}
```
"""
)


class Project:
    """A copy of the package with two tiny chapters, driven through its command line."""

    def __init__(self, root):
        self.root = root
        shutil.copytree(ROOT / "wavelab", root / "wavelab", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "data").mkdir()
        for name in ("pyproject.toml", "requirements.lock", "data/registry.toml"):
            shutil.copyfile(ROOT / name, root / name)
        (root / "book").mkdir()
        (root / "book" / "references.bib").write_text("")
        (root / "book" / "_toc.yml").write_text(
            "format: jb-book\nroot: index\nparts:\n  - caption: One\n    chapters:\n"
            "      - file: notebooks/1-one/01-first\n      - file: notebooks/1-one/02-second\n"
        )
        self.chapter("01-first", "The first")
        self.chapter("02-second", "The second")

    def chapter(self, name, title, last="assert value == seed + 1"):
        source = self.root / "notebooks" / "1-one" / f"{name}.md"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(CHAPTER.format(title=title, last=last))
        return source

    def started(self, *arguments, python=("-m", "wavelab.course")):
        environment = {**os.environ, "PYTHONPATH": str(self.root), "WAVELAB_DEVICE": "cpu"}
        environment.pop("PROFILE", None)
        return subprocess.Popen(
            [sys.executable, *python, *arguments],
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def course(self, *arguments):
        with self.started(*arguments) as process:
            out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def executed(self, name, profile="cpu"):
        return self.root / "_build" / "run" / profile / "1-one" / f"{name}.ipynb"


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "project")
