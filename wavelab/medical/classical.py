r"""Reconstruction without learning: least squares with the image's bounds, total variation, wavelet sparsity.

All minimise :math:`\tfrac12\|A x - y\|_W^2 + \lambda R(x)` over images within bounds, by the same accelerated proximal
gradient method. ``physics`` is anything with ``A`` and ``A_adjoint``: :class:`wavelab.medical.ct.CT` or
:class:`wavelab.medical.mri.MRI` of real images. Chapter "Inverse problems" explains the method.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wavelab import wavelets
from wavelab.errors import InvalidInput
from wavelab.medical.checks import check_bounds, check_measurements, check_number, check_orthonormal, check_whole

Prox = Callable[[Tensor, float], Tensor]


@torch.no_grad()
def norm(physics, shape, weights: Tensor | None = None, steps: int = 30, seed: int = 0) -> float:
    r"""Estimate :math:`\|A^\top W A\|` by power iteration, from below.

    Args:
        physics: operator and adjoint.
        shape: ``(height, width)`` of an image.
        weights: of the measurements, broadcast against them; for a batch of them the largest norm counts.
        steps: iterations; thirty give about one per cent.
        seed: of the random start.

    Raises:
        InvalidInput: no steps.
    """
    check_whole("steps", steps)
    count = 1 if weights is None or weights.ndim < 4 else len(weights)
    start = torch.randn(count, 1, *shape, generator=torch.Generator().manual_seed(seed))
    x = start.to(getattr(physics, "device", "cpu"))
    for _ in range(steps):
        x = x / torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
        residual = physics.A(x)
        x = physics.A_adjoint(residual if weights is None else weights * residual)
    return float(torch.linalg.vector_norm(x, dim=(1, 2, 3)).max())


@torch.no_grad()
def fista(
    physics,
    y: Tensor,
    prox: Prox,
    steps: int,
    start: Tensor,
    *,
    weights: Tensor | None = None,
    step_size: float | None = None,
    callback: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    r"""Minimise :math:`\tfrac12\|Ax-y\|_W^2 + g(x)` by FISTA with restart.

    .. math::
        x_{k+1} = \mathrm{prox}_{\tau g}\big(z_k - \tau A^\top W(A z_k - y)\big), \qquad
        z_{k+1} = x_{k+1} + \tfrac{t_k-1}{t_{k+1}}(x_{k+1} - x_k)

    Each image of the batch forgets its momentum when it points uphill.

    Args:
        physics: operator and adjoint.
        y: measurements ``(batch, 1, ...)``.
        prox: ``prox(x, tau)`` returns :math:`\arg\min_u \tfrac1{2\tau}\|u-x\|^2 + g(u)`.
        steps: iterations.
        start: images ``(batch, 1, height, width)``.
        weights: of the measurements, such as the inverse of their variances.
        step_size: :math:`\tau`; left out, 0.95 over the largest eigenvalue of :math:`A^\top W A`.
        callback: called with the number of the iteration, from 1, and the images.

    Raises:
        InvalidInput: no steps, a step size that is not positive, complex images, or measurements, images or weights
            that do not fit or hold NaN.

    Source:
        Beck & Teboulle (2009), A fast iterative shrinkage-thresholding algorithm for linear inverse problems;
        restart: O'Donoghue & Candès (2015), Adaptive restart for accelerated gradient schemes.
    """
    check_whole("steps", steps)
    if start.is_complex():
        raise InvalidInput("start is complex; the methods here are for real images, as MRI(mask) has them.")
    check_measurements(physics, y, start, weights)
    if step_size is None:
        step_size = 0.95 / norm(physics, start.shape[-2:], weights)
    check_number("step_size", step_size)
    x, z = start, start
    t = torch.ones(len(start), *[1] * (start.ndim - 1), device=start.device)
    for k in range(1, steps + 1):
        residual = physics.A(z) - y
        gradient = physics.A_adjoint(residual if weights is None else weights * residual)
        new = prox(z - step_size * gradient, step_size)
        uphill = ((z - new) * (new - x)).flatten(1).sum(1) > 0
        t = torch.where(uphill.view_as(t), torch.ones_like(t), t)
        t_new = (1 + (1 + 4 * t**2).sqrt()) / 2
        z = torch.where(uphill.view_as(t), new, new + (t - 1) / t_new * (new - x))
        x, t = new, t_new
        if callback:
            callback(k, x)
    return x


def bounds(low: float = 0.0, high: float = math.inf) -> Prox:
    """Return the prox of an image's bounds: it clips. Alone in :func:`fista` it gives constrained least squares.

    Raises:
        InvalidInput: bounds that are not in order.
    """
    check_bounds(low, high)
    return lambda x, tau: x.clamp(low, high)


def wavelet_l1(weight: float, wavelet: str = "haar", levels: int = 3, low: float = 0.0, high: float = math.inf) -> Prox:
    r"""Return the prox of :math:`\lambda\sum|d|` over the details of an orthonormal wavelet transform, then bounds.

    The transform's blocks are shifted by a step that moves from call to call, so that their edges do not show; one
    shift is an exact prox, and the bounds are applied after it. Make a fresh prox for each reconstruction.

    Args:
        weight: :math:`\lambda\ge 0`.
        wavelet: an orthonormal wavelet.
        levels: levels of the transform.
        low: smallest value of an image.
        high: largest value of an image.

    Raises:
        InvalidInput: a negative weight, bounds that are not in order, no levels, or a wavelet that is not orthonormal.

    Source:
        Figueiredo & Nowak (2003), An EM algorithm for wavelet-based image restoration; shifts: Coifman & Donoho (1995).
    """
    check_number("weight", weight, zero=True)
    check_bounds(low, high)
    check_whole("levels", levels)
    check_orthonormal(wavelet)
    calls = 0

    def prox(x: Tensor, tau: float) -> Tensor:
        nonlocal calls
        shift = (calls % 2**levels, 3 * calls % 2**levels)
        calls += 1
        moved = x.roll(shift, (-2, -1))
        approx, details = wavelets.dwt(moved, wavelet, levels)
        shrunk = [torch.nn.functional.softshrink(d, weight * tau) for d in details]
        back = wavelets.idwt(approx, shrunk, wavelet).roll([-s for s in shift], (-2, -1))
        return back.clamp(low, high)

    return prox


def total_variation(weight: float, steps: int = 15, low: float = 0.0, high: float = math.inf) -> Prox:
    r"""Return the prox of :math:`\lambda\,\mathrm{TV}(x)=\lambda\sum_u\|(\nabla x)_u\|_2` within bounds.

    The dual problem is solved by a fast projected gradient method, started where the last call ended; so make a fresh
    prox for each reconstruction.

    Args:
        weight: :math:`\lambda\ge 0`.
        steps: iterations of the dual problem a call.
        low: smallest value of an image.
        high: largest value of an image.

    Raises:
        InvalidInput: a negative weight, bounds that are not in order, or no steps.

    Source:
        Beck & Teboulle (2009), Fast gradient-based algorithms for constrained total variation image denoising.
    """
    check_number("weight", weight, zero=True)
    check_bounds(low, high)
    check_whole("steps", steps)
    dual = None

    def prox(x: Tensor, tau: float) -> Tensor:
        nonlocal dual
        scale = max(weight * tau, 1e-30)
        p = x.new_zeros(2, *x.shape) if dual is None or dual.shape[1:] != x.shape else dual
        q, t = p, 1.0
        for _ in range(steps):
            image = (x - scale * _divergence(q)).clamp(low, high)
            new = q + _gradient(image) / (8 * scale)
            new = new / torch.hypot(new[0], new[1]).clamp_min(1)
            t_new = (1 + math.sqrt(1 + 4 * t**2)) / 2
            q, p, t = new + (t - 1) / t_new * (new - p), new, t_new
        dual = p
        return (x - scale * _divergence(p)).clamp(low, high)

    return prox


def _gradient(x: Tensor) -> Tensor:
    """Forward differences, 0 at the far border: shape ``(2, *x.shape)``."""
    down = torch.nn.functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
    right = torch.nn.functional.pad(x[..., :, 1:] - x[..., :, :-1], (0, 1))
    return torch.stack([down, right])


def _divergence(p: Tensor) -> Tensor:
    """The transpose of :func:`_gradient`."""
    down, right = p[0][..., :-1, :], p[1][..., :, :-1]
    pad = torch.nn.functional.pad
    return pad(down, (0, 0, 1, 0)) - pad(down, (0, 0, 0, 1)) + pad(right, (1, 0)) - pad(right, (0, 1))
