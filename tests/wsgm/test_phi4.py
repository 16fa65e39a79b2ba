"""The lattice φ⁴ field: derivatives against autograd, Monte Carlo against quadrature, exact facts and bad input."""

import functools

import numpy as np
import pytest
import torch

from wavelab import diffusion
from wavelab.errors import InvalidInput, UnknownName
from wavelab.wsgm import checkerboard, phi4


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _fields(L=6, batch=3, dtype=torch.float64):
    return torch.randn(batch, 1, L, L, generator=_generator(), dtype=dtype)


def _by_bonds(x, beta, form):
    """The three energies as they are defined, bond by bond."""
    L, total = x.shape[-1], 0.0
    bonds = [(i, j, (i + a) % L, (j + 1 - a) % L) for i in range(L) for j in range(L) for a in (0, 1)]
    for i, j, k, m in bonds:
        u, v = float(x[i, j]), float(x[k, m])
        total += -beta * u * v if form == "critical" else beta / 2 * (u - v) ** 2 * (1 + (form == "printed-pairs"))
    for u in x.flatten().tolist():
        total += u**4 - u**2 if form == "critical" else (u**2 - 1) ** 2
    return total


@pytest.mark.parametrize("form", phi4.FORMS)
def test_energy_is_its_definition(form):
    x = _fields(4)
    expected = [_by_bonds(field[0], 0.68, form) for field in x]
    np.testing.assert_allclose(phi4.energy(x, 0.68, form), expected, rtol=1e-12)


def test_printed_energy_is_critical_one_with_another_well():
    x = _fields()
    quadratic = (1 - 2 * 0.68) * x.square().sum((1, 2, 3))
    difference = phi4.energy(x, 0.68, "printed") - phi4.energy(x, 0.68, "critical")
    torch.testing.assert_close(difference, 36 - quadratic)


@pytest.mark.parametrize("form", phi4.FORMS)
@pytest.mark.parametrize("L", [2, 6])
def test_gradient_and_hessian_by_autograd(form, L):
    x = _fields(L).requires_grad_()
    (gradient,) = torch.autograd.grad(phi4.energy(x, 0.5, form).sum(), x)
    torch.testing.assert_close(phi4.gradient(x, 0.5, form), gradient)

    def of_vector(v):
        return phi4.energy(v.reshape(1, 1, L, L), 0.5, form).sum()

    expected = torch.autograd.functional.hessian(of_vector, x.detach()[0].flatten())
    torch.testing.assert_close(phi4.hessian(x.detach(), 0.5, form)[0], expected)


@pytest.mark.parametrize("L", [2, 4, 6])
def test_checkerboard_is_the_lattice(L):
    x = _fields(L)
    colours = checkerboard.split(x)
    assert torch.equal(checkerboard.join(colours), x)
    around = [checkerboard.around(colours[1 - k], k) for k in (0, 1)]
    neighbours = x.roll(1, -1) + x.roll(-1, -1) + x.roll(1, -2) + x.roll(-1, -2)
    torch.testing.assert_close(checkerboard.join(around), neighbours)


def test_independent_sites_against_quadrature():
    x, _ = phi4.simulate(8, 400, 60, _generator(1), beta=0.0, form="critical")
    u = np.linspace(-4, 4, 8001)
    p = np.exp(u**2 - u**4)
    for power in (2, 4, 6):
        values = x.double().pow(power).mean((1, 2, 3))
        exact = (u**power * p).sum() / p.sum()
        assert abs(values.mean() - exact) < 4 * values.std() / 20


@functools.cache
def _two_by_two():
    """Exact moments on the 2 × 2 lattice, where each of the four bonds of the ring 0-1-3-2 counts twice."""
    u = np.linspace(-2.6, 2.6, 131)
    site = np.exp(u**2 - u**4)
    link = np.exp(2 * 0.68 * np.outer(u, u)) * np.sqrt(np.outer(site, site))
    ring = np.linalg.matrix_power(link, 4)
    Z = np.trace(ring)
    square = (np.diag(ring) * u**2).sum() / Z
    bond = ((u[:, None] * link * u) * np.linalg.matrix_power(link, 3)).sum() / Z
    across = (u[:, None] * (link @ link) * u * (link @ link)).sum() / Z
    fourth = (np.diag(ring) * u**4).sum() / Z
    return {"square": square, "bond": bond, "across": across, "fourth": fourth}


def _measured(x):
    (a, b), (c, d) = x[:, 0].double().permute(1, 2, 0)
    return {
        "square": (a**2 + b**2 + c**2 + d**2) / 4,
        "bond": (a * b + b * d + d * c + c * a) / 4,
        "across": (a * d + b * c) / 2,
        "fourth": (a**4 + b**4 + c**4 + d**4) / 4,
    }


@pytest.mark.parametrize("moves", [{"flip_every": 0}, {"flip_every": 1}, {"flip_every": 0, "cluster_every": 1}])
def test_two_by_two_lattice_against_transfer_matrix(moves):
    x, _ = phi4.simulate(2, 20000, 60, _generator(2), **moves)
    for name, values in _measured(x).items():
        assert abs(values.mean() - _two_by_two()[name]) < 4 * values.std() / 20000**0.5, name


@functools.cache
def _exact_samples(count=12000):
    """Independent samples of the 2 × 2 lattice, drawn by rejection."""
    g, kept = _generator(3), []
    while sum(map(len, kept)) < count:
        x = torch.rand(500000, 1, 2, 2, generator=g) * 4 - 2
        weight = -phi4.energy(x) - 5.6
        assert weight.max() < 0
        kept.append(x[torch.rand(len(x), generator=g) < weight.exp()])
    return torch.cat(kept)[:count]


@pytest.mark.parametrize("moves", [{"flip_every": 0}, {"flip_every": 1}, {"flip_every": 0, "cluster_every": 1}])
def test_one_sweep_keeps_the_exact_law(moves):
    x = _exact_samples()
    before = _measured(x)
    after = _measured(phi4.simulate(2, len(x), 1, _generator(12), start=x, **moves)[0])
    for name, exact in _two_by_two().items():
        for values in (before[name], after[name]):
            assert abs(values.mean() - exact) < 4 * values.std() / len(x) ** 0.5, name


@functools.cache
def _critical(L):
    x, _ = phi4.simulate(L, 200, 150, _generator(L), cluster_every=2)
    return phi4.simulate(L, 200, 240, _generator(L + 1), cluster_every=2, start=x)


@pytest.mark.parametrize("L", [8, 16])
def test_binder_cumulant_at_the_transition(L):
    value, error = phi4.binder(_critical(L)[1])
    assert 0.58 < value < 0.62 and error < 0.005


def test_printed_energy_is_not_critical():
    disordered, _ = phi4.binder(phi4.simulate(16, 150, 240, _generator(5), form="printed", cluster_every=4)[1][:, 80:])
    ordered, _ = phi4.binder(
        phi4.simulate(16, 50, 160, _generator(6), form="printed-pairs", cluster_every=4)[1][:, 80:]
    )
    assert disordered < 0.25 and ordered > 0.65


@pytest.mark.parametrize("L, square, size, peak", [(8, 0.846, 0.688, 32), (16, 0.834, 0.624, 104)])
def test_reference_observables(L, square, size, peak):
    x, m = _critical(L)
    for values, expected, rounding in (
        (x.square().mean((1, 2, 3)), square, 0.003),
        (m.abs().mean(1), size, 0.003),
        (L**2 * m.square().mean(1), peak, 0.02 * peak),
    ):
        assert abs(values.mean() - expected) < 4 * values.std() / len(values) ** 0.5 + rounding


def test_one_seed_one_result():
    first, second = (phi4.sample(4, 7, _generator(4), chains=3, burn_in=5, spacing=2) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (7, 1, 4, 4)
    assert len({field.sum().item() for field in first}) == 7


def test_observe_sees_every_sweep():
    seen = []
    x, m = phi4.simulate(4, 5, 6, _generator(), observe=lambda k, x: seen.append((k, x.mean((1, 2, 3)))))
    assert [k for k, _ in seen] == [1, 2, 3, 4, 5, 6]
    torch.testing.assert_close(torch.stack([v for _, v in seen], 1).double(), m, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(x.mean((1, 2, 3)).double(), m[:, -1], atol=1e-6, rtol=1e-5)


def test_binder_limits():
    gaussian = torch.randn(400, 500, generator=_generator(7))
    value, error = phi4.binder(gaussian)
    assert abs(value) < 4 * error < 0.05
    peaks = 2.0 * (torch.rand(10, 10, generator=_generator(8)) < 0.5) - 1
    assert phi4.binder(peaks)[0] == pytest.approx(2 / 3)


def test_binder_error_is_honest():
    values = [phi4.binder(torch.rand(50, 20, generator=_generator(k))) for k in range(60)]
    spread = np.std([value for value, _ in values])
    assert 0.7 < np.mean([error for _, error in values]) / spread < 1.4


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_a_known_chain(rho):
    noise = torch.randn(50, 4000, generator=_generator(9), dtype=torch.float64)
    series = noise.clone()
    for k in range(1, 4000):
        series[:, k] = rho * series[:, k - 1] + (1 - rho**2) ** 0.5 * noise[:, k]
    tau, error = diffusion.autocorrelation_time(series)
    exact = 0.5 * (1 + rho) / (1 - rho)
    assert abs(tau - exact) < 5 * error and error < 0.05 * exact


def test_clusters_forget_faster():
    times = {}
    for every in (0, 1):
        x, _ = phi4.simulate(8, 100, 100, _generator(10), cluster_every=every)
        _, m = phi4.simulate(8, 100, 400, _generator(11), cluster_every=every, start=x)
        times[every] = diffusion.autocorrelation_time(m**2)[0]
    assert times[1] < 0.6 * times[0]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: phi4.simulate(7, 2, 2, _generator()), "even width"),
        (lambda: phi4.simulate(8, 0, 2, _generator()), "chains"),
        (lambda: phi4.simulate(8, 2, 0, _generator()), "sweeps"),
        (lambda: phi4.simulate(8, 2, 2, _generator(), step=0.0), "step"),
        (lambda: phi4.simulate(8, 2, 2, _generator(), start=torch.zeros(2, 1, 4, 4)), "start"),
        (lambda: phi4.simulate(8, 2, 2, _generator(), flip_every=-1), "flip_every"),
        (lambda: phi4.sample(8, 0, _generator()), "count"),
        (lambda: phi4.energy(torch.zeros(2, 8, 8)), "expected"),
        (lambda: phi4.hessian(torch.zeros(2, 1, 8, 4)), "expected"),
        (lambda: phi4.couplings(float("nan")), "beta"),
        (lambda: phi4.binder(torch.zeros(5)), "chains"),
        (lambda: diffusion.autocorrelation_time(torch.ones(3, 50)), "constant"),
        (lambda: diffusion.autocorrelation_time(torch.arange(30.0)[None]), "run longer"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_unknown_form():
    with pytest.raises(UnknownName, match="critical"):
        phi4.energy(torch.zeros(1, 1, 4, 4), form="critcal")
