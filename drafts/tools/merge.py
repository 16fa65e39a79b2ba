"""Merge measured tables of several run folders into data/results/measured: merge.py CHAPTER FOLDER …"""

import json
import sys
from pathlib import Path

TARGET = Path(__file__).parents[2] / "data" / "results" / "measured"
chapter, *folders = sys.argv[1:]
tables = {}
for folder in [TARGET, *map(Path, folders)]:
    for path in folder.rglob(f"{chapter}*.json"):
        if path.parent.name != "measured":
            continue
        found = json.loads(path.read_text())
        known = tables.setdefault(path.name, {"settings": found["settings"], "rows": {}})
        if known["settings"] != found["settings"]:
            print("other settings, taken anew:", path)
            tables[path.name] = known = {"settings": found["settings"], "rows": {}}
        known["rows"] |= {json.dumps(row["point"]): row for row in found["rows"]}
for name, table in tables.items():
    rows = list(table["rows"].values())
    (TARGET / name).write_text(json.dumps({"settings": table["settings"], "rows": rows}, indent=1) + "\n")
    print(name, len(rows), "rows")
