"""The study of Part 4: simulated scans, noise that is what it claims to be, and every mode trained in a few steps."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from wavelab import checkpoints, runtime
from wavelab.diffusion import VE
from wavelab.errors import UnknownName
from wavelab.medical import mri, study
from wavelab.medical import scans as scans_
from wavelab.medical.ct import low_dose, sparse_view
from wavelab.medical.phantoms import thorax

SIZE, PIXEL = 32, 360 / 32
SMALL = study.Setup(SIZE, 8, (1, 2), 4, updates=3, rounds=1, more=2, denoise=3, batch=2)


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _truth(count=4):
    return thorax(count, SIZE, np.random.default_rng(0)) / 1000 + 1


@pytest.fixture
def chest():
    return study.material(scans_.scan_ct(_truth(), low_dose(SIZE, PIXEL), 5e4, _generator()), _generator(1))


@pytest.fixture
def brain():
    scans = scans_.scan_mri(_truth() / 2, torch.ones(SIZE, SIZE, dtype=torch.bool), 0.1, _generator())
    return study.material(scans, _generator(1))


@pytest.fixture
def student(tmp_path, monkeypatch, chest):
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(checkpoints, "TRAINING", tmp_path / "training")
    return study.Student(runtime.start("14-noisy-data"), "14-ct", chest, ["chest-ct"], SMALL)


def test_a_part_of_scans_is_scans_of_a_part():
    scans = scans_.scan_ct(_truth(), sparse_view(SIZE, PIXEL, 12, 36), 5e4, _generator())
    part = scans.part(slice(1, 3))
    assert part.physics is scans.physics
    for whole, some in zip(scans, part, strict=True):
        if isinstance(whole, torch.Tensor):
            torch.testing.assert_close(some, whole[1:3])


@pytest.mark.parametrize("body", ["chest", "brain"])
def test_probes_have_the_covariance_of_the_noise(body, request):
    """Their mean square is that of the noise; its spectrum sums to it."""
    material = request.getfixturevalue(body)
    clean = scans_.noisy_images(material.scans.physics, material.scans.physics.A(material.scans.truth))
    noise = (material.images - clean).square().mean()
    probes = [material.probe((material.images, material.deviation), _generator(k)) for k in range(8)]
    assert torch.cat(probes).square().mean() == pytest.approx(float(noise), rel=0.15)
    assert material.spectrum.mean() == pytest.approx(float(noise), rel=0.2)


def test_noise_of_a_whole_mri_scan_is_white_with_half_the_variance(brain):
    assert (brain.images - brain.scans.truth).std() == pytest.approx(0.1 / math.sqrt(2), rel=0.03)
    assert brain.scans.weight[0].item() == pytest.approx(2 / 0.1**2)


@pytest.mark.parametrize("mode", study.MODES)
def test_every_mode_trains_and_loads_again(mode, student):
    net, manifest = student.score(mode)
    assert manifest.origin == "trained" and not net.training
    expected = {"denoised": 2, "wavelet": 2, "hybrid": 2, "paper": 7}.get(mode, 5)
    assert manifest.steps == expected if mode != "relabel" else 0 < manifest.steps <= 5
    assert student.score(mode)[0] is net
    later = study.Student(student.run, "14-ct", student.material, ["chest-ct"], SMALL)
    again, manifest = later.score(mode)
    assert manifest.origin == "finished"
    for name, weight in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=0, atol=0)


def test_only_the_clean_mode_sees_the_truth(student):
    """With the truth replaced by rubbish every other mode trains to the same weights."""
    learnt = {mode: student.score(mode)[0].state_dict() for mode in ("noisy", "relabel", "feedback", "hybrid", "paper")}
    scans = student.material.scans
    student.material = student.material._replace(scans=scans._replace(truth=torch.full_like(scans.truth, math.nan)))
    student.prefix = "14-blind"
    for mode, weights in learnt.items():
        for name, weight in student.score(mode)[0].state_dict().items():
            torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)


def test_what_a_score_learnt_from_is_a_part_of_its_identity(student):
    """Another dose, another model: the configuration tells them apart."""
    student.material = student.material._replace(settings={"photons": 50.0})
    assert student.score("noisy")[1].config["photons"] == 50.0
    other = student.material._replace(settings={"photons": 77.0})
    later = study.Student(student.run, "14-ct", other, ["chest-ct"], SMALL)
    manifest = later.score("noisy")[1]
    assert manifest.origin == "trained" and manifest.config["photons"] == 77.0
    assert manifest.config["levels"] == list(study.LEVELS) and manifest.config["rates"] == study.RATES


def test_the_seed_of_the_run_does_not_change_what_is_fed_back(student):
    other = study.Student(dataclasses.replace(student.run, seed=5), "14-other", student.material, ["chest-ct"], SMALL)
    net = student.score("noisy")[0]
    torch.testing.assert_close(other._fed_back(net, 3), student._fed_back(net, 3), rtol=0, atol=0)


def test_unknown_modes_are_named(student):
    with pytest.raises(UnknownName, match="hybrd"):
        student.score("hybrd")


class _Exact(torch.nn.Module):
    """Predicts v of images whose prior is a Gaussian of variance 1 about 0, in a variance-exploding process."""

    def forward(self, x, log_noise, cond=None):
        return torch.zeros_like(x)


def test_reconstruction_of_mri_with_an_exact_score_is_the_posterior_mean():
    """A network that predicts v = 0 has the denoiser x / (1 + σ²) of white Gaussian images of variance 1."""
    x = torch.randn(40, 1, SIZE, SIZE, generator=_generator(3))
    scans = scans_.scan_mri(x, mri.mask("gaussian", (SIZE, SIZE), 2, np.random.default_rng(0)), 0.5, _generator(4))
    found = scans_.reconstruct(_Exact(), scans, steps=80, top=2.0, end=0.03, batch=25)
    mean = scans.physics.prox(scans.y, torch.zeros_like(x), 0.5**2 / 2)
    assert (found - mean).norm() < 0.05 * mean.norm()


def test_samples_of_mri_with_an_exact_score_have_twice_the_error_of_the_mean():
    x = torch.randn(40, 1, SIZE, SIZE, generator=_generator(3))
    scans = scans_.scan_mri(x, mri.mask("gaussian", (SIZE, SIZE), 2, np.random.default_rng(0)), 0.5, _generator(4))
    scans = scans._replace(start=torch.zeros_like(x))
    found = scans_.sample(_Exact(), scans, _generator(5), steps=100, top=3.0, end=0.03, batch=25)
    mean = scans.physics.prox(scans.y, torch.zeros_like(x), 0.5**2 / 2)
    assert (found - x).square().mean() == pytest.approx(float(2 * (mean - x).square().mean()), rel=0.15)


def test_point_estimates_can_be_fed_back_instead(student):
    student.setup = dataclasses.replace(SMALL, feedback="point")
    assert student.score("wavelet")[1].config["feedback"] == "point"


def test_histories_are_joined_one_behind_the_other():
    one = study.History([2, 4], [1.0, 0.5], 3.0, 2.0)
    both = study.joined([one, study.History([1], [0.25], 1.0, 1.0)])
    assert both == study.History([2, 4, 5], [1.0, 0.5, 0.25], 4.0, 3.0)


def test_the_process_covers_the_levels():
    assert isinstance(scans_.PROCESS, VE)
    assert scans_.PROCESS.sigma(0.0) <= scans_.LEVELS[0] < scans_.LEVELS[1] <= scans_.PROCESS.sigma(1.0)


def test_material_of_both_bodies_is_what_its_settings_say():
    """Sixty slices of the chest with the stated dose; six poses of the slices of the brain with the stated noise."""
    chest, again = (study.chest_material(32, _generator(3)) for _ in range(2))
    assert chest.images.shape == (60, 1, 32, 32) and chest.settings == {"photons": study.PHOTONS}
    torch.testing.assert_close(chest.images, again.images, rtol=0, atol=0)
    assert chest.scans.physics.beam == low_dose(32, chest.scans.physics.beam.pixel)
    brain = study.brain_material(32, _generator(3), poses=2)
    assert brain.settings == {"noise": study.NOISE, "poses": 2} and len(brain.images) == 110
    assert (brain.images - brain.scans.truth).std() == pytest.approx(study.NOISE / math.sqrt(2), rel=0.05)
    assert brain.scans.physics.mask.all()
