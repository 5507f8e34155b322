"""The benchmark of fits: what a part of a face is, what is measured, and the table."""

import numpy as np
import pytest
import small_faces

from meshdisent.mesh.normals import face_normals


@pytest.fixture
def benchmark(program):
    return program("fitting")


def test_a_part_has_its_share_of_the_surface_in_one_piece_about_the_front(benchmark):
    vertices, faces = small_faces.TEMPLATE, small_faces.FACES
    part = benchmark.part_of(vertices, faces, np.random.default_rng(3))
    area = np.linalg.norm(face_normals(vertices, faces), axis=1)
    assert 0.27 < area[part].sum() / area.sum() <= 0.3
    middles = vertices[faces].mean(axis=1)
    reach = np.linalg.norm(middles[part] - middles[part[0]], axis=1)
    others = np.setdiff1d(np.arange(len(faces)), part)
    assert reach.max() <= np.linalg.norm(middles[others] - middles[part[0]], axis=1).min() + 1e-9
    assert middles[part[0], 2] > 0


def test_points_of_a_case_lie_on_the_part_but_for_their_noise(benchmark):
    case = benchmark.case_of(small_faces.TEMPLATE, small_faces.FACES, 5)
    assert case.points.shape == (5000, 3)
    middle = case.truth.mean(axis=0)
    outside = np.linalg.norm(case.points - middle, axis=1)
    assert outside.std() == pytest.approx(1.0, abs=0.3)
    nearest = np.linalg.norm(case.points[:, None] - case.truth[case.is_seen], axis=2).min(axis=1)
    assert nearest.max() < 25
    assert 0.2 < case.is_seen.mean() < 0.5
    again = benchmark.case_of(small_faces.TEMPLATE, small_faces.FACES, 5)
    np.testing.assert_array_equal(case.points, again.points)


def test_rows_are_means_of_cases_and_the_table_has_a_dash_where_nothing_was_measured(benchmark):
    some = dict.fromkeys(benchmark.FIGURES, 1.0)
    found = {
        ("drawn codes", "scan"): [some, some | {"error_mm": 3.0}],
        ("drawn codes", "adam"): [{"error_mm": 4.0, "seen_mm": 2.0, "hidden_mm": 6.0, "seconds": 9.0}],
    }
    rows = benchmark.record(found, {("drawn codes", "scan"): 1})
    assert (rows[0]["error_mm"], rows[0]["worst_mm"], rows[0]["cases"], rows[0]["failed"]) == (2.0, 3.0, 2, 1)
    lines = benchmark.table(rows).splitlines()
    assert lines[4].startswith("| drawn codes | scan | 2 + 1 refused | 2.00 | 2.00 | 3.00 |")
    assert "| - | - | - | 9.0 |" in lines[5]
