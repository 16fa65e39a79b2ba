"""Two data sets in HDF5 files: LoDoPaB-CT, and the single-coil knees of fastMRI."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wavelab.data.extra import chosen, library
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, UnknownName

MU_MAX = 81.35858  # 1/m, attenuation of 3071 HU, by which LoDoPaB-CT divides images and observations
PARTS = {"train": 35820, "validation": 3522, "test": 3553}  # samples of LoDoPaB-CT
PER_FILE = 128  # samples of a LoDoPaB-CT file, save for the last of a part
LODOPAB_BEAM = {  # wavelab.medical.ct.Parallel(**LODOPAB_BEAM); lengths in mm, angles in the middle of 1000 equal steps
    "size": 362,
    "pixel": 260 / 362,
    "views": 1000,
    "bins": 513,
    "bin_width": 260 * math.sqrt(2) / 513,
    "angles": tuple(((np.arange(1000) + 0.5) * (math.pi / 1000)).tolist()),
}
LODOPAB_WHERE = (
    "LoDoPaB-CT is free: doi:10.5281/zenodo.3384092. Unpack ground_truth_PART.zip and observation_PART.zip into one "
    "folder and give that folder."
)
FASTMRI_WHERE = (
    "fastMRI is NYU Langone Health's; access is given after registration, at fastmri.med.nyu.edu. Take the knee's "
    "single-coil files (singlecoil_train, singlecoil_val)."
)
KINDS = ("magnitude", "real", "complex")

_NAME = re.compile(r"(?:ground_truth|observation)_(train|validation|test)_(\d{3})\.hdf5")
_IMAGE, _SINOGRAM = (362, 362), (1000, 513)
_SIDE = 320  # of the target images of fastMRI


@dataclass(frozen=True, eq=False)
class Knee:
    """One scan of fastMRI: what was measured, and what the challenge compares with."""

    k_space: Tensor  # complex64 (slices, height, width), zero frequency in the middle
    target: Tensor | None  # float32 (slices, 320, 320), the file's `reconstruction_esc`
    mask: Tensor | None  # bool (width,), the columns measured; only files of the test part have one
    attributes: dict[str, str | float]  # such as acquisition ("CORPD_FBK", "CORPDFS_FBK"), max, norm, patient_id


def lodopab(path: Path | str, samples: Sequence[int], part: str = "train") -> tuple[Tensor, Tensor]:
    r"""Read samples of LoDoPaB-CT: images of the chest and their simulated low-dose measurements, 4096 photons a bin.

    Files hold both divided by :math:`\mu_{\max}` = 81.35858 1/m. Here the image is the attenuation in 1/mm and the
    observation :math:`y = -\log(N/N_0)`, a plain line integral: up to discretisation and noise it is
    ``CT(Parallel(**LODOPAB_BEAM)).A(image)``. Files store images transposed; here they stand upright as everywhere in
    the course, and observations are turned to match: both axes run backwards. ``mu_to_hu(image, 0.02)`` gives
    Hounsfield units (the data's own scale has air at 0.02 1/m, a difference of at most 3.1 HU).

    Args:
        path: the folder with the unpacked files; or one file, whose partner is looked for beside it.
        samples: numbers of the samples, from 0, of the part; or of the file, if ``path`` is a file.
        part: ``"train"``, ``"validation"`` or ``"test"``; a file's name tells its part.

    Returns:
        Images, float32 ``(samples, 362, 362)``, 1/mm, pixels of 260/362 mm; and observations, float32
        ``(samples, 1000, 513)``, views by bins.

    Raises:
        DataUnavailable: no such file or folder, one of the two files is missing, or h5py is missing.
        DataCorrupt: no HDF5 file, cut short, no ``data`` in it, or ``data`` of another shape or range.
        UnknownName: there is no such part.
        InvalidInput: samples that do not exist, or a file with another name than the official ones.

    Source:
        Leuschner, Schmidt, Otero Baguer & Maass (2021), LoDoPaB-CT, a benchmark dataset for low-dose computed
        tomography reconstruction. Geometry: chapter "Inverse problems".
    """
    folder, part, only = _place(Path(path).expanduser(), part)
    if samples is None:
        raise InvalidInput("samples is None; say which samples to read, a whole part is larger than most memories.")
    count, what = (PARTS[part], f"the part {part!r}") if only is None else (PER_FILE, "a file")
    numbers = chosen(samples, count, "samples", what) + PER_FILE * (only or 0)
    images = torch.empty(len(numbers), *_IMAGE)
    observations = torch.empty(len(numbers), *_SINOGRAM)
    for number in np.unique(numbers // PER_FILE):
        here = np.flatnonzero(numbers // PER_FILE == number)
        pair = _read_pair(*_pair(folder, part, int(number)), numbers[here] % PER_FILE)
        images[here], observations[here] = map(torch.from_numpy, pair)
    images = images.mT * (MU_MAX / 1000)
    return images.contiguous(), observations.flip(-2, -1) * MU_MAX


def fastmri_knee(path: Path | str, slices: Sequence[int] | None = None, *, target: bool = True) -> Knee:
    """Read one scan of the single-coil knees of fastMRI.

    The single coil is emulated: a combination of the measured coils that comes close to their root sum of squares.

    Args:
        path: a file of ``singlecoil_train`` or ``singlecoil_val``, such as ``file1000001.h5``.
        slices: numbers of the slices to read; None for all, usually 30 to 45.
        target: also read the fully sampled images; give False for the test part, which has none, and whose k-space
            holds only the columns of ``mask``.

    Returns:
        The scan; :func:`central_image` turns its k-space into images of the target's size.

    Raises:
        DataUnavailable: there is no such file, or h5py is missing.
        DataCorrupt: no HDF5 file, cut short, a key is missing, k-space of several coils, shapes that do not fit, or
            values that are not finite.
        InvalidInput: slices that do not exist.

    Source:
        Zbontar et al. (2018), fastMRI: an open dataset and benchmarks for accelerated MRI. Registration is needed:
        fastmri.med.nyu.edu.
    """
    path = Path(path).expanduser()
    with _opened(path, FASTMRI_WHERE) as file:
        data = _dataset(file, "kspace", FASTMRI_WHERE)
        _check_k_space(path, data)
        numbers = chosen(slices, len(data), "slices", str(path))
        k_space = _rows(path, data, numbers, np.complex64)
        images = _rows(path, _target(file, len(data)), numbers, np.float32) if target else None
        mask = np.asarray(file["mask"]).astype(bool) if "mask" in file else None
        attributes = {name: _plain(value) for name, value in file.attrs.items()}
    tensors = (None if array is None else torch.from_numpy(array) for array in (k_space, images, mask))
    return Knee(*tensors, attributes)


def central_image(k_space: Tensor, kind: str = "magnitude", size: int = _SIDE) -> Tensor:
    r"""Return the image of k-space as the single-coil challenge does: the middle of the inverse Fourier transform.

    .. math:: x = \operatorname{crop}_{320}\big|\mathcal F^{-1} k\big|

    with the orthonormal transform; of fully sampled k-space this is the file's target. Knees have a phase, so the real
    part alone is another, darker image. For an experiment with real images take the magnitude, and simulate k-space
    from it.

    Args:
        k_space: shape ``(..., height, width)``, complex, zero frequency in the middle.
        kind: ``"magnitude"``, ``"real"`` (the real part) or ``"complex"``.
        size: height and width of the result.

    Returns:
        Shape ``(..., size, size)``, real save for ``"complex"``; the units of k-space.

    Raises:
        UnknownName: there is no such kind.
        InvalidInput: real values, fewer than two axes, or a size that does not fit.
    """
    if kind not in KINDS:
        raise UnknownName.among("kind", kind, KINDS)
    shape = tuple(k_space.shape)
    if k_space.ndim < 2 or not k_space.is_complex():
        raise InvalidInput(f"k_space is {k_space.dtype} of shape {shape}; expected complex, (..., height, width).")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= min(shape[-2:]):
        raise InvalidInput(f"size is {size!r}; give a whole number from 1 to {min(shape[-2:])}, k-space is {shape}.")
    x = torch.fft.ifft2(torch.fft.ifftshift(k_space, (-2, -1)), norm="ortho")
    x = torch.fft.fftshift(x, (-2, -1))
    top, left = ((full - size) // 2 for full in shape[-2:])
    x = x[..., top : top + size, left : left + size]
    return {"magnitude": torch.abs, "real": torch.real, "complex": torch.clone}[kind](x)


def _place(path: Path, part: str) -> tuple[Path, str, int | None]:
    """Return folder, part and, where the path is a file, its number."""
    if path.is_dir():
        if part not in PARTS:
            raise UnknownName.among("part", part, PARTS)
        return path, part, None
    if not path.is_file():
        raise DataUnavailable(f"There is no file or folder {path}. {LODOPAB_WHERE}")
    match = _NAME.fullmatch(path.name)
    if not match:
        raise InvalidInput(f"{path} is no file of LoDoPaB-CT; expected a name such as ground_truth_train_000.hdf5.")
    return path.parent, match[1], int(match[2])


def _pair(folder: Path, part: str, number: int) -> tuple[Path, Path]:
    """Find the two files of a number: in the folder, or each kind in a folder named as its archive."""
    found = []
    for kind in ("ground_truth", "observation"):
        name = f"{kind}_{part}_{number:03d}.hdf5"
        places = [folder / name, folder / f"{kind}_{part}" / name, folder.parent / f"{kind}_{part}" / name]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise DataUnavailable(f"{folder} has no {name}; images and observations are needed. {LODOPAB_WHERE}")
        found.append(path)
    return found[0], found[1]


def _read_pair(truth: Path, observation: Path, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both files, as stored."""
    with _opened(observation, LODOPAB_WHERE) as file:
        data = _shaped(file, _SINOGRAM)
        count = len(data)
        chosen(rows, count, "samples in the file", str(observation))
        observations = _rows(observation, data, rows, np.float32)
    with _opened(truth, LODOPAB_WHERE) as file:
        data = _shaped(file, _IMAGE)
        if len(data) not in (count, PER_FILE):  # the last file of a part may be padded to 128 images
            raise DataCorrupt(f"{truth} has {len(data)} samples, {observation} has {count}; fetch both again.")
        images = _rows(truth, data, rows, np.float32)
    if images.min() < 0 or images.max() > 1:
        raise DataCorrupt(
            f"{truth} holds values from {images.min():g} to {images.max():g}, expected 0 to 1, as LoDoPaB-CT is "
            "published; fetch it again."
        )
    return images, observations


def _shaped(file, shape: tuple[int, int]):
    """Return the ``data`` of a LoDoPaB-CT file after checking its shape."""
    data = _dataset(file, "data", LODOPAB_WHERE)
    if data.ndim != 3 or data.shape[1:] != shape or not 1 <= len(data) <= PER_FILE or data.dtype.kind != "f":
        raise DataCorrupt(
            f"'data' in {file.filename} is {data.dtype} of shape {data.shape}; expected floating point, up to "
            f"{PER_FILE} samples of {shape[0]} x {shape[1]}. {LODOPAB_WHERE}"
        )
    return data


def _check_k_space(path: Path, data) -> None:
    if data.ndim == 4:
        raise DataCorrupt(f"{path} holds k-space of {data.shape[1]} coils, expected one coil. {FASTMRI_WHERE}")
    if data.ndim != 3 or data.dtype.kind != "c" or 0 in data.shape:
        raise DataCorrupt(
            f"'kspace' in {path} is {data.dtype} of shape {data.shape}; expected complex, (slices, height, width). "
            f"{FASTMRI_WHERE}"
        )


def _target(file, count: int):
    """Return the target images of a fastMRI file after checking their shape."""
    if "reconstruction_esc" not in file and "mask" in file:
        raise DataCorrupt(
            f"{file.filename} has no 'reconstruction_esc': it is of the test part, which has no images. Give "
            "target=False to read its k-space alone."
        )
    data = _dataset(file, "reconstruction_esc", f"Give target=False to read k-space alone. {FASTMRI_WHERE}")
    if data.shape != (count, _SIDE, _SIDE) or data.dtype.kind != "f":
        raise DataCorrupt(
            f"'reconstruction_esc' in {file.filename} is {data.dtype} of shape {data.shape}; expected floating point, "
            f"{(count, _SIDE, _SIDE)}. {FASTMRI_WHERE}"
        )
    return data


@contextmanager
def _opened(path: Path, advice: str) -> Iterator:
    """Open an HDF5 file for reading; say what is wrong with it, also while it is read."""
    h5py = library("h5py")
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}. {advice}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataCorrupt(f"{path} cannot be read as HDF5: {error}. Copy or fetch it again.") from error


def _dataset(file, key: str, advice: str):
    """Return a data set of an open file."""
    h5py = library("h5py")
    if not isinstance(file.get(key), h5py.Dataset):
        has = ", ".join(sorted(file)) or "nothing"
        raise DataCorrupt(f"{file.filename} has no data set {key!r}; it has: {has}. {advice}")
    return file[key]


def _rows(path: Path, data, numbers: np.ndarray, dtype) -> np.ndarray:
    """Read some rows of a data set and nothing else, in the order given."""
    array = np.stack([data[int(number)] for number in numbers]).astype(dtype, copy=False)
    if not np.isfinite(array).all():
        raise DataCorrupt(f"{data.name[1:]!r} in {path} holds NaN or infinite values; fetch the file again.")
    return array


def _plain(value) -> str | float:
    """Return an attribute as text or number."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value
