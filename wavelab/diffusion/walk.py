"""What every sampler needs around its equation: a checked grid walked backwards, a checked score, the callback."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor
from tqdm.auto import tqdm

from wavelab.diffusion.process import Process
from wavelab.diffusion.times import Time, check_times
from wavelab.errors import InvalidInput

Score = Callable[[Tensor, Time], Tensor]
Guidance = Callable[[Tensor, Time, Tensor], Tensor]
Callback = Callable[[int, float, Tensor], None]


def backwards(process: Process, times: Tensor, progress: bool) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Check the grid, then yield ``(step, t_k, t_{k-1})`` for ``k = N, ..., 1``; ``step`` counts from 1.

    Raises:
        InvalidInput: see :func:`check_times`, or a grid that goes beyond the process.
    """
    times = check_times(times)
    if times[-1] > process.T * (1 + 1e-6):
        raise InvalidInput(
            f"times ends at {times[-1]:g}, beyond T = {process.T:g} of {type(process).__name__}; "
            f"build the grid with time_grid(process.T, steps)."
        )
    return _pairs(times, progress)


def _pairs(times: Tensor, progress: bool) -> Iterator[tuple[int, Tensor, Tensor]]:
    later, earlier = times.flip(0)[:-1], times.flip(0)[1:]
    yield from zip(counted(len(later), progress), later, earlier)


def counted(count: int, progress: bool) -> Iterator[int]:
    """Count from 1 to ``count``, with a bar if asked."""
    return iter(tqdm(range(1, count + 1), desc="sampling", leave=False, disable=not progress))


def checked(score: Score, guidance: Guidance | None = None) -> Score:
    """Return the score with the guidance applied, which refuses an output of another shape than ``x``."""

    def evaluate(x: Tensor, t: Time) -> Tensor:
        value = check_output(score(x, t), x, "score")
        return value if guidance is None else check_output(guidance(x, t, value), x, "guidance")

    return evaluate


def check_output(value: Tensor, x: Tensor, name: str) -> Tensor:
    """Return the value of a score if it has the shape of ``x``.

    Raises:
        InvalidInput: another shape, or no tensor.
    """
    if not isinstance(value, Tensor):
        raise InvalidInput(f"The {name} returned {type(value).__name__}; expected a tensor of shape {tuple(x.shape)}.")
    if value.shape != x.shape:
        raise InvalidInput(
            f"The {name} returned shape {tuple(value.shape)} for x of shape {tuple(x.shape)}; both must agree."
        )
    return value


def report(callback: Callback | None, step: int, t: Time, x: Tensor) -> None:
    """Hand a new state to the callback."""
    if callback is not None:
        callback(step, float(t), x)
