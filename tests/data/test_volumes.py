"""Reading volumes: orientation, values, the memory-mapped cache, and damage; the real volumes too."""

import gzip
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nibabel
import numpy as np
import pytest
from made_up import entry, listing, make_nifti

from wavelab.data import arrays, registry, volumes
from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput, StorageError, UnknownName

ORIENTATIONS = ["RAS", "LPS", "LAS", "SRA", "PIL", "IPL", "AIR", "SPL"]
VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # in the course's orientation
SPACING = (2.5, 0.5, 0.75)


def oriented(array, spacing, codes):
    """Store an array of the course's orientation along other axes; return the array and its affine."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    turn = ornt_transform(axcodes2ornt(volumes.AXES), axcodes2ornt(tuple(codes)))
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    affine[2, 0], affine[1, 1], affine[0, 2] = -spacing[0], -spacing[1], -spacing[2]  # I, P, L in RAS coordinates
    return np.ascontiguousarray(apply_orientation(array, turn)), affine @ inv_ornt_aff(turn, array.shape)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_orientation_is_turned_into_the_courses(tmp_path, codes, suffix):
    stored, affine = oriented(VALUES, SPACING, codes)
    path = make_nifti(tmp_path / f"volume{suffix}", stored, affine)
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == codes
    array, spacing = volumes.read_nifti(path)
    assert np.array_equal(array, VALUES)
    assert array.dtype == np.int16
    assert spacing == pytest.approx(SPACING)


def test_scaling_keeps_integers_where_they_fit(tmp_path):
    stored = np.array([[[-1024, 0, 4095]]], np.int16)
    array, _ = volumes.read_nifti(make_nifti(tmp_path / "a.nii", stored, np.diag([-1, -1, -1, 1]), 1, -1024))
    assert array.dtype == np.int16
    assert sorted(array.ravel()) == [-2048, -1024, 3071]


@pytest.mark.parametrize(
    ("dtype", "slope", "shift", "expected"),
    [
        (np.uint8, 1, -10, [-10, 245]),  # does not fit into uint8
        (np.int16, 1, 40000, [40000, 40255]),  # does not fit into int16
        (np.int16, 0.5, 0, [0, 127.5]),
        (np.int16, 1, 0.25, [0.25, 255.25]),
        (np.float32, 1, 0, [0, 255]),
    ],
)
def test_other_scalings_give_float32(tmp_path, dtype, slope, shift, expected):
    stored = np.array([[[0, 255]]], dtype)
    array, _ = volumes.read_nifti(make_nifti(tmp_path / "a.nii", stored, None, slope, shift))
    assert array.dtype == np.float32
    assert sorted(array.ravel()) == expected


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def test_damaged_volumes_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2000, (16, 16, 16), dtype=np.int16)
    for name, keep in (("a.nii.gz", 4000), ("b.nii.gz", 100), ("c.nii", 2000), ("d.nii", 100), ("e.nii.gz", 0)):
        cut(make_nifti(tmp_path / name, noise), keep)
        with pytest.raises(DataCorrupt, match=f"{name} cannot be read"):
            volumes.read_nifti(tmp_path / name)


def test_a_gzip_file_with_changed_bytes(tmp_path):
    path = make_nifti(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 2000, (16, 16, 16), dtype=np.int16))
    content = bytearray(path.read_bytes())
    content[2000:2050] = bytes(50)
    path.write_bytes(bytes(content))
    with pytest.raises(DataCorrupt, match="cannot be read"):
        volumes.read_nifti(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a volume", gzip.compress(b"not a volume either", mtime=0)],
    ids=["empty", "text", "packed text"],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.txt"])
def test_files_that_are_no_volume(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataCorrupt, match="cannot be read"):
        volumes.read_nifti(tmp_path / name)


def test_volumes_with_unusable_content(tmp_path):
    for name, array, says in (
        ("flat", np.zeros((4, 4), np.int16), r"shape \(4, 4\)"),
        ("film", np.zeros((4, 4, 4, 2), np.int16), r"shape \(4, 4, 4, 2\)"),
        ("nan", np.full((2, 2, 2), np.nan, np.float32), "NaN"),
    ):
        with pytest.raises(DataCorrupt, match=says):
            volumes.read_nifti(make_nifti(tmp_path / f"{name}.nii", array))
    with pytest.raises(DataUnavailable, match="There is no volume"):
        volumes.read_nifti(tmp_path / "none.nii")


def test_structures(tmp_path):
    path = tmp_path / "structures.csv"
    path.write_text("group,structure,id\norgans,liver,5\norgans,spleen,1\n")
    assert volumes.read_structures(path) == {"liver": 5, "spleen": 1}
    for text in ("", "structure,id\n", "name,id\nliver,5\n", "structure,id\nliver,five\n", "structure,id\nliver\n"):
        path.write_text(text)
        with pytest.raises(DataCorrupt, match="not a table of structures"):
            volumes.read_structures(path)


# --- the memory-mapped cache -----------------------------------------------------------------------------------------

HU = np.array([-2048, -1024, -1000, 0, 40, 3071] * 4, dtype=np.int16).reshape(2, 3, 4)
MORE = 'shape = [2, 3, 4]\nspacing = [2.5, 0.5, 0.75]\ndtype = "{}"\nunit = "HU"'


@pytest.fixture
def tiny(cache, use_registry, tmp_path):
    """A registry with one small volume that is already in the cache; return the cache's data folder."""
    stored, affine = oriented(HU, SPACING, "LAS")
    content = make_nifti(tmp_path / "tiny.nii.gz", stored, affine).read_bytes()
    use_registry(entry("tiny", "tiny.nii.gz", content, more=MORE.format("int16")))
    cache.mkdir(parents=True)
    (cache / "tiny.nii.gz").write_bytes(content)
    return cache


def array_name():
    return arrays.array_path(registry.find("tiny")).name


def test_a_volume_is_converted_once_and_then_mapped(tiny, monkeypatch):
    array = volumes.prepare("tiny")
    assert isinstance(array, np.memmap)
    assert not array.flags.writeable
    assert np.array_equal(array, np.where(HU == -2048, -1000, HU))  # outside the field of view becomes air
    assert listing(tiny) == [array_name(), "tiny.nii.gz"]
    assert registry.find("tiny").sha256[:16] in array_name()
    monkeypatch.setattr(volumes, "read_nifti", None)  # would fail if called
    assert np.array_equal(volumes.prepare("tiny"), array)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "shape", "dtype"])
def test_a_damaged_array_is_made_anew(tiny, damage):
    good = np.array(volumes.prepare("tiny"))
    path = arrays.array_path(registry.find("tiny"))
    content = path.read_bytes()
    if damage in ("shape", "dtype"):
        np.save(path, good.ravel() if damage == "shape" else good.astype(np.int32))
    else:
        path.write_bytes({"cut": content[:-10], "empty": b"", "garbage": b"garbage" * 30}[damage])
    assert not arrays.is_cached(registry.find("tiny"))
    assert np.array_equal(volumes.prepare("tiny"), good)
    assert listing(tiny) == [path.name, "tiny.nii.gz"]


def test_arrays_of_an_older_file_are_forgotten(tiny):
    (tiny / "tiny.1-0123456789abcdef.npy").write_bytes(b"old")
    (tiny / "tiny-labels.1-0123456789abcdef.npy").write_bytes(b"another data set")
    volumes.prepare("tiny")
    assert listing(tiny) == ["tiny-labels.1-0123456789abcdef.npy", array_name(), "tiny.nii.gz"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("shape = [2, 3, 4]", "shape = [2, 3, 5]", r"of shape \(2, 3, 4\), expected int16 of shape \(2, 3, 5\)"),
        ('dtype = "int16"', 'dtype = "uint8"', "holds int16 values"),
        ("spacing = [2.5", "spacing = [2.0", "spacing .* expected"),
    ],
)
def test_a_file_that_is_not_what_the_registry_states(tiny, use_registry, tmp_path, old, new, says):
    use_registry((tmp_path / "registry.toml").read_text().replace(old, new))
    with pytest.raises(DataCorrupt, match=says):
        volumes.prepare("tiny")
    assert listing(tiny) == ["tiny.nii.gz"]


def test_a_registered_volume_with_nan(cache, use_registry, tmp_path):
    stored, affine = oriented(np.where(HU == 40, np.nan, HU).astype(np.float32), SPACING, "LAS")
    content = make_nifti(tmp_path / "tiny.nii.gz", stored, affine).read_bytes()
    use_registry(entry("tiny", "tiny.nii.gz", content, more=MORE.format("float32")))
    cache.mkdir(parents=True)
    (cache / "tiny.nii.gz").write_bytes(content)
    with pytest.raises(DataCorrupt, match="NaN"):
        volumes.prepare("tiny")
    assert listing(cache) == ["tiny.nii.gz"]


def test_a_damaged_volume_in_the_cache_is_removed(tiny):
    cut(tiny / "tiny.nii.gz", 60)
    with pytest.raises(DataCorrupt, match="SHA-256"):
        volumes.prepare("tiny")
    assert listing(tiny) == []


LIMITED = """
import resource
from pathlib import Path
from wavelab.data import registry, volumes
registry.default_path = lambda: Path({!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
volumes.prepare("tiny")
"""


def test_full_disk_while_writing_the_array(tiny, tmp_path):
    code = LIMITED.format(str(tmp_path / "registry.toml"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert "StorageError: Cannot write" in done.stderr
    assert "WAVELAB_CACHE" in done.stderr
    assert listing(tiny) == ["tiny.nii.gz"]


def test_read_only_cache_while_writing_the_array(tiny, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("wavelab.paths.NamedTemporaryFile", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        volumes.prepare("tiny")
    assert listing(tiny) == ["tiny.nii.gz"]


def test_an_array_in_a_read_only_cache_is_still_read(tiny, monkeypatch):
    expected = np.array(volumes.prepare("tiny"))
    monkeypatch.setattr("wavelab.paths.NamedTemporaryFile", None)  # would fail if called
    assert np.array_equal(volumes.prepare("tiny"), expected)


def test_several_threads_convert_at_once(tiny):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: np.array(volumes.prepare("tiny")), range(16)))
    assert all(np.array_equal(result, results[0]) for result in results)
    assert listing(tiny) == [array_name(), "tiny.nii.gz"]


def test_a_volume_without_labels(tiny):
    volume = volumes.Volume("tiny", volumes.prepare("tiny"), SPACING, "HU")
    with pytest.raises(InvalidInput, match="'tiny' comes without labels"):
        volume.labels()
    with pytest.raises(InvalidInput, match="'tiny' comes without labels"):
        _ = volume.structures


def test_unknown_volume():
    with pytest.raises(UnknownName, match="chest-ct"):
        volumes.prepare("chest-c")


# --- the real volumes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ct():
    return volumes.chest_ct()


def centre(ct, name):
    """Return the mean (depth, height, width) of the voxels of a structure."""
    label = ct.structures[name]
    found = np.argwhere(ct.labels()[::2, ::4, ::4] == label)
    assert len(found), name
    return found.mean(axis=0) * (2, 4, 4)


def test_chest_ct_is_what_it_says(ct):
    assert ct.array.shape == (133, 512, 512)
    assert ct.array.dtype == np.int16
    assert ct.spacing == (2.5, 0.703125, 0.703125)
    assert ct.unit == "HU"
    assert isinstance(ct.array, np.memmap)
    assert not ct.array.flags.writeable
    assert (ct.array.min(), ct.array.max()) == (-1024, 3071)


def test_chest_ct_outside_the_field_of_view_is_air(ct):
    height, width = np.mgrid[:512, :512] - 255.5
    outside = np.hypot(height, width) > 257
    assert outside.mean() > 0.2
    assert (ct.array[::20][:, outside] == -1000).all()


def test_chest_ct_is_upright(ct):
    liver, spleen, heart = centre(ct, "liver"), centre(ct, "spleen"), centre(ct, "heart")
    assert liver[2] < 256 < spleen[2]  # the liver is on the patient's right, on the left of the picture
    assert heart[2] > centre(ct, "sternum")[2]  # the heart leans to the left
    for name in ("kidney", "scapula", "lung_lower_lobe"):
        assert centre(ct, f"{name}_right")[2] + 100 < centre(ct, f"{name}_left")[2]
    assert centre(ct, "sternum")[1] + 100 < centre(ct, "vertebrae_T6")[1]  # front above back
    order = ["thyroid_gland", "aorta", "liver", "vertebrae_L2"]  # head above feet
    depths = [centre(ct, name)[0] for name in order]
    assert depths == sorted(depths)
    spine = [centre(ct, f"vertebrae_T{k}")[0] for k in range(1, 13)]
    assert spine == sorted(spine)


def test_chest_ct_labels_lie_on_their_organs(ct):
    labels = ct.labels()
    assert labels.shape == ct.array.shape
    assert labels.dtype == np.uint8
    assert len(ct.structures) == 118
    assert set(np.unique(labels[::3])) <= {0, *ct.structures.values()}
    typical = {
        "lung_lower_lobe_left": (-950, -650),
        "liver": (40, 150),
        "aorta": (150, 400),
        "vertebrae_T6": (100, 400),
    }
    for name, (low, high) in typical.items():
        assert low < np.median(ct.array[::3][labels[::3] == ct.structures[name]]) < high


def test_readme_counts_the_structures_that_occur(ct):
    assert len(np.unique(ct.labels())) - 1 == 89
    assert not (ct.labels() == ct.structures["gallbladder"]).any()


def test_brain_template_is_what_it_says():
    t1 = volumes.mni_t1()
    stored = nibabel.load(volumes.fetch("mni-t1"))
    assert nibabel.aff2axcodes(stored.affine) == ("R", "A", "S")
    assert t1.array.shape == (189, 233, 197)
    assert t1.spacing == (1.0, 1.0, 1.0)
    assert t1.array.dtype == np.uint8
    assert np.array_equal(t1.array, np.asanyarray(stored.dataobj)[::-1, ::-1, ::-1].T)
    assert np.array_equal(t1.array, t1.array[:, :, ::-1])  # the halves are mirror images


def test_tissue_maps_share_the_grid_and_make_sense():
    t1, grey, white = (
        f().array.astype(int) for f in (volumes.mni_t1, volumes.mni_grey_matter, volumes.mni_white_matter)
    )
    assert t1.shape == grey.shape == white.shape
    assert (grey + white).max() <= 256
    assert t1[white > 230].mean() > t1[grey > 230].mean() > 50  # white matter is the brighter one in T1
    assert t1[90, 0, 0] == 0


def test_the_cache_of_the_real_data_stays_small(ct):
    ct.labels()
    for load in (volumes.mni_t1, volumes.mni_grey_matter, volumes.mni_white_matter):
        load()
    folder = arrays.folder()
    files = [folder / dataset.file for dataset in registry.needed_by("cpu")]
    files += [arrays.array_path(dataset) for dataset in registry.needed_by("cpu") if dataset.shape]
    assert sum(path.stat().st_size for path in files if path.exists()) < 200e6
    assert not list(folder.glob("*.whl"))
