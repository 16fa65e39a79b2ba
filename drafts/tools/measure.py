"""Measure one point of a table of chapter 20: measure.py scores METHOD STREAM | novelty WHOSE FIRST | halves."""

import contextlib
import os
import sys
from pathlib import Path

import torch
from cells import cells, run_to

DRAFT = Path(__file__).parents[1] / "20-evaluation.md"
LINES = {"scores": "sanity = {", "novelty": "away = {}", "halves": "shaken = run"}  # which measure all points

if __name__ == "__main__":
    table, *point = sys.argv[1:]
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        names = run_to(DRAFT, "by_hand = ")
    names["few"] = names["sizes"].assigned[1]
    body = next(code for _, code in cells(DRAFT) if LINES[table] in code)
    exec(compile(body[: body.index(LINES[table])], str(DRAFT), "exec"), names)
    if table == "scores":
        names["contest"].scores(point[0], int(point[1]))
    elif table == "novelty":
        block = next(one for one in names["points_of"][point[0]] if one[1] == int(point[1]))
        names["run"].measured("novelty", names["newness"], [block], names["about_search"])
    else:
        names["run"].measured("halves", names["halves"], [("chair",)], names["pool_settings"])
