"""Slices of the real volumes, ready for a scan: the chest in units of water, the brain from 0 to 1."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wavelab.data.volumes import chest_ct, mni_t1, split_slices
from wavelab.errors import InvalidInput, UnknownName
from wavelab.medical.checks import check_whole

PARTS = ("train", "validation", "test")
_LOWEST, _HIGHEST = -1000.0, 2000.0  # HU; air, and all but the densest bone and metal
_WINDOW = (slice(None), slice(19, 211), slice(2, 194))  # with 3 mm of air below, 192 mm along every axis
_PLANES = {  # axis, and its places in the window with much brain in them
    "axial": (0, slice(40, 164)),
    "coronal": (1, slice(14, 178)),
    "sagittal": (2, slice(30, 96)),  # one half: the template is symmetric
}


def chest_slices(part: str, size: int = 128) -> tuple[Tensor, float]:
    """Return axial slices of the chest CT as attenuation in units of water.

    Blocks of training, validation and test slices alternate twice, with five unused slices (12.5 mm) between them.
    Pixels are means over blocks of the scan's pixels.

    Args:
        part: ``"train"``, ``"validation"`` or ``"test"``: 60, 10 and 38 slices.
        size: pixels a side; a divisor of 512.

    Returns:
        float32, shape ``(slices, 1, size, size)``, 0 for air and 1 for water, and the width of a pixel in mm.

    Raises:
        UnknownName: there is no such part.
        InvalidInput: a size that does not divide 512.
        DataUnavailable, DataCorrupt, StorageError: see :func:`wavelab.data.fetch`.
    """
    _check_part(part)
    volume = chest_ct()
    full = volume.array.shape[-1]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or full % size:
        raise InvalidInput(f"size is {size!r}; give a divisor of {full}, such as 128.")
    chosen = split_slices(len(volume.array), (0.55, 0.1, 0.35), gap=5, blocks=2)[part]
    factor = full // size
    blocks = volume.array[chosen].reshape(len(chosen), size, factor, size, factor)
    hu = blocks.mean((2, 4), dtype=np.float32).clip(_LOWEST, _HIGHEST)
    return torch.from_numpy(hu / 1000 + 1)[:, None], volume.spacing[1] * factor


def brain_slices(part: str, size: int = 128, plane: str = "axial") -> tuple[Tensor, float]:
    """Return slices of the brain template, from 0 to 1.

    Blocks of training, validation and test slices alternate twice, with five unused slices (5 mm) between them. The
    template is the mean of 152 heads and symmetric left to right: a smooth brain, and nobody's. Slices of different
    planes cross, so do not train on one plane and test on another.

    Args:
        part: ``"train"``, ``"validation"`` or ``"test"``; of axial slices there are 55, 10 and 34.
        size: pixels a side, at most 192; 128 makes pixels of 1.5 mm.
        plane: ``"axial"``, ``"coronal"`` or ``"sagittal"``; of the last only one half of the head.

    Returns:
        float32, shape ``(slices, 1, size, size)``, and the width of a pixel in mm.

    Raises:
        UnknownName: there is no such part or plane.
        InvalidInput: a size out of range.
        DataUnavailable, DataCorrupt, StorageError: as :func:`chest_slices`.
    """
    _check_part(part)
    if plane not in _PLANES:
        raise UnknownName.among("plane", plane, _PLANES)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 192:
        raise InvalidInput(f"size is {size!r}; give a whole number from 1 to 192.")
    axis, places = _PLANES[plane]
    head = np.pad(mni_t1().array[_WINDOW], ((0, 3), (0, 0), (0, 0)))
    images = np.moveaxis(head, axis, 0)[places]
    chosen = split_slices(len(images), (0.55, 0.1, 0.35), gap=5, blocks=2)[part]
    pixels = torch.from_numpy(images[chosen].astype(np.float32) / 255)[:, None]
    return F.interpolate(pixels, (size, size), mode="bilinear", antialias=True), 192 / size


def posed(images: Tensor, copies: int, rng: np.random.Generator, size: int) -> Tensor:
    r"""Return several random poses of each image: turned, stretched, shifted, of another contrast.

    A turn of at most 20°, a factor of :math:`e^{\pm0.15}` along each axis, a shift of at most 4 % of the side, and a
    power between 1/1.3 and 1.3 of the values. Few slices are learnt by heart; few in many poses are not.

    Args:
        images: ``(images, 1, side, side)``, at least 0; best finer than ``size``.
        copies: poses of each.
        rng: where they come from.
        size: pixels a side of the result.

    Returns:
        ``(images * copies, 1, size, size)``, the poses of one image after each other, 0 outside.

    Raises:
        InvalidInput: fewer than one copy or pixel, or images that hold NaN or negative values.
    """
    check_whole("copies", copies)
    check_whole("size", size)
    if not bool((images >= 0).all()):
        raise InvalidInput("images holds NaN or negative values, of which there is no power; clamp them first.")
    count = len(images) * copies
    angle = np.radians(rng.uniform(-20, 20, count))
    stretch, shift = np.exp(rng.uniform(-0.15, 0.15, (2, count))), rng.uniform(-0.08, 0.08, (2, count))
    rows = [np.cos(angle), -np.sin(angle), shift[0]], [np.sin(angle), np.cos(angle), shift[1]]
    affine = torch.from_numpy(np.array([[r[0] * stretch[0], r[1] * stretch[1], r[2]] for r in rows])).to(images)
    grid = F.affine_grid(affine.permute(2, 0, 1), [count, 1, 2 * size, 2 * size], align_corners=False)
    fine = F.grid_sample(images.repeat_interleave(copies, 0), grid, align_corners=False)
    power = torch.from_numpy(1.3 ** rng.uniform(-1, 1, (count, 1, 1, 1))).to(images)
    return F.avg_pool2d(fine, 2) ** power


def _check_part(part: str) -> None:
    if part not in PARTS:
        raise UnknownName.among("part of a volume", part, PARTS)
