"""Move hidden checks that follow a code cell behind the first paragraph after it: hidden.py FILE."""

import re
import sys
from pathlib import Path

path = Path(sys.argv[1])
parts = re.split(r"(```\{code-cell\} ipython3\n.*?\n```\n)", path.read_text(), flags=re.DOTALL)
text, code = parts[0::2], parts[1::2]
for k in range(1, len(code)):
    if text[k].strip() or "remove-cell" not in code[k].split("\n")[1]:
        continue
    first, *rest = text[k + 1].strip("\n").split("\n\n")
    if not rest or first.startswith(("#", "```", "|", "$$")):
        print("by hand:", code[k].split("\n")[3][:70])
        continue
    text[k], text[k + 1] = f"\n{first}\n\n", "\n" + "\n\n".join(rest) + "\n\n"
path.write_text("".join(a + b for a, b in zip(text, [*code, ""], strict=True)))
