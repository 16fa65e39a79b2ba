"""Pictures of shapes: silhouettes where geometry says, light from above, transparent elsewhere."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from wavelab.errors import InvalidInput
from wavelab.shapes.assembly import Union
from wavelab.shapes.render import gallery, shaded
from wavelab.shapes.solids import Box, Lathe


def _ball(radius=0.6, n=48):
    axis = np.linspace(-1, 1, n)
    return (np.linalg.norm(np.stack(np.meshgrid(axis, axis, axis, indexing="ij")), axis=0) - radius).clip(-0.3, 0.3)


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (35, 22), (200, 80)])
def test_a_ball_is_a_disc_from_everywhere(azimuth, elevation):
    picture = shaded(_ball(), azimuth=azimuth, elevation=elevation, size=100)
    covered = picture[..., 3] == 1
    radius = np.sqrt(covered.sum() / np.pi) * (2 * 0.72 * np.sqrt(3) * 0.99 / 99)
    assert radius == pytest.approx(0.6, rel=0.02)
    rows, columns = np.nonzero(covered)
    assert abs(rows.mean() - 49.5) < 0.6 and abs(columns.mean() - 49.5) < 0.6
    assert picture[~covered].max() == 0
    lines = picture[..., :3].sum(-1)
    assert lines[rows.min() + 12, 50] > 1.5 * lines[rows.max() - 12, 50]  # light comes from above


def test_the_camera_sees_the_side_it_stands_on():
    """From the front a plate in the x-y plane is broad, from the side narrow, from above narrow the other way."""
    plate = Union((Box((0, 0, 0), (0.6, 0.4, 0.05)),)).grid(48, 0.3)
    extents = []
    for azimuth, elevation in ((0, 0), (90, 0), (0, 90)):
        rows, columns = np.nonzero(shaded(plate, azimuth=azimuth, elevation=elevation)[..., 3])
        extents.append((np.ptp(columns), np.ptp(rows)))
    front, side, above = extents
    assert front[0] > front[1] > 3 * side[0] and side[1] == pytest.approx(front[1], abs=2)
    assert above[0] == pytest.approx(front[0], abs=2) and above[1] < front[1] / 3


def test_up_is_up_and_right_is_right():
    pin = Union((Box((0, 0, 0), (0.3, 0.1, 0.3)), Lathe.rod((0.2, 0, 0), (0.2, 0.6, 0), 0.06))).grid(48, 0.3)
    rows, columns = np.nonzero(shaded(pin, azimuth=0, elevation=0)[..., 3])
    tip = columns[rows < rows.min() + 10].mean()
    assert tip > columns.mean() and (rows < 80).sum() < (rows > 80).sum()


def test_a_gallery_has_a_place_for_each_shape():
    figure = gallery([_ball(0.4), _ball(0.7)], ["small", "large"], columns=3, size=40)
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title(loc="center") for axis in shown] == ["small", "large"]
    plt.close(figure)


@pytest.mark.parametrize("values", [np.zeros((4, 4)), np.zeros((4, 4, 5)), np.full((4, 4, 4), np.nan)])
def test_other_arrays_are_refused(values):
    with pytest.raises(InvalidInput, match="expected finite values"):
        shaded(values)


def test_nothing_is_transparent():
    assert shaded(np.ones((8, 8, 8)), size=10).max() == 0
