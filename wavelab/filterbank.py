"""Two-channel filter banks: the filters PyWavelets tabulates, and their periodised analysis matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pywt
import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.subbands import SUBBANDS, check_levels

_BANKS = {name: pywt.Wavelet(name) for name in pywt.wavelist(kind="discrete")}
# (name, dual) to the low-pass and high-pass filters in the order in which they meet the signal.
_TAPS = {(name, False): (tuple(bank.dec_lo[::-1]), tuple(bank.dec_hi[::-1])) for name, bank in _BANKS.items()}
_TAPS |= {(name, True): (tuple(bank.rec_lo), tuple(bank.rec_hi)) for name, bank in _BANKS.items()}


@dataclass(frozen=True)
class Filters:
    """The four filters of a two-channel filter bank.

    Attributes:
        name: the PyWavelets name.
        dec_lo: analysis low-pass filter, float64, shape ``(taps,)``.
        dec_hi: analysis high-pass filter, float64, shape ``(taps,)``.
        rec_lo: synthesis low-pass filter, float64, shape ``(taps,)``.
        rec_hi: synthesis high-pass filter, float64, shape ``(taps,)``.
        orthogonal: whether the synthesis filters are the analysis filters reversed. (PyWavelets lists ``dmey`` as
            orthogonal, and it is so to two decimals only; every other wavelet listed so is to rounding.)
    """

    name: str
    dec_lo: Tensor
    dec_hi: Tensor
    rec_lo: Tensor
    rec_hi: Tensor
    orthogonal: bool


def filters(wavelet: str) -> Filters:
    """Return the filters of a wavelet.

    Args:
        wavelet: any discrete PyWavelets name, such as ``"haar"``, ``"db4"``, ``"bior6.8"``.

    Returns:
        The four filters in float64, a fresh copy on every call.

    Raises:
        UnknownName: there is no discrete wavelet of that name.

    Source:
        Daubechies (1992), Ten lectures on wavelets; Cohen, Daubechies & Feauveau (1992), Biorthogonal bases of
        compactly supported wavelets. Chapter "Filter banks and multiresolution".
    """
    check_wavelet(wavelet)
    bank = _BANKS[wavelet]
    four = (torch.tensor(values, dtype=torch.float64) for values in bank.filter_bank)
    return Filters(wavelet, *four, orthogonal=bool(bank.orthogonal))


def check_wavelet(wavelet: str) -> None:
    """Refuse a name that no discrete wavelet has."""
    if not isinstance(wavelet, str) or wavelet not in _BANKS:
        raise UnknownName.among("wavelet", wavelet, _BANKS)


def taps(wavelet: str, dual: bool = False) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the low-pass and the high-pass filter in the order in which they meet the signal.

    Args:
        wavelet: any discrete PyWavelets name.
        dual: whether to take the dual wavelet, whose analysis matrix is the transpose of the wavelet's inverse.

    Returns:
        Two filters ``h`` of even length ``F``; coefficient ``k`` is ``sum_i h[i] x[2k + i - (F/2 - 1)]``.
    """
    return _TAPS[wavelet, dual]


def analysis_matrix(wavelet: str, n: int, dual: bool = False) -> Tensor:
    r"""Return one level of the transform of a periodic signal as a matrix.

    .. math:: W_{k, (2k + i - F/2 + 1) \bmod n} = h_i, \qquad W_{n/2 + k, (2k + i - F/2 + 1) \bmod n} = g_i

    where taps that meet on a short signal add up. With :math:`\tilde W` the dual's matrix,
    :math:`\tilde W^\top W = I`; for an orthogonal wavelet :math:`\tilde W = W`.

    Args:
        wavelet: any discrete PyWavelets name.
        n: length of the signal, even.
        dual: whether to take the dual wavelet's matrix.

    Returns:
        Shape ``(n, n)``, float64, low-pass rows first.

    Raises:
        UnknownName: there is no discrete wavelet of that name.
        InvalidInput: an odd length.

    Source:
        Mallat (1989), A theory for multiresolution signal decomposition. Chapter "Filter banks and multiresolution".
    """
    check_wavelet(wavelet)
    if not isinstance(n, int) or n < 2 or n % 2:
        raise InvalidInput(f"n is {n!r}; expected an even number, at least 2.")
    low, high = taps(wavelet, dual)
    rows = torch.arange(n // 2)
    matrix = torch.zeros(2, n // 2, n, dtype=torch.float64)
    for i, (a, b) in enumerate(zip(low, high)):
        columns = (2 * rows + i - (len(low) // 2 - 1)) % n
        matrix[0, rows, columns] += a
        matrix[1, rows, columns] += b
    return matrix.reshape(n, n)


def noise_gains(wavelet: str, levels: int, dims: int = 2) -> list[Tensor]:
    r"""Return the standard deviation of white noise of standard deviation 1 in every sub-band.

    It is the norm of the sub-band's filter: 1 for orthogonal wavelets, not for biorthogonal ones. (The periodic
    boundary changes it where a filter is longer than the signal; that is left out.)

    Args:
        wavelet: any discrete PyWavelets name.
        levels: number of levels.
        dims: number of space axes.

    Returns:
        One float64 tensor a level, coarsest first, shape ``(2**dims - 1,)``, ordered as ``SUBBANDS[dims][1:]``.

    Raises:
        UnknownName: there is no such wavelet.
        InvalidInput: levels below 1.
    """
    check_wavelet(wavelet)
    check_levels(levels)
    low, high = taps(wavelet)
    cascade, gains = np.ones(1), []
    for level in range(levels):
        spread = np.zeros((2, (len(low) - 1) * 2**level + 1))
        spread[:, :: 2**level] = low, high
        reaches = {letter: np.convolve(cascade, values) for letter, values in zip("LH", spread)}
        norms = {letter: float(np.linalg.norm(reach)) for letter, reach in reaches.items()}
        cascade = reaches["L"]
        bands = [math.prod(norms[letter] for letter in name) for name in SUBBANDS[dims][1:]]
        gains.append(torch.tensor(bands, dtype=torch.float64))
    return gains[::-1]
