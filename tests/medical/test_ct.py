"""Computed tomography: exact adjoints, analytic objects, scikit-image as a peer, photons."""

import functools
import math

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.filters import gaussian
from skimage.transform import radon, resize

from wavelab import metrics
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical import ct as xray
from wavelab.medical.ct import CT, Fan, Parallel, fitted
from wavelab.medical.projector import joseph, symmetry

BEAMS = {  # and how many of their views the others follow from
    "fan, eight symmetries": (fitted(Fan, 32, 2.0, 24), 4),
    "fan, four symmetries": (fitted(Fan, 32, 2.0, 18), 5),
    "fan, a mirror": (fitted(Fan, 33, 2.0, 15), 8),
    "parallel, eight symmetries": (fitted(Parallel, 32, 1.0, 20), 6),
    "parallel, four symmetries": (fitted(Parallel, 31, 1.0, 7), 4),
    "parallel, a full turn of 7": (Parallel(32, 1.0, 7, 46, 1.0, angles=tuple(np.arange(7) * 2 * np.pi / 7)), 4),
    "parallel, a full turn of 8": (Parallel(32, 1.0, 8, 46, 1.0, angles=tuple(np.arange(8) * 2 * np.pi / 8)), 2),
    "parallel, a full turn of 12": (Parallel(32, 1.0, 12, 46, 1.0, angles=tuple(np.arange(12) * 2 * np.pi / 12)), 2),
    "parallel, from both sides": (Parallel(32, 1.0, 4, 46, 1.0, angles=(0.3, 1.0, 0.3 + np.pi, 1.0 + np.pi)), 2),
    "fan, any angles": (Fan(32, 1.0, 4, 40, 2.0, angles=(0.1, 0.7, 2.0, 4.0)), 4),
}


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=_generator(seed), dtype=dtype)


@functools.cache
def _disc(size, radius, pixel=1.0, fine=8):
    """A disc of height 1, each pixel the share of it that the disc covers."""
    grid = (np.arange(size * fine) - (size * fine - 1) / 2) * pixel / fine
    inside = (grid**2 + grid[:, None] ** 2 <= radius**2).reshape(size, fine, size, fine)
    return torch.from_numpy(inside.mean((1, 3)))[None, None]


@functools.cache
def _phantom(size):
    return torch.from_numpy(resize(shepp_logan_phantom(), (size, size), anti_aliasing=True))[None, None].float()


@pytest.mark.parametrize("beam, views", BEAMS.values(), ids=BEAMS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_adjoint_is_exact(beam, views, dtype, tolerance):
    ct = CT(beam, dtype=dtype)
    x, y = _noise(3, 2, *beam.image_shape, dtype=dtype), _noise(3, 2, *beam.sinogram_shape, seed=1, dtype=dtype)
    forwards, backwards = ct.A(x), ct.A_adjoint(y)
    assert forwards.shape == y.shape and backwards.shape == x.shape
    left, right = (forwards.double() * y).sum(), (x.double() * backwards).sum()
    assert abs(left - right) <= tolerance * forwards.norm() * y.norm()


@pytest.mark.parametrize("beam, views", BEAMS.values(), ids=BEAMS)
def test_symmetries_save_views_and_change_nothing(beam, views):
    x = _noise(2, 1, *beam.image_shape)
    assert len(symmetry(beam).views) == views
    whole = torch.from_numpy(joseph(beam) @ x.reshape(2, -1).T.numpy()).T.reshape(2, 1, *beam.sinogram_shape)
    torch.testing.assert_close(CT(beam, dtype=torch.float64).A(x), whole, rtol=1e-9, atol=1e-9)


def test_autocast_does_not_touch_it():
    beam = fitted(Fan, 32, 2.0, 12)
    x, y = _noise(1, 1, 32, 32).float(), _noise(1, 1, *beam.sinogram_shape).float()
    ct = CT(beam)
    with torch.autocast("cpu", torch.bfloat16):
        projected, back = ct.A(x), ct.A_adjoint(y)
    torch.testing.assert_close(projected, ct.A(x), rtol=0, atol=0)
    torch.testing.assert_close(back, ct.A_adjoint(y), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [Fan, Parallel])
def test_chords_of_a_disc(kind):
    beam = fitted(kind, 256, 1.0, 16)
    points, directions = beam.rays()
    away = np.abs(points[..., 0] * directions[..., 1] - points[..., 1] * directions[..., 0])
    chords = 2 * np.sqrt(np.maximum(100.0**2 - away**2, 0))  # mm
    measured = CT(beam, dtype=torch.float64).A(_disc(256, 100.0))[0, 0].numpy()
    assert np.linalg.norm(measured - chords) < 0.005 * np.linalg.norm(chords)


@pytest.mark.parametrize("kind", [Fan, Parallel])
def test_the_image_has_the_right_side_up(kind):
    """A small disc at x = 40 mm, y = 20 mm throws its shadow where the geometry says."""
    beam, ct = (beam := fitted(kind, 64, 2.0, 12)), CT(beam)
    grid = (torch.arange(64) - 31.5) * 2
    spot = ((grid - 40) ** 2 + (-grid[:, None] - 20) ** 2 <= 36).float()
    points, directions = beam.rays()
    to_spot = np.array([40.0, 20.0]) - points
    away = np.abs(to_spot[..., 0] * directions[..., 1] - to_spot[..., 1] * directions[..., 0])
    shadow = ct.A(spot).numpy()
    centre = (shadow @ np.arange(beam.bins)) / shadow.sum(1)
    assert np.abs(centre - away.argmin(1)).max() < 1


def test_scikit_image_agrees():
    image = _phantom(256)[..., :127, :127] * (_disc(127, 62) > 0)
    reference = radon(image[0, 0].numpy(), theta=np.arange(0, 180, 3.0), circle=True).T
    ours = CT(Parallel(127, 1.0, 60, 127, 1.0)).A(image.float())[0, 0].numpy()
    assert np.linalg.norm(ours - reference) < 0.01 * np.linalg.norm(reference)


def test_astra_agrees():
    astra = pytest.importorskip("astra", exc_type=ImportError)
    beam = fitted(Fan, 64, 2.0, 60)
    image = torch.from_numpy(gaussian(_phantom(64), (0, 0, 2, 2)))  # astra cuts pixels, we interpolate
    volume = astra.create_vol_geom(64, 64, -64, 64, -64, 64)
    rays = astra.create_proj_geom(
        "fanflat", beam.bin_width, beam.bins, np.array(beam.angles), beam.source, beam.distance
    )
    projector = astra.create_projector("line_fanflat", rays, volume)
    _, reference = astra.create_sino(image[0, 0].numpy(), projector)
    ours = CT(beam).A(image)[0, 0].numpy()
    assert np.linalg.norm(ours - reference) < 0.005 * np.linalg.norm(reference)


def test_filtered_back_projection_of_the_phantom():
    x = _phantom(256)
    ct = CT(fitted(Fan, 256, 1.0, 720))
    assert metrics.psnr(ct.fbp(ct.A(x)), x) > 35


@pytest.mark.parametrize("kind", [Fan, Parallel])
@pytest.mark.parametrize("filter", xray.FILTERS)
def test_filtered_back_projection_keeps_the_level(kind, filter):
    ct = CT(fitted(kind, 96, 2.0, 180))
    x = 0.02 * _disc(96, 60.0, 2.0).float()
    inside = _disc(96, 40.0, 2.0) == 1
    assert ct.fbp(ct.A(x), filter)[inside].mean() == pytest.approx(0.02, rel=0.005)


def test_windows_quieten_noise():
    ct = CT(fitted(Parallel, 64, 1.0, 60))
    y = _noise(4, 1, *ct.beam.sinogram_shape, dtype=torch.float32)
    ramp, cosine, hann = (ct.fbp(y, name).std() for name in ("ramp", "cosine", "hann"))
    assert hann < cosine < ramp
    assert ct.fbp(y, "hann", 0.5).std() < 0.5 * hann


def test_gradients_are_the_adjoints():
    ct = CT(fitted(Fan, 16, 4.0, 8), dtype=torch.float64)
    x = _noise(1, 1, 16, 16).requires_grad_()
    y = _noise(1, 1, *ct.beam.sinogram_shape, seed=1).requires_grad_()
    for function, at in ((ct.A, x), (ct.A_adjoint, y), (ct.fbp, y)):
        assert torch.autograd.gradcheck(function, at)
        assert torch.autograd.gradgradcheck(lambda at, f=function: f(at).square(), at)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_another_device_gives_the_same():
    beam = fitted(Fan, 32, 2.0, 24)
    here, there = CT(beam), CT(beam, device="cuda")
    x, y = _noise(2, 1, 32, 32, dtype=torch.float32), _noise(2, 1, *beam.sinogram_shape, dtype=torch.float32)
    for name, given in (("A", x), ("A_adjoint", y), ("fbp", y)):
        at = given.cuda().requires_grad_()
        found = getattr(there, name)(at)
        torch.testing.assert_close(found.detach().cpu(), getattr(here, name)(given), rtol=1e-4, atol=1e-4)
        (slope,) = torch.autograd.grad(found.square().sum(), at)
        again = given.clone().requires_grad_()
        (wanted,) = torch.autograd.grad(getattr(here, name)(again).square().sum(), again)
        torch.testing.assert_close(slope.cpu(), wanted, rtol=1e-4, atol=1e-3)


def test_evenly_spaced_angles_in_single_precision_are_complete():
    angles = tuple(np.float32(np.arange(180) * np.pi / 180).tolist())
    assert Parallel(32, 1.0, 180, 46, 1.0, angles=angles).is_complete
    assert not Parallel(32, 1.0, 180, 46, 1.0, angles=(*angles[:-1], angles[-1] + 0.005)).is_complete


def test_sparse_views_are_rows_of_the_full_scan():
    full, sparse = fitted(Fan, 32, 2.0, 720), xray.sparse_view(32, 2.0, 60)
    x = _noise(1, 1, 32, 32)
    torch.testing.assert_close(
        CT(sparse, dtype=torch.float64).A(x), CT(full, dtype=torch.float64).A(x)[:, :, ::12], rtol=1e-9, atol=1e-9
    )


def test_counts_have_poisson_mean_and_the_logarithm_the_stated_variance():
    ct = CT(fitted(Parallel, 32, 2.0, 12))
    mu = 0.02 * _disc(32, 25.0, 2.0).float().expand(400, 1, 32, 32)
    k = xray.counts(mu, ct, 2000.0, _generator())
    expected = 2000 * torch.exp(-ct.A(mu[:1]))
    assert ((k.mean(0) - expected[0]).abs() < 5 * (expected[0] / 400).sqrt()).all()
    y = xray.log_transform(k, 2000.0)
    ratio = y.var(0) / xray.log_variance(expected[0])
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert (y.mean(0) - ct.A(mu[:1])[0]).abs().max() < 0.02


def test_images_in_units_of_water():
    """One scan, two units: the same sinogram, and each reconstruction in its own unit."""
    beam, mu = fitted(Fan, 64, 2.0, 120), 0.02 * _disc(64, 50.0, 2.0).float()
    plain, water = CT(beam), CT(beam, unit=0.02)
    torch.testing.assert_close(water.A(mu / 0.02), plain.A(mu))
    torch.testing.assert_close(water.fbp(plain.A(mu)), plain.fbp(plain.A(mu)) / 0.02)
    torch.testing.assert_close(water.A_adjoint(plain.A(mu)), plain.A_adjoint(plain.A(mu)) * 0.02)


def test_low_dose_has_views_in_proportion_to_the_pixels():
    assert xray.low_dose(512, 0.7).views == 1000 and xray.low_dose(128, 2.8).views == 248
    assert xray.low_dose(128, 2.8, 1000).views == 1000


def test_starved_rays_stay_finite():
    k = torch.tensor([0.0, 1.0, 5.0])
    y = xray.log_transform(k, 5.0)
    torch.testing.assert_close(y, torch.log(torch.tensor([5.0, 5.0, 1.0])))
    assert torch.isfinite(xray.log_variance(k)).all()


CALLS = {
    "a whole number": (lambda: CT(Parallel(16, 1.0, 8, 16, 1.0), dtype=torch.int32), "dtype is"),
    "a fan for a string": (lambda: CT("fan"), "Fan or a Parallel"),
    "no views": (lambda: Parallel(32, 1.0, 0, 32, 1.0), "views"),
    "negative pixel": (lambda: Parallel(32, -1.0, 8, 32, 1.0), "pixel is -1.0"),
    "angles out of order": (lambda: Parallel(32, 1.0, 3, 32, 1.0, angles=(0.0, 2.0, 1.0)), "must increase"),
    "too few angles": (lambda: Parallel(32, 1.0, 3, 32, 1.0, angles=(0.0, 2.0)), "3 finite angles"),
    "source inside": (lambda: Fan(512, 2.0, 8, 32, 1.0), "inside the image"),
    "image at the source": (lambda: xray.low_dose(512, 2.0), "reaches the source"),
    "sparse, at the source": (lambda: xray.sparse_view(512, 2.0), "reaches the source"),
    "no width": (lambda: fitted(Parallel, 32, 0.0, 8), "pixel is 0"),
    "no pixels": (lambda: fitted(Parallel, 0, 1.0, 8), "size is 0"),
    "NaN width": (lambda: xray.low_dose(128, math.nan), "pixel is nan"),
    "low dose, no views": (lambda: xray.low_dose(128, 2.8, 0), "views is 0"),
    "no bins": (lambda: fitted(Fan, 32, 1.0, 8, 0), "bins is 0"),
    "views that do not divide": (lambda: xray.sparse_view(32, 1.0, 70), "divides 720"),
    "image not square": (lambda: _small().A(torch.zeros(1, 1, 16, 15)), "16 x 16"),
    "image of whole numbers": (lambda: _small().A(torch.zeros(16, 16, dtype=torch.int64)), "real numbers"),
    "another sinogram": (lambda: _small().A_adjoint(torch.zeros(1, 1, 9, 16)), "sinograms of 8 x 16"),
    "another sinogram, FBP": (lambda: _small().fbp(torch.zeros(1, 1, 8, 17)), "sinograms of 8 x 16"),
    "cutoff": (lambda: _small().fbp(torch.zeros(1, 1, 8, 16), cutoff=0.0), "cutoff is 0.0"),
    "limited angles": (lambda: CT(BEAMS["fan, any angles"][0]).fbp(torch.zeros(1, 1, 4, 40)), "least squares"),
    "NaN": (lambda: xray.counts(torch.full((16, 16), torch.nan), _small(), 1e4, _generator()), "NaN"),
    "NaN, A": (lambda: _small().A(torch.full((16, 16), torch.nan)), "x .* holds NaN"),
    "NaN, adjoint": (lambda: _small().A_adjoint(torch.full((8, 16), torch.nan)), "y .* holds NaN"),
    "infinite, FBP": (lambda: _small().fbp(torch.full((8, 16), torch.inf)), "y .* holds NaN or infinite"),
    "units of 1000 HU": (lambda: xray.counts(torch.full((16, 16), -1.0), _small(), 1e4, _generator()), "hu_to_mu"),
    "no image": (lambda: xray.counts(torch.zeros(0, 1, 16, 16), _small(), 1e4, _generator()), "no image"),
    "an array": (lambda: xray.counts(np.zeros((16, 16)), _small(), 1e4, _generator()), "ndarray"),
    "nothing comes through": (
        lambda: xray.counts(torch.ones(16, 16), _small(), 1e4, _generator()),
        "tenth of a photon",
    ),
    "Hounsfield units": (lambda: xray.counts(torch.full((16, 16), 40.0), _small(), 1e4, _generator()), "hu_to_mu"),
    "no photons": (lambda: xray.counts(torch.zeros(16, 16), _small(), 0, _generator()), "photons is 0"),
    "unit": (lambda: CT(Parallel(16, 1.0, 8, 16, 1.0), unit=-0.02), "unit is -0.02"),
    "negative counts": (lambda: xray.log_transform(torch.tensor([-1.0]), 10.0), "k holds negative"),
    "counts without end": (lambda: xray.log_transform(torch.tensor([torch.inf]), 10.0), "k holds"),
    "variance of NaN": (lambda: xray.log_variance(torch.tensor([torch.nan])), "k holds"),
    "photons a truth": (lambda: xray.log_transform(torch.ones(1), True), "photons is True"),
}


def _small():
    return CT(Parallel(16, 1.0, 8, 16, 1.0))


@pytest.mark.parametrize("call, words", CALLS.values(), ids=CALLS)
def test_bad_input_is_named(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_unknown_filter():
    with pytest.raises(UnknownName, match="hann"):
        _small().fbp(torch.zeros(1, 1, 8, 16), "han")
