"""ShapeNetCore in its official layout, with the split into training and test shapes that the literature uses."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from wavelab.errors import DataUnavailable, UnknownName

CATEGORIES = {"airplane": "02691156", "cabinet": "02933112", "chair": "03001627", "table": "04379243"}
PARTS = ("train", "test")
WHERE = (
    "ShapeNetCore is free for research after registration at shapenet.org and may not be passed on. Unpack a category "
    "and give the folder that holds it."
)
_FILES = ("models/model_normalized.obj", "model.obj", "models/model.obj")  # of version 2, version 1, and a variant


class Model(NamedTuple):
    """One model of ShapeNet: its name and its file."""

    id: str
    path: Path


def shapenet(folder: Path | str, category: str, part: str = "train") -> list[Model]:
    """List the models of a category.

    The models are sorted by name; the first 80 per cent are for training and the rest for testing. Folders without a
    mesh count in the split, as they do in the release, but are not listed.

    Args:
        folder: holds the categories by number, ``folder/03001627/<model>/models/model_normalized.obj`` in version 2 or
            ``folder/03001627/<model>/model.obj`` in version 1.
        category: one of ``CATEGORIES``.
        part: ``"train"`` or ``"test"``.

    Raises:
        UnknownName: there is no such category or part.
        DataUnavailable: the folder does not hold the category, or no mesh in it.

    Source:
        Chang et al. (2015), ShapeNet; the split: Chen & Zhang (2019), Learning implicit fields for generative shape
        modeling (IM-NET).
    """
    if category not in CATEGORIES:
        raise UnknownName.among("category of ShapeNet", category, CATEGORIES)
    if part not in PARTS:
        raise UnknownName.among("part", part, PARTS)
    root = Path(folder).expanduser() / CATEGORIES[category]
    if not root.is_dir():
        raise DataUnavailable(f"There is no folder {root}, which {category}s of ShapeNet have. {WHERE}")
    names = sorted(path.name for path in root.iterdir() if path.is_dir())
    cut = int(0.8 * len(names))
    chosen = names[:cut] if part == "train" else names[cut:]
    found = [Model(name, path) for name in chosen if (path := _mesh(root / name))]
    if not found:
        raise DataUnavailable(
            f"{root} holds {len(names)} models, but no {part} model with a file {_FILES[0]} or {_FILES[1]}. {WHERE}"
        )
    return found


def _mesh(model: Path) -> Path | None:
    return next((model / file for file in _FILES if (model / file).is_file()), None)
