"""How a training shows itself: a bar in a terminal, one figure that grows in a notebook, silence in a build."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from pathlib import Path
from typing import Any

from wavelab.paths import atomic_write


def reporter(steps: int, name: str, shown: bool) -> Bar | Plot | Silence:
    """Choose how to show a training: a notebook gets a figure, a terminal a bar, a papermill run nothing."""
    if not shown or os.environ.get("WAVELAB_RUN_DIR") or os.environ.get("WAVELAB_LIVE") == "0":
        return Silence()
    return Plot(steps, name) if _in_notebook() else Bar(steps, name)


class Silence:
    """Shows nothing."""

    def show(self, step: int, steps: list[int], losses: list[float]) -> None:
        """Take note of the course so far."""

    def close(self) -> None:
        """End."""


class Bar(Silence):
    """A tqdm bar with the last loss."""

    def __init__(self, steps: int, name: str) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=steps, desc=name, unit="step", dynamic_ncols=True)

    def show(self, step: int, steps: list[int], losses: list[float]) -> None:
        """Move the bar to a step."""
        if losses:
            self.bar.set_postfix_str(f"loss {losses[-1]:.4g}", refresh=False)
        self.bar.update(step - self.bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class Plot(Silence):
    """One figure in the notebook that is drawn anew every two seconds."""

    def __init__(self, steps: int, name: str) -> None:
        self.total, self.name, self.drawn, self.last = steps, name, 0.0, ()
        self.handle: Any = None

    def show(self, step: int, steps: list[int], losses: list[float]) -> None:
        """Draw the course so far, at most every two seconds."""
        self.last = (step, list(steps), list(losses))
        if losses and time.monotonic() - self.drawn > 2:
            self._draw()

    def close(self) -> None:
        """Draw the last state."""
        if self.last and self.last[2]:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display
        from matplotlib.figure import Figure

        step, steps, losses = self.last
        figure = Figure(figsize=(6.0, 2.4), layout="constrained")
        axes = figure.subplots()
        axes.plot(steps, losses, lw=1.5)
        if min(losses) > 0:
            axes.set_yscale("log")
        axes.set(xlim=(0, self.total), xlabel="step", ylabel="loss", title=f"{self.name}: step {step} of {self.total}")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=100)
        told = f"[{self.name}: step {step} of {self.total}, loss {losses[-1]:.4g}]"
        picture = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": told}
        if self.handle is None:
            self.handle = display(picture, raw=True, display_id=True)
        else:
            self.handle.update(picture, raw=True)
        self.drawn = time.monotonic()


class Log:
    """One JSON object a line: step, loss, learning rate, norm of the gradient, seconds."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the log and drop what a killed run wrote after the checkpoint at ``step``."""
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if 0 <= _step(line) <= step]
        if kept != lines:
            with atomic_write(path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, **entry: Any) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _step(line: str) -> int:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return -1  # cut off when the run was killed


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
