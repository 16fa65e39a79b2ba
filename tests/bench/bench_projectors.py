"""Throughput of :class:`wavelab.medical.ct.CT` against astra-toolbox, deepinv and scikit-image, on the CPU.

    python -m tests.bench.bench_projectors [--seconds 6] [--threads 2] [--check]

One image, 60 views, fan and parallel beam: the projection ``A``, the back-projection ``A^T``, and a gradient, that is a
projection and the way back through it. What a peer cannot do is left out; where its gradient is not built in, it is
charged ``A`` and ``A^T``, which a hand-written one would cost. The contenders of a row take turns in one run, and the
smallest time counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from tests.bench.bench_wavelets import chosen, smallest_times
from wavelab.medical.ct import CT, Fan, Parallel, fitted

SIZES, VIEWS = (128, 256), 60
BOUND = 4.0  # times as fast as the best peer, in every row
Calls = dict[str, Callable[[], object]]  # by the names in PASSES
PASSES = ("A", "A^T", "gradient")


def ours(kind: type, size: int) -> Calls:
    """Return the three calls of wavelab."""
    ct = CT(fitted(kind, size, 1.0, VIEWS))
    x, y = torch.rand(1, 1, size, size), torch.rand(1, 1, *ct.beam.sinogram_shape)
    return torch_calls(ct.A, ct.A_adjoint, x, y)


def torch_calls(forward, adjoint, x: torch.Tensor, y: torch.Tensor) -> Calls:
    """Return the calls of an operator that autograd follows."""

    def gradient():
        at = x.clone().requires_grad_()
        forward(at).square().sum().backward()
        return at.grad

    return {"A": lambda: forward(x), "A^T": lambda: adjoint(y), "gradient": gradient}


def astra(kind: type, size: int) -> Calls:
    """Return the calls of astra's CPU projectors: lines for a fan, linear interpolation for parallel rays."""
    import astra

    beam = fitted(kind, size, 1.0, VIEWS)
    volume, angles = astra.create_vol_geom(size, size), np.array(beam.angles)
    if kind is Fan:
        rays = astra.create_proj_geom("fanflat", beam.bin_width, beam.bins, angles, beam.source, beam.distance)
    else:
        rays = astra.create_proj_geom("parallel", beam.bin_width, beam.bins, angles)
    projector = astra.create_projector("line_fanflat" if kind is Fan else "linear", rays, volume)
    operator = astra.OpTomo(projector)
    x, y = np.random.default_rng(0).random((2, size * size), np.float32)[0], np.ones(VIEWS * beam.bins, np.float32)
    calls = {"A": lambda: operator @ x, "A^T": lambda: operator.T @ y}
    return {**calls, "gradient": lambda: operator.T @ (operator @ x)}


def deepinv(kind: type, size: int) -> Calls:
    """Return the calls of deepinv's operator, with the adjoint that autograd gives it."""
    from deepinv.physics import Tomography

    degrees = torch.arange(VIEWS) * ((360 if kind is Fan else 180) / VIEWS)
    physics = Tomography(degrees, size, circle=False, fan_beam=kind is Fan, adjoint_via_backprop=True, normalize=False)
    x = torch.rand(1, 1, size, size)
    return torch_calls(physics.A, physics.A_adjoint, x, torch.rand_like(physics.A(x)))


def scikit_image(kind: type, size: int) -> Calls:
    """Return the calls of radon and of unfiltered iradon, for parallel rays only."""
    from skimage.transform import iradon, radon

    if kind is Fan:
        raise ImportError("scikit-image has no fan beam")
    theta, x = np.arange(VIEWS) * (180 / VIEWS), np.random.default_rng(0).random((size, size))
    y = radon(x, theta, circle=False)
    back = {"theta": theta, "filter_name": None, "circle": False, "output_size": size}
    calls = {"A": lambda: radon(x, theta, circle=False), "A^T": lambda: iradon(y, **back)}
    return {**calls, "gradient": lambda: iradon(radon(x, theta, circle=False), **back)}


PEERS = {"astra": astra, "deepinv": deepinv, "scikit-image": scikit_image}


def main() -> int:
    """Print the table and the verdict; exit status 1 with ``--check`` where the bound is missed."""
    options = chosen(__doc__, 6.0)
    print(f"Projectors, {VIEWS} views, one image, {torch.get_num_threads()} threads, float32; least times in ms")
    print(
        f"{'beam':<10}{'size':<6}{'pass':<10}{'wavelab':>10}"
        + "".join(f"{name:>14}" for name in PEERS)
        + "   best peer"
    )
    ratios = [ratio for kind in (Fan, Parallel) for size in SIZES for ratio in compare(kind, size, options.seconds)]
    worst = min(ratios, default=math.inf)
    print(f"smallest ratio {worst:.1f} (at least {BOUND})" if ratios else "No peer is installed; nothing was compared.")
    return int(options.check and worst < BOUND)


def compare(kind: type, size: int, seconds: float) -> list[float]:
    """Print the rows of one beam and size, and return how many times faster than the best peer we are."""
    made = {"wavelab": ours(kind, size)}
    for name, peer in PEERS.items():
        try:
            made[name] = peer(kind, size)
        except ImportError as error:
            if kind is not Fan or name != "scikit-image":
                print(f"{name} is left out: {error}")
    ratios = []
    for step in PASSES:
        times = smallest_times({name: calls[step] for name, calls in made.items()}, seconds)
        best = min((t for name, t in times.items() if name != "wavelab"), default=None)
        cells = "".join(f"{1e3 * times[name]:>14.1f}" if name in times else f"{'–':>14}" for name in PEERS)
        verdict = f"{best / times['wavelab']:.1f} times ours" if best else ""
        print(f"{kind.__name__:<10}{size:<6}{step:<10}{1e3 * times['wavelab']:>10.2f}{cells}   {verdict}", flush=True)
        ratios += [best / times["wavelab"]] if best else []
    return ratios


if __name__ == "__main__":
    raise SystemExit(main())
