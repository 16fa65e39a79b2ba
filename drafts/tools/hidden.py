"""Move hidden checks that follow a code cell behind the first paragraph after it: hidden.py FILE."""

import re
import sys

f = sys.argv[1]
s = open(f).read()
# split in blocks
parts = re.split(r"(```\{code-cell\} ipython3\n.*?\n```\n)", s, flags=re.S)
out = []
i = 0
# parts alternate md, code, md, code ...
md = parts[0::2]
code = parts[1::2]
for k, c in enumerate(code):
    if k > 0 and not md[k].strip() and "remove-cell" in c.split("\n")[1]:
        paras = md[k + 1].strip("\n").split("\n\n")
        ok = [p for p in paras]
        first = paras[0]
        if len(paras) < 2 or first.startswith(("#", "```", "|", "$$")):
            print("by hand:", c.split("\n")[3][:70], "|", len(paras), first[:60])
            continue
        md[k] = "\n" + first + "\n\n"
        md[k + 1] = "\n" + "\n\n".join(paras[1:]) + "\n\n"
res = md[0]
for k, c in enumerate(code):
    res += c + md[k + 1]
open(f, "w").write(res)
