r"""Networks that learn reconstruction from pairs: RED-CNN, a cascade with data consistency, learned primal-dual.

All see clean images in training, by :func:`supervised`. Images are ``(batch, 1, height, width)``; scale them so that
their values are about one, since that is what fresh weights are made for. Borders are padded with zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavelab.errors import InvalidInput
from wavelab.medical.mri import MRI
from wavelab.networks.base import Network, check_options, join, seeded
from wavelab.networks.layers import conv, zeroed


def supervised(physics=None) -> Callable[..., Tensor]:
    r"""Return the loss :math:`\mathbb E\,\lVert f(\text{inputs})-x\rVert^2/d` for :func:`wavelab.training.train`.

    A batch is ``(*inputs, clean)``. The network is called ``model(*inputs)``, or with physics
    ``model(inputs[0], physics, *inputs[1:])``: ``(noisy, clean)`` fits :class:`REDCNN`, ``(y, clean)`` with a scan
    :class:`DataConsistencyCascade`, and ``(y, start, clean)`` :class:`PrimalDual`.

    Args:
        physics: the operator that all batches were measured with.

    Raises:
        InvalidInput: (when the loss is called) a batch without inputs, or an output of another shape.
    """

    def loss(model: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        if not isinstance(batch, tuple | list) or len(batch) < 2:
            raise InvalidInput(f"The batch is a {type(batch).__name__}; give data as a tuple of inputs, then targets.")
        first, *rest, clean = batch
        output = model(first, *rest) if physics is None else model(first, physics, *rest)
        if output.shape != clean.shape:
            raise InvalidInput(f"{type(model).__name__} gave {tuple(output.shape)} for clean {tuple(clean.shape)}.")
        return (output - clean).abs().square().mean()

    return loss


def for_relu(layer: nn.Module) -> nn.Module:
    """Draw a convolution's weights so that ReLU layers keep the signal's power, and set its bias to 0.

    Source:
        He et al. (2015), Delving deep into rectifiers.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


class REDCNN(Network):
    r"""Residual encoder-decoder: convolutions, as many transposed ones, and short cuts between them; no pooling.

    .. math:: e_i = \mathrm{relu}(C_i e_{i-1}),\quad e_0 = x;\qquad
              d_i = \mathrm{relu}\big(T_i d_{i+1} + e_{i-1}\,[i \text{ odd}]\big),\quad d_{L+1} = e_L

    The output :math:`d_1` is a ReLU's, so images must not be negative. The last layer starts at zero: a fresh network
    returns such images unchanged. Unlike the published network, whose convolutions shrink the grid and whose
    transposed ones grow it back, every layer is padded and keeps it. The published size is ``width=96``.

    Args:
        channels: channels of an image.
        width: channels inside.
        layers: convolutions, and transposed convolutions.
        kernel: width of each, odd.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.

    Source:
        Chen et al. (2017), Low-dose CT with a residual encoder-decoder convolutional neural network.
    """

    def __init__(self, channels: int = 1, width: int = 32, layers: int = 5, kernel: int = 5, *, seed: int = 0) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("REDCNN", **options)
        if kernel % 2 == 0:
            raise InvalidInput(f"REDCNN: kernel is {kernel}; give an odd one, which keeps the grid.")
        widths = [channels] + [width] * layers
        with seeded(seed):
            self.encoder = nn.ModuleList(
                for_relu(conv(2, inputs, outputs, kernel, "zeros")) for inputs, outputs in pairwise(widths)
            )
            self.decoder = nn.ModuleList(  # decoder[i] comes back to the grid of encoder[i]'s input
                for_relu(nn.ConvTranspose2d(outputs, inputs, kernel, padding=kernel // 2))
                for inputs, outputs in pairwise(widths)
            )
            zeroed(self.decoder[0])

    def forward(self, x: Tensor) -> Tensor:
        """Improve images, shape ``(batch, channels, height, width)``, not negative.

        Raises:
            InvalidInput: a shape that does not fit.
        """
        h, outputs = join("REDCNN.encoder[0]", x, None, self.config["channels"], 0, 2), []
        for layer in self.encoder:
            outputs.append(h)
            h = F.relu(layer(h))
        for i in reversed(range(len(self.decoder))):
            h = self.decoder[i](h)
            h = F.relu(h + outputs[i] if i % 2 == 0 else h)
        return h


class DataConsistencyCascade(Network):
    r"""Small residual networks in a row, each followed by the scan's closed-form data consistency; for MRI.

    .. math:: z = x_k + C_k x_k,\qquad x_{k+1} = z + \tfrac1{1+\rho_k}\,\big(P_y z - z\big),\qquad x_0 = A^* y

    where :math:`P_y z` (:meth:`wavelab.medical.mri.MRI.prox` of weight 0) has the measured points of ``y`` and the
    others of ``z``. For :math:`\rho_k=0` what is measured stays exactly as it is. A fresh exact cascade returns
    :meth:`wavelab.medical.mri.MRI.least_squares`, since the last layer of each network starts at zero. With 5 layers
    and 5 cascades this is the kind called D5C5.

    Args:
        width: channels inside.
        depth: 3 x 3 convolutions of each network, at least 2.
        cascades: networks in a row.
        channels: 1 for real images, 2 for complex ones (their real and imaginary parts).
        weight: 0 for exact consistency; or the positive number at which each cascade's learned :math:`\rho_k` starts.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.

    Source:
        Schlemper et al. (2018), A deep cascade of convolutional neural networks for dynamic MR image reconstruction.
    """

    def __init__(
        self,
        width: int = 32,
        depth: int = 5,
        cascades: int = 5,
        *,
        channels: int = 1,
        weight: float = 0.0,
        seed: int = 0,
    ) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("DataConsistencyCascade", width=width, depth=depth, cascades=cascades, channels=channels)
        _check_cascade(depth, channels, weight)
        with seeded(seed):
            self.networks = nn.ModuleList(_residual(channels, width, depth) for _ in range(cascades))
        if weight:
            self.log_weight = nn.Parameter(torch.full((cascades,), math.log(weight)))

    def forward(self, y: Tensor, scan: MRI) -> Tensor:
        """Reconstruct from k-space.

        Args:
            y: shape ``(batch, 1, height, width)``, complex, 0 where nothing is measured.
            scan: the scan; real where ``channels`` is 1, complex where it is 2.

        Returns:
            Images ``(batch, 1, height, width)``, real or complex as the scan's.

        Raises:
            InvalidInput: k-space of another scan, or a scan of the other kind of images.
        """
        channels, kind = self.config["channels"], ("real", "complex")[self.config["channels"] - 1]
        if not isinstance(scan, MRI) or scan.real != (channels == 1):
            raise InvalidInput(f"DataConsistencyCascade: with channels={channels} give an MRI of {kind} images.")
        join("DataConsistencyCascade: k-space", _to_channels(y), None, 2, 0, 2)
        x = scan.A_adjoint(y)
        for k, network in enumerate(self.networks):
            z = x + _from_channels(network(_to_channels(x)), x)
            x = scan.prox(y, z, 0)
            if self.config["weight"]:
                x = z + torch.sigmoid(-self.log_weight[k]) * (x - z)  # the share 1 / (1 + rho)
        return x


class PrimalDual(Network):
    r"""Learned primal-dual: the steps of a primal-dual method, with networks in place of its proximal maps.

    .. math:: h \leftarrow h + \Gamma_k\big(h, \tfrac1c A f^{(m)}, \tfrac1c y\big),\qquad
              f \leftarrow f + \Lambda_k\big(f, \tfrac1c A^* h^{(1)}\big)

    with memories :math:`f^{(1)},\dots,f^{(m)}` of images, which start as copies of a first reconstruction, and
    :math:`h` of measurements, which start at 0; :math:`f^{(1)}` is the result. Each iteration has weights of its own.
    The last layer of each :math:`\Lambda_k` starts at zero: a fresh network returns the first reconstruction.

    It works with sinograms, and with k-space of real images as two channels, real and imaginary; not complex images.

    Args:
        width: channels inside.
        iterations: of both steps.
        memory: channels :math:`m` of either memory.
        data_channels: 1 for sinograms, 2 for k-space.
        norm: :math:`c`, the operator's norm: the square root of :func:`wavelab.medical.classical.norm`; 1 for MRI.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.

    Source:
        Adler & Öktem (2018), Learned primal-dual reconstruction.
    """

    def __init__(
        self, width: int = 32, iterations: int = 5, memory: int = 5, *, data_channels: int = 1, norm: float = 1.0,
        seed: int = 0
    ) -> None:  # fmt: skip
        options = self.chosen(locals())
        super().__init__(options)
        check_options("PrimalDual", width=width, iterations=iterations, memory=memory, data_channels=data_channels)
        _check_primal_dual(memory, data_channels, norm)
        with seeded(seed):
            self.dual = nn.ModuleList(_update(memory + 2 * data_channels, width, memory) for _ in range(iterations))
            self.primal = nn.ModuleList(_update(memory + 1, width, memory) for _ in range(iterations))
            for network in self.primal:
                zeroed(network[-1])

    def forward(self, y: Tensor, physics, start: Tensor) -> Tensor:
        """Reconstruct from measurements.

        Args:
            y: sinograms ``(batch, 1, views, bins)``, or k-space ``(batch, 1, height, width)``.
            physics: the operator: ``A`` and ``A_adjoint``.
            start: a first reconstruction, ``(batch, 1, height, width)``.

        Returns:
            Images ``(batch, 1, height, width)``.

        Raises:
            InvalidInput: shapes that do not fit, or measurements of the other kind.
        """
        count, norm = self.config["data_channels"], self.config["norm"]
        join("PrimalDual.primal[0]", start, None, 1, 0, 2)
        data = join("PrimalDual.dual[0]", _to_channels(y), None, count, 0, 2) / norm
        f = start.repeat(1, self.config["memory"], 1, 1)
        h = data.new_zeros(len(data), self.config["memory"], *data.shape[2:])
        for dual, primal in zip(self.dual, self.primal, strict=True):
            measured = _like(data, _to_channels(physics.A(f[:, -1:]))) / norm
            h = h + dual(_channels_last(h, measured, data))
            back = physics.A_adjoint(_from_channels(h[:, :count], y)) / norm
            f = f + primal(_channels_last(f, back))
        return f[:, :1]


def _residual(channels: int, width: int, depth: int) -> nn.Sequential:
    """Return 3 x 3 convolutions with ReLU between them, the last one zero."""
    inputs = [channels] + [width] * (depth - 2)
    layers = [layer for n in inputs for layer in (for_relu(conv(2, n, width, 3, "zeros")), nn.ReLU())]
    return nn.Sequential(*layers, zeroed(conv(2, width, channels, 3, "zeros")))


def _update(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return three 3 x 3 convolutions with PReLU between them."""
    widths = (inputs, width, width, outputs)
    first, second, third = (conv(2, a, b, 3, "zeros") for a, b in pairwise(widths))
    return nn.Sequential(first, nn.PReLU(width), second, nn.PReLU(width), third)


def _channels_last(*parts: Tensor) -> Tensor:
    """Join tensors along the channels, in the layout of memory that convolutions of few channels are fastest with."""
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last)


def _to_channels(x: Tensor) -> Tensor:
    """Turn ``(batch, 1, ...)`` complex into ``(batch, 2, ...)``, real and imaginary; real tensors stay."""
    return torch.cat([x.real, x.imag], 1) if x.is_complex() else x


def _from_channels(x: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`_to_channels` where ``like`` is complex."""
    return torch.complex(x[:, :1], x[:, 1:]) if like.is_complex() else x


def _like(data: Tensor, measured: Tensor) -> Tensor:
    if measured.shape != data.shape:
        sizes = f"y has shape {tuple(data.shape)}, but physics measures {tuple(measured.shape)}"
        raise InvalidInput(f"PrimalDual.dual: {sizes} of start; give y of this geometry, and as many starts.")
    return measured


def _check_cascade(depth: int, channels: int, weight: float) -> None:
    if depth < 2 or channels > 2 or not 0 <= weight < math.inf:
        raise InvalidInput(
            f"DataConsistencyCascade: depth is {depth}, channels {channels}, weight {weight!r}; give at least 2 "
            "convolutions, 1 channel for real images or 2 for complex ones, and a weight that is not negative."
        )


def _check_primal_dual(memory: int, data_channels: int, norm: float) -> None:
    if data_channels > 2 or memory < data_channels or not 0 < norm < math.inf:
        raise InvalidInput(
            f"PrimalDual: data_channels is {data_channels}, memory {memory}, norm {norm!r}; give 1 for sinograms or 2 "
            "for k-space, a memory at least as large, and the operator's norm, a positive number."
        )
