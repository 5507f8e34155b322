"""Rank-1 recognition and FED's random draws, on cases that can be worked by hand."""

import numpy as np
import pytest

from meshdisent.metrics import chance_of_rank_one, drawn_spread, recognized_by_code, recognized_by_face, spread_a
from meshdisent.metrics.recognition import _face_distances

GALLERY = np.array([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
WHO = np.array([4, 6, 8])


def test_a_code_is_who_it_points_to_however_long_it_is():
    probes = np.array([[0.01, 0.001], [100.0, 101.0], [-1.0, 0.5], [1.0, -5.0]])
    # Cosines: (4), then 6 by a hair, then 8, and the last is nearest to 4 although far off.
    assert recognized_by_code(probes, np.array([4, 6, 8, 4]), GALLERY, WHO).tolist() == [True, True, True, True]
    assert recognized_by_code(probes, np.array([6, 4, 4, 8]), GALLERY, WHO).tolist() == [False] * 4


def test_a_code_without_direction_is_the_first_entry():
    assert recognized_by_code(np.zeros((2, 2)), np.array([4, 6]), GALLERY, WHO).tolist() == [True, False]


def test_face_distances_are_sums_of_vertex_distances():
    random = np.random.default_rng(0)
    probes, gallery = random.normal(size=(37, 11, 3)), random.normal(size=(5, 11, 3))
    slow = np.linalg.norm(probes[:, None] - gallery[None], axis=3).sum(axis=2)
    np.testing.assert_allclose(_face_distances(probes, gallery), slow, rtol=1e-5)


def test_faces_are_recognized_by_the_sum_and_not_by_squares():
    # One vertex 3 off and one 0 off: sum 3, squares 9. Both 2 off: sum 4, squares 8.
    probe = np.zeros((1, 2, 3))
    gallery = np.array([[[3.0, 0, 0], [0, 0, 0]], [[2, 0, 0], [0, 2, 0]]])
    assert recognized_by_face(probe, np.array([1]), gallery, np.array([1, 2])).tolist() == [True]


def test_faces_far_from_the_origin_are_told_apart():
    random = np.random.default_rng(0)
    gallery = random.normal(size=(3, 8, 3)) + 1e5
    assert recognized_by_face(gallery + 1e-3, WHO, gallery, WHO).all()


def test_chance_counts_entries_of_the_right_person():
    assert chance_of_rank_one(np.array([4, 4, 6]), WHO) == pytest.approx(1 / 3)
    assert chance_of_rank_one(np.array([4, 7]), WHO) == pytest.approx(1 / 6)


def test_the_drawn_spread_of_one_face_a_person_is_the_spread_of_all():
    faces = np.random.default_rng(0).normal(size=(4, 6, 3))
    expected = spread_a(faces, np.zeros(4, np.int64))[1].item()
    assert drawn_spread(faces, np.array([3, 1, 2, 0]), draws=5) == pytest.approx(np.full(5, expected))


def test_every_draw_takes_one_face_of_each_person():
    # Person 0 is at 0 or 0; person 1 at 2 or 6, one vertex that moves and one that rests.
    faces = np.zeros((4, 2, 3))
    faces[2, 0, 0], faces[3, 0, 0] = 2.0, 6.0
    found = drawn_spread(faces, np.array([0, 0, 1, 1]), seed=1, draws=200)
    # Distances to the mean are d/2 at the first vertex and 0 at the second: their deviation is d/4.
    assert set(found.round(9).tolist()) == {0.5, 1.5}
    assert (found == found[0]).mean() == pytest.approx(0.5, abs=0.12)


def test_a_model_that_gives_everybody_one_face_has_no_drawn_spread():
    assert drawn_spread(np.ones((6, 5, 3)), np.array([0, 0, 1, 1, 2, 2])).max() == 0.0
