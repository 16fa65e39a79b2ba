"""One U-Net for signals, images and volumes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wavelab.errors import InvalidInput
from wavelab.networks.base import Network, check_noise, check_options, join, seeded
from wavelab.networks.layers import (
    CONVOLUTIONS,
    TRANSPOSED,
    Attention,
    NoiseEmbedding,
    ResBlock,
    channels_last,
    conv,
    groups_for,
    silu,
    zeroed,
)


class UNet(Network):
    """Residual blocks on grids that halve from level to level, and back, with a short cut at each level.

    Level i works with ``width * mults[i]`` channels on a grid ``2**i`` times coarser. With circular padding the network
    commutes with circular shifts by ``2**(levels - 1)`` grid points.

    Args:
        in_channels: channels of x.
        out_channels: channels of what is predicted.
        cond_channels: channels of the condition, concatenated to x.
        width: channels at the finest level.
        mults: channels of each level, as multiples of ``width``.
        blocks: residual blocks a level, on the way down and again on the way up.
        dims: number of space axes: 1, 2 or 3.
        attention: levels with self-attention after every block, 0 the finest; the middle follows the coarsest.
        heads: attention heads.
        padding: ``"circular"`` for periodic fields, ``"zeros"`` for images.
        dropout: probability inside every block.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.

    Source:
        Ronneberger, Fischer & Brox (2015), U-Net; Ho, Jain & Abbeel (2020), Denoising diffusion probabilistic models.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        cond_channels: int = 0,
        width: int = 32,
        mults: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        dims: int = 2,
        attention: Sequence[int] = (),
        heads: int = 4,
        padding: str = "circular",
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        mults, attention = tuple(mults), tuple(attention)
        options = self.chosen(locals())
        super().__init__(options)
        _check(**options)
        self.shape = (in_channels, cond_channels, dims)
        widths = [width * mult for mult in mults]
        with seeded(seed):
            self.embedding = NoiseEmbedding(4 * width)
            self.stem = conv(dims, in_channels + cond_channels, width, 3, padding)
            self.down = nn.ModuleList()
            self.coarser = nn.ModuleList()
            self.up = nn.ModuleList()
            self.finer = nn.ModuleList()
            deepest = heads if len(mults) - 1 in attention else 0
            self.middle = Stage("UNet.middle", [widths[-1]], widths[-1], 4 * width, dims, deepest, padding, dropout)
            channels = width
            for level, outputs in enumerate(widths):
                parts = (outputs, 4 * width, dims, heads if level in attention else 0, padding, dropout)
                self.down.append(Stage(f"UNet.down[{level}]", [channels] + [outputs] * (blocks - 1), *parts))
                self.up.append(Stage(f"UNet.up[{level}]", [2 * outputs] * blocks, *parts))
                if level + 1 < len(widths):
                    self.coarser.append(CONVOLUTIONS[dims](outputs, outputs, 2, stride=2))
                    self.finer.append(TRANSPOSED[dims](widths[level + 1], outputs, 2, stride=2))
                channels = outputs
            self.norm = nn.GroupNorm(groups_for(width * mults[0]), width * mults[0])
            self.out = zeroed(conv(dims, width * mults[0], out_channels, 3, padding))

    def forward(self, x: Tensor, log_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from noisy samples.

        Args:
            x: shape ``(batch, in_channels, *space)``, scaled to unit variance; sizes divisible by ``2**(levels - 1)``.
            log_noise: log(sigma / alpha), shape ``(batch,)`` or a single number.
            cond: shape ``(batch, cond_channels, *space)``.

        Returns:
            Shape ``(batch, out_channels, *space)``.

        Raises:
            InvalidInput: a shape that does not fit; the message names the layer.
        """
        h = join("UNet.stem", x, cond, *self.shape)
        embedding = self.embedding(check_noise("UNet.embedding", log_noise, len(x)))
        _check_grid(x.shape, len(self.down))
        h, skips = channels_last(self.stem(h)), []
        for level, stage in enumerate(self.down):
            h = stage(h, embedding, keep=skips)
            if level < len(self.coarser):
                h = self.coarser[level](h)
        h = self.middle(h, embedding)
        for level in reversed(range(len(self.up))):
            if level < len(self.finer):
                h = self.finer[level](h)
            h = self.up[level](h, embedding, short_cuts=skips)
        return self.out(silu(self.norm(h)))


class Stage(nn.Module):
    """The residual blocks of one level, each followed by attention where wanted.

    Args:
        name: the stage's name, for messages.
        inputs: channels that come into each block.
        outputs: channels that leave each block.
        embedding: length of the noise embedding.
        dims: number of space axes.
        heads: attention heads, 0 for no attention.
        padding: ``"circular"`` or ``"zeros"``.
        dropout: probability inside every block.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: int,
        embedding: int,
        dims: int,
        heads: int,
        padding: str,
        dropout: float,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(n, outputs, embedding, dims, padding, dropout) for n in inputs)
        self.attention = nn.ModuleList(
            Attention(f"{name}.attention", outputs, heads, dims) if heads else nn.Identity() for _ in inputs
        )

    def forward(
        self, h: Tensor, embedding: Tensor, keep: list[Tensor] | None = None, short_cuts: list[Tensor] | None = None
    ) -> Tensor:
        """Run the blocks; append every result to ``keep``, and take one of ``short_cuts`` into each block."""
        for block, attend in zip(self.blocks, self.attention, strict=True):
            if short_cuts is not None:
                h = torch.cat([h, short_cuts.pop()], 1)
            h = attend(block(h, embedding))
            if keep is not None:
                keep.append(h)
        return h


def _check(mults: tuple, attention: tuple, dropout: float, padding: str, dims: int, **positive: int) -> None:
    check_options("UNet", padding=padding, dims=dims, **positive)
    if not mults or any(isinstance(m, bool) or not isinstance(m, int) or m < 1 for m in mults):
        raise InvalidInput(f"UNet: mults is {mults!r}; give one positive integer a level, such as (1, 2, 2).")
    if any(level not in range(len(mults)) for level in attention):
        raise InvalidInput(
            f"UNet: attention is {attention!r}; the levels of mults={mults!r} are 0 to {len(mults) - 1}."
        )
    if not 0 <= dropout < 1:
        raise InvalidInput(f"UNet: dropout is {dropout!r}; give a probability from 0 to below 1.")


def _check_grid(shape: torch.Size, levels: int) -> None:
    for level in range(levels - 1):
        sizes = [size // 2**level for size in shape[2:]]
        if any(size % 2 for size in sizes):
            raise InvalidInput(
                f"UNet.coarser[{level}] halves the grid, which is {' x '.join(map(str, sizes))} at level {level}; "
                f"x has shape {tuple(shape)}, expected sizes divisible by {2 ** (levels - 1)} or fewer levels in mults."
            )
