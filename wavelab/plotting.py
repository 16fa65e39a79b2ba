"""One figure style, light and dark, and the few plots that every chapter shares."""

from __future__ import annotations

import base64
import hashlib
import inspect
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import HTML, Markdown, display
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from wavelab.errors import InvalidInput

# Ink, paper and grid, light and dark. Series colours are legible on both (contrast at least 3 to 1).
INK, MUTED, GRID, PAPER = "#1d2733", "#55606e", "#d5dae1", "#ffffff"
DARK = {INK: "#e4e8ee", MUTED: "#a3adba", GRID: "#39424e", PAPER: "#14181f"}
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#b86a97", "#6b7785"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, GREY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
DPI = 160
WIDTH = 7.4  # inches: the width of the text column


def use_style() -> None:
    """Set the course's figure style: sans-serif, light grid, colours that differ in hue, lightness and dash."""
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.2),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "savefig.facecolor": "auto",
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.edgecolor": MUTED,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "axes.prop_cycle": cycler(color=SERIES) + cycler(linestyle=DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.7,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.7,
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "image.cmap": "gray",
            "image.interpolation": "nearest",
            "svg.hashsalt": "wavelab",
        }
    )


def show(figure: Figure, alt: str, caption: str | None = None) -> None:
    """Display a figure with a text alternative, and close it.

    In the built book the figure gets a number, its caption and a twin for dark mode.

    Args:
        figure: a matplotlib figure.
        alt: one or two sentences that say what a person who cannot see the figure needs to know.
        caption: the figure's caption, in Markdown; shown under it.

    Raises:
        InvalidInput: the text alternative is empty.
    """
    if not alt or not alt.strip():
        raise InvalidInput("A figure needs a text alternative: show(figure, alt='what it shows').")
    light, width = _png(figure)
    _keep_dark_twin(figure, light)
    plt.close(figure)
    data = {"image/png": base64.b64encode(light).decode(), "text/plain": f"[figure: {alt}]"}
    metadata = {"image/png": {"width": width, "alt": alt} | ({"caption": caption} if caption else {})}
    display(data, raw=True, metadata=metadata)
    if caption:
        display(Markdown(f"*{caption}*"), metadata={"caption": True})


def images(
    arrays: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    limits: tuple[float, float] | str = "each",
    cmap: str | Sequence[str] = "gray",
    width: float = WIDTH,
) -> Figure:
    """Draw images side by side, without axes.

    Args:
        arrays: images of shape ``(height, width)`` or ``(height, width, 3)``; tensors are accepted.
        titles: one title an image.
        columns: images a row; by default all in one row, at most five.
        limits: the grey values drawn black and white: a pair, ``"each"`` (every image its own range),
            ``"shared"`` (one range for all) or ``"symmetric"`` (every image centred on zero).
        cmap: one colour map, or one an image.
        width: width of the figure in inches.

    Returns:
        The figure, to be passed to :func:`show`.

    Raises:
        InvalidInput: no image, a number of titles that differs from the number of images, or unknown limits.
    """
    arrays = [np.asarray(array) for array in arrays]
    if not arrays or (titles is not None and len(titles) != len(arrays)):
        raise InvalidInput(f"Got {len(arrays)} images and {len(titles or [])} titles; give as many titles as images.")
    columns = columns or min(len(arrays), 5)
    rows = -(-len(arrays) // columns)
    aspect = max(array.shape[0] / array.shape[1] for array in arrays)
    height = rows * (width / columns * aspect + (0.3 if titles else 0.05))
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    maps = [cmap] * len(arrays) if isinstance(cmap, str) else list(cmap)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, (axis, array) in enumerate(zip(axes.flat, arrays, strict=False)):
        low, high = _limits(arrays, index, limits)
        axis.imshow(array, cmap=maps[index], vmin=low, vmax=high)
        if titles is not None:
            axis.set_title(titles[index], fontsize=9.5)
    return figure


def band(axis: plt.Axes, x: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray, **style: Any) -> None:
    """Draw a line with its interval: ``middle`` as a line, ``low`` to ``high`` as a light band."""
    (line,) = axis.plot(x, middle, **style)
    axis.fill_between(x, low, high, color=line.get_color(), alpha=0.18, linewidth=0)


def table(rows: Sequence[Sequence[Any]], header: Sequence[str], digits: int = 3) -> None:
    """Display a table as Markdown: text to the left, numbers to the right with ``digits`` significant digits.

    Raises:
        InvalidInput: a row whose length differs from the header's.
    """
    for row in rows:
        if len(row) != len(header):
            raise InvalidInput(f"The row {list(row)!r} has {len(row)} entries and the header {len(header)}.")
    numeric = [all(isinstance(row[i], int | float | np.number) for row in rows) for i in range(len(header))]
    lines = [header, ["--:" if right else ":--" for right in numeric]]
    lines += [[_cell(value, digits) for value in row] for row in rows]
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))


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
        light, width = _png(figure, dpi=120)
        with _dark(figure):
            dark, _ = _png(figure, dpi=120)
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


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    return str(value)


def _limits(arrays: list[np.ndarray], index: int, limits: tuple[float, float] | str) -> tuple[float, float]:
    if isinstance(limits, tuple):
        return limits
    if limits == "shared":
        return min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)
    if limits == "symmetric":
        top = float(np.abs(arrays[index]).max()) or 1.0
        return -top, top
    if limits == "each":
        return float(arrays[index].min()), float(arrays[index].max())
    raise InvalidInput(f"limits is {limits!r}; give (low, high), 'each', 'shared' or 'symmetric'.")


def _png(figure: Figure, dpi: int = DPI) -> tuple[bytes, int]:
    """Return the figure as PNG bytes and the width in CSS pixels at which it is meant to be shown."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue(), round(figure.get_size_inches()[0] * 100)


def _keep_dark_twin(figure: Figure, light: bytes) -> None:
    """Store the figure redrawn for dark pages, under the hash of its light picture, where the book looks for it."""
    folder = os.environ.get("WAVELAB_RUN_DIR")
    if folder:
        with _dark(figure):
            dark, _ = _png(figure)
        path = Path(folder) / "dark" / f"{hashlib.sha256(light).hexdigest()}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dark)


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


def source(function: Any) -> None:
    """Display the source of a package's function as a code block, so that the text never holds a copy."""
    display(Markdown(f"```python\n{inspect.getsource(function).rstrip()}\n```"))
