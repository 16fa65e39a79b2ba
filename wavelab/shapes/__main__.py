"""The command ``python -m wavelab.shapes``: meshes to wavelet coefficients, and back.

Usage:
    python -m wavelab.shapes encode chair.obj models/ --out codes      meshes, or folders of them, to coefficients
    python -m wavelab.shapes decode codes/*.safetensors --out meshes   coefficients to meshes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from wavelab.errors import InvalidInput, WavelabError
from wavelab.shapes import batch, codes
from wavelab.shapes.coefficients import MODES, Pyramid
from wavelab.shapes.meshes import FORMATS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if anything failed."""
    options = _parser().parse_args(arguments)
    try:
        return _report(options.run(options))
    except WavelabError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _encode(options: argparse.Namespace) -> list[batch.Outcome]:
    pyramid = Pyramid(options.size, options.levels, options.wavelet, options.mode)
    files = _targets(options.meshes, FORMATS, options.out, "safetensors")
    jobs = [(str(path), (path, target, pyramid, options.reach, options.sheets)) for path, target in files]
    return batch.run(codes.encode_file, jobs, workers=options.workers, limit=options.limit)


def _decode(options: argparse.Namespace) -> list[batch.Outcome]:
    files = _targets(options.codes, ("safetensors",), options.out, options.format)
    jobs = [(str(path), (path, target, not options.coarse)) for path, target in files]
    return batch.run(codes.decode_file, jobs, workers=options.workers, limit=options.limit)


def _targets(given: Sequence[Path], kinds: Sequence[str], out: Path, kind: str) -> list[tuple[Path, Path]]:
    """Return every file with the place of its result; a folder stands for the files in it, at any depth."""
    found: dict[Path, Path] = {}
    for path in given:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower()[1:] in kinds) if path.is_dir() else [path]
        if not inside:
            raise InvalidInput(f"The folder {path} holds no file of the kind {', '.join(kinds)}.")
        for file in inside:
            name = file.relative_to(path).with_suffix("") if path.is_dir() else Path(file.stem)
            target = out / name.with_name(f"{name.name}.{kind}")
            if target in found:
                raise InvalidInput(f"{found[target]} and {file} would both be written to {target}; rename one.")
            found[target] = file
    return [(file, target) for target, file in found.items()]


def _report(outcomes: list[batch.Outcome]) -> int:
    failed = [outcome for outcome in outcomes if outcome.error]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} done")
    for outcome in failed:
        print(f"failed: {outcome.name}: {outcome.error}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wavelab.shapes", description="Meshes to coefficients, and back.")
    commands = parser.add_subparsers(required=True)
    encode = commands.add_parser("encode", help="turn meshes into coefficient volumes")
    encode.add_argument("meshes", nargs="+", type=Path, help=f"files ({', '.join(FORMATS)}) or folders of them")
    encode.add_argument("--size", type=int, default=64, help="grid points a side (64; the paper: 256)")
    encode.add_argument("--levels", type=int, default=2, help="of the wavelet transform (2; the paper: 3)")
    encode.add_argument("--wavelet", default="bior6.8")
    encode.add_argument("--mode", choices=MODES, default="periodic", help="how borders are treated (the paper: zero)")
    encode.add_argument("--reach", type=float, help="truncation in units of the cube (the paper: 0.1)")
    encode.add_argument("--sheets", choices=("thicken", "refuse"), default="thicken", help="parts that enclose nothing")
    encode.set_defaults(run=_encode)
    decode = commands.add_parser("decode", help="turn coefficient volumes into meshes")
    decode.add_argument("codes", nargs="+", type=Path, help="files (safetensors) or folders of them")
    decode.add_argument("--format", choices=FORMATS, default="ply")
    decode.add_argument("--coarse", action="store_true", help="leave the detail volume out")
    decode.set_defaults(run=_decode)
    for command in (encode, decode):
        command.add_argument("--out", type=Path, required=True, help="folder for the results")
        command.add_argument("--workers", type=int, help="processes (one for each core)")
        command.add_argument("--limit", type=float, default=120.0, help="seconds a file may take (120)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
