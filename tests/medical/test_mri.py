"""Magnetic resonance imaging: masks, the operator and its adjoint, data consistency in closed form."""

import numpy as np
import pytest
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical import mri
from wavelab.medical.mri import MRI

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SHAPES = [(32, 32), (33, 32), (31, 33)]


def _noise(*shape, seed=0, complex=False):
    dtype = torch.complex128 if complex else torch.float64
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _mask(kind="gaussian", shape=(32, 32), acceleration=4, seed=0, **options):
    return mri.mask(kind, shape, acceleration, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_transform_is_orthonormal_and_centred(shape):
    x = _noise(2, 1, *shape)
    k = mri.fft(x)
    torch.testing.assert_close(k.abs().square().sum(), x.square().sum())
    torch.testing.assert_close(mri.ifft(k).real, x)
    middle = mri.fft(torch.ones(shape, dtype=torch.float64)).abs()
    assert middle.argmax() == shape[0] // 2 * shape[1] + shape[1] // 2


@pytest.mark.parametrize("acceleration", [4, 8])
@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
def test_columns_are_exactly_as_many_as_asked(kind, acceleration):
    drawn = _mask(kind, (64, 128), acceleration, centre=0.06)
    assert (drawn == drawn[0]).all() and drawn[0].sum() == 128 / acceleration
    assert drawn[0, 60:68].all()  # the middle


def test_gaussian_columns_crowd_the_middle():
    often = torch.stack([_mask("gaussian", (1, 128), 4, seed) for seed in range(400)]).double().mean(0)[0]
    assert often[59:69].min() == 1
    assert often[48:58].mean() > 0.4 > 0.05 > often[:20].mean()


def test_poisson_points_keep_their_distance():
    drawn = _mask("poisson", (96, 80), 8, centre=0.0)
    assert drawn.sum() == 96 * 80 / 8
    points = drawn.nonzero().double()
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert distances.min() >= 2  # 8 points of the grid each have room for more than that
    block = _mask("poisson", (96, 80), 8, centre=0.1)
    assert block[43:53, 36:44].all() and block.sum() == 96 * 80 / 8


@pytest.mark.parametrize("kind", mri.MASKS)
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_is_exact(kind, real, shape):
    scan = MRI(_mask(kind, shape), real)
    x, y = _noise(2, 1, *shape, complex=not real), _noise(2, 1, *shape, seed=1, complex=True)
    left, right = (scan.A(x).conj() * y).sum(), (x.conj() * scan.A_adjoint(y)).sum()
    torch.testing.assert_close(left.real, right.real, rtol=0, atol=1e-10)
    if not real:
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])
@pytest.mark.parametrize("real", [True, False])
def test_adjoint_is_exact_in_single_precision(real, device):
    scan = MRI(_mask("gaussian", (64, 64)).to(device), real)
    x = _noise(2, 1, 64, 64, complex=not real).to(device, torch.float32 if real else torch.complex64)
    y = _noise(2, 1, 64, 64, seed=1, complex=True).to(device, torch.complex64)
    forwards, backwards = scan.A(x), scan.A_adjoint(y)
    left, right = (torch.vdot(a.flatten(), b.flatten()).real for a, b in ((forwards, y), (x.to(backwards), backwards)))
    assert abs(left - right) <= 1e-6 * forwards.norm() * y.norm()


@pytest.mark.parametrize("real", [True, False])
def test_gradients_are_right(real):
    scan = MRI(_mask("gaussian", (6, 8), 2, centre=0.25), real)
    x = _noise(1, 1, 6, 8, complex=not real).requires_grad_()
    y = _noise(1, 1, 6, 8, seed=1, complex=True).requires_grad_()
    assert torch.autograd.gradcheck(scan.A, x) and torch.autograd.gradcheck(scan.A_adjoint, y)
    assert torch.autograd.gradcheck(lambda y, z: scan.prox(y, z, 0.3), (y, x))


@pytest.mark.parametrize("kind", mri.MASKS)
def test_a_full_mask_measures_everything(kind):
    full = _mask(kind, (16, 16), 1, centre=1.0)
    assert full.all()
    x = _noise(1, 1, 16, 16)
    torch.testing.assert_close(MRI(full).A_adjoint(MRI(full).A(x)), x)
    assert _mask(kind, (np.int64(16), np.int64(16)), 1, centre=0.0).all()


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_data_consistency_is_the_minimiser(real, shape):
    scan = MRI(_mask("gaussian", shape), real)
    z, y = _noise(2, 1, *shape, complex=not real), scan.mask * _noise(2, 1, *shape, seed=1, complex=True)
    x = scan.prox(y, z, 0.3).requires_grad_()
    loss = 0.5 * (scan.A(x) - y).abs().square().sum() + 0.15 * (x - z).abs().square().sum()
    (gradient,) = torch.autograd.grad(loss, x)
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("real", [True, False])
def test_without_weight_measured_points_are_kept_exactly(real):
    scan = MRI(_mask(), real)
    truth, z = _noise(1, 1, 32, 32, complex=not real), _noise(1, 1, 32, 32, seed=1, complex=not real)
    y = scan.A(truth)
    torch.testing.assert_close(scan.A(scan.prox(y, z, 0)), y)
    assert torch.linalg.norm(scan.prox(y, z, 0) - truth) < torch.linalg.norm(z - truth)
    torch.testing.assert_close(scan.prox(y, scan.prox(y, z, 0), 0), scan.prox(y, z, 0))


def test_a_real_image_tells_the_mirror_points():
    """Half of k-space determines a real image, and leaves half of a complex one open."""
    half = torch.zeros(32, 32, dtype=torch.bool)
    half[:, :17] = True
    half[16:, 0] = half[16:, 16] = True
    x = _noise(1, 1, 32, 32)
    torch.testing.assert_close(MRI(half).least_squares(MRI(half).A(x)), x)
    assert torch.linalg.norm(MRI(half, real=False).least_squares(MRI(half).A(x)) - x) > 0.3 * torch.linalg.norm(x)


def test_noise_has_its_variance():
    n = mri.noise(torch.zeros(40, 1, 32, 32, dtype=torch.complex64), 0.3, torch.Generator().manual_seed(0))
    assert n.abs().square().mean() == pytest.approx(0.09, rel=0.02)
    assert n.real.var() == pytest.approx(0.045, rel=0.03)


CALLS = {
    "full middle": (lambda: _mask(acceleration=16, centre=0.5), "lower centre"),
    "full middle, points": (lambda: _mask("poisson", acceleration=16, centre=0.5), "The middle has"),
    "acceleration": (lambda: _mask(acceleration=0.5), "acceleration is 0.5"),
    "share": (lambda: _mask(centre=1.5), "centre is 1.5"),
    "shape": (lambda: _mask(shape=(32,)), "height, width"),
    "shape of one number": (lambda: _mask(shape=32), "height, width"),
    "height": (lambda: _mask(shape=(0, 32)), "height is 0"),
    "nothing": (lambda: _mask(acceleration=100, centre=0.0), "nothing of 32 x 32"),
    "nothing, points": (lambda: _mask("poisson", acceleration=1e4, centre=0.0), "nothing of 32 x 32"),
    "NaN": (lambda: MRI(_mask()).A(torch.full((1, 1, 32, 32), torch.nan)), "x .* holds NaN"),
    "NaN, adjoint": (lambda: MRI(_mask()).A_adjoint(torch.full((32, 32), torch.nan) + 0j), "y .* holds NaN"),
    "empty mask": (lambda: MRI(torch.zeros(8, 8, dtype=torch.bool)), "nothing is measured"),
    "mask of numbers": (lambda: MRI(torch.ones(8, 8)), "boolean"),
    "another shape": (lambda: MRI(_mask()).A(torch.zeros(1, 1, 32, 31)), "this scan has"),
    "complex images": (lambda: MRI(_mask()).A(torch.zeros(32, 32, dtype=torch.complex64)), "real=False"),
    "real data": (lambda: MRI(_mask()).A_adjoint(torch.zeros(32, 32)), "k-space is complex"),
    "weight": (lambda: MRI(_mask()).prox(torch.zeros(32, 32), torch.zeros(32, 32), -1), "weight is -1"),
    "sigma": (lambda: mri.noise(torch.zeros(2, dtype=torch.complex64), -1, torch.Generator()), "sigma is -1"),
}


@pytest.mark.parametrize("call, words", CALLS.values(), ids=CALLS)
def test_bad_input_is_named(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_unknown_mask():
    with pytest.raises(UnknownName, match="gaussian"):
        _mask("gauss")
