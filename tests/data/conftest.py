"""Fixtures for the data room: an empty cache, a registry of the test's own, and a package index of one folder."""

import os

import pytest

from wavelab.data import registry


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Use an empty cache folder; return its data folder, which does not exist yet."""
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "data"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Make pip see one local folder of wheels and nothing else; return the folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def use_registry(tmp_path, monkeypatch):
    """Return a function that makes a text the registry of the test."""

    def use(text):
        path = tmp_path / "registry.toml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(registry, "default_path", lambda: path)
        registry.datasets.cache_clear()
        return path

    yield use
    monkeypatch.undo()
    registry.datasets.cache_clear()
