"""Collections: right whatever the number of processes, kept in the cache, made again where the file is damaged."""

import pytest
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes import collection
from wavelab.shapes.coefficients import Pyramid
from wavelab.shapes.parametric import shape

SMALL = Pyramid(16, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path))
    return tmp_path / "shapes"


def test_shapes_come_in_the_order_of_their_seeds(cache, monkeypatch):
    monkeypatch.setattr(collection, "_TOGETHER", 2)
    coarse, detail = collection.parametric("chair", range(3, 8), SMALL, 0.5, workers=1, progress=False)
    assert coarse.shape == (5, 1, 8, 8, 8) and detail.shape == (5, 1, 16, 16, 16)
    wanted = SMALL.split(torch.from_numpy(shape("chair", 6).grid(16, 0.5))[None, None])
    torch.testing.assert_close(coarse[3:4], wanted[0])
    torch.testing.assert_close(detail[3:4], wanted[1])


def test_a_second_call_reads_and_a_damaged_file_is_made_again(cache, monkeypatch):
    first = collection.parametric("chair", range(2), SMALL, workers=1, progress=False)
    (path,) = cache.glob("chair-2-*.safetensors")
    monkeypatch.setattr(collection, "_encoded", None)  # nothing is made anew
    again = collection.parametric("chair", range(2), SMALL, workers=1, progress=False)
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    monkeypatch.undo()
    monkeypatch.setenv("WAVELAB_CACHE", str(cache.parent))
    path.write_bytes(path.read_bytes()[:100])
    torch.testing.assert_close(collection.parametric("chair", range(2), SMALL, workers=1, progress=False), first)


def test_other_settings_are_other_files(cache):
    for options in ({}, {"reach": 0.3}, {"pyramid": Pyramid(16, 1, "haar")}):
        collection.parametric("airplane", range(1), workers=1, progress=False, **{"pyramid": SMALL, **options})
    assert len(list(cache.iterdir())) == 3


def test_no_shapes_and_unknown_ones_are_refused():
    with pytest.raises(InvalidInput, match="at least one"):
        collection.parametric("chair", range(0), SMALL)
    with pytest.raises(UnknownName, match="chair"):
        collection.parametric("chiar", range(1), SMALL, workers=1, progress=False)
