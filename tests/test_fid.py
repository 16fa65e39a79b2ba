"""The Fréchet inception distance: its arithmetic with simple features, its messages without the network."""

import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from wavelab import fid
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput


def means(pictures):
    """Features of a picture: the means of its four quarters and channels."""
    assert pictures.dtype == torch.uint8 and pictures.shape[1] == 3
    return torch.nn.functional.adaptive_avg_pool2d(pictures.float(), 2).flatten(1)


def pictures(seed, count=60, channels=3):
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_distance_is_that_of_the_features_gaussians():
    x, y = pictures(0), pictures(1) * 0.5
    a, b = (means(((p + 1) * 127.5).round().to(torch.uint8)).double().numpy() for p in (x, y))
    root = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T))
    expected -= 2 * np.sqrt(root.real.clip(0)).sum()
    assert fid.inception_distance(x, y, means, batch=7) == pytest.approx(expected, rel=1e-6)
    assert fid.inception_distance(x, x, means) == pytest.approx(0, abs=1e-6)


def test_grey_pictures_are_shown_in_three_channels():
    grey = pictures(0, channels=1)
    colour = grey.expand(-1, 3, -1, -1)
    other = pictures(1)
    assert fid.inception_distance(grey, other, means) == pytest.approx(fid.inception_distance(colour, other, means))


@pytest.mark.parametrize("x", [torch.zeros(1, 3, 8, 8), torch.zeros(4, 2, 8, 8), torch.full((4, 3, 8, 8), torch.nan)])
def test_bad_pictures_are_named(x):
    with pytest.raises(InvalidInput, match="x has shape"):
        fid.inception_distance(x, pictures(0), means)


def test_missing_parts_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(DataUnavailable, match=r"wavelab\[fid\]"):
        fid.inception()


@pytest.fixture
def network(monkeypatch):
    """A stand-in for torch-fidelity, whose constructor asks ``load_state_dict_from_url`` for weights."""
    module = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")

    def download(*_, **__):
        raise AssertionError("nothing may be downloaded")

    class FeatureExtractorInceptionV3(torch.nn.Module):
        def __init__(self, name, features):
            super().__init__()
            assert features == ["2048"]
            self.fc = torch.nn.Linear(12, 5)
            self.load_state_dict(module.load_state_dict_from_url("address"))

        def forward(self, x):
            assert not self.training and not torch.is_grad_enabled()
            return (self.fc(means(x)),)

    module.load_state_dict_from_url = download
    module.FeatureExtractorInceptionV3 = FeatureExtractorInceptionV3
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_weights_come_from_the_cache_as_safetensors(network, monkeypatch, tmp_path):
    monkeypatch.setenv("WAVELAB_CACHE", str(tmp_path))
    with pytest.raises(DataUnavailable, match=r"not at .*fid-inception.safetensors.*convert it once"):
        fid.inception()
    save_file({"fc.weight": torch.eye(5, 12), "fc.bias": torch.zeros(5)}, tmp_path / fid.WEIGHTS)
    x = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fid.inception()(x), means(x)[:, :5])
    assert fid.inception_distance(pictures(0), pictures(1)) > 0


@pytest.mark.parametrize("content", [b"no safetensors", None])
def test_other_weights_are_refused(network, tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is None:
        save_file({"other": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataCorrupt, match="does not hold the weights of the FID"):
        fid.inception(path)
