"""LoDoPaB-CT and fastMRI: small files with the official names, keys and shapes, and everything wrong with them."""

import math
import shutil
import sys

import numpy as np
import pytest
import torch

from wavelab.data import hdf5
from wavelab.data.hdf5 import LODOPAB_BEAM, central_image, fastmri_knee, lodopab
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, UnknownName
from wavelab.medical import mri
from wavelab.medical.ct import CT, Parallel

h5py = pytest.importorskip("h5py")

MU, RADIUS, X, Y = 20.0, 0.025, 0.03, 0.055  # 1/m, m: a disc of water, right of the middle and nearer the back
MU_MAX = 3071 * (20 - 0.02) / 1000 + 20  # as the authors' script has it


def write(path, **data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in data.items():
            file.create_dataset(name, data=array, compression="gzip", compression_opts=1)
    return path


def official_image():
    """Return the disc as LoDoPaB-CT stores it: the first axis is x, the second y, both upwards from -0.13 m."""
    grid = (np.arange(362 * 4) + 0.5) * (0.26 / (362 * 4)) - 0.13
    inside = (grid[:, None] - X) ** 2 + (grid - Y) ** 2 <= RADIUS**2
    return (MU / MU_MAX * inside.reshape(362, 4, 362, 4).mean((1, 3))).astype(np.float32)


def official_sinogram():
    """Return the disc's line integrals: the bin at s and the angle a measure the line x cos a + y sin a = s."""
    angles = (np.arange(1000) + 0.5) * np.pi / 1000
    reach = 0.13 * math.sqrt(2)
    s = -reach + (np.arange(513) + 0.5) * (2 * reach / 513)
    distance = s - (X * np.cos(angles) + Y * np.sin(angles))[:, None]
    return (MU / MU_MAX * 2 * np.sqrt(np.maximum(RADIUS**2 - distance**2, 0))).astype(np.float32)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two pairs of files; the first holds the disc and two empty images, the second one grey image."""
    folder = tmp_path_factory.mktemp("lodopab")
    images, sinograms = np.zeros((3, 362, 362), np.float32), np.zeros((3, 1000, 513), np.float32)
    images[1], sinograms[1] = official_image(), official_sinogram()
    write(folder / "ground_truth_train_000.hdf5", data=images)
    write(folder / "observation_train_000.hdf5", data=sinograms)
    write(
        folder / "ground_truth_train_001.hdf5", data=np.full((128, 362, 362), 0.5, np.float32)
    )  # padded, as a last file
    write(folder / "observation_train_001.hdf5", data=np.full((1, 1000, 513), 0.25, np.float32))
    return folder


@pytest.fixture
def lodo(pristine, tmp_path):
    """Return a copy of the files that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "lodopab")


def test_images_and_observations_fit_the_courses_operator(pristine):
    images, observations = lodopab(pristine, [1])
    assert (images.shape, observations.shape) == ((1, 362, 362), (1, 1000, 513))
    assert images.dtype == observations.dtype == torch.float32
    assert images.max() == pytest.approx(0.02, rel=1e-6), "1/mm"
    assert observations.max() == pytest.approx(0.02 * 50, rel=1e-3), "the diameter, 50 mm of water"
    rows, columns = (images[0] > 0.01).nonzero().float().mean(0)
    assert rows == pytest.approx(180.5 + 55 * 362 / 260, abs=0.1), "the back is below"
    assert columns == pytest.approx(180.5 + 30 * 362 / 260, abs=0.1)
    beam = Parallel(**LODOPAB_BEAM).subset(100)
    error = CT(beam).A(images[:, None])[0, 0] - observations[0, ::100]
    assert error.abs().mean() < 0.01 * observations.mean()
    assert error.abs().max() < 0.15, "at the disc's edge, where the chord rises within a bin"


def test_samples_in_any_order_across_files(pristine):
    images, observations = lodopab(pristine, [128, 1, 0])
    assert images[0].unique().item() == pytest.approx(0.5 * MU_MAX / 1000)
    assert observations[0].unique().item() == pytest.approx(0.25 * MU_MAX)
    assert images[1].max() > 0 and images[2].max() == 0
    for name in ("ground_truth_train_000.hdf5", "observation_train_000.hdf5"):
        assert torch.equal(lodopab(pristine / name, [1])[0], images[1:2])
    assert lodopab(pristine / "observation_train_001.hdf5", [0])[0].min() > 0


def test_folders_named_as_the_archives(lodo):
    for kind in ("ground_truth", "observation"):
        (lodo / f"{kind}_train").mkdir()
        (lodo / f"{kind}_train_000.hdf5").rename(lodo / f"{kind}_train" / f"{kind}_train_000.hdf5")
    expected = lodopab(lodo, [1])[0]
    assert torch.equal(lodopab(lodo / "observation_train" / "observation_train_000.hdf5", [1])[0], expected)


def test_samples_parts_and_names_that_do_not_exist(pristine, tmp_path):
    for bad in ([3], [129]):
        with pytest.raises(
            InvalidInput, match=r"samples in the file run from . to .; .*observation_train_00..hdf5 has 0"
        ):
            lodopab(pristine, bad)
    with pytest.raises(InvalidInput, match="run from 35820 to 35820; the part 'train' has 0 to 35819"):
        lodopab(pristine, [35820])
    with pytest.raises(InvalidInput, match="say which samples"):
        lodopab(pristine, None)
    with pytest.raises(UnknownName, match=r"no part 'valid'.*'validation'"):
        lodopab(pristine, [0], "valid")
    with pytest.raises(InvalidInput, match=r"a\.hdf5 is no file of LoDoPaB-CT; expected a name such as"):
        lodopab(write(tmp_path / "a.hdf5", data=np.zeros(3)), [0])


def test_missing_lodopab_files(lodo):
    with pytest.raises(DataUnavailable, match=r"no file or folder .*nowhere.*doi:10\.5281/zenodo\.3384092"):
        lodopab(lodo / "nowhere", [0])
    with pytest.raises(DataUnavailable, match=r"has no ground_truth_test_000\.hdf5.*Unpack"):
        lodopab(lodo, [0], "test")
    (lodo / "observation_train_000.hdf5").unlink()
    with pytest.raises(
        DataUnavailable, match=r"has no observation_train_000\.hdf5; images and observations are needed"
    ):
        lodopab(lodo / "ground_truth_train_000.hdf5", [0])


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("ground_truth", {"images": np.zeros((3, 362, 362))}, "no data set 'data'; it has: images"),
        ("ground_truth", {"data": np.zeros((3, 512, 512))}, r"shape \(3, 512, 512\); expected .* samples of 362 x 362"),
        ("ground_truth", {"data": np.zeros((3, 362, 362), np.int16)}, "'data' in .* is int16 of shape"),
        ("ground_truth", {"data": np.full((3, 362, 362), -1000.0)}, "values from -1000 to -1000, expected 0 to 1"),
        ("ground_truth", {"data": np.full((3, 362, 362), np.nan)}, "'data' in .*ground_truth.* holds NaN"),
        ("ground_truth", {"data": np.zeros((2, 362, 362))}, r"000\.hdf5 has 2 samples, .* has 3; fetch both again"),
        ("observation", {"data": np.zeros((3, 513, 1000))}, "expected floating point, .* samples of 1000 x 513"),
        ("observation", {"data": np.zeros((0, 1000, 513))}, r"shape \(0, 1000, 513\)"),
    ],
)
def test_wrong_lodopab_files(lodo, kind, data, message):
    path = lodo / f"{kind}_train_000.hdf5"
    path.unlink()
    with h5py.File(path, "w") as file:
        for name, array in data.items():
            file[name] = array
    with pytest.raises(DataCorrupt, match=message):
        lodopab(lodo, [1])


def test_files_that_are_not_hdf5_or_cut_short(lodo):
    path = lodo / "observation_train_000.hdf5"
    for content in (path.read_bytes()[:5000], b"something else", b""):
        path.write_bytes(content)
        with pytest.raises(DataCorrupt, match=r"observation_train_000\.hdf5 cannot be read as HDF5.*fetch it again"):
            lodopab(lodo, [1])


def knee_arrays(rng):
    """Return k-space with energy in the middle and its target, computed apart from the package."""
    k = np.zeros((3, 330, 324), np.complex64)
    k[:, 150:180, 150:180] = rng.standard_normal((3, 30, 30)) + 1j * rng.standard_normal((3, 30, 30))
    axes = (1, 2)
    x = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k, axes), axes=axes), axes) * math.sqrt(330 * 324)
    return {"kspace": k, "reconstruction_esc": np.abs(x[:, 5:325, 2:322]).astype(np.float32)}


@pytest.fixture(scope="module")
def arrays():
    return knee_arrays(np.random.default_rng(0))


@pytest.fixture
def knee(tmp_path, arrays):
    """Write a file as singlecoil_train has them."""
    path = write(tmp_path / "file1000001.h5", **arrays, reconstruction_rss=arrays["reconstruction_esc"])
    with h5py.File(path, "a") as file:
        file["ismrmrd_header"] = b"<ismrmrdHeader/>"
        file.attrs.update(acquisition="CORPD_FBK", max=np.float64(0.5), norm=2.0, patient_id=np.bytes_(b"0a1b"))
    return path


def test_a_knee_comes_with_target_and_attributes(knee, arrays):
    scan = fastmri_knee(knee)
    assert scan.k_space.dtype == torch.complex64 and scan.target.dtype == torch.float32 and scan.mask is None
    assert np.array_equal(scan.k_space, arrays["kspace"]) and np.array_equal(scan.target, arrays["reconstruction_esc"])
    assert scan.attributes == {"acquisition": "CORPD_FBK", "max": 0.5, "norm": 2.0, "patient_id": "0a1b"}
    some = fastmri_knee(knee, [2, 0])
    assert np.array_equal(some.k_space, arrays["kspace"][[2, 0]]) and some.target.shape == (2, 320, 320)
    with pytest.raises(InvalidInput, match=r"slices run from 3 to 3; .*file1000001\.h5 has 0 to 2"):
        fastmri_knee(knee, [3])


def test_central_image_is_the_target(knee):
    scan = fastmri_knee(knee)
    torch.testing.assert_close(central_image(scan.k_space), scan.target, atol=1e-5, rtol=1e-4)
    whole = mri.ifft(scan.k_space)
    for kind, expected in (("complex", whole), ("real", whole.real)):
        torch.testing.assert_close(central_image(scan.k_space, kind), expected[:, 5:325, 2:322])
    assert central_image(scan.k_space[0], size=64).shape == (64, 64)


def test_central_image_refuses():
    k = torch.zeros(2, 32, 24, dtype=torch.complex64)
    with pytest.raises(UnknownName, match=r"no kind 'magnitud'.*'magnitude'"):
        central_image(k, "magnitud")
    with pytest.raises(InvalidInput, match="size is 320; give a whole number from 1 to 24"):
        central_image(k)
    for bad in (k.real, k[0, 0]):
        with pytest.raises(InvalidInput, match=r"expected complex, \(\.\.\., height, width\)"):
            central_image(bad, size=8)


def test_files_of_the_test_part(tmp_path, arrays):
    mask = np.arange(324) % 4 == 0
    path = write(tmp_path / "file1000000_v2.h5", kspace=arrays["kspace"] * mask, mask=mask.astype(np.uint8))
    with pytest.raises(DataCorrupt, match=r"of the test part, which has no images\. Give target=False"):
        fastmri_knee(path)
    scan = fastmri_knee(path, [0], target=False)
    assert scan.target is None and np.array_equal(scan.mask, mask)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kspace": None}, "no data set 'kspace'; it has: reconstruction_esc"),
        ({"reconstruction_esc": None}, "no data set 'reconstruction_esc'; it has: kspace. Give target=False"),
        (
            {"kspace": np.zeros((3, 15, 64, 32), np.complex64)},
            "k-space of 15 coils, expected one coil.*singlecoil_train",
        ),
        ({"kspace": np.zeros((3, 330, 324), np.float32)}, "'kspace' in .* is float32 .*; expected complex"),
        (
            {"reconstruction_esc": np.zeros((2, 320, 320), np.float32)},
            r"shape \(2, 320, 320\); expected .*\(3, 320, 320\)",
        ),
        (
            {"reconstruction_esc": np.full((3, 320, 320), np.inf, np.float32)},
            "'reconstruction_esc' in .* holds NaN or inf",
        ),
    ],
)
def test_wrong_knees(tmp_path, arrays, changes, message):
    data = {name: array for name, array in (arrays | changes).items() if array is not None}
    with pytest.raises(DataCorrupt, match=message):
        fastmri_knee(write(tmp_path / "file1.h5", **data))


def test_missing_and_damaged_knees(knee):
    with pytest.raises(DataUnavailable, match=r"no file .*none\.h5.*registration"):
        fastmri_knee(knee.parent / "none.h5")
    for content in (knee.read_bytes()[:3000], b"something else"):
        knee.write_bytes(content)
        with pytest.raises(DataCorrupt, match=r"file1000001\.h5 cannot be read as HDF5"):
            fastmri_knee(knee)


def test_without_the_library(knee, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataUnavailable, match=r'needs h5py.*pip install "wavelab\[medical\]"'):
        fastmri_knee(knee)


def test_the_constants_are_the_authors():
    assert pytest.approx(MU_MAX, abs=1e-9) == hdf5.MU_MAX
    assert sum(hdf5.PARTS.values()) == 42895
