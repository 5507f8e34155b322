"""Spirals, against a slow and plain writing of the same rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh import spirals as spirals_module
from meshdisent.mesh.rings import one_ring_order
from meshdisent.mesh.spirals import spirals


def plain_spirals(vertices, faces, length, dilation):
    """The published rule in lists, one vertex after the other; rows are padded where there are too few vertices."""
    table, _ = one_ring_order(faces, len(vertices))
    rings = [[int(neighbor) for neighbor in row if neighbor >= 0] for row in table]
    wanted, result = length * dilation, []
    for vertex in range(len(vertices)):
        spiral, last = [vertex], rings[vertex]
        following = plain_next_ring(rings, last, spiral)
        spiral = spiral + last
        while following and len(spiral) + len(following) < wanted:
            last = following
            following = plain_next_ring(rings, last, spiral)
            spiral = spiral + last
        if following:
            spiral = spiral + following
        else:
            distance = np.linalg.norm(vertices - vertices[vertex], axis=1)
            distance[vertex] = -1.0
            spiral = np.argsort(distance, kind="stable").tolist()
        spiral = (spiral + [vertex] * wanted)[:wanted]
        result.append(spiral[::dilation])
    return np.array(result)


def plain_next_ring(rings, last, spiral):
    known, found = {*last, *spiral}, []
    for center in last:
        around = rings[center]
        first = next((place for place, neighbor in enumerate(around) if neighbor in last), -1)
        for neighbor in around[first + 1 :] + around[: first + 1]:
            if neighbor not in known:
                known.add(neighbor)
                found.append(neighbor)
    return found


@given(
    seed=st.integers(0, 10_000),
    length=st.integers(1, 14),
    dilation=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_all_rows_are_those_of_the_plain_rule(shapes, seed, length, dilation):
    vertices, faces = shapes.drawn(seed)
    # Distances without ties: among equal ones the published order is chance.
    vertices = vertices + 1e-4 * np.random.default_rng(seed).normal(size=vertices.shape)
    expected = plain_spirals(vertices, faces, length, dilation)
    assert np.array_equal(spirals(vertices, faces, length, dilation), expected)


@given(seed=st.integers(0, 10_000), length=st.integers(1, 12), dilation=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_each_spiral_starts_at_its_vertex_and_repeats_none_unless_padded(shapes, seed, length, dilation):
    vertices, faces = shapes.drawn(seed)
    result = spirals(vertices, faces, length, dilation)
    assert result.shape == (len(vertices), length)
    assert np.array_equal(result[:, 0], np.arange(len(vertices)))
    for vertex, row in enumerate(result.tolist()):
        others = [entry for entry in row if entry != vertex]
        assert len(set(others)) == len(others)
        if length * dilation <= len(vertices):
            assert len(others) == length - 1


def test_a_spiral_on_a_sheet_goes_around_twice(shapes):
    vertices, faces = shapes.grid(4, 4)
    row = spirals(vertices, faces, length=19)[12].tolist()
    assert row[0] == 12
    assert sorted(row[1:7]) == [6, 7, 11, 13, 17, 18]
    # Clockwise, starting behind the vertex in its last face (12, 18, 17).
    assert row[1:7] == [18, 13, 7, 6, 11, 17]
    assert sorted(row[7:]) == [0, 1, 2, 5, 8, 10, 14, 16, 19, 22, 23, 24]


def test_dilation_takes_every_other_vertex_of_the_longer_spiral(shapes):
    vertices, faces = shapes.sphere(2)
    assert np.array_equal(spirals(vertices, faces, 6, 3), spirals(vertices, faces, 18)[:, ::3])


def test_a_piece_that_is_too_small_takes_the_nearest_of_all_vertices(shapes):
    vertices, faces = shapes.together(shapes.triangle(), shapes.grid(3, 3), apart=4.0)
    assert spirals(vertices, faces, 5)[0].tolist() == [0, 1, 2, 3, 7]
    assert spirals(vertices, faces, 5)[1].tolist() == [1, 0, 2, 3, 7]


def test_a_lone_vertex_takes_the_nearest_vertices(shapes):
    vertices, faces = shapes.together(shapes.grid(2, 2), isolated=1)
    vertices[9] = [2.2, 2.1, 0.0]
    assert spirals(vertices, faces, 4)[9].tolist() == [9, 8, 5, 7]


def test_a_mesh_that_is_too_small_is_padded_with_the_vertex_itself(shapes):
    vertices, faces = shapes.triangle()
    assert spirals(vertices, faces, 6).tolist() == [[0, 1, 2, 0, 0, 0], [1, 0, 2, 1, 1, 1], [2, 0, 1, 2, 2, 2]]
    assert spirals(vertices, faces, 3, dilation=2).tolist() == [[0, 2, 0], [1, 2, 1], [2, 1, 2]]
    assert spirals(vertices[:1], faces[:0], 4).tolist() == [[0, 0, 0, 0]]


def test_no_faces_at_all_leave_the_nearest_vertices():
    line = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [7, 0, 0]])
    assert spirals(line, np.zeros((0, 3), dtype=np.int64), 3).tolist() == [[0, 1, 2], [1, 0, 2], [2, 1, 0], [3, 2, 1]]


def test_vertices_at_the_same_place_still_come_first_in_their_own_row():
    points = np.zeros((5, 3))
    result = spirals(points, np.zeros((0, 3), dtype=np.int64), 3)
    assert result.tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]


def test_a_crowd_at_one_place_hides_no_vertex_from_its_own_row():
    result = spirals(np.zeros((60, 3)), np.zeros((0, 3), dtype=np.int64), 3)
    assert np.array_equal(result[:, 0], np.arange(60))
    assert all(len(set(row)) == 3 for row in result.tolist())


def test_no_vertices_no_spirals():
    assert spirals(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), 9).shape == (0, 9)


def test_a_hub_with_many_spokes_is_cut_into_parts(shapes, monkeypatch):
    vertices, faces = shapes.together(shapes.fan(40), shapes.sphere(1))
    vertices = vertices + 1e-4 * np.random.default_rng(0).normal(size=vertices.shape)
    whole = spirals(vertices, faces, 9, 2)
    monkeypatch.setattr(spirals_module, "_COMPARISONS_AT_ONCE", 50)
    assert np.array_equal(spirals(vertices, faces, 9, 2), whole)
    assert np.array_equal(plain_spirals(vertices, faces, 9, 2), whole)


def test_a_fin_on_an_edge_is_left_out_of_the_order(shapes):
    vertices, faces = shapes.grid(3, 3)
    with_fin = np.concatenate([vertices, [[1.5, 1.0, 1.0]]]), np.concatenate([faces, [[5, 6, 16]]])
    assert np.array_equal(spirals(*with_fin, 6)[:16], spirals(vertices, faces, 6))


@pytest.mark.parametrize(("length", "dilation"), [(0, 1), (3, 0), (-1, 2)])
def test_impossible_lengths_are_refused(shapes, length, dilation):
    with pytest.raises(MeshError, match=f"length {length}, dilation {dilation}; wanted 1 or more"):
        spirals(*shapes.triangle(), length, dilation)
