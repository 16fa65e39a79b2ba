"""Networks that predict the noise, the clean sample or the score: one U-Net, one small residual net, one MLP.

All are called ``model(x, log_noise, cond=None)``: ``x`` scaled to unit variance, ``log_noise`` the logarithm of
sigma / alpha, one number a sample. So one network serves every forward process of :mod:`wavelab.diffusion`.
"""

from __future__ import annotations

from typing import Any

from wavelab.errors import InvalidInput, UnknownName
from wavelab.networks.base import Network, count
from wavelab.networks.score_net import MLP, ScoreNet
from wavelab.networks.unet import UNet

__all__ = ["MLP", "Network", "ScoreNet", "UNet", "build", "count"]


def build(config: dict[str, Any], seed: int = 0) -> Network:
    """Make the network that a configuration describes: ``build(model.config)`` has the same architecture.

    Every subclass of :class:`Network` can be made, a method's own ones once their module is imported.

    Args:
        config: ``{"class": "UNet", "in_channels": 1, ...}``, as in :attr:`Network.config`.
        seed: what the initial weights are drawn from.

    Returns:
        The network, with fresh weights.

    Raises:
        UnknownName: a class or an option that does not exist.
        InvalidInput: not a dictionary with a ``"class"``, or an option missing.
    """
    if not isinstance(config, dict) or "class" not in config:
        raise InvalidInput(
            f"The configuration is {config!r}; expected a dictionary with a 'class', as model.config is."
        )
    options = {name: value for name, value in config.items() if name != "class"}
    if config["class"] not in Network.known:
        raise UnknownName.among("network", config["class"], Network.known)
    kind = Network.known[config["class"]]
    known = kind.options()
    for name in options:
        if name not in known:
            raise UnknownName.among(f"option of {kind.__name__}", name, known)
    missing = [name for name, required in known.items() if required and name not in options]
    if missing:
        raise InvalidInput(f"The configuration of {kind.__name__} lacks {', '.join(missing)}; given: {config!r}.")
    return kind(**options, seed=seed)
