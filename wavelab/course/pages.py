"""The pages and tables that are made from records: results, cost, the README's table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wavelab.errors import InvalidInput
from wavelab.paths import ROOT, atomic_write
from wavelab.runtime import PROFILES, measured_costs

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def records(root: Path = ROOT) -> list[dict[str, Any]]:
    """Return the recorded results of all chapters, in the order of their names."""
    paths = sorted((root / "data" / "results").glob("[0-9]*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths if path.stem.rpartition(".")[2] in PROFILES]


def results_page() -> str:
    """Return the book's page of results: the headline numbers, then everything that was recorded, folded."""
    text = [
        "# Results",
        "Every number on this page was recorded by a run of the chapter that reports it. Nothing here is typed by "
        "hand. `make run` and `make record` measure them again.",
        readme_table(),
        "## All records",
    ]
    for record in records():
        sizes = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in record["sizes"].items())
        text.append(f"### {_title(record['chapter'])}")
        profile, seed, device = (record[name] for name in ("profile", "seed", "device"))
        text.append(f"From {_link(record['chapter'])}: profile `{profile}`, seed {seed}, device {device}; {sizes}.")
        table = _table(("quantity", "value"), _flat(record["results"]))
        text.append(f":::{{dropdown}} {len(table.splitlines()) - 2} numbers\n{table}\n:::")
    return "\n\n".join(text) + "\n"


def cost_page() -> str:
    """Return the book's page of costs: seconds and memory of each chapter on each profile that was measured."""
    costs = measured_costs()
    names = sorted({key.rpartition(".")[0] for key in costs})
    rows = [(_link(name), *(_cost(costs.get(f"{name}.{p}")) for p in PROFILES)) for name in names]
    totals = [sum(costs[key]["seconds"] for key in costs if key.endswith(f".{p}")) for p in PROFILES]
    rows.append(("**all chapters**", *(f"{total / 60:.1f} min" if total else "not yet run" for total in totals)))
    machines = ", ".join(sorted({cost["machine"] for cost in costs.values()}))
    return (
        "# What it costs\n\n"
        "Seconds from the start of the kernel to the last cell, and the most memory the kernel held. The data were "
        "in the cache.\n\n"
        f"{_table(('chapter', *PROFILES), rows)}\n\nMeasured on: {machines}. Your machine will differ; "
        "`python -m wavelab.course list` shows what yours took.\n"
    )


def update_readme(path: Path = ROOT / "README.md") -> bool:
    """Write the table of results into the README between its two marks; return whether it changed.

    Raises:
        InvalidInput: the marks are not there.
    """
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InvalidInput(f"{path.name} has no lines '{BEGIN}' and '{END}'; put them where the table belongs.")
    new = re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{readme_table()}\n{END}", text, flags=re.DOTALL)
    if new != text:
        with atomic_write(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
    return new != text


def readme_table() -> str:
    """Return the README's table: the headline numbers that chapters put under ``headline`` in their records."""
    rows = [
        (
            row["what"],
            row["value"],
            row.get("paper", "–"),
            f"{record['chapter']}, {record['profile']}, seed {record['seed']}",
        )
        for record in records()
        for row in record["results"].get("headline", [])
    ]
    return _table(("what", "measured here", "in the paper", "chapter, profile, seed"), rows)


def _flat(results: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in results.items():
        if name == "headline":
            continue
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _flat(value, f"{label} · ")
        else:
            rows.append((label, _number(value)))
    return rows


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_number(item) for item in value[:12]) + (" …" if len(value) > 12 else "")
    return str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _cost(cost: Mapping[str, Any] | None) -> str:
    return f"{cost['seconds']:.0f} s, {cost['peak_mib'] / 1024:.1f} GiB" if cost else "not yet run"


def _source(name: str) -> Path:
    return next((ROOT / "notebooks").glob(f"*/{name}.md"))


def _title(name: str) -> str:
    lines = _source(name).read_text(encoding="utf-8").splitlines()
    return f"Chapter {int(name[:2])}, " + next(line[2:] for line in lines if line.startswith("# "))


def _link(name: str) -> str:
    return f"[](../notebooks/{_source(name).parent.name}/{name}.md)"
