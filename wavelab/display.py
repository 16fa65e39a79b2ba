"""Show figures: with a text alternative, a caption, a twin for dark pages, and behind a slider that needs no kernel."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown, display
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from wavelab.errors import InvalidInput

# Ink, quieter ink, grid and paper, and what each becomes on a dark page.
INK, MUTED, GRID, PAPER = "#1d2733", "#55606e", "#d5dae1", "#ffffff"
DARK = {INK: "#e4e8ee", MUTED: "#a3adba", GRID: "#39424e", PAPER: "#14181f"}
DPI = 160  # pictures of the smoke profile are drawn at half of it


def show(figure: Figure, alt: str, caption: str | None = None, *, keep: str | None = None) -> None:
    """Display a figure with a text alternative, and close it.

    In the built book the figure gets a number, its caption and a twin for dark mode.

    Args:
        figure: a matplotlib figure.
        alt: one or two sentences that say what a person who cannot see the figure needs to know.
        caption: the figure's caption, in Markdown; shown under it.
        keep: a name under which ``make record`` keeps the picture, for the README and the first page of the book.

    Raises:
        InvalidInput: the text alternative is empty.
    """
    if not alt or not alt.strip():
        raise InvalidInput("A figure needs a text alternative: show(figure, alt='what it shows').")
    light, width = _png(figure)
    _store(figure, light, keep)
    plt.close(figure)
    data = {"image/png": base64.b64encode(light).decode(), "text/plain": f"[figure: {alt}]"}
    metadata = {"image/png": {"width": width, "alt": alt} | ({"caption": caption} if caption else {})}
    display(data, raw=True, metadata=metadata)
    if caption:
        display(Markdown(f"*{caption}*"), metadata={"caption": True})


def explore(figures: Mapping[str, Figure], label: str, alt: str, start: int = 0) -> None:
    """Display a slider over ready-made figures: it works in the built book, without a kernel and offline.

    Where scripts are not run, the figure at ``start`` is shown alone.

    Args:
        figures: the figures, by the value that the slider shows (such as ``"σ = 0.1"``); they are closed.
        label: what the slider changes, such as ``"noise level"``.
        alt: the text alternative of the figures; the slider's value is added.
        start: the position shown first.

    Raises:
        InvalidInput: fewer than two figures, or a start outside them.
    """
    if len(figures) < 2 or not 0 <= start < len(figures):
        raise InvalidInput(
            f"A slider needs two figures or more and a start among them; got {len(figures)} and {start}."
        )
    frames = []
    for value, figure in figures.items():
        light, width = _png(figure, share=0.75)
        with _dark(figure):
            dark, _ = _png(figure, share=0.75)
        plt.close(figure)
        frames.append((value, _uri(light), _uri(dark), width))
    name = "explore-" + uuid5(NAMESPACE_URL, label + alt + frames[0][1]).hex[:10]
    display(HTML(_slider(name, frames, label, alt, start)))


def _slider(name: str, frames: list[tuple[str, str, str, int]], label: str, alt: str, start: int) -> str:
    value, light, dark, width = frames[start]
    pictures = "".join(
        f'<img class="{theme}" src="{uri}" alt="{escape(f"{alt} ({value})")}" style="width:{width}px;max-width:100%">'
        for theme, uri in (("only-light", light), ("only-dark", dark))
    )
    data = "[" + ",".join(f'["{escape(v)}","{a}","{b}"]' for v, a, b, _ in frames) + "]"
    return f"""<div class="explore" id="{name}">
<style>#{name} .only-dark{{display:none}} html[data-theme=dark] #{name} .only-light{{display:none}}
html[data-theme=dark] #{name} .only-dark{{display:block}}</style>
<label>{escape(label)}: <output>{escape(value)}</output>
<input type="range" min="0" max="{len(frames) - 1}" value="{start}" aria-label="{escape(label)}"></label>
{pictures}
<script>(() => {{
  const root = document.getElementById("{name}"), frames = {data};
  root.querySelector("input").addEventListener("input", event => {{
    const [value, light, dark] = frames[event.target.value];
    root.querySelector("output").textContent = value;
    root.querySelector(".only-light").src = light;
    root.querySelector(".only-dark").src = dark;
  }});
}})();</script></div>"""


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png(figure: Figure, share: float = 1.0) -> tuple[bytes, int]:
    """Return the figure as PNG bytes and the width in CSS pixels at which it is meant to be shown."""
    buffer, chosen = io.BytesIO(), plt.rcParams["savefig.dpi"]
    dpi = share * (DPI if chosen == "figure" else chosen)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue(), round(figure.get_size_inches()[0] * 100)


def _store(figure: Figure, light: bytes, keep: str | None) -> None:
    """Store the twin for dark pages under the hash of the light picture, where the book looks for it."""
    if not os.environ.get("WAVELAB_RUN_DIR"):
        return
    folder = Path(os.environ["WAVELAB_RUN_DIR"])
    with _dark(figure):
        dark, _ = _png(figure)
    pictures = {f"dark/{hashlib.sha256(light).hexdigest()}.png": dark}
    if keep:
        pictures |= {f"figures/{keep}.png": light, f"figures/{keep}-dark.png": dark}
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture)


@contextmanager
def _dark(figure: Figure) -> Iterator[None]:
    """Exchange ink, grid and paper for their dark values while the block runs."""
    _recolour(figure, DARK)
    try:
        yield
    finally:
        _recolour(figure, {dark: light for light, dark in DARK.items()})


def _recolour(figure: Figure, colours: Mapping[str, str]) -> None:
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            getter, setter = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if getter is None or setter is None:
                continue
            new = _exchanged(getter(), colours)
            if new is not None:
                setter(new)


def _exchanged(value: Any, colours: Mapping[str, str]) -> str | None:
    """Return the colour to use instead of ``value``, or None where it stays."""
    if value is None or (isinstance(value, str) and value in ("none", "auto", "inherit")):
        return None
    rgba = np.asarray(value, dtype=float) if not isinstance(value, str) else None
    if rgba is not None and rgba.ndim == 2:
        if len(rgba) != 1:
            return None
        value = tuple(rgba[0])
    if not isinstance(value, str) and (len(value) == 4 and value[3] == 0):
        return None
    return colours.get(to_hex(value))
