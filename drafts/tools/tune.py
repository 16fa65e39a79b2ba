"""Measure the rates of rivals with the cells of chapter 20 that it takes: tune.py METHOD …"""

import sys
from pathlib import Path

import torch
from cells import cells

FILE = Path(__file__).parents[1] / "20-evaluation.md"
WANTED = ('profile = "cpu"', "import functools", 'study = Study(run, "chair")', "PARTS = {")

if __name__ == "__main__":
    torch.set_num_threads(1)
    names = {"__name__": "__main__", "METHODS_WANTED": sys.argv[1:]}
    for mark in WANTED:
        body = next(body for _, body in cells(FILE) if mark in body)
        if mark == WANTED[-1]:
            body = body.split("plotting.table(")[0].replace(
                "for method in PARTS for", "for method in METHODS_WANTED for"
            )
            body = body.replace("zip(points, run.measured", "zip(points, run.measured")
        exec(compile(body, str(FILE), "exec"), names)
    for point, value in names["tuned"].items():
        print(point, value, flush=True)
