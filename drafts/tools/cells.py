"""Run the code cells of a chapter in one namespace, up to a mark."""

import re
from pathlib import Path


def cells(path):
    """Return tags and code of every cell."""
    found = []
    for match in re.finditer(r"```\{code-cell\} ipython3\n(.*?)```", Path(path).read_text(), re.DOTALL):
        body = match.group(1)
        tags = re.match(r":tags: \[(.*?)\]\n\n?", body)
        found.append((tags.group(1) if tags else "", body[tags.end() :] if tags else body))
    return found


def run_to(path, mark, profile="cpu"):
    """Run all cells before the one that holds ``mark`` and return their names."""
    names = {"__name__": "__main__"}
    for tags, body in cells(path):
        if mark in body:
            return names
        code = re.sub(r'profile = "\w+"', f'profile = "{profile}"', body) if "parameters" in tags else body
        exec(compile(code, str(path), "exec"), names)
    raise SystemExit(f"{path} has no cell with {mark!r}.")
