"""Random phantoms of a chest: a second domain, made of ellipses, on which no reconstruction was trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from wavelab.errors import InvalidInput

AIR, LUNG, FAT, MUSCLE, BLOOD, BONE = -1000.0, -830.0, -90.0, 50.0, 40.0, 450.0  # HU
_FINE = 4  # points along each side of a pixel


def thorax(count: int, size: int, rng: np.random.Generator) -> Tensor:
    """Draw random chest phantoms in Hounsfield units.

    A body of muscle in a coat of fat holds two lungs with vessels and nodules, a heart with chambers, a spine with its
    canal, an aorta and ribs. Later ellipses cover earlier ones; every pixel is the mean over 4 x 4 points.

    Args:
        count: number of phantoms.
        size: pixels a side; the image's circle is 180 mm in radius whatever the size.
        rng: source of randomness.

    Returns:
        float32, shape ``(count, 1, size, size)``, HU; air outside the body.

    Raises:
        InvalidInput: a count or a size that is not positive.
    """
    for name, value in (("count", count), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InvalidInput(f"{name} must be a positive whole number, got {value!r}.")
    return torch.from_numpy(np.stack([_raster(_ellipses(rng), size) for _ in range(count)]))[:, None]


def _ellipses(rng: np.random.Generator) -> np.ndarray:
    """Return rows of centre x, y, half axes a, b (shares of the radius), angle, HU; what comes later covers."""
    width, height = rng.uniform(0.74, 0.9), rng.uniform(0.5, 0.64)
    coat = rng.uniform(0.04, 0.1)
    parts = [(0, 0, width, height, 0, FAT), (0, 0, width - coat, height - coat, 0, MUSCLE)]
    inner = np.array([width - coat, height - coat])
    lungs = []
    for side in (-1, 1):
        centre = np.array([side * rng.uniform(0.46, 0.52), rng.uniform(-0.05, 0.1)]) * inner
        axes = rng.uniform([0.3, 0.6], [0.4, 0.76]) * inner
        lungs.append((*centre, *axes, side * rng.uniform(0, 0.2), LUNG + rng.normal(0, 40)))
    parts += [*lungs, *(vessel for lung in lungs for vessel in _vessels(lung, rng))]
    heart = (*rng.uniform([0.0, 0.0], [0.2, 0.25]) * inner, *rng.uniform([0.24, 0.3], [0.34, 0.42]) * inner)
    parts.append((*heart, rng.uniform(-0.6, 0.6), BLOOD))
    for _ in range(rng.integers(2, 5)):
        shift = rng.uniform(-0.5, 0.5, 2) * heart[2:]
        chamber = rng.uniform(0.2, 0.4, 2) * heart[2:]
        parts.append((heart[0] + shift[0], heart[1] + shift[1], *chamber, 0, BLOOD + rng.normal(60, 50)))
    parts += _spine(inner, rng) + _ribs(width - coat / 2, height - coat / 2, rng)
    return np.array(parts)


def _vessels(lung: tuple[float, ...], rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Return small round vessels, and now and then a nodule, in a lung."""
    found = []
    for _ in range(rng.integers(15, 30)):
        radius, turn = 0.85 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        x, y = lung[0] + radius * np.cos(turn) * lung[2], lung[1] + radius * np.sin(turn) * lung[3]
        thick = rng.gamma(2, 0.007) + 0.006
        found.append((x, y, thick, thick * rng.uniform(1, 2.5), rng.uniform(0, np.pi), rng.uniform(-300, 60)))
    return found


def _spine(inner: np.ndarray, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Return a vertebra with cortex, marrow and canal, and the aorta beside it."""
    y, wide = -rng.uniform(0.6, 0.68) * inner[1], rng.uniform(0.1, 0.13)
    aorta = rng.uniform(0.05, 0.08)
    return [
        (0.9 * wide, y + 1.1 * wide, aorta, aorta, 0, BLOOD + rng.normal(60, 60)),
        (0, y, wide, 0.85 * wide, 0, BONE), (0, y, 0.8 * wide, 0.66 * wide, 0, BONE - 250),
        (0, y - 1.15 * wide, 0.62 * wide, 0.5 * wide, 0, BONE), (0, y - 1.1 * wide, 0.35 * wide, 0.33 * wide, 0, 20.0),
    ]  # fmt: skip


def _ribs(width: float, height: float, rng: np.random.Generator) -> list[tuple[float, ...]]:
    """Return ribs along the wall of the chest, cortex and marrow."""
    found = []
    for turn in np.linspace(0, 2 * np.pi, rng.integers(12, 18), endpoint=False) + rng.uniform(0, 0.4):
        x, y = 0.93 * width * np.cos(turn), 0.93 * height * np.sin(turn)
        angle = np.arctan2(height * np.cos(turn), -width * np.sin(turn))
        long, thick = rng.uniform(0.05, 0.11), rng.uniform(0.018, 0.028)
        found += [(x, y, long, thick, angle, BONE), (x, y, 0.85 * long, 0.55 * thick, angle, BONE - 300)]
    return found


def _raster(ellipses: np.ndarray, size: int) -> np.ndarray:
    """Paint ellipses one over the other on a fine grid and average."""
    points = (np.arange(size * _FINE) + 0.5) / (size * _FINE) * 2 - 1
    x, y = points[None, :], -points[:, None]
    image = np.full((size * _FINE, size * _FINE), AIR, np.float32)
    for cx, cy, a, b, angle, value in ellipses:
        reach = max(a, b)
        columns = slice(*np.searchsorted(points, [cx - reach, cx + reach]))
        rows = slice(*np.searchsorted(points, [-cy - reach, -cy + reach]))
        dx, dy = x[:, columns] - cx, y[rows] - cy
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        image[rows, columns][(along / a) ** 2 + (across / b) ** 2 <= 1] = value
    return image.reshape(size, _FINE, size, _FINE).mean((1, 3))
