"""Hierarchies: ours and the published heap, on borders, several pieces, lone vertices and next to nothing."""

import heapq
import math

import numpy as np
import pytest

from meshdisent.errors import MeshError
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.mesh.published_hierarchy import published_hierarchy
from meshdisent.mesh.quadrics import quadric_cost, quadric_minimum, vertex_quadrics
from meshdisent.mesh.topology import Topology, edges_of

BOTH = pytest.mark.parametrize("build", [hierarchy, published_hierarchy])


@BOTH
@pytest.mark.parametrize("factors", [(4, 4), (2, 3, 2), (1.5,)])
def test_each_level_has_its_share_of_the_vertices_above(shapes, build, factors):
    vertices, faces = shapes.grid(17, 19, bumps=0.2)
    levels = build(vertices, faces, factors)
    counts = [len(level.vertices) for level in levels.levels]
    expected = [len(vertices)]
    for factor in factors:
        expected.append(math.ceil(expected[-1] / factor))
    assert counts == expected


@BOTH
def test_levels_are_subsets_of_each_other(shapes, build):
    vertices, faces = shapes.together(shapes.grid(12, 12, hole=True, bumps=0.2), shapes.sphere(2))
    result = build(vertices, faces)
    assert result.levels[0].vertices is vertices
    assert np.array_equal(result.levels[0].faces, faces)
    for above, kept, below in zip(result.levels[:-1], result.kept, result.levels[1:], strict=True):
        assert (np.diff(kept) > 0).all()
        assert np.array_equal(above.vertices[kept], below.vertices)
        assert np.array_equal(np.unique(below.faces), np.arange(len(kept)))


@BOTH
def test_twice_is_the_same(shapes, build):
    mesh = shapes.drawn(3)
    for first, second in zip(build(*mesh).levels, build(*mesh).levels, strict=True):
        assert np.array_equal(first.vertices, second.vertices)
        assert np.array_equal(first.faces, second.faces)


@BOTH
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("triangle", [3]),
        ("tetrahedron", [4]),
        ("two triangles", [4]),
        ("grid of 3 x 3", [9, 3]),
        ("icosahedron", [12, 3]),
        ("no faces", [5]),
        ("nothing", [0]),
        ("degenerate", [9]),
    ],
)
def test_tiny_templates_end_early(shapes, build, name, counts):
    points, none = np.random.default_rng(0).normal(size=(9, 3)), np.zeros((0, 3), dtype=np.int64)
    mesh = {
        "triangle": shapes.triangle(),
        "tetrahedron": shapes.tetrahedron(),
        "two triangles": shapes.grid(1, 1),
        "grid of 3 x 3": shapes.grid(2, 2),
        "icosahedron": shapes.sphere(0),
        "no faces": (points[:5], none),
        "nothing": (points[:0], none),
        "degenerate": (points, np.array([[0, 0, 1], [3, 4, 4]])),
    }[name]
    found = [len(level.vertices) for level in build(*mesh).levels]
    if build is hierarchy and name == "icosahedron":
        counts = [12, 4]  # a closed surface has four vertices or more; the published heap flattens it to a triangle
    assert found == counts


def test_lone_vertices_are_on_the_first_level_only(shapes):
    vertices, faces = shapes.together(shapes.grid(8, 8), isolated=5)
    result = hierarchy(vertices, faces, (4,))
    assert [len(level.vertices) for level in result.levels] == [86, 22]
    assert (result.kept[0] < 81).all()


def test_pieces_stay_while_there_is_room(shapes):
    vertices, faces = shapes.together(shapes.sphere(2), shapes.grid(7, 7), shapes.triangle())
    counts = [Topology(level.vertices, level.faces).components.max() + 1 for level in hierarchy(vertices, faces).levels]
    assert counts == [3, 3, 3, 1]


def test_our_levels_stay_manifolds(shapes):
    result = hierarchy(*shapes.shuffled(shapes.torus(24, 16), 2))
    assert [len(level.vertices) for level in result.levels][:3] == [384, 96, 24]
    for level in result.levels:
        assert (edges_of(level.faces, len(level.vertices))[1] == 2).all()
        assert len(level.vertices) * 3 == len(edges_of(level.faces, len(level.vertices))[0])  # V - E + F = 0


@BOTH
@pytest.mark.parametrize("factor", [1, 0, -4, float("nan")])
def test_a_factor_of_one_or_less_is_refused(shapes, build, factor):
    with pytest.raises(MeshError, match="wanted numbers above 1"):
        build(*shapes.sphere(1), (4, factor))


def test_up_maps_are_barycentric(shapes):
    result = hierarchy(*shapes.drawn(8))
    assert len(result.up) == len(result.kept) > 1
    for up, above, below in zip(result.up, result.levels[:-1], result.levels[1:], strict=True):
        assert up.shape == (len(above.vertices), len(below.vertices))
        assert up.data.min() > 0
        np.testing.assert_allclose(up.sum(axis=1), 1.0, atol=1e-12)


def test_up_brings_a_linear_field_back_on_a_flat_sheet(shapes):
    vertices, faces = shapes.grid(10, 10)
    result = hierarchy(vertices, faces, (4, 4))
    field = vertices @ np.array([2.0, -3.0, 1.0]) + 5.0
    down = field[result.kept[0]]
    np.testing.assert_allclose(result.up[0] @ down, field, atol=1e-9)
    np.testing.assert_allclose(result.up[1] @ down[result.kept[1]], down, atol=1e-9)


def test_kept_vertices_stay_where_they_are_going_up(shapes):
    result = hierarchy(*shapes.sphere(2), (4,))
    assert np.array_equal((result.up[0] @ result.levels[1].vertices)[result.kept[0]], result.levels[1].vertices)


def literal_published_step(vertices, faces, count):
    """The published rule word by word: names rewritten in the whole queue at each collapse."""
    quadrics = vertex_quadrics(vertices, faces)
    points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    faces = faces.copy()

    def costs(r, c):
        total = quadrics[r] + quadrics[c]
        return points[r] @ total @ points[r], points[c] @ total @ points[c], total

    queue = [(min(costs(r, c)[:2]), (r, c)) for r, c in edges_of(faces, len(vertices))[0].tolist()]
    heapq.heapify(queue)
    while len(np.unique(faces)) > count:
        stored, (r, c) = heapq.heappop(queue)
        if r == c:
            continue
        destroy_c, destroy_r, total = costs(r, c)
        if min(destroy_c, destroy_r) > stored:
            heapq.heappush(queue, (min(destroy_c, destroy_r), (r, c)))
            continue
        keep, destroy = (r, c) if destroy_c < destroy_r else (c, r)
        faces[faces == destroy] = keep
        queue = [(cost, tuple(keep if name == destroy else name for name in edge)) for cost, edge in queue]
        quadrics[r] = quadrics[c] = total
        faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    return faces


@pytest.mark.parametrize("seed", range(6))
def test_the_published_heap_follows_its_rule_to_the_letter(shapes, seed):
    # No flat parts and no vertex with a single face: they give costs of 0 and rounding, whose order is chance.
    pieces = shapes.together(shapes.sphere(1), shapes.torus(7, 6), shapes.sphere(0))
    vertices, faces = shapes.shuffled(pieces, seed)
    vertices = vertices + 0.1 * np.random.default_rng(seed).normal(size=vertices.shape)
    result = published_hierarchy(vertices, faces, (3,))
    expected = literal_published_step(vertices, faces, math.ceil(len(vertices) / 3))
    assert np.array_equal(result.kept[0], np.unique(expected))
    assert np.array_equal(result.kept[0][result.levels[1].faces], expected)


def test_of_two_ends_that_cost_alike_the_published_heap_keeps_the_second():
    # An octahedron: all edges cost alike, so the smallest pair, (0, 2), comes first.
    points = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    corners = [(x, y, z) for x in (0, 1) for y in (2, 3) for z in (4, 5)]
    faces = np.array([face if np.linalg.det(points[list(face)]) > 0 else face[::-1] for face in corners])
    assert published_hierarchy(points, faces, (1.2,)).kept[0].tolist() == [1, 2, 3, 4, 5]


def test_quadrics_measure_squared_distances_to_planes(shapes):
    vertices, faces = shapes.tetrahedron()
    quadrics = vertex_quadrics(vertices, faces)
    point = np.array([0.3, -0.4, 2.0])
    slant = (point.sum() - 1) ** 2 / 3
    planes = {0: point**2 @ [1, 1, 1], 1: slant + point[1] ** 2 + point[2] ** 2}
    for vertex, expected in planes.items():
        np.testing.assert_allclose(quadric_cost(quadrics[[vertex]], point[None]), [expected], atol=1e-12)
    np.testing.assert_allclose(quadric_cost(quadrics, vertices), 0, atol=1e-12)
    found = quadric_minimum(quadrics, np.tile(point, (4, 1)), firmness=1e-9)
    np.testing.assert_allclose(found, vertices, atol=1e-6)


def test_a_quadric_that_leaves_a_direction_free_does_not_move_along_it(shapes):
    vertices, faces = shapes.grid(2, 2)
    found = quadric_minimum(vertex_quadrics(vertices, faces), vertices + np.array([0.5, 0.25, 0.125]))
    np.testing.assert_allclose(found[:, :2], vertices[:, :2] + [0.5, 0.25], atol=1e-12)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-3)
