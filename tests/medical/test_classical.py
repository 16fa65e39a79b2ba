"""Reconstruction without learning: each prox against a peer or a closed form, and the method against known minima."""

import math

import numpy as np
import pytest
import pywt
import torch
from skimage.restoration import denoise_tv_chambolle

from wavelab.errors import InvalidInput
from wavelab.medical import classical, mri
from wavelab.medical.ct import CT, Parallel, fitted
from wavelab.medical.mri import MRI
from wavelab.medical.phantoms import thorax


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _picture(size=32):
    return (thorax(1, size, np.random.default_rng(0)) / 1000 + 1).double()


class Matrix:
    """A small dense operator on flattened images."""

    def __init__(self, rows, size, seed=0):
        self.matrix = _noise(rows, size * size, seed=seed) / size
        self.size = size

    def A(self, x):
        return x.flatten(1) @ self.matrix.T

    def A_adjoint(self, y):
        return (y @ self.matrix).reshape(len(y), 1, self.size, self.size)


def test_norm_is_the_largest_eigenvalue():
    physics, weights = Matrix(40, 8), torch.rand(40, generator=torch.Generator().manual_seed(1)).double()
    exact = torch.linalg.eigvalsh(physics.matrix.T @ (weights[:, None] * physics.matrix))[-1]
    physics.matrix = physics.matrix.float()
    assert classical.norm(physics, (8, 8), weights.float(), 200) == pytest.approx(float(exact), rel=0.01)


def test_norm_of_a_batch_of_weights_is_the_largest():
    ct = CT(fitted(Parallel, 16, 1.0, 8))
    weights = torch.tensor([1.0, 3.0, 2.0])[:, None, None, None].expand(3, 1, 8, ct.beam.bins)
    assert classical.norm(ct, (16, 16), weights) == pytest.approx(3 * classical.norm(ct, (16, 16)), rel=0.01)


def test_constrained_least_squares_meets_the_optimality_conditions():
    physics = Matrix(80, 8)
    y = physics.A(_noise(2, 1, 8, 8).abs()) + _noise(2, 80, seed=3)
    x = classical.fista(physics, y, classical.bounds(0), 3000, torch.zeros(2, 1, 8, 8).double(), step_size=0.05)
    gradient = physics.A_adjoint(physics.A(x) - y)
    assert (x >= 0).all() and (x == 0).any()
    assert gradient[x > 0].abs().max() < 1e-6 and gradient[x == 0].min() > -1e-6


def test_a_weight_counts_like_repeated_measurements():
    physics, twice = Matrix(80, 8), Matrix(80, 8)
    twice.matrix = torch.cat([twice.matrix, twice.matrix[:40]])
    y = _noise(1, 80, seed=4)
    weights = torch.cat([torch.full((40,), 2.0), torch.ones(40)]).double()
    start, free = torch.zeros(1, 1, 8, 8).double(), classical.bounds(-np.inf)
    one = classical.fista(physics, y, free, 2000, start, weights=weights, step_size=0.05)
    two = classical.fista(twice, torch.cat([y, y[:, :40]], 1), free, 2000, start, step_size=0.05)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-7)


def test_total_variation_agrees_with_scikit_image():
    x = _picture() + 0.1 * _noise(1, 1, 32, 32)
    ours = classical.total_variation(0.15, 2000, -np.inf)(x, 1.0)[0, 0].numpy()
    peer = denoise_tv_chambolle(x[0, 0].numpy(), weight=0.15, eps=1e-9, max_num_iter=20000)

    def objective(u):
        jumps = classical._gradient(torch.from_numpy(u)).square().sum(0).sqrt().sum()
        return 0.5 * np.square(u - x[0, 0].numpy()).sum() + 0.15 * float(jumps)

    assert np.abs(ours - peer).max() < 5e-3
    assert objective(ours) <= objective(peer) * (1 + 1e-6)


def test_total_variation_of_a_step_has_its_closed_form():
    """Each plateau of a step of n pixels a row moves towards the other by weight / n."""
    x = torch.zeros(1, 1, 6, 16).double()
    x[..., 8:] = 1
    flat = classical.total_variation(0.4, 500, -np.inf)(x, 2.0)
    torch.testing.assert_close(flat[..., :8], torch.full((1, 1, 6, 8), 0.1).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(flat[..., 8:], torch.full((1, 1, 6, 8), 0.9).double(), rtol=0, atol=1e-4)


def test_gradient_and_divergence_are_transposes():
    x, p = _noise(2, 1, 7, 9), _noise(2, 2, 1, 7, 9, seed=1)
    left, right = (classical._gradient(x) * p).sum(), (x * classical._divergence(p)).sum()
    torch.testing.assert_close(left, right)


def test_wavelet_prox_shrinks_the_details_and_nothing_else():
    x = _noise(1, 1, 32, 32)
    prox = classical.wavelet_l1(0.3, "db2", 2, -np.inf)
    shrunk = pywt.wavedec2(prox(x, 2.0)[0, 0].numpy(), "db2", "periodization", 2)
    before = pywt.wavedec2(x[0, 0].numpy(), "db2", "periodization", 2)
    np.testing.assert_allclose(shrunk[0], before[0], atol=1e-10)
    for some, all_of in zip(shrunk[1:], before[1:], strict=True):
        for a, b in zip(some, all_of, strict=True):
            np.testing.assert_allclose(a, pywt.threshold(b, 0.6, "soft"), atol=1e-10)


def test_regularised_ct_beats_least_squares_and_least_squares_beats_back_projection():
    ct = CT(fitted(Parallel, 64, 5.6, 40))
    x = (thorax(3, 64, np.random.default_rng(1)) / 1000 + 1) * 0.02
    y = ct.A(x)
    y = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    start = ct.fbp(y).clamp_min(0)
    least, smooth, sparse = (
        classical.fista(ct, y, prox, 60, start)
        for prox in (classical.bounds(0), classical.total_variation(0.3), classical.wavelet_l1(0.3))
    )
    error = {n: float((u - x).norm()) for n, u in (("fbp", start), ("ls", least), ("tv", smooth), ("l1", sparse))}
    assert error["tv"] < 0.8 * error["ls"] and error["l1"] < 0.9 * error["ls"] and error["ls"] < 0.7 * error["fbp"]


def test_regularised_mri_beats_least_squares():
    x = _picture(64)
    scan = MRI(mri.mask("gaussian", (64, 64), 4, np.random.default_rng(0)))
    y = scan.A(x)
    start = scan.least_squares(y)
    smooth = classical.fista(scan, y, classical.total_variation(0.003), 200, start, step_size=1.0)
    assert (smooth - x).norm() < 0.6 * (start - x).norm() < 0.6 * (scan.A_adjoint(y) - x).norm()


CALLS = {
    "steps": lambda: classical.fista(Matrix(4, 4), torch.zeros(1, 4), classical.bounds(), 0, torch.zeros(1, 1, 4, 4)),
    "step_size": lambda: classical.fista(
        Matrix(4, 4), _noise(1, 4), classical.bounds(), 1, torch.zeros(1, 1, 4, 4), step_size=-1.0
    ),
    "bounds": lambda: classical.bounds(1, 0),
    "bounds ": lambda: classical.total_variation(0.1, low=1, high=0),
    "bounds  ": lambda: classical.wavelet_l1(0.1, low=1, high=0),
    "steps ": lambda: classical.total_variation(0.1, steps=0),
    "levels": lambda: classical.wavelet_l1(0.1, levels=0),
    "orthonormal": lambda: classical.wavelet_l1(0.1, "bior2.2"),
    "complex": lambda: classical.fista(
        MRI(torch.ones(8, 8, dtype=torch.bool), real=False),
        torch.zeros(1, 1, 8, 8) + 0j,
        classical.bounds(),
        1,
        torch.zeros(1, 1, 8, 8) + 0j,
    ),
    "weight": lambda: classical.wavelet_l1(-1.0),
    "weight ": lambda: classical.total_variation(float("nan")),
}


@pytest.mark.parametrize("word, call", CALLS.items(), ids=CALLS)
def test_bad_input_is_named(word, call):
    with pytest.raises(InvalidInput, match=word.strip()):
        call()


def _scan(y=None, start=None, weights=None):
    ct = CT(fitted(Parallel, 16, 1.0, 8))
    fits = torch.zeros(2, 1, *ct.beam.sinogram_shape)
    start = torch.zeros(2, 1, 16, 16) if start is None else start
    return classical.fista(ct, fits if y is None else y, classical.bounds(0), 1, start, weights=weights)


MEASUREMENTS = {
    "holds NaN": {"y": torch.full((2, 1, 8, fitted(Parallel, 16, 1.0, 8).bins), math.nan)},
    "this geometry has": {"y": torch.zeros(2, 1, 8, 5)},
    "expected 2 images": {"start": torch.zeros(3, 1, 16, 16)},
    "without NaN": {"start": torch.full((2, 1, 16, 16), math.nan)},
    "inverse variances": {"weights": torch.tensor([-1.0])},
    "does not fit y": {"weights": torch.ones(3, 1, 1, 1)},
}


@pytest.mark.parametrize("words, arguments", MEASUREMENTS.items(), ids=MEASUREMENTS)
def test_measurements_that_do_not_fit_are_named(words, arguments):
    with pytest.raises(InvalidInput, match=words):
        _scan(**arguments)
