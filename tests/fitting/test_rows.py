"""Rows of evidence: slopes against differences, for planes, points and pixels."""

import numpy as np
import pytest

from meshdisent.fitting.code_space import CodeSpace
from meshdisent.fitting.gauss_newton import State, descend, moved, normal_equations
from meshdisent.fitting.landmarks import PictureFitter, PictureLandmarks
from meshdisent.fitting.rows import motion_of, point_rows, stacked
from meshdisent.mesh.alignment import Similarity
from meshdisent.render.camera import Camera

ROWS = np.array([3, 50, 111, 200, 333, 420])


@pytest.fixture
def space(linear):
    return CodeSpace(linear)


def differences(space, state, measure, center, with_scale):
    count = space.size + (7 if with_scale else 6)
    found = []
    for step in 1e-4 * np.eye(count):
        ends = [measure(moved(space, state, sign * step, center)).residual for sign in (1, -1)]
        found.append((ends[0] - ends[1]) / 2e-4)
    return np.stack(found, axis=1)


def test_slopes_of_points_are_those_of_differences(space, motion):
    state = State(0.3 * np.ones(space.size), motion, space.face(0.3 * np.ones(space.size)))
    wanted = motion.apply(state.vertices[ROWS]) + 3.0

    def measure(at):
        return point_rows(at.vertices, ROWS, at.motion.inverse().apply(wanted), 2.0)

    center = state.vertices[ROWS].mean(axis=0)
    expected = differences(space, state, measure, center, True)
    found = measure(state).slopes(state.vertices, space.jacobian(state.numbers), center, True)
    # A landmark turns about the center as a vertex does, but for the few mm that it lies off.
    assert np.abs(found[:, : space.size] - expected[:, : space.size]).max() < 0.2
    assert np.abs(found[:, space.size :] - expected[:, space.size :]).max() < 6.0
    assert np.abs(expected[:, space.size :]).max() > 60.0


def test_slopes_of_pixels_are_those_of_differences(linear, space):
    camera = Camera(height=400, width=400, focal=1200.0, center_u=199.5, center_v=199.5)
    pixels = np.linspace(100, 300, 12).reshape(6, 2)
    fitter = PictureFitter(linear, PictureLandmarks(ROWS, pixels), camera)
    placed = Similarity(1.0, np.diag([1.0, -1.0, -1.0]), np.array([5.0, -7.0, 900.0]))
    state = State(np.zeros(space.size), placed, space.face(np.zeros(space.size)))
    center = state.vertices[ROWS].mean(axis=0)
    expected = differences(space, state, lambda at: fitter._rows(at, 1.0), center, False)
    found = fitter._rows(state, 1.0).slopes(state.vertices, space.jacobian(state.numbers), center, False)
    np.testing.assert_allclose(found, expected, atol=0.25)
    assert np.abs(expected).max() > 50


def test_a_motion_turns_about_its_center_and_then_shifts():
    center = np.array([10.0, 20.0, 30.0])
    step = np.array([0.0, 0.0, np.pi / 2, 1.0, 2.0, 3.0])
    motion = motion_of(step, center)
    np.testing.assert_allclose(motion.apply(center), center + np.array([1, 2, 3]), atol=1e-12)
    np.testing.assert_allclose(motion.apply(center + np.array([1.0, 0, 0])), center + np.array([1, 3, 3]), atol=1e-12)
    assert motion_of(np.append(step, 0.05), center).scale == pytest.approx(np.exp(0.05))


def test_evidence_is_stacked_and_what_is_not_trusted_counts_for_nothing(space, motion):
    state = State.mean(space, motion)
    good = point_rows(state.vertices, ROWS, state.vertices[ROWS] + 1.0, 0.5)
    bad = good._replace(residual=good.residual + 100.0, precision=np.zeros_like(good.precision))
    jacobian = space.jacobian(state.numbers)
    alone = normal_equations(state, good, jacobian, False, space.prior)
    both = normal_equations(state, stacked(good, bad), jacobian, False, space.prior)
    np.testing.assert_array_equal(alone.matrix, both.matrix)
    np.testing.assert_array_equal(alone.right, both.right)
    assert stacked(good, bad).cost == pytest.approx(18 * 4.0)


def test_descending_finds_the_most_probable_numbers_of_a_linear_model(space):
    """Without noise in the pose the answer is known in closed form."""
    state, which = State.mean(space, Similarity.identity()), np.arange(0, 1200, 7)
    truth = 0.5 * np.cos(np.arange(space.size))
    wanted = space.face(truth)[which]

    def measure(at):
        return point_rows(at.vertices, which, at.motion.inverse().apply(wanted), 0.01)

    found = descend(space, state, measure, with_scale=False, steps=30)
    np.testing.assert_allclose(found.numbers, truth, atol=0.02)
    np.testing.assert_allclose(found.motion.translation, 0.0, atol=0.05)
