"""Clicks on a mesh and the landmarks that come of them."""

import json

import numpy as np
import pytest

from meshdisent.errors import UsageError
from meshdisent.mesh.landmark_files import read_landmark_file
from meshdisent.show.viewer_pick import PickedLandmarks, hit_vertex


def test_the_front_of_a_ball_is_hit_and_not_its_back(shapes):
    vertices, faces = shapes.ball()
    for vertex in (17, 100, 300):
        inward = -vertices[vertex] / np.linalg.norm(vertices[vertex])
        hit = hit_vertex(vertices, faces, 3.0 * vertices[vertex] + 0.01, inward)
        assert np.linalg.norm(vertices[hit] - vertices[vertex]) < 1e-6


def test_a_ray_beside_the_mesh_or_away_from_it_hits_nothing(shapes):
    vertices, faces = shapes.ball()
    origin = np.array([0.0, 0.0, 500.0])
    assert hit_vertex(vertices, faces, origin, np.array([0.0, 0.0, 1.0])) is None
    assert hit_vertex(vertices, faces, origin, np.array([0.0, 1.0, 0.0])) is None
    assert hit_vertex(vertices, faces, origin, np.array([0.0, 0.0, -1.0])) is not None


def test_a_flat_triangle_is_no_obstacle():
    vertices = np.array([[0.0, 0, 1], [1, 0, 1], [2, 0, 1], [0, 0, 0], [4, 0, 0], [0, 4, 0]])
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    assert hit_vertex(vertices, faces, np.array([0.5, 0.5, 9.0]), np.array([0.0, 0.0, -1.0])) == 3


def test_points_are_named_renamed_undone_and_cleared():
    picked = PickedLandmarks()
    picked.add(" tip  of the\nnose ", 3)
    picked.add("chin", 5)
    picked.add("tip of the nose", 4)
    assert picked.vertex_of == {"chin": 5, "tip of the nose": 4}
    picked.undo()
    assert picked.vertex_of == {"chin": 5}
    picked.clear()
    picked.undo()
    assert picked.vertex_of == {}
    with pytest.raises(UsageError, match="has no name"):
        picked.add("  ", 1)


def test_the_suggested_name_is_free():
    picked = PickedLandmarks()
    picked.add("point 2", 1)
    assert picked.next_name() == "point 3"


def test_the_file_is_read_back_with_its_points(tmp_path):
    vertices = np.random.default_rng(0).normal(size=(10, 3)) * 80
    picked = PickedLandmarks()
    picked.add("Nasenspitze \u00fc", 3)
    picked.add("<b>chin</b>", 5)
    (tmp_path / "points.json").write_text(picked.to_json(vertices), encoding="utf-8")
    found = read_landmark_file(tmp_path / "points.json")
    assert list(found) == ["Nasenspitze \u00fc", "<b>chin</b>"]
    np.testing.assert_allclose(np.stack(list(found.values())), vertices[[3, 5]], atol=1e-4)
    assert json.loads(picked.to_json(vertices))[1]["vertex"] == 5


def test_no_point_makes_no_file():
    with pytest.raises(UsageError, match="No point was picked"):
        PickedLandmarks().to_json(np.zeros((3, 3)))
