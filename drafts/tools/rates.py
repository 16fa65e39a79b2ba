"""Join the partial tables of tune.py into drafts/measured: rates.py TABLE …"""

import json
import sys
from pathlib import Path

target = Path(__file__).parents[1] / "measured" / "20-evaluation.rates.cpu.json"
rows = {}
for path in [target, *map(Path, sys.argv[1:])]:
    if path.is_file():
        table = json.loads(path.read_text())
        rows |= {json.dumps(row["point"]): row for row in table["rows"]}
target.parent.mkdir(exist_ok=True)
target.write_text(json.dumps({"settings": table["settings"], "rows": list(rows.values())}, indent=1) + "\n")
print(len(rows), "rows")
best = {}
for row in rows.values():
    method, factor = row["point"]
    best.setdefault(method, []).append((row["value"]["1-NNA"][0], row["value"]["MMD"][0], factor))
for method, scores in best.items():
    print(method, *min(scores))
