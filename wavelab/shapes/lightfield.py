r"""How alike two shapes look: a light-field distance, from silhouettes seen from all round.

A light field of a shape is its ten silhouettes from the vertices of a dodecahedron; opposite vertices see mirror images
of each other, so ten of the twenty suffice. Each silhouette becomes 47 numbers that do not change when it is shifted,
turned or mirrored: magnitudes of Zernike moments, Fourier descriptors of the outline, circularity and eccentricity.

The distance is *LFD-like*: it follows Chen et al. (2003) and the weights of their program, but its numbers are not that
program's and may only be compared with each other. The program renders 256 × 256 pixels by OpenGL and takes 10 light
fields; under the name of Zernike moments it computes the 35 coefficients of the angular radial transform of MPEG-7; it
centres a silhouette by its box, joins parts that do not hang together before it follows their outline, counts the
pixels of the edge as its length, and rounds everything to 8 bits, so that its distances are whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import trimesh
from scipy.special import eval_jacobi
from skimage.measure import find_contours
from tqdm.auto import tqdm

from wavelab.errors import InvalidInput
from wavelab.shapes import batch
from wavelab.shapes.silhouettes import dodecahedron, moments, silhouettes
from wavelab.shapes.tsdf import surface

Array = np.ndarray
ORDER = 10  # of the highest Zernike moment: 35 of them without the constant one
HARMONICS = 10  # of the outline
WEIGHTS = np.repeat([1.0, 4.0, 2.0, 1.0], [35, HARMONICS, 1, 1]).astype(np.float32)  # as in the authors' program
_OUTLINE = 256  # places along an outline
_BLOCK = 50  # shapes compared at once: their costs stay in the cache


# --- what a silhouette is like ---


def zernike(n: int, m: int, x: Array, y: Array) -> Array:
    r"""Evaluate a Zernike function on the unit disc; outside it is 0.

    .. math:: V_{nm}=R_{nm}(\rho)e^{im\theta},\quad\int V_{nm}V_{n'm'}^*=\tfrac{\pi}{n+1}\delta_{nn'}\delta_{mm'}

    Args:
        n: order, at least 0.
        m: 0 to n, even or odd as n is.
        x: coordinates of any shape.
        y: as many.

    Source:
        Teague (1980), Image analysis via the general theory of moments.
    """
    square = x**2 + y**2
    k = (n - m) // 2
    return (-1) ** k * eval_jacobi(k, m, 0, 1 - 2 * square) * (x + 1j * y) ** m * (square <= 1)


def zernike_magnitudes(pictures: Array) -> Array:
    r"""Compute magnitudes of the Zernike moments up to order 10, each 0 to 1.

    .. math:: A_{nm}=\frac{1}{|S|}\Bigl|\sum_{(x,y)\in S}V_{nm}(x,y)\Bigr|

    the sum over the pixels of the silhouette in the circle that the picture encloses. The usual factor
    :math:`(n+1)/\pi` is left out, so that all moments have one range.

    Args:
        pictures: bool, ``(k, size, size)``, none empty.

    Returns:
        float32, shape ``(k, 35)``: for n = 1 to 10 those with m = n mod 2, ..., n.
    """
    flat = torch.from_numpy(pictures.reshape(len(pictures), -1)).float()
    real, imaginary = (flat @ _basis(pictures.shape[-1]) / flat.sum(1, keepdim=True)).chunk(2, dim=1)
    return torch.hypot(real, imaginary).numpy()


@lru_cache
def _basis(size: int) -> torch.Tensor:
    """Return real parts, then imaginary parts of the Zernike functions on the pixels, ``(size², 70)``."""
    axis = (np.arange(size) + 0.5 - size / 2) / (size // 2)
    x, y = (c.ravel() for c in np.meshgrid(axis, axis, indexing="ij"))
    basis = np.array([zernike(n, m, x, y) for n in range(1, ORDER + 1) for m in range(n % 2, n + 1, 2)])
    return torch.from_numpy(np.concatenate([basis.real, basis.imag])).float().T.contiguous()


def outline_harmonics(picture: Array, centre: Array) -> Array:
    r"""Compute Fourier descriptors of the distance from the centroid to the outline.

    .. math:: F_k=|\hat r_k|/|\hat r_0|,\quad k=1,\dots,10

    with :math:`r` at 256 places equally far apart along the outline of the largest part; holes are left out.

    Args:
        picture: bool, ``(size, size)``, not empty, its rim empty.
        centre: row and column of the centroid.

    Returns:
        Shape ``(10,)``.
    """
    outlines = find_contours(picture, 0.5, fully_connected="high")
    x, y = max(outlines, key=lambda line: abs(_area(*line.T))).T
    along = np.concatenate([[0], np.hypot(np.diff(x), np.diff(y)).cumsum()])
    places = np.linspace(0, along[-1], _OUTLINE, endpoint=False)
    away = np.interp(places, along, np.hypot(x - centre[0], y - centre[1]))
    spectrum = np.abs(np.fft.rfft(away))
    return spectrum[1 : HARMONICS + 1] / spectrum[0]


def _area(x: Array, y: Array) -> float:
    return float(x[:-1] @ y[1:] - x[1:] @ y[:-1]) / 2


def eccentricity(found: Array) -> Array:
    r"""Compute :math:`((\mu_{xx}-\mu_{yy})^2+4\mu_{xy}^2)/(\mu_{xx}+\mu_{yy})^2`: 0 for a disc, 1 for a line.

    Args:
        found: what :func:`wavelab.shapes.silhouettes.moments` returns.
    """
    xx, yy, xy = found.T[3:]
    return ((xx - yy) ** 2 + 4 * xy**2) / (xx + yy) ** 2


def circularity(pictures: Array, area: Array) -> Array:
    r"""Compute :math:`4\pi A/P^2`, 1 for a disc; the perimeter is Crofton's in four directions, within about 6 %."""
    p = np.pad(pictures, ((0, 0), (1, 1), (1, 1)))
    straight = [p[:, 1:] != p[:, :-1], p[:, :, 1:] != p[:, :, :-1]]
    slanted = [p[:, 1:, 1:] != p[:, :-1, :-1], p[:, 1:, :-1] != p[:, :-1, 1:]]
    crossings = sum(c.sum((1, 2)) for c in straight) + sum(c.sum((1, 2)) for c in slanted) / 2**0.5
    return np.minimum(4 * np.pi * area / (np.pi / 8 * crossings) ** 2, 1.0)


# --- descriptors and their distance ---


def light_field(shape: Array | trimesh.Trimesh, *, fields: int = 10, size: int = 128, name: str = "shape") -> Array:
    """Describe how a shape looks from all round, for :func:`lightfield_matrix`.

    Place and size of the shape do not matter, see :func:`wavelab.shapes.silhouettes.silhouettes`. Its orientation does,
    unless the distance aligns. A volume is faster than a mesh of large or thin triangles.

    Args:
        shape: a mesh, or a signed distance ``(n, n, n)``, negative inside, whose surface is taken.
        fields: number of light fields; fewer save time and tell shapes that are turned differently less well apart.
        size: side of a silhouette in pixels.
        name: of the shape, for errors.

    Returns:
        float32, shape ``(fields, 10, 47)``: per view 35 Zernike magnitudes, 10 Fourier descriptors, circularity and
        eccentricity, times ``WEIGHTS``.

    Raises:
        InvalidInput: a mesh or a volume without a surface, or an option out of range.

    Source:
        Chen, Tian, Shen & Ouhyoung (2003), On visual similarity based 3D model retrieval. What differs from their
        program stands at the head of this module.
    """
    mesh = shape if isinstance(shape, trimesh.Trimesh) else surface(shape, name)
    pictures = silhouettes(mesh, fields, size, name).reshape(-1, size, size)
    found = moments(pictures)
    outlines = [outline_harmonics(p, c + (size - 1) / 2) for p, c in zip(pictures, found[:, 1:3])]
    rest = np.stack([circularity(pictures, found[:, 0]), eccentricity(found)], 1)
    numbers = np.concatenate([zernike_magnitudes(pictures), outlines, rest], 1) * WEIGHTS
    return numbers.reshape(fields, 10, -1).astype(np.float32)


def light_fields(
    shapes: Sequence[Array | trimesh.Trimesh],
    *,
    fields: int = 10,
    size: int = 128,
    workers: int = -1,
    progress: bool = True,
) -> Array:
    """Describe many shapes in parallel processes; see :func:`light_field`.

    Args:
        shapes: at least one.
        fields: number of light fields.
        size: side of a silhouette in pixels.
        workers: processes; -1 for one each core.
        progress: whether to draw a bar.

    Returns:
        float32, shape ``(shapes, fields, 10, 47)``.

    Raises:
        InvalidInput: no shapes, or one that cannot be described; the message gives its number.
    """
    if len(shapes) == 0:
        raise InvalidInput("There are no shapes to describe; give at least one.")
    jobs = [(shape, fields, size, f"shape {k}") for k, shape in enumerate(shapes)]
    return np.stack(batch.mapped(_one_field, jobs, workers=workers, progress=progress))


def _one_field(shape: Array | trimesh.Trimesh, fields: int, size: int, name: str) -> Array:
    return light_field(shape, fields=fields, size=size, name=name)


def lightfield_matrix(a: Array, b: Array, *, align: bool = True, progress: bool = True) -> Array:
    r"""Compute the LFD-like distance of every shape of ``a`` to every shape of ``b``.

    .. math:: d(A,B)=\min_{i,j,g}\sum_{p=1}^{10}\bigl\|a_{i,p}-b_{j,g(p)}\bigr\|_1

    over pairs of light fields i and j and the 60 rotations g of the dodecahedron, which permute its views. Without
    alignment it is the mean over the light fields of :math:`\sum_p\|a_{i,p}-b_{i,p}\|_1`, never smaller: right for
    shapes that all stand upright and face one way, where the free one may lay a chair on its back to compare it.

    Args:
        a: descriptors ``(A, fields, 10, 47)``, see :func:`light_field`.
        b: descriptors ``(B, fields, 10, 47)``; the same array as ``a`` saves half of the work.
        align: whether to seek the best rotation.
        progress: whether to draw a bar.

    Returns:
        float64, shape ``(A, B)``.

    Raises:
        InvalidInput: descriptors of different numbers of light fields, none, or values that are not finite.
    """
    one, other = _described(a), _described(b)
    if one.shape[1] != other.shape[1]:
        raise InvalidInput(f"The shapes have {one.shape[1]} and {other.shape[1]} light fields; give both as many.")
    distances, rows = _aligned if align else _unaligned, []
    for k, shape in enumerate(tqdm(one, disable=not progress, unit="shape")):
        blocks = (other[k + 1 :] if a is b else other).split(_BLOCK)
        rows.append(torch.cat([distances(shape, block) for block in blocks]).double().numpy())
    if a is not b:
        return np.array(rows)
    upper = np.array([np.pad(row, (len(one) - len(row), 0)) for row in rows])
    return upper + upper.T


def _aligned(shape: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the smallest distance over all alignments to each of ``others``, ``(n,)``."""
    count, fields = others.shape[:2]
    cost = torch.cdist(shape.flatten(0, 1), others.flatten(0, 2), p=1).view(fields, 10, count, fields, 10)
    pairs = cost.permute(2, 0, 3, 1, 4).reshape(count, fields**2, 100)
    return (pairs @ _alignments()).amin((1, 2))


def _unaligned(shape: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Return the distance of equal views, averaged over light fields, to each of ``others``, ``(n,)``."""
    return (shape - others).abs().sum((2, 3)).mean(1)


@lru_cache
def _alignments() -> torch.Tensor:
    """Return which of the 10 × 10 pairs of views each rotation compares, as zeros and ones ``(100, 60)``."""
    lines = torch.from_numpy(dodecahedron()[2])
    return torch.nn.functional.one_hot(lines, 10).float().flatten(1).T.contiguous()


def _described(fields: Array) -> torch.Tensor:
    fields = np.asarray(fields, dtype=np.float32)
    if fields.ndim != 4 or fields.shape[2:] != (10, len(WEIGHTS)) or 0 in fields.shape:
        raise InvalidInput(f"The descriptors have the shape {fields.shape}; expected (shapes, fields, 10, 47).")
    if not np.isfinite(fields).all():
        raise InvalidInput("A descriptor holds values that are not finite.")
    return torch.from_numpy(fields)
