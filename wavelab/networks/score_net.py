"""Small networks: a residual net without down-sampling for small grids, and an MLP for points."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wavelab.errors import InvalidInput
from wavelab.networks.base import Network, check_noise, check_options, join, seeded
from wavelab.networks.layers import NoiseEmbedding, ResBlock, channels_last, conv, groups_for, silu, zeroed

EMBEDDING = 48


class ScoreNet(Network):
    """A residual network on one grid, about 40 000 parameters in 2-D as it stands.

    It works on grids of any size, since nothing is down-sampled. What a value can depend on reaches 2 * blocks + 2 grid
    points in each direction; with ``dilation=2`` block i looks 2**i points further.

    Args:
        in_channels: channels of x.
        out_channels: channels of what is predicted.
        cond_channels: channels of the condition, concatenated to x.
        width: channels inside.
        blocks: number of residual blocks.
        dims: number of space axes: 1, 2 or 3.
        padding: ``"circular"`` for periodic fields, ``"zeros"`` for images.
        dilation: block i's first convolution is dilated by ``dilation**i``.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        cond_channels: int = 0,
        width: int = 24,
        blocks: int = 3,
        dims: int = 2,
        padding: str = "circular",
        dilation: int = 1,
        seed: int = 0,
    ) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("ScoreNet", **options)
        self.shape = (in_channels, cond_channels, dims)
        self.reach = max(1, dilation ** (blocks - 1)) if padding == "circular" else 0
        with seeded(seed):
            self.embedding = NoiseEmbedding(EMBEDDING)
            self.stem = conv(dims, in_channels + cond_channels, width, 3, padding)
            self.blocks = nn.ModuleList(
                ResBlock(width, width, EMBEDDING, dims, padding, dilation=dilation**i) for i in range(blocks)
            )
            self.norm = nn.GroupNorm(groups_for(width), width)
            self.out = zeroed(conv(dims, width, out_channels, 3, padding))

    def forward(self, x: Tensor, log_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from noisy samples.

        Args:
            x: shape ``(batch, in_channels, *space)``, scaled to unit variance.
            log_noise: log(sigma / alpha), shape ``(batch,)`` or a single number.
            cond: shape ``(batch, cond_channels, *space)``.

        Returns:
            Shape ``(batch, out_channels, *space)``.

        Raises:
            InvalidInput: a shape that does not fit; the message names the layer.
        """
        h = join("ScoreNet.stem", x, cond, *self.shape)
        if min(x.shape[2:]) < self.reach:
            raise InvalidInput(
                f"ScoreNet.blocks: x has shape {tuple(x.shape)}, but a dilation of {self.reach} wraps around a grid "
                f"of at least {self.reach} points; use a smaller dilation or fewer blocks."
            )
        embedding = self.embedding(check_noise("ScoreNet.embedding", log_noise, len(x)))
        h = channels_last(self.stem(h))
        for block in self.blocks:
            h = block(h, embedding)
        return self.out(silu(self.norm(h)))


class MLP(Network):
    r"""A residual perceptron for points in the plane and other short vectors.

    .. math:: h \leftarrow h + W_2\,\mathrm{silu}\bigl(W_1 \,\mathrm{silu}(h) + E(\ell)\bigr)

    Args:
        features: length of x.
        width: length inside.
        depth: number of residual blocks.
        cond_channels: length of the condition, concatenated to x.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.
    """

    def __init__(
        self, features: int, width: int = 128, depth: int = 3, *, cond_channels: int = 0, seed: int = 0
    ) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("MLP", **options)
        self.shape = (features, cond_channels, 0)
        with seeded(seed):
            self.embedding = NoiseEmbedding(width)
            self.stem = nn.Linear(features + cond_channels, width)
            self.inner = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
            self.outer = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
            self.out = zeroed(nn.Linear(width, features))

    def forward(self, x: Tensor, log_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from noisy points.

        Args:
            x: shape ``(batch, features)``, scaled to unit variance.
            log_noise: log(sigma / alpha), shape ``(batch,)`` or a single number.
            cond: shape ``(batch, cond_channels)``.

        Returns:
            Shape ``(batch, features)``.

        Raises:
            InvalidInput: a shape that does not fit; the message names the layer.
        """
        h = self.stem(join("MLP.stem", x, cond, *self.shape))
        embedding = self.embedding(check_noise("MLP.embedding", log_noise, len(x)))
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(F.silu(inner(F.silu(h)) + embedding))
        return self.out(F.silu(h))
