"""The methods behind one call: shapes, what tuning chooses, what oracles see."""

import numpy as np
import pytest
import torch

from wavelab import checkpoints, runtime
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical import compare, mri, taught
from wavelab.medical.ct import low_dose, sparse_view
from wavelab.medical.phantoms import thorax
from wavelab.medical.scans import scan_ct, scan_mri

SIZE, PIXEL, HIGH = 32, 360 / 32, 2.0


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _truth(count=2):
    return thorax(count, SIZE, np.random.default_rng(0)) / 1000 + 1


@pytest.fixture
def low():
    return scan_ct(_truth(), low_dose(SIZE, PIXEL), 500, _generator())


@pytest.fixture
def brain():
    mask = mri.mask("gaussian", (SIZE, SIZE), 2, np.random.default_rng(0))
    return scan_mri(_truth() / 2, mask, 0.05, _generator())


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "shipped")
    return runtime.start("15-low-dose-ct", "smoke")


def _psnr(images, scans):
    return np.mean(compare.judge(images, scans.truth, HIGH)["psnr"])


def test_penalties_and_bounds_beat_back_projection(low):
    fbp = _psnr(compare.analytic(low, filter="ramp"), low)
    ls = _psnr(compare.least_squares(low, 30, HIGH), low)
    tv = _psnr(compare.total_variation(low, 3.0, 80, HIGH), low)
    assert fbp + 1 < ls < tv
    assert _psnr(compare.wavelet_l1(low, 5.0, 80, HIGH), low) > fbp + 1


def test_an_empty_grid_is_refused(low):
    with pytest.raises(InvalidInput, match="grid is empty"):
        compare.tune(compare.analytic, [], low, HIGH)


def test_zero_filling_has_no_setting(brain):
    with pytest.raises(TypeError, match="filter"):
        compare.analytic(brain, filter="hann")
    torch.testing.assert_close(compare.analytic(brain), brain.start)


def test_the_oracle_sees_the_truth_and_is_never_worse(low):
    options = {"steps": 25, "network": {"width": 4, "levels": 2}}
    held_out, oracle = (_psnr(compare.image_prior(low, oracle=o, **options), low) for o in (False, True))
    assert oracle >= held_out


def test_tuning_takes_the_best_of_its_grid(low):
    grid = [{"filter": "ramp", "cutoff": c} for c in (1.0, 0.5, 0.1)]
    chosen, found = compare.tune(compare.analytic, grid, low, HIGH)
    assert len(found) == 3 and chosen == grid[int(np.argmax(found))]
    assert max(found) == pytest.approx(_psnr(compare.analytic(low, **chosen), low))


class _White(torch.nn.Module):
    def forward(self, x, log_noise, cond=None):
        return torch.zeros_like(x)


def test_stochastic_methods_follow_their_generator(low):
    for method, options in (
        (compare.predictor_corrector, {"steps": 4}),
        (compare.annealed_langevin, {"steps": 3, "steps_per_level": 1}),
        (compare.as_released, {"steps_per_level": 1}),
    ):
        one, same, other = (method(_White(), low, _generator(k), **options) for k in (1, 1, 2))
        torch.testing.assert_close(one, same, rtol=0, atol=0)
        assert one.shape == low.truth.shape and not torch.equal(one, other)


@pytest.mark.parametrize(
    ("method", "options"),
    [(compare.predictor_corrector, {"steps": 60}), (compare.annealed_langevin, {"steps_per_level": 20, "steps": 20})],
)
def test_samplers_with_an_exact_score_draw_white_images(method, options):
    x = torch.randn(30, 1, SIZE, SIZE, generator=_generator(3))
    mask = mri.mask("gaussian", (SIZE, SIZE), 2, np.random.default_rng(0))
    scans = scan_mri(x, mask, 0.5, _generator(4))._replace(start=torch.zeros_like(x))
    found = method(_White(), scans, _generator(5), top=2.5, **options)
    mean = scans.physics.prox(scans.y, torch.zeros_like(x), 0.5**2 / 2)
    least = (mean - x).square().mean()
    assert 1.5 * least < (found - x).square().mean() < 2.5 * least  # a sample has twice the error of the mean


@pytest.mark.parametrize(
    ("kind", "body"), [("red-cnn", "low"), ("primal-dual", "low"), ("primal-dual", "brain"), ("cascade", "brain")]
)
def test_supervised_networks_train_and_reconstruct(kind, body, run, request):
    scans = request.getfixturevalue(body)
    net, manifest = taught.teach(run, f"15-{kind}", kind, scans, ["chest-ct"], {"photons": 1e3})
    assert manifest.steps == 3 and not net.training
    images = taught.apply(kind, net, scans, batch=1)
    assert images.shape == scans.truth.shape and bool(torch.isfinite(images).all())


def test_unknown_networks_are_named(low):
    with pytest.raises(UnknownName, match="red-cnm"):
        taught.network("red-cnm", low, 4)


def test_sparse_views_run_through_the_same_calls():
    scans = scan_ct(_truth(), sparse_view(SIZE, PIXEL, 12, 36), 5e4, _generator())
    assert _psnr(compare.total_variation(scans, 3.0, 40, HIGH), scans) > _psnr(scans.start, scans) + 1
