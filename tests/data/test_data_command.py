import subprocess
import sys

import pytest
from made_up import entry, listing, make_nifti, make_wheel
from test_volumes import HU, MORE, SPACING, oriented

from wavelab.data import download
from wavelab.data.__main__ import main


@pytest.fixture
def two(cache, index, use_registry, tmp_path):
    """A registry of a volume and a text, and the wheel of both."""
    stored, affine = oriented(HU, SPACING, "LAS")
    volume = make_nifti(tmp_path / "tiny.nii.gz", stored, affine).read_bytes()
    use_registry(entry("volume", "v.nii.gz", volume, more=MORE.format("int16")) + entry("text", "t.txt", b"text"))
    make_wheel(index, {"tinydata/v.nii.gz": volume, "tinydata/t.txt": b"text"})
    return cache


def test_fetching_everything_prepares_volumes_and_is_quiet_the_second_time(two, capsys, monkeypatch):
    assert main([]) == 0
    first = capsys.readouterr()
    assert "[1/2] volume" in first.out
    assert "downloading tinydata==1.0 ... done" in first.out
    assert "[2/2] text" in first.out
    assert "Verified: 2 of 2 data sets" in first.out
    assert first.err == ""
    assert sorted(name.split(".")[-1] for name in listing(two)) == ["gz", "npy", "txt"]
    monkeypatch.setattr(subprocess, "run", None)
    assert main(["fetch", "--profile", "smoke"]) == 0
    assert capsys.readouterr().out.count("already there") == 2


def test_fetching_one(two, capsys):
    assert main(["fetch", "text"]) == 0
    assert "[1/1] text" in capsys.readouterr().out


def test_list_and_where(two, capsys):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.count("not fetched") == 2
    assert main(["fetch", "text"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert out.count("in the cache") == 2
    assert "licence: CC0" in out
    assert main(["where", "volume"]) == 0
    assert capsys.readouterr().out.strip() == str(two / "v.nii.gz")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fetch", "texts"], "UnknownName: There is no data set 'texts'. Did you mean 'text'?"),
        (["where", "texts"], "UnknownName: There is no data set 'texts'"),
        (["fetch", "--profile", "tpu"], "UnknownName: There is no profile 'tpu'"),
        (["fetch", "text", "--profile", "cpu"], "InvalidInput: Name data sets or a profile"),
    ],
)
def test_errors_are_one_line_and_exit_with_1(two, capsys, arguments, says):
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(says)
    assert captured.err.count("\n") == 1


def test_a_failed_download_exits_with_1(two, capsys, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(two / "nowhere"))
    assert main([]) == 1
    assert "DataUnavailable: Data set 'volume' is not in the cache" in capsys.readouterr().err
    assert listing(download.folder()) == []


def test_an_unknown_command_exits_with_2():
    done = subprocess.run([sys.executable, "-m", "wavelab.data", "steal"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice: 'steal'" in done.stderr
