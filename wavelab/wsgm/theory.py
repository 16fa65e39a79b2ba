r"""Exact Gaussian theory of score-based models and of the wavelet cascade: errors and step counts, nothing trained.

The data are a stationary Gaussian field, the scores exact, the only errors those of the time grid and of the final
time. :func:`kl_per_dim` and :func:`steps_needed` work for one model of the whole field (``wavelet=None``) and for the
whole cascade :math:`p(x_J)\prod_j\bar p_j(\bar x_j\mid x_j)`. Times increase from 0 to ``T``; a grid given in the
order of sampling is taken as well.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike

from wavelab import wavelets
from wavelab.diffusion import time_grid
from wavelab.errors import InvalidInput, UnknownName
from wavelab.wsgm.blocks import check_depth, check_orthogonal, from_aliases, levels_of
from wavelab.wsgm.bounds import (
    general_bound,
    leading_order,
    leading_steps,
    mean_error,
    printed_terms,
    step_error,
)
from wavelab.wsgm.fields import check_spectrum, power_law
from wavelab.wsgm.kernel import SAMPLERS, gaussian_kl, grid, kernel, limit_kernel, total_variation
from wavelab.wsgm.measure import directions

__all__ = [
    "SAMPLERS", "conditional_kappas", "gaussian_kl", "general_bound", "joint_kappa", "kernel", "kl_per_dim",
    "leading_order", "leading_steps", "limit_kernel", "mean_error", "output_spectrum", "printed_terms", "step_error",
    "steps_needed", "sup_error", "total_variation",
]  # fmt: skip

MOST_STEPS = 2**21
SCANNED = 64  # up to here every number of steps is tried
PLATEAU = 1024  # from here on an error that more steps do not lower is taken for final


def kl_per_dim(
    spectrum: ArrayLike,
    times: ArrayLike,
    wavelet: str | None = None,
    levels: int | None = None,
    whitening: str = "joint",
    sampler: str = "euler-maruyama",
) -> float:
    r"""Return the exact divergence per dimension between data and samples, :math:`\mathrm{KL}(p\|\tilde p)/d`.

    Of one model, with :math:`h` from :func:`kernel`, and of a cascade by the chain rule:

    .. math:: \mathrm{KL} = \tfrac12\sum_\omega\Big[\frac\lambda h-1-\log\frac\lambda h\Big],\qquad
              \mathrm{KL} = \mathrm{KL}(p_J\|\tilde p_J) + \sum_{j=1}^J\sum_{\omega',i}\Big\{\tfrac12\Big[
              \frac{\lambda_i}{h_i}-1-\log\frac{\lambda_i}{h_i}\Big]+\frac{(\rho_i-1)^2m_i^2}{2h_i}\Big\},

    with :math:`\lambda_i`, :math:`m_i^2` of :class:`wavelab.wsgm.blocks.Level`.

    Args:
        spectrum: without a wavelet, the eigenvalues of any covariance, any shape, taken as they are; with one, the
            spectrum of a field, shape ``(L,)*n``, whose scale then does not matter.
        times: the time grid, the same at every scale.
        wavelet: an orthogonal wavelet, or None for one model of the whole field.
        levels: number of scales J; by default ``log2(L) - 1``. Not used without a wavelet.
        whitening: ``"joint"``, one scale for all details of a level (the paper's), or ``"per-channel"``.
        sampler: ``"euler-maruyama"``, ``"ancestral"`` or ``"ancestral-small"``, see :func:`kernel`.

    Returns:
        Nats per dimension.

    Raises:
        InvalidInput: times that are no grid, a covariance that is not positive definite, a spectrum that is not even,
            a width that ``2**levels`` does not divide, or a wavelet that is not orthogonal.
        UnknownName: there is no such wavelet, whitening or sampler.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), Theorems 1 and 3. Chapters "Why score-based models are slow" and "The
        wavelet cascade".
    """
    return directions(spectrum, wavelet, levels, whitening).kl(times, sampler)


def steps_needed(
    eps: float,
    L: int,
    n: int,
    eta: float,
    T: float,
    wavelet: str | None = None,
    schedule: str = "uniform",
    levels: int | None = None,
    whitening: str = "joint",
    sampler: str = "euler-maruyama",
    xi: float | None = None,
    *,
    t_1: float = 1e-3,
    metric: str = "kl",
) -> int:
    r"""Return the smallest number of steps N, a scale, with an error of at most ``eps`` on a power-law field.

    Every ``N`` up to 64 is tried. Beyond, N is raised until the error is at most ``eps`` and then bisected: N satisfies
    it and N - 1 does not. (The error falls with N there, so this N is the smallest.)

    Args:
        eps: the error allowed, positive.
        L: width of the field.
        n: dimension of space.
        eta: exponent of the spectrum, see :func:`wavelab.wsgm.fields.power_law`.
        T: final time.
        wavelet: an orthogonal wavelet, or None for one model of the whole field.
        schedule: of :func:`wavelab.diffusion.time_grid`.
        levels: number of scales; by default ``log2(L) - 1``.
        whitening: ``"joint"`` or ``"per-channel"``.
        sampler: ``"euler-maruyama"``, ``"ancestral"`` or ``"ancestral-small"``, see :func:`kernel`.
        xi: where the spectrum is rounded off; by default ``2 pi / L``.
        t_1: the first time of the geometric grid.
        metric: ``"kl"``: :func:`kl_per_dim`; ``"sup"``: the paper's :func:`sup_error`.

    Returns:
        The number of steps.

    Raises:
        InvalidInput: an argument out of range, or an error that no number of steps reaches since ``T`` is too small or
            ``t_1`` too large.
        UnknownName: there is no such wavelet, whitening, sampler or metric.
    """
    if not (np.isfinite(eps) and eps > 0):
        raise InvalidInput(f"eps is {eps}; expected a positive error.")
    spectrum = power_law(L, n, eta, xi)
    if metric == "kl":
        measure = directions(spectrum, wavelet, levels, whitening).compressed()

        def error(N):
            return measure.kl(time_grid(T, N, schedule, t_1), sampler)
    elif metric == "sup":

        def error(N):
            return sup_error(spectrum, time_grid(T, N, schedule, t_1), wavelet, levels, whitening, sampler)
    else:
        raise UnknownName.among("metric", metric, ("kl", "sup"))
    return _smallest(error, eps)


def _smallest(error: Callable[[int], float], eps: float) -> int:
    """Return the smallest N with error at most eps: by trying up to :data:`SCANNED`, by bisection beyond.

    A bisection in logarithms: errors fall like a power of N, so a line through the two ends is a good guess.
    """
    for N in range(1, SCANNED + 1):
        if (reached := error(N)) <= eps:
            return N
    bad, above = N, reached
    while (reached := error(good := min(max(2 * bad, int(1.1 * bad * (above / eps) ** 0.5)), 8 * bad))) > eps:
        if good > MOST_STEPS or (good > PLATEAU and reached > 0.99 * above):
            raise InvalidInput(
                f"{good} steps leave an error of {reached:.3g} > {eps}, and more hardly lower it; take a larger T, or "
                "a smaller t_1 of the geometric grid."
            )
        bad, above = good, reached
    below, tries = reached, 0
    while good - bad > 1:
        share, tries = np.log(above / eps) / np.log(above / below), tries + 1
        middle = (bad + good) // 2 if tries % 3 == 0 else int(np.ceil(bad * (good / bad) ** share))
        middle = min(max(middle, bad + 1), good - 1)
        reached = error(middle)
        if reached <= eps:
            good, below = middle, reached
        else:
            bad, above = middle, reached
    return good


def output_spectrum(
    spectrum: ArrayLike,
    times: ArrayLike,
    wavelet: str | None = None,
    levels: int | None = None,
    whitening: str = "joint",
    sampler: str = "euler-maruyama",
    exact_coarse: bool = False,
) -> np.ndarray:
    r"""Return the spectrum of the samples, :math:`\hat P(\omega) = E|\hat{\tilde x}(\omega)|^2/d`.

    One model gives :math:`h(P(\omega))`. A cascade is followed from coarse to fine: with :math:`B=V\rho V^\dagger A`,
    the coefficients at one coarse frequency have variance :math:`\hat P_j` and, for the details,
    :math:`B\hat P_jB^\dagger+VhV^\dagger`; the unitary :math:`U^\dagger` takes them to the finer frequencies. (A
    cascade's output also has correlations between aliases, which the spectrum does not show.)

    Args:
        spectrum: shape ``(L,)*n``.
        times: the time grid.
        wavelet: an orthogonal wavelet, or None.
        levels: number of scales; by default ``log2(L) - 1``.
        whitening: ``"joint"`` or ``"per-channel"``.
        sampler: ``"euler-maruyama"``, ``"ancestral"`` or ``"ancestral-small"``, see :func:`kernel`.
        exact_coarse: take the coarsest field from the data instead of sampling it.

    Returns:
        Shape ``(L,)*n``.

    Raises:
        InvalidInput, UnknownName: as :func:`kl_per_dim`.
    """
    spectrum, times = check_spectrum(spectrum), grid(times)
    if wavelet is None:
        lam, places = np.unique(spectrum, return_inverse=True)
        return kernel(lam, times, sampler)[0][places].reshape(spectrum.shape)
    found = levels_of(spectrum, wavelet, levels, whitening)
    coarse, scale = found[-1].spectrum, found[-1].spectrum.mean()
    sampled = coarse if exact_coarse else scale * kernel(coarse / scale, times, sampler)[0]
    for level in reversed(found):
        h, rho = kernel(level.values, times, sampler)
        mean = np.einsum("...ki,...i->...k", level.vectors, rho * level.directions) * level.std
        # The rows of `paths` say how each alias answers to x_j and to each independent direction of the details.
        adjoint = np.swapaxes(level.unitary.conj(), -1, -2)
        to_low = adjoint[..., 0] + np.einsum("...ak,...k->...a", adjoint[..., 1:], mean)
        to_details = adjoint[..., 1:] @ (level.std[:, None] * level.vectors)
        power = np.abs(to_low) ** 2 * sampled[..., None] + np.einsum("...ai,...i->...a", np.abs(to_details) ** 2, h)
        sampled = from_aliases(power)
    return sampled


def sup_error(spectrum: ArrayLike, times: ArrayLike, *options, **named) -> float:
    r"""Return the paper's error of a sampler, :math:`\max_\omega|\hat P-P|\,/\max_\omega P`.

    It sees large eigenvalues only: small ones can be wrong by orders of magnitude without a trace.

    Args:
        spectrum: shape ``(L,)*n``.
        times: the time grid.
        *options: further arguments of :func:`output_spectrum`.
        **named: the same, by name.

    Source:
        Guth et al. (2022), section 3.2, figure 2.
    """
    spectrum = check_spectrum(spectrum)
    return float(np.abs(output_spectrum(spectrum, times, *options, **named) - spectrum).max() / spectrum.max())


def conditional_kappas(
    spectrum: ArrayLike, wavelet: str, levels: int | None = None, whitening: str = "joint"
) -> list[float]:
    r"""Return the condition numbers of the details given the coarser field, :math:`\kappa(\Gamma_j)`, finest first.

    Args:
        spectrum: shape ``(L,)*n``.
        wavelet: an orthogonal wavelet.
        levels: number of scales; by default ``log2(L) - 1``.
        whitening: ``"joint"`` (which leaves the condition number alone) or ``"per-channel"``.

    Source:
        Guth et al. (2022), the lemma behind Theorem 3. Chapter "The wavelet cascade".
    """
    return [float(level.values.max() / level.values.min()) for level in levels_of(spectrum, wavelet, levels, whitening)]


def joint_kappa(spectrum: ArrayLike, wavelet: str, levels: int | None = None) -> float:
    r"""Return the condition number of all wavelet coefficients at once, each scaled to variance 1.

    .. math:: \kappa(D\,W\Sigma W^\top D), \qquad D = \operatorname{diag}(W\Sigma W^\top)^{-1/2}

    It is computed with dense matrices, so the field may have 4096 values at most.

    Args:
        spectrum: shape ``(L,)*n``.
        wavelet: an orthogonal wavelet.
        levels: number of scales; by default ``log2(L) - 1``.

    Raises:
        InvalidInput: as :func:`kl_per_dim`, or a field that is too large.
    """
    spectrum = check_spectrum(spectrum)
    check_orthogonal(wavelet)
    if spectrum.size > 4096:
        raise InvalidInput(f"The field has {spectrum.size} values; a dense matrix of at most 4096 is formed.")
    n, J = spectrum.ndim, check_depth(len(spectrum), levels)
    white = torch.eye(spectrum.size, dtype=torch.float64).reshape(-1, *spectrum.shape)
    axes = tuple(range(-n, 0))
    root = torch.fft.ifftn(torch.fft.fftn(white, dim=axes) * torch.from_numpy(np.sqrt(spectrum)), dim=axes).real
    half = wavelets.flatten(*wavelets.dwt(root, wavelet, J, n), n)  # rows: Sigma^{1/2} W^T
    singular = np.linalg.svd((half / half.square().sum(0).sqrt()).numpy(), compute_uv=False)
    return float((singular[0] / singular[-1]) ** 2)
