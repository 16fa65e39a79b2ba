"""The training loop: exact resume after SIGKILL, equal curves for one and two processes, and what stops it."""

import ast
import base64
import json
import math
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import nn

from tests import training_job as job
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, StorageError, TrainingDiverged, UnknownName
from wavelab.paths import ROOT
from wavelab.training import History, Training, progress, state, train
from wavelab.training.batches import Batches, describe
from wavelab.training.state import load_state

QUICK = Training(steps=20, batch_size=8, checkpoint_every=5, log_every=4)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("WAVELAB_DEVICE", "cpu")
    yield
    torch.set_num_threads(threads)


def fit(folder, settings=QUICK, model=None, loss=job.denoise, data=None, **options):
    model = job.model() if model is None else model
    return model, train(model, loss, job.data() if data is None else data, settings, folder, progress=False, **options)


def alone(*command):
    """Run a command in a process of its own, on one thread and without peers."""
    environment = {**os.environ, "WAVELAB_DEVICE": "cpu", "OMP_NUM_THREADS": "1", "WAVELAB_RUN_DIR": "quiet"}
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )


def same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].numpy().tobytes() == b[name].numpy().tobytes(), name


def test_killed_and_resumed_ends_with_the_same_bits(tmp_path):
    whole, history = fit(tmp_path / "whole", job.SETTINGS)
    step = int(np.random.default_rng().integers(5, 30))
    for what, number in (("step", step), ("save", 2)):
        ended = alone("-m", "tests.training_job", what, tmp_path / "cut", number)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    reached = load_state(tmp_path / "cut" / "checkpoint.safetensors").step
    assert reached == step // 7 * 7 + 14, f"killed at step {step}, then in the third checkpoint after that"
    assert list((tmp_path / "cut").glob(".checkpoint*")), "half a checkpoint was left behind"
    cut, again = fit(tmp_path / "cut", job.SETTINGS)
    assert not list((tmp_path / "cut").glob(".checkpoint*"))
    same_bits(cut.state_dict(), whole.state_dict())
    a, b = (load_state(tmp_path / name / "checkpoint.safetensors") for name in ("cut", "whole"))
    for part in ("model", "ema", "optimizer"):
        same_bits(getattr(a, part), getattr(b, part))
    assert (again.steps, again.losses) == (history.steps, history.losses)
    logs = [
        [json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("cut", "whole")
    ]
    assert logs[0] == logs[1] and [line["step"] for line in logs[0]] == history.steps


def test_first_weights_of_a_resumed_run_do_not_matter(tmp_path):
    whole, _ = fit(tmp_path / "whole")
    with pytest.raises(RuntimeError, match="stop"):
        fit(tmp_path / "cut", loss=lambda *_: (_ for _ in ()).throw(RuntimeError("stop")))
    other = job.model()
    nn.init.zeros_(other[0].weight)
    cut, _ = fit(tmp_path / "cut", model=other)
    same_bits(cut.state_dict(), whole.state_dict())


def test_two_processes_give_the_curve_of_one(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # This flag makes Accelerate start processes on one machine; WAVELAB_DEVICE keeps them on the CPU.
    launch = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--num_machines", 1)
    quiet = ("--main_process_port", port, "--mixed_precision", "no", "--dynamo_backend", "no")
    ended = alone(*launch, *quiet, "-m", "tests.training_job", "share", tmp_path / "two", 0)
    assert ended.returncode == 0, ended.stderr
    model, one = fit(tmp_path / "one", job.SETTINGS, job.plain_model())
    two = History.load(tmp_path / "two" / "history.json")
    assert json.loads((tmp_path / "two" / "processes.json").read_text()) == [2, "MULTI_CPU"]
    assert two.steps == one.steps
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-5)
    shared = load_state(tmp_path / "two" / "checkpoint.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(shared.ema[name], value, rtol=1e-4, atol=1e-5)
    alone_in_shard = replace(job.SETTINGS, seed=4)
    _, other = fit(tmp_path / "other", alone_in_shard, job.plain_model())
    assert not np.allclose(other.losses, one.losses, rtol=1e-3), "another seed gives another curve"


def test_learns_and_reports(tmp_path):
    settings = replace(QUICK, steps=400, learning_rate=1e-2)
    model, history = fit(tmp_path, settings, job.plain_model())
    assert not model.training
    assert history.losses[-1] < 0.8 * history.losses[0]
    assert history.steps == list(range(4, 401, 4)) and history.seconds > 0 and history.cpu_seconds > 0
    assert History.load(tmp_path / "history.json") == history
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint.safetensors", "run.json", "log.jsonl", "history.json"}


def test_weights_are_the_running_mean(tmp_path):
    seen = []

    def loss(model, batch, generator):
        seen.append(model.weight.detach().clone())
        return (model(batch) - batch).square().mean()

    settings = replace(QUICK, ema=0.5, steps=12)
    torch.manual_seed(0)
    model, _ = fit(tmp_path, settings, nn.Linear(3, 3), loss)
    last = load_state(tmp_path / "checkpoint.safetensors").model["weight"]
    mean = seen[0]
    for step, weight in enumerate([*seen[1:], last]):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(model.weight.detach(), mean)
    assert not torch.equal(mean, last)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.99)])
def test_steps_are_those_of_adamw(tmp_path, betas):
    x = torch.randn(8, 3)
    loss = lambda model, batch, generator: (model(x) - x).square().mean()  # noqa: E731
    settings = replace(QUICK, steps=3, ema=0.0, clip=None, schedule="constant", warmup=0, weight_decay=0.1, betas=betas)
    torch.manual_seed(0)
    model, _ = fit(tmp_path, settings, nn.Linear(3, 3), loss, x)
    torch.manual_seed(0)
    mine = nn.Linear(3, 3)
    optimizer = torch.optim.AdamW(mine.parameters(), settings.learning_rate, betas=betas, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss(mine, None, None).backward()
        optimizer.step()
    torch.testing.assert_close(model.state_dict(), mine.state_dict())


def test_finished_training_is_not_done_again(tmp_path):
    model, history = fit(tmp_path)

    def loss(*_):
        raise AssertionError("no step is left")

    again, told = fit(tmp_path, loss=loss)
    same_bits(again.state_dict(), model.state_dict())
    assert told == history


def test_global_random_state_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    model = job.model()
    torch.manual_seed(5)
    fit(tmp_path, model=model)
    assert torch.equal(torch.rand(3), expected)


def test_precision_may_change_from_call_to_call(tmp_path):
    kinds = {}

    def loss(model, batch, generator):
        out = model(batch)
        kinds[len(kinds)] = out.dtype
        return (out - batch).square().mean()

    for precision in ("float32", "bfloat16", "float32"):
        model, history = fit(tmp_path / f"{len(kinds)}", replace(QUICK, steps=1, precision=precision), loss=loss)
        assert np.isfinite(history.losses).all()
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert list(kinds.values()) == [torch.float32, torch.bfloat16, torch.float32]


def test_compiled_model_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: nn.Sequential(model))
    kinds = set()

    def loss(model, batch, generator):
        kinds.add(isinstance(model[0], nn.Sequential))
        return job.denoise(model, batch, generator)

    model, _ = fit(tmp_path, replace(QUICK, compile=True), loss=loss)
    assert kinds == {True}
    assert set(model.state_dict()) == set(job.model().state_dict())


def test_losses_may_call_any_method_and_differentiate_twice(tmp_path):
    class Energy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.unused = nn.Linear(3, 1), nn.Linear(2, 2)

        def score(self, x):
            x = x.requires_grad_()
            return torch.autograd.grad(self.net(x).square().sum(), x, create_graph=True)[0]

    torch.manual_seed(0)
    model = Energy()
    before = model.net.weight.detach().clone()
    fit(tmp_path, model=model, loss=lambda m, batch, g: (m.score(batch) + batch).square().mean())
    assert not torch.equal(model.net.weight, before)


@pytest.mark.parametrize("count", [8, 29, 100])
def test_each_epoch_sees_every_sample_once(count):
    batches = Batches(torch.arange(count), 8, 2, seed=0)
    steps = 3 * count  # whole epochs of any length
    seen = torch.cat([batches(step, shard) for step in range(steps) for shard in range(2)])
    for epoch in seen.split(count):
        assert sorted(epoch.tolist()) == list(range(count))
    assert not torch.equal(seen[:count], seen[count : 2 * count])


def test_data_may_be_a_tuple_or_an_object(tmp_path):
    class Squares:
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return {"x": index.float()[:, None].expand(-1, 3), "index": index}

    shapes = []

    def loss(model, batch, generator):
        shapes.append((batch["x"] if isinstance(batch, dict) else batch[1]).shape)
        return model(torch.ones(2, 3)).square().mean()

    for kind, data in (("tuple", (torch.zeros(9), torch.zeros(9, 5))), ("object", Squares())):
        fit(tmp_path / kind, replace(QUICK, steps=1), loss=loss, data=data)
    assert shapes == [(8, 5), (8, 3)]


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path, bad):
    class Spoil(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * torch.nan

    calls = iter(range(100))

    def loss(model, batch, generator):
        value = job.denoise(model, batch, generator)
        if next(calls) == 9:  # the step after which a checkpoint would be written
            value = Spoil.apply(value) if bad == "gradient" else value * torch.nan
        return value

    with pytest.raises(TrainingDiverged, match=r"Step 10 gave .*nan.* of step 5, .*checkpoint"):
        fit(tmp_path, loss=loss)
    kept = load_state(tmp_path / "checkpoint.safetensors")
    assert kept.step == 5 and all(value.isfinite().all() for value in kept.model.values())
    whole, _ = fit(tmp_path / "whole")
    cured, _ = fit(tmp_path)
    same_bits(cured.state_dict(), whole.state_dict())


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": replace(QUICK, learning_rate=0.5)}, "training.learning_rate"),
        ({"settings": replace(QUICK, betas=(0.0, 0.99))}, "training.betas"),
        ({"model": nn.Linear(3, 3)}, "architecture.class"),
        ({"data": torch.ones(29, 3)}, "data.parts"),
        ({"data": torch.ones(7, 3)}, "data.samples"),
    ],
)
def test_folder_of_another_run_is_refused(tmp_path, changed, named):
    fit(tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InvalidInput, match=f"another run.*{named}") as caught:
        fit(tmp_path, **changed)
    assert "in the folder: {" in str(caught.value) and "asked for: {" in str(caught.value)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    fit(tmp_path, **changed, resume=False)


def test_the_same_values_in_another_order_are_other_data():
    """Equal mean and spread do not make two data sets one; the last bits of floats do not make one two."""
    data = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    known = describe(data)
    assert describe(data.clone()) == known == describe(data * (1 + 1e-7))
    for other in (data.flip(0), data.flip(-1), data.roll(1, 0), -data + 2 * data.mean()):
        told = describe(other)
        assert told["parts"][0].pop("projection") != known["parts"][0]["projection"]
        assert all(told["parts"][0][name] == known["parts"][0][name] for name in ("shape", "mean", "std"))
    assert describe(torch.arange(5))["parts"][0]["projection"] is not None
    assert describe(torch.full((3, 2), math.nan))["parts"][0]["projection"] is None


@pytest.mark.parametrize("harm", ["truncated", "empty", "other"])
def test_damaged_checkpoint_is_refused(tmp_path, harm):
    fit(tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    if harm == "other":
        state.save_tensors({"weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(path.read_bytes()[: {"truncated": -100, "empty": 0}[harm]])
    with pytest.raises(DataCorrupt, match=r"checkpoint\.safetensors.*emove it"):
        fit(tmp_path)


def test_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    save, calls = state.save_file, iter(range(100))

    def full(tensors, path, metadata):
        if next(calls) == 2:
            raise OSError(28, "No space left on device")
        save(tensors, path, metadata)

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(StorageError, match="No space left"):
        fit(tmp_path)
    assert load_state(tmp_path / "checkpoint.safetensors").step == 5
    assert not list(tmp_path.glob(".*"))
    monkeypatch.setattr(state, "save_file", save)
    whole, _ = fit(tmp_path / "whole")
    cured, _ = fit(tmp_path)
    same_bits(cured.state_dict(), whole.state_dict())


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("steps", 0, InvalidInput), ("steps", 2.5, InvalidInput), ("batch_size", 0, InvalidInput),
        ("learning_rate", 0.0, InvalidInput), ("learning_rate", float("nan"), InvalidInput), ("ema", 1.0, InvalidInput),
        ("clip", -1.0, InvalidInput), ("betas", (0.9, 1.0), InvalidInput), ("betas", (0.9,), InvalidInput),
        ("shards", 3, InvalidInput), ("schedule", "linear", UnknownName),
        ("precision", "float16", UnknownName), ("warmup", -1, InvalidInput), ("checkpoint_every", 0, InvalidInput),
    ],
)  # fmt: skip
def test_impossible_settings(setting, value, error):
    with pytest.raises(error, match=setting if setting not in ("precision", "schedule") else str(value)):
        Training(**asdict(QUICK) | {setting: value})


def test_bad_data(tmp_path):
    for data in (torch.zeros(0, 3), (torch.zeros(3), torch.zeros(4)), 7):
        with pytest.raises(InvalidInput, match="at least one"):
            fit(tmp_path, data=data)


def test_no_history():
    with pytest.raises(DataUnavailable, match="no history"):
        History.load("nowhere/history.json")


def test_learning_rate():
    settings = Training(steps=1000, warmup=100, learning_rate=2.0)
    rates = np.array([settings.rate(step) for step in range(1000)])
    assert rates[0] == pytest.approx(0.02) and rates[99] == 2.0 and rates.argmax() in (99, 100)
    assert rates[550] == pytest.approx(1.0) and 0 < rates[-1] < 1e-4
    assert replace(settings, schedule="constant").rate(999) == 2.0
    assert Training(steps=8, warmup=100).rate(2) == 1e-3, "the warm-up takes a quarter at most"


def test_bar_plot_or_silence(monkeypatch, capsys):
    monkeypatch.delenv("WAVELAB_RUN_DIR", raising=False)
    monkeypatch.delenv("WAVELAB_LIVE", raising=False)
    bar = progress.reporter(10, "toy", True)
    bar.show(4, [4], [0.5])
    bar.close()
    assert "toy" in (told := capsys.readouterr().err) and "4/10" in told and "loss 0.5" in told
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    assert type(progress.reporter(10, "toy", True)) is progress.Plot
    monkeypatch.setenv("WAVELAB_LIVE", "0")
    assert type(progress.reporter(10, "toy", True)) is progress.Silence
    monkeypatch.delenv("WAVELAB_LIVE")
    monkeypatch.setenv("WAVELAB_RUN_DIR", "anywhere")
    assert type(progress.reporter(10, "toy", True)) is progress.Silence


def test_live_plot_updates_one_figure(monkeypatch):
    import IPython.display

    shown = []

    class Handle:
        def update(self, picture, raw):
            shown.append(("update", picture))

    def display(picture, raw, display_id):
        shown.append(("new", picture))
        return Handle()

    monkeypatch.setattr(IPython.display, "display", display)
    plot = progress.Plot(10, "toy")
    plot.show(5, [5], [1.0])
    plot.show(10, [5, 10], [1.0, 0.5])
    plot.close()
    assert [what for what, _ in shown] == ["new", "update"]
    assert base64.b64decode(shown[1][1]["image/png"]).startswith(b"\x89PNG")
    assert shown[1][1]["text/plain"] == "[toy: step 10 of 10, loss 0.5]"


def test_no_file_is_pickled():
    used = set()
    for path in (ROOT / "wavelab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                used.add(ast.unparse(node))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                used |= {getattr(node, "module", None), *(name.name for name in node.names)}
    assert "torch.Tensor" in used or "torch" in used
    assert not used & {"torch.load", "torch.save", "pickle", "dill", "joblib"}
