"""Wavelet regularisers for guided sampling: the wavelet total variation, and the released code's own shrinkage.

Both are called ``regulariser(x, sigma)`` with images ``(batch, 1, height, width)`` and the noise level they are at.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from skimage.restoration import calibrate_denoiser, denoise_wavelet
from torch import Tensor

from wavelab import wavelets
from wavelab.medical.checks import check_bounds, check_number, check_orthonormal, check_whole

Regulariser = Callable[[Tensor, float], Tensor]


def wavelet_tv(weight: float, wavelet: str = "haar", levels: int = 2, shifts: int = 4) -> Regulariser:
    r"""Return the wavelet total variation as a regulariser: it shrinks the details by :math:`\lambda\sigma`.

    .. math:: \mathrm{prox}: \quad d_j \leftarrow d_j\,\max\Big(0, 1-\frac{\lambda\sigma}{\sqrt{\sum_b d_{j,b}^2}}\Big)

    over the three sub-bands :math:`b` of a place, averaged over cyclic shifts of the grid by ``(k, 3 k)``. On the
    finest level of the Haar transform the sub-bands are differences of neighbours, and their joint size is a total
    variation.

    Args:
        weight: :math:`\lambda\ge 0`.
        wavelet: an orthonormal wavelet.
        levels: levels of the transform.
        shifts: how many shifts are averaged; ``2**levels`` of them are all that differ.

    Raises:
        InvalidInput: a negative weight, no levels, no shifts, or a wavelet that is not orthonormal.
    """
    check_number("weight", weight, zero=True)
    check_whole("levels", levels)
    check_whole("shifts", shifts)
    check_orthonormal(wavelet)

    def once(x: Tensor, threshold: float) -> Tensor:
        approx, details = wavelets.dwt(x, wavelet, levels)
        return wavelets.idwt(approx, [_shrink_together(d, threshold) for d in details], wavelet)

    def regularise(x: Tensor, sigma: float) -> Tensor:
        moves = [(k, 3 * k % 2**levels) for k in range(shifts)]
        parts = [once(x.roll(m, (-2, -1)), weight * sigma).roll([-a for a in m], (-2, -1)) for m in moves]
        return torch.stack(parts).mean(0)

    return regularise


def _shrink_together(d: Tensor, threshold: float) -> Tensor:
    """Shrink the sub-bands ``(..., 3, height, width)`` of each place by their joint size."""
    size = torch.linalg.vector_norm(d, dim=-3, keepdim=True)
    return d * (1 - threshold / size.clamp_min(1e-30)).clamp_min(0)


def calibrated_shrinkage(
    low: float = 1e-3, high: float = 0.2, count: int = 6, as_released: bool = False
) -> Regulariser:
    r"""Return wavelet shrinkage whose setting each image chooses for itself, the regulariser of the released code.

    Noise levels, rules and wavelets are tried; the setting of least J-invariant loss, an estimate of the error that
    needs no clean image, is used. The result replaces the image by the share :math:`\min(1, \sigma)`.

    Args:
        low: smallest noise level to try.
        high: largest.
        count: how many, in equal ratios.
        as_released: apply the J-invariant version of the chosen shrinkage, whose interpolation blurs, in place of the
            shrinkage itself.

    Raises:
        InvalidInput: noise levels that are not positive or not in order, or none.

    Source:
        Batson & Royer (2019), Noise2Self: blind denoising by self-supervision; scikit-image's ``calibrate_denoiser``.
    """
    check_number("low", low)
    check_bounds(low, high)
    check_whole("count", count)
    tried = {
        "sigma": np.geomspace(low, high, count),
        "wavelet": ["haar", "sym2"],
        "method": ["BayesShrink", "VisuShrink"],
    }

    def regularise(x: Tensor, sigma: float) -> Tensor:
        done = np.stack([_calibrated(image, tried, as_released) for image in x[:, 0].double().cpu().numpy()])
        return x + min(1.0, sigma) * (torch.from_numpy(done)[:, None].to(x) - x)

    return regularise


def _calibrated(image: np.ndarray, tried: dict, as_released: bool) -> np.ndarray:
    invariant, (settings, losses) = calibrate_denoiser(image, _shrink, tried, extra_output=True)
    return invariant(image) if as_released else _shrink(image, **settings[int(np.argmin(losses))])


def _shrink(image: np.ndarray, **setting) -> np.ndarray:
    return denoise_wavelet(image, rescale_sigma=False, wavelet_levels=2, **setting)
