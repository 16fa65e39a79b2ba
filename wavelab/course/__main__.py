"""The command line of the course: ``python -m wavelab.course list|run|check|notebooks|book|prepare|record``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from wavelab.course import ROOT, chapters, check, overview, record, run, select
from wavelab.errors import InvalidInput, WavelabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.do(options)
    except KeyboardInterrupt:
        print("\nStopped. Chapters that had ended are kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except WavelabError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wavelab.course", description="Run, check and build the chapters.")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, do: Callable, text: str, *, takes_chapters: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(do=do)
        if takes_chapters:
            sub.add_argument("chapters", nargs="*", help="numbers, names or parts; all where none is given")
        if name in ("list", "run", "book", "record", "prepare"):
            default = "smoke" if name == "prepare" else os.environ.get("PROFILE") or "cpu"
            sub.add_argument("--profile", default=default, help="smoke, cpu or gpu (default: %(default)s)")
        return sub

    command("list", _list, "List the chapters, their cost and the state of their last run.")
    runner = command("run", _run, "Run chapters; unchanged ones are skipped.", takes_chapters=True)
    builder = command("book", _book, "Run chapters and build the book.", takes_chapters=True)
    for sub in (runner, builder):
        sub.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="repeatable")
        sub.add_argument("--force", action="store_true", help="run even where nothing has changed")
    command("check", _check, "Check sources, parameters and generated notebooks without running them.")
    command("notebooks", _notebooks, "Write the .ipynb beside each chapter's source.", takes_chapters=True)
    command("prepare", _prepare, "Prepare the notebooks that nbval tests.", takes_chapters=True)
    command("record", _record, "Copy records, figures and costs of the last runs into data/results.")
    return parser


def _list(options: argparse.Namespace) -> int:
    print(overview(options.profile))
    return 0


def _run(options: argparse.Namespace) -> int:
    return 0 if run(options.chapters, options.profile, _values(options.parameter), force=options.force) else 1


def _book(options: argparse.Namespace) -> int:
    from wavelab.course import book

    if not run(options.chapters, options.profile, _values(options.parameter), force=options.force):
        return 1
    page = book.build(options.profile)
    missing = [chapter.name for chapter in chapters() if not book.executed(chapter, options.profile).is_file()]
    if missing:
        print(f"Without figures, since not run on {options.profile} yet: {', '.join(missing)}")
    print(f"The book: {page}")
    return 0


def _check(options: argparse.Namespace) -> int:
    problems = check()
    print("\n".join(problems) or f"{len(chapters())} chapters: nothing wrong")
    return 1 if problems else 0


def _notebooks(options: argparse.Namespace) -> int:
    from wavelab.course import convert

    for chapter in select(options.chapters):
        print(convert.write_notebook(chapter.source).relative_to(ROOT))
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from wavelab.course import nbtest

    for path in nbtest.prepare(select(options.chapters), options.profile):
        print(path.relative_to(ROOT))
    return 0


def _record(options: argparse.Namespace) -> int:
    for path in record(options.profile):
        print(path.relative_to(ROOT))
    return 0


def _values(given: Sequence[str]) -> dict[str, Any]:
    """Turn ``["seed=1", "slices=10"]`` into a dictionary; values are read as YAML, as papermill does."""
    values = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise InvalidInput(f"The parameter {item!r} is not of the form NAME=VALUE, such as seed=1.")
        values[name.strip()] = yaml.safe_load(value)
    return values


if __name__ == "__main__":
    sys.exit(main())
