r"""The wavelet sub-network: a convolutional network whose down- and up-sampling is an exact wavelet transform.

Pooling loses what it averages away. An orthonormal transform halves the grid as well, but turns every 2 x 2 block into
four channels and loses nothing. Chapter "Learning from noisy data" uses it to denoise without clean images.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from wavelab.errors import InvalidInput
from wavelab.medical.learned import for_relu
from wavelab.networks.base import Network, check_options, join, seeded
from wavelab.networks.layers import conv, zeroed
from wavelab.wavelets import dwt, filters, idwt, pack, unpack

AROUND = (2, 1)  # dilations of the two convolutions of every block
DEEPEST = (2, 3, 3, 2)  # and of the block at the coarsest grid


class MWCNN(Network):
    r"""Multi-level wavelet CNN: blocks of dilated convolutions on grids that a wavelet transform halves.

    .. math::
        x_0 = D_0(\mathrm{head}\,x),\quad x_j = D_j(\mathcal W x_{j-1});\qquad
        u_{L-1} = \mathcal W^\top P(\mathcal W x_{L-1}) + x_{L-1},\quad
        u_{j-1} = \mathcal W^\top I_j(u_j) + x_{j-1};\qquad
        f(x) = x + \mathrm{tail}\,I_0(u_0)

    :math:`\mathcal W` is one level of the periodised orthonormal transform with the four sub-bands packed on channels.
    Every convolution is 3 x 3, padded with zeros, with a bias, and followed by a ReLU; the tail is linear and starts at
    zero, so a fresh network is the identity. There is no normalisation. Grid ``j`` has ``width * 2**j`` channels.

    Args:
        channels: channels of an image.
        width: channels at the finest grid.
        levels: transforms, one after the other, at least 1.
        wavelet: an orthogonal PyWavelets name; the published network has Haar's.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option, or a wavelet that is not orthogonal.
        UnknownName: there is no such wavelet.

    Source:
        Liu et al. (2018), Multi-level wavelet-CNN for image restoration. The dilations are those of the network in the
        code that Wu et al. (2023) released, which has ``channels=10, width=64, levels=3``.
    """

    def __init__(
        self, channels: int = 1, width: int = 16, levels: int = 2, *, wavelet: str = "haar", seed: int = 0
    ) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("MWCNN", channels=channels, width=width, levels=levels)
        if not filters(wavelet).orthogonal or wavelet == "dmey":  # dmey is so to two decimals only
            raise InvalidInput(f"MWCNN: {wavelet} is not orthogonal; take an orthogonal wavelet such as haar or db4.")
        widths = [width << j for j in range(levels + 1)]
        packed = [4 * w for w in widths]
        with seeded(seed):
            self.head = _Block([channels, width], [1])
            self.down = nn.ModuleList([_Block([width] * 3, AROUND)])
            self.down.extend(_Block([packed[j - 1], *[widths[j]] * 3], (1, *AROUND)) for j in range(1, levels))
            self.middle = _Block([packed[-2], *[widths[-1]] * 5, packed[-2]], (1, *DEEPEST, 1))
            self.up = nn.ModuleList([_Block([width] * 3, AROUND)])
            self.up.extend(_Block([*[widths[j]] * 3, packed[j - 1]], (*AROUND, 1)) for j in range(1, levels))
            self.tail = zeroed(conv(2, width, channels, 3, "zeros"))

    def forward(self, x: Tensor) -> Tensor:
        """Improve images.

        Args:
            x: shape ``(batch, channels, height, width)``; sizes divisible by ``2**levels``.

        Returns:
            The same shape.

        Raises:
            InvalidInput: a shape that does not fit; the message names the layer.
        """
        h = self.head(join("MWCNN.head", x, None, self.config["channels"], 0, 2))
        self._check_grid(x)
        outputs = []
        for j, block in enumerate(self.down):
            h = block(self._halve(h) if j else h)
            outputs.append(h)
        h = self._double(self.middle(self._halve(h))) + outputs[-1]
        for j in reversed(range(1, len(self.up))):
            h = self._double(self.up[j](h)) + outputs[j - 1]
        return x + self.tail(self.up[0](h))

    def _halve(self, x: Tensor) -> Tensor:
        """Transform one level: ``(batch, c, h, w)`` to ``(batch, 4 c, h / 2, w / 2)``, LL of all channels first."""
        approx, (detail,) = dwt(x, self.config["wavelet"])
        return pack(approx, detail)

    def _double(self, x: Tensor) -> Tensor:
        """Invert :meth:`_halve`."""
        approx, detail = unpack(x)
        return idwt(approx, [detail], self.config["wavelet"])

    def _check_grid(self, x: Tensor) -> None:
        step = 2 ** self.config["levels"]
        if any(size % step or not size for size in x.shape[2:]):
            raise InvalidInput(
                f"MWCNN.middle: x has shape {tuple(x.shape)}; {self.config['levels']} levels need sizes divisible by "
                f"{step}: crop, pad, or make the network with fewer levels."
            )


class _Block(nn.Module):
    """Dilated 3 x 3 convolutions, each followed by a ReLU.

    Args:
        widths: channels before, between and after the convolutions.
        dilations: one a convolution.
    """

    def __init__(self, widths: list[int], dilations: tuple[int, ...] | list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            for_relu(conv(2, inputs, outputs, 3, "zeros", dilation))
            for inputs, outputs, dilation in zip(widths[:-1], widths[1:], dilations, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, widths[0], height, width)`` to ``(batch, widths[-1], height, width)``."""
        for layer in self.layers:
            x = F.relu(layer(x), inplace=True)
        return x
