r"""Gaussian fields with a power-law spectrum: the spectrum, samples, and the exact score at every diffusion time.

A stationary field on the periodic grid ``(L,)*n`` has a covariance that the Fourier transform makes diagonal. Its
*spectrum* :math:`P(\omega) = E|\hat x(\omega)|^2/d` lists the eigenvalues: a NumPy float64 array of shape ``(L,)*n``
in the order of ``numpy.fft.fftfreq``. Samples are tensors ``(samples, 1, *space)``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from wavelab.errors import InvalidInput


def power_law(L: int, n: int, eta: float, xi: float | None = None) -> np.ndarray:
    r"""Return a power-law spectrum, rounded off at low frequencies and of mean 1.

    .. math:: P(\omega) = \frac{c}{\xi^\eta + |\omega|^\eta}, \qquad \omega \in \tfrac{2\pi}{L}\mathbb Z^n
              \cap [-\pi, \pi)^n, \qquad \frac1d\sum_\omega P(\omega) = 1,

    so that :math:`\operatorname{Tr}\Sigma = d` and every pixel has variance 1.

    Args:
        L: width of the grid, at least 2.
        n: dimension of space, 1, 2 or 3.
        eta: exponent, positive.
        xi: the frequency where the power law is rounded off, positive; by default the lowest one, ``2 pi / L``.

    Returns:
        Shape ``(L,)*n``, float64, in FFT order.

    Raises:
        InvalidInput: a width, dimension, exponent or frequency out of range.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), Wavelet score-based generative modeling, section 3.2. Chapters "The
        statistics of wavelet coefficients" and "Why score-based models are slow".
    """
    if not isinstance(L, int | np.integer) or L < 2:
        raise InvalidInput(f"L is {L!r}; expected a width, a whole number of at least 2.")
    if n not in (1, 2, 3):
        raise InvalidInput(f"n is {n!r}; expected the dimension of space, 1, 2 or 3.")
    xi = 2 * np.pi / L if xi is None else xi
    if not (np.isfinite(eta) and eta > 0 and np.isfinite(xi) and xi > 0):
        raise InvalidInput(f"eta is {eta} and xi is {xi}; expected positive numbers.")
    spectrum = 1 / (xi**eta + frequencies(L, n) ** eta)
    return spectrum / spectrum.mean()


def frequencies(L: int, n: int) -> np.ndarray:
    r"""Return the length :math:`|\omega|` of every frequency of the grid ``(L,)*n``, in FFT order, in radians."""
    omega = 2 * np.pi * np.fft.fftfreq(L)
    return np.sqrt(sum(axis**2 for axis in np.meshgrid(*[omega] * n, indexing="ij")))


def gaussian(spectrum: ArrayLike, samples: int, generator: torch.Generator, dtype=torch.float32) -> Tensor:
    r"""Draw Gaussian fields with a given spectrum: white noise, coloured by its square root.

    .. math:: x = F^{-1}\big(\sqrt{P}\; F z\big), \qquad z \sim N(0, I)

    Args:
        spectrum: shape ``(L,)*n``.
        samples: how many fields, at least 1.
        generator: source of the noise; its device is the result's.
        dtype: of the result.

    Returns:
        Shape ``(samples, 1, *space)``.

    Raises:
        InvalidInput: not a spectrum, see :func:`check_spectrum`, or no samples.
    """
    spectrum = check_spectrum(spectrum)
    if not isinstance(samples, int | np.integer) or samples < 1:
        raise InvalidInput(f"samples is {samples!r}; expected a whole number of at least 1.")
    shape = (samples, 1, *spectrum.shape)
    z = torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return _filtered(z, torch.from_numpy(np.sqrt(spectrum)).to(z)).to(dtype)


def score(spectrum: ArrayLike) -> Callable[[Tensor, float], Tensor]:
    r"""Return the exact score of a Gaussian field that the Ornstein-Uhlenbeck process has noised.

    At time t the spectrum is :math:`d_t(\omega) = e^{-2t}P(\omega) + 1 - e^{-2t}`, and

    .. math:: \nabla\log p_t(x) = -F^{-1}\big(F x / d_t\big).

    Args:
        spectrum: shape ``(L,)*n``.

    Returns:
        ``score(x, t)`` for ``x`` of shape ``(batch, channels, *space)`` and a number ``t``, as samplers of
        :mod:`wavelab.diffusion` want it.

    Raises:
        InvalidInput: not a spectrum.

    Source:
        Guth et al. (2022), section 2.2. Chapter "Why score-based models are slow".
    """
    spectrum = torch.from_numpy(check_spectrum(spectrum))

    def exact(x: Tensor, t: float) -> Tensor:
        if x.shape[-spectrum.ndim :] != spectrum.shape:
            raise InvalidInput(f"x has shape {tuple(x.shape)}; expected (batch, channels, *{tuple(spectrum.shape)}).")
        decay = torch.exp(-2 * torch.as_tensor(t, dtype=torch.float64))
        if decay.ndim:  # one time a sample
            decay = decay.reshape(-1, *[1] * (x.ndim - 1))
        decay = decay.to(spectrum.device)
        return -_filtered(x, (1 / (decay * spectrum + 1 - decay)).to(x))

    return exact


def periodogram(x: Tensor, dims: int | None = None) -> np.ndarray:
    r"""Return the mean power of every frequency over a batch, :math:`\frac1d\langle|\hat x(\omega)|^2\rangle`.

    Args:
        x: fields of mean zero, shape ``(batch, channels, *space)``; batch and channels are averaged.
        dims: number of space axes; by default all after the second.

    Returns:
        Shape ``(*space)``, float64: an unbiased estimate of the spectrum.
    """
    dims = x.ndim - 2 if dims is None else dims
    axes = tuple(range(-dims, 0))
    power = torch.fft.fftn(x.double(), dim=axes, norm="ortho").abs().square()
    return power.flatten(0, -dims - 1).mean(0).cpu().numpy()


def condition_number(spectrum: ArrayLike) -> float:
    r"""Return :math:`\kappa = \lambda_{\max}/\lambda_{\min}` of a covariance with these eigenvalues."""
    values = check_eigenvalues(spectrum)
    return float(values.max() / values.min())


def check_eigenvalues(values: ArrayLike, name: str = "spectrum") -> np.ndarray:
    """Return eigenvalues of a covariance as a float64 array.

    Raises:
        InvalidInput: not numbers, none, not finite, or not all positive: no covariance that can be inverted.
    """
    try:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} is {values!r}; expected an array of real numbers.") from error
    if not array.size or not np.isfinite(array).all():
        raise InvalidInput(f"{name} has shape {array.shape} and is empty or not finite; expected finite numbers.")
    if array.min() <= 0:
        raise InvalidInput(
            f"{name} has the value {array.min():g}; the eigenvalues of a covariance that is positive definite are "
            "positive. Add a small multiple of the identity, or leave directions without variance out."
        )
    return array


def check_spectrum(spectrum: ArrayLike) -> np.ndarray:
    r"""Return the spectrum of a real stationary field as a float64 array.

    Raises:
        InvalidInput: not positive and finite, not of shape ``(L,)*n`` with ``n`` from 1 to 3, or not even,
            :math:`P(-\omega) = P(\omega)`.
    """
    array = check_eigenvalues(spectrum)
    if array.ndim not in (1, 2, 3) or len(set(array.shape)) > 1 or len(array) < 2:
        raise InvalidInput(f"spectrum has shape {array.shape}; expected (L,), (L, L) or (L, L, L), in FFT order.")
    mirrored = np.roll(np.flip(array), 1, axis=range(array.ndim))
    if not np.allclose(array, mirrored, rtol=1e-5, atol=0):
        raise InvalidInput("spectrum is not even: P(-omega) differs from P(omega). Is it in FFT order (fftfreq)?")
    return array


def _filtered(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply every frequency of real fields by a real, even factor."""
    axes, L = tuple(range(-factor.ndim, 0)), factor.shape[-1]
    x_hat = torch.fft.rfftn(x, dim=axes) * factor[..., : L // 2 + 1]
    return torch.fft.irfftn(x_hat, s=x.shape[-factor.ndim :], dim=axes)
