"""Crops and the way back: exact inside, smooth beside it, eyeballs that stay balls."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError, TopologyError
from meshdisent.mesh.cropping import crop
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def ball(shapes):
    vertices, faces = shapes.sphere(3)
    return Topology(80 * vertices, faces, {"cap": np.flatnonzero(vertices[:, 2] > 0.8), "far": np.array([0])})


@pytest.fixture(scope="module")
def front(ball):
    return crop(ball, np.flatnonzero(ball.template[:, 2] > 0))


def test_index_maps_lead_both_ways(ball, front):
    assert np.array_equal(front.places[front.rows], np.arange(len(front.rows)))
    outside = np.setdiff1d(np.arange(ball.vertex_count), front.rows)
    assert (front.places[outside] == -1).all()
    assert np.array_equal(front.rows[front.part.faces], ball.faces[(front.places[ball.faces] >= 0).all(axis=1)])
    scans = np.random.default_rng(0).normal(size=(2, *ball.template.shape))
    assert np.array_equal(front.take(scans), scans[:, front.rows])
    assert np.array_equal(front.rows[front.part.regions["cap"]], ball.regions["cap"])
    assert ("far" in front.part.regions) == (ball.template[0, 2] > 0)


def test_a_part_that_only_moved_takes_the_whole_with_it(ball, front):
    turn = Rotation.from_euler("xyz", [20, -30, 10], degrees=True).as_matrix()
    moved = 1.1 * ball.template @ turn + [30.0, -5, 400]
    assert front.put_back(moved[front.rows]) == pytest.approx(moved, abs=1e-6)


def test_inside_it_is_the_result_and_beside_it_nothing_tears(ball, front):
    bump = np.exp(-((ball.template[front.rows] - [0, -80, 0]) ** 2).sum(axis=1) / 30**2)  # most at the border
    part = front.part.template + 10 * bump[:, None] * [0.0, -1, 0]
    whole = front.put_back(part)
    assert np.array_equal(whole[front.rows], part)
    edges = ball.edges
    before = np.linalg.norm(np.diff(ball.template[edges], axis=1)[:, 0], axis=1)
    after = np.linalg.norm(np.diff(whole[edges], axis=1)[:, 0], axis=1)
    inside = (front.places[edges] >= 0).all(axis=1)
    assert (after / before)[~inside].max() < 1.05 * (after / before)[inside].max()
    assert (after / before).min() > 0.7


def test_the_farther_away_the_less_it_moves(ball, front):
    part = front.part.template.copy()
    part[front.part.is_border] += np.array([0.0, 0.0, -6.0])
    free = crop(ball, front.rows)
    for fade in (20.0, 60.0):
        whole = free.put_back(part, fade_mm=fade)
        back = np.argmin(ball.template[:, 2])
        aligned = free.put_back(part, fade_mm=1e-3)  # nothing but the similarity
        distance = 80 * np.sqrt(2)  # from the back of the ball to its equator
        moved = np.linalg.norm(whole[back] - aligned[back])
        assert (moved < 1e-9) == (fade < distance)


def test_a_loose_ball_behind_the_part_stays_a_ball(shapes, ball, front):
    small, faces = shapes.sphere(1)
    eye = 12 * small + [20.0, 20, 50]
    head = Topology(np.concatenate([ball.template, eye]), np.concatenate([ball.faces, faces + ball.vertex_count]))
    face = crop(head, front.rows)
    part = face.part.template * [1.0, 1.0, 1.0] + 8 * np.sin(face.part.template / 25)
    found = face.put_back(part)[ball.vertex_count :]
    radius = np.linalg.norm(found - found.mean(axis=0), axis=1)
    assert np.ptp(radius) < 1e-6
    assert 9 < radius[0] < 16
    assert np.linalg.norm(found.mean(axis=0) - eye.mean(axis=0)) > 1  # and comes along


def test_it_goes_onto_another_head_than_the_template(ball, front):
    other = ball.template * [1.0, 1.2, 1.0]
    assert front.put_back(other[front.rows], other) == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda c: c.put_back(np.zeros((3, 3))), TopologyError, r"The part has the shape \(3, 3\); wanted \("),
        (lambda c: c.put_back(c.part.template, np.zeros((3, 3))), TopologyError, r"The whole has the shape \(3, 3\)"),
        (lambda c: c.put_back(c.part.template, fade_mm=0.0), DataError, "fade over 0 mm; wanted more than 0"),
        (lambda c: crop(c.full, np.array([9999])), TopologyError, "wanted numbers from 0 to 641"),
        (lambda c: crop(c.full, np.array([0, 1])), TopologyError, "No face has all of its corners in the region of 2"),
    ],
)
def test_what_cannot_be_meant_is_refused(front, call, kind, message):
    with pytest.raises(kind, match=message):
        call(front)
