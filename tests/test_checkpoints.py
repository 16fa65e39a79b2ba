"""Load or train: which weights are taken, what is refused, and the command that ships them."""

import json
import os
from dataclasses import asdict

import pytest
import torch
from torch import nn

from wavelab import checkpoints, networks, runtime
from wavelab.checkpoints import load_or_train
from wavelab.errors import CheckpointMismatch, DataCorrupt, DataUnavailable, InvalidInput, StorageError, UnknownName
from wavelab.training import History, Training, state, train

NAME = "99-toy"
SETTINGS = Training(steps=6, batch_size=4, log_every=2, checkpoint_every=3)


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")
    monkeypatch.setenv("WAVELAB_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(checkpoints, "SHIPPED", tmp_path / "data" / "checkpoints")
    monkeypatch.setattr(checkpoints, "TRAINING", tmp_path / "training")


@pytest.fixture
def trained():
    """What was trained: one entry a call of ``fit``."""
    return []


@pytest.fixture
def load(trained):
    def load(profile="cpu", train_anew=False, settings=SETTINGS, width=8, seed=0, **options):
        run = runtime.start("99-chapter", profile, 0, train_anew)
        model = networks.ScoreNet(1, 1, width=width, blocks=1, seed=seed)
        options = {"config": asdict(settings), "data": {"noise": "seed 1"}} | options

        def fit(model, folder):
            trained.append(folder)
            x = torch.randn(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
            return train(model, loss, x, settings, folder, progress=False)

        return load_or_train(NAME, model, fit, run=run, **options)

    return load


def loss(model, batch, generator):
    z = torch.randn(batch.shape, generator=generator)
    return (model(batch + z, torch.zeros(len(batch))) - z).square().mean()


def same(a, b):
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


@pytest.fixture
def shipped(load, trained):
    model, _ = load()
    path = checkpoints.ship(NAME)
    trained.clear()
    return model, path


def test_trained_then_found_again(load, trained):
    model, manifest = load()
    again, told = load(seed=1)
    assert (manifest.origin, told.origin, len(trained)) == ("trained", "finished", 1)
    assert same(model, again) and not again.training
    assert manifest.sha256 == told.sha256 == checkpoints.sha256(trained[0] / "model.safetensors")


def test_manifest_says_how_it_was_made(load, trained):
    _, manifest = load()
    stored = json.loads((trained[0] / "manifest.json").read_text())
    assert stored["command"] == manifest.command == "make train CHAPTER=99"
    assert stored["architecture"] == networks.ScoreNet(1, 1, width=8, blocks=1).config
    assert stored["config"] == state.plain(asdict(SETTINGS)) and stored["data"] == {"noise": "seed 1"}
    assert stored["steps"] == 6 and stored["seconds"] >= 0 and stored["seed"] == 0
    assert [step for step, _ in stored["curve"]] == [2, 4, 6]
    assert stored["final_loss"] == pytest.approx(stored["curve"][-1][1], rel=1e-4)
    assert set(stored["versions"]) == {"python", "torch", "accelerate", "wavelab"}
    assert stored["parameters"] == networks.count(networks.ScoreNet(1, 1, width=8, blocks=1))


def test_long_curves_are_thinned(load):
    def fit(model, folder):
        return History(range(1, 10001), [1 / k for k in range(1, 10001)], 1.0)

    run = runtime.start("99-chapter", "gpu")
    _, manifest = load_or_train("99-long", nn.Linear(2, 2), fit, run=run)
    assert len(manifest.curve) == 200 and manifest.steps == 10000 and manifest.final_loss == 1e-4
    assert manifest.command == "make train CHAPTER=99 PROFILE=gpu"
    assert manifest.architecture == {"class": "Linear", "shapes": {"weight": [2, 2], "bias": [2]}}


def test_shipped_one_comes_first(load, shipped, trained):
    model, path = shipped
    loaded, manifest = load(seed=1)
    assert manifest.origin == "shipped" and not trained and same(loaded, model)
    assert sorted(p.name for p in path.parent.iterdir()) == ["99-toy.cpu.json", "99-toy.cpu.safetensors"]


def test_train_passes_the_shipped_one_by(load, shipped, trained):
    _, manifest = load(train_anew=True)
    assert manifest.origin == "finished", "the finished training of the same configuration is kept"
    _, manifest = load(train_anew=True, fresh=True)
    assert manifest.origin == "trained" and len(trained) == 1
    _, manifest = load(train_anew=True, settings=Training(steps=3, batch_size=4))
    assert manifest.origin == "trained" and manifest.steps == 3


def test_smoke_always_trains(load, shipped, trained):
    for _ in range(2):
        assert load("smoke")[1].origin == "trained"
    assert len(trained) == 2 and all("run" in folder.parts for folder in trained)


def test_interrupted_training_goes_on(load, trained, monkeypatch):
    whole, _ = load()
    calls = iter(range(100))

    def interrupted(model, batch, generator):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return loss(model, batch, generator)

    monkeypatch.setattr(checkpoints, "TRAINING", checkpoints.TRAINING / "again")
    run, model = runtime.start("99-chapter"), networks.ScoreNet(1, 1, width=8, blocks=1)
    x = torch.randn(10, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    asked = {"config": asdict(SETTINGS), "data": {"noise": "seed 1"}}
    with pytest.raises(KeyboardInterrupt):
        load_or_train(NAME, model, lambda m, f: train(m, interrupted, x, SETTINGS, f, progress=False), run=run, **asked)
    assert "unfinished" in checkpoints.overview()
    model, manifest = load(seed=2)
    assert manifest.origin == "trained" and same(model, whole)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"width": 16}, "architecture.width"),
        ({"settings": Training(steps=7, batch_size=4, log_every=2, checkpoint_every=3)}, "config.steps"),
        ({"data": {"noise": "seed 2"}}, "data.noise"),
    ],
)
def test_shipped_one_that_does_not_fit_is_refused(load, shipped, trained, changed, named):
    with pytest.raises(CheckpointMismatch, match=f"differ in {named}") as caught:
        load(**changed)
    assert (
        "shipped: {" in str(caught.value) and "asked for: {" in str(caught.value) and "train=True" in str(caught.value)
    )
    assert not trained


def test_options_that_came_later_do_not_matter(load, shipped):
    path = shipped[1].with_suffix(".json")
    stored = json.loads(path.read_text())
    del stored["architecture"]["padding"]
    path.write_text(json.dumps(stored))
    assert load()[1].origin == "shipped"


@pytest.mark.parametrize("harm", ["truncated", "changed", "missing"])
def test_damaged_weights_are_refused(load, shipped, harm):
    _, path = shipped
    good = path.read_bytes()
    if harm == "missing":
        path.unlink()
        with pytest.raises(DataUnavailable, match="make train CHAPTER=99"):
            load()
        return
    path.write_bytes(good[:-40] if harm == "truncated" else good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DataCorrupt) as caught:
        load()
    told = str(caught.value)
    expected = json.loads(path.with_suffix(".json").read_text())["sha256"]
    assert checkpoints.sha256(path) in told and expected in told and "make train CHAPTER=99" in told
    assert checkpoints.verify() and expected in checkpoints.verify()[0]


def test_weights_of_another_architecture_under_a_right_hash(load, shipped):
    _, path = shipped
    state.save_tensors(networks.ScoreNet(1, 1, width=16, blocks=1).state_dict(), path)
    stored = json.loads(path.with_suffix(".json").read_text()) | {"sha256": checkpoints.sha256(path)}
    path.with_suffix(".json").write_text(json.dumps(stored))
    with pytest.raises(CheckpointMismatch, match="weights of another architecture"):
        load()
    assert len(checkpoints.verify()) == 1


def test_damaged_finished_training_says_what_to_remove(load, trained):
    load()
    (trained[0] / "model.safetensors").write_bytes(b"")
    with pytest.raises(DataCorrupt, match=f"Remove the folder {trained[0]}"):
        load()


@pytest.mark.parametrize("content", ["", "{}", "[1]"])
def test_damaged_manifest_is_refused(load, shipped, content):
    shipped[1].with_suffix(".json").write_text(content)
    with pytest.raises(DataCorrupt, match="not the manifest"):
        load()


def test_failed_write_leaves_nothing(load, shipped, monkeypatch):
    before = {path.name: path.read_bytes() for path in shipped[1].parent.iterdir()}

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.shutil, "copyfile", full)
    with pytest.raises(StorageError, match="No space left"):
        checkpoints.ship(NAME)
    assert {path.name: path.read_bytes() for path in shipped[1].parent.iterdir()} == before


def test_data_sets_are_recorded_by_hash(load):
    _, manifest = load(data=["chest-ct"])
    assert manifest.data == {"chest-ct": "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c"}
    with pytest.raises(UnknownName, match="chest-ct"):
        load(data=["chest-cd"])


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "two words"])
def test_impossible_names(name):
    with pytest.raises(InvalidInput, match="name"):
        load_or_train(name, nn.Linear(1, 1), None, run=runtime.start("99-chapter"))


def test_config_that_json_cannot_hold(load):
    with pytest.raises(InvalidInput, match="JSON"):
        load(config={"activation": torch.nn.SiLU()})


def test_ship_refuses_what_is_too_large(load, monkeypatch):
    load()
    monkeypatch.setattr(checkpoints, "LARGEST", 1000)
    with pytest.raises(InvalidInput, match="MB"):
        checkpoints.ship(NAME)
    monkeypatch.setattr(checkpoints, "LARGEST", 10**6)
    monkeypatch.setattr(checkpoints, "IN_ALL", 1000)
    with pytest.raises(InvalidInput, match="in all"):
        checkpoints.ship(NAME)
    with pytest.raises(UnknownName, match="99-toy"):
        checkpoints.ship("99-tyo")
    assert not checkpoints.SHIPPED.exists()


def test_ship_takes_the_last_of_several(load, trained):
    load()
    load(settings=Training(steps=3, batch_size=4))
    for age, folder in zip((100, 200), reversed(trained)):
        os.utime(folder / "manifest.json", (age, age))
    checkpoints.ship(NAME)
    assert load()[1].steps == 6


def test_half_precision(load, trained):
    full, before = load()
    whole, half = checkpoints.ship(NAME).stat().st_size, checkpoints.ship(NAME, half=True).stat().st_size
    assert half < 0.7 * whole
    model, manifest = load()
    assert manifest.origin == "shipped" and manifest.precision == "float16" and manifest.sha256 != before.sha256
    for name, value in full.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=2**-11, atol=1e-7)
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert checkpoints.verify() == [] and not same(model, full)


def test_a_weight_beyond_half_precision_is_refused(load, trained):
    load()
    path = trained[0] / checkpoints.MODEL
    tensors, _ = state.load_tensors(path)
    name = next(iter(tensors))
    state.save_tensors(tensors | {name: tensors[name] + 1e6}, path)
    manifest = json.loads((trained[0] / checkpoints.MANIFEST).read_text())
    manifest["sha256"] = checkpoints.sha256(path)
    (trained[0] / checkpoints.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InvalidInput, match="without half precision"):
        checkpoints.ship(NAME, half=True)
    assert not checkpoints.SHIPPED.exists()


def test_command(load, shipped, capsys):
    assert checkpoints.main(["list"]) == 0
    told = capsys.readouterr().out
    assert told.count("99-toy") == 2 and "shipped" in told and "finished" in told
    assert checkpoints.main(["verify"]) == 0 and "1 checkpoints: nothing wrong" in capsys.readouterr().out
    assert checkpoints.main(["ship", NAME]) == 0 and "99-toy.cpu.safetensors" in capsys.readouterr().out
    assert checkpoints.main(["ship", "nothing"]) == 1 and "UnknownName" in capsys.readouterr().err
    shipped[1].unlink()
    assert checkpoints.main(["verify"]) == 1 and "without its checkpoint" in capsys.readouterr().out


def test_what_the_project_ships(monkeypatch):
    monkeypatch.setattr(checkpoints, "SHIPPED", checkpoints.ROOT / "data" / "checkpoints")
    assert checkpoints.verify() == []
