"""Folders of pictures in the layouts of public data sets, such as CelebA-HQ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput

ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
WHERE = (
    "CelebA-HQ is free for research; its authors distribute it from the project page of 'Progressive growing of GANs'. "
    "Unpack its 30 000 pictures into a folder and give that folder."
)


def image_folder(folder: Path | str, size: int, count: int | None = None) -> Tensor:
    """Read the pictures of a folder and everything below it, in the order of their names, as colour squares.

    Pictures that are not square lose their longer margins; then they are reduced or enlarged to ``size`` by area means.

    Args:
        folder: holds JPEG, PNG or WebP files, as CelebA-HQ is distributed.
        size: side in pixels.
        count: how many to read; None for all.

    Returns:
        float32, shape ``(pictures, 3, size, size)``: black to white as -1 to 1.

    Raises:
        DataUnavailable: there is no such folder, or too few pictures in it.
        DataCorrupt: a file cannot be read; the message names it.
        InvalidInput: a size or count that is not a positive whole number.
    """
    for name, value in (("size", size), ("count", 1 if count is None else count)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidInput(f"{name} must be a positive whole number, got {value!r}.")
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataUnavailable(f"There is no folder {folder}. {WHERE}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    if not paths or (count is not None and len(paths) < count):
        wanted = "at least one" if count is None else f"at least {count}"
        raise DataUnavailable(f"{folder} holds {len(paths)} pictures ({', '.join(ENDINGS)}); {wanted} needed. {WHERE}")
    with ThreadPoolExecutor() as pool:
        pixels = np.stack(list(pool.map(lambda path: _square(path, size), paths[:count])))
    return torch.from_numpy(pixels).movedim(-1, 1).float().div_(127.5).sub_(1)


def _square(path: Path, size: int) -> np.ndarray:
    """Read one picture as uint8 ``(size, size, 3)``."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            side = min(image.size)
            left, top = ((full - side) // 2 for full in image.size)
            box = (left, top, left + side, top + side)
            return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BOX, box=box))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataCorrupt(f"The picture {path} cannot be read: {error}. Remove it or copy it again.") from error
