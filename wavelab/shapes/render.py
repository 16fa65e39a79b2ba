r"""Pictures of shapes by walking along rays, straight from a truncated signed distance.

Rays are parallel. On its way a ray takes steps as long as the distance to the surface (sphere tracing), so it needs
few; where it meets the surface the gradient of the distance is the normal. No graphics library is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.ndimage import map_coordinates

from wavelab import plotting
from wavelab.errors import InvalidInput

Array = np.ndarray
WOOD = (0.80, 0.66, 0.50)
_STEPS = 96
_LIGHTS = ((0.35, 0.75, 0.55, 0.75), (-0.7, 0.25, 0.4, 0.25))  # direction in the camera's frame, and strength


def shaded(
    values: Array, *, azimuth: float = 35.0, elevation: float = 22.0, size: int = 160, colour: Sequence[float] = WOOD,
    zoom: float = 1.0,
) -> Array:  # fmt: skip
    """Draw the surface of a signed distance.

    Args:
        values: ``(n, n, n)`` along x, y and z over the cube [-1, 1]³, y up, in units of the cube, negative inside.
        azimuth: how far the camera has walked round the shape, degrees from z towards x.
        elevation: how far it has climbed, degrees.
        size: pixels a side.
        colour: red, green and blue of the surface, 0 to 1.
        zoom: larger shows less of the cube.

    Returns:
        Red, green, blue and opacity, ``(size, size, 4)``; transparent where a ray meets nothing.

    Raises:
        InvalidInput: a volume that is not cubic or not finite.

    Source:
        Hart (1996), Sphere tracing: a geometric method for the antialiased ray tracing of implicit surfaces.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 3 or len(set(values.shape)) != 1 or not np.isfinite(values).all():
        raise InvalidInput(f"The volume has the shape {values.shape}; expected finite values (n, n, n).")
    camera = _camera(azimuth, elevation)
    places, hit = _walk(values, camera, size, zoom)
    normals = np.stack([_at(g, places) for g in np.gradient(values)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-6)
    light = 0.25 + sum(power * (normals @ camera @ _unit(way)).clip(0) for *way, power in _LIGHTS)
    step = 4 / len(values)
    open_sky = (_at(values, places + 2 * step * normals) / (2 * step)).clip(0.25, 1)  # dark in corners
    picture = np.zeros((size, size, 4))
    picture[hit, :3] = (np.asarray(colour) * (light * open_sky)[:, None]).clip(0, 1)
    picture[hit, 3] = 1
    return picture


def gallery(
    volumes: Sequence[Array], titles: Sequence[str] | None = None, columns: int = 8, **options: float
) -> Figure:
    """Draw several shapes beside each other; see :func:`shaded` for the options."""
    rows = -(-len(volumes) // columns)
    side = plotting.WIDTH / columns
    height = rows * side * (1.0 if titles is None else 1.16)
    figure, axes = plt.subplots(rows, columns, figsize=(plotting.WIDTH, height), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (axis, values) in enumerate(zip(axes.flat, volumes)):
        axis.imshow(shaded(values, **options), interpolation="antialiased")
        if titles is not None:
            axis.set_title(titles[k], fontsize=8.5, loc="center")
    return figure


def _camera(azimuth: float, elevation: float) -> Array:
    """Return the directions of the picture's right, its top and the viewer, as columns."""
    a, e = np.radians([azimuth, elevation])
    viewer = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    right = np.array([np.cos(a), 0, -np.sin(a)])
    return np.stack([right, np.cross(viewer, right), viewer], 1)


def _walk(values: Array, camera: Array, size: int, zoom: float) -> tuple[Array, Array]:
    """Return where rays meet the surface, ``(hits, 3)``, and which pixels they belong to."""
    edge = np.sqrt(3) / zoom * (1 - 1 / size) * np.linspace(-1, 1, size) * 0.72
    right, top = np.meshgrid(edge, edge[::-1])
    start = np.stack([right.ravel(), top.ravel(), np.full(size * size, np.sqrt(3))], 1) @ camera.T
    way = np.zeros(size * size)
    alive, hit = np.ones(size * size, bool), np.zeros(size * size, bool)
    for _ in range(_STEPS):
        distance = _at(values, start[alive] - way[alive, None] * camera[:, 2])
        close = distance < 1e-3
        which = np.flatnonzero(alive)
        hit[which[close]] = True
        way[which[~close]] += distance[~close].clip(2e-3)
        alive[which[close]] = False
        alive &= way < 2 * np.sqrt(3)
        if not alive.any():
            break
    return start[hit] - way[hit, None] * camera[:, 2], hit.reshape(size, size)


def _at(values: Array, places: Array) -> Array:
    """Interpolate a volume at places of the cube; outside the cube the nearest value, and the way to the cube."""
    n = len(values)
    inside = map_coordinates(values, (places.T + 1) * (n - 1) / 2, order=1, mode="nearest")
    return inside + np.linalg.norm((np.abs(places) - 1).clip(0), axis=1)


def _unit(v: Sequence[float]) -> Array:
    return np.asarray(v) / np.linalg.norm(v)
