"""Triangle meshes as people have them: reading, checking, taking apart."""

from __future__ import annotations

import io
from pathlib import Path

import igl
import numpy as np
import trimesh
from scipy import ndimage

from wavelab.errors import DataCorrupt, DataUnavailable, InvalidInput

FORMATS = ("obj", "ply", "stl", "off", "glb")
_LARGEST = 1e12  # of a coordinate; beyond it float64 leaves no room for details


def load(path: Path | str) -> trimesh.Trimesh:
    """Read a mesh; the meshes of a scene become one, textures and materials are left alone.

    Args:
        path: a file in one of ``FORMATS``.

    Raises:
        DataUnavailable: there is no such file.
        InvalidInput: another format, or a file without a surface; see :func:`checked`.
        DataCorrupt: the file cannot be read as what its name says.
    """
    path = Path(path)
    if not path.is_file():
        raise DataUnavailable(f"There is no file {path}.")
    return parse(path.read_bytes(), path.suffix.lower().removeprefix("."), path.name)


def parse(content: bytes, kind: str, name: str = "mesh") -> trimesh.Trimesh:
    """Read a mesh from the content of a file; see :func:`load`.

    Args:
        content: what stands in the file.
        kind: one of ``FORMATS``.
        name: of the file, for errors.

    Raises:
        InvalidInput, DataCorrupt: as for :func:`load`.
    """
    if kind not in FORMATS:
        raise InvalidInput(f"{name} is no mesh that is read here; give one of {', '.join(FORMATS)}.")
    try:
        loaded = trimesh.load_scene(io.BytesIO(content), file_type=kind, skip_materials=True, process=False)
        geometry = [g for g in loaded.dump() if isinstance(g, trimesh.Trimesh | trimesh.PointCloud)]
    except Exception as error:  # a broken file may break the reader anywhere
        raise DataCorrupt(f"{name} cannot be read as {kind.upper()}: {type(error).__name__}: {error}") from error
    meshes = [g for g in geometry if isinstance(g, trimesh.Trimesh) and len(g.faces)]
    if not meshes:
        points = sum(len(g.vertices) for g in geometry)
        what = f"a cloud of {points} points and no triangles" if points else "no triangles"
        raise InvalidInput(f"{name} holds {what}; a surface is needed.")
    vertices = [m.vertices for m in meshes]
    starts = np.cumsum([0, *(len(v) for v in vertices[:-1])])
    faces = [m.faces + start for m, start in zip(meshes, starts)]
    return checked(trimesh.Trimesh(np.concatenate(vertices), np.concatenate(faces), process=False), name)


def checked(mesh: trimesh.Trimesh, name: str = "mesh") -> trimesh.Trimesh:
    """Return a mesh with equal vertices merged and without triangles of no area.

    Raises:
        InvalidInput: it is no triangle mesh, is empty, has coordinates that are not finite or too large, faces that
            name no vertex, or no area.
    """
    if not isinstance(mesh, trimesh.Trimesh):
        raise InvalidInput(f"{name} is a {type(mesh).__name__}; expected a triangle mesh.")
    vertices, faces = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    if len(faces) == 0:
        raise InvalidInput(f"{name} has no triangles.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InvalidInput(f"{name} has faces that name vertices which are not there.")
    used = vertices[faces]
    if not np.isfinite(used).all():
        raise InvalidInput(f"{name} has coordinates that are not finite.")
    if np.abs(used).max() > _LARGEST:
        raise InvalidInput(f"{name} has coordinates up to {np.abs(used).max():.3g}; at most {_LARGEST:g} is read.")
    extent = np.ptp(used.reshape(-1, 3), axis=0).max()
    area = np.linalg.norm(np.cross(used[:, 1] - used[:, 0], used[:, 2] - used[:, 0]), axis=1)
    keep = area > 1e-12 * extent**2
    if not keep.any():
        raise InvalidInput(f"{name} has no area: all {len(faces)} triangles are degenerate.")
    whole = trimesh.Trimesh(vertices, faces[keep], process=False)
    whole.remove_unreferenced_vertices()
    whole.merge_vertices(merge_tex=True, merge_norm=True)
    return whole


def components(mesh: trimesh.Trimesh) -> list[trimesh.Trimesh]:
    """Return the parts of a mesh that hang together by common vertices, each with its triangles turned alike."""
    labels = igl.vertex_components(mesh.faces.astype(np.int64))[mesh.faces[:, 0]]
    order = np.argsort(labels, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    parts = []
    for group in groups:
        used, faces = np.unique(mesh.faces[group], return_inverse=True)
        faces = igl.bfs_orient(faces.reshape(-1, 3).astype(np.int64))[0]
        parts.append(trimesh.Trimesh(mesh.vertices[used], faces, process=False))
    return parts


def is_sheet(vertices: np.ndarray, faces: np.ndarray, samples: int = 400) -> bool:
    """Return whether a connected part encloses nothing.

    Close to the surface of a closed part the winding number is 1 on one side, with a few holes still near it. Close to
    a sheet it is about 1/2 on both. A part whose normals hardly cancel is nearly flat, a sheet without further ado.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    if np.linalg.norm(normals.sum(0)) > 0.8 * area.sum():
        return True
    chosen = np.random.default_rng(0).choice(len(faces), samples, p=area / area.sum())
    shift = 1e-4 * np.ptp(vertices, axis=0).max() * normals[chosen] / area[chosen, None]
    middles = corners[chosen].mean(1)
    sides = igl.fast_winding_number(vertices, faces, np.concatenate([middles - shift, middles + shift]))
    return float(np.median(np.abs(sides).reshape(2, -1).max(0))) < 0.75


def is_closed(faces: np.ndarray) -> bool:
    """Return whether every edge is passed as often forwards as backwards; then winding numbers are whole."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    forwards, backwards = (np.sort(e @ [int(faces.max()) + 1, 1]) for e in (ends, ends[:, ::-1]))
    return bool((forwards == backwards).all())


def is_shell(vertices: np.ndarray, faces: np.ndarray, share: float = 0.6, most: int = 60_000) -> bool:
    """Return whether a connected part is wide open, as a basket, a tube or a room without a front wall.

    It is where a ball gets out from the place deepest inside that has ``share`` of the radius that fits there. The way
    out is looked for on a grid whose steps are too short to jump through a wall; where that would take too many points
    the part is as thin as a sheet of paper, and no shell.

    Args:
        vertices: ``(v, 3)``.
        faces: ``(f, 3)``.
        share: of the radius; a smaller one takes smaller holes for openings.
        most: points of the grid.
    """
    if is_closed(faces):
        return False
    low, high = vertices.min(0), vertices.max(0)
    margin = 0.35 * (high - low).min()
    step = max(0.085 * (high - low).min(), float(np.prod(high - low + 2 * margin) / most) ** (1 / 3))
    for _ in range(2):
        axes = [np.arange(a, b + step, step) for a, b in zip(low - margin, high + margin)]
        shape = tuple(len(axis) for axis in axes)
        if np.prod(shape) > 2 * most:
            return False
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        within = ((points > low) & (points < high)).all(1)
        distance = np.sqrt(igl.point_mesh_squared_distance(points, vertices, faces)[0])
        within[within] = np.abs(igl.fast_winding_number(vertices, faces, points[within])) > 0.5
        if not within.any():
            return False
        deepest = np.argmax(np.where(within, distance, 0))
        if step <= 1.5 * share * distance[deepest]:
            break
        step = share * distance[deepest]
    regions = ndimage.label((distance >= share * distance[deepest]).reshape(shape))[0]
    inner = regions == regions.flat[deepest]
    inner[1:-1, 1:-1, 1:-1] = False
    return bool(inner.any())
