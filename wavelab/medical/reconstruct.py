r"""Reconstruction with a score: data consistency as a guidance for every sampler, and the paper's own iteration.

At the noise level :math:`\sigma` a score gives an estimate of the clean image, :math:`\hat x=x+\sigma^2 s(x)`. A scan
then moves it towards the measurement,

.. math:: \hat x' = \arg\min_u \tfrac12\|Au-y\|_W^2 + \tfrac{\rho}{2}\|u-\hat x\|^2, \qquad \rho=\lambda/\sigma^2,

and :math:`(\hat x'-x)/\sigma^2` takes the place of the score. So every sampler of :mod:`wavelab.diffusion` that takes a
guidance reconstructs. Chapter "Inverse problems" derives it, chapters "Low-dose CT" to "MRI" use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from wavelab.diffusion import Process
from wavelab.diffusion.times import Time, normal
from wavelab.diffusion.walk import Guidance, Score
from wavelab.errors import InvalidInput
from wavelab.medical.checks import check_measurements, check_number, check_whole
from wavelab.medical.ct import CT
from wavelab.medical.mri import MRI
from wavelab.medical.regularise import Regulariser

Consistency = Callable[[Tensor, float], Tensor]


def consistency(physics: CT | MRI, y: Tensor, weight: float | Tensor = 1.0, steps: int = 5) -> Consistency:
    r"""Return ``consistent(z, rho)``, which solves the data-consistency step.

    .. math:: \arg\min_u \tfrac12\|Au-y\|_W^2 + \tfrac{\rho}{2}\|u-z\|^2

    For MRI it has a closed form, which is differentiable. For CT conjugate gradients, through which no gradient passes,
    start from the last solution: a sampler moves ``z`` and ``rho`` little by little, so take a fresh function for each
    reconstruction. Their preconditioner is

    .. math:: M^{-1} = D^{-1} C^{-1} D^{-1},\quad D^2=\bar c\,\operatorname{diag}(\kappa^2)+\rho,\quad
              \kappa^2 = \frac{A^\top w}{A^\top\mathbf 1},

    with the mean weight of the rays through a pixel, and :math:`C` diagonal in frequency, from the response :math:`c`
    of :math:`A^\top A` to a point in the middle; its mean is :math:`\bar c`.

    Args:
        physics: the scan.
        y: its measurements, ``(batch, 1, ...)``.
        weight: :math:`W`, the inverse variance of the measurements: one number for MRI, a sinogram or a number for CT.
        steps: iterations for CT.

    Raises:
        InvalidInput: a weight that is not positive, no steps, or measurements of another scanner or with NaN.

    Source:
        Fessler & Booth (1999), Conjugate-gradient preconditioning methods for shift-variant PET image reconstruction;
        the share of ``rho`` in both factors is ours.
    """
    if not bool(torch.as_tensor(weight).gt(0).all()):
        raise InvalidInput("weight must be positive: the inverse variance of the measurements.")
    check_whole("steps", steps)
    check_measurements(physics, y, weights=torch.as_tensor(weight))
    if isinstance(physics, MRI):
        check_number("weight", weight)
        return lambda z, rho: physics.prox(y, z, rho / weight)
    weight = torch.as_tensor(weight, dtype=y.dtype, device=y.device).expand(y.shape)
    pulled = physics.A_adjoint(weight * y)
    preconditioner, last = _preconditioner(physics, weight), None

    def consistent(z: Tensor, rho: float) -> Tensor:
        nonlocal last
        check_number("rho", rho)

        def normal_operator(u):
            return physics.A_adjoint(weight * physics.A(u)) + rho * u

        start = z if last is None or last.shape != z.shape else last
        last = conjugate_gradients(normal_operator, pulled + rho * z, start, steps, preconditioner(rho))
        return last

    return consistent


def _preconditioner(ct: CT, weight: Tensor) -> Callable[[float], Callable[[Tensor], Tensor]]:
    """Return what makes the preconditioner for a ``rho``; see :func:`consistency`."""
    response = _response(ct)
    rays = ct.A_adjoint(torch.ones_like(weight[:1]))
    kappa2 = ct.A_adjoint(weight) / rays.clamp_min(1e-6 * rays.max())
    mean = kappa2.mean((-2, -1), keepdim=True)

    def of(rho: float) -> Callable[[Tensor], Tensor]:
        scale = (response.mean() * kappa2 + rho).rsqrt()
        gain = (response.mean() * mean + rho) / (response * mean + rho)
        return lambda r: scale * torch.fft.irfft2(torch.fft.rfft2(scale * r) * gain, r.shape[-2:])

    return of


def _response(ct: CT) -> Tensor:
    r"""Frequency response of :math:`A^\top A`, from a point in the middle of the image."""
    size = ct.beam.size
    point = torch.zeros(1, 1, size, size, dtype=ct.dtype, device=ct.device)
    point[..., size // 2, size // 2] = 1
    spread = ct.A_adjoint(ct.A(point)).roll((-(size // 2), -(size // 2)), (-2, -1))
    return torch.fft.rfft2(spread).abs()


@torch.no_grad()
def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    b: Tensor,
    start: Tensor,
    steps: int,
    precondition: Callable[[Tensor], Tensor] = lambda r: r,
) -> Tensor:
    """Solve ``operator(x) = b`` for each image of a batch, for a symmetric positive definite operator.

    Images that are solved stay as they are.

    Source:
        Hestenes & Stiefel (1952), Methods of conjugate gradients for solving linear systems.
    """
    x, r = start, b - operator(start)
    z = precondition(r)
    p, rz = z, _dot(r, z)
    for _ in range(steps):
        q = operator(p)
        curvature = _dot(p, q)
        alpha = torch.where(curvature > 0, rz / curvature.clamp_min(1e-30), 0.0)
        x, r = x + alpha * p, r - alpha * q
        z = precondition(r)
        rz_new = _dot(r, z)
        p, rz = z + torch.where(rz > 0, rz_new / rz.clamp_min(1e-30), 0.0) * p, rz_new
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)[:, None, None, None]


def guidance(
    process: Process, consistent: Consistency, strength: float = 1.0, regulariser: Regulariser | None = None
) -> Guidance:
    r"""Return a guidance that puts the consistent estimate of the clean image in place of the score's own.

    Args:
        process: the variance-exploding process of the sampler.
        consistent: from :func:`consistency`.
        strength: :math:`\lambda` in :math:`\rho=\lambda/\sigma^2`: how far the score's estimate is trusted.
        regulariser: ``regulariser(x, sigma)``, applied to the estimate before the data.

    Raises:
        InvalidInput: a strength that is not positive.

    Source:
        The step of Zhu et al. (2023), Denoising diffusion models for plug-and-play image restoration.
    """
    check_number("strength", strength)

    def guide(x: Tensor, t: Time, score: Tensor) -> Tensor:
        sigma = float(process.sigma(t))
        estimate = x + sigma**2 * score
        if regulariser:
            estimate = regulariser(estimate, sigma)
        return (consistent(estimate, strength / sigma**2) - x) / sigma**2

    return guide


def levels(process: Process, sigmas: Sequence[float]) -> Tensor:
    """Return the grid of times, from 0, at which the process has the noise levels ``sigmas``, given in any order.

    Raises:
        InvalidInput: no levels, or levels that are not positive.
    """
    sigmas = torch.as_tensor(sorted(float(s) for s in sigmas), dtype=torch.float64)
    if len(sigmas) == 0 or not bool((sigmas > 0).all()):
        raise InvalidInput("sigmas must hold positive noise levels.")
    return torch.cat([torch.zeros(1, dtype=torch.float64), process.time(sigmas.log())])


@torch.no_grad()
def plug_and_play(
    score: Score,
    process: Process,
    sigmas: Sequence[float],
    consistent: Consistency,
    start: Tensor,
    *,
    strength: float = 1.0,
    regulariser: Regulariser | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    r"""Denoise and make consistent in turn, at falling noise levels.

    .. math::
        \hat x = x+\sigma_k^2\,s(x,\sigma_k),\qquad
        x \leftarrow \arg\min_u \tfrac12\|Au-y\|_W^2+\tfrac{\lambda}{2\sigma_k^2}\|u-\hat x\|^2

    It is half-quadratic splitting. At small :math:`\sigma` it comes to rest where
    :math:`A^\top W(Ax-y)=\lambda\,s(x,\sigma)`: for :math:`\lambda=1` the maximum of the posterior.

    Args:
        score: ``score(x, t)``.
        process: the variance-exploding process that dates the noise levels.
        sigmas: noise levels; they are walked from the largest.
        consistent: from :func:`consistency`, made for these measurements.
        start: images, such as filtered back-projection.
        strength: :math:`\lambda`.
        regulariser: ``regulariser(x, sigma)``, applied to the estimate before the data.
        callback: called with the number of the step, from 1, and the images.

    Returns:
        The images after the last step.

    Raises:
        InvalidInput: levels or a strength that are not positive.

    Source:
        Zhang et al. (2022), Plug-and-play image restoration with deep denoiser prior.
    """
    guide = guidance(process, consistent, strength, regulariser)
    x = start
    for k, t in enumerate(levels(process, sigmas).flip(0)[:-1].to(start)):
        x = x + float(process.sigma(t)) ** 2 * guide(x, t, score(x, t))
        if callback:
            callback(k + 1, x)
    return x


@torch.no_grad()
def annealed_sqs(
    score: Score,
    process: Process,
    sigmas: Sequence[float],
    ct: CT,
    y: Tensor,
    start: Tensor,
    generator: torch.Generator,
    *,
    steps_per_level: int = 10,
    step_size: float = 0.18,
    prior_weight: float = 350.0,
    momentum: float = 0.5,
    regulariser: Regulariser | None = None,
    every: int = 5,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    r"""Reconstruct CT as the wavelet-improved model does: Langevin steps in turn with steps towards the data.

    .. math::
        \tilde x \leftarrow x+\epsilon_i s(x,\sigma_i)+\sqrt{2\epsilon_i}\,u,\qquad
        x^{+}=z-\frac{A^\top(Az-y)+2\eta\,(z-\tilde x)}{A^\top A\mathbf 1+2\eta},\quad z=x^{+}+\gamma(x^{+}-x)

    with :math:`\epsilon_i=\texttt{step\_size}\,\sigma_i^2`. Unlike the released code the noise is Gaussian, the score
    sees the current iterate, the data term is taken at the extrapolated point, only measured views count, and the last
    iterate is returned. In the last step of all no noise is added.

    Args:
        score: ``score(x, t)``.
        process: the variance-exploding process that dates the noise levels.
        sigmas: noise levels; they are walked from the largest.
        ct: the scanner.
        y: sinograms ``(batch, 1, views, bins)``.
        start: images, such as filtered back-projection.
        generator: source of the noise.
        steps_per_level: iterations at each level.
        step_size: Langevin's step in units of the level's variance.
        prior_weight: :math:`\eta`, in the units of :math:`A^\top A\mathbf 1`.
        momentum: :math:`\gamma`.
        regulariser: ``regulariser(x, sigma)``, applied to the iterate.
        every: after how many iterations it is.
        callback: called with the number of the iteration, from 1, and the images.

    Raises:
        InvalidInput: measurements of another scanner, not as many as images, or with NaN; or a number out of range.

    Source:
        Wu et al. (2023); the step towards the data: Erdoğan & Fessler (1999), Ordered subsets algorithms for
        transmission tomography.
    """
    check_measurements(ct, y, start)
    check_whole("steps_per_level", steps_per_level)
    check_whole("every", every)
    check_number("step_size", step_size)
    for name, value in (("prior_weight", prior_weight), ("momentum", momentum)):
        check_number(name, value, zero=True)
    times = levels(process, sigmas)[1:].flip(0).to(start)
    majoriser = ct.A_adjoint(ct.A(torch.ones_like(start))) + 2 * prior_weight
    x = z = start
    total, count = len(times) * steps_per_level, 0
    for t in times:
        sigma = float(process.sigma(t))
        for _ in range(steps_per_level):
            count += 1
            epsilon = step_size * sigma**2
            prior = x + epsilon * score(x, t)
            if count < total:
                prior = prior + math.sqrt(2 * epsilon) * normal(x, generator)
            gradient = ct.A_adjoint(ct.A(z) - y) + 2 * prior_weight * (z - prior)
            new = z - gradient / majoriser
            x, z = new, new + momentum * (new - x)
            if regulariser and count % every == 0:
                x = regulariser(x, sigma)
            if callback:
                callback(count, x)
    return x
