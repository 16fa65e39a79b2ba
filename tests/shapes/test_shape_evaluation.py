"""The evaluation of Part 5: sanity rows come out as they must, empty shapes are counted and replaced."""

import numpy as np
import pytest
import torch

from wavelab.errors import InvalidInput, UnknownName
from wavelab.shapes import evaluation
from wavelab.shapes.evaluation import Evaluation, described, nearest, points_on


@pytest.fixture(scope="module")
def judged(study):
    return Evaluation(study, count=12, assigned=(4, 32))


def made(study, count):
    """Shapes that a method could have made: training shapes."""
    return study.pyramid().join(*study.volumes(count=count))


def test_held_out_shapes_meet_themselves(judged):
    scores = judged.compared(judged.held_out)
    assert scores["MMD, CD"].value == 0 and scores["MMD, EMD"].value == 0
    assert scores["COV, CD"].value == 1 and scores["1-NNA, CD"].value == 0  # the twin is always nearest


def test_sanity_rows(judged):
    rows = {name: judged.scores(name) for name in evaluation.SANITY}
    assert rows["jittered"]["COV, CD"].value == 1
    assert rows["ten repeated"]["MMD, CD"].value > rows["training shapes"]["MMD, CD"].value
    assert rows["ten repeated"]["COV, CD"].value <= 10 / 12
    for row in rows.values():
        assert len(row) == 6 and all(value.low <= value.value <= value.high for value in row.values())


def test_a_method_is_generated_once_and_empty_shapes_count(judged, study, monkeypatch):
    calls = []

    def generate(method, count, stream, progress):
        calls.append(stream)
        shapes = made(study, count)
        shapes[0] = 1.0  # nothing at all
        return shapes

    monkeypatch.setattr(study, "generate", generate)
    scores, cost = judged.scores("ours", 3), judged.cost("ours", 3)
    assert calls == [3] and cost[1] == 1 and cost[0] > 0
    assert scores["MMD, CD"].value > 0 and scores["COV, CD"].value <= 1
    surfaces = judged.surfaces("ours", 3)
    assert surfaces["closed"].value == 1 and surfaces["components"].value >= 1
    assert len(calls) == 1


def test_a_method_that_makes_nothing_is_told_apart(judged, study, monkeypatch):
    monkeypatch.setattr(study, "generate", lambda method, count, *rest, **more: torch.ones(count, 1, 16, 16, 16))
    assert judged.scores("haar")["1-NNA, CD"].value == 1
    assert judged.surfaces("haar") == {} and judged.cost("haar")[1] == 12


def test_points_have_no_surface_to_judge(judged):
    assert judged.surfaces("Point-Diff") == {} and judged.cost("Point-Diff")[1] == 0


def test_training_shapes_are_nearest_to_themselves(study):
    found = nearest(made(study, 4), study)
    for _, numbers in found.values():
        np.testing.assert_array_equal(numbers, np.arange(4))
    assert found["LFD"][0].max() < 1e-3  # they are the same volumes
    assert 0 < found["CD"][0].max() < 0.04  # other points of the surface, and no finest detail


def test_no_surface_is_told(study):
    shapes = made(study, 2)
    shapes[1] = 1.0
    first, second = described(shapes, 16)
    assert first[0].shape == (16, 3) and second is None


def test_an_unknown_method_is_named(judged):
    with pytest.raises(UnknownName, match="jittered"):
        judged.scores("shaken")


def test_points_of_every_shape_and_the_centre_where_there_is_none(study):
    shapes = made(study, 3)
    shapes[1] = 1.0
    points = points_on(shapes, 50, progress=False)
    assert points.shape == (3, 50, 3) and not points[1].any() and points[0].any() and points[2].any()
    assert np.array_equal(points_on(torch.from_numpy(points), 20), points[:, :20])


@pytest.mark.parametrize("shape", [(2, 10, 3), (2, 60, 2), (2, 8, 8, 8)])
def test_points_on_something_else_are_refused(shape):
    with pytest.raises(InvalidInput, match="give TSDFs"):
        points_on(torch.zeros(shape), 50)
