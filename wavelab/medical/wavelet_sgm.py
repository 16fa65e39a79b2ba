r"""Scores from noisy images: the losses of the wavelet-improved score model and of what it is compared with.

Training images are :math:`y=x+n` with noise of known covariance :math:`\Sigma`, white in MRI, coloured after filtered
back-projection. Noise levels :math:`\sigma` are those of a variance-exploding process. Every function here returns a
``loss(model, batch, generator)`` for :func:`wavelab.training.train`. Chapter "Learning from noisy data" derives them.

=========  ==============================================================================================
mode       how the score learns
=========  ==============================================================================================
clean      :func:`score_loss` on clean images: the upper bound
noisy      :func:`score_loss` on noisy images: the score of the noisy images, wrong below their noise
relabel    :func:`relabel_loss` on noisy images: exact, above their noise only
paper      :func:`score_loss` of a :class:`FrontEnd` on noisy images, then :func:`feedback_loss`: as released
wavelet    :func:`sure_loss` for the wavelet network ``W``, then :func:`score_loss` on ``W(y)`` or what feedback gives
hybrid     :func:`relabel_loss` with ``clean``: exact above the noise, wavelet or feedback images below
=========  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wavelab.diffusion import Process, to_denoised
from wavelab.diffusion.objectives import predict
from wavelab.diffusion.times import normal
from wavelab.errors import InvalidInput
from wavelab.networks import Network, build

Loss = Callable[[nn.Module, object, torch.Generator], Tensor]


def score_loss(process: Process, low: float, high: float) -> Loss:
    r"""Return the denoising loss on a batch of images, with :math:`\log\sigma` uniform.

    .. math:: \mathbb E\,\|\hat\epsilon(x+\sigma z,\sigma)-z\|^2/d

    Args:
        process: the variance-exploding process.
        low: smallest noise level.
        high: largest.

    Raises:
        InvalidInput: noise levels that are not positive or not in order.
    """
    return relabel_loss(process, low, high, 0.0)


def relabel_loss(
    process: Process, low: float, high: float, spectrum: float | Tensor, *, clean: bool = False, border: float = 1.0
) -> Loss:
    r"""Return the loss that learns the score of *clean* images from noisy ones, for noise above theirs.

    Noise of spectrum :math:`C=\sigma^2-S` on top of an image's own, of spectrum :math:`S`, makes white noise of level
    :math:`\sigma`, so the score at :math:`x_t=y+C^{1/2}z` is that of clean images. The network's :math:`\hat\epsilon`
    is that of the whole noise; all that is known of the noise is the part that was added:

    .. math:: \mathbb E\,\big\|\sigma^{-1}C^{1/2}\,\hat\epsilon(x_t,\sigma)-z\big\|^2/d

    has its minimum at :math:`\hat\epsilon=\mathbb E[x_t-x|x_t]/\sigma`. With :math:`S=0` it is the usual loss. Images
    are flipped left to right at random, and :math:`S` is taken to be symmetric under that, as that of a full turn is.

    Args:
        process: the variance-exploding process.
        low: smallest noise level; the largest value of :math:`S^{1/2}` takes its place where that is larger.
        high: largest noise level.
        spectrum: variance :math:`S` of the noise at each frequency of the orthonormal transform, ``(height, width)`` as
            :func:`torch.fft.fft2` orders it, or one number for white noise.
        clean: whether a batch is a pair, noisy images and estimates of the clean ones. Below ``border`` times the
            largest :math:`S^{1/2}` the second is noised, as if it were clean.
        border: see ``clean``; at least 1.

    Raises:
        InvalidInput: noise levels or a spectrum out of range.

    Source:
        For white noise the identity is standard: the sum of two independent Gaussians is Gaussian.
    """
    spectrum = torch.as_tensor(spectrum, dtype=torch.float32)
    _check_levels(low, high, border)
    if not bool((spectrum >= 0).all()) or not bool(torch.isfinite(spectrum).all()):
        raise InvalidInput("spectrum must hold finite variances, at least 0, one a frequency.")
    floor = border * float(spectrum.max()) ** 0.5
    if floor >= high:
        raise InvalidInput(f"The noise of the images reaches {floor:.3g}; no level up to {high} lies above it.")
    lowest = low if clean else max(low, 1.001 * floor)

    def loss(model, batch, generator):
        images = flipped(batch, generator)
        sigma = _log_uniform(len(images[0]), lowest, high, generator)
        own = spectrum.to(sigma.device).expand(len(sigma), 1, *(spectrum.shape or (1, 1)))
        start = images[0]
        if clean:
            below = (sigma <= floor)[:, None, None, None]
            start, own = torch.where(below, images[1], images[0]), torch.where(below, 0.0, own)
        gain = (1 - own / sigma[:, None, None, None] ** 2).clamp_min(0).sqrt()
        z = normal(start, generator)
        x_t = start + sigma[:, None, None, None] * filtered(z, gain)
        return (filtered(noise_estimate(model, process, x_t, sigma), gain) - z).square().mean()

    return loss


def noise_estimate(model: nn.Module, process: Process, x_t: Tensor, sigma: Tensor) -> Tensor:
    r"""Return :math:`\hat\epsilon=(x_t-\hat x)/\sigma` of a network that predicts v."""
    t = process.time(sigma.log())
    denoised = to_denoised(predict(model, process, x_t, t), x_t, t, process, "v")
    return (x_t - denoised) / sigma[:, None, None, None]


def filtered(x: Tensor, gain: Tensor) -> Tensor:
    """Multiply the Fourier coefficients of images by ``gain``, real and even, or images by a number a sample."""
    if gain.shape[-1] == 1:
        return gain * x
    return torch.fft.ifft2(gain * torch.fft.fft2(x)).real


def noise_spectrum(samples: Tensor) -> Tensor:
    r"""Estimate the spectrum :math:`S` of noise from samples of it, ``(samples, 1, height, width)``.

    Returns:
        The mean square of each orthonormal Fourier coefficient, ``(height, width)``; it sums to the mean energy.
    """
    power = torch.fft.fft2(samples, norm="ortho").abs().square().mean((0, 1))
    return (power + power.flip((0, 1)).roll((1, 1), (0, 1))) / 2  # an image is real: the spectrum is even


def sure_loss(probe: Callable[[Tensor, torch.Generator], Tensor], step: float = 0.05) -> Loss:
    r"""Return Stein's estimate of a denoiser's error, which needs no clean image and holds for coloured noise.

    .. math:: \mathbb E\|f(y)-x\|^2 = \mathbb E\|f(y)-y\|^2 - \operatorname{Tr}\Sigma
              + 2\,\mathbb E\,b^\top\frac{f(y+hb)-f(y)}{h}, \qquad b\sim\mathcal N(0,\Sigma)

    up to terms of order :math:`h`. The trace is left out: it is constant.

    Args:
        probe: ``probe(batch, generator)`` draws :math:`b` for the images ``batch[0]`` from the rest of the batch, such
            as standard deviations.
        step: :math:`h`, so that ``h * b`` is a small part of the noise.

    Raises:
        InvalidInput: a step that is not positive.

    Source:
        Stein (1981), Estimation of the mean of a multivariate normal distribution; the random probe: Ramani, Blu &
        Unser (2008), Monte-Carlo SURE.
    """
    if not step > 0 or not math.isfinite(step):
        raise InvalidInput(f"step is {step!r}; give a positive number, such as 0.05.")

    def loss(model, batch, generator):
        y, b = flipped((batch[0], probe(batch, generator)), generator)
        value = model(y)
        divergence = (b * (model(y + step * b) - value)).mean() / step
        return (value - y).square().mean() + 2 * divergence

    return loss


def recorrupted_loss(probe: Callable[[Tensor, torch.Generator], Tensor], alpha: float = 0.5) -> Loss:
    r"""Return the recorrupted-to-recorrupted loss: two noisy versions whose noises are independent.

    .. math:: \mathbb E\|f(y+\alpha b)-(y-b/\alpha)\|^2, \qquad b\sim\mathcal N(0,\Sigma)

    It is the supervised loss at noise of covariance :math:`(1+\alpha^2)\Sigma` plus a constant.

    Args:
        probe: as in :func:`sure_loss`.
        alpha: how much noisier the input becomes.

    Raises:
        InvalidInput: ``alpha`` is not positive.

    Source:
        Pang, Zheng, Quan & Ji (2021), Recorrupted-to-recorrupted: unsupervised deep learning for image denoising.
    """
    if not alpha > 0 or not math.isfinite(alpha):
        raise InvalidInput(f"alpha is {alpha!r}; give a positive number, such as 0.5.")

    def loss(model, batch, generator):
        y, b = flipped((batch[0], probe(batch, generator)), generator)
        return (model(y + alpha * b) - (y - b / alpha)).square().mean()

    return loss


def feedback_loss(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
    r"""Return the feedback to the wavelet network, :math:`\|W(y)-\hat x\|^2/d`, for pairs of image and reconstruction.

    Source:
        Wu et al. (2023): reconstructions of the training images, made with the score, teach the wavelet network.
    """
    y, reconstruction = flipped(batch, generator)
    return (model(y) - reconstruction).square().mean()


class FrontEnd(Network):
    """A score network that looks at its input through a wavelet network, as in the released training.

    Args:
        score: configuration of the score network.
        wavelet: configuration of the wavelet network.
        seed: what the initial weights are drawn from.

    Attributes:
        active: whether the wavelet network is in use; the released code takes it away for reconstruction.

    Source:
        Wu et al. (2023).
    """

    def __init__(self, score: dict, wavelet: dict, seed: int = 0):
        """Build both networks."""
        super().__init__({"score": score, "wavelet": wavelet})
        self.score, self.wavelet = build(score, seed), build(wavelet, seed + 1)
        self.active = True

    def forward(self, x: Tensor, log_noise: Tensor, cond: Tensor | None = None) -> Tensor:
        """Predict from noisy images ``(batch, channels, height, width)``."""
        return self.score(self.wavelet(x) if self.active else x, log_noise, cond)


def flipped(batch: Tensor | tuple[Tensor, ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Flip each sample left to right with probability 1/2, all tensors of the batch alike."""
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    mirror = torch.rand(len(parts[0]), generator=generator, device=generator.device) < 0.5
    mirror = mirror[:, None, None, None].to(parts[0].device)
    return tuple(torch.where(mirror, part.flip(-1), part) for part in parts)


def _log_uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    u = torch.rand(count, generator=generator, device=generator.device)
    return low * (high / low) ** u


def _check_levels(low: float, high: float, border: float) -> None:
    if not 0 < low < high < math.inf:
        raise InvalidInput(f"The noise levels run from {low} to {high}; give positive numbers in order.")
    if not border >= 1:
        raise InvalidInput(f"border is {border!r}; give a number of at least 1.")
