"""The furniture of Sweet Home 3D: 820 models that people made, their catalogue, and the bytes of each.

A collection is a zip archive: models as OBJ files, each in a folder with its textures, and a catalogue in the format of
Java's properties. Nothing is unpacked to the disk. :func:`wavelab.shapes.furniture.read` makes meshes of them.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wavelab.data.download import fetch, where
from wavelab.errors import DataCorrupt, UnknownName

COLLECTIONS = (
    "furniture-scopia",
    "furniture-cc0",
    "furniture-cc-by",
    "furniture-kator",
    "furniture-reallusion",
)
KINDS = {  # in a model's name: words that make it one, and words that make it something else
    "chair": (r"(arm)?chairs?|class seat", r"ottoman"),
    "stool": (r"stool|ottoman|puff", None),
    "bench": (r"bench|(wood|little) bank", r"abdominal"),
    "sofa": (r"sofa|couch", None),
    "table": (r"table|desk", r"fan|lamp|bat"),
    "bed": (r"bed|crib|futon", r"table|couch"),
    "cabinet": (r"cabinet|wardrobe|cupboard|bookcase|shelves|dresser|chest|locker|vanity|tv stand", r"freezer"),
    "lamp": (r"lamp|lamppost|lights?|chandelier|flashlight|lantern|spotlight", r"stone"),
}
_CATALOGUE = "PluginFurnitureCatalog.properties"
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SEPARATOR = re.compile(r"(?<!\\)(?:\\\\)*(?P<sign>[ \t\f]*[=:][ \t\f]*|[ \t\f]+)")
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


@dataclass(frozen=True)
class Model:
    """One entry of a catalogue.

    Attributes:
        id: unique in all collections.
        name: such as ``"Armchair"``; many models share one.
        category: such as ``"Living room"``.
        creator: whom the licence asks to name.
        licence: of the collection.
        collection: the data set that holds the model.
        member: path inside the collection.
        size: width, depth and height in cm, as the catalogue wants the model to be drawn.
        rotation: rows of the matrix that turns the file's model upright, or None.
    """

    id: str
    name: str
    category: str
    creator: str
    licence: str
    collection: str
    member: str
    size: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...] | None


def catalogue(collections: Sequence[str] = COLLECTIONS) -> list[Model]:
    """Return the models of some collections, in the order of their catalogues.

    Args:
        collections: ids of data sets; left out, all five.

    Raises:
        UnknownName: there is no such collection.
        DataUnavailable, DataCorrupt, StorageError: see :func:`wavelab.data.fetch`; or a catalogue cannot be used.
    """
    for collection in collections:
        if collection not in COLLECTIONS:
            raise UnknownName.among("collection of furniture", collection, COLLECTIONS)
    return [model for collection in collections for model in _models(collection, fetch(collection))]


def of_kind(kind: str, models: Sequence[Model] | None = None) -> list[Model]:
    """Return the models that their names make one of ``KINDS``, such as ``"chair"``.

    Raises:
        UnknownName: there is no such kind.
    """
    if kind not in KINDS:
        raise UnknownName.among("kind of furniture", kind, KINDS)
    return [model for model in (catalogue() if models is None else models) if kind in kinds(model.name)]


def kinds(name: str) -> list[str]:
    """Return which of ``KINDS`` a model with this name is; mostly one or none."""
    return [
        kind
        for kind, (words, others) in KINDS.items()
        if re.search(rf"\b({words})\b", name, re.I) and not (others and re.search(rf"\b({others})\b", name, re.I))
    ]


def content(model: Model) -> bytes:
    """Return a model's file, without its textures.

    Raises:
        DataUnavailable, StorageError: see :func:`wavelab.data.fetch`.
        DataCorrupt: the collection is damaged, or lacks the model.
    """
    path = where(model.collection)
    return _read(path if path.is_file() else fetch(model.collection), model.member)


def properties(text: str) -> dict[str, str]:
    r"""Return the keys and values of a file in the format of Java's ``.properties``.

    Comments, lines that go on after a backslash, the three separators and the escapes ``\n``, ``\:``, ``\u20ac`` and
    so on are understood.
    """
    found = {}
    for line in _lines(text):
        split = _SEPARATOR.search(line)
        key, value = (line[: split.start("sign")], line[split.end() :]) if split else (line, "")
        found[_plain(key)] = _plain(value)
    return found


def _lines(text: str) -> Iterator[str]:
    """Yield logical lines: without comments, empty lines and line ends."""
    whole = ""
    for line in re.split(r"\r\n|\r|\n", text):
        line = line.lstrip(" \t\f")
        if not whole and line[:1] in ("", "#", "!"):
            continue
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        whole += line[:-1] if goes_on else line
        if not goes_on:
            yield whole
            whole = ""
    if whole:
        yield whole


def _plain(text: str) -> str:
    """Return a text with its escapes replaced by what they stand for."""
    text = _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if len(m[1]) == 5 else _CONTROL.get(m[1], m[1]), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _models(collection: str, path: Path) -> Iterator[Model]:
    """Yield the models of one collection."""
    entries = properties(_read(path, _CATALOGUE).decode("latin-1"))
    licence = " ".join(entries.get("license", "not stated").split())
    for number in (key[2:] for key in entries if key.startswith("id#")):
        try:
            yield _model({key: entries.get(key + number) for key in _FIELDS}, collection, licence)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataCorrupt(
                f"The catalogue of {path.name} cannot be used: its entry {number[1:]} lacks a field or holds {error}. "
                f"Remove the file and fetch it anew with 'python -m wavelab.data fetch {collection}'."
            ) from error


_FIELDS = ("id", "name", "category", "creator", "model", "width", "depth", "height", "modelRotation")


def _model(entry: dict[str, str | None], collection: str, licence: str) -> Model:
    """Build a model of the fields of its entry; ValueError, TypeError or AttributeError where one is wrong."""
    texts = [entry[key].strip() for key in ("id", "name", "category", "creator", "model")]
    size = tuple(float(entry[key]) for key in ("width", "depth", "height"))
    return Model(*texts[:4], licence, collection, texts[4].lstrip("/"), size, _rotation(entry["modelRotation"]))


def _rotation(text: str | None) -> tuple[tuple[float, float, float], ...] | None:
    """Return nine numbers as the rows of a matrix."""
    if text is None:
        return None
    a, b, c, d, e, f, g, h, i = map(float, text.split())
    return (a, b, c), (d, e, f), (g, h, i)


def _read(path: Path, member: str) -> bytes:
    """Return one file of a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except KeyError as error:
        raise DataCorrupt(f"{path.name} has no member {member!r}. Remove {path} and fetch it anew.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataCorrupt(f"{path} is damaged: {error}. Remove it and fetch it anew.") from error
