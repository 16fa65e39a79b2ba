"""What all networks share: a configuration, a seed, and checks that name the layer."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from wavelab.errors import InvalidInput

PADDINGS = ("circular", "zeros")


class Network(nn.Module):
    """A network with a configuration from which :func:`wavelab.networks.build` makes it again.

    Attributes:
        config: ``{"class": ..., option: value}``, plain values that JSON can hold; the seed is not part of it.
    """

    config: dict[str, Any]
    known: ClassVar[dict[str, type[Network]]] = {}  # every subclass by its name

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the class known to :func:`wavelab.networks.build`, wherever it is defined.

        Raises:
            InvalidInput: another class has the same name; a class that is defined again replaces itself.
        """
        super().__init_subclass__(**options)
        other = Network.known.get(cls.__name__, cls)
        if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InvalidInput(
                f"{cls.__module__} defines a network {cls.__name__}, but {other.__module__} has one of that name; a "
                "configuration names its class, so give the new one another name."
            )
        Network.known[cls.__name__] = cls

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
        self.config = {"class": type(self).__name__, **plain}

    @classmethod
    def chosen(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return what ``locals()`` holds of the options, at the beginning of a constructor."""
        return {name: values[name] for name in cls.options()}

    @classmethod
    def options(cls) -> dict[str, bool]:
        """Return every option's name and whether it must be given."""
        parameters = inspect.signature(cls.__init__).parameters.values()
        return {p.name: p.default is p.empty for p in parameters if p.name not in ("self", "seed")}


def count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from ``seed`` and leave torch's global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def check_options(name: str, *, padding: str = "circular", dims: int = 2, **positive: int) -> None:
    """Raise InvalidInput unless the options every network has are possible."""
    if dims not in (1, 2, 3):
        raise InvalidInput(f"{name}: dims is {dims!r}; give 1, 2 or 3.")
    if padding not in PADDINGS:
        raise InvalidInput(f"{name}: padding is {padding!r}; give 'circular' or 'zeros'.")
    for option, value in positive.items():
        least = 0 if option == "cond_channels" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidInput(f"{name}: {option} is {value!r}; give an integer of at least {least}.")


def join(layer: str, x: Tensor, cond: Tensor | None, channels: int, cond_channels: int, dims: int) -> Tensor:
    """Concatenate ``x`` and ``cond`` along channels, after checking both.

    Args:
        layer: the name of the layer that will read the result; it opens every message.
        x: shape ``(batch, channels, *space)``.
        cond: shape ``(batch, cond_channels, *space)``, or None when ``cond_channels`` is 0.
        channels: what ``x`` must have.
        cond_channels: what ``cond`` must have.
        dims: number of space axes.

    Returns:
        Shape ``(batch, channels + cond_channels, *space)``.

    Raises:
        InvalidInput: another number of axes, channels or samples, another grid, a condition missing or not expected.
    """
    space = ", ".join(("depth", "height", "width")[-dims:]) if dims else ""
    expected = f"(batch, {channels} channel{'s' * (channels != 1)}{', ' * bool(space)}{space})"
    if x.ndim != dims + 2 or x.shape[1] != channels:
        raise InvalidInput(f"{layer}: x has shape {tuple(x.shape)}; expected {expected}. Check the model's channels.")
    if cond is None and cond_channels == 0:
        return x
    if cond is None:
        raise InvalidInput(f"{layer}: cond is missing; this network was made with cond_channels={cond_channels}.")
    if cond_channels == 0:
        raise InvalidInput(
            f"{layer}: cond has shape {tuple(cond.shape)}, but this network takes none; make it with cond_channels."
        )
    wanted = (x.shape[0], cond_channels, *x.shape[2:])
    if tuple(cond.shape) != wanted:
        raise InvalidInput(f"{layer}: cond has shape {tuple(cond.shape)}; expected {wanted}, on the grid of x.")
    return torch.cat([x, cond], 1)


def check_noise(layer: str, log_noise: Tensor | float, batch: int) -> Tensor:
    """Return ``log_noise`` as one number a sample; a single number serves all.

    Raises:
        InvalidInput: neither a single number nor shape ``(batch,)``.
    """
    log_noise = torch.as_tensor(log_noise)
    if log_noise.ndim == 0 or log_noise.shape == (1,):
        return log_noise.expand(batch)
    if log_noise.shape != (batch,):
        raise InvalidInput(f"{layer}: log_noise has shape {tuple(log_noise.shape)}; expected ({batch},), one a sample.")
    return log_noise
