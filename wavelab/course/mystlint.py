"""A second opinion on the sources: mystmd reads the same pages and chapters, and every warning is an error.

It executes nothing and needs Node.js. It keeps the sources ready for Jupyter Book 2.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from wavelab.course import chapters
from wavelab.course.book import gather_pages
from wavelab.errors import WavelabError
from wavelab.paths import BUILD, ROOT

# mystmd wants a site template; this one holds nothing, because only its reading of the sources is of interest.
TEMPLATE = {"myst": "v1", "kind": "site", "build": {"install": "node -e 0", "start": "node -e 0"}, "files": []}


def lint(folder: Path = BUILD / "myst") -> str:
    """Read every page and chapter with mystmd and return what it said.

    Raises:
        WavelabError: mystmd reported a warning or an error.
    """
    gather_pages(folder)
    for chapter in chapters():
        target = folder / "notebooks" / chapter.part / chapter.source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        text = chapter.source.read_text(encoding="utf-8").replace("](../../book/", "](../../")
        target.write_text(text, encoding="utf-8")
    (folder / "theme" / "public").mkdir(parents=True)
    (folder / "theme" / "template.yml").write_text(yaml.safe_dump(TEMPLATE))
    (folder / "myst.yml").write_text(yaml.safe_dump(_project(), sort_keys=False))
    command = [str(Path(sys.executable).with_name("myst")), "build", "--site", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise WavelabError(f"mystmd found something:\n{said[-6000:]}")
    return said


def available() -> bool:
    """Return whether Node.js and mystmd are here."""
    return shutil.which("node") is not None and Path(sys.executable).with_name("myst").exists()


def _project() -> dict:
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    return {
        "version": 1,
        "project": {
            "title": "Wavelet diffusion",
            "bibliography": ["references.bib"],
            "toc": [{"file": f"{page}.md"} for page in pages],
        },
        "site": {"template": "theme/template.yml"},
    }
