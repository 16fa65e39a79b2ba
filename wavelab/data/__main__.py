"""The command ``python -m wavelab.data``: fetch, list and locate the course's data.

Usage:
    python -m wavelab.data                    fetch and prepare everything the cpu profile needs (make data)
    python -m wavelab.data fetch chest-ct     fetch and prepare some data sets
    python -m wavelab.data list               show every data set, its size, and whether it is in the cache
    python -m wavelab.data where chest-ct     print the path of a file in the cache
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import pooch

from wavelab.data import arrays, registry
from wavelab.data.download import fetch, folder, where
from wavelab.errors import InvalidInput, WavelabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after printing an error raised on purpose."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except WavelabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def fetch_all(ids: Sequence[str]) -> None:
    """Fetch data sets and prepare their arrays, one line each."""
    pooch.get_logger().setLevel("WARNING")  # the lines below say what its messages would
    datasets = [registry.find(id) for id in ids]
    print(f"Data of the course in {folder()}", flush=True)
    for number, dataset in enumerate(datasets, 1):
        begin, missing = time.monotonic(), not where(dataset.id).is_file()
        print(f"[{number}/{len(datasets)}] {dataset.id:<20} {_megabytes(dataset.size):>8}", end="  ", flush=True)
        if missing:
            print(f"downloading {dataset.requirement} ...", end=" ", flush=True)
        fetch(dataset.id, progress=True)
        prepared = _prepare(dataset)
        print(f"{'done' if missing or prepared else 'already there'}, {time.monotonic() - begin:.1f} s", flush=True)
    total = sum(path.stat().st_size for path in folder().iterdir() if path.is_file())
    print(f"Verified: {len(datasets)} of {len(registry.datasets())} data sets; the cache holds {_megabytes(total)}.")


def _prepare(dataset: registry.Dataset) -> bool:
    """Make the memory-mapped array of a volume where it is missing; say whether it was."""
    if dataset.shape is None or arrays.is_cached(dataset):
        return False
    from wavelab.data import volumes

    volumes.prepare(dataset.id)
    return True


def show_list() -> None:
    """Print every data set of the registry with its size and whether it is in the cache."""
    for dataset in registry.datasets().values():
        state = "in the cache" if where(dataset.id).is_file() else "not fetched"
        print(f"{dataset.id:<20} {_megabytes(dataset.size):>8}  {state:<13} {dataset.description}")
        print(f"{'':<30} from {dataset.requirement}; licence: {dataset.licence}")


def _parser() -> argparse.ArgumentParser:
    """Build the command's parser."""
    parser = argparse.ArgumentParser(prog="python -m wavelab.data", description="Fetch, list and locate the data.")
    parser.set_defaults(run=lambda options: fetch_all(_needed("cpu")))
    commands = parser.add_subparsers(metavar="command")
    one = commands.add_parser("fetch", help="fetch and prepare data sets; all of a profile where none is named")
    one.add_argument("ids", nargs="*", metavar="ID")
    one.add_argument("--profile", help="instead of IDs: smoke, cpu (default) or gpu")
    one.set_defaults(run=lambda options: fetch_all(_chosen(options)))
    commands.add_parser("list", help="show every data set").set_defaults(run=lambda options: show_list())
    path = commands.add_parser("where", help="print the path of a file in the cache")
    path.add_argument("id", metavar="ID")
    path.set_defaults(run=lambda options: print(where(options.id)))
    return parser


def _chosen(options: argparse.Namespace) -> list[str]:
    """Return the ids that were named, or else those of the profile."""
    if options.ids and options.profile:
        raise InvalidInput("Name data sets or a profile, not both.")
    return options.ids or _needed(options.profile or "cpu")


def _needed(profile: str) -> list[str]:
    """Return the ids of the data sets that a profile needs."""
    return [dataset.id for dataset in registry.needed_by(profile)]


def _megabytes(size: int) -> str:
    """Write a number of bytes in megabytes (kilobytes below one)."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


if __name__ == "__main__":
    sys.exit(main())
