"""One figure style, light and dark, and the few plots that every chapter shares."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import Markdown, display
from matplotlib.figure import Figure

from wavelab.display import DPI, GRID, INK, MUTED, PAPER, explore, show
from wavelab.errors import InvalidInput

__all__ = ["GRID", "INK", "MUTED", "PAPER", "band", "explore", "images", "show", "source", "table", "use_style"]

# Legible on white and on dark pages: contrast at least 3 to 1 on both.
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#b86a97", "#6b7785"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, GREY)
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
WIDTH = 7.4  # inches: the width of the text column


def use_style(*, quick: bool = False) -> None:
    """Set the course's figure style: sans-serif, light grid, colours that differ in hue, lightness and dash.

    Args:
        quick: draw at half the resolution, as tests do.
    """
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.2),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": PAPER,
            "axes.facecolor": PAPER,
            "savefig.facecolor": "auto",
            "savefig.dpi": DPI // 2 if quick else DPI,
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


def _cell(value: Any, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
    # An interval is not broken at the end of a line: word joiners beside a dash, hard spaces beside plus-minus.
    return re.sub(r"(?<=\d)–(?=\d)", "\u2060–\u2060", str(value)).replace(" ± ", "\u00a0±\u00a0")


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


def source(function: Any) -> None:
    """Display the source of a package's function as a code block, so that the text never holds a copy."""
    display(Markdown(f"```python\n{inspect.getsource(function).rstrip()}\n```"))
