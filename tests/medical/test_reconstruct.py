"""Data consistency, guidance and samplers against Gaussian images, whose posterior is known."""

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.filters import gaussian
from skimage.restoration import denoise_wavelet

from wavelab import diffusion, wavelets
from wavelab.diffusion import VE
from wavelab.errors import InvalidInput
from wavelab.medical import mri, reconstruct, regularise
from wavelab.medical.ct import CT, Fan, Parallel, fitted
from wavelab.medical.mri import MRI
from wavelab.medical.phantoms import thorax

PROCESS = VE(sigma_min=0.01, sigma_max=10.0)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=_generator(seed), dtype=torch.float64)


def _ct(size=16, views=12, kind=Fan):
    return CT(fitted(kind, size, 360 / size, views), unit=0.02, dtype=torch.float64)


@pytest.mark.parametrize("rho", [0.3, 3.0, 300.0])
def test_consistency_solves_its_normal_equations(rho):
    ct, z = _ct(), _noise(3, 1, 16, 16)
    y = ct.A(_noise(3, 1, 16, 16, seed=1))
    weight = torch.rand(y.shape, generator=_generator(2), dtype=torch.float64) + 0.5
    u = reconstruct.consistency(ct, y, weight, steps=150)(z, rho)
    gradient = ct.A_adjoint(weight * (ct.A(u) - y)) + rho * (u - z)
    assert gradient.norm() < 1e-6 * ct.A_adjoint(weight * y).norm()


def test_the_preconditioner_saves_iterations():
    ct = CT(fitted(Fan, 64, 5.6, 60), unit=0.02, dtype=torch.float64)
    x = (thorax(1, 64, np.random.default_rng(0)) / 1000 + 1).double()
    y, z, rho = ct.A(x), x + 0.1 * _noise(1, 1, 64, 64), 1.0
    pulled = ct.A_adjoint(y) + rho * z

    def plain(steps):
        return reconstruct.conjugate_gradients(lambda u: ct.A_adjoint(ct.A(u)) + rho * u, pulled, z, steps)

    exact = plain(100)
    assert (reconstruct.consistency(ct, y, steps=3)(z, rho) - exact).norm() < 0.3 * (plain(3) - exact).norm()


def test_conjugate_gradients_leave_a_solution_alone():
    b = _noise(2, 1, 4, 4)
    x = reconstruct.conjugate_gradients(lambda u: 2 * u, b, b / 2, 3)
    torch.testing.assert_close(x, b / 2)


def test_consistency_of_mri_is_its_closed_form():
    scan = MRI(mri.mask("gaussian", (16, 16), 2, np.random.default_rng(0)))
    z, y = _noise(2, 1, 16, 16), scan.A(_noise(2, 1, 16, 16, seed=1))
    torch.testing.assert_close(reconstruct.consistency(scan, y, 4.0)(z, 2.0), scan.prox(y, z, 0.5))


def _gaussian_task(variance=0.25, sigma_y=0.1):
    """White Gaussian images seen by MRI: the posterior's mean is a closed-form step from 0."""
    scan = MRI(mri.mask("uniform", (16, 16), 2, np.random.default_rng(0)))
    x = variance**0.5 * _noise(200, 1, 16, 16)
    y = scan.A(x) + scan.mask * mri.noise(scan.A(x), sigma_y, _generator(3))
    mean = scan.prox(y, torch.zeros_like(x), sigma_y**2 / 2 / variance)
    return scan, x, y, mean


def _white_score(variance):
    return lambda x, t: -x / (variance + PROCESS.sigma(t) ** 2)


def test_guided_flow_draws_from_the_posterior_of_gaussian_images():
    """One draw has twice the error of the posterior mean, the mean of n draws 1 + 1/n of it."""
    scan, x, y, mean = _gaussian_task()
    guide = reconstruct.guidance(PROCESS, reconstruct.consistency(scan, y, weight=2 / 0.1**2))
    times = reconstruct.levels(PROCESS, np.geomspace(0.02, 10, 80))
    starts = [10 * _noise(200, 1, 16, 16, seed=5 + k) for k in range(4)]
    draws = torch.stack([diffusion.ddim(_white_score(0.25), PROCESS, times, u, guidance=guide) for u in starts])
    least = (mean - x).square().mean()
    assert (draws[0] - x).square().mean() == pytest.approx(float(2 * least), rel=0.1)
    assert (draws.mean(0) - x).square().mean() == pytest.approx(float(1.25 * least), rel=0.1)


def test_plug_and_play_comes_to_rest_at_the_posterior_mean_of_gaussian_images():
    scan, _, y, mean = _gaussian_task()
    consistent = reconstruct.consistency(scan, y, weight=2 / 0.1**2)
    sigmas, start = np.geomspace(0.02, 3, 60), torch.zeros_like(mean)
    found = reconstruct.plug_and_play(_white_score(0.25), PROCESS, sigmas, consistent, start)
    assert (found - mean).norm() < 0.03 * mean.norm()


def test_the_solver_starts_from_its_last_solution():
    ct, z = _ct(), _noise(3, 1, 16, 16)
    consistent = reconstruct.consistency(ct, ct.A(_noise(3, 1, 16, 16, seed=1)), steps=3)
    found = [consistent(z, 1.0) for _ in range(60)]
    assert (found[1] - found[-1]).norm() < 0.5 * (found[0] - found[-1]).norm()


def test_levels_are_where_the_process_has_them():
    times = reconstruct.levels(PROCESS, [2.0, 0.05, 0.3])
    assert times[0] == 0
    torch.testing.assert_close(PROCESS.sigma(times[1:]), torch.tensor([0.05, 0.3, 2.0], dtype=torch.float64))


def test_annealed_iteration_reconstructs_and_follows_its_prior():
    """With the score of a narrow Gaussian around the truth the result is closer than filtered back-projection."""
    ct = _ct(32, 20, Parallel)
    x = (thorax(2, 32, np.random.default_rng(0)) / 1000 + 1).double()
    y = ct.A(x) + 0.1 * _noise(2, 1, *ct.beam.sinogram_shape)
    start = ct.fbp(y)
    seen = []
    found = reconstruct.annealed_sqs(
        lambda u, t: (x - u) / (0.01**2 + PROCESS.sigma(t) ** 2), PROCESS, np.geomspace(0.01, 0.3, 6), ct, y, start,
        _generator(), prior_weight=100.0, callback=lambda k, u: seen.append(k),
    )  # fmt: skip
    assert (found - x).norm() < 0.3 * (start - x).norm()
    assert seen == list(range(1, 61))


def test_annealed_iteration_without_prior_descends():
    """With momentum 0 and a vanishing prior every step lowers the data term: the majoriser holds."""
    ct, size = _ct(16, 12), 16
    y = ct.A(_noise(1, 1, size, size).abs())
    errors = []
    reconstruct.annealed_sqs(
        lambda u, t: 0 * u, PROCESS, [1e-4], ct, y, torch.zeros(1, 1, size, size).double(), _generator(),
        steps_per_level=30, prior_weight=1e-6, momentum=0.0, callback=lambda k, u: errors.append((ct.A(u) - y).norm()),
    )  # fmt: skip
    assert all(b <= a for a, b in itertools.pairwise(errors)) and errors[-1] < 0.4 * errors[0]


def test_wavelet_total_variation_shrinks_places_by_their_joint_size():
    x = _noise(1, 1, 16, 16)
    shrunk = regularise.wavelet_tv(0.5, levels=1, shifts=1)(x, 2.0)
    before, after = wavelets.dwt(x, "haar", 1), wavelets.dwt(shrunk, "haar", 1)
    torch.testing.assert_close(after[0], before[0])
    size = before[1][0].square().sum(-3, keepdim=True).sqrt()
    torch.testing.assert_close(after[1][0], before[1][0] * (1 - 1.0 / size).clamp_min(0))


def test_wavelet_total_variation_keeps_constants_and_quietens_noise():
    smooth = regularise.wavelet_tv(1.0)
    torch.testing.assert_close(smooth(torch.full((1, 1, 16, 16), 0.7), 0.3), torch.full((1, 1, 16, 16), 0.7))
    assert smooth(0.1 * _noise(1, 1, 32, 32), 0.3).std() < 0.04
    torch.testing.assert_close(regularise.wavelet_tv(0.0)(_noise(1, 1, 16, 16), 1.0), _noise(1, 1, 16, 16))


def test_calibrated_shrinkage_denoises_without_a_clean_image():
    x = torch.from_numpy(gaussian(thorax(1, 64, np.random.default_rng(0)) / 1000 + 1, (0, 0, 1.5, 1.5))).double()
    noisy = x + 0.1 * _noise(1, 1, 64, 64)
    done = regularise.calibrated_shrinkage()(noisy, 1.0)
    tried = [
        denoise_wavelet(noisy[0, 0].numpy(), sigma=s, wavelet=w, method=m, rescale_sigma=False, wavelet_levels=2)
        for s, w, m in itertools.product(np.geomspace(1e-3, 0.2, 6), ("haar", "sym2"), ("BayesShrink", "VisuShrink"))
    ]
    assert (done - x).norm() < 0.7 * (noisy - x).norm()
    assert (done - x).norm() < 1.15 * min(np.linalg.norm(t - x[0, 0].numpy()) for t in tried)
    half = regularise.calibrated_shrinkage()(noisy, 0.5)
    torch.testing.assert_close(half, (noisy + done) / 2)
    sharp = (thorax(1, 64, np.random.default_rng(0)) / 1000 + 1).double()
    kept, blurred = (
        regularise.calibrated_shrinkage(as_released=released)(sharp + 0.01 * _noise(1, 1, 64, 64), 1.0)
        for released in (False, True)
    )
    assert (blurred - sharp).norm() > 2 * (kept - sharp).norm()


def _annealed(y, sigmas=(0.1,), **options):
    start = torch.zeros(1, 1, *_ct().beam.image_shape)
    return reconstruct.annealed_sqs(_white_score(1.0), PROCESS, sigmas, _ct(), y, start, torch.Generator(), **options)


def _nothing():
    return torch.zeros(1, 1, *_ct().beam.sinogram_shape)


CALLS = {
    "holds NaN": lambda: reconstruct.consistency(_ct(), torch.full((1, 1, *_ct().beam.sinogram_shape), math.nan)),
    "expected 3 images": lambda: _annealed(torch.zeros(3, 1, *_ct().beam.sinogram_shape)),
    "weight": lambda: reconstruct.consistency(_ct(), torch.zeros(1), weight=0.0),
    "level": lambda: reconstruct.plug_and_play(_white_score(1.0), PROCESS, [0.0], None, torch.zeros(1)),
    "steps is 0": lambda: reconstruct.consistency(_ct(), torch.zeros(1), steps=0),
    "strength": lambda: reconstruct.guidance(PROCESS, lambda z, rho: z, strength=-1.0),
    "sigmas": lambda: reconstruct.levels(PROCESS, [0.1, 0.0]),
    "weight is": lambda: regularise.wavelet_tv(-math.inf),
    "levels is 0": lambda: regularise.wavelet_tv(1.0, levels=0),
    "orthonormal": lambda: regularise.wavelet_tv(1.0, "bior2.2"),
    "low is 0": lambda: regularise.calibrated_shrinkage(0.0),
    "steps_per_level is 0": lambda: _annealed(_nothing(), steps_per_level=0),
    "step_size is -1": lambda: _annealed(_nothing(), step_size=-1.0),
    "every is 0": lambda: _annealed(_nothing(), every=0),
    "momentum is -1": lambda: _annealed(_nothing(), momentum=-1),
    "noise levels": lambda: _annealed(_nothing(), sigmas=[0.0]),
    "must hold": lambda: _annealed(_nothing(), sigmas=[]),
    "rho is -1": lambda: reconstruct.consistency(_ct(), _nothing())(torch.zeros(1, 1, *_ct().beam.image_shape), -1.0),
    "does not fit y": lambda: reconstruct.consistency(_ct(), _nothing(), torch.ones(2, 1, 1, 1)),
    "weight is tensor": lambda: reconstruct.consistency(
        MRI(torch.ones(8, 8, dtype=torch.bool)), torch.zeros(1, 1, 8, 8) + 0j, torch.ones(1, 1, 8, 8)
    ),
    "weights holds": lambda: reconstruct.consistency(_ct(), _nothing(), math.inf),
    "shifts": lambda: regularise.wavelet_tv(1.0, shifts=0),
}


@pytest.mark.parametrize("words, call", CALLS.items(), ids=CALLS)
def test_bad_input_is_named(words, call):
    with pytest.raises(InvalidInput, match=words):
        call()
