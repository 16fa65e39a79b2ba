"""CT volumes as DICOM series, one file a slice, and the layout of the AAPM Low-Dose CT Grand Challenge."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wavelab.data.extra import chosen, library
from wavelab.data.volumes import AIR, Volume
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, UnknownName

ENDINGS = (".ima", ".dcm")
DOSES = ("full", "quarter")
WHERE = (
    "The data of the Low-Dose CT Grand Challenge are the Mayo Clinic's; the AAPM gives access after registration, at "
    "www.aapm.org/GrandChallenge/LowDoseCT. Unpack the image data and give that folder."
)

# 'L506_QD_1_1.CT.0004.0087.….IMA', with SHARP after the thickness where the kernel is the sharp one
_FILE = re.compile(r"([A-Z]\d{3})_(FD|QD)_([13])_", re.IGNORECASE)
_FOLDER = re.compile(r"(full|quarter|FD|QD)_([13])mm(_sharp)?", re.IGNORECASE)  # 'quarter_1mm', 'QD_3mm_sharp'
_PATIENT = re.compile(r"[A-Z]\d{3}")  # 'L506'
_SHARP = re.compile(r"(?<![a-z0-9])(sharp|d45)(?![a-z0-9])", re.IGNORECASE)
_DOSE = {"fd": "full", "full": "full", "qd": "quarter", "quarter": "quarter"}

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # rows lead to the patient's left, columns to the back
_SAME = ("SeriesInstanceUID", "Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")  # in every file of a series
_NEEDED = ("Modality", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept", *_SAME)
_NUMBERS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2} | dict.fromkeys(
    ("RescaleSlope", "RescaleIntercept", "Rows", "Columns"), 1
)
_UNREADABLE = (
    AttributeError, EOFError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError, struct.error
)  # fmt: skip


def mayo_ldct(
    folder: Path | str,
    patient: str,
    dose: str = "full",
    *,
    thickness: int = 1,
    sharp: bool = False,
    slices: Sequence[int] | None = None,
) -> Volume:
    """Read a patient of the AAPM Low-Dose CT Grand Challenge (Mayo Clinic), abdomen, full or quarter dose.

    The folders may lie as the challenge packed them (``1mm B30/QD_1mm/L506/quarter_1mm``) or as most people keep them
    (``L506/quarter_1mm``, ``quarter_1mm/L506``), or all files in one folder: then their names
    (``L506_QD_1_1.CT.….IMA``) tell them apart. Slices are ordered by their position, never by the names of the files.

    Args:
        folder: holds the files, at any depth.
        patient: such as ``"L506"``.
        dose: ``"full"`` or ``"quarter"``.
        thickness: of a slice in mm, 1 or 3. Slices overlap: their distance, in ``spacing``, is smaller.
        sharp: the sharp kernel (D45) in place of the soft one (B30).
        slices: numbers of the slices to read, from the head down; None for all. All headers are read in any case.

    Returns:
        The volume: Hounsfield units, float32 ``(slices, height, width)``, from head to feet, front to back, right to
        left; ``spacing`` in mm, along the depth that of the whole series.

    Raises:
        DataUnavailable: no such folder, no such series in it, or pydicom is missing.
        DataCorrupt: as :func:`read_dicom`.
        UnknownName: there is no such dose.
        InvalidInput: a thickness other than 1 or 3, or slices that do not exist.

    Source:
        McCollough et al. (2017), Low-dose CT for the detection and classification of metastatic liver lesions.
        Registration is needed: www.aapm.org/GrandChallenge/LowDoseCT.
    """
    if dose not in DOSES:
        raise UnknownName.among("dose", dose, DOSES)
    if isinstance(thickness, bool) or thickness not in (1, 3):
        raise InvalidInput(f"thickness is {thickness!r}; the challenge has slices of 1 and of 3 mm.")
    folder = _existing(folder, WHERE)
    series: dict[tuple, list[Path]] = {}
    for path in _files(folder.rglob("*")):
        series.setdefault(_described(path, folder), []).append(path)
    wanted = (patient, dose, thickness, bool(sharp))
    if wanted not in series:
        found = "; ".join(sorted(_named(key) for key in series if None not in key)[:20])
        raise DataUnavailable(
            f"{folder} has no {_named(wanted)}; it has: {found or 'no series of the challenge'}. {WHERE}"
        )
    array, spacing = _read(series[wanted], slices)
    return Volume(f"mayo-ldct {_named(wanted)}", array, spacing, "HU")


def read_dicom(
    folder: Path | str, slices: Sequence[int] | None = None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Read one axial CT series: a folder that holds its files, one a slice.

    Args:
        folder: holds the files (``.dcm``, ``.IMA``) of one series and no other.
        slices: numbers of the slices to read, from the head down; None for all.

    Returns:
        Hounsfield units, float32 ``(slices, height, width)`` in the course's orientation (see
        :mod:`wavelab.data.volumes`), air where the scanner marked padding; and the spacing in mm along depth, height,
        width.

    Raises:
        DataUnavailable: no such folder, no DICOM files in it, or pydicom is missing.
        DataCorrupt: a file is no DICOM file, cut short, not CT, or compressed in a way that cannot be decoded; files of
            several series, sizes, spacings or orientations; slices not axial, missing, or there twice.
        InvalidInput: slices that do not exist.
    """
    folder = _existing(folder, "Give the folder that holds the files of one series.")
    paths = _files(folder.iterdir())
    if not paths:
        raise DataUnavailable(f"{folder} holds no DICOM files ({', '.join(ENDINGS)}); give the folder of one series.")
    return _read(paths, slices)


def _existing(folder: Path | str, advice: str) -> Path:
    folder = Path(folder).expanduser().absolute()
    if not folder.is_dir():
        raise DataUnavailable(f"There is no folder {folder}. {advice}")
    return folder


def _files(paths) -> list[Path]:
    """Return the paths that end as DICOM files do; hidden ones are no images."""
    return sorted(path for path in paths if path.suffix.lower() in ENDINGS and not path.name.startswith("."))


def _described(path: Path, folder: Path) -> tuple:
    """Return (patient, dose, thickness, sharp) as the names of file and folders tell, None for what they do not."""
    parts = (*folder.parts[-2:], *path.relative_to(folder).parts)
    sharp = any(_SHARP.search(part.replace("_", " ")) for part in parts)
    if match := _FILE.match(path.name):
        return match[1].upper(), _DOSE[match[2].lower()], int(match[3]), sharp
    kinds = [match for part in parts[:-1] if (match := _FOLDER.fullmatch(part))]
    patients = [part for part in parts[:-1] if _PATIENT.fullmatch(part)]
    dose, thickness = (_DOSE[kinds[-1][1].lower()], int(kinds[-1][2])) if kinds else (None, None)
    return patients[-1] if patients else None, dose, thickness, sharp


def _named(key: tuple) -> str:
    patient, dose, thickness, sharp = key
    return f"{patient}, {dose} dose, {thickness} mm{', sharp' if sharp else ''}"


def _read(paths: list[Path], slices: Sequence[int] | None) -> tuple[np.ndarray, tuple[float, float, float]]:
    """Return the chosen slices of one series in Hounsfield units, from the head down, and its spacing."""
    headers = [_header(path) for path in paths]
    for path, header in zip(paths, headers):
        _check_same(path, header, paths[0], headers[0])
    order, step = _order(paths, np.array([float(header.ImagePositionPatient[2]) for header in headers]))
    numbers = chosen(slices, len(paths), "slices", f"the series in {paths[0].parent}")
    shape = (int(headers[0].Rows), int(headers[0].Columns))
    array = np.stack([_hounsfield(paths[order[number]], shape) for number in numbers])
    height, width = map(float, headers[0].PixelSpacing)
    return array, (step, height, width)


def _header(path: Path):
    """Return what a file tells before its pixels."""
    pydicom = library("pydicom")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_NEEDED))
        missing = [name for name in _NEEDED if header.get(name) in (None, "")]
        wrong = [
            name for name, count in _NUMBERS.items() if name not in missing and _count(header[name].value) != count
        ]
    except (pydicom.errors.InvalidDicomError, *_UNREADABLE) as error:
        raise DataCorrupt(f"{path} cannot be read as DICOM ({error}). Remove it or copy it again.") from error
    if missing:
        raise DataCorrupt(f"{path} lacks {', '.join(missing)}; it is no CT image or was cut short. Copy it again.")
    if wrong:
        told = ", ".join(f"{name} {header[name].value}" for name in wrong)
        raise DataCorrupt(f"{path} has {told}; expected {_NUMBERS[wrong[0]]} finite numbers. Copy it again.")
    if header.Modality != "CT":
        raise DataCorrupt(f"{path} has modality {header.Modality}, expected CT; give a folder of CT images.")
    if not np.allclose(np.asarray(header.ImageOrientationPatient, float), _AXIAL, atol=1e-3):
        raise DataCorrupt(
            f"{path} has orientation {list(header.ImageOrientationPatient)}, expected axial slices of a patient on the "
            f"back, {list(map(int, _AXIAL))}; turn the series first."
        )
    return header


def _count(value) -> int:
    """Return how many numbers a header's entry holds, 0 if one of them is not finite."""
    numbers = np.atleast_1d(np.asarray(value, float))
    return len(numbers) if np.isfinite(numbers).all() else 0


def _check_same(path: Path, header, first_path: Path, first) -> None:
    """Refuse a file that cannot belong to the series of the first one."""
    for name in _SAME:
        one, other = header[name].value, first[name].value
        if isinstance(one, str) and one == other:
            continue
        if isinstance(one, str) or not np.allclose(np.asarray(one, float), np.asarray(other, float), atol=1e-4):
            raise DataCorrupt(
                f"{path} has {name} {one}, but {first_path} has {other}; expected one series. Give a folder that holds "
                "one, or move the others away."
            )


def _order(paths: list[Path], z: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the order of the files from the head down and the distance of their slices in mm."""
    order = np.argsort(-z, kind="stable")
    steps = -np.diff(z[order])
    folder = paths[0].parent
    if len(z) < 2:
        raise DataCorrupt(f"{folder} holds one slice, {paths[0].name}; a volume needs at least two.")
    step = float(np.median(steps))
    twice = np.flatnonzero(steps < 1e-3)
    if len(twice):
        one, other = (paths[order[twice[0] + shift]] for shift in (0, 1))
        raise DataCorrupt(f"{one} and {other} lie both at z = {z[order[twice[0]]]:g} mm; remove one of them.")
    uneven = np.flatnonzero(np.abs(steps - step) > 0.05 * step)
    if len(uneven):
        above, below = z[order[uneven[0]]], z[order[uneven[0] + 1]]
        raise DataCorrupt(
            f"In {folder} the slices at z = {above:g} and {below:g} mm are {above - below:g} mm apart, others "
            f"{step:g} mm ({len(uneven)} such places). Slices are missing or two series are mixed; copy them again."
        )
    return order, float((z.max() - z.min()) / (len(z) - 1))


def _hounsfield(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Read one slice in Hounsfield units, float32; padding becomes air."""
    pydicom = library("pydicom")
    compressed = None
    try:
        file = pydicom.dcmread(path)
        syntax = file.file_meta.TransferSyntaxUID
        compressed = syntax.name if syntax.is_compressed else None
        stored = file.pixel_array
    except (pydicom.errors.InvalidDicomError, *_UNREADABLE) as error:
        raise DataCorrupt(_why(path, compressed, error)) from error
    if stored.shape != shape:
        raise DataCorrupt(f"{path} holds pixels of shape {stored.shape}, expected {shape}, one slice a file.")
    hu = stored.astype(np.float32) * np.float32(file.RescaleSlope) + np.float32(file.RescaleIntercept)
    if (padding := file.get("PixelPaddingValue")) is not None:
        hu[stored == padding] = AIR
    return hu


def _why(path: Path, compressed: str | None, error: Exception) -> str:
    """Say why the pixels of a file cannot be read."""
    reason = " ".join(str(error).split())
    if compressed is None:
        return f"The pixels of {path} cannot be read: {reason}. It may be cut short; copy it again."
    return (
        f"{path} is compressed ({compressed}) and cannot be decoded here: {reason}. Decompress the series, for example "
        "with gdcmconv --raw, or install a decoder: pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg."
    )
