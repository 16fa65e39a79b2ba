"""Silhouettes of shapes from all round: cameras at the vertices of dodecahedra, and pictures of what they see."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from wavelab.errors import InvalidInput
from wavelab.shapes.meshes import checked

Array = np.ndarray
_PHI = (1 + 5**0.5) / 2


@lru_cache
def dodecahedron() -> tuple[Array, Array, Array]:
    """Return the frames of ten vertices of a dodecahedron, its rotations, and what these do to the ten.

    Returns:
        Frames ``(10, 3, 3)``, whose rows are across, up and towards the camera, one of every two opposite vertices;
        rotations ``(60, 3, 3)``, the first the identity; and ``(60, 10)``: rotation g takes the line through vertex p
        to that through ``[g, p]``.
    """
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    for s, t in ((s, t) for s in (-1, 1) for t in (-1, 1)):
        edge = (0.0, s / _PHI, t * _PHI)
        corners += [edge, edge[1:] + edge[:1], edge[2:] + edge[:2]]
    corners = np.array(corners) / 3**0.5
    towards, across = np.nonzero(np.isclose(corners @ corners.T, 5**0.5 / 3))  # neighbours: 60 directed edges
    frames = _frames(corners[towards], corners[across])
    rotations = frames.transpose(0, 2, 1) @ frames[0]
    ten = frames[::3][[k for k, v in enumerate(corners) if tuple(v) > (0.0, 0.0, 0.0)]]
    lines = np.abs(np.einsum("gij,pj,qi->gpq", rotations, ten[:, 2], ten[:, 2])).argmax(2)
    return ten, rotations, lines


def _frames(towards: Array, across: Array) -> Array:
    """Return orthonormal right-handed rows, the last along ``towards``, the first near ``across``."""
    across = across - (across * towards).sum(-1, keepdims=True) * towards
    across = across / np.linalg.norm(across, axis=-1, keepdims=True)
    return np.stack([across, np.cross(towards, across), towards], -2)


@lru_cache
def _turns(count: int) -> Array:
    """Return rotations of the dodecahedron far from each other, the first the identity, ``(count, 3, 3)``."""
    every = Rotation.from_quat(np.random.default_rng(0).normal(size=(2000, 4))).as_matrix()
    chosen, closest = [np.eye(3)], np.full(len(every), -1.0)
    for _ in range(count - 1):
        alike = np.einsum("ij,nik,gjk->ng", chosen[-1], every, dodecahedron()[1], optimize=True)
        closest = np.maximum(closest, alike.max(1))
        chosen.append(every[closest.argmin()])
    return np.array(chosen)


def silhouettes(mesh: trimesh.Trimesh, fields: int = 10, size: int = 128, name: str = "mesh") -> Array:
    """Draw a mesh as seen from far away, filled, from the ten cameras of every light field.

    Each silhouette is centred at its own centroid, to about a pixel. The scale is one for each light field: the point
    of the shape that is farthest from the centre of any of its ten pictures lies one pixel inside the circle that the
    picture encloses.

    Args:
        mesh: triangles in any units.
        fields: number of light fields; they differ by fixed rotations, the first of which is the identity.
        size: side of a picture in pixels.
        name: of the mesh, for errors.

    Returns:
        bool, shape ``(fields, 10, size, size)``.

    Raises:
        InvalidInput: a mesh without a surface, see :func:`wavelab.shapes.meshes.checked`; a size or a number of light
            fields out of range.
    """
    for option, value, least in (("fields", fields, 1), ("size", size, 16)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InvalidInput(f"{option} is {value!r}; give a whole number of at least {least}.")
    mesh = checked(mesh, name)
    corners = (mesh.vertices - mesh.bounds.mean(0)).T
    corners = (corners / np.linalg.norm(corners, axis=0).max()).astype(np.float32)
    views = np.einsum("pki,fji->fpkj", dodecahedron()[0][:, :2], _turns(int(fields))).reshape(-1, 2, 3)
    one = np.ones(len(views))
    small = _draw(corners, mesh.faces, views, 0 * views[:, :, 0], one, size // 2)
    centres = moments(small)[:, 1:3] / (size // 4 - 1)
    square = sum((views[:, k] @ corners - centres[:, k, None]) ** 2 for k in range(2)).max(1)
    radii = square.reshape(-1, 10).max(1).repeat(10) ** 0.5
    return _draw(corners, mesh.faces, views, centres, radii, size).reshape(-1, 10, size, size)


def _draw(corners: Array, faces: Array, views: Array, centres: Array, radii: Array, size: int) -> Array:
    r"""Mark the pixels that hold a point of the surface, for each view; ``(views, size, size)``.

    The points are so dense that any other point of the surface lies within half a pixel of one of them: in a triangle
    with edges of at most :math:`l` none is farther than :math:`l/\sqrt3` from the corners. So a pixel whose centre the
    shape covers is marked, and none that the shape does not touch.
    """
    pixels = radii / (size // 2 - 1)
    points = _points(corners, faces, 0.75**0.5 * pixels.min())
    pictures = np.zeros((len(views), size * size), dtype=bool)
    views, shifts = (views / pixels[:, None, None]).astype(np.float32), size / 2 - centres / pixels[:, None]
    for picture, view, shift in zip(pictures, views, shifts[:, :, None].astype(np.float32)):
        x, y = (view @ points + shift).astype(np.int32)
        picture[x * size + y] = True
    return pictures.reshape(-1, size, size)


def _points(corners: Array, faces: Array, longest: float) -> Array:
    """Return the corners of all triangles after halving edges until none is longer than ``longest``; ``(3, n)``."""
    points, triangles = [corners], corners[:, faces.T].swapaxes(0, 1)  # corner, coordinate, triangle
    while triangles.size:
        edges = ((triangles[[1, 2, 0]] - triangles) ** 2).sum(1)
        long = np.flatnonzero(edges.max(0) > longest**2)
        order = (edges[:, long].argmax(0) + np.arange(3)[:, None]) % 3
        a, b, c = np.take_along_axis(triangles[:, :, long], order[:, None], 0)
        points.append((a + b) / 2)
        triangles = np.concatenate([[a, points[-1], c], [points[-1], b, c]], 2)
    return np.concatenate(points, 1)


def moments(pictures: Array) -> Array:
    """Return area, centroid and central second moments xx, yy, xy of pictures ``(k, size, size)``; ``(k, 6)``.

    Units are pixels, the centroid is counted from the middle of the picture, and pixels are squares, not points.
    """
    size = pictures.shape[-1]
    axis = np.arange(size) + 0.5 - size / 2
    x, y = (c.ravel() for c in np.meshgrid(axis, axis, indexing="ij"))
    powers = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], 1)
    sums = pictures.reshape(len(pictures), -1).astype(float) @ powers
    area, x, y, xx, yy, xy = np.concatenate([sums[:, :1], sums[:, 1:] / sums[:, :1]], 1).T
    return np.stack([area, x, y, xx - x * x + 1 / 12, yy - y * y + 1 / 12, xy - x * y], 1)
