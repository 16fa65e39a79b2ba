"""Wrap the paragraphs and bullets of a chapter that have a line over 150 characters: wrapmd.py FILE."""

import sys
import textwrap
from pathlib import Path

path = Path(sys.argv[1])
lines, out, k, fenced = path.read_text().split("\n"), [], 0, False
while k < len(lines):
    line = lines[k]
    if line.startswith("```{code-cell}") or (line.startswith("```") and fenced):
        fenced = not fenced
    if fenced or not line.strip() or line.startswith(("```", "#", "|", ":", "$$", "---", "(", "  ")):
        out.append(line)
        k += 1
        continue
    block = [line]
    stop = ("```", "#", "|", ":", "$$", "- ", "---")
    while k + 1 < len(lines) and lines[k + 1].strip() and not lines[k + 1].startswith(stop):
        k += 1
        block.append(lines[k])
    k += 1
    if max(map(len, block)) > 150:
        indent = "  " if line.startswith("- ") else ""
        joined = " ".join(part.strip() for part in block)
        block = textwrap.wrap(joined, 150, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    out += block
path.write_text("\n".join(out))
