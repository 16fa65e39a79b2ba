"""The parts that networks are made of: convolution, normalisation with FiLM, residual block, attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavelab.errors import InvalidInput
from wavelab.networks.periodic import LAYOUTS, PERIODIC

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
LARGEST_GROUPS = 32
SMALLEST_GROUP = 4  # channels; fewer would normalise away what distinguishes the channels


def groups_for(channels: int) -> int:
    """Return the most groups, up to 32, that cut the channels evenly into parts of at least 4."""
    fits = [g for g in range(1, LARGEST_GROUPS + 1) if channels % g == 0 and channels // g >= SMALLEST_GROUP]
    return max(fits, default=1)


def conv(
    dims: int, inputs: int, outputs: int, size: int = 3, padding: str = "circular", dilation: int = 1
) -> nn.Module:
    """Return a convolution that keeps the grid's size."""
    pad = dilation * (size // 2)
    kind = PERIODIC if pad and padding == "circular" else CONVOLUTIONS
    return kind[dims](inputs, outputs, size, padding=pad, dilation=dilation)


def channels_last(x: Tensor) -> Tensor:
    """Store the channels of a grid point side by side, which convolutions read fastest; the values stay."""
    form = LAYOUTS.get(x.ndim - 2)
    return x.contiguous(memory_format=form) if form else x


def silu(x: Tensor) -> Tensor:
    """Return ``x * sigmoid(x)``; without gradients in place, so ``x`` must not be used again."""
    return F.silu(x, inplace=not torch.is_grad_enabled())


def zeroed(layer: nn.Module) -> nn.Module:
    """Set a layer's parameters to zero and return it: a block that starts as nothing, an output that starts at 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class NoiseEmbedding(nn.Module):
    r"""Turn the log noise level into a vector: sines and cosines, then two layers.

    .. math:: \sin(\omega_k \ell), \cos(\omega_k \ell), \qquad \omega_k = \pi / 14 \cdots 2\pi \text{ geometric}

    Noise levels lie in about :math:`[-7, 7]`. The slowest pair turns half a circle over that range, so it tells all
    levels apart; the fastest resolves differences of a fraction of 1.

    Args:
        width: length of the vector.
        frequencies: number of pairs.
    """

    def __init__(self, width: int, frequencies: int = 16) -> None:
        super().__init__()
        omega = (torch.pi / 14) * 28 ** torch.linspace(0, 1, frequencies)
        self.register_buffer("omega", omega, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, log_noise: Tensor) -> Tensor:
        """Map shape ``(batch,)`` to ``(batch, width)``."""
        angle = log_noise.to(self.omega)[:, None] * self.omega
        return self.layers(torch.cat([angle.sin(), angle.cos()], 1))


class FiLM(nn.Module):
    r"""Group normalisation whose scale and shift depend on the noise level.

    .. math:: y = (1 + a(\ell)) \, \mathrm{GN}(x) + b(\ell)

    Args:
        channels: channels of x.
        embedding: length of the noise embedding.

    Source:
        Perez et al. (2018), FiLM: visual reasoning with a general conditioning layer.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.groups = groups_for(channels)
        self.affine = nn.Linear(embedding, 2 * channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Normalise ``x``, shape ``(batch, channels, *space)``, given ``(batch, embedding)``."""
        scale, shift = self.affine(embedding).unflatten(1, (2, x.shape[1], *[1] * (x.ndim - 2))).unbind(1)
        return torch.addcmul(shift, F.group_norm(x, self.groups), 1 + scale)


class ResBlock(nn.Module):
    """Two convolutions beside the identity, the second one told the noise level by FiLM.

    Args:
        inputs: channels that come in.
        outputs: channels that go out; where they differ, a 1-wide convolution stands for the identity.
        embedding: length of the noise embedding.
        dims: number of space axes.
        padding: ``"circular"`` or ``"zeros"``.
        dropout: probability between the two convolutions.
        dilation: of the first convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, dims: int, padding: str, dropout: float = 0, dilation: int = 1
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups_for(inputs), inputs)
        self.conv1 = conv(dims, inputs, outputs, 3, padding, dilation)
        self.film = FiLM(outputs, embedding)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(conv(dims, outputs, outputs, 3, padding))
        self.skip = nn.Identity() if inputs == outputs else conv(dims, inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map ``(batch, inputs, *space)`` to ``(batch, outputs, *space)``."""
        h = self.conv1(silu(self.norm(x)))
        h = self.conv2(self.dropout(silu(self.film(h, embedding))))
        return self.skip(x) + h


class Attention(nn.Module):
    """Self-attention over all positions of the grid, beside the identity.

    Second derivatives, which implicit score matching takes, want torch's plain kernel: run both passes within
    ``torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)``.

    Args:
        name: the layer's name, for messages.
        channels: channels of x.
        heads: number of heads; must divide the channels.
        dims: number of space axes.

    Source:
        Vaswani et al. (2017), Attention is all you need.
    """

    def __init__(self, name: str, channels: int, heads: int, dims: int) -> None:
        super().__init__()
        if channels % heads:
            raise InvalidInput(
                f"{name}: {heads} heads do not divide {channels} channels; choose heads or width to fit."
            )
        self.heads = heads
        self.norm = nn.GroupNorm(groups_for(channels), channels)
        self.qkv = conv(dims, channels, 3 * channels, 1)
        self.project = zeroed(conv(dims, channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, *space)`` to the same shape."""
        # (batch, 3, heads, positions, channels a head)
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(3, 4)
        out = F.scaled_dot_product_attention(*qkv.unbind(1))
        return x + self.project(out.transpose(2, 3).reshape(x.shape))
