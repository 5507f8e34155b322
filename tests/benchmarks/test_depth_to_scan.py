"""The benchmark of registrations to depth maps: which vertices a camera sees, and where the prior comes from."""

import numpy as np
import pytest
import small_faces

from meshdisent.render.camera import Camera


@pytest.fixture
def benchmark(program):
    return program("depth_to_scan")


def test_visible_are_the_vertices_of_the_front_and_truth_is_in_the_frame_of_the_depth(benchmark):
    camera = Camera.of_field_of_view(128)
    ball = 0.8 * small_faces.TEMPLATE + [0.0, -25.0, -30.0]  # about the pivot, so at the middle of the picture
    case = benchmark.draw(ball, small_faces.FACES, [0.0] * 6, camera)
    np.testing.assert_allclose(case.truth, 0.8 * small_faces.TEMPLATE, atol=1e-3)
    assert case.is_visible[small_faces.VERTICES[:, 2] > 0.4].all()
    assert not case.is_visible[small_faces.VERTICES[:, 2] < 0.1].any()
    assert case.depth[64, 64] == pytest.approx(1 - 0.064, abs=1e-3)
    turned = benchmark.draw(ball, small_faces.FACES, [0.0, np.radians(40.0), 0.0, 0.0, 0.0, 0.0], camera)
    facing = turned.truth[:, 2] / 64
    assert np.linalg.norm(turned.truth[small_faces.VERTICES[:, 2].argmax()] - [0, 0, 64]) > 30
    assert (facing[turned.is_visible] > 0.1).all()
    assert turned.is_visible[facing > 0.4].all()


def test_the_prior_has_orthonormal_directions_that_hold_the_scans(benchmark, raw):
    topology, prior = benchmark.train_people(raw)
    flat = prior.basis.reshape(len(prior.basis), -1)
    strong = prior.deviations > 1e-2 * prior.deviations[0]
    np.testing.assert_allclose(flat[strong] @ flat[strong].T, np.eye(strong.sum()), atol=1e-3)
    assert (np.diff(prior.deviations) <= 1e-9).all()
    neutrals = small_faces.PEOPLE
    np.testing.assert_allclose(topology.template, neutrals.mean(axis=0), atol=0.1)
    rest = (neutrals[0] - prior.mean).ravel()
    rest -= flat[strong].T @ (flat[strong] @ rest)
    assert np.abs(rest).max() < 0.5
