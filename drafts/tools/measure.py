"""Measure points of the tables of chapter 20, taken off a list: measure.py LIST.

Lines of the list are ``scores|METHOD|STREAM``, ``novelty|WHOSE|FIRST``, ``missing|METHOD`` and ``halves``. Several processes may share a
list, each with a ``WAVELAB_RUN_DIR`` of its own; ``merge.py`` joins their tables.
"""

import contextlib
import fcntl
import os
import sys
import time
from pathlib import Path

import torch
from cells import cells, run_to

DRAFT = Path(__file__).parents[1] / "20-evaluation.md"
LINES = {"novelty": "away = {}", "halves": "shaken = run", "missing": "absent = dict"}  # which measure all points


def taken(path):
    """Take the first line off the list."""
    with open(path, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        first, *rest = file.read().splitlines() or [""]
        file.seek(0)
        file.truncate()
        file.write("".join(f"{one}\n" for one in rest))
    return first


def define(names, line):
    """Run the cell with this line as far as the line."""
    body = next(code for _, code in cells(DRAFT) if line in code)
    exec(compile(body[: body.index(line)], str(DRAFT), "exec"), names)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        names = run_to(DRAFT, "by_hand = ")
    names["few"] = names["sizes"].assigned[1]
    names["RIVALS"] = ("Voxel-GAN", "IM-GAN", "Point-Diff")
    for line in ("sanity = {", *LINES.values()):
        define(names, line)
    fields, kept = names["nearest"].__globals__["_light_fields"], {}

    def remembered(volumes, count):
        """Light fields of the training shapes are the same for every block."""
        key = (len(volumes), count, float(volumes.double().sum()))
        if key not in kept:
            kept[key] = fields(volumes, count)
        return kept[key]

    names["nearest"].__globals__["_light_fields"] = remembered
    while job := taken(sys.argv[1]):
        before = time.time()
        table, *point = job.split("|")
        if table == "scores":
            names["contest"].scores(point[0], int(point[1]))
        elif table == "novelty":
            block = next(one for one in names["points_of"][point[0]] if one[1] == int(point[1]))
            names["run"].measured("novelty", names["newness"], [block], names["about_search"])
        elif table == "missing":
            block = next(one for one in names["hunted"] if one[0] == point[0])
            names["run"].measured("missing", names["missing"], [block], names["about_hunt"])
        else:
            names["run"].measured("halves", names["halves"], [("chair",)], names["pool_settings"])
        print(time.strftime("%H:%M:%S"), job, f"{time.time() - before:.0f} s", flush=True)
