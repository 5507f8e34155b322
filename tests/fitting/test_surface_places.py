"""Places on a surface: where they are, and which of them a point takes."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.fitting.scan_points import ScanPoints, outward_normals, scan_surface
from meshdisent.fitting.surface_places import SurfacePlaces, _cell_middles
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology


def test_middles_of_cells_are_as_many_as_cells_and_average_to_the_middle():
    for count in (1, 2, 5):
        middles = _cell_middles(count)
        assert middles.shape == (count**2, 3)
        assert (middles > 0).all()
        np.testing.assert_allclose(middles.sum(axis=1), 1.0)
        np.testing.assert_allclose(middles.mean(axis=0), 1 / 3)


def test_a_point_above_a_triangle_finds_it_and_its_signed_distance(shapes):
    vertices, faces = shapes.grid(6, 6)
    vertices = 10.0 * vertices
    places = SurfacePlaces(Topology(vertices, faces), vertices, cell_mm=1.0)
    normals = np.tile([0.0, 0.0, 1.0], (2, 1))
    points = np.array([[33.0, 22.0, 1.5], [31.0, 28.0, -0.5]])
    pairs = places.pair(vertices, points, normals, 3.0)
    np.testing.assert_allclose(pairs.along, [-1.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(pairs.agreement, 1.0)
    foot = np.einsum("pk,pkd->pd", pairs.weights, vertices[pairs.corners])
    assert np.linalg.norm(foot - points * [1, 1, 0], axis=1).max() < 1.0
    assert not pairs.is_beyond.any()


def test_what_lies_beside_the_rim_is_beyond_and_what_lies_over_it_is_not(shapes):
    vertices, faces = shapes.grid(6, 6)
    vertices = 10.0 * vertices
    places = SurfacePlaces(Topology(vertices, faces), vertices, cell_mm=2.0)
    points = np.array([[-9.0, 30.0, 0.0], [0.5, 30.0, 3.0]])
    assert places.pair(vertices, points, np.tile([0.0, 0, 1], (2, 1)), 0.0).is_beyond.tolist() == [True, False]


def test_directions_tell_two_sides_of_a_sheet_apart(shapes):
    vertices, faces = shapes.grid(4, 4)
    both = np.concatenate([10 * vertices, 10 * vertices - [0, 0, 2.0]])
    sheet = Topology(both, np.concatenate([faces, faces[:, ::-1] + len(vertices)]))
    places, points = SurfacePlaces(sheet, both), np.array([[20.0, 20.0, -1.2]])
    upper = places.pair(both, points, np.array([[0.0, 0, 1]]), 15.0)
    lower = places.pair(both, points, np.array([[0.0, 0, -1]]), 15.0)
    assert upper.corners.max() < len(vertices) <= lower.corners.min()


def test_normals_of_bare_points_look_outside(shapes):
    vertices, _ = shapes.sphere(3)
    part = 80 * vertices[vertices[:, 2] > 0.2] + 500.0
    found = outward_normals(part)
    assert ((found * vertices[vertices[:, 2] > 0.2]).sum(axis=1) > 0.95).all()
    with pytest.raises(DataError, match="5 points and no faces; wanted 24 or more"):
        outward_normals(part[:5])


def test_a_scan_is_a_mesh_or_points_with_normals_or_without_in_its_unit(shapes):
    vertices, faces = shapes.sphere(3)
    alone = scan_surface(Mesh(8 * vertices), 10.0)
    assert alone.faces is None
    np.testing.assert_allclose(alone.points, 80 * vertices)
    assert ((alone.normals * vertices).sum(axis=1) > 0.95).all()
    directed = scan_surface(
        Mesh(vertices, vertex_attributes={f"n{a}": -3 * vertices[:, k] for k, a in enumerate("xyz")})
    )
    np.testing.assert_allclose(directed.normals, -vertices, atol=1e-9)
    assert scan_surface(Mesh(vertices, faces)).faces is not None


def test_noise_turns_normals_less_once_they_are_smoothed_and_crowds_are_counted(shapes):
    vertices, _ = shapes.sphere(4)
    noisy = vertices + 0.3 * np.random.default_rng(0).normal(size=vertices.shape)
    normals = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    points = ScanPoints.of(TargetSurface.of_points(80 * vertices, normals), most=1000)
    assert points.count == 1000
    kept = points.surface.points / 80
    assert (points.surface.normals * kept).sum(axis=1).mean() > 0.99 > (normals * vertices).sum(axis=1).mean()
    crowd = points.crowd(20.0)
    expected = 1000 * 20.0**2 / (4 * 80.0**2)
    assert crowd.mean() == pytest.approx(expected, rel=0.15)
    assert crowd.min() >= 1
