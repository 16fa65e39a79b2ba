"""Photographs and textures that come with PyWavelets and scikit-image: real images that need no network.

scikit-image lists more pictures than its wheel holds and would download the others; only those in the wheel are named
here. Values are float32 in [0, 1]: the stored 8 bits divided by 255, without any other change.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from wavelab.errors import DataUnavailable, InvalidInput, UnknownName

PHOTOGRAPHS = {  # name: package that ships it; sizes are height x width
    "aero": "pywt",  # fields and a river from the air, grey, 512 x 512
    "ascent": "pywt",  # two people on an outside staircase, grey, 512 x 512
    "camera": "pywt",  # the photographer, grey, 512 x 512, CC0
    "coins": "skimage",  # Greek coins from Pompeii, grey, 303 x 384
    "clock": "skimage",  # a wall clock blurred by motion, grey, 300 x 400, public domain
    "moon": "skimage",  # the surface of the moon, low contrast, grey, 512 x 512
    "page": "skimage",  # a scanned page of print, grey, 191 x 384
    "text": "skimage",  # handwriting at an angle, grey, 172 x 448, public domain
    "astronaut": "skimage",  # Eileen Collins, colour, 512 x 512, public domain
    "chelsea": "skimage",  # a cat, colour, 300 x 451, CC0
    "coffee": "skimage",  # a cup on wood, colour, 400 x 600, CC0
    "rocket": "skimage",  # a rocket on its pad at dusk, colour, 427 x 640, public domain, stored as JPEG
    "hubble_deep_field": "skimage",  # galaxies, colour, 872 x 1000, public domain, stored as JPEG
    "retina": "skimage",  # the back of an eye, colour, 1411 x 1411, CC0, stored as JPEG
    "immunohistochemistry": "skimage",  # stained colon glands under a microscope, colour, 512 x 512
    "brick": "skimage",  # texture, grey, 512 x 512, CC0
    "grass": "skimage",  # texture, grey, 512 x 512, CC0
    "gravel": "skimage",  # texture, grey, 512 x 512, CC0
}
TEXTURES = ("brick", "grass", "gravel")
LUMINANCE = (0.2125, 0.7154, 0.0721)  # weights of red, green and blue, as in scikit-image's rgb2gray


def photograph(name: str, size: int | None = None, *, grey: bool = False) -> np.ndarray:
    """Return one packaged photograph.

    Args:
        name: a key of ``PHOTOGRAPHS``.
        size: side in pixels of a square picture: the largest centred square, reduced by area means or enlarged by
            linear interpolation. None keeps the stored pixels. Resizing changes an image's spectrum: for statistics
            keep the pixels.
        grey: turn colours into luminance; without it colour photographs have a last axis of three.

    Returns:
        float32 in [0, 1], shape ``(height, width)`` or ``(height, width, 3)``.

    Raises:
        UnknownName: there is no such photograph.
        InvalidInput: the size is not a positive whole number.
        DataUnavailable: the package that should ship the picture does not have it.
    """
    if name not in PHOTOGRAPHS:
        raise UnknownName.among("photograph", name, PHOTOGRAPHS)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
        raise InvalidInput(f"size must be a positive whole number of pixels, got {size!r}.")
    image = _stored(name).astype(np.float32) / np.float32(255)
    if grey and image.ndim == 3:
        image = (image @ np.asarray(LUMINANCE, np.float32)).clip(0, 1)
    return image if size is None else _square(image, int(size))


def photographs(
    names: Iterable[str] | None = None, size: int | None = None, *, grey: bool = False
) -> dict[str, np.ndarray]:
    """Return several packaged photographs by name, all of them where ``names`` is None; see :func:`photograph`."""
    if isinstance(names, str):
        raise InvalidInput(f"names must be several names, got the text {names!r}; use photograph({names!r}) for one.")
    return {name: photograph(name, size, grey=grey) for name in (PHOTOGRAPHS if names is None else names)}


def _stored(name: str) -> np.ndarray:
    """Return the 8-bit pixels of a photograph from the package that ships it."""
    try:
        if PHOTOGRAPHS[name] == "pywt":
            import pywt.data

            return getattr(pywt.data, name)()
        return _from_skimage(name)
    except (ImportError, AttributeError, OSError) as error:
        raise DataUnavailable(
            f"The photograph {name!r} should come with the package {PHOTOGRAPHS[name]}, which does not have it: "
            f"{error}. Reinstall the package from its wheel."
        ) from error


def _from_skimage(name: str) -> np.ndarray:
    """Read a picture from scikit-image's installed files (its own functions would download a missing one)."""
    from PIL import Image

    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed")
    folder = Path(spec.origin).parent / "data"
    file = {"clock": "clock_motion", "immunohistochemistry": "ihc"}.get(name, name)
    for path in (folder / f"{file}.png", folder / f"{file}.jpg"):
        if path.is_file():
            with Image.open(path) as image:
                return np.asarray(image)
    raise FileNotFoundError(f"no {file}.png or {file}.jpg in {folder}")


def _square(image: np.ndarray, size: int) -> np.ndarray:
    """Return the largest centred square of an image at another size: area means down, bilinear up."""
    from PIL import Image

    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == size:
        return square
    method = Image.Resampling.BOX if size < side else Image.Resampling.BILINEAR
    channels = square[..., None] if square.ndim == 2 else square
    resized = [np.asarray(Image.fromarray(c).resize((size, size), method)) for c in np.moveaxis(channels, -1, 0).copy()]
    return np.stack(resized, axis=-1).reshape(size, size, *square.shape[2:]).clip(0, 1)
