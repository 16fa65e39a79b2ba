"""Fetching from made-up packages of Debian by a made-up apt, and every way in which it can fail."""

import os
import stat
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from made_up import entry, listing, make_deb
from test_download import USE, python

from wavelab.data import debian, download, fetch, registry
from wavelab.errors import DataCorrupt, DataUnavailable, StorageError

A, B = b"first member\n" * 100, b"second member\n" * 50
MEMBERS = {"./usr": tarfile.TarInfo("./usr"), "./tinydata/a.bin": A, "./tinydata/b.bin": B, "./tinydata/c.bin": b"c"}
MEMBERS["./usr"].type = tarfile.DIRTYPE
DEBIAN = 'archive = "debian"'
TWO = entry("tiny-a", "a.bin", A, more=DEBIAN) + entry("tiny-b", "b.bin", B, more=DEBIAN)
APT = """#!/bin/sh
echo "$*" >> "{log}"
for wanted; do :; done
case $wanted in
    *=*) found="{archive}/$(echo "$wanted" | tr = _)_all.deb" ;;
    *) found=$(ls "{archive}"/"$wanted"_*.deb 2>/dev/null) ;;
esac
if [ -s "{archive}/says" ]; then cat "{archive}/says" >&2; exit 100; fi
if [ ! -e "$found" ]; then
    if [ "$(ls "{archive}"/*.deb 2>/dev/null)" ]
    then echo "E: Version '1.0' for 'tinydata' was not found" >&2
    else echo "E: Unable to locate package tinydata" >&2
    fi
    exit 100
fi
echo "W: Download is performed unsandboxed as root (13: Permission denied)" >&2
cp "$found" .
"""


@pytest.fixture
def ready(cache, tmp_path, monkeypatch, use_registry):
    """An empty cache, a registry of two members, and the folder of packages that the only apt-get knows."""
    use_registry(TWO)
    archive, programs = tmp_path / "archive", tmp_path / "programs"
    archive.mkdir()
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text(APT.format(archive=archive, log=tmp_path / "log"))
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return cache, archive


def _no_apt(monkeypatch, path):
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))


def test_a_package_is_downloaded_once_for_all_its_members(ready, tmp_path):
    cache, archive = ready
    make_deb(archive, MEMBERS)
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin", "b.bin"]  # no package, no temporary folder, nothing unregistered
    assert fetch("tiny-b").read_bytes() == B
    assert (tmp_path / "log").read_text() == "-qq download tinydata=1.0\n"
    assert stat.S_IMODE((cache / "a.bin").stat().st_mode) == 0o644


def test_another_version_will_do_where_the_file_is_the_same(ready, tmp_path):
    _cache, archive = ready
    make_deb(archive, MEMBERS, version="2.0")
    assert fetch("tiny-a").read_bytes() == A
    assert (tmp_path / "log").read_text().split("\n")[1] == "-qq download tinydata"


def test_another_version_with_another_file_is_refused(ready):
    cache, archive = ready
    make_deb(archive, MEMBERS | {"./tinydata/a.bin": b"newer"}, version="2.0")
    with pytest.raises(DataCorrupt, match=r"tinydata_2\.0_all\.deb has SHA-256 .* The file of version 1\.0 is needed"):
        fetch("tiny-a")
    assert listing(cache) == []


def test_a_wrong_sibling_does_not_stop_the_one_asked_for(ready):
    cache, archive = ready
    make_deb(archive, MEMBERS | {"./tinydata/b.bin": b"forged"})
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin"]


def test_a_package_without_the_member(ready):
    cache, archive = ready
    make_deb(archive, {"./tinydata/b.bin": B})
    with pytest.raises(DataCorrupt, match=r"tinydata/a\.bin in tinydata_1\.0_all\.deb is not there"):
        fetch("tiny-a")
    assert listing(cache) == []


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        ("", DataUnavailable, "Unable to locate package"),
        ("E: Failed to fetch x  Could not connect", DataUnavailable, "Is the network there"),
        ("E: Failed to fetch x  Hash Sum mismatch", DataCorrupt, "damaged and was removed"),
        ("E: You don't have enough free space in x", StorageError, "Free some space"),
        ("E: Write error - write (28: No space left on device)", StorageError, "Free some space"),
        ("W: x (28: No space left on device)\nE: Other", DataUnavailable, "apt says: E: Other"),
    ],
)
def test_what_apt_says_becomes_the_right_error(ready, says, error, words):
    cache, archive = ready
    (archive / "says").write_text(says)
    with pytest.raises(error, match=words) as caught:
        fetch("tiny-a")
    assert "'tiny-a'" in str(caught.value) and "tinydata=1.0" in str(caught.value)
    assert listing(cache) == []


def test_a_system_without_apt_learns_how_to_place_the_file(ready, monkeypatch, tmp_path):
    cache, _archive = ready
    _no_apt(monkeypatch, tmp_path / "none")
    with pytest.raises(DataUnavailable) as caught:
        fetch("tiny-a")
    for part in ("no apt-get", "by hand", "tinydata_1.0_all.deb", str(cache / "a.bin"), "tinydata/a.bin", "pool"):
        assert part in str(caught.value)
    assert "://" not in str(caught.value)
    assert listing(cache) == []


def test_a_package_placed_by_hand_is_used_and_stays(ready, monkeypatch, tmp_path):
    cache, _ = ready
    _no_apt(monkeypatch, tmp_path / "none")
    make_deb(cache, MEMBERS)
    assert fetch("tiny-a").read_bytes() == A
    assert listing(cache) == ["a.bin", "b.bin", "tinydata_1.0_all.deb"]


def test_a_file_placed_by_hand_is_used(ready, monkeypatch, tmp_path):
    cache, _ = ready
    _no_apt(monkeypatch, tmp_path / "none")
    cache.mkdir(parents=True)
    (cache / "a.bin").write_bytes(A)
    assert fetch("tiny-a") == cache / "a.bin"


@pytest.mark.parametrize("keep", [0, 5, 40, 100, 0.5, 0.9, 0.999])
def test_a_package_cut_short(ready, keep):
    cache, archive = ready
    package = make_deb(archive, MEMBERS | {"./tinydata/0.bin": os.urandom(3000)})
    content = package.read_bytes()
    package.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DataCorrupt, match="damaged"):
        fetch("tiny-a")
    assert listing(cache) == []


@pytest.mark.parametrize("place", [-400, -300, -200])
def test_a_package_with_damaged_content(ready, place):
    cache, archive = ready
    package = make_deb(archive, {"./tinydata/0.bin": os.urandom(3000)} | MEMBERS)
    content = bytearray(package.read_bytes())
    content[place] ^= 0xFF
    package.write_bytes(bytes(content))
    with pytest.raises(DataCorrupt, match=r"tinydata_1\.0_all\.deb"):
        fetch("tiny-a")
    assert listing(cache) == []


@pytest.mark.parametrize("content", [b"no package at all", b"!<arch>\n" + b"x" * 60, b"!<arch>\n"])
def test_what_is_no_package_is_refused(ready, content):
    _cache, archive = ready
    (archive / "tinydata_1.0_all.deb").write_bytes(content)
    with pytest.raises(DataCorrupt, match="damaged"):
        fetch("tiny-a")


@pytest.mark.parametrize("kind", ["", "gz"])
def test_other_compressions(ready, kind):
    make_deb(ready[1], MEMBERS, kind=kind)
    assert fetch("tiny-a").read_bytes() == A


def test_a_compression_that_python_cannot_read_is_named(ready):
    make_deb(ready[1], MEMBERS, kind="lz9")
    with pytest.raises(DataUnavailable, match=r"compressed as data\.tar\.lz9.*dpkg-deb -x"):
        fetch("tiny-a")


def test_parts_after_the_data_do_not_matter(ready):
    make_deb(ready[1], MEMBERS, after=b"_gpgorigin      0           0     0     100644  4         `\nsign")
    assert fetch("tiny-a").read_bytes() == A


@pytest.mark.parametrize("member", ["../../outside.bin", "/outside.bin", "tinydata/../../outside.bin"])
def test_a_member_that_would_leave_the_folder_is_refused(ready, tmp_path, monkeypatch, member):
    _cache, archive = ready
    make_deb(archive, {member: A})
    evil = replace(registry.find("tiny-a"), member=member)
    monkeypatch.setattr(registry, "datasets", lambda: {"tiny-a": evil})
    before = listing(tmp_path)
    with pytest.raises(DataCorrupt, match="Refused to unpack"):
        fetch("tiny-a")
    assert [name for name in listing(tmp_path) if name not in before] == ["cache", "cache/data", "log"]


def test_a_link_in_place_of_the_file_is_refused(ready, tmp_path):
    cache, archive = ready
    (tmp_path / "secret").write_bytes(A)
    link = tarfile.TarInfo("./tinydata/a.bin")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    make_deb(archive, {"link": link})
    with pytest.raises(DataCorrupt, match=r"a\.bin in it is no plain file"):
        fetch("tiny-a")
    assert listing(cache) == []


def test_full_disk_while_unpacking(cache, use_registry):
    zeros = bytes(3_000_000)
    path = use_registry(entry("zeros", "zeros.bin", zeros, more=DEBIAN))
    make_deb(cache, {"./tinydata/zeros.bin": zeros})  # 1 kB
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
    done = python(USE.format(str(path)) + code + "fetch('zeros')")
    assert "StorageError: Cannot keep zeros.bin" in done.stderr
    assert "Free some space" in done.stderr
    assert listing(cache) == ["tinydata_1.0_all.deb"]


def test_little_memory_is_needed(tmp_path):
    noise = os.urandom(1 << 20)
    package = make_deb(tmp_path, {"./big": noise * 40, "./small": b"x"}, kind="")
    code = f"""
    import resource, pathlib
    from wavelab.data import debian
    debian.unpack(pathlib.Path({str(package)!r}), {{"small": pathlib.Path({str(tmp_path / "warm")!r})}})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    debian.unpack(pathlib.Path({str(package)!r}), {{"big": pathlib.Path({str(tmp_path / "out")!r})}})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = python(code)
    assert int(done.stdout) < 20_000, done.stderr  # kB, for a file of 40 MB
    assert (tmp_path / "out").stat().st_size == 40 << 20


def test_apt_says_nothing_in_another_language_and_draws_only_on_a_terminal(ready, monkeypatch, tmp_path):
    seen = []

    def record(arguments, **keywords):
        seen.append((arguments[1:], keywords["env"]["LC_ALL"], keywords["stdout"]))
        return subprocess.CompletedProcess(arguments, 100, stderr="E: no")

    monkeypatch.setattr(subprocess, "run", record)
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        with pytest.raises(DataUnavailable):
            debian.download(registry.find("tiny-a"), download.folder(), tmp_path, progress=True)
    assert seen == [
        (["-qq", "download", "tinydata=1.0"], "C", subprocess.DEVNULL),
        (["download", "tinydata=1.0"], "C", None),
    ]


def test_the_latest_of_the_packages_placed_by_hand_is_taken(ready):
    cache, _ = ready
    assert debian.placed(registry.find("tiny-a"), cache) is None
    for version in ("0.9", "1.0"):
        make_deb(cache, MEMBERS, version)
    assert debian.placed(registry.find("tiny-a"), cache).name == "tinydata_1.0_all.deb"
