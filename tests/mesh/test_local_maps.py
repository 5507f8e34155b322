"""Local maps against a slow twin, motions that are known by heart, and finite differences."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.errors import MeshError
from meshdisent.mesh import local_maps as module
from meshdisent.mesh.local_maps import local_maps, map_derivatives
from meshdisent.mesh.topology import Topology

SMOOTHINGS = pytest.mark.parametrize("smoothing_mm", [0.0, 60.0])
TURN = Rotation.from_rotvec([0.5, -0.3, 0.4]).as_matrix()


@pytest.fixture(scope="module")
def ball(shapes):
    """A dented ball of 162 vertices, edges of 24 mm."""
    vertices, faces = shapes.sphere(2)
    return Topology(vertices * (80 + 6 * np.sin(3 * vertices + 1)), faces)


@pytest.fixture(scope="module")
def other(ball):
    """Another face of this topology."""
    return ball.template + field(0, 5.0, ball)


def field(seed, size, ball):
    """A smooth displacement of every vertex."""
    random = np.random.default_rng(seed)
    unit = ball.template / np.linalg.norm(ball.template, axis=1, keepdims=True)
    return size * np.sin(unit @ random.normal(size=(3, 3)) * 2 + random.normal(size=3))


def normals(topology, vertices):
    sums = np.zeros_like(vertices)
    for face in topology.faces:
        a, b, c = vertices[face]
        sums[face] += np.cross(b - a, c - a)
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def neighbors(topology):
    found = [set() for _ in topology.template]
    for face in topology.faces.tolist():
        for corner in face:
            found[corner] |= set(face) - {corner}
    return found


def mean_length(topology):
    around = neighbors(topology)
    return np.mean(
        [np.linalg.norm(topology.template[w] - topology.template[v]) for v, near in enumerate(around) for w in near]
    )


def sums_at_rest(topology):
    """Edges and normals multiplied with themselves, (V, 3, 3), and what "no change" adds to them."""
    kappa, rest = mean_length(topology), topology.template
    normal = normals(topology, rest)
    edges = [[rest[w] - rest[v] for w in near] for v, near in enumerate(neighbors(topology))]
    sums = [sum(np.outer(e, e) for e in own) + kappa**2 * np.outer(n, n) for own, n in zip(edges, normal, strict=True)]
    return np.stack(sums), 0.1 * kappa**2 * np.eye(3)


def averaged(topology, maps, smoothing_mm):
    for _ in range(round((smoothing_mm / mean_length(topology)) ** 2)):
        maps = np.stack([np.mean([maps[w] for w in {v, *near}], axis=0) for v, near in enumerate(neighbors(topology))])
    return maps


@SMOOTHINGS
def test_maps_equal_a_loop_over_vertices_and_their_neighbors(ball, other, smoothing_mm):
    rest, kappa = ball.template, mean_length(ball)
    before, after = normals(ball, rest), normals(ball, other)
    at_rest, no_change = sums_at_rest(ball)
    slow = []
    for v, near in enumerate(neighbors(ball)):
        moved = sum(np.outer(other[w] - other[v], rest[w] - rest[v]) for w in near)
        moved = moved + kappa**2 * np.outer(after[v], before[v]) + no_change
        slow.append(moved @ np.linalg.inv(at_rest[v] + no_change))
    slow = averaged(ball, np.stack(slow), smoothing_mm)
    np.testing.assert_allclose(local_maps(ball, other, smoothing_mm), slow, rtol=0, atol=1e-12)


@SMOOTHINGS
def test_the_template_and_whoever_is_moved_as_a_whole_do_not_change(ball, smoothing_mm):
    for vertices in (ball.template, ball.template + np.array([3.0, -40.0, 500.0])):
        maps = local_maps(ball, vertices, smoothing_mm)
        np.testing.assert_allclose(maps, np.broadcast_to(np.eye(3), maps.shape), rtol=0, atol=1e-12)


def test_a_turn_is_found_but_for_the_term_of_no_change(ball):
    # (R S + E) (S + E)^-1 = R - (R - 1) E (S + E)^-1, with E a multiple of 1.
    at_rest, no_change = sums_at_rest(ball)
    rest_of_it = (TURN - np.eye(3)) @ no_change @ np.linalg.inv(at_rest + no_change)
    maps = local_maps(ball, ball.template @ TURN.T, 0.0)
    np.testing.assert_allclose(maps, TURN - rest_of_it, rtol=0, atol=1e-12)
    # So no map, and no mean of maps, is farther from the turn than no_change / (smallest + no_change) of its length.
    share = no_change[0, 0] / (np.linalg.eigvalsh(at_rest).min() + no_change[0, 0])
    assert share < 0.1
    for smoothing_mm in (0.0, 60.0):
        off = np.linalg.norm(local_maps(ball, ball.template @ TURN.T, smoothing_mm) - TURN, ord=2, axis=(1, 2))
        assert off.max() <= share * np.linalg.norm(TURN - np.eye(3), ord=2)


def test_growth_is_found_along_the_surface_but_for_the_term_of_no_change(ball):
    # Normals stay as long as they are, so across the surface nothing grows.
    at_rest, no_change = sums_at_rest(ball)
    normal, kappa = normals(ball, ball.template), mean_length(ball)
    kept = kappa**2 * normal[:, :, None] * normal[:, None, :] + no_change
    for size in (0.5, 1.3):
        expected = size * np.eye(3) - (size - 1) * kept @ np.linalg.inv(at_rest + no_change)
        np.testing.assert_allclose(local_maps(ball, size * ball.template, 0.0), expected, rtol=0, atol=1e-12)


@SMOOTHINGS
def test_maps_turn_with_both_faces_and_do_not_depend_on_the_unit(ball, other, smoothing_mm):
    maps = local_maps(ball, other, smoothing_mm)
    turned = local_maps(Topology(ball.template @ TURN.T, ball.faces), other @ TURN.T, smoothing_mm)
    np.testing.assert_allclose(turned, TURN @ maps @ TURN.T, rtol=0, atol=1e-12)
    in_meters = local_maps(Topology(ball.template / 1000, ball.faces), other / 1000, smoothing_mm / 1000)
    np.testing.assert_allclose(in_meters, maps, rtol=0, atol=1e-10)


def test_smoothing_keeps_what_is_constant_and_takes_the_rest_down(ball, other):
    spread = [float(local_maps(ball, other, mm).std(axis=0).max()) for mm in (0.0, 40.0, 80.0, 160.0)]
    assert spread[3] < 0.5 * spread[0]
    assert spread == sorted(spread, reverse=True)


@SMOOTHINGS
def test_derivatives_are_those_of_finite_differences(ball, smoothing_mm):
    directions = np.stack([field(seed, 1.0, ball) for seed in (1, 2, 3)])
    found = map_derivatives(ball, directions, smoothing_mm)
    step = 1e-3
    for direction, derivative in zip(directions, found, strict=True):
        ends = [local_maps(ball, ball.template + h * direction, smoothing_mm) for h in (step, -step)]
        np.testing.assert_allclose(derivative, (ends[0] - ends[1]) / (2 * step), rtol=0, atol=1e-9)
        assert np.abs(derivative).max() > 1e-3


def test_derivatives_are_linear_in_the_direction(ball):
    one, two = (field(seed, 1.0, ball) for seed in (4, 5))
    found = map_derivatives(ball, np.stack([one, two, 2 * one - 3 * two, 0 * one, 0 * one + [1.0, 2, 3]]))
    np.testing.assert_allclose(found[2], 2 * found[0] - 3 * found[1], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found[3:], 0, rtol=0, atol=1e-13)


def test_many_directions_have_the_derivatives_that_each_has_alone(ball, monkeypatch):
    directions = np.stack([field(seed, 1.0, ball) for seed in range(7)])
    alone = np.concatenate([map_derivatives(ball, directions[k : k + 1]) for k in range(7)])
    monkeypatch.setattr(module, "_BLOCK", 3)
    np.testing.assert_allclose(map_derivatives(ball, directions), alone, rtol=0, atol=1e-15)
    assert map_derivatives(ball, directions[:0]).shape == (0, 162, 3, 3)


def test_the_first_order_is_near_for_faces_as_different_as_people_are(ball):
    direction = field(6, 3.0, ball)
    maps = local_maps(ball, ball.template + direction)
    first_order = np.eye(3) + map_derivatives(ball, direction[None])[0]
    change = np.abs(maps - np.eye(3)).max()
    assert change > 0.05
    assert np.abs(maps - first_order).max() < 0.1 * change


def test_a_vertex_without_a_face_is_refused(shapes):
    mesh = Topology(*shapes.together(shapes.tetrahedron(), isolated=2))
    message = (
        r"Vertex 4 of the template has fewer than two edges.*wanted a mesh whose vertices all belong to faces\. Leave"
    )
    with pytest.raises(MeshError, match=message):
        local_maps(mesh, mesh.template)
    with pytest.raises(MeshError, match=message):
        map_derivatives(mesh, mesh.template[None])
