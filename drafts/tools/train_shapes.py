"""Train networks of Part 5: train_shapes.py KIND PART …; a part is one of setups.PARTS, or such as generator-haar."""

import os
import sys
from dataclasses import replace

import torch

from wavelab.runtime import start
from wavelab.shapes.study import Study

if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    kind, *parts = sys.argv[1:]
    study = Study(start("20-evaluation", "cpu", sizes={}), kind)
    factor = float(os.environ.get("FACTOR", "1"))  # on the rates of setups.RATES
    rates = {part: factor * rate for part, rate in study.setup.rates.items()}
    study = Study(study.run, kind, replace(study.setup, rates=rates))
    for part in parts:
        name, _, wavelet = part.partition("-") if part.startswith(("generator", "detail")) else (part, "", "")
        make = getattr(study, name.replace("-", "_"))
        manifest = (make(wavelet) if wavelet else make())[1]
        print(part, f"{manifest.cpu_seconds / 60:.0f} min", f"loss {manifest.final_loss:.4f}", flush=True)
