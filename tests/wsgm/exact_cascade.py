r"""The wavelet cascade with exact scores: what a perfectly trained cascade would do on a Gaussian field."""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from wavelab.errors import InvalidInput
from wavelab.wavelets import Whitening
from wavelab.wsgm import fields
from wavelab.wsgm.blocks import Level, levels_of
from wavelab.wsgm.cascade import Cascade


def gaussian_cascade(
    spectrum: ArrayLike, wavelet: str = "haar", levels: int | None = None, whitening: str = "joint"
) -> tuple[Cascade, Callable, list[Callable]]:
    r"""Return the cascade of a Gaussian field: its exact whitening and the exact score of every factor.

    ``cascade.sample(coarse, details, OU(T), times, shape, generator)`` then draws fields whose error
    :func:`wavelab.wsgm.theory.kl_per_dim` gives exactly.

    Args:
        spectrum: shape ``(L,)*n``.
        wavelet: an orthogonal wavelet.
        levels: number of scales; by default ``log2(L) - 1``.
        whitening: ``"joint"`` or ``"per-channel"``.

    Returns:
        The cascade, ``coarse(x_t, t)``, and ``details[j - 1](x_bar_t, t, x_j)`` of the scales 1 to J, for the
        Ornstein-Uhlenbeck process.

    Raises:
        InvalidInput, UnknownName: as :func:`wavelab.wsgm.theory.kl_per_dim`.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), section 3. Chapter "The wavelet cascade".
    """
    found = levels_of(spectrum, wavelet, levels, whitening)
    zero = torch.zeros(1)
    scales = [float(level.spectrum.mean()) ** 0.5 for level in found]
    details = tuple(Whitening(zero.repeat(len(level.std)), torch.tensor(level.std).float()) for level in found)
    conditions = tuple(Whitening(zero, torch.tensor([scale]).float()) for scale in scales)
    cascade = Cascade(wavelet, found[0].spectrum.ndim, whitening, details, conditions)
    coarse = fields.score(found[-1].spectrum / scales[-1] ** 2)
    return cascade, coarse, [detail_score(level, scale) for level, scale in zip(found, scales)]


def detail_score(level: Level, scale: float = 1.0) -> Callable[[Tensor, float, Tensor], Tensor]:
    r"""Return the exact score of the noised details, given the clean coarser field.

    .. math:: \nabla\log\bar p_t(\bar x_t\mid x_j) = -V\operatorname{diag}\Big(\frac1{d_t(\lambda_i)}\Big)V^\dagger
              \big(\bar x_t - e^{-t}A x_j\big) \quad\text{at every frequency},\qquad
              d_t(\lambda)=e^{-2t}\lambda+1-e^{-2t}

    Args:
        level: the law of the details.
        scale: what the field was divided by before it is handed over as :math:`x_j`.

    Returns:
        ``score(x_bar_t, t, x_j)`` for details ``(batch, C, *space)``, a number ``t``, a field ``(batch, 1, *space)``.
    """
    n, m = level.spectrum.ndim, level.spectrum.shape[-1]
    half = (*[slice(None)] * (n - 1), slice(m // 2 + 1))  # the frequencies that rfftn keeps
    values, vectors = torch.tensor(level.values[half]), torch.tensor(level.vectors[half])
    mean = torch.tensor(scale * level.mean[half])
    axes = tuple(range(-n, 0))

    def score(x_bar: Tensor, t: float, x: Tensor) -> Tensor:
        given, batch, space = (tuple(x_bar.shape), tuple(x.shape)), len(x_bar), (m,) * n
        if given != ((batch, values.shape[-1], *space), (batch, 1, *space)):
            raise InvalidInput(
                f"x_bar_t and x_j have shapes {given}; expected ({batch}, {values.shape[-1]}, *{space}) and "
                f"({batch}, 1, *{space})."
            )
        decay = torch.exp(-torch.as_tensor(t, dtype=torch.float64)).cpu()
        if decay.ndim:
            raise InvalidInput(f"t has shape {tuple(decay.shape)}; expected one time for the whole batch.")
        variance = decay**2 * values + 1 - decay**2
        precision = (vectors / variance[..., None, :]) @ vectors.mH
        answer = torch.view_as_real(torch.cat([precision, -(precision @ (decay * mean)[..., None])], -1))
        answer = torch.view_as_complex(answer.to(x_bar))  # how the score answers to x_bar_t and to x_j
        both = torch.fft.rfftn(torch.cat([x_bar, x], 1), dim=axes).movedim(1, -1)
        out = -(answer @ both[..., None])[..., 0]
        return torch.fft.irfftn(out.movedim(-1, 1), s=space, dim=axes)

    return score
