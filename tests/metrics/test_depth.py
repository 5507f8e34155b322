"""Depth metrics on maps that can be worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.errors import DataError
from meshdisent.metrics import depth

ALL = np.ones((1, 2, 2), bool)


def test_a_wrong_scale_costs_nothing_and_half_a_wrong_scale_does():
    truth = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    assert depth.side(5 * truth, truth, ALL)[0] == pytest.approx(0, abs=1e-12)
    halves = truth * np.array([[[math.e, math.e], [1.0, 1.0]]])  # log error 1 1 0 0: mean 0.5, deviation 0.5
    assert depth.side(halves, truth, ALL)[0] == pytest.approx(0.5)


@given(st.floats(0.01, 100), st.integers(0, 2**31))
def test_side_does_not_know_the_scale(scale, seed):
    maps = np.random.default_rng(seed).uniform(0.5, 2, (2, 3, 4, 4))
    mask = np.ones((3, 4, 4), bool)
    assert depth.side(scale * maps[0], maps[1], mask) == pytest.approx(depth.side(maps[0], maps[1], mask))


def test_what_the_mask_hides_does_not_count():
    truth = np.ones((2, 2, 2))
    predicted = np.array([[[1.0, 2.0], [-7.0, np.e]], [[1.0, 1.0], [1.0, 4.0]]])
    mask = np.array([[[True, False], [False, True]], [[True, True], [True, False]]])
    assert depth.side(predicted, truth, mask).tolist() == pytest.approx([0.5, 0.0])
    assert depth.mean_absolute_error(predicted, truth, mask).tolist() == pytest.approx([(np.e - 1) / 2, 0])
    assert depth.mean_square_error(predicted, truth, mask).tolist() == pytest.approx([(np.e - 1) ** 2 / 2, 0])


def test_an_image_without_a_valid_pixel_is_an_error_and_no_nan():
    mask = np.array([[[True]], [[False]]])
    maps = np.ones((2, 1, 1))
    normals = np.ones((2, 1, 1, 3))
    for measure in (depth.side, depth.mean_absolute_error, depth.mean_square_error):
        with pytest.raises(DataError, match=r"Image 1 of 2 has no valid pixel"):
            measure(maps, maps, mask)
    with pytest.raises(DataError, match=r"Image 1 of 2 has no valid pixel"):
        depth.mean_angle(normals, normals, mask)


def test_a_depth_behind_the_camera_is_an_error():
    with pytest.raises(DataError, match=r"A predicted depth inside the mask is not above 0"):
        depth.side(np.zeros((1, 2, 2)), np.ones((1, 2, 2)), ALL)
    with pytest.raises(DataError, match=r"A true depth"):
        depth.side(np.ones((1, 2, 2)), np.full((1, 2, 2), np.nan), ALL)


def test_one_hole_takes_its_neighbors_and_the_border_goes():
    mask = np.ones((2, 6, 6), bool)
    mask[0, 3, 2] = False
    expected = np.zeros((2, 6, 6), bool)
    expected[:, 1:-1, 1:-1] = True
    expected[0, 2:5, 1:4] = False
    assert np.array_equal(depth.eroded(mask), expected)


def test_valid_pixels_are_where_both_show_the_face():
    truth, predicted = np.full((2, 6, 6), 1.0), np.full((2, 6, 6), 1.0)
    truth[1, 0, 0] = 1.1  # the largest of the batch is background
    predicted[0, 5, 5] = 1.2
    valid = depth.valid_pixels(predicted, truth)
    assert valid[0].sum() == 15
    assert not valid[0, 4, 4]
    assert valid[1].sum() == 15
    assert not valid[1, 1, 1]


def test_angles_are_in_degrees_and_safe_beyond_one():
    first = np.array([[0.0, 0, 1], [0, 0, 1], [0, 0, 1]])
    second = np.array([[0.0, 0, 1.0000001], [0, np.sqrt(0.5), np.sqrt(0.5)], [0, 0, -1]])
    assert depth.angles(first, second).tolist() == pytest.approx([0, 45, 180])


def test_a_tilted_plane_has_its_normal_everywhere_inside():
    size = 9
    focal = (size - 1) / 2 / np.tan(np.radians(5))
    offset = (np.arange(size) - (size - 1) / 2) / focal
    normal = np.array([0.3, -0.2, 1.0])
    normal /= np.linalg.norm(normal)
    x, y = np.meshgrid(offset, offset)
    plane = normal[2] / (normal[0] * x + normal[1] * y + normal[2])  # depths of the points n.p = n_z
    found = depth.normals_of_depth(plane[None])[0]
    assert np.abs(found[1:-1, 1:-1] - normal).max() < 1e-4
    assert np.allclose(found[0], [0, 0, 1], atol=1e-6)
    assert np.allclose(found[:, -1], [0, 0, 1], atol=1e-6)


def test_maps_that_are_no_squares_are_refused():
    with pytest.raises(DataError, match=r"Depth maps of \(4, 5\)"):
        depth.normals_of_depth(np.ones((1, 4, 5)))


def test_grey_outside_0_to_1_is_refused():
    assert depth.depth_of_grey(np.array([1.0, 0.0, 0.5])).tolist() == pytest.approx([0.9, 1.1, 1.0])
    with pytest.raises(DataError, match=r"Grey values from 0 to 255"):
        depth.depth_of_grey(np.array([0.0, 255.0]))
