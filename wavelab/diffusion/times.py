"""Time grids for samplers, and the small things about times and noise that everything here shares."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wavelab.errors import InvalidInput

Time = float | Tensor


def time_grid(
    T: float, steps: int, schedule: str = "uniform", t_1: float = 1e-3, dtype: torch.dtype = torch.float64
) -> Tensor:
    r"""Return times :math:`0=t_0<t_1<\dots<t_N=T`, which a sampler walks from the end.

    Args:
        T: final time.
        steps: number of steps ``N``, at least 1.
        schedule: ``"uniform"``: :math:`t_k=Tk/N`; ``"quadratic"``: :math:`t_k=T(k/N)^2`; ``"geometric"``:
            :math:`t_k=t_1(T/t_1)^{(k-1)/(N-1)}`.
        t_1: the first time of the geometric grid, between 0 and ``T``.
        dtype: of the result.

    Returns:
        Shape ``(steps + 1,)``, strictly increasing.

    Raises:
        InvalidInput: no step, an unknown schedule, or ``T`` or ``t_1`` out of range.
    """
    check_steps(steps)
    check_positive(T=T)
    k = torch.arange(steps + 1, dtype=dtype)
    if schedule == "uniform":
        return T * k / steps
    if schedule == "quadratic":
        return T * (k / steps) ** 2
    if schedule != "geometric":
        raise InvalidInput(f"There is no schedule {schedule!r}; choose 'uniform', 'quadratic' or 'geometric'.")
    if not 0 < t_1 < T:
        raise InvalidInput(f"t_1 is {t_1}; expected a time between 0 and T = {T}.")
    times = t_1 * (T / t_1) ** ((k - 1) / max(steps - 1, 1))
    times[0], times[-1] = 0.0, T
    return times


def check_times(times: Tensor) -> Tensor:
    """Return ``times`` as a float tensor if it is a grid that a sampler can walk.

    Args:
        times: increasing times from 0 on, shape ``(steps + 1,)``; sampling walks them from the end to 0.

    Raises:
        InvalidInput: not a vector of at least two finite numbers, not strictly increasing, or not starting at 0.
    """
    times = as_time(times)
    advice = "Sampling walks the grid from its end to 0; build one with time_grid(T, steps)."
    if times.ndim != 1 or len(times) < 2:
        raise InvalidInput(f"times has shape {tuple(times.shape)}; expected a vector of at least two times. {advice}")
    if not times.isfinite().all():
        raise InvalidInput(f"times holds NaN or infinite values. {advice}")
    if not (times.diff() > 0).all():
        k = int((times.diff() <= 0).nonzero()[0]) + 1
        raise InvalidInput(
            f"times does not increase: times[{k}] = {times[k]:g} follows {times[k - 1]:g}. "
            f"Expected 0 = t_0 < t_1 < ... < t_N. {advice}"
        )
    if times[0] != 0:
        raise InvalidInput(f"times starts at {times[0]:g}; expected 0. {advice}")
    return times


def as_time(t: Time) -> Tensor:
    """Return ``t`` as a floating tensor; Python numbers and whole numbers become float64."""
    t = torch.as_tensor(t) if hasattr(t, "dtype") else torch.tensor(t, dtype=torch.float64)
    return t if t.is_floating_point() else t.double()


def per_sample(value: Tensor, x: Tensor) -> Tensor:
    """Return ``value``, of shape ``()`` or ``(batch,)``, in a shape, dtype and device that multiplies ``x``.

    Raises:
        InvalidInput: as many values as neither one nor the batch.
    """
    if value.ndim == 0:
        return value.to(x)
    if value.shape != x.shape[:1]:
        raise InvalidInput(f"Got times {tuple(value.shape)} for x {tuple(x.shape)}; give one time, or one a sample.")
    return value.to(x).reshape(-1, *[1] * (x.ndim - 1))


def normal(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard Gaussian noise in the shape of ``x``, on the generator's device, moved to that of ``x``.

    Raises:
        InvalidInput: no generator.
    """
    if generator is None:
        raise InvalidInput("Noise is drawn here: pass generator=torch.Generator().manual_seed(0), not None.")
    return torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype).to(x.device)


def check_positive(**values: float) -> None:
    """Raise InvalidInput unless every value is a positive number."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(f"{name} is {value}; expected a positive number.")


def check_steps(steps: int) -> None:
    """Raise InvalidInput unless there is a step."""
    if int(steps) != steps or steps < 1:
        raise InvalidInput(f"steps is {steps}; expected a whole number of at least 1.")
