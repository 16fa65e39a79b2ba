"""Measure parts of chapter 17's tables: measure17.py PART …, then merge.py.

Parts: classical, samplers, means, modes, eight, masks, calibration. WAVELAB_RUN_DIR says where the tables go; two
processes need two folders.
"""

import sys
from pathlib import Path

from cells import cells, run_to

CHAPTER = Path(__file__).parents[1] / "17-mri.md"
parts = sys.argv[1:]
n = run_to(CHAPTER, 'ours = rivals.table("wavelet")')
rivals, entries, study = n["rivals"], n["entries"], n["study"]
CLASSICAL = ("zero-filled", "least squares", "FISTA, TV", "FISTA, wavelets", "cascade", "primal–dual", "DIP")
GROUPS = {
    "classical": CLASSICAL,
    "samplers": ("SDE", "DSM", "DSM, noisy", "DSM, wavelet"),
    "means": ("noisy, mean", "wavelet, mean", "clean, mean"),
    "modes": (*study.MODES, "paper, front end off", "wavelet + TV"),
}
for part in parts:
    if part in GROUPS:
        for name in GROUPS[part]:
            print(part, name, f"{rivals.table(name).mean():.2f}", rivals.chosen(name), flush=True)
        continue
    marks = {"eight": "arenas = {", "masks": "arenas = {", "calibration": "def calibration("}
    body = next(code for _, code in cells(CHAPTER) if marks[part] in code)
    if part == "calibration":
        exec(body, n)
        print(n["told"], flush=True)
        continue
    exec(body.split("arenas = {")[0], n)
    for k, name in enumerate(n["OTHERS"]):
        if (part == "eight") == (name == "gaussian 8×"):
            arena = n["contest_at"](name, 20 + 10 * k)
            for method in arena.entries:
                print(method, f"{arena.table(method).mean():.2f}", arena.chosen(method), flush=True)
