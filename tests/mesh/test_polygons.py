"""Polygons as fans of triangles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh.polygons import fan, polygon_corners


def test_a_fan_shares_the_first_corner_and_keeps_the_turn():
    assert fan(np.array([5, 3])).tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [5, 6, 7]]


def test_no_polygons_make_no_triangles():
    none = np.empty(0, dtype=np.int64)
    assert fan(none).shape == (0, 3)
    assert polygon_corners(np.empty((0, 3), dtype=np.int64), none).shape == (0,)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(3, 9), max_size=8), st.randoms(use_true_random=False))
def test_polygons_come_back_from_their_fans(sizes, random):
    corners = np.array([random.randrange(20) for _ in range(sum(sizes))], dtype=np.int64)
    sizes = np.array(sizes, dtype=np.int64)
    np.testing.assert_array_equal(polygon_corners(corners[fan(sizes)], sizes), corners)


@pytest.mark.parametrize(
    ("triangles", "sizes", "words"),
    [
        ([[0, 1, 2]], [4], "polygons make 2 triangles; wanted the 1"),
        ([[0, 1, 2]], [2, 3], "Polygon 0 has 2 corners; wanted 3 or more"),
        ([[0, 1, 2], [1, 2, 3]], [4], "Triangle 1 does not continue the fan"),
        ([[0, 1, 2], [0, 3, 2]], [4], "Triangle 1 does not continue the fan"),
    ],
)
def test_what_is_no_fan_is_refused(triangles, sizes, words):
    with pytest.raises(MeshError, match=words):
        polygon_corners(np.array(triangles), np.array(sizes))
