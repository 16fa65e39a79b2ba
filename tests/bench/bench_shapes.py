"""Throughput of the shapes' transform against ptwt, and of the matrix of Chamfer distances against a loop of pairs.

    python -m tests.bench.bench_shapes [--seconds 8] [--threads 2] [--check]

One row splits a batch of TSDFs into coarse volume and detail; ptwt computes the full transform of as many levels, which
is the shortest way it offers. The calls of a row take turns in one run, and the smallest time counts.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree

from tests.bench.bench_wavelets import chosen, smallest_times
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.metrics import chamfer_matrix

CASES = ((64, 2, 4), (128, 2, 1))  # size, levels, batch
BOUND = 20.0  # times ptwt, there and back
CLOUDS, POINTS = 24, 2048


def transform(size: int, levels: int, batch: int, seconds: float) -> float:
    """Print the row of one size and return how many times as fast there and back is."""
    import ptwt

    x, pyramid = torch.randn(batch, 1, size, size, size), Pyramid(size, levels)
    codes = pyramid.split(x)
    theirs = ptwt.wavedec3(x, "bior6.8", level=levels, mode="zero")
    times = smallest_times(
        {
            "split": lambda: pyramid.split(x),
            "join": lambda: pyramid.join(*codes),
            "wavedec3": lambda: ptwt.wavedec3(x, "bior6.8", level=levels, mode="zero"),
            "waverec3": lambda: ptwt.waverec3(theirs, "bior6.8"),
        },
        seconds,
    )
    ratio = (times["wavedec3"] + times["waverec3"]) / (times["split"] + times["join"])
    cells = "".join(f"{1e3 * value:>10.1f}" for value in times.values())
    print(f"{batch} x {size}³, bior6.8, {levels} levels {cells}{ratio:>10.1f}", flush=True)
    return ratio


def distances(seconds: float) -> None:
    """Print how a matrix of Chamfer distances compares with two trees for every pair."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, CLOUDS, POINTS, 3))

    def pairs():
        for x in a:
            for y in b:
                cKDTree(x).query(y)
                cKDTree(y).query(x)

    times = smallest_times({"matrix": lambda: chamfer_matrix(a, b, progress=False), "pairs": pairs}, seconds)
    whole = times["matrix"] * (200 / CLOUDS) ** 2
    ratio = times["pairs"] / times["matrix"]
    print(f"Chamfer, {CLOUDS} x {CLOUDS} clouds of {POINTS}: {times['matrix']:.2f} s, {ratio:.1f} times as fast as")
    print(f"pair by pair ({times['pairs']:.2f} s); 200 x 200 clouds would take {whole / 60:.1f} min")


def main() -> int:
    """Print the tables and the verdict; exit status 1 with ``--check`` where the bound is missed."""
    options = chosen(__doc__, 8.0)
    print(f"Pyramids of shapes, {torch.get_num_threads()} threads, float32; least times in ms")
    print(f"{'':<30}{'split':>10}{'join':>10}{'wavedec3':>10}{'waverec3':>10}   times as fast")
    worst = min(transform(*case, options.seconds) for case in CASES)
    print(f"smallest ratio there and back {worst:.1f} (at least {BOUND:g})")
    distances(options.seconds)
    return int(options.check and worst < BOUND)


if __name__ == "__main__":
    raise SystemExit(main())
