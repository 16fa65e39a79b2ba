import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from wavelab.data import images
from wavelab.errors import DataUnavailable, InvalidInput, UnknownName

COLOUR = {"astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry"}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", images.PHOTOGRAPHS)
def test_every_photograph_is_there_without_the_network(no_network, name):
    image = images.photograph(name)
    assert image.dtype == np.float32
    assert image.ndim == (3 if name in COLOUR else 2)
    assert image.shape[2:] in ((), (3,))
    assert min(image.shape[:2]) >= 172
    assert image.min() >= 0
    assert 0.75 < image.max() <= 1
    assert image.std() > 0.01


def test_pixels_are_the_packages_own(no_network):
    import pywt.data
    import skimage.data

    assert np.array_equal(images.photograph("camera"), pywt.data.camera().astype(np.float32) / 255)
    assert np.array_equal(np.rint(images.photograph("coffee") * 255), skimage.data.coffee())
    assert np.array_equal(np.rint(images.photograph("gravel") * 255), skimage.data.gravel())
    assert np.array_equal(np.rint(images.photograph("immunohistochemistry") * 255), skimage.data.immunohistochemistry())


def test_nothing_is_written_into_the_users_cache(tmp_path):
    code = "from wavelab.data import images; print(len(images.photographs(size=16)))"
    environment = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(len(images.PHOTOGRAPHS))
    assert list(tmp_path.rglob("*.png")) == []


def test_textures_are_photographs_large_enough_for_patches():
    assert set(images.TEXTURES) <= set(images.PHOTOGRAPHS)
    assert all(images.photograph(name).shape == (512, 512) for name in images.TEXTURES)


def test_several_at_once():
    chosen = images.photographs(["brick", "coffee"], size=64)
    assert {name: image.shape for name, image in chosen.items()} == {"brick": (64, 64), "coffee": (64, 64, 3)}
    assert set(images.photographs(size=8)) == set(images.PHOTOGRAPHS)


def test_grey_is_the_luminance():
    from skimage.color import rgb2gray

    assert np.allclose(images.photograph("coffee", grey=True), rgb2gray(images.photograph("coffee")), atol=1e-6)
    assert np.array_equal(images.photograph("camera", grey=True), images.photograph("camera"))


def test_size_crops_the_centre_and_keeps_the_mean():
    assert np.array_equal(images.photograph("camera", 512), images.photograph("camera"))
    square = images.photograph("chelsea", 300)
    assert np.array_equal(square, images.photograph("chelsea")[:, 75:375])
    small = images.photograph("chelsea", 100)
    assert small.shape == (100, 100, 3)
    assert small.dtype == np.float32
    assert abs(small.mean() - square.mean()) < 1e-3
    assert images.photograph("text", 256).shape == (256, 256)  # enlarged


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "64"])
def test_a_wrong_size_is_refused(size):
    with pytest.raises(InvalidInput, match="size must be a positive whole number"):
        images.photograph("camera", size)


def test_unknown_names_are_refused():
    with pytest.raises(UnknownName, match=r"no photograph 'camara'.*'camera'"):
        images.photographs(["camara"])
    with pytest.raises(InvalidInput, match="use photograph"):
        images.photographs("camera")


@pytest.mark.parametrize("name", ["camera", "coffee"])
def test_a_package_without_its_pictures(monkeypatch, name):
    code = """
        import pathlib, pywt.data
        from wavelab.data import images
        del pywt.data.camera
        pathlib.Path.is_file = lambda self: False
        images.photograph({!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code).format(name)], capture_output=True, text=True)
    assert f"DataUnavailable: The photograph '{name}' should come with the package" in done.stderr


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataUnavailable, match="scikit-image is not installed"):
        images.photograph("coffee")
