"""CT series as DICOM files: small ones as the Low-Dose CT Grand Challenge has them, and everything wrong with them."""

import sys

import numpy as np
import pytest

from wavelab.data.dicom import mayo_ldct, read_dicom
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, UnknownName

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1, RLELossless, generate_uid  # noqa: E402

SERIES = generate_uid()
NUMBER = 6
STORED = np.random.default_rng(0).integers(0, 3000, (NUMBER, 16, 16), dtype=np.uint16)  # slice 0 is nearest the head


def image(number, *, series=SERIES, **changes):
    """Make one CT slice as a Siemens scanner writes it; z grows towards the head, slices lie 0.8 mm apart."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.Modality, file.SeriesInstanceUID, file.InstanceNumber = "CT", series, number + 1
    file.ImagePositionPatient = [-170.3, -120.1, round(-14.4 - 0.8 * number, 1)]
    file.ImageOrientationPatient, file.PixelSpacing, file.SliceThickness = [1, 0, 0, 0, 1, 0], [0.7, 0.6], 1
    file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 16, 16, 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
    file.RescaleSlope, file.RescaleIntercept = 1, -1024
    file.PixelData = STORED[number].tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    return file


def save(file, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, name="{:03d}.dcm", order=(3, 0, 5, 1, 4, 2), **changes):
    """Write the six slices; names follow ``order``, so that sorting by them is wrong."""
    return [save(image(number, **changes), folder / name.format(place)) for place, number in enumerate(order)]


@pytest.fixture
def folder(tmp_path):
    """Return the folder of one good series; its file 003.dcm is slice 1."""
    write_series(tmp_path / "series")
    return tmp_path / "series"


def test_slices_come_by_position_in_hounsfield_units(folder):
    hu, spacing = read_dicom(folder)
    assert hu.dtype == np.float32
    np.testing.assert_array_equal(hu, STORED - np.float32(1024))
    assert spacing == pytest.approx((0.8, 0.7, 0.6))


def test_slope_and_padding(tmp_path):
    stored = STORED[0].copy()
    stored[0] = 7
    for number in range(2):
        file = image(number, RescaleSlope=0.5, RescaleIntercept=-100, PixelPaddingValue=7, PixelData=stored.tobytes())
        save(file, tmp_path / f"{number}.dcm")
    hu, _ = read_dicom(tmp_path)
    assert (hu[:, 0] == -1000).all()
    np.testing.assert_array_equal(hu[0, 1:], stored[1:] / np.float32(2) - 100)


def test_only_the_slices_asked_for_are_read(folder):
    np.testing.assert_array_equal(read_dicom(folder, [4, 0])[0], STORED[[4, 0]] - np.float32(1024))
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:-100])
    assert len(read_dicom(folder, [0, 2, 3, 4, 5])[0]) == 5
    with pytest.raises(DataCorrupt, match=r"pixels of .*003\.dcm cannot be read.*cut short"):
        read_dicom(folder, range(2))
    for bad in ([6], [-1], [], [0.5], 3):
        with pytest.raises(InvalidInput, match="slices"):
            read_dicom(folder, bad)


LAYOUTS = {
    "as most people keep them": "{patient}/{long}_{mm}mm/{n}.IMA",
    "as some do": "{long}_{mm}mm/{patient}/{n}.IMA",
    "as the challenge packed them": "Training/{mm}mm B30/{short}_{mm}mm/{patient}/{long}_{mm}mm/{n}.IMA",
    "in one folder": "{patient}_{short}_{mm}_1.CT.0004.{n}.2015.12.22.20.46.00.71702.358798544.IMA",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_of_the_challenge(tmp_path, layout):
    kinds = [
        ("L506", "quarter", "QD", 1),
        ("L506", "full", "FD", 1),
        ("L506", "full", "FD", 3),
        ("L067", "full", "FD", 1),
    ]
    for shift, (patient, long, short, mm) in enumerate(kinds):
        name = layout.format(patient=patient, long=long, short=short, mm=mm, n="{:04d}")
        write_series(tmp_path / "mayo", name, series=generate_uid(), RescaleIntercept=-1024 + shift)
    for shift, (patient, dose, _, mm) in enumerate(kinds):
        volume = mayo_ldct(tmp_path / "mayo", patient, dose, thickness=mm, slices=[2, 3])
        np.testing.assert_array_equal(volume.array, STORED[2:4] - np.float32(1024 - shift))
        assert (volume.unit, volume.spacing) == ("HU", pytest.approx((0.8, 0.7, 0.6)))
    with pytest.raises(
        DataUnavailable, match=r"no L506, quarter dose, 3 mm; it has: L067, full dose, 1 mm; L506, full"
    ):
        mayo_ldct(tmp_path / "mayo", "L506", "quarter", thickness=3)
    with pytest.raises(DataUnavailable, match=r"no L096, full dose.*registration"):
        mayo_ldct(tmp_path / "mayo", "L096")


def test_the_other_kernel_and_the_folder_of_one_series(tmp_path):
    near = tmp_path / "mayo" / "L506" / "full_1mm"
    write_series(near)
    write_series(
        tmp_path / "mayo" / "1mm D45" / "FD_1mm" / "L506" / "full_1mm", series=generate_uid(), RescaleIntercept=0
    )
    assert mayo_ldct(tmp_path / "mayo", "L506", slices=[0]).array[0, 0, 0] == STORED[0, 0, 0] - 1024.0
    assert mayo_ldct(tmp_path / "mayo", "L506", sharp=True, slices=[0]).array[0, 0, 0] == STORED[0, 0, 0]
    assert mayo_ldct(near, "L506").array.shape == (6, 16, 16)


def test_wrong_arguments_of_the_challenge(tmp_path):
    with pytest.raises(UnknownName, match=r"no dose 'quater'.*'quarter'"):
        mayo_ldct(tmp_path, "L506", "quater")
    with pytest.raises(InvalidInput, match="thickness is 2; the challenge has slices of 1 and of 3 mm"):
        mayo_ldct(tmp_path, "L506", thickness=2)
    with pytest.raises(DataUnavailable, match=r"no folder .*nowhere.*www\.aapm\.org"):
        mayo_ldct(tmp_path / "nowhere", "L506")
    with pytest.raises(DataUnavailable, match="has: no series of the challenge"):
        mayo_ldct(tmp_path, "L506")


def test_folders_without_dicom_files(tmp_path):
    with pytest.raises(DataUnavailable, match="no folder"):
        read_dicom(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataUnavailable, match=r"holds no DICOM files \(\.ima, \.dcm\)"):
        read_dicom(tmp_path)


def test_missing_slices_and_slices_there_twice(folder):
    save(image(1, ImagePositionPatient=[-170.3, -120.1, -14.4]), folder / "003.dcm")
    with pytest.raises(DataCorrupt, match=r"001\.dcm and .*003\.dcm lie both at z = -14.4 mm"):
        read_dicom(folder)
    (folder / "003.dcm").unlink()
    with pytest.raises(DataCorrupt, match=r"z = -14.4 and -16 mm are 1.6 mm apart, others 0.8 mm \(1 such places\)"):
        read_dicom(folder)
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    with pytest.raises(DataCorrupt, match=r"holds one slice, 000\.dcm; a volume needs at least two"):
        read_dicom(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PixelSpacing": [0.8, 0.6]}, r"003\.dcm has PixelSpacing \[0.8, 0.6\], but .*000\.dcm has \[0.7, 0.6\]"),
        ({"Rows": 8, "PixelData": bytes(256)}, "has Rows 8, but .* has 16; expected one series"),
        ({"series": "1.2.3"}, "has SeriesInstanceUID 1.2.3, but"),
        ({"Modality": "MR"}, "has modality MR, expected CT"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "expected axial slices of a patient on the back"),
        (
            {"ImageOrientationPatient": [1, 0, 0]},
            r"ImageOrientationPatient \[1.0, 0.0, 0.0\]; expected 6 finite numbers",
        ),
        ({"PixelSpacing": 0.7}, "has PixelSpacing 0.7; expected 2 finite numbers"),
        ({"ImagePositionPatient": None}, "lacks ImagePositionPatient; it is no CT image or was cut short"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "lacks RescaleSlope, RescaleIntercept"),
        ({"NumberOfFrames": 2, "PixelData": bytes(1024)}, r"pixels of shape \(2, 16, 16\), expected \(16, 16\)"),
        ({"PixelData": None}, "pixels of .* cannot be read"),
    ],
)
def test_one_file_that_does_not_belong(folder, changes, message):
    save(image(1, **changes), folder / "003.dcm")
    with pytest.raises(DataCorrupt, match=message):
        read_dicom(folder)


@pytest.mark.parametrize("keep", [0, 100, 140, 300, 500, 700])
def test_a_file_cut_short(folder, keep):
    path = folder / "003.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataCorrupt, match=r"003\.dcm.*[Cc]opy it again"):
        read_dicom(folder)


def test_compressed_files(folder):
    file = image(1)
    file.compress(RLELossless)
    save(file, folder / "003.dcm")
    np.testing.assert_array_equal(read_dicom(folder)[0], STORED - np.float32(1024))
    file = image(1, PixelData=encapsulate([bytes(200)]))
    file.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    save(file, folder / "003.dcm")
    with pytest.raises(DataCorrupt, match=r"003\.dcm is compressed \(JPEG Lossless.*Decompress the series"):
        read_dicom(folder)


def test_without_the_library(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataUnavailable, match=r'needs pydicom.*pip install "wavelab\[medical\]"'):
        read_dicom(folder)
