import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.errors import UsageError
from meshdisent.show.camera import Camera

ANGLES = st.floats(-180, 180)


@given(azimuth=ANGLES, elevation=st.floats(-89, 89))
def test_the_focal_point_is_in_the_middle_and_directions_are_orthonormal(azimuth, elevation):
    camera = Camera(focal_point=(3.0, -7.0, 11.0), distance=500.0, azimuth=azimuth, elevation=elevation)
    positions, depth = camera.project(np.array([[3.0, -7.0, 11.0]]), (200, 100))
    np.testing.assert_allclose(positions, [[100, 50]], atol=1e-9)
    np.testing.assert_allclose(depth, 500)
    np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) == pytest.approx(1)


def test_up_is_up_and_the_subjects_left_is_right_in_the_picture():
    positions, _ = Camera(distance=500.0).project(np.array([[50.0, 0, 0], [0, 50, 0]]), (200, 200))
    assert positions[0, 0] > 100
    assert positions[0, 1] == pytest.approx(100)
    assert positions[1, 1] < 100
    assert positions[1, 0] == pytest.approx(100)


def test_a_positive_azimuth_brings_the_subjects_left_side_nearer():
    _, depth = Camera(distance=500.0, azimuth=30.0).project(np.array([[50.0, 0, 0], [-50, 0, 0]]), (200, 200))
    assert depth[0] < depth[1]


def test_the_field_of_view_spans_the_height_of_the_picture():
    camera = Camera(distance=100.0, field_of_view=90.0)
    positions, _ = camera.project(np.array([[0.0, 100, 0], [0, -100, 0]]), (300, 200))
    np.testing.assert_allclose(positions, [[150, 0], [150, 200]], atol=1e-9)


@given(azimuth=ANGLES, elevation=st.floats(-60, 60), seed=st.integers(0, 1000), wide=st.booleans())
def test_facing_shows_all_vertices_and_touches_the_margin(azimuth, elevation, seed, wide):
    size = (300, 200) if wide else (200, 300)
    vertices = np.random.default_rng(seed).normal(size=(40, 3)) * [60, 90, 50] + [5, -20, 40]
    camera = Camera.facing(vertices, size=size, azimuth=azimuth, elevation=elevation, margin=0.1)
    positions, depth = camera.project(vertices, size)
    share = np.abs(positions / size - 0.5).max(0)
    assert depth.min() > 0
    assert share.max() == pytest.approx(0.4, abs=1e-6)


def test_turning_keeps_the_distance_and_the_focal_point():
    camera = Camera(focal_point=(1.0, 2.0, 3.0), distance=700.0, azimuth=10.0)
    turned = camera.turned(25.0, elevation=5.0)
    assert (turned.azimuth, turned.elevation) == (35, 5)
    assert np.linalg.norm(turned.position - [1, 2, 3]) == pytest.approx(700)


def test_a_camera_that_sees_nothing_is_refused_with_a_way_out():
    with pytest.raises(UsageError, match=r"distance 0.*above 0 mm.*Camera\.facing"):
        Camera(distance=0.0)
    with pytest.raises(UsageError, match="no finite vertex"):
        Camera.facing(np.full((3, 3), np.nan))
