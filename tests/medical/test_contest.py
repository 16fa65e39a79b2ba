"""The contest: tuning on validation scans only, tables that are kept, the recovered fraction."""

import numpy as np
import pytest
import torch

from wavelab import checkpoints, runtime
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical import contest, study, taught
from wavelab.medical.contest import Contest, Entry
from wavelab.medical.ct import low_dose
from wavelab.medical.phantoms import thorax
from wavelab.medical.scans import scan_ct

SIZE, PIXEL = 32, 360 / 32


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def scans():
    truth = thorax(6, SIZE, np.random.default_rng(0)) / 1000 + 1
    return scan_ct(truth, low_dose(SIZE, PIXEL), 2e3, _generator())


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(checkpoints, "TRAINING", tmp_path / "training")
    return runtime.start("15-low-dose-ct", "smoke")


@pytest.fixture
def make(run, scans):
    def make(entries):
        return Contest(run, entries, scans.part(slice(0, 2)), scans.part(slice(2, 6)), 2.0, {"scanner": "low dose"})

    return make


def test_the_best_setting_of_the_validation_scans_is_taken(make):
    seen = []

    def method(scans, seed, shift):
        seen.append((len(scans.truth), seed, shift))
        return scans.truth + shift + 0.01 * seed

    found = make({"shifted": Entry(method, [{"shift": s} for s in (0.3, 0.02, -0.1)], seeds=2)})
    assert found.setting("shifted") == {"shift": 0.02}
    assert seen == [(2, 0, 0.3), (2, 0, 0.02), (2, 0, -0.1)]
    table = found.table("shifted")
    assert table.shape == (2, 4) and (table[0] > table[1]).all()
    assert seen[3:] == [(4, 0, 0.02), (4, 1, 0.02)]
    found.table("shifted", "ssim")
    assert len(seen) == 5 and found.result("shifted")["seconds"] > 0


def test_settings_in_words(make):
    grid = [{"weight": 0.123456, "steps": 150, "high": 2.0}]
    found = make({"one": Entry(lambda scans, seed, **setting: scans.truth, grid), "none": Entry(None, [{}])})
    assert found.chosen("one") == "weight 0.123, steps 150" and found.chosen("none") == ""


def test_another_network_is_measured_anew(make):
    tag, calls = ["a"], []
    entry = Entry(lambda scans, seed: calls.append(1) or scans.truth + 0.1, [{}], tag=lambda seed: tag[0])
    found = make({"one": entry})
    for name in ("a", "a", "b"):
        tag[0] = name
        found.result("one")
    assert len(calls) == 2


def test_unknown_methods_are_named(make):
    with pytest.raises(UnknownName, match="FBB"):
        make({"FBP": Entry(None, [{}])}).result("FBB")


def test_every_classical_method_reconstructs(make, scans):
    entries = contest.classical_entries(scans.physics, 2.0, steps=3, prior_steps=2)
    found = make(entries)
    assert list(entries) == ["FBP", "least squares", "FISTA, TV", "FISTA, wavelets", "DIP"]
    for name, entry in entries.items():
        images = entry.method(scans.part(slice(0, 1)), 0, **entry.grid[0])
        assert images.shape == (1, 1, SIZE, SIZE), name
    assert found.table("FBP").shape == (1, 4)


def test_scores_and_supervised_networks_take_part(make, run, scans):
    material = study.material(scans, _generator(1))
    setup = study.Setup(SIZE, 8, (1, 2), 4, updates=2, rounds=1, more=1, denoise=2, batch=2)
    student = study.Student(run, "14-ct", material, ["chest-ct"], setup)
    entries = contest.score_entries(student, 2, ("noisy", "relabel", "paper"))
    assert entries["relabel"].grid[0]["end"] > float(material.spectrum.max()) ** 0.5
    entries |= contest.sampler_entries(student)
    entries["with wavelets"] = contest.regularised_entry(student, "noisy", 1.0, 1)
    entries["RED-CNN"] = contest.taught_entry(
        "red-cnn", *taught.teach(run, "15-red-cnn", "red-cnn", scans, ["chest-ct"], {})
    )
    found = make({name: entry._replace(grid=entry.grid[:2]) for name, entry in entries.items()})
    for name in entries:
        assert np.isfinite(found.table(name)).all(), name
    assert "paper, front end off" not in contest.score_entries(student, 2, ("noisy",))
    assert (found.table("paper") != found.table("paper, front end off")).any()


def test_means_of_posterior_samples(run, scans):
    truth = scan_ct(thorax(3, SIZE, np.random.default_rng(1)) / 1000 + 1, low_dose(SIZE, PIXEL), 2e3, _generator())
    student = study.Student(run, "15-ct", study.material(truth, _generator(1)), [])
    one, many = (contest.mean_entries(student, ["noisy"], draws)["noisy, mean"] for draws in (1, 4))
    drawn = [entry.method(scans, 0, **entry.grid[1]) for entry in (one, many, many)]
    torch.testing.assert_close(drawn[1], drawn[2])
    assert drawn[1].shape == scans.truth.shape and not torch.allclose(drawn[0], drawn[1], atol=1e-3)
    assert many.needs == "noisy scans" and len(many.grid) == 5


def test_recovered_fraction():
    rng = np.random.default_rng(0)
    scans = rng.normal(0, 3, 30)  # some scans are easier than others, for every method
    worse, best, ours, clean = (level + scans + rng.normal(0, 0.2, (3, 30)) for level in (30.0, 31.0, 32.5, 33.0))
    value, low, high = contest.recovered(ours, [worse, best], clean, rng)
    assert value == pytest.approx(0.75, abs=0.05)
    assert 0.65 < low < value < high < 0.85
    one_seed = contest.recovered(ours[:1], [worse, best], clean, rng)
    assert one_seed.value == pytest.approx(0.75, abs=0.05)
    with pytest.raises(InvalidInput, match="without is empty"):
        contest.recovered(ours, [], clean, rng)
