"""One call starts a chapter; bad input gets an error that says what to do."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from wavelab import runtime
from wavelab.errors import InvalidInput, UnknownName

TABLE = {"slices": (4, 40, 133), "wavelets": (["haar"], ["haar", "db4"], ["haar", "db4"])}


@pytest.fixture(autouse=True)
def _run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")


@pytest.mark.parametrize(("profile", "slices"), [("smoke", 4), ("cpu", 40), ("gpu", 133)])
def test_profile_chooses_the_column(profile, slices):
    run = runtime.start("01-x", profile, sizes=TABLE)
    assert run.sizes.slices == slices


def test_override_replaces_and_none_does_not():
    run = runtime.start("01-x", "cpu", sizes=TABLE, slices=7, wavelets=None)
    assert run.sizes.slices == 7
    assert run.sizes.wavelets == ["haar", "db4"]


def test_run_is_frozen():
    run = runtime.start("01-x", sizes=TABLE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.seed = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.sizes.slices = 3


def test_the_table_is_printed(capsys):
    runtime.start("01-x", "smoke", 3, sizes=TABLE)
    said = capsys.readouterr().out
    for word in ("01-x", "smoke", "cpu", "slices", "4", "seed", "not yet measured"):
        assert word in said


def test_expected_cost_is_read_from_the_records(capsys, monkeypatch):
    cost = {"01-x.cpu": {"seconds": 41.7, "peak_mib": 2048, "machine": "2 cores, Linux"}}
    monkeypatch.setattr(runtime, "measured_costs", lambda: cost)
    runtime.start("01-x", "cpu")
    assert "about 42 s and 2.0 GiB (2 cores, Linux)" in capsys.readouterr().out


def test_streams_are_reproducible_and_differ():
    run = runtime.start("01-x", seed=5)
    again = runtime.start("01-x", seed=5)
    other = runtime.start("01-x", seed=6)
    draw = lambda r, stream: torch.randn(4, generator=r.generator(stream))  # noqa: E731
    assert torch.equal(draw(run, 0), draw(again, 0))
    assert not torch.equal(draw(run, 0), draw(run, 1))
    assert not torch.equal(draw(run, 0), draw(other, 0))
    assert torch.equal(draw(run, 3), torch.randn(4, generator=other.generator(3, seed=5)))
    assert run.rng(2).random() == again.rng(2).random()
    assert run.rng(2).random() != run.rng(3).random()


def test_record_is_plain_json(tmp_path):
    run = runtime.start("01-x", "smoke", 1, sizes=TABLE)
    run.record({"a": np.float32(0.5), "b": torch.tensor([1, 2]), "c": {"d": np.arange(2)}, "e": None, "f": True})
    record = json.loads((tmp_path / "01-x" / "record.json").read_text())
    assert record["results"] == {"a": 0.5, "b": [1, 2], "c": {"d": [0, 1]}, "e": None, "f": True}
    assert (record["profile"], record["seed"], record["sizes"]["slices"]) == ("smoke", 1, 4)


@pytest.mark.parametrize("value", [float("nan"), np.inf, {1, 2}, object()])
def test_record_refuses_what_json_cannot_carry(value, tmp_path):
    run = runtime.start("01-x")
    with pytest.raises(InvalidInput, match=r"results\.psnr"):
        run.record({"psnr": value})
    assert not (tmp_path / "01-x" / "record.json").exists()


def test_unknown_profile_suggests():
    with pytest.raises(UnknownName, match="'cpu'"):
        runtime.start("01-x", "cpuu")


def test_unknown_size_suggests():
    with pytest.raises(UnknownName, match="'slices'"):
        runtime.start("01-x", sizes=TABLE, slice=3)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True])
def test_bad_seed(seed):
    with pytest.raises(InvalidInput, match="seed"):
        runtime.start("01-x", seed=seed)


def test_train_must_be_a_truth_value():
    with pytest.raises(InvalidInput, match="train"):
        runtime.start("01-x", train="yes")


@pytest.mark.parametrize("row", [(1, 2), 5, "abc"])
def test_malformed_table(row):
    with pytest.raises(InvalidInput, match="smoke, cpu, gpu"):
        runtime.start("01-x", sizes={"slices": row})


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "xla", "cpu:1"])
def test_bad_device(monkeypatch, device):
    monkeypatch.setenv("WAVELAB_DEVICE", device)
    with pytest.raises(InvalidInput, match=f"WAVELAB_DEVICE is '{device}'.*give cpu"):
        runtime.start("01-x")


def test_gpu_profile_without_gpu_says_so(capsys):
    run = runtime.start("01-x", "gpu")
    assert run.precision == "float32"
    assert "no GPU was found" in capsys.readouterr().out


def test_attempt_lets_an_open_exercise_pass(capsys):
    with runtime.attempt():
        raise NotImplementedError("Exercise 2: write the body of haar_step")
    assert "write the body of haar_step" in capsys.readouterr().out
    with pytest.raises(AssertionError), runtime.attempt():
        raise AssertionError


def _counted():
    asked = []

    def measure(steps, kind):
        asked.append(steps)
        return {"error": 1.0 / steps, "kind": kind}

    return measure, asked


def test_measured_values_are_kept_point_by_point():
    run, (measure, asked) = runtime.start("01-x", "cpu"), _counted()
    first = run.measured("curve", measure, [(2, "a"), (4, "a")], {"samples": 8})
    assert first == [{"error": 0.5, "kind": "a"}, {"error": 0.25, "kind": "a"}]
    assert run.measured("curve", measure, [(4, "a"), (8, "a")], {"samples": 8})[0] == first[1]
    assert asked == [2, 4, 8], "a known point is not measured again"
    run.measured("curve", measure, [(2, "a")], {"samples": 9})
    assert asked == [2, 4, 8, 2], "other settings, other values"


def test_measured_values_come_from_the_shipped_table(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    run, (measure, asked) = runtime.start("01-x", "cpu"), _counted()
    shipped = tmp_path / "data" / "results" / "measured" / "01-x.curve.cpu.json"
    shipped.parent.mkdir(parents=True)
    rows = [{"point": [2, "a"], "value": 7}]
    shipped.write_text(json.dumps({"settings": {"samples": 8, "seed": 0}, "rows": rows}))
    assert run.measured("curve", measure, [(2, "a")], {"samples": 8}) == [7]
    assert run.measured("curve", measure, [(2, "a")], {"samples": 8}, again=True) == [{"error": 0.5, "kind": "a"}]
    assert asked == [2]
    shipped.write_text("{")
    assert run.measured("other", measure, [(3, "a")], {"samples": 8}) == [{"error": 1 / 3, "kind": "a"}]


def test_an_interrupted_measurement_goes_on():
    run = runtime.start("01-x", "cpu")

    def stops(steps):
        if steps == 4:
            raise KeyboardInterrupt
        return steps

    with pytest.raises(KeyboardInterrupt):
        run.measured("curve", stops, [(2,), (4,)], {})
    assert run.measured("curve", lambda steps: -steps, [(2,), (4,)], {}) == [2, -4]
