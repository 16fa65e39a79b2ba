r"""Scores that are linear in their parameters, solved in closed form at every forward time.

The energy of a periodic field is a quadratic form that no shift changes plus one potential for all sites,

.. math:: E(x) = \tfrac12\, x^\top K x + \sum_u \sum_i \theta_i\, v_i(x(u)), \qquad s = -\nabla E .

Minimising the implicit score matching loss over :math:`K` and :math:`\theta` is least squares: with the features'
gradients :math:`g_i` the normal equations are :math:`M\theta = b`, :math:`M_{ij} = \mathbb E\langle g_i, g_j\rangle`,
:math:`b_i = \mathbb E\,\mathrm{div}\,g_i`. A score of details :math:`y = \bar x_j` given :math:`h = x_j` has the same
form, with gradients in :math:`y` only and the sites of :math:`x_{j-1}(y, h)`. Chapter "φ⁴ at the phase transition"
derives and uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wavelab.diffusion import OU, Process
from wavelab.errors import InvalidInput
from wavelab.subbands import check_tensor
from wavelab.wsgm import spectral

RIDGE = 1e-3  # shrinks combinations of potentials that are nearly quadratic, relative to the size of the forces
CENTRES = 1.8  # the outermost centre, in standard deviations of the sites
POINTS = 1025  # of the table from which a sampler reads the force of the potential


def potential_forces(x: Tensor, features: int) -> tuple[Tensor, Tensor]:
    r"""Evaluate the derivatives of the even potentials :math:`v_i`, centred between 0 and 1.8.

    .. math:: v_i'(x) = \tanh\frac{x-c_i}{w} + \tanh\frac{x+c_i}{w}

    They are constant far out, so that the quadratic form rules where there are no data.

    Args:
        x: any shape, about unit variance.
        features: number of potentials.

    Returns:
        :math:`v_i'(x)` and :math:`v_i''(x)`, each of shape ``(features, *x.shape)``.
    """
    centres = torch.linspace(0, CENTRES, features, device=x.device).reshape(-1, *[1] * x.ndim)
    width = CENTRES / max(features - 1, 1)
    right, left = torch.tanh((x - centres) / width), torch.tanh((x + centres) / width)
    return right + left, (2 - right**2 - left**2) / width


@dataclass(frozen=True)
class LinearScore:
    r"""A score ``score(y, t)`` or ``score(y, t, h)``, interpolated in time between closed-form fits.

    .. math:: s_t = -\Gamma_t(y, h) - \sum_i\theta_i(t)\,\big(g_i - B_{i,t}(y, h)\big)

    :math:`-\Gamma_t` is the exact score of the Gaussian law with the data's covariance, at any ``t``. The rest is what
    potentials add once their best linear prediction :math:`B_{i,t}` is taken off; it is interpolated in ``log t``.

    Attributes:
        process: the forward process.
        spectrum: covariances of ``(y, h)`` at every frequency of ``rfft2``, complex, ``(freqs, k, k)``.
        channels: number of channels of ``y``; the other ``k - channels`` are those of ``h``.
        times: fitted times, increasing.
        theta: ``(times, features)``.
        linear: :math:`\sum_i\theta_iB_{i,t}` at the fitted times, ``(times, freqs, channels, k)``.
        scale: standard deviation of the sites at the fitted times; the potentials act on sites divided by it.
        field: ``field(y, h)``, the sites.
        denoised: whether the sites are those of the best linear estimate of clean ``y``.
    """

    process: Process
    spectrum: Tensor
    channels: int
    times: Tensor
    theta: Tensor
    linear: Tensor
    scale: Tensor
    field: Callable
    denoised: bool

    @torch.no_grad()
    def __call__(self, y: Tensor, t: Tensor | float, h: Tensor | None = None) -> Tensor:
        """Return the score at time ``t`` of noisy ``y`` ``(batch, channels, M, M)`` given clean ``h``.

        Raises:
            InvalidInput: other channels or another grid than fitted, or a time that is not one positive number.
        """
        t = self._check(y, t, h)
        theta, linear, scale = self._at(t)
        coefficients = spectral.transform(y, h)
        precision = spectral.noisy_precision(self.spectrum, self.channels, self.process, t)
        slope = spectral.multiply(precision - linear, coefficients)
        if len(theta):
            slope = slope + self._pull(y, h, t, coefficients, theta, scale)
        return -spectral.inverse(slope, y.shape[-2:])

    def _pull(
        self, y: Tensor, h: Tensor | None, t: float, coefficients: Tensor, theta: Tensor, scale: Tensor
    ) -> Tensor:
        """Return the Fourier coefficients of sum theta_i g_i: forces at the sites, taken back to y by the adjoint."""
        if self.denoised:
            estimator = spectral.estimator(self.spectrum, self.channels, self.process, t)
            y = spectral.inverse(spectral.multiply(estimator, coefficients), y.shape[-2:])
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            sites = self.field(y, h)
            (pull,) = torch.autograd.grad(sites, y, _read_force(sites.detach() / scale, theta))
        pull = spectral.transform(pull)
        return spectral.multiply(estimator[..., : self.channels].mH, pull) if self.denoised else pull

    def site_force(self, x: Tensor, t: float) -> Tensor:
        r"""Return :math:`\sum_i\theta_i(t)\,v_i'`, the potential's part of the energy's slope, at site values ``x``."""
        theta, _, scale = self._at(float(t))
        return torch.einsum("i,i...->...", theta, potential_forces(x / scale, len(theta))[0])

    def _at(self, t: float) -> tuple[Tensor, Tensor, Tensor]:
        logs = self.times.log()
        k = int(torch.searchsorted(self.times, t).clamp(1, len(self.times) - 1))
        share = float(((math.log(t) - logs[k - 1]) / (logs[k] - logs[k - 1])).clamp(0, 1))
        return tuple(torch.lerp(v[k - 1], v[k], share) for v in (self.theta, self.linear, self.scale))

    def _check(self, y: Tensor, t: Tensor | float, h: Tensor | None) -> float:
        k = self.channels + (0 if h is None else h.shape[1])
        freqs = y.shape[-2] * (y.shape[-1] // 2 + 1) if y.ndim == 4 else -1
        if y.ndim != 4 or y.shape[1] != self.channels or (freqs, k) != tuple(self.spectrum.shape[:2]):
            raise InvalidInput(
                f"Got y {tuple(y.shape)} and h {None if h is None else tuple(h.shape)}; this score was fitted to "
                f"{self.channels} channels of y and {self.spectrum.shape[1] - self.channels} of h, on one grid."
            )
        t = torch.as_tensor(t)
        if t.numel() != 1 or not t > 0:
            raise InvalidInput(f"t is {t.tolist()}; a linear score takes one positive time for the whole batch.")
        return float(t)


def fit(
    y: Tensor,
    generator: torch.Generator,
    *,
    h: Tensor | None = None,
    field: Callable | None = None,
    process: Process | None = None,
    times: Tensor | None = None,
    features: int = 8,
    denoised: bool = False,
    potential_samples: int = 1000,
) -> LinearScore:
    r"""Fit a linear score to samples by score matching, one linear system a time.

    The covariance of the noisy data is known from that of the data, so the Gaussian part is exact at every time. The
    potentials are fitted on up to ``potential_samples`` samples, noised afresh at every time.

    Args:
        y: samples ``(batch, channels, M, M)`` of mean zero and about unit variance: a field, or details.
        generator: source of the noise.
        h: clean condition ``(batch, channels, M, M)`` on the same grid, or None.
        field: affine map ``field(y, h)`` to the sites on which the potential acts; by default ``y`` itself.
        process: forward process, OU with ``T = 5`` unless given.
        times: increasing positive times at which to solve; by default 40 from 0.005 to T, log-spaced.
        features: number of potentials; 0 leaves the Gaussian score.
        denoised: let the potential act on the best linear estimate of the clean sites, not on the noisy ones.
        potential_samples: samples on which potentials are fitted.

    Returns:
        The score.

    Raises:
        InvalidInput: shapes that do not fit, times that do not increase, too few samples for a covariance.

    Source:
        Hyvärinen (2005), Estimation of non-normalized statistical models by score matching; Guth, Coste, De Bortoli &
        Mallat (2022), Section 4.1, where it is done by gradient descent.
    """
    process = OU() if process is None else process
    times = torch.logspace(math.log10(0.005), math.log10(process.T), 40) if times is None else torch.as_tensor(times)
    _check_fit(y, h, times, features, potential_samples)
    field = (lambda y, h: y) if field is None else field
    spectrum, c = spectral.covariance(spectral.fourier(y, h)), y.shape[1]
    y, h = y[:potential_samples], None if h is None else h[:potential_samples]
    fits = []
    for t in times.tolist():
        y_t, _ = process.noise(y, t, generator)
        sites = _denoised(field, spectral.estimator(spectrum, c, process, t)) if denoised else field
        fits.append(_solve(y_t, h, sites, features))
    theta, linear, scale = (torch.stack(parts) for parts in zip(*fits))
    return LinearScore(process, spectrum, c, times.float(), theta, linear, scale, field, denoised)


def fit_cascade(cascade, x: Tensor, generator: torch.Generator, **options) -> tuple[LinearScore, list[LinearScore]]:
    """Fit every factor of a wavelet cascade: the coarse field, and the details of each scale given the coarser field.

    Args:
        cascade: a :class:`wavelab.wsgm.cascade.Cascade`.
        x: training data ``(batch, 1, L, L)``.
        generator: source of the noise.
        **options: handed to :func:`fit`.

    Returns:
        The coarse score and the details' scores, finest first, as ``cascade.sample`` wants them.

    Raises:
        InvalidInput: as :func:`fit`.
    """
    pairs = cascade.analyse(x)
    details = [
        fit(x_bar, generator, h=x_j, field=lambda y, h, j=j: cascade.refine(h, y, j), **options)
        for j, (x_bar, x_j) in enumerate(pairs, 1)
    ]
    return fit(pairs[-1][1], generator, **options), details


def _denoised(field: Callable, estimator: Tensor) -> Callable:
    """Return the sites as a function of noisy y."""
    return lambda y, h: field(spectral.inverse(spectral.multiply(estimator, spectral.transform(y, h)), y.shape[-2:]), h)


def _read_force(x: Tensor, theta: Tensor) -> Tensor:
    """Return sum theta_i v_i'(x), read from a table with straight lines between its points; it is odd in x."""
    end = 2.5 * CENTRES
    grid = torch.linspace(0, end, POINTS, device=x.device)
    table = torch.einsum("i,ip->p", theta, potential_forces(grid, len(theta))[0])
    place = (x.abs() * ((POINTS - 1) / end)).clamp(max=POINTS - 1.001)
    cell = place.long()
    return (table[cell] + table.diff()[cell] * (place - cell)) * x.sign()


def _solve(y: Tensor, h: Tensor | None, field: Callable, features: int) -> tuple[Tensor, Tensor, Tensor]:
    """Solve M theta = b for potentials whose linear part is taken off; return theta, sum theta_i B_i and the scale."""
    noisy = spectral.fourier(y, h)
    precision = torch.linalg.inv(spectral.covariance(noisy))
    y = y.detach().requires_grad_()
    sites = field(y, h)
    scale = sites.detach().square().mean().sqrt()
    if not features:
        return y.new_zeros(0), torch.zeros_like(precision[:, : y.shape[1]]), scale
    forces, curvatures = potential_forces(sites.detach() / scale, features)
    gradients = [torch.autograd.grad(sites, y, force, retain_graph=True)[0] for force in forces]
    g = torch.stack([spectral.fourier(gradient, None) for gradient in gradients])
    B = spectral.cross_covariance(g, noisy) @ precision
    rest = g - noisy @ B.mT  # what no linear function of (y, h) predicts
    weight = spectral.multiplicity(y.shape[-2:]).to(y.device)
    M = torch.einsum("ifbc,jfbc,f->ij", rest, rest.conj(), weight.to(g.dtype)).real / len(y)
    divergence = (curvatures * spectral.row_energy(field, y, h)).sum((2, 3, 4)).mean(1) / scale
    trace = (B[..., : y.shape[1]].diagonal(dim1=-2, dim2=-1).real.sum(-1) * weight).sum(-1)
    size = sum(gradient.square().sum() for gradient in gradients) / (features * len(y))
    theta = torch.linalg.solve(M + RIDGE * size * torch.eye(features, device=M.device), divergence - trace)
    return theta, torch.einsum("i,ifck->fck", theta.to(B.dtype), B), scale


def _check_fit(y: Tensor, h: Tensor | None, times: Tensor, features: int, potential_samples: int) -> None:
    check_tensor(y, "y", 2)
    if y.ndim != 4 or (h is not None and (h.ndim != 4 or h.shape[0] != y.shape[0] or h.shape[2:] != y.shape[2:])):
        raise InvalidInput(
            f"Got y {tuple(y.shape)} and h {None if h is None else tuple(h.shape)}; expected (batch, channels, M, M) "
            "with the same batch and grid."
        )
    k = y.shape[1] + (0 if h is None else h.shape[1])
    if min(len(y), potential_samples) < 2 * k:
        raise InvalidInput(
            f"There are {min(len(y), potential_samples)} samples for {k} channels; give at least {2 * k}."
        )
    if not y.isfinite().all() or (h is not None and not h.isfinite().all()):
        raise InvalidInput("The samples hold NaN or infinite values; expected finite numbers.")
    if times.ndim != 1 or len(times) < 2 or not (times.diff() > 0).all() or not times[0] > 0:
        raise InvalidInput(f"times is {times.tolist()}; expected at least two increasing positive times.")
    if not isinstance(features, int) or features < 0:
        raise InvalidInput(f"features is {features!r}; give a number of potentials, 0 or more.")
