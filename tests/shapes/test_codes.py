"""Codes of shapes: there and back, files, the command, and meshes that fail among others that do not."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import trimesh

from wavelab.errors import DataCorrupt, DataUnavailable
from wavelab.shapes import batch, codes, tsdf
from wavelab.shapes.__main__ import main
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.parametric import shape
from wavelab.training.state import save_tensors

SMALL = Pyramid(32, 1)


def _chair():
    mesh = shape("chair", 3).mesh()
    mesh.vertices = 10 * mesh.vertices + [5, 0, 0]
    return mesh


def test_there_and_back():
    mesh = _chair()
    code = codes.encode(mesh)
    assert code.coarse.shape == (16,) * 3 and code.detail.shape == (32,) * 3
    fine, rough = codes.decode(code), codes.decode(code, detail=False)
    voxel = 2 / 63 / code.scale
    np.testing.assert_allclose(fine.bounds, mesh.bounds, atol=2 * voxel)
    whole = tsdf.from_mesh(mesh).mesh()
    assert fine.is_watertight and abs(fine.volume - whole.volume) < abs(rough.volume - whole.volume)


def test_files_keep_everything(tmp_path):
    code = codes.encode(_chair(), SMALL, 0.3)
    codes.save(code, tmp_path / "chair.safetensors")
    again = codes.load(tmp_path / "chair.safetensors")
    assert torch.equal(again.coarse, code.coarse) and torch.equal(again.detail, code.detail)
    assert (again.pyramid, again.reach, again.centre, again.scale) == (SMALL, 0.3, code.centre, code.scale)


def test_other_files_are_no_codes(tmp_path):
    with pytest.raises(DataUnavailable, match="nothing"):
        codes.load(tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_tensors({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    about = {"kind": "wavelab shape code, version 1", "settings": '{"size": 32, "levels": 1, "reach": 1}'}
    volumes = {"coarse": torch.zeros(16, 16, 16), "detail": torch.zeros(32, 32, 32)}
    save_tensors(volumes, tmp_path / "lacking.safetensors", about)
    whole = '{"size": 64, "levels": 1, "reach": 1, "centre": [0, 0, 0], "scale": 1}'
    save_tensors(volumes, tmp_path / "size.safetensors", {**about, "settings": whole})
    for name, words in (
        ("text", "damaged"),
        ("other", "no coefficients"),
        ("lacking", "centre"),
        ("size", "expected 32"),
    ):
        with pytest.raises(DataCorrupt, match=words):
            codes.load(tmp_path / f"{name}.safetensors")


def test_the_command_goes_on_where_a_mesh_fails(tmp_path, capsys):
    models = tmp_path / "models"
    (models / "deep").mkdir(parents=True)
    (models / "chair.ply").write_bytes(_chair().export(file_type="ply"))
    (models / "deep" / "ball.stl").write_bytes(trimesh.creation.icosphere().export(file_type="stl"))
    (models / "broken.glb").write_bytes(b"no mesh")
    options = ["--size", "32", "--levels", "1", "--workers", "1"]
    assert main(["encode", str(models), "--out", str(tmp_path / "codes"), *options]) == 1
    told = capsys.readouterr()
    assert "2 of 3 done" in told.out and "broken.glb cannot be read as GLB" in told.err
    made = sorted(p.relative_to(tmp_path / "codes").as_posix() for p in (tmp_path / "codes").rglob("*.*"))
    assert made == ["chair.safetensors", "deep/ball.safetensors"]
    assert main(["decode", str(tmp_path / "codes"), "--out", str(tmp_path / "back"), "--workers", "1"]) == 0
    back = trimesh.load_mesh(tmp_path / "back" / "chair.ply")
    np.testing.assert_allclose(back.bounds, _chair().bounds, atol=1.0)


def test_two_files_for_one_place_are_refused(tmp_path, capsys):
    for name in ("a.ply", "a.stl"):
        (tmp_path / name).write_bytes(b"")
    assert main(["encode", str(tmp_path), "--out", str(tmp_path / "codes")]) == 1
    assert "would both be written" in capsys.readouterr().err


def test_the_command_explains_itself():
    told = subprocess.run([sys.executable, "-m", "wavelab.shapes", "encode", "--help"], capture_output=True, text=True)
    assert told.returncode == 0 and "--sheets" in told.stdout


def test_the_commands_run_as_they_are_written(tmp_path):
    shape("chair", 3).mesh().export(tmp_path / "chair.ply")
    for words in (("encode", "chair.ply", "--size", "32", "--out", "codes"), ("decode", "codes", "--out", "meshes")):
        told = subprocess.run(
            [sys.executable, "-m", "wavelab.shapes", *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
    assert trimesh.load_mesh(tmp_path / "meshes" / "chair.ply").is_watertight


def test_a_function_that_processes_cannot_find_is_named(tmp_path):
    script = "from wavelab.shapes import batch\ndef lost(x): return x\nif __name__ == '__main__': "
    script += "batch.run(lost, [('a', (1,))], progress=False)"
    told = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert "WavelabError" in told.stderr and "function lost" in told.stderr


def job(kind):
    """Succeed, fail, hang or die, as a job of a batch may."""
    if kind == "hang":
        time.sleep(60)
    if kind == "die":
        os._exit(3)
    return 10 / kind


def place(_):
    """Say in which process this is."""
    return os.getpid()


def test_jobs_that_hang_fail_or_die_do_not_stop_the_others():
    jobs = [("one", (1,)), ("hang", ("hang",)), ("zero", (0,)), ("die", ("die",)), ("two", (2,)), ("five", (5,))]
    found = batch.run(job, jobs, workers=2, limit=20, progress=False)
    assert [o.name for o in found] == ["one", "hang", "zero", "die", "two", "five"]
    assert [o.value for o in found] == [10, None, None, None, 5, 2]
    assert [bool(o.error) for o in found] == [False, True, True, True, False, False]
    assert "longer than 20 s" in found[1].error and "ZeroDivisionError" in found[2].error and "died" in found[3].error


@pytest.mark.parametrize(("workers", "worth"), [(1, 0.0), (2, 0.0), (2, 100.0)])
def test_calls_in_parallel_come_back_in_order_and_errors_are_raised(workers, worth, monkeypatch):
    monkeypatch.setattr(batch, "_WORTH", worth)
    assert batch.mapped(job, [(1,), (2,), (5,)], workers=workers, progress=False) == [10, 5, 2]
    with pytest.raises(ZeroDivisionError):
        batch.mapped(job, [(1,), (0,)], workers=workers, progress=False)
    places = batch.mapped(place, [(0,), (1,)], workers=workers, progress=False)
    assert places[0] == os.getpid() and (places[1] != os.getpid()) == (workers == 2 and worth == 0)
