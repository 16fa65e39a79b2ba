"""Solids put together: one shape of several, and small parts that chairs and airplanes share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh

from wavelab.shapes.solids import Array, Box, Lathe, Solid

X, Y, Z = np.eye(3)


@dataclass(frozen=True)
class Union:
    """Several solids as one shape; where they overlap it is still one.

    The distance is the smallest of the parts': exact outside, and inside never larger than it is.
    """

    solids: tuple[Solid, ...]

    def sdf(self, points: Array, reach: float = np.inf) -> Array:
        """Return the signed distance of points ``(n, 3)``, clipped at ``reach``, shape ``(n,)``."""
        found = np.full(len(points), reach)
        for solid in self.solids:
            low, high = solid.bounds()
            low, high = low - reach, high + reach
            near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
            found[near] = np.minimum(found[near], solid.sdf(points[near]))
        return found

    def grid(self, size: int, reach: float, fill: float = 0.9) -> Array:
        r"""Return the signed distance on the grid ``linspace(-1, 1, size)`` along x, y and z, clipped at ±``reach``.

        The shape is moved and scaled so that its box touches the cube :math:`[-f,f]^3`, ``fill`` :math:`=f`; distances
        are in units of that cube.

        Returns:
            float32, shape ``(size, size, size)``.
        """
        centre, scale = self.frame(fill)
        axis, volume = np.linspace(-1, 1, size), np.full((size,) * 3, reach, dtype=np.float32)
        for solid in self.solids:
            low, high = (solid.bounds() - centre) * scale
            low, high = low - reach, high + reach
            box = tuple(slice(*np.searchsorted(axis, [low[k], high[k]])) for k in range(3))
            points = np.stack(np.meshgrid(*(axis[s] for s in box), indexing="ij"), -1)
            found = solid.sdf(points.reshape(-1, 3) / scale + centre) * scale
            volume[box] = np.minimum(volume[box], found.reshape(points.shape[:3]))
        return volume.clip(-reach, reach)

    def mesh(self) -> trimesh.Trimesh:
        """Return the closed meshes of all parts as one mesh; they may overlap."""
        return trimesh.util.concatenate([solid.mesh() for solid in self.solids])

    def bounds(self) -> Array:
        """Return the box around all parts."""
        low, high = np.moveaxis(np.array([solid.bounds() for solid in self.solids]), 1, 0)
        return np.array([low.min(0), high.max(0)])

    def frame(self, fill: float = 0.9) -> tuple[Array, float]:
        """Return centre and factor with which the box of the shape just fits the cube of half side ``fill``."""
        low, high = self.bounds()
        return (low + high) / 2, float(2 * fill / (high - low).max())


def unit(v: Array) -> Array:
    """Return a vector of length 1."""
    return v / np.linalg.norm(v)


def about_x(angle: float) -> Array:
    """Return the rotation about x."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def ball(centre: Array, radius: float) -> Lathe:
    """Return a ball, as a polygon of 24 sides turned about y."""
    angle = np.linspace(0, np.pi, 13)
    profile = [(float(radius * (1 - np.cos(a))), float(radius * np.sin(a))) for a in angle]
    return Lathe(np.asarray(centre) - [0, radius, 0], (0, 1, 0), profile)


def board(a: Array, b: Array, half_wide: float, half_thick: float) -> Box:
    """Return a board from a to b, its broad side across the x axis or, for boards along it, across z."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    along = unit(b - a)
    side = X if abs(along[0]) < 0.9 else Z
    side = unit(side - (side @ along) * along)
    turn = np.stack([side, along, np.cross(side, along)], 1)
    return Box((a + b) / 2, (half_wide, np.linalg.norm(b - a) / 2, half_thick), turn)
