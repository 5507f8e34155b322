"""The order of neighbors around a vertex."""

import numpy as np

from meshdisent.mesh.rings import half_edges, one_ring_order


def rows(faces, vertex_count):
    table, is_border = one_ring_order(np.array(faces).reshape(-1, 3), vertex_count)
    return [row[row >= 0].tolist() for row in table], is_border.tolist()


def test_half_edges_know_their_opposite_and_their_successor():
    edges = half_edges(np.array([[0, 1, 2], [2, 1, 3]]), 4)
    assert edges.tail.tolist() == [0, 1, 2, 2, 1, 3]
    assert edges.head.tolist() == [1, 2, 0, 1, 3, 2]
    assert edges.opposite.tolist() == [-1, 3, -1, 1, -1, -1]
    assert edges.following.tolist() == [1, 2, 0, 4, 5, 3]


def test_a_ring_at_the_border_goes_clockwise_from_border_to_border():
    # Seen from +z: 0 in the middle of the lower edge, 1 right, 2 above, 3 left.
    rings, is_border = rows([[0, 1, 2], [0, 2, 3]], 4)
    assert rings == [[3, 2, 1], [0, 2], [1, 0, 3], [2, 0]]
    assert is_border == [True] * 4


def test_an_inner_ring_starts_behind_the_vertex_in_its_last_face(shapes):
    _, faces = shapes.fan(5)  # 1 2 3 4 5 counter-clockwise; the last face is (0, 5, 1)
    rings, is_border = rows(faces, 6)
    assert rings[0] == [5, 4, 3, 2, 1]
    assert is_border == [False, *[True] * 5]
    assert rows(np.roll(faces, 2, axis=0), 6)[0][0] == [3, 2, 1, 5, 4]
    assert rows(faces[:, [2, 0, 1]], 6)[0][0] == [5, 4, 3, 2, 1]  # the corner at which a face starts is no matter


def test_two_fans_at_a_vertex_follow_each_other_open_ones_first(shapes):
    # A bow tie at 0: two open triangles.
    assert rows([[0, 3, 4], [0, 1, 2]], 5)[0][0] == [4, 3, 2, 1]
    # A closed fan 1 2 3 and an open triangle 4 5.
    rings, is_border = rows([[0, 1, 2], [0, 2, 3], [0, 3, 1], [0, 4, 5]], 6)
    assert rings[0] == [5, 4, 3, 2, 1]
    assert is_border[0]


def test_faces_that_repeat_a_directed_edge_are_left_out():
    assert rows([[0, 1, 2], [0, 1, 3]], 4)[0] == [[2, 1], [0, 2], [1, 0], []]
    # Left out themselves, they take no edge from those after them.
    assert rows([[0, 1, 2], [0, 1, 3], [1, 3, 4]], 5)[0][3] == [1, 4]
    assert rows([[0, 1, 2], [2, 0, 1], [1, 1, 0]], 3)[0] == [[2, 1], [0, 2], [1, 0]]


def test_no_faces_no_neighbors():
    table, is_border = one_ring_order(np.zeros((0, 3), dtype=np.int64), 3)
    assert table.tolist() == [[-1], [-1], [-1]]
    assert not is_border.any()
