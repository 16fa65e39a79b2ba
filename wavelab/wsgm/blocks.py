r"""One level of the wavelet cascade on a stationary Gaussian field, exactly, in blocks of aliased frequencies.

Keeping every second value of a filtered field folds the :math:`2^n` frequencies
:math:`\omega_a\in\{\omega'/2+\pi\epsilon\}`, :math:`\epsilon\in\{0,1\}^n`, onto one frequency :math:`\omega'` of the
coarser grid. So one level of an orthonormal transform is a unitary :math:`2^n\times2^n` matrix :math:`U` for every
:math:`\omega'`, and the coefficients there have covariance :math:`S=U\operatorname{diag}(P(\omega_a))\,U^\dagger`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from wavelab.errors import InvalidInput, UnknownName
from wavelab.filterbank import check_wavelet, filters, taps
from wavelab.wsgm.fields import check_spectrum

WHITENINGS = ("joint", "per-channel")


@dataclass(frozen=True)
class Level:
    r"""The law of the details :math:`\bar x_j` given the coarser field, at every coarse frequency.

    In orthonormal units :math:`a_j = G a_{j-1}`, :math:`b_j = \bar G a_{j-1}`, with :math:`\bar x_j = b_j/\bar s_j`,

    .. math:: \bar x_j \mid a_j \sim N(A a_j, \Gamma), \qquad A = \bar s_j^{-1} S_{\cdot0}/S_{00}, \qquad
              \Gamma = \bar s_j^{-1}\Big(S_{\cdot\cdot}-\frac{S_{\cdot0}S_{\cdot0}^\dagger}{S_{00}}\Big)\bar s_j^{-1}
              = V\operatorname{diag}(\lambda_i)V^\dagger .

    With ``C = 2**n - 1`` and ``space = (M/2,)*n`` for a field of width ``M``:

    Attributes:
        spectrum: of :math:`a_j`, shape ``space``.
        std: :math:`\bar s_j`, shape ``(C,)``; the paper's :math:`\gamma_j` is :math:`\bar s_j/\bar s_{j-1}`.
        unitary: :math:`U`, shape ``(*space, 1 + C, 1 + C)``: rows are sub-bands, columns aliases.
        mean: :math:`A`, complex, shape ``(*space, C)``.
        values: :math:`\lambda_i`, shape ``(*space, C)``.
        vectors: :math:`V`, complex, shape ``(*space, C, C)``.

    Source:
        Guth et al. (2022), Theorem 3. Chapter "The wavelet cascade".
    """

    spectrum: np.ndarray
    std: np.ndarray
    unitary: np.ndarray
    mean: np.ndarray
    values: np.ndarray
    vectors: np.ndarray

    @property
    def squared_means(self) -> np.ndarray:
        r"""Variance :math:`m_i^2 = |(V^\dagger A)_i|^2 S_{00}` of the conditional mean in direction i."""
        return np.abs(self.directions) ** 2 * self.spectrum[..., None]

    @property
    def directions(self) -> np.ndarray:
        r""":math:`V^\dagger A`, shape ``(*space, C)``."""
        return np.einsum("...ki,...k->...i", self.vectors.conj(), self.mean)


def level(spectrum: np.ndarray, wavelet: str, whitening: str = "joint") -> Level:
    """Split a stationary field once.

    Args:
        spectrum: of the field, shape ``(M,)*n``, ``M`` even.
        wavelet: an orthogonal wavelet.
        whitening: ``"joint"``: one scale for all details, such that their mean variance is 1; ``"per-channel"``: every
            detail band gets variance 1.

    Returns:
        The conditional law.
    """
    n, half = spectrum.ndim, len(spectrum) // 2
    U, P = unitary(wavelet, len(spectrum), n), _aliases(spectrum)[..., None, :]
    adjoint = np.swapaxes(U.conj(), -1, -2)
    S = U * P @ adjoint
    low, cross = S[..., 0, 0].real, S[..., 1:, 0]
    bands = np.diagonal(S, axis1=-2, axis2=-1).real[..., 1:].reshape(half**n, -1).mean(0)
    std = np.sqrt(bands if whitening == "per-channel" else np.full_like(bands, bands.mean()))
    # Gamma is the inverse of the detail block of S^{-1} = U diag(1/P) U^*: no cancellation, unlike the Schur form.
    precision = (U[..., 1:, :] / P @ adjoint[..., :, 1:]) * np.outer(std, std)
    inverses, vectors = np.linalg.eigh(precision)
    return Level(low, std, U, cross / low[..., None] / std, 1 / inverses, vectors)


def levels_of(spectrum: ArrayLike, wavelet: str, levels: int | None = None, whitening: str = "joint") -> list[Level]:
    """Split a field again and again: the levels of a cascade, finest first.

    Args:
        spectrum: shape ``(L,)*n``.
        wavelet: an orthogonal wavelet.
        levels: number of scales J; by default as many as leave a coarsest width of at least 2, ``log2(L) - 1`` for
            powers of two.
        whitening: ``"joint"`` or ``"per-channel"``, see :func:`level`.

    Returns:
        J levels; ``[-1].spectrum`` is that of the coarsest field.

    Raises:
        InvalidInput: not a spectrum, a width that ``2**levels`` does not divide, or a wavelet that is not orthogonal.
        UnknownName: there is no such wavelet or whitening.
    """
    spectrum = check_spectrum(spectrum)
    check_orthogonal(wavelet)
    if whitening not in WHITENINGS:
        raise UnknownName.among("whitening", whitening, WHITENINGS)
    found = []
    for _ in range(check_depth(len(spectrum), levels)):
        found.append(level(spectrum, wavelet, whitening))
        spectrum = found[-1].spectrum
    return found


def unitary(wavelet: str, M: int, n: int) -> np.ndarray:
    r"""Return one level of the transform between frequencies: a unitary matrix for every coarse frequency.

    .. math:: U_{ka} = \prod_{i=1}^n \tfrac1{\sqrt2}\,\hat g^*_{k_i}(\omega_{a,i})

    with the phases of :func:`wavelab.wavelets.dwt`, whose coefficient m is
    :math:`\sum_i g_i\,x_{2m+i-(F/2-1)}`, and its order of sub-bands.

    Args:
        wavelet: an orthogonal wavelet.
        M: width of the finer grid, even.
        n: dimension of space.

    Returns:
        Complex, shape ``(M/2,)*n + (2**n, 2**n)``: rows sub-bands (LL first), columns aliases.
    """
    g = np.array(taps(wavelet))
    omega = 2 * np.pi * np.arange(M) / M
    response = g @ np.exp(1j * np.outer(np.arange(g.shape[1]) - (g.shape[1] // 2 - 1), omega)) / math.sqrt(2)
    axis = response.reshape(2, 2, M // 2)  # sub-band, alias, coarse frequency
    U = np.ones((1, 1))
    for i in range(n):  # axis i of space; a later axis gives an earlier letter of the sub-band's name
        U = np.einsum("ka...,lbm->lkab...m", U, axis).reshape(2 ** (i + 1), 2 ** (i + 1), *U.shape[2:], M // 2)
    return np.moveaxis(U, (0, 1), (-2, -1))


def _aliases(values: np.ndarray) -> np.ndarray:
    """Arrange values on a grid ``(M,)*n`` by the frequencies that alias: ``(M/2,)*n + (2**n,)``."""
    n, half = values.ndim, len(values) // 2
    split = values.reshape((2, half) * n)
    return np.moveaxis(split, range(0, 2 * n, 2), range(n, 2 * n)).reshape(*(half,) * n, 2**n)


def from_aliases(values: np.ndarray) -> np.ndarray:
    """Undo the arrangement by aliases: ``(M/2,)*n + (2**n,)`` back to ``(M,)*n``."""
    n, half = values.ndim - 1, len(values)
    split = values.reshape((half,) * n + (2,) * n)
    return np.moveaxis(split, range(n, 2 * n), range(0, 2 * n, 2)).reshape((2 * half,) * n)


def check_orthogonal(wavelet: str) -> None:
    """Refuse a wavelet that does not exist or whose transform is not orthogonal."""
    check_wavelet(wavelet)
    if not filters(wavelet).orthogonal or wavelet == "dmey":  # dmey is so to two decimals only
        raise InvalidInput(f"{wavelet} is not orthogonal; take an orthogonal wavelet such as haar, db4 or sym5.")


def check_depth(L: int, levels: int | None) -> int:
    """Return the number of levels, by default the deepest that leaves a width of at least 2."""
    if levels is None:
        levels = (L & -L).bit_length() - 1 - (L & (L - 1) == 0)
    if not isinstance(levels, int | np.integer) or levels < 1 or L % 2**levels:
        raise InvalidInput(f"A width of {L} cannot be halved {levels} times; expected 1 level or more, 2**levels | L.")
    return int(levels)
