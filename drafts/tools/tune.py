"""Measure the rates of rivals with the cells of chapter 20 that it takes: tune.py METHOD:FACTOR,FACTOR …"""

import sys
from pathlib import Path

import torch
from cells import cells

FILE = Path(__file__).parents[1] / "20-evaluation.md"
WANTED = ('profile = "cpu"', "import functools", 'study = Study(run, "chair")', "PARTS = {")

if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = [
        (method, float(factor) if float(factor) % 1 else int(factor))
        for method, _, factors in (arg.partition(":") for arg in sys.argv[1:])
        for factor in factors.replace("third", repr(1 / 3)).split(",")
    ]
    names = {"__name__": "__main__", "POINTS_WANTED": wanted}
    for mark in WANTED:
        body = next(body for _, body in cells(FILE) if mark in body)
        if mark == WANTED[-1]:
            body = body.split("plotting.table(")[0]
            start = body.index("points = [(")
            body = body[:start] + "points = POINTS_WANTED" + body[body.index("\n", start) :]
        exec(compile(body, str(FILE), "exec"), names)
    for point, value in names["tuned"].items():
        print(point, value, flush=True)
