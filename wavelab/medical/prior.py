r"""Deep image prior: an untrained network is fitted to one scan, and stopped before it fits the noise.

A convolutional network makes pictures sooner than it makes noise. When to stop is told by measurements that the fit
does not see: their noise is independent, so fitting the noise of the others makes their error rise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wavelab.errors import InvalidInput, TrainingDiverged
from wavelab.networks import build
from wavelab.networks.base import Network, check_options, join, seeded
from wavelab.networks.layers import conv, groups_for, zeroed

SLOPE = 0.1  # of the leaky ReLU
SHORT_CUT = 4  # channels
MIDDLE = 2  # points of k-space on either side of the zero frequency that are never held out
INPUT = 0.1  # the network's fixed input is uniform between 0 and this


class PriorNet(Network):
    """An encoder-decoder with narrow short cuts and bilinear up-sampling, about 120 000 parameters as it stands.

    Each level halves the grid by a strided 3 x 3 convolution and keeps the channels; the way back doubles it by
    interpolation, to any size. There is no short cut at the finest grid, where it would carry the random input straight
    to the picture. Group normalisation and a leaky ReLU follow every convolution but the last, which is linear and
    starts at zero. Borders are padded with zeros.

    Args:
        channels: channels of the picture.
        inputs: channels of the input.
        width: channels inside.
        levels: how often the grid is halved.
        seed: what the initial weights are drawn from.

    Raises:
        InvalidInput: an impossible option.

    Source:
        Ulyanov, Vedaldi & Lempitsky (2018), Deep image prior; smaller than theirs.
    """

    def __init__(self, channels: int = 1, inputs: int = 32, width: int = 32, levels: int = 4, *, seed: int = 0) -> None:
        options = self.chosen(locals())
        super().__init__(options)
        check_options("PriorNet", **options)
        widths = [inputs] + [width] * levels
        with seeded(seed):
            self.down = nn.ModuleList(_down(w, width) for w in widths[:-1])
            self.short = nn.ModuleList(_normed(conv(2, width, SHORT_CUT, 1), SHORT_CUT) for _ in range(levels - 1))
            self.up = nn.ModuleList(_up(width + SHORT_CUT * (level > 0), width) for level in range(levels))
            self.out = zeroed(conv(2, width, channels, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Make pictures ``(batch, channels, height, width)`` from inputs ``(batch, inputs, height, width)``.

        Raises:
            InvalidInput: a shape that does not fit, or a grid too small to be halved so often.
        """
        h = join("PriorNet.down[0]", z, None, self.config["inputs"], 0, 2)
        if min(z.shape[2:]) < 2 ** len(self.down):
            raise InvalidInput(
                f"PriorNet.down: z has shape {tuple(z.shape)}; {len(self.down)} levels need at least "
                f"{2 ** len(self.down)} points a side. Make the network with fewer levels."
            )
        sizes, outputs = [], []
        for down in self.down:
            sizes.append(h.shape[2:])
            h = down(h)
            outputs.append(h)
        for level in reversed(range(len(self.up))):
            h = F.interpolate(h, size=sizes[level], mode="bilinear", align_corners=False)
            if level:
                h = torch.cat([h, self.short[level - 1](outputs[level - 1])], 1)
            h = self.up[level](h)
        return self.out(h)


@dataclass(frozen=True)
class Fit:
    """What :func:`deep_image_prior` found.

    Attributes:
        image: the picture, shape ``(1, 1, height, width)``.
        step: after which step it was taken, from 1.
        errors: mean squared error of each step, shape ``(steps, 2)``: of the newest picture on the measurements that
            were fitted, and of the averaged one on those that were held out (NaN where none were).
    """

    image: Tensor
    step: int
    errors: Tensor


@torch.enable_grad()
def deep_image_prior(
    physics,
    y: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 1000,
    learning_rate: float = 0.01,
    noise: float = 0.03,
    average: float = 0.95,
    hold_out: float = 0.1,
    bounds: tuple[float, float] | None = None,
    weights: Tensor | None = None,
    network: dict[str, Any] | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Fit:
    r"""Fit a fresh network to the measurements of one image.

    .. math:: \min_\theta\ \big\|A f_\theta(z + \epsilon) - y\big\|^2_{W,\,\text{kept}},\qquad
              \bar x_k = m_k \bar x_{k-1} + (1 - m_k) f_{\theta_k}(z+\epsilon_k)

    by Adam. A random part of the measurements is held out; the returned picture is the :math:`\bar x_k` whose error
    on them is least. The error of :math:`\bar x_k` costs nothing: A is linear, so the measurements are averaged along.

    Args:
        physics: operator and adjoint, such as :class:`wavelab.medical.ct.CT`; with a ``mask``, as
            :class:`wavelab.medical.mri.MRI` has, only points within it count as measured.
        y: measurements of one image, ``(1, 1, ...)``.
        generator: source of the network's weights and input and of what is held out, on the device of ``y``.
        steps: steps of Adam.
        learning_rate: Adam's.
        noise: standard deviation of :math:`\epsilon`, drawn anew each step, as a multiple of the fixed input's range.
        average: :math:`m` of the running mean, 0 for none; the first steps use ``(1 + k) / (10 + k)`` instead.
        hold_out: share of the measurements that is held out, in k-space without its middle 5 x 5 points, which carry
            most of an image; with 0 the last picture is returned.
        bounds: smallest and greatest value of a real image, by a sigmoid. With None the network's output is only
            shifted and scaled to the grey and contrast of the scan.
        weights: of the measurements, such as the inverse of their variances; broadcast against them.
        network: options of :class:`PriorNet`, such as ``{"width": 16}``.
        callback: called with the number of the step, from 1, and :math:`\bar x_k`.

    Raises:
        TrainingDiverged: the error became NaN or infinite.
        InvalidInput: several images, NaN, or an option out of range.
        UnknownName: an option that PriorNet does not have.

    Source:
        Ulyanov, Vedaldi & Lempitsky (2018), Deep image prior; held-out stopping: the cross-validation of Yaman et al.
        (2022), Zero-shot self-supervised learning for MRI reconstruction.
    """
    _check_numbers(steps, learning_rate, noise, average, hold_out)
    shape, complex_image = _image_of(physics, y, bounds)
    model, z = _fresh(shape, complex_image, generator, y, network or {})
    picture = _pictures(physics, y, bounds)
    kept, held = _split(physics, y, weights, hold_out, generator)
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    mean, measured, errors, best = None, None, [], (math.inf, 0)
    for k in range(1, steps + 1):
        shaken = z + noise * INPUT * torch.randn(z.shape, generator=generator, device=z.device)
        x = picture(model(shaken))
        projected = physics.A(x)
        loss = _error(projected, y, kept)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        share = 1 - min(average, k / (9 + k))
        mean, measured = _towards(mean, x.detach(), share), _towards(measured, projected.detach(), share)
        errors.append((float(loss.detach()), float(_error(measured, y, held)) if hold_out else math.nan))
        _check_finite(k, errors[-1][: 2 if hold_out else 1], learning_rate)
        if not hold_out or errors[-1][1] < best[0]:
            best, image = (errors[-1][1], k), mean
        if callback:
            callback(k, mean)
    return Fit(image, best[1], torch.tensor(errors))


def _fresh(shape, complex_image: bool, generator: torch.Generator, y: Tensor, options: dict[str, Any]):
    """Return a network with weights drawn from the generator, and its fixed input."""
    seed = int(torch.randint(2**31, (), generator=generator, device=y.device))
    model = build({"class": "PriorNet", **options, "channels": 1 + complex_image}, seed).to(y.device)
    size = (1, model.config["inputs"], *shape[2:])
    return model, INPUT * torch.rand(size, generator=generator, device=y.device)


def _pictures(physics, y: Tensor, bounds: tuple[float, float] | None) -> Callable[[Tensor], Tensor]:
    """Return what turns the network's output into an image; an output of 0 becomes a flat one, as grey as the scan's.

    Grey and contrast are those of the best multiple of the adjoint, one step of steepest descent.
    """
    image = physics.A_adjoint(y)
    length = image.abs().square().sum() / physics.A(image).abs().square().sum()
    grey, contrast = length * image.mean(), length * image.std()
    if image.is_complex():
        return lambda output: grey + contrast * torch.complex(output[:, :1], output[:, 1:])
    if bounds is None:
        return lambda output: grey + contrast * output
    low, high = bounds
    start = ((grey - low) / (high - low)).clamp(0.05, 0.95).logit()
    return lambda output: low + (high - low) * torch.sigmoid(start + output)


def _split(physics, y: Tensor, weights: Tensor | None, share: float, generator: torch.Generator):
    """Return the weights of the measurements that are fitted and of those held out, each zero on the other's."""
    measured = getattr(physics, "mask", torch.ones(y.shape[-2:], dtype=torch.bool)).to(y.device)
    held = torch.zeros(measured.shape, dtype=torch.bool, device=y.device)
    if share:
        free = measured.clone()
        if y.is_complex():
            _middle(free).fill_(False)
        points = free.flatten().nonzero()[:, 0]
        order = torch.randperm(len(points), generator=generator, device=y.device)
        held.view(-1)[points[order[: max(1, round(share * len(points)))]]] = True
    weight = _weight(y, weights)
    kept, held = weight * (measured & ~held), weight * held
    if not kept.sum() > 0 or (share and not held.sum() > 0):
        raise InvalidInput("No measurement of positive weight is left to fit or to hold out; change hold_out.")
    return kept, held


def _middle(k: Tensor) -> Tensor:
    """Return a view of the middle of k-space: it is a few points that carry most of an image, and have no like."""
    rows, columns = (slice(max(0, n // 2 - MIDDLE), n // 2 + MIDDLE + 1) for n in k.shape[-2:])
    return k[..., rows, columns]


def _weight(y: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.ones_like(y.real)
    try:
        weight = weights.expand(y.shape)
    except RuntimeError:
        raise InvalidInput(
            f"weights has shape {tuple(weights.shape)}; give one that fits y, {tuple(y.shape)}."
        ) from None
    if not (weight >= 0).all() or not weight.isfinite().all():
        raise InvalidInput("weights holds negative, NaN or infinite values; give 0 where nothing is known.")
    return weight


def _towards(mean: Tensor | None, new: Tensor, share: float) -> Tensor:
    return new if mean is None else mean.lerp(new, share)


def _error(a: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    return (weight * (a - y).abs().square()).sum() / weight.sum()


def _normed(layer: nn.Module, channels: int) -> nn.Sequential:
    """Put group normalisation and a leaky ReLU behind a convolution."""
    return nn.Sequential(layer, nn.GroupNorm(groups_for(channels), channels), nn.LeakyReLU(SLOPE))


def _down(inputs: int, width: int) -> nn.Sequential:
    strided = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
    return nn.Sequential(_normed(strided, width), _normed(conv(2, width, width, 3, "zeros"), width))


def _up(inputs: int, width: int) -> nn.Sequential:
    mixed = conv(2, inputs, width, 3, "zeros")
    return nn.Sequential(_normed(mixed, width), _normed(conv(2, width, width, 1), width))


def _image_of(physics, y: Tensor, bounds: tuple[float, float] | None) -> tuple[tuple[int, ...], bool]:
    """Return the shape of an image of this scan and whether it is complex."""
    image = physics.A_adjoint(y)
    if tuple(image.shape[:-2]) != (1, 1):
        raise InvalidInput(f"y has shape {tuple(y.shape)}; give the measurements of one image, (1, 1, ...), a call.")
    if not torch.isfinite(image.abs()).all():
        raise InvalidInput("y holds NaN or infinite values; mend them first, for instance by zeros with weights of 0.")
    if not image.any():
        raise InvalidInput("y is all zero where something is measured; give the measurements of an image.")
    if bounds is not None and (image.is_complex() or not bounds[0] < bounds[1]):
        raise InvalidInput(f"bounds is {bounds!r}; give two increasing numbers, and None for complex images.")
    return tuple(image.shape), image.is_complex()


def _check_finite(step: int, errors: tuple[float, ...], learning_rate: float) -> None:
    if not all(map(math.isfinite, errors)):
        raise TrainingDiverged(
            f"Step {step} of the deep image prior gave an error of {errors[0]}. Lower the learning rate "
            f"({learning_rate}), or check measurements and weights for NaN."
        )


def _check_numbers(steps: int, learning_rate: float, noise: float, average: float, hold_out: float) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InvalidInput(f"steps is {steps!r}; give a positive whole number.")
    if not (0 < learning_rate < math.inf and 0 <= noise < math.inf):
        raise InvalidInput(f"learning_rate={learning_rate!r}, noise={noise!r}; give a positive and a not negative one.")
    if not (0 <= average < 1 and 0 <= hold_out < 1):
        raise InvalidInput(f"average={average!r}, hold_out={hold_out!r}; give shares from 0 to below 1.")
