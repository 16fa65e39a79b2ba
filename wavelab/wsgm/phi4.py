r"""The lattice :math:`\varphi^4` field at its phase transition: energy, derivatives, Monte Carlo of many lattices.

Every energy here has the form

.. math:: E(x) = -b\sum_{\langle uv\rangle} x_u x_v + \sum_u \left(x_u^4 - w\,x_u^2 + c\right), \qquad p \propto e^{-E},

with each bond :math:`\langle uv\rangle` of the periodic ``L × L`` square lattice counted once. :func:`couplings` gives
:math:`(b, w, c)`. Fields are tensors ``(chains, 1, L, L)``; chains are independent copies that are moved together.
Chapter "φ⁴ at the phase transition" explains everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from wavelab.errors import InvalidInput, UnknownName
from wavelab.subbands import check_tensor
from wavelab.wsgm import checkerboard as board

BETA = 0.68  # where the form "critical" is critical
FORMS = ("critical", "printed", "printed-pairs")


def couplings(beta: float = BETA, form: str = "critical") -> tuple[float, float, float]:
    r"""Return bond :math:`b`, well :math:`w` and constant :math:`c` of one of three energies.

    ``critical`` is :math:`-\beta\sum_{\langle uv\rangle}x_ux_v + \sum_u(x_u^4 - x_u^2)`, critical at
    :math:`\beta\approx0.68`. ``printed`` is :math:`\frac\beta2\sum(x_u-x_v)^2 + \sum_u(x_u^2-1)^2` with each bond
    once, ``printed-pairs`` the same with each bond twice, once in each direction.

    Args:
        beta: finite coupling.
        form: one of :data:`FORMS`.

    Returns:
        The three numbers.

    Raises:
        UnknownName: another form.
        InvalidInput: ``beta`` is not a finite number.

    Source:
        Guth, Coste, De Bortoli & Mallat (2022), Section 4.1, for the printed energy; Milchev, Heermann & Binder
        (1986) for the model.
    """
    if not isinstance(beta, int | float) or not math.isfinite(beta):
        raise InvalidInput(f"beta is {beta!r}; give a finite number, such as {BETA}.")
    if form == "critical":
        return beta, 1.0, 0.0
    if form == "printed":
        return beta, 2 - 2 * beta, 1.0
    if form == "printed-pairs":
        return 2 * beta, 2 - 4 * beta, 1.0
    raise UnknownName.among("form of the energy", form, FORMS)


def _neighbours(x: Tensor) -> Tensor:
    return x.roll(1, -1) + x.roll(-1, -1) + x.roll(1, -2) + x.roll(-1, -2)


def _check_field(x: Tensor) -> None:
    check_tensor(x, "x", 2)
    if x.ndim != 4 or x.shape[1] != 1 or x.shape[-1] != x.shape[-2]:
        raise InvalidInput(f"x has shape {tuple(x.shape)}; expected (batch, 1, L, L).")


def energy(x: Tensor, beta: float = BETA, form: str = "critical") -> Tensor:
    r"""Return :math:`E(x)`, shape ``(batch,)``, of fields ``x`` of shape ``(batch, 1, L, L)``.

    Raises:
        InvalidInput: another shape.
        UnknownName: another form.
    """
    _check_field(x)
    bond, well, constant = couplings(beta, form)
    pairs = x * (x.roll(1, -1) + x.roll(1, -2))  # each bond once
    return (-bond * pairs + x**4 - well * x**2 + constant).sum((1, 2, 3))


def gradient(x: Tensor, beta: float = BETA, form: str = "critical") -> Tensor:
    r"""Return :math:`\nabla E(x) = -b\sum_{v\sim u}x_v + 4x_u^3 - 2w\,x_u`, shape as ``x``; the score is its negative.

    Raises:
        InvalidInput: another shape.
        UnknownName: another form.
    """
    _check_field(x)
    bond, well, _ = couplings(beta, form)
    return -bond * _neighbours(x) + 4 * x**3 - 2 * well * x


def hessian(x: Tensor, beta: float = BETA, form: str = "critical") -> Tensor:
    r"""Return :math:`\nabla^2E(x) = -bA + \mathrm{diag}(12x_u^2 - 2w)` with the lattice's adjacency matrix :math:`A`.

    Args:
        x: shape ``(batch, 1, L, L)``.
        beta: coupling.
        form: one of :data:`FORMS`.

    Returns:
        Shape ``(batch, L², L²)``.

    Raises:
        InvalidInput: another shape.
        UnknownName: another form.
    """
    _check_field(x)
    bond, well, _ = couplings(beta, form)
    d = x.shape[-1] ** 2
    eye = torch.eye(d, dtype=x.dtype, device=x.device)
    adjacency = _neighbours(eye.reshape(d, *x.shape[-2:])).reshape(d, d)
    return -bond * adjacency + torch.diag_embed(12 * x.flatten(1) ** 2 - 2 * well)


def simulate(
    L: int,
    chains: int,
    sweeps: int,
    generator: torch.Generator,
    *,
    beta: float = BETA,
    form: str = "critical",
    step: float = 1.2,
    flip_every: int = 3,
    cluster_every: int = 0,
    start: Tensor | None = None,
    observe: Callable[[int, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Run checkerboard Metropolis on many independent lattices at once.

    A sweep proposes :math:`x_u + \mathrm{step}\,(2U-1)` at every site, even sites first. Every ``flip_every``-th sweep
    also proposes :math:`-x_u` everywhere. Every ``cluster_every``-th sweep ends with a Swendsen–Wang move of the signs:
    neighbours of equal sign are joined with probability :math:`1-e^{-2b\,x_ux_v}` and each cluster's sign is drawn
    anew. All three keep :math:`e^{-E}` invariant.

    Args:
        L: even width, at least 2.
        chains: number of independent lattices.
        sweeps: number of sweeps.
        generator: source of all randomness; its device is the fields' device.
        beta: coupling.
        form: one of :data:`FORMS`.
        step: half width of the proposals, positive.
        flip_every: sweeps between sign proposals; 0 for none.
        cluster_every: sweeps between cluster moves; 0 for none.
        start: fields ``(chains, 1, L, L)``; by default signs at random and size 0.8.
        observe: called with the number of sweeps done and the fields, after every sweep.

    Returns:
        fields: ``(chains, 1, L, L)``, float32.
        m: magnetisation :math:`\frac1{L^2}\sum_ux_u` after every sweep, ``(chains, sweeps)``, float64.

    Raises:
        InvalidInput: a size, a step or a start that does not fit.
        UnknownName: another form.

    Source:
        Metropolis and others (1953); Swendsen & Wang (1987) for clusters, Brower & Tamayo (1989) for their use on φ⁴.
    """
    _check_run(L, chains, sweeps, step, flip_every, cluster_every)
    bond, well, _ = couplings(beta, form)
    x = _random_signs(chains, L, generator) if start is None else start.to(torch.float32)
    if x.shape != (chains, 1, L, L):
        raise InvalidInput(f"start has shape {tuple(x.shape)}; expected {(chains, 1, L, L)}.")
    m = torch.empty(chains, sweeps, dtype=torch.float64, device=x.device)
    colours = board.split(x)
    for k in range(sweeps):
        board.metropolis(colours, bond, well, step, generator)
        if flip_every and (k + 1) % flip_every == 0:
            board.sign_flips(colours, bond, generator)
        if cluster_every and (k + 1) % cluster_every == 0:
            colours = board.split(board.flip_clusters(board.join(colours), bond, generator))
        m[:, k] = (colours[0].sum((0, 1)) + colours[1].sum((0, 1))).double() / L**2
        if observe is not None:
            observe(k + 1, board.join(colours))
    return board.join(colours), m


def _random_signs(chains: int, L: int, generator: torch.Generator) -> Tensor:
    return torch.rand(chains, 1, L, L, generator=generator, device=generator.device).lt(0.5) * 1.6 - 0.8


def _check_run(L: int, chains: int, sweeps: int, step: float, flip_every: int, cluster_every: int) -> None:
    if not isinstance(L, int) or L < 2 or L % 2:
        raise InvalidInput(f"L is {L!r}; a periodic checkerboard needs an even width of at least 2.")
    for name, value, least in (
        ("chains", chains, 1), ("sweeps", sweeps, 1), ("flip_every", flip_every, 0), ("cluster_every", cluster_every, 0)
    ):  # fmt: skip
        if not isinstance(value, int) or value < least:
            raise InvalidInput(f"{name} is {value!r}; give an integer of at least {least}.")
    if not step > 0 or not math.isfinite(step):
        raise InvalidInput(f"step is {step!r}; give a positive number, such as 1.2.")


def sample(
    L: int,
    count: int,
    generator: torch.Generator,
    *,
    chains: int = 500,
    burn_in: int = 200,
    spacing: int = 40,
    **options,
) -> Tensor:
    """Draw ``count`` fields: burn in up to ``chains`` lattices, then keep all of them every ``spacing`` sweeps.

    With the cluster move, here every fourth sweep unless ``options`` say otherwise, the autocorrelation time is 9, 12
    and 16 sweeps for L = 8, 16 and 32 at the transition; the chapter measures it. Fields kept are nearly independent.

    Args:
        L: even width.
        count: number of fields.
        generator: source of all randomness.
        chains: lattices moved together.
        burn_in: sweeps before the first fields are kept.
        spacing: sweeps between fields kept.
        **options: handed to :func:`simulate`.

    Returns:
        Shape ``(count, 1, L, L)``.

    Raises:
        InvalidInput: sizes that are not positive integers.
        UnknownName: another form.
    """
    for name, value in (("count", count), ("chains", chains), ("spacing", spacing)):
        if not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} is {value!r}; give a positive integer.")
    options = {"cluster_every": 4, **options}
    x, _ = simulate(L, min(chains, count), burn_in, generator, **options)
    kept = [x]
    while len(kept) * len(x) < count:
        x, _ = simulate(L, len(x), spacing, generator, start=x, **options)
        kept.append(x)
    return torch.cat(kept)[:count]


def binder(m: Tensor) -> tuple[float, float]:
    r"""Binder cumulant :math:`U_4 = 1 - \langle m^4\rangle / 3\langle m^2\rangle^2` with its standard error.

    It is 0 for a Gaussian magnetisation (disorder), 2/3 for two sharp peaks (order), and at the transition nearly
    the same for every ``L``: 0.6107 in the class of the two-dimensional Ising model.

    Args:
        m: magnetisations ``(chains, sweeps)``. Chains must be independent; sweeps need not be.

    Returns:
        The cumulant, and its error from a jackknife that leaves out one chain at a time.

    Raises:
        InvalidInput: another shape, or fewer than two chains.

    Source:
        Binder (1981), Finite size scaling analysis of Ising model block distribution functions.
    """
    check_tensor(m, "m", 1)
    if m.ndim != 2 or len(m) < 2:
        raise InvalidInput(f"m has shape {tuple(m.shape)}; expected (chains, sweeps) with at least two chains.")
    second, fourth = (m.double() ** 2).mean(1), (m.double() ** 4).mean(1)
    n = len(m)
    without = 1 - (fourth.sum() - fourth) / (n - 1) / (3 * ((second.sum() - second) / (n - 1)) ** 2)
    error = ((n - 1) * without.var(correction=0)).sqrt()
    return float(1 - fourth.mean() / (3 * second.mean() ** 2)), float(error)
