"""Throughput of :func:`wavelab.wavelets.dwt` against ptwt, PyWavelets and pytorch_wavelets, forward and backward.

    python -m tests.bench.bench_wavelets [--seconds 2] [--threads 2] [--check]

All transforms of a row take turns in one run, so that a busy machine slows them alike; the smallest time counts.
Where other work keeps a core busy, give one thread fewer: two threads that wait for each other slow down everything.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import warnings

os.environ.setdefault("OMP_PROC_BIND", "true")  # before torch: threads that share a core wait for each other

import torch

from tests.bench.peers import PEERS, wavelab

WAVELETS = ("haar", "db4", "bior6.8")
SHAPES = ((16, 1, 128, 128), (16, 3, 256, 256), (2, 1, 64, 64, 64), (1, 1, 128, 128, 128))
LEVELS = 3
GEOMETRIC_MEAN, WORST = 2.5, 1.0  # what must be reached


def chosen(description: str, seconds: float) -> argparse.Namespace:
    """Read the options of a benchmark, set torch's threads and silence warnings of peers."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="time spent on each row")
    parser.add_argument("--threads", type=int, help="threads of torch; some peers have one in any case")
    parser.add_argument("--check", action="store_true", help="fail where a bound is missed")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def smallest_times(calls: dict, seconds: float) -> dict[str, float]:
    """Return the smallest time of each call in seconds.

    The calls take turns, the one that has used least time next, so that all get the same share and a busy machine
    slows all alike. A call before the first turn warms up.
    """
    best, spent = dict.fromkeys(calls, math.inf), dict.fromkeys(calls, 0.0)
    for call in calls.values():
        call()
    while (least := min(spent, key=spent.get)) and spent[least] < seconds / len(calls):
        start = time.perf_counter()
        calls[least]()
        elapsed = time.perf_counter() - start
        best[least], spent[least] = min(best[least], elapsed), spent[least] + elapsed
    return best


def available_peers() -> dict:
    """Return the peers that import, and print why the others do not take part."""
    x, usable = torch.zeros(1, 1, 16, 16), {}
    for name, peer in PEERS.items():
        try:
            peer("haar", x, 1)
        except ImportError as error:
            print(f"{name} is left out: {error}")
        else:
            usable[name] = peer
    return usable


def measure(wavelet: str, shape: tuple[int, ...], peers: dict, seconds: float) -> list[dict]:
    """Time one wavelet and shape; one record a direction."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    runs = {name: peer(wavelet, x, LEVELS) for name, peer in {"wavelab": wavelab, **peers}.items()}
    target = torch.empty_like(x)
    records = []
    for index, direction in enumerate(("forward", "backward")):
        calls = {name: run[index] for name, run in runs.items() if run}
        times = smallest_times({"copy": lambda: target.copy_(x), **calls}, seconds)
        copy, ours = times.pop("copy"), times.pop("wavelab")
        best = min(times, key=times.get)
        records.append(
            {"wavelet": wavelet, "shape": shape, "direction": direction, "ours": ours, "peers": times, "best": best}
            | {"ratio": times[best] / ours, "values": x.numel() / ours, "limit": copy / ours}
        )
    return records


def row(record: dict, peers: dict) -> str:
    """Format one record as a line of the table."""
    shape = "×".join(map(str, record["shape"]))
    others = "".join(
        f"{1e3 * record['peers'][name]:>17.2f}" if name in record["peers"] else f"{'–':>17}" for name in peers
    )
    return (
        f"{record['wavelet']:<8} {shape:<14} {record['direction']:<9}{1e3 * record['ours']:>8.2f}{others}"
        f"{record['ratio']:>8.1f}{record['values'] / 1e6:>9.0f}{100 * record['limit']:>8.0f}%"
    )


def main() -> int:
    """Print the table and the verdict; exit status 1 with ``--check`` where the bounds are missed."""
    options = chosen(__doc__, 2.0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {LEVELS} levels; least times in ms")
    peers = available_peers()
    names = "".join(f"{name:>17}" for name in peers)
    print(f"{'wavelet':<8} {'shape':<14} {'pass':<9}{'wavelab':>8}{names}{'ratio':>8}{'Mval/s':>9}{'of copy':>9}")
    records = []
    for shape in SHAPES:
        for wavelet in WAVELETS:
            for record in measure(wavelet, shape, peers, options.seconds):
                print(row(record, peers), flush=True)
                records.append(record)
    ratios = [record["ratio"] for record in records]
    mean, worst = math.exp(sum(map(math.log, ratios)) / len(ratios)), min(ratios)
    print("ratio: best peer / wavelab. of copy: time of one copy of x / wavelab, the memory-bandwidth limit.")
    print(f"geometric mean {mean:.2f} (at least {GEOMETRIC_MEAN}), smallest {worst:.2f} (at least {WORST})")
    return int(options.check and (mean < GEOMETRIC_MEAN or worst < WORST))


if __name__ == "__main__":
    raise SystemExit(main())
