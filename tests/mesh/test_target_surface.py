"""Target surfaces: where points are put, which of them are the border, and what is no surface."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.mesh.target_surface import TargetSurface


def test_large_triangles_get_points_inside_and_open_edges_are_the_border():
    corners = np.array([[0.0, 0, 0], [12, 0, 0], [12, 12, 0], [0, 12, 0]])
    found = TargetSurface.of_mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]), spacing_mm=3.0)
    on_edge = (np.abs(found.points[:, :2] - 6) > 6 - 1e-9).any(axis=1)
    np.testing.assert_array_equal(found.is_border, on_edge)  # the diagonal is none
    np.testing.assert_allclose(found.normals, np.tile([0, 0, 1.0], (len(found.points), 1)))
    across = np.random.default_rng(0).uniform(0, 12, (200, 2))
    matches = found.match(np.column_stack([across, np.zeros(200)]), np.tile([0, 0, 1.0], (200, 1)))
    assert matches.distance.max() < 2.2
    assert found.spacing_mm < 3.0


def test_a_match_is_beyond_where_the_surface_has_ended(shapes):
    vertices, faces = shapes.grid(10, 10)
    found = TargetSurface.of_mesh(vertices, faces)
    queries = np.array([[5.2, 5.1, 2.0], [-0.9, 5.0, 1.0], [-1.6, 5.0, 0.0], [5.0, 12.0, 0.3]])
    matches = found.match(queries, np.tile([0, 0, 1.0], (4, 1)))
    assert matches.is_beyond.tolist() == [False, False, True, True]
    np.testing.assert_allclose(matches.points[0], [5, 5, 0])
    np.testing.assert_allclose(matches.distance[3], np.hypot(2, 0.3))


def test_normals_choose_between_two_sides_of_a_thin_wall():
    points = np.array([[x, y, z] for z in (0.0, 2.0) for x in range(5) for y in range(5)])
    normals = np.where(points[:, 2:] > 1, 1.0, -1.0) * [0, 0, 1.0]
    found = TargetSurface.of_points(points, normals)
    query, up = np.array([[2.0, 2.0, 0.5]]), np.array([[0, 0, 1.0]])
    assert found.match(query, up).points[0, 2] == 0.0
    assert found.match(query, up, normal_mm=5.0).points[0, 2] == 2.0
    assert found.match(query, up, normal_mm=5.0).agreement[0] == 1.0


def test_the_border_of_points_is_where_neighbors_are_on_one_side(shapes):
    points, _ = shapes.grid(20, 20)
    found = TargetSurface.of_points(points, np.tile([0, 0, 1.0], (len(points), 1)))
    rim = (points[:, :2] == 0).any(axis=1) | (points[:, :2] == 20).any(axis=1)
    assert found.is_border[rim].all()
    deep = (np.abs(points[:, :2] - 10) < 8).all(axis=1)
    assert not found.is_border[deep].any()


def test_vertices_without_a_face_are_no_surface(shapes):
    vertices, faces = shapes.together(shapes.grid(3, 3), isolated=2)
    assert len(TargetSurface.of_mesh(vertices, faces).points) == 16


def test_what_is_no_surface_is_refused(shapes):
    vertices, faces = shapes.grid(3, 3)
    with pytest.raises(DataError, match="spacing of a target surface is 0 mm"):
        TargetSurface.of_mesh(vertices, faces, spacing_mm=0.0)
    with pytest.raises(DataError, match="0 faces for 16 vertices"):
        TargetSurface.of_mesh(vertices, faces[:0])
    with pytest.raises(DataError, match="not finite"):
        TargetSurface.of_mesh(np.full_like(vertices, np.nan), faces)
    with pytest.raises(DataError, match="no faces with an area"):
        TargetSurface.of_mesh(0 * vertices, faces)
    with pytest.raises(DataError, match="has 2 points"):
        TargetSurface.of_points(vertices[:2], vertices[:2])
    with pytest.raises(DataError, match="normals of length 2 to 2; wanted 1"):
        TargetSurface.of_points(vertices, np.tile([0, 0, 2.0], (16, 1)))
