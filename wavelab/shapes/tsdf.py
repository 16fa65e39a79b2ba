r"""Truncated signed distance: from any triangle mesh to a regular grid, and back by marching cubes.

The signed distance :math:`d(p)` is negative inside. A TSDF is :math:`\min(\max(d,-t),t)` on a grid of :math:`n^3`
points over the cube :math:`[-1,1]^3`, in which the shape touches the smaller cube :math:`[-0.9,0.9]^3`. Chapter "Shapes
as wavelet coefficients" uses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
import trimesh
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

from wavelab.errors import InvalidInput
from wavelab.shapes.meshes import checked, components, is_closed, is_sheet, is_shell

Array = np.ndarray
FILL = 0.9  # half side of the cube that a shape touches
VOXELS = 6.0  # truncation, in distances of grid points
_PLATE = 0.75  # half thickness of what would be too thin for the grid, in distances of grid points
_PROBES = 4  # places at which the thickness is looked for
_BLOCK = 4  # grid points along a block that is skipped or computed as a whole


@dataclass(frozen=True)
class TSDF:
    """A truncated signed distance and where it lies.

    Attributes:
        values: ``(n, n, n)`` along x, y and z, float32, in units of the cube, within ±``reach``.
        reach: the truncation :math:`t`.
        centre: of the shape's box, in the units of its mesh.
        scale: from the units of the mesh to those of the cube.
    """

    values: Array
    reach: float
    centre: Array
    scale: float

    def mesh(self) -> trimesh.Trimesh:
        """Return the surface in the units of the mesh that it came from; see :func:`surface`."""
        found = surface(self.values)
        found.vertices = found.vertices / self.scale + self.centre
        return found


def from_mesh(
    mesh: trimesh.Trimesh,
    size: int = 64,
    reach: float | None = None,
    *,
    fill: float = FILL,
    sheets: str = "thicken",
    thin: str = "thicken",
    name: str = "mesh",
) -> TSDF:
    r"""Return the TSDF of a mesh, also where its parts overlap, have holes or face inwards.

    Each connected part has a distance of its own, and its inside is where the winding number exceeds 1/2 in absolute
    value; the shape is the union of its parts, so its distance is their minimum. Holes are closed. Sheets, which
    enclose nothing, and shells that are wide open, as a basket is, become plates, one and a half grid distances thick;
    so do the places of other parts that are thinner, since the grid would lose them.

    Args:
        mesh: triangles in any units.
        size: grid points a side.
        reach: truncation in units of the cube; left out, ``VOXELS`` grid distances.
        fill: half side of the cube that the shape is scaled to.
        sheets: ``"thicken"``, or ``"refuse"`` to raise an error instead.
        thin: ``"thicken"``, or ``"keep"`` for the exact distance of thin places.
        name: of the mesh, for errors.

    Raises:
        InvalidInput: a mesh without a surface, see :func:`wavelab.shapes.meshes.checked`; sheets where they are
            refused; a size or a truncation out of range.

    Source:
        Barill et al. (2018), Fast winding numbers for soups and clouds; libigl.
    """
    step, reach = _grid(size, reach)
    if sheets not in ("thicken", "refuse"):
        raise InvalidInput(f"sheets is {sheets!r}; give 'thicken' or 'refuse'.")
    if thin not in ("thicken", "keep"):
        raise InvalidInput(f"thin is {thin!r}; give 'thicken' or 'keep'.")
    mesh = checked(mesh, name)
    low, high = mesh.bounds
    centre, scale = (low + high) / 2, float(2 * fill / (high - low).max())
    parts = [((part.vertices - centre) * scale, part.faces.astype(np.int64)) for part in components(mesh)]
    leaves = [thin == sheets == "thicken" and _is_leaf(*part, step) for part in parts]
    open_parts = [leaf or is_sheet(*part) or is_shell(*part) for leaf, part in zip(leaves, parts)]
    if sheets == "refuse" and any(open_parts):
        raise InvalidInput(f"{name}: {sum(open_parts)} of {len(parts)} parts enclose nothing; they are open sheets.")
    values = np.full((size,) * 3, reach, dtype=np.float32)
    solids, flat = ([part for part, sheet in zip(parts, open_parts) if sheet is wanted] for wanted in (False, True))
    for part in solids:
        _add(values, *part, reach, False, thin == "thicken")
    if flat:  # thousands of leaves are one surface to the unsigned distance
        _add(values, *_joined(flat), reach, True)
    return TSDF(values, float(reach), centre, scale)


def _grid(size: int, reach: float | None) -> tuple[float, float]:
    """Check the size of a grid and a truncation; return the distance of grid points, and the truncation."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 8:
        raise InvalidInput(f"size is {size!r}; give a whole number of at least 8.")
    step = 2 / (size - 1)
    reach = VOXELS * step if reach is None else reach
    if not step <= reach <= 2:
        raise InvalidInput(f"reach is {reach!r}; give at least a grid distance, {step:.4g}, and at most 2.")
    return step, reach


def _is_leaf(vertices: Array, faces: Array, step: float) -> bool:
    """Return whether a part is small and so thin that closed or not makes no difference; a tree has thousands."""
    if np.ptp(vertices, axis=0).max() > 6 * step:
        return False
    corners = (vertices - vertices.mean(0))[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume, area = np.abs((corners[:, 0] * normals).sum()) / 6, np.linalg.norm(normals, axis=1).sum() / 2
    return bool(2 * volume < 0.5 * step * area)


def _joined(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return vertices and faces of many parts as those of one."""
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts[:-1])])
    faces = [faces + start for (_, faces), start in zip(parts, starts)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)


def _add(values: Array, vertices: Array, faces: Array, reach: float, sheet: bool, thicken: bool = True) -> None:
    """Put the distance of one part into a volume; sheets, and thin places too, become plates."""
    axis = np.linspace(-1, 1, len(values))
    plate = _PLATE * (axis[1] - axis[0])
    box = tuple(
        slice(*np.searchsorted(axis, [vertices[:, k].min() - reach - plate, vertices[:, k].max() + reach + plate]))
        for k in range(3)
    )
    axes = [axis[s] for s in box]
    shape = tuple(len(a) for a in axes)
    if 0 in shape:
        return
    near = _near(axes, vertices, faces, reach + plate)
    points = np.stack([a[i] for a, i in zip(axes, np.nonzero(near))], 1)
    distance = np.full(shape, reach + plate)
    squared, _, feet = igl.point_mesh_squared_distance(points, vertices, faces)
    distance[near] = np.sqrt(squared)
    if sheet:
        distance -= plate
    else:
        doubtful = distance < 0.51 * (axis[1] - axis[0]) if is_closed(faces) else _within(axes, vertices)
        distance = np.where(_inside(doubtful, axes, vertices, faces), -distance, distance)
        if thicken:
            distance[near] = _thickened(distance[near], points, feet, vertices, faces, plate)
    values[box] = np.minimum(values[box], distance.clip(-reach, reach))


def _thickened(distance: Array, points: Array, feet: Array, vertices: Array, faces: Array, half: float) -> Array:
    """Return the distance of a part of which all that is thinner than twice ``half`` has grown to that thickness.

    From the foot of each point near the surface a few steps go straight inwards; where one of them comes out, the part
    is thin. There the surface moves outwards by half of what is missing.
    """
    near = (np.abs(distance) > 0.01 * half) & (np.abs(distance) < 1.4 * half)
    inwards = (feet[near] - points[near]) / distance[near, None]
    steps = 2 * half * np.arange(1, _PROBES + 1) / _PROBES
    probes = (feet[near, None] + steps[:, None] * inwards[:, None]).reshape(-1, 3)
    inside = np.abs(igl.fast_winding_number(vertices, faces, probes)) > 0.3  # 1/2 on the surface: when in doubt, thick
    thickness = 2 * half * np.cumprod(inside.reshape(-1, _PROBES), 1).mean(1)
    thin = thickness < 2 * half
    if not thin.any():
        return distance
    away, place = cKDTree(feet[near][thin]).query(points)
    return np.minimum(distance, away - (half - thickness[thin] / 2)[place])


def _near(axes: list[Array], vertices: Array, faces: Array, reach: float) -> Array:
    """Return where points may be nearer than ``reach``: blocks whose middle is not too far, shape of the grid."""
    middles = [_middles(a) for a in axes]
    points = np.stack(np.meshgrid(*(m for m, _ in middles), indexing="ij"), -1).reshape(-1, 3)
    half = np.linalg.norm([h for _, h in middles])
    close = igl.point_mesh_squared_distance(points, vertices, faces)[0] <= (reach + half) ** 2
    close = close.reshape([len(m) for m, _ in middles])
    for k, a in enumerate(axes):
        close = close.repeat(_BLOCK, k).take(range(len(a)), k)
    return close


def _middles(a: Array) -> tuple[Array, float]:
    """Return the middle of each run of ``_BLOCK`` places, and half the length of the longest run."""
    starts = np.arange(0, len(a), _BLOCK)
    ends = np.minimum(starts + _BLOCK - 1, len(a) - 1)
    return (a[starts] + a[ends]) / 2, float((a[ends] - a[starts]).max() / 2)


def _within(axes: list[Array], vertices: Array) -> Array:
    """Return which grid points lie in the box of some vertices."""
    x, y, z = ((a > low) & (a < high) for a, low, high in zip(axes, vertices.min(0), vertices.max(0)))
    return x[:, None, None] & y[:, None] & z


def _inside(doubtful: Array, axes: list[Array], vertices: Array, faces: Array) -> Array:
    """Return where the winding number exceeds 1/2, asked at every doubtful point and once in each region of the others.

    Between two neighbours of the grid that are both further than half their distance from the surface there is none.
    So with a closed part only what is nearer is in doubt; through a hole, the inside has an end without a surface.
    """
    band, (regions, count) = doubtful, ndimage.label(~doubtful)
    first = np.unique(regions, return_index=True)[1][-count:] if count else np.empty(0, int)
    where = np.concatenate([np.flatnonzero(band), first])
    points = np.stack([a[i] for a, i in zip(axes, np.unravel_index(where, regions.shape))], 1)
    found = np.abs(igl.fast_winding_number(vertices, faces, points)) > 0.5
    inside = np.zeros(regions.shape, dtype=bool)
    inside[band] = found[: band.sum()]
    answers = np.concatenate([[False], found[band.sum() :]])
    return np.where(band, inside, answers[regions])


def from_mask(
    mask: Array, spacing: tuple[float, float, float], size: int = 64, reach: float | None = None, *,
    fill: float = FILL, name: str = "mask",
) -> TSDF:  # fmt: skip
    """Return the TSDF of a labelled organ, straight from its voxels.

    The distance is that to the middle between voxels inside and voxels outside, in mm, interpolated to the grid: from a
    voxel to the nearest of the other kind, less half a voxel's width on that way.

    Args:
        mask: where the organ is, ``(a, b, c)``.
        spacing: mm between voxels along the three axes.
        size: grid points a side.
        reach: truncation in units of the cube; left out, ``VOXELS`` grid distances.
        fill: half side of the cube that the organ's box is scaled to.
        name: of the organ, for errors.

    Returns:
        A TSDF whose axes are those of the mask, and whose mesh is in mm.

    Raises:
        InvalidInput: an empty mask, one that is not of three axes, a spacing that is not positive, or a size or a
            truncation out of range.
    """
    mask, spacing_ = np.asarray(mask, dtype=bool), np.asarray(spacing, dtype=float)
    if mask.ndim != 3 or spacing_.shape != (3,) or not (spacing_ > 0).all():
        raise InvalidInput(f"{name} has the shape {mask.shape} and the spacing {spacing}; expected three axes of each.")
    if not mask.any():
        raise InvalidInput(f"{name} is empty: no voxel is marked.")
    reach = _grid(size, reach)[1]
    inner = ndimage.find_objects(mask.astype(np.uint8))[0]
    corners = np.array([[s.start - 0.5, s.stop - 0.5] for s in inner]) * spacing_[:, None]
    centre, scale = corners.mean(1), float(2 * fill / np.ptp(corners, axis=1).max())
    margin = np.ceil(reach / scale / spacing_).astype(int) + 2
    start = [s.start - m for s, m in zip(inner, margin)]
    stop = [s.stop + m for s, m in zip(inner, margin)]
    whole = [slice(max(0, a), b) for a, b in zip(start, stop)]
    missing = [(max(0, -a), max(0, b - n)) for a, b, n in zip(start, stop, mask.shape)]
    near = np.pad(mask[tuple(whole)], missing)
    distance = np.where(near, -_to_border(near, spacing_), _to_border(~near, spacing_))
    axis = np.linspace(-1, 1, size) / scale
    places = np.stack(np.meshgrid(*(axis + c for c in centre), indexing="ij")) / spacing_[:, None, None, None]
    offset = np.array(start)[:, None, None, None]
    values = ndimage.map_coordinates(distance, places - offset, order=1, mode="nearest") * scale
    return TSDF(values.clip(-reach, reach).astype(np.float32), float(reach), centre, scale)


def _to_border(mask: Array, spacing: Array) -> Array:
    """Distance of each marked voxel to the middle of the last step to the nearest one that is not marked, in mm."""
    distance, nearest = ndimage.distance_transform_edt(mask, spacing, return_indices=True)
    way = (nearest - np.indices(mask.shape)) * spacing[:, None, None, None] / np.maximum(distance, 1e-9)
    return distance - 0.5 * np.linalg.norm(way * spacing[:, None, None, None], axis=0)


def surface(values: Array, name: str = "volume") -> trimesh.Trimesh:
    """Return where a volume over the cube is zero, by marching cubes; normals face outwards.

    Args:
        values: ``(n, n, n)``, negative inside.
        name: of the volume, for errors.

    Raises:
        InvalidInput: a volume that is not cubic, not finite, or nowhere changes its sign.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 3 or len(set(values.shape)) != 1 or len(values) < 2:
        raise InvalidInput(f"{name} has the shape {values.shape}; expected (n, n, n).")
    if not np.isfinite(values).all():
        raise InvalidInput(f"{name} holds NaN or infinite values.")
    if not values.min() < 0 < values.max():
        run = f"{values.min():.4g} to {values.max():.4g}"
        raise InvalidInput(f"{name} has no surface: its values run from {run} and do not change sign.")
    closed = np.pad(values, 1, constant_values=float(values.max()))  # a shape that leaves the cube is cut, not open
    vertices, faces, _, _ = marching_cubes(closed, 0.0, gradient_direction="descent")
    step = 2 / (len(values) - 1)
    return trimesh.Trimesh((vertices - 1) * step - 1, faces, process=False)


def occupancy_iou(a: Array, b: Array) -> float:
    r"""Return the volumetric overlap :math:`|A\cap B|/|A\cup B|` of two signed distances of one shape on one grid."""
    a, b = np.asarray(a) < 0, np.asarray(b) < 0
    return float((a & b).sum() / max(1, (a | b).sum()))
