"""Spirals: the ordered neighborhoods on which spiral convolutions work (SpiralNet++, Gong et al. 2019).

A spiral starts at its vertex, goes once around its neighbors, then around theirs, ring after ring, clockwise seen from
outside. The order is exactly that of the published WSDF code (``facts`` of its rules: the ring of a vertex at the border
starts at the border; in the interior after the vertex in its last face). Where that code stops with an error, we pad.
"""

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from meshdisent.errors import MeshError


def spirals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], length: int = 9, dilation: int = 1
) -> Int[np.ndarray, "vertex length"]:
    """Order the neighborhood of each vertex along a spiral, in the published order.

    Rings are appended until ``length * dilation`` vertices are there, then every ``dilation``-th is kept. A vertex whose
    component ends before that (a small component, an isolated vertex) gets its ``length * dilation`` nearest vertices in
    space instead, itself first, as published. Where the whole mesh has fewer vertices, for which the published code stops
    with an error, the rest of the row repeats the vertex itself.

    Parameters
    ----------
    vertices : (V, 3) Positions; only the nearest-vertex rule looks at them.
    faces : (F, 3) Counter-clockwise seen from outside. Faces that repeat a directed edge of an earlier face (more than
        two faces at an edge, or turned against their neighbor) are left out of the order, as the published tool does.
    length : Number of vertices in a spiral, own vertex included.
    dilation : Keep every ``dilation``-th.

    Returns
    -------
    (V, length) Vertex indices, own vertex first.

    Raises
    ------
    MeshError : If ``length`` or ``dilation`` is below 1.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]])
    >>> spirals(corners, np.array([[0, 1, 2], [1, 3, 2]]), length=4)
    array([[0, 2, 1, 3],
           [1, 0, 2, 3],
           [2, 3, 1, 0],
           [3, 1, 2, 0]])
    """
    if length < 1 or dilation < 1:
        raise MeshError(f"Spirals were asked for with length {length} and dilation {dilation}; wanted 1 or more for both.")
    wanted = length * dilation
    ring, _ = one_ring_order(faces, len(vertices))
    rows, is_exhausted = _grow(ring, wanted)
    lost = np.flatnonzero(is_exhausted)
    rows[lost, :wanted] = _nearest(vertices, lost, wanted)
    return rows[:, :wanted:dilation].copy()


def one_ring_order(
    faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> tuple[Int[np.ndarray, "vertex valence"], Bool[np.ndarray, " vertex"]]:
    """Order the neighbors of each vertex clockwise seen from outside, as the published tool goes around it.

    The ring of a border vertex starts at the neighbor ``w`` where the directed edge (w, v) is in a face and (v, w) is
    not; that of an interior vertex at the vertex after ``v`` in its last face. Several fans at one vertex follow each
    other, border fans first, by the face in which they start.

    Returns
    -------
    (V, valence) Neighbors, padded with -1; (V,) whether the vertex is at the border.
    """
    tail, head, opposite, following = half_edges(faces, vertex_count)
    # The half-edge after h around its tail: over the edge into the neighboring face, then on.
    turned = np.where(opposite >= 0, following[opposite], -1)
    starts, is_border = _fan_starts(tail, head, opposite, following, turned, vertex_count)
    owner, first_half_edge, leading = starts
    table = np.full((vertex_count, 1), -1, dtype=np.int64)
    fill = np.zeros(vertex_count, dtype=np.int64)
    rank = _rank_in_group(owner)
    for fan in range(int(rank.max()) + 1 if len(rank) else 0):
        chosen = rank == fan
        table, fill = _walk(table, fill, owner[chosen], first_half_edge[chosen], leading[chosen], head, turned)
    return table[:, : max(int(fill.max(initial=0)), 1)], is_border


def half_edges(
    faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> tuple[Int[np.ndarray, " half"], Int[np.ndarray, " half"], Int[np.ndarray, " half"], Int[np.ndarray, " half"]]:
    """Cut the faces into directed edges: tail, head, the opposite one (-1 at a border), the following one in its face.

    Degenerate faces, and faces with a directed edge that an earlier face has taken, are left out.
    """
    faces = _with_unique_directed_edges(np.asarray(faces, dtype=np.int64), vertex_count)
    tail = faces.reshape(-1)
    head = faces[:, [1, 2, 0]].reshape(-1)
    following = np.arange(len(tail)).reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    key, reverse = tail * vertex_count + head, head * vertex_count + tail
    order = np.argsort(key)
    place = np.minimum(np.searchsorted(key, reverse, sorter=order), max(len(key) - 1, 0))
    candidate = order[place]
    opposite = np.where(key[candidate] == reverse, candidate, -1)
    return tail, head, opposite, following


def _with_unique_directed_edges(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    following = faces[:, [1, 2, 0]]
    faces = faces[(faces != following).all(axis=1)]
    key = faces * vertex_count + faces[:, [1, 2, 0]]  # (F, 3)
    values, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    if len(values) == key.size:
        return faces
    is_disputed = (counts[inverse.reshape(key.shape)] > 1).any(axis=1)
    taken: set[int] = set()
    is_kept = ~is_disputed
    for face in np.flatnonzero(is_disputed):
        edges = key[face].tolist()
        if taken.isdisjoint(edges):
            taken.update(edges)
            is_kept[face] = True
    return faces[is_kept]


def _fan_starts(tail, head, opposite, following, turned, vertex_count):
    """Where each fan of faces around a vertex starts: owner, first half-edge, neighbor before it (-1 in closed fans)."""
    entering = np.flatnonzero(opposite < 0)  # w -> v without v -> w
    is_border = np.zeros(vertex_count, dtype=bool)
    is_border[head[entering]] = True
    owner, first, leading = head[entering], following[entering], tail[entering]
    # A closed fan is a cycle of `turned`; it starts behind its vertex's last face.
    count = len(tail)
    going = np.flatnonzero(turned >= 0)
    links = sparse.coo_array((np.ones(len(going), dtype=np.int8), (going, turned[going])), shape=(count, count))
    fan_count, fan = connected_components(links, directed=False) if count else (0, np.zeros(0, dtype=np.int64))
    last = np.full(fan_count, -1)
    np.maximum.at(last, fan, np.arange(count))
    is_closed = np.ones(fan_count, dtype=bool)
    is_closed[fan[opposite < 0]] = False
    last = last[is_closed]
    owner, first = np.concatenate([owner, tail[last]]), np.concatenate([first, last])
    leading = np.concatenate([leading, np.full(len(last), -1)])
    order = np.lexsort([np.arange(len(owner)), owner])
    return (owner[order], first[order], leading[order]), is_border


def _rank_in_group(sorted_groups: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal values."""
    index = np.arange(len(sorted_groups))
    is_new = np.ones(len(sorted_groups), dtype=bool)
    is_new[1:] = sorted_groups[1:] != sorted_groups[:-1]
    return index - np.maximum.accumulate(np.where(is_new, index, 0)) if len(index) else index


def _walk(table, fill, owner, first, leading, head, turned):
    """Append one fan per owner to the table of neighbors, all fans at once, a step at a time."""
    has_leading = leading >= 0
    table, fill = _append(table, fill, owner[has_leading], leading[has_leading])
    at = first.copy()
    while len(owner):
        table, fill = _append(table, fill, owner, head[at])
        at = turned[at]
        goes_on = (at >= 0) & (at != first)
        owner, first, at = owner[goes_on], first[goes_on], at[goes_on]
    return table, fill


def _append(table, fill, rows, values):
    if len(rows) and fill[rows].max() >= table.shape[1]:
        table = np.concatenate([table, np.full((len(table), 4), -1, dtype=np.int64)], axis=1)
    table[rows, fill[rows]] = values
    fill[rows] += 1
    return table, fill


def _grow(ring: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Append ring after ring to every row until ``wanted`` entries are there, or the component ends."""
    count, valence = ring.shape
    rows = np.full((count, max(wanted, valence + 2)), -1, dtype=np.int64)
    rows[:, 0] = np.arange(count)
    rows[:, 1 : valence + 1] = ring
    fill = 1 + (ring >= 0).sum(axis=1)
    begin = np.ones(count, dtype=np.int64)  # where the last ring starts in the row
    is_exhausted = np.zeros(count, dtype=bool)
    active = np.arange(count)
    while len(active):
        filled_before = fill[active]
        _append_next_ring(rows, fill, active, begin[active], ring, wanted)
        is_exhausted[active] = fill[active] == filled_before
        begin[active] = filled_before
        active = active[(fill[active] < wanted) & ~is_exhausted[active]]
    return rows, is_exhausted


def _append_next_ring(rows, fill, active, begin, ring, wanted) -> None:
    """Go along the last ring of each active row and append the new neighbors of its vertices, in place.

    A row whose entries reach ``wanted`` is left as soon as it has one new entry: the rest would be cut off.
    """
    last_ring_end = fill[active]
    began_at = last_ring_end.copy()
    limit = rows.shape[1]
    for step in range(int((last_ring_end - begin).max(initial=0))):
        still = (begin + step < last_ring_end) & ((fill[active] < wanted) | (fill[active] == began_at))
        who = np.flatnonzero(still)
        if not len(who):
            break
        vertex = active[who]
        around = ring[rows[vertex, begin[who] + step]]  # (n, valence)
        position = np.arange(limit)
        in_last = (position >= begin[who, None]) & (position < last_ring_end[who, None])
        is_in_last = ((around[:, :, None] == rows[vertex][:, None, :]) & in_last[:, None, :]).any(axis=2) & (around >= 0)
        around = _turn_behind_first(around, is_in_last)
        known = (around[:, :, None] == rows[vertex][:, None, :]).any(axis=2) | (around < 0)
        _append_new(rows, fill, vertex, around, ~known)


def _turn_behind_first(around: np.ndarray, is_marked: np.ndarray) -> np.ndarray:
    """Rotate each padded row so that it starts behind its first marked entry; rows without a mark stay."""
    valence = np.maximum((around >= 0).sum(axis=1), 1)
    start = np.where(is_marked.any(axis=1), is_marked.argmax(axis=1) + 1, 0)
    column = np.arange(around.shape[1])
    turned = np.take_along_axis(around, (start[:, None] + column) % valence[:, None], axis=1)
    return np.where(column < valence[:, None], turned, -1)


def _append_new(rows, fill, vertex, around, is_new) -> None:
    place = fill[vertex][:, None] + np.cumsum(is_new, axis=1) - 1
    fits = is_new & (place < rows.shape[1])
    line, column = np.nonzero(fits)
    rows[vertex[line], place[line, column]] = around[line, column]
    fill[vertex] = np.minimum(fill[vertex] + is_new.sum(axis=1), rows.shape[1])


def _nearest(vertices: np.ndarray, queries: np.ndarray, wanted: int) -> np.ndarray:
    """Nearest vertices in space, itself first, ties by index; padded with itself where the mesh is too small."""
    result = np.repeat(queries[:, None], wanted, axis=1)
    if not len(queries):
        return result
    reach = min(len(vertices), wanted + 8)  # a few more, so that ties at the end are decided by index
    found = cKDTree(vertices).query(vertices[queries], k=reach)[1].reshape(len(queries), reach)
    distance = ((vertices[found] - vertices[queries, None]) ** 2).sum(axis=2)
    distance[found == queries[:, None]] = -1.0
    order = np.lexsort([found, distance], axis=1)
    take = min(wanted, reach)
    result[:, :take] = np.take_along_axis(found, order, axis=1)[:, :take]
    return result
