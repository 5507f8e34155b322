"""Closest points, against every triangle tried with another implementation."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh.closest import closest_points


def brute_force(points, vertices, faces):
    triangles = np.tile(vertices[faces], (len(points), 1, 1))
    queries = np.repeat(points, len(faces), axis=0)
    found = trimesh.triangles.closest_point(triangles, queries).reshape(len(points), len(faces), 3)
    return np.linalg.norm(found - points[:, None], axis=2)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_triangle_is_closer(shapes, seed):
    vertices, faces = shapes.drawn(seed)
    draw = np.random.default_rng(seed)
    points = np.concatenate([draw.normal(size=(40, 3)) * 4 + [8, 2, 0], vertices[:20], vertices[:20] + 1e-3])
    face, weights, distance = closest_points(points, vertices, faces)
    np.testing.assert_allclose(distance, brute_force(points, vertices, faces).min(axis=1), atol=1e-9)
    place = np.einsum("pk,pkd->pd", weights, vertices[faces[face]])
    np.testing.assert_allclose(np.linalg.norm(points - place, axis=1), distance, atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)
    assert weights.min() >= 0


def test_triangles_of_very_different_size_do_not_hide_each_other():
    draw = np.random.default_rng(0)
    corner = draw.normal(size=(300, 1, 3)) * 5
    vertices = (corner + draw.normal(size=(300, 3, 3)) * 10.0 ** draw.uniform(-4, 2, size=(300, 1, 1))).reshape(-1, 3)
    faces = np.arange(900).reshape(-1, 3)
    points = draw.normal(size=(50, 3)) * 8
    expected = brute_force(points, vertices, faces)
    face, _, distance = closest_points(points, vertices, faces)
    np.testing.assert_allclose(distance, expected.min(axis=1), atol=1e-9)
    assert (expected[np.arange(50), face] <= distance + 1e-9).all()


@pytest.mark.parametrize(
    ("point", "weights", "distance"),
    [
        ([0.25, 0.25, 3.0], [0.5, 0.25, 0.25], 3.0),  # inside
        ([0.5, -2.0, 0.0], [0.5, 0.5, 0.0], 2.0),  # on an edge
        ([-1.0, -1.0, 0.0], [1.0, 0.0, 0.0], 2**0.5),  # at a corner
        ([1.0, 1.0, 0.0], [0.0, 0.5, 0.5], 0.5**0.5),
        ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0], 0.0),
    ],
)
def test_each_part_of_a_triangle_can_be_the_closest(shapes, point, weights, distance):
    face, found, far = closest_points(np.array([point]), *shapes.triangle())
    assert face.tolist() == [0]
    np.testing.assert_allclose(found, [weights], atol=1e-15)
    np.testing.assert_allclose(far, [distance], atol=1e-15)


def test_degenerate_triangles_count_as_their_edges():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [1, 0, 0], [9, 9, 9]])
    face, weights, distance = closest_points(np.array([[1.5, 1.0, 0.0]]), vertices, np.array([[3, 3, 3], [0, 1, 2]]))
    assert face.tolist() == [1]
    np.testing.assert_allclose(weights @ vertices[[0, 1, 2]], [[1.5, 0, 0]], atol=1e-15)
    assert distance.tolist() == [1.0]


def test_the_first_of_equal_faces_is_named(shapes):
    vertices, faces = shapes.triangle()
    face, _, _ = closest_points(np.array([[0.2, 0.2, 1.0]]), vertices, np.repeat(faces, 5, axis=0))
    assert face.tolist() == [0]


def test_many_pairs_are_taken_in_blocks(shapes, monkeypatch):
    vertices, faces = shapes.sphere(2)
    points = np.random.default_rng(1).normal(size=(100, 3)) * 0.1  # near the center every face is a candidate
    whole = closest_points(points, vertices, faces)
    monkeypatch.setattr("meshdisent.mesh.closest._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("meshdisent.mesh.closest._FIRST", 3)
    for once, again in zip(whole, closest_points(points, vertices, faces), strict=True):
        assert np.array_equal(once, again)


def test_no_points_give_nothing(shapes):
    face, weights, distance = closest_points(np.zeros((0, 3)), *shapes.triangle())
    assert (len(face), weights.shape, len(distance)) == (0, (0, 3), 0)


def test_what_cannot_be_searched_is_refused(shapes):
    vertices, faces = shapes.triangle()
    with pytest.raises(MeshError, match="without faces"):
        closest_points(vertices, vertices, faces[:0])
    with pytest.raises(MeshError, match="not finite"):
        closest_points(vertices + np.inf, vertices, faces)
