r"""Solids with an exact signed distance, from which the parametric chairs and airplanes are built.

A solid has ``sdf(points)``, negative inside, and ``mesh()``, a closed mesh of the same surface. Units are those of its
numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import trimesh

from wavelab.errors import InvalidInput

Array = np.ndarray
SIDES = 48  # of the polygon that stands for a circle in a mesh


class Solid(Protocol):
    """What every solid offers."""

    def sdf(self, points: Array) -> Array:
        """Return the signed distance of points ``(n, 3)``, negative inside, shape ``(n,)``."""
        ...

    def mesh(self) -> trimesh.Trimesh:
        """Return a closed mesh of the surface, normals outwards."""
        ...

    def bounds(self) -> Array:
        """Return the lowest and the highest corner of a box around it, shape ``(2, 3)``."""
        ...


@dataclass(frozen=True)
class Box:
    """A box about ``centre`` with half sides ``half``; the columns of ``turn`` are its axes."""

    centre: Sequence[float]
    half: Sequence[float]
    turn: Array = field(default_factory=lambda: np.eye(3))

    def __post_init__(self):
        """Check the sides."""
        if not np.all(np.asarray(self.half) > 0):
            raise InvalidInput(f"The half sides of a box are {tuple(self.half)}; give positive numbers.")

    def sdf(self, points: Array) -> Array:
        """Return the exact signed distance."""
        q = np.abs((points - np.asarray(self.centre)) @ self.turn) - np.asarray(self.half)
        return np.linalg.norm(q.clip(0), axis=1) + q.max(1).clip(max=0)

    def mesh(self) -> trimesh.Trimesh:
        """Return twelve triangles."""
        mesh = trimesh.creation.box(2 * np.asarray(self.half))
        mesh.vertices = mesh.vertices @ np.asarray(self.turn).T + np.asarray(self.centre)
        return mesh

    def bounds(self) -> Array:
        """Return the box around it."""
        reach = np.abs(self.turn) @ np.asarray(self.half)
        return np.asarray(self.centre) + np.array([-reach, reach])


@dataclass(frozen=True)
class Lathe:
    """A surface of revolution: from ``start`` along ``axis``, with radii at some places along it.

    Args:
        start: where the axis begins.
        axis: its direction, of any length.
        profile: rows of place along the axis, not falling, and radius there; straight between them, flat at both ends.
    """

    start: Sequence[float]
    axis: Sequence[float]
    profile: Sequence[tuple[float, float]]

    def __post_init__(self):
        """Check profile and axis."""
        s, r = np.asarray(self.profile, dtype=float).T
        if len(s) < 2 or np.any(np.diff(s) < 0) or not s[-1] > s[0] or np.any(r < 0) or not np.any(r > 0):
            raise InvalidInput(f"The profile is {list(self.profile)}; give rising places with radii of at least 0.")
        if not np.linalg.norm(self.axis) > 0:
            raise InvalidInput("The axis has length 0.")

    @classmethod
    def rod(cls, a: Sequence[float], b: Sequence[float], radius: float, end: float | None = None) -> Lathe:
        """Return a straight rod from ``a`` to ``b``, tapered where ``end``, the radius there, is given."""
        axis = np.asarray(b, dtype=float) - np.asarray(a, dtype=float)
        return cls(a, axis, [(0.0, radius), (float(np.linalg.norm(axis)), radius if end is None else end)])

    def sdf(self, points: Array) -> Array:
        """Return the exact signed distance, that to the outline in the half plane of place and radius."""
        axis = np.asarray(self.axis) / np.linalg.norm(self.axis)
        away = points - np.asarray(self.start)
        s = away @ axis
        r = np.linalg.norm(away - s[:, None] * axis, axis=1)
        outline = self._outline()
        squared = np.min([_to_segment(s, r, *pair) for pair in itertools.pairwise(outline)], axis=0)
        places, radii = np.asarray(self.profile, dtype=float).T
        inside = (s > places[0]) & (s < places[-1]) & (r < np.interp(s, places, radii))
        return np.where(inside, -1.0, 1.0) * np.sqrt(squared)

    def mesh(self) -> trimesh.Trimesh:
        """Return rings of ``SIDES`` corners, on circles of the right area."""
        outline = self._outline()
        outline = outline[np.r_[True, np.any(np.diff(outline, axis=0) != 0, axis=1)]]
        angle = 2 * np.pi * np.arange(SIDES) / SIDES
        radius = outline[1:-1, 1] * np.sqrt(2 * np.pi / SIDES / np.sin(2 * np.pi / SIDES))
        u, v, w = _frame(self.axis)
        circle = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
        rings = outline[1:-1, 0, None, None] * w + radius[:, None, None] * circle
        ends = outline[[0, -1], 0, None] * w
        vertices = np.concatenate([ends, rings.reshape(-1, 3)]) + np.asarray(self.start)
        mesh = trimesh.Trimesh(vertices, _tube(len(rings)), process=True)  # merges rings of radius 0
        mesh.update_faces(mesh.nondegenerate_faces())
        mesh.remove_unreferenced_vertices()
        return mesh

    def bounds(self) -> Array:
        """Return the box around it."""
        axis = np.asarray(self.axis) / np.linalg.norm(self.axis)
        places, radii = np.asarray(self.profile, dtype=float).T
        centres = np.asarray(self.start) + places[:, None] * axis
        reach = radii[:, None] * np.sqrt((1 - axis**2).clip(0))
        return np.array([(centres - reach).min(0), (centres + reach).max(0)])

    def _outline(self) -> Array:
        profile = np.asarray(self.profile, dtype=float)
        return np.concatenate([[[profile[0, 0], 0]], profile, [[profile[-1, 0], 0]]])


@dataclass(frozen=True)
class Loft:
    """The convex body between two convex polygons with parallel sides, such as a wing.

    Args:
        root: corners ``(k, 3)`` in one plane.
        tip: as many, the same polygon scaled and moved out of the plane.
    """

    root: Array
    tip: Array

    def __post_init__(self):
        """Check that the sides are flat and the body is convex and not empty."""
        root, tip = np.asarray(self.root, dtype=float), np.asarray(self.tip, dtype=float)
        if root.shape != tip.shape or root.ndim != 2 or root.shape[1] != 3 or len(root) < 3:
            raise InvalidInput(f"A loft needs two polygons of as many corners, got {root.shape} and {tip.shape}.")
        normals, offsets = self._planes()
        corners = np.concatenate([root, tip])
        size = np.ptp(corners, axis=0).max()
        if (corners @ normals.T - offsets).max() > 1e-6 * size:
            raise InvalidInput("The loft is not convex; give two convex polygons, one the other scaled and moved.")

    def sdf(self, points: Array) -> Array:
        """Return the exact signed distance: to the planes inside, to the nearest side or edge outside."""
        normals, offsets = self._planes()
        found = (points @ normals.T - offsets).max(1)
        outside = found > 0
        found[outside] = self._away(points[outside])
        return found

    def _away(self, p: Array) -> Array:
        """Distance of points outside: to a side where they are above it, else to an edge."""
        corners, k = self._corners(), len(self.root)
        following = [*range(1, k), 0]
        sides = [[i, j, j + k, i + k] for i, j in enumerate(following)]
        edges = [edge for i, j in enumerate(following) for edge in ((i, j), (i + k, j + k), (i, i + k))]
        squared = np.min([_to_edge(p, corners[i], corners[j]) for i, j in edges], axis=0)
        middle = corners.mean(0)
        for side in ([*range(k)], [*range(k, 2 * k)], *sides):
            u = corners[side]
            normal = np.cross(u[1] - u[0], u[2] - u[1])
            normal *= np.sign((u[0] - middle) @ normal) / np.linalg.norm(normal)
            high = (p - u[0]) @ normal
            over = high > 0
            for a, b in zip(u, np.roll(u, -1, 0)):
                across = np.cross(normal, b - a)
                over &= (p - a) @ (across * np.sign((u.mean(0) - a) @ across)) >= 0
            squared[over] = high[over] ** 2
        return np.sqrt(squared)

    def mesh(self) -> trimesh.Trimesh:
        """Return its triangles."""
        return trimesh.Trimesh(self._corners(), self._faces(), process=False)

    def bounds(self) -> Array:
        """Return the box around it."""
        return np.array([self._corners().min(0), self._corners().max(0)])

    def _corners(self) -> Array:
        return np.concatenate([np.asarray(self.root, dtype=float), np.asarray(self.tip, dtype=float)])

    def _faces(self) -> Array:
        """Return triangles with normals outwards."""
        k = len(self.root)
        ring = np.arange(k)
        following = (ring + 1) % k
        sides = np.concatenate([np.c_[ring, following, following + k], np.c_[ring, following + k, ring + k]])
        fan = np.c_[np.zeros(k - 2, int), np.arange(1, k - 1), np.arange(2, k)]
        faces = np.concatenate([sides, fan[:, ::-1], fan + k])
        corners = self._corners()
        volume = np.einsum("ni,ni->", corners[faces[:, 0]], np.cross(corners[faces[:, 1]], corners[faces[:, 2]]))
        return faces if volume > 0 else faces[:, ::-1]

    def _planes(self) -> tuple[Array, Array]:
        a, b, c = np.moveaxis(self._corners()[self._faces()], 1, 0)
        normals = np.cross(b - a, c - a)
        length = np.linalg.norm(normals, axis=1)
        if not length.min() > 1e-12 * length.max():
            raise InvalidInput("The loft has a side without area.")
        normals = normals / length[:, None]
        return normals, (normals * a).sum(1)


def _frame(axis: Sequence[float]) -> tuple[Array, Array, Array]:
    """Return two directions across an axis, and its own."""
    w = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    u = np.cross(w, np.eye(3)[np.abs(w).argmin()])
    u /= np.linalg.norm(u)
    return u, np.cross(w, u), w


def _tube(rings: int) -> Array:
    """Return the faces of a tube: vertex 0 below the first ring, vertex 1 above the last."""
    one = np.arange(SIDES)
    two = (one + 1) % SIDES
    at = lambda k, i: 2 + k * SIDES + i  # noqa: E731
    faces = [np.c_[np.zeros_like(one), at(0, two), at(0, one)]]
    for k in range(rings - 1):
        faces += [np.c_[at(k, one), at(k, two), at(k + 1, two)], np.c_[at(k, one), at(k + 1, two), at(k + 1, one)]]
    return np.concatenate([*faces, np.c_[np.ones_like(one), at(rings - 1, one), at(rings - 1, two)]])


def _to_segment(s: Array, r: Array, a: Array, b: Array) -> Array:
    """Squared distance in the plane to a segment."""
    ds, dr = b - a
    length = ds * ds + dr * dr
    t = np.clip(((s - a[0]) * ds + (r - a[1]) * dr) / length, 0, 1) if length else np.zeros_like(s)
    return (s - a[0] - t * ds) ** 2 + (r - a[1] - t * dr) ** 2


def _to_edge(p: Array, u: Array, v: Array) -> Array:
    t = np.clip((p - u) @ (v - u) / ((v - u) @ (v - u)), 0, 1)
    return ((p - u - t[:, None] * (v - u)) ** 2).sum(1)
