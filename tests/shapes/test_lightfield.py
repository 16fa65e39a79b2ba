"""Cameras, silhouettes and descriptors against geometry that is known; distances against their definition."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull

from wavelab.errors import InvalidInput
from wavelab.shapes import lightfield, silhouettes, tsdf
from wavelab.shapes.parametric import KINDS, shape

TEN, ROTATIONS, LINES = silhouettes.dodecahedron()
SMALL = {"fields": 2, "size": 64}


def _surface(kind, seed, size=32):
    return tsdf.surface(shape(kind, seed).grid(size, 4 / (size - 1)))


def _turned(mesh, rotation):
    return trimesh.Trimesh(mesh.vertices @ rotation.T, mesh.faces, process=False)


def _distance(a, b, align=True):
    return lightfield.lightfield_matrix(a[None], b[None], align=align, progress=False)[0, 0]


# --- cameras ---


def test_the_rotations_are_a_group_of_sixty():
    np.testing.assert_allclose(
        ROTATIONS @ ROTATIONS.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (60, 3, 3)), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(ROTATIONS), 1)
    np.testing.assert_allclose(ROTATIONS[0], np.eye(3), atol=1e-12)
    flat = ROTATIONS.reshape(60, 9)
    assert (np.linalg.norm(flat[:, None] - flat, axis=2) + np.eye(60)).min() > 0.5
    products = (ROTATIONS[:, None] @ ROTATIONS).reshape(-1, 1, 9)
    assert np.linalg.norm(products - flat, axis=2).min(1).max() < 1e-12


def test_the_rotations_permute_the_twenty_vertices():
    vertices = np.concatenate([TEN[:, 2], -TEN[:, 2]])
    hull = ConvexHull(vertices)
    assert len(hull.vertices) == 20 and len(np.unique(hull.equations.round(6), axis=0)) == 12
    turned = vertices @ ROTATIONS.transpose(0, 2, 1)
    away = np.linalg.norm(turned[:, :, None] - vertices, axis=3)
    assert away.min(2).max() < 1e-12 and len(np.unique(away.argmin(2), axis=0)) == 60
    np.testing.assert_array_equal(away.argmin(2)[:, :10] % 10, LINES)
    assert len(np.unique(LINES, axis=0)) == 60


def test_cameras_are_orthonormal_and_light_fields_differ():
    np.testing.assert_allclose(TEN @ TEN.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (10, 3, 3)), atol=1e-12)
    turns = silhouettes._turns(10)
    relative = np.einsum("aij,bik,gjk->abg", turns, turns, ROTATIONS).max(2) - 9 * np.eye(10)
    assert np.degrees(np.arccos((relative.max() - 1) / 2)) > 20
    np.testing.assert_array_equal(silhouettes._turns(4), turns[:4])


# --- silhouettes ---


def test_a_ball_looks_like_a_disc_from_everywhere():
    pictures = silhouettes.silhouettes(trimesh.creation.icosphere(subdivisions=4), 2, 96)
    axis = np.arange(96) - 47.5
    radius = np.hypot(*np.meshgrid(axis, axis))
    assert pictures[:, :, radius < 46.5].all() and not pictures[:, :, radius > 48].any()


@pytest.mark.parametrize("stretch", [(1, 1, 1), (0.02, 1, 0.6), (0.1, 0.05, 3)])
def test_pixels_that_a_box_covers_are_marked_and_no_others(stretch):
    box = trimesh.creation.box(stretch)
    corners = (box.vertices / np.linalg.norm(stretch) * 2).T.astype(np.float32)
    views = TEN[:, :2] @ silhouettes._turns(2)[1].T
    pictures = silhouettes._draw(corners, box.faces, views, np.full((10, 2), 0.03), np.full(10, 1.1), 64)
    places = ((np.indices((64, 64)).reshape(2, -1).T + 0.5 - 32) * 1.1 / 31) + 0.03
    for picture, view in zip(pictures.reshape(10, -1), views):
        sides = ConvexHull((view @ corners).T).equations
        beyond = (places @ sides[:, :2].T + sides[:, 2]).max(1) * 31 / 1.1  # of the outline, in pixels
        assert picture[beyond < -1e-3].all() and not picture[beyond > 0.5**0.5 + 1e-3].any()


def test_silhouettes_are_centred_and_fill_the_picture():
    pictures = silhouettes.silhouettes(_surface("chair", 3), 2, 96)
    found = silhouettes.moments(pictures.reshape(-1, 96, 96))
    assert np.abs(found[:, 1:3]).max() < 1
    places = np.indices((96, 96)) - 47.5
    away = np.where(pictures, np.hypot(*places), 0).max((1, 2, 3))
    assert (away > 45.5).all() and (away < 48).all()


def test_a_mesh_and_its_volume_look_alike():
    union = shape("airplane", 1)
    a, b = (silhouettes.silhouettes(m, 1, 64)[0] for m in (union.mesh(), _surface("airplane", 1, 64)))
    overlap = (a & b).sum((1, 2)) / (a | b).sum((1, 2))
    assert overlap.mean() > 0.93 and overlap.min() > 0.85


# --- descriptors of pictures ---


def _blob(size=128, angle=0.0, scale=0.7, shift=(0, 0), lobes=5, depth=0.2, squeeze=1.0):
    """A filled curve r = scale (1 + depth cos(lobes t)), turned; ``squeeze`` makes an ellipse of a disc."""
    axis = (np.arange(size) + 0.5 - size / 2) / (size / 2)
    x, y = np.meshgrid(axis - 2 * shift[0] / size, axis - 2 * shift[1] / size, indexing="ij")
    x, y = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) * squeeze
    t = np.arctan2(y, x)
    return np.hypot(x, y) <= scale * (1 + depth * np.cos(lobes * t) + depth * np.sin(2 * t) / 2)


def test_zernike_functions_are_orthogonal():
    size = 256
    axis = (np.arange(size) + 0.5 - size / 2) / (size / 2)
    x, y = (c.ravel() for c in np.meshgrid(axis, axis, indexing="ij"))
    orders = [(n, m) for n in range(11) for m in range(n % 2, n + 1, 2)]
    basis = np.array([lightfield.zernike(n, m, x, y) * ((n + 1) / np.pi) ** 0.5 for n, m in orders])
    assert len(orders) == 36
    np.testing.assert_allclose((basis @ basis.conj().T) * (2 / size) ** 2, np.eye(36), atol=0.03)


def test_zernike_functions_are_the_textbook_ones():
    x, y = np.array([0.3, -0.5]), np.array([0.4, 0.1])
    rho, turn = np.hypot(x, y), np.exp(1j * np.arctan2(y, x))
    np.testing.assert_allclose(lightfield.zernike(2, 0, x, y), 2 * rho**2 - 1)
    np.testing.assert_allclose(lightfield.zernike(3, 1, x, y), (3 * rho**3 - 2 * rho) * turn)
    np.testing.assert_allclose(lightfield.zernike(4, 2, x, y), (4 * rho**4 - 3 * rho**2) * turn**2)
    assert lightfield.zernike(3, 1, 0.8, 0.7) == 0


def test_zernike_magnitudes_forget_turns_and_mirrors():
    plain, turned = (lightfield.zernike_magnitudes(_blob(angle=a)[None])[0] for a in (0, 0.7))
    mirrored = lightfield.zernike_magnitudes(_blob()[None, ::-1])[0]
    other = lightfield.zernike_magnitudes(_blob(lobes=3)[None])[0]
    assert plain.shape == (35,) and plain.max() > 0.1
    assert np.abs(turned - plain).sum() < 0.04 * np.abs(other - plain).sum()
    np.testing.assert_allclose(mirrored, plain, atol=1e-5)


def test_a_disc_has_only_radial_moments():
    found = lightfield.zernike_magnitudes(_blob(depth=0)[None])[0]
    radial = np.array([m == 0 for n in range(1, 11) for m in range(n % 2, n + 1, 2)])
    assert found[~radial].max() < 0.005 and found[radial].max() > 0.3
    assert found[radial][0] == pytest.approx(1 - 0.7**2, abs=0.01)  # |mean of 2 rho² - 1|


def _harmonics(picture):
    centre = np.argwhere(picture).mean(0)
    return lightfield.outline_harmonics(picture, centre)


def test_outline_harmonics_forget_place_size_and_turn():
    plain = _harmonics(_blob())
    assert plain.argmax() == 4 and plain[4] == pytest.approx(0.1, abs=0.02)  # five lobes of depth 0.2, halved
    for same in (_blob(angle=0.7), _blob(scale=0.5), _blob(shift=(9, -6), scale=0.6), _blob()[:, ::-1]):
        np.testing.assert_allclose(_harmonics(same), plain, atol=0.008)
    assert np.abs(_harmonics(_blob(lobes=3)) - plain).sum() > 0.1
    assert _harmonics(_blob(depth=0)).max() < 0.005


def test_the_outline_is_that_of_the_largest_part_without_holes():
    picture = _blob(depth=0, scale=0.5)
    ring = picture & ~_blob(depth=0, scale=0.4)
    ring[2:5, 2:5] = True
    np.testing.assert_allclose(
        lightfield.outline_harmonics(ring, np.array([63.5, 63.5])), _harmonics(picture), atol=1e-3
    )


@pytest.mark.parametrize("angle", [0.0, 0.5])
def test_eccentricity_and_circularity_of_known_shapes(angle):
    disc, ellipse = _blob(depth=0), _blob(depth=0, squeeze=2.0, angle=angle)
    square = np.pad(np.ones((80, 80), bool), 24)
    found = silhouettes.moments(np.stack([disc, ellipse, square]))
    round_ = lightfield.circularity(np.stack([disc, ellipse, square]), found[:, 0])
    np.testing.assert_allclose(lightfield.eccentricity(found), [0, ((4 - 1) / (4 + 1)) ** 2, 0], atol=0.01)
    h = (1 - 0.5) ** 2 / (1 + 0.5) ** 2
    ellipse_round = 4 * 0.5 / (1.5 * (1 + 3 * h / (10 + (4 - 3 * h) ** 0.5))) ** 2  # by Ramanujan's perimeter
    np.testing.assert_allclose(round_[:2], [1, ellipse_round], atol=0.02)
    assert round_[2] == pytest.approx(np.pi / 4, rel=0.13)  # four directions find the sides of a square 5 % too short
    np.testing.assert_allclose(found[2], [6400, 0, 0, 80**2 / 12, 80**2 / 12, 0], atol=1e-9)


# --- distances ---


def test_place_and_size_do_not_matter():
    mesh = _surface("chair", 3)
    moved = trimesh.Trimesh(40 * mesh.vertices + [3, -700, 9], mesh.faces, process=False)
    a, b = (lightfield.light_field(m, **SMALL) for m in (mesh, moved))
    assert a.shape == (2, 10, 47) and a.dtype == np.float32 and _distance(a, a) == 0
    assert _distance(a, b, align=False) < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_turning_by_one_of_the_sixty_does_not_matter_and_noise_little(kind):
    mesh, rng = _surface(kind, 3), np.random.default_rng(0)
    noisy = trimesh.Trimesh(mesh.vertices + 0.01 * rng.normal(size=mesh.vertices.shape), mesh.faces, process=False)
    plain, shaken, other = (lightfield.light_field(m, **SMALL) for m in (mesh, noisy, _surface(kind, 4)))
    apart = _distance(plain, other)
    assert 0 < _distance(plain, shaken) < 0.4 * apart
    for g in (1, 17, 42):
        turned = lightfield.light_field(_turned(mesh, ROTATIONS[g]), **SMALL)
        assert _distance(plain, turned) < 0.2 * apart
        assert _distance(plain, turned, align=False) > 0.5 * apart


def test_more_light_fields_meet_any_turn_closer():
    mesh, rng = _surface("chair", 3), np.random.default_rng(2)
    away = []
    for _ in range(3):
        q = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        pair = [lightfield.light_field(m, fields=6, size=64) for m in (mesh, _turned(mesh, q * np.linalg.det(q)))]
        away.append([_distance(*(p[:count] for p in pair)) for count in (1, 6)])
    few, many = np.mean(away, axis=0)
    assert many < 0.7 * few


def test_the_matrix_is_its_definition():
    rng = np.random.default_rng(0)
    a, b = (rng.random((count, 2, 10, 47)).astype(np.float32) for count in (3, 4))

    def aligned(x, y):
        return min(np.abs(x[i] - y[j][line]).sum() for i in range(2) for j in range(2) for line in LINES)

    for align, pair in ((True, aligned), (False, lambda x, y: np.abs(x - y).sum((1, 2)).mean())):
        found = lightfield.lightfield_matrix(a, b, align=align, progress=False)
        np.testing.assert_allclose(found, [[pair(x, y) for y in b] for x in a], rtol=1e-4)
        own = lightfield.lightfield_matrix(a, a, align=align, progress=False)
        np.testing.assert_allclose(own, [[pair(x, y) for y in a] for x in a], rtol=1e-4)
        np.testing.assert_array_equal(own, own.T)
    assert (aligned(a[0], b[0]) <= np.abs(a[0] - b[0]).sum((1, 2))).all()


@pytest.mark.parametrize("align", [True, False])
def test_chairs_are_nearest_to_chairs_and_airplanes_to_airplanes(forty, align):
    distances = lightfield.lightfield_matrix(forty, forty, align=align, progress=False) + np.diag([np.inf] * 40)
    right = (distances.argmin(1) < 20) == (np.arange(40) < 20)
    assert right.sum() >= 38  # one stool in twenty may lie nearer to a biplane


@pytest.fixture(scope="module")
def forty():
    volumes = [shape(kind, seed).grid(32, 4 / 31) for kind in KINDS for seed in range(20)]
    return lightfield.light_fields(volumes, fields=1, size=64, workers=1, progress=False)


def test_many_at_once_are_the_same_as_one_by_one(forty):
    one = lightfield.light_field(shape("airplane", 1).grid(32, 4 / 31), fields=1, size=64)
    np.testing.assert_array_equal(forty[21], one)


def test_flat_and_thin_shapes_have_descriptors():
    square = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    needle = trimesh.creation.box((1e-5, 1e-5, 1))
    needle.vertices = needle.vertices @ TEN[0]  # seen end on by the first camera: one pixel
    for thin in (square, needle):
        found = lightfield.light_field(thin, **SMALL)
        assert np.isfinite(found).all() and found.min() >= 0
    assert silhouettes.silhouettes(needle, 1, 64)[0, 0].sum() <= 4


FIELD = np.zeros((1, 2, 10, 47), np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lightfield.light_field(np.ones((8, 8, 8))), "shape has no surface"),
        (lambda: lightfield.light_field(np.ones((8, 8, 9)), name="seat"), "seat.*expected"),
        (lambda: lightfield.light_field(np.full((8, 8, 8), np.nan)), "NaN"),
        (lambda: lightfield.light_field(trimesh.Trimesh()), "no triangles"),
        (lambda: lightfield.light_field(trimesh.creation.box(), fields=0), "fields is 0"),
        (lambda: lightfield.light_field(trimesh.creation.box(), size=8), "size is 8"),
        (lambda: lightfield.light_fields([], progress=False), "no shapes"),
        (lambda: lightfield.light_fields([np.ones((8,) * 3)], workers=1, progress=False), "shape 0"),
        (lambda: lightfield.lightfield_matrix(FIELD, FIELD[:, :1], progress=False), "2 and 1 light fields"),
        (lambda: lightfield.lightfield_matrix(FIELD[0], FIELD, progress=False), "expected"),
        (lambda: lightfield.lightfield_matrix(FIELD[:0], FIELD, progress=False), "expected"),
        (lambda: lightfield.lightfield_matrix(FIELD, FIELD * np.nan, progress=False), "finite"),
    ],
)
def test_what_cannot_be_described_or_compared_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()
