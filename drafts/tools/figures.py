"""Write the pictures of an executed notebook as files: figures.py NOTEBOOK FOLDER."""

import base64
import sys
from pathlib import Path

import nbformat

notebook, folder = nbformat.read(sys.argv[1], as_version=4), Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for number, cell in enumerate(notebook.cells):
    for k, output in enumerate(cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            (folder / f"{number:03d}-{k}.png").write_bytes(base64.b64decode(output["data"]["image/png"]))
        if output.get("output_type") == "stream" or "text/markdown" in output.get("data", {}):
            print(f"[{number}]", output.get("text") or output["data"]["text/markdown"])
