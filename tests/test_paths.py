"""Files appear whole or not at all."""

import errno
import os

import pytest

from wavelab import paths
from wavelab.errors import InvalidInput, StorageError


def test_atomic_write_replaces(tmp_path):
    target = tmp_path / "folder" / "file.txt"
    for text in ("one", "two"):
        with paths.atomic_write(target) as temporary:
            temporary.write_text(text)
            assert not target.exists() or target.read_text() == "one"
        assert target.read_text() == text
    assert os.listdir(target.parent) == ["file.txt"]


def test_atomic_write_keeps_the_old_file_on_error(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), paths.atomic_write(target) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_full_disk_says_what_to_do(tmp_path):
    with pytest.raises(StorageError, match="Free some space"), paths.atomic_write(tmp_path / "file.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"), paths.atomic_write(tmp_path / "file" / "inside.txt"):
        pass


def test_cache_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path))
    assert paths.cache_dir() == tmp_path


def test_a_relative_cache_is_refused(monkeypatch):
    monkeypatch.setenv("WAVELAB_CACHE", "mycache")
    with pytest.raises(InvalidInput, match=r"WAVELAB_CACHE is 'mycache'.*absolute path, such as /.*mycache"):
        paths.cache_dir()


def test_sha256(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert paths.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")
