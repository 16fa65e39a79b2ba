"""Volumes: one real chest CT with organ labels, and the brain template.

Every volume is stored as ``(depth, height, width)`` in one orientation, whatever its file uses:

- depth runs from the head down to the feet,
- height runs from the front (chest, face) to the back,
- width runs from the patient's right to the patient's left.

So ``plt.imshow(volume.array[k])`` with the default origin shows an axial slice as radiologists do: front at the top,
the patient's left on the right of the picture. Coronal slices ``array[:, y]`` and sagittal slices ``array[:, :, x]``
stand upright too (give ``aspect`` for the slice thickness).
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from wavelab.data import registry
from wavelab.data.arrays import cached
from wavelab.data.download import fetch
from wavelab.data.hounsfield import MU_WATER, WINDOWS, hu_to_mu, mu_to_hu, window
from wavelab.data.splits import split_slices
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput

__all__ = [
    "AIR",
    "AXES",
    "MU_WATER",
    "WINDOWS",
    "Volume",
    "chest_ct",
    "hu_to_mu",
    "mni_grey_matter",
    "mni_t1",
    "mni_white_matter",
    "mu_to_hu",
    "prepare",
    "read_nifti",
    "read_structures",
    "split_slices",
    "window",
]

AXES = ("I", "P", "L")  # nibabel's names of where depth, height and width lead: inferior, posterior, left
AIR = -1000  # HU
_OUTSIDE = -2048  # HU, the scanner's mark for "outside the field of view"


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume and what its numbers mean."""

    id: str
    array: np.ndarray  # (depth, height, width), read-only memory map
    spacing: tuple[float, float, float]  # mm per step along depth, height, width
    unit: str

    def labels(self) -> np.ndarray:
        """Return the organ label of every voxel, uint8, same shape; 0 is unlabelled. ``structures`` has the names."""
        self._needs_labels()
        return prepare(f"{self.id}-labels")

    @cached_property
    def structures(self) -> dict[str, int]:
        """Label number of every structure by name; not every structure is present in every patient."""
        self._needs_labels()
        return read_structures(fetch(f"{self.id}-structures"))

    def _needs_labels(self) -> None:
        """Refuse volumes that come without labels."""
        if f"{self.id}-labels" not in registry.datasets():
            raise InvalidInput(f"The volume {self.id!r} comes without labels; chest_ct() has them.")


def chest_ct() -> Volume:
    """Load the chest CT: 133 slices of 512 x 512, int16 Hounsfield units, 2.5 x 0.703 x 0.703 mm.

    The field of view is the circle inscribed in each slice. The file marks what lies outside it with -2048 HU; here
    those voxels hold -1000 HU, air. Inside, values run from -1024 (the scanner's floor) to 3071 HU.

    Returns:
        The volume; ``labels()`` and ``structures`` name the organs.

    Raises:
        DataUnavailable, DataCorrupt, StorageError: see :func:`wavelab.data.fetch`.
    """
    return _load("chest-ct")


def mni_t1() -> Volume:
    """Load the T1 brain template: 189 x 233 x 197, uint8 intensities, 1 mm, skull stripped.

    It is the average of 152 people, and symmetric: smoother than any one brain, left and right are mirror images.
    """
    return _load("mni-t1")


def mni_grey_matter() -> Volume:
    """Load the probability of grey matter on the grid of :func:`mni_t1`, uint8, 255 for probability 1."""
    return _load("mni-grey-matter")


def mni_white_matter() -> Volume:
    """Load the probability of white matter on the grid of :func:`mni_t1`, uint8, 255 for probability 1."""
    return _load("mni-white-matter")


def read_nifti(path: Path | str) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read a NIfTI volume and turn it into the course's orientation.

    Args:
        path: a ``.nii`` or ``.nii.gz`` file with three dimensions.

    Returns:
        The array ``(depth, height, width)``, of the file's integer type where its scaling is a whole-number shift and
        float32 otherwise; and the spacing in mm along depth, height, width.

    Raises:
        DataUnavailable: there is no such file.
        DataCorrupt: the file is damaged, is no NIfTI file, is not three-dimensional, is empty or holds NaN.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    try:
        _check_gzip(Path(path))
        image = nibabel.load(path)
        array = _values(image)
        turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(AXES))
    except FileNotFoundError as error:
        raise DataUnavailable(f"There is no volume at {path}.") from error
    except (ImageFileError, zlib.error, EOFError, OSError, ValueError, TypeError, AttributeError) as error:
        raise DataCorrupt(f"The volume {path} cannot be read: {error}. Remove it and fetch it again.") from error
    if array.ndim != 3 or array.size == 0:
        raise DataCorrupt(f"The volume {path} has shape {array.shape}; expected three dimensions, none empty.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataCorrupt(f"The volume {path} holds NaN or infinite values.")
    zooms = np.asarray(image.header.get_zooms()[:3], dtype=float)
    spacing = tuple(float(zooms[int(axis)]) for axis in np.argsort(turn[:, 0]))
    return np.ascontiguousarray(apply_orientation(array, turn)), spacing


def read_structures(path: Path | str) -> dict[str, int]:
    """Read a table of structures (columns ``structure`` and ``id``) into a mapping from name to label number."""
    try:
        rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
        table = {row["structure"]: int(row["id"]) for row in rows}
        if not table:
            raise ValueError("no rows")
        return table
    except (KeyError, ValueError, TypeError) as error:
        raise DataCorrupt(
            f"{path} is not a table of structures with columns 'structure' and 'id': {error!r}."
        ) from error


def _check_gzip(path: Path) -> None:
    """Read a gzip file to its end, where its checksum is: nibabel stops earlier and would miss changed bytes."""
    if path.suffix == ".gz":
        with gzip.open(path) as file:
            while file.read(1 << 20):
                pass


def _values(image) -> np.ndarray:
    """Return a NIfTI image's values: the stored integers where scaling is a shift they can hold, else float32."""
    proxy = image.dataobj
    if proxy.slope == 1 and float(proxy.inter).is_integer() and np.dtype(proxy.dtype).kind in "iu":
        raw, shift = np.asarray(proxy.get_unscaled()), int(proxy.inter)
        limits = np.iinfo(raw.dtype)
        reached = [shift, *((int(raw.min()) + shift, int(raw.max()) + shift) if raw.size else ())]
        if limits.min <= min(reached) and max(reached) <= limits.max:
            return raw + raw.dtype.type(shift)
    return np.asarray(proxy, dtype=np.float32)


def prepare(id: str) -> np.ndarray:
    """Return the memory-mapped array of a registered volume, converting its file on the first use."""
    dataset = registry.find(id)
    return cached(dataset, lambda: _read_registered(dataset))


def _read_registered(dataset: registry.Dataset) -> np.ndarray:
    """Read the file of a registered volume, check its spacing, and set what lies outside the field of view to air."""
    array, spacing = read_nifti(fetch(dataset.id))
    if not np.allclose(spacing, dataset.spacing):
        raise DataCorrupt(f"Data set {dataset.id!r} has spacing {spacing} mm, expected {dataset.spacing} mm.")
    if dataset.unit == "HU":
        array[array == _OUTSIDE] = AIR
    return array


def _load(id: str) -> Volume:
    """Open a registered volume."""
    dataset = registry.find(id)
    return Volume(dataset.id, prepare(id), dataset.spacing, dataset.unit)
