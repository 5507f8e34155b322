"""Both Laplacians of a mesh."""

from time import perf_counter

import numpy as np
import pytest

from meshdisent.mesh.laplacian import LAPLACIANS, cotangent_laplacian, uniform_laplacian
from meshdisent.mesh.topology import Topology


def dense_uniform(topology):
    """Vertex by vertex."""
    neighbors = [set() for _ in range(topology.vertex_count)]
    for face in topology.faces:
        for a in face:
            neighbors[a] |= set(face.tolist()) - {int(a)}
    matrix = np.zeros((topology.vertex_count,) * 2)
    for vertex, around in enumerate(neighbors):
        if around:
            matrix[vertex, vertex] = 1
            matrix[vertex, list(around)] = -1 / len(around)
    return matrix


@pytest.fixture
def sphere(shapes):
    return Topology(*shapes.sphere(2))


@pytest.mark.parametrize("name", sorted(LAPLACIANS))
def test_a_constant_field_has_no_laplacian_and_rows_are_means_of_neighbors(name, sphere):
    laplacian = LAPLACIANS[name](sphere)
    assert np.abs(laplacian @ np.ones(sphere.vertex_count)).max() < 1e-12
    assert np.array_equal(laplacian.diagonal(), np.ones(sphere.vertex_count))
    joined = laplacian.toarray() - np.eye(sphere.vertex_count)
    assert joined.max() <= 0
    assert set(zip(*np.nonzero(joined), strict=True)) <= set(zip(*sphere.adjacency.nonzero(), strict=True))


def test_the_uniform_one_is_that_of_a_loop_also_with_isolated_vertices(shapes):
    vertices, faces = shapes.sphere(1)
    topology = Topology(np.concatenate([vertices, np.zeros((2, 3))]), faces)
    laplacian = uniform_laplacian(topology)
    assert np.allclose(laplacian.toarray(), dense_uniform(topology), atol=1e-15)
    assert not laplacian.toarray()[-2:].any()


def test_cotangents_are_those_of_the_angles_across():
    """A kite of two right-angled triangles: across the diagonal both angles are 90 degrees, so it does not count."""
    kite = Topology(np.array([[0.0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    found = cotangent_laplacian(kite).toarray()
    # Edge 0-1 (long) lies across the angle at 2 with cotangent 1/2, edge 0-3 (short) across that at 2 with 2.
    assert np.allclose(found[0], [1, -0.2, 0, -0.8])
    assert found[0, 2] == 0


def test_on_regular_triangles_both_are_the_same():
    angles = np.arange(6) * np.pi / 3
    ring = np.concatenate([[[0.0, 0, 0]], np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)])
    faces = np.array([[0, 1 + k, 1 + (k + 1) % 6] for k in range(6)])
    topology = Topology(ring, faces)
    assert np.allclose(cotangent_laplacian(topology).toarray()[0], uniform_laplacian(topology).toarray()[0])


def test_cotangents_know_the_surface_where_vertices_are_uneven():
    """On a plane with uneven vertices nothing is curved: the cotangent one says so, the uniform one does not."""
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), axis=-1).reshape(-1, 2)
    grid += random.uniform(-0.15, 0.15, grid.shape)
    quad = np.arange(64).reshape(8, 8)
    a, b, c, d = quad[:-1, :-1].ravel(), quad[:-1, 1:].ravel(), quad[1:, 1:].ravel(), quad[1:, :-1].ravel()
    topology = Topology(
        np.concatenate([grid, np.zeros((64, 1))], axis=1), np.stack([a, b, c, a, c, d], axis=1).reshape(-1, 3)
    )
    inside = quad[1:-1, 1:-1].ravel()
    uniform, cotangent = (
        np.linalg.norm((LAPLACIANS[name](topology) @ topology.template)[inside], axis=1).mean()
        for name in ("uniform", "cotangent")
    )
    assert cotangent < 0.3 * uniform


def test_slivers_and_doubled_points_stay_finite():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 1e-9, 0], [0.5, 1e-9, 0], [0, 1, 0]])
    topology = Topology(corners, np.array([[0, 1, 2], [1, 2, 3], [0, 2, 4]]))
    found = cotangent_laplacian(topology).toarray()
    assert np.isfinite(found).all()
    assert np.abs(found.sum(axis=1)).max() < 1e-12


@pytest.mark.parametrize("name", sorted(LAPLACIANS))
def test_cost_grows_with_the_vertices_not_with_their_square(name, shapes):
    small, large = (Topology(*shapes.sphere(level)) for level in (4, 6))  # 2,562 and 40,962 vertices
    _ = small.adjacency, large.adjacency
    built = {}
    for topology in (small, large):
        started = perf_counter()
        built[topology.vertex_count] = LAPLACIANS[name](topology)
        assert perf_counter() - started < 5
    per_vertex = [matrix.nnz / count for count, matrix in built.items()]
    assert per_vertex[1] == pytest.approx(per_vertex[0], rel=0.01)
    assert per_vertex[1] < 7.1
