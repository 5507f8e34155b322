"""Spirals: the ordered neighborhoods on which spiral convolutions work (SpiralNet++, Gong et al. 2019).

A spiral starts at its vertex, goes once around its neighbors, then around theirs, ring after ring, clockwise seen from
outside. The order is exactly that of the published WSDF code; where that code stops with an error, we pad.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.errors import MeshError
from meshdisent.mesh.rings import one_ring_order

_COMPARISONS_AT_ONCE = 20_000_000  # a few vertices of huge valence must not ask for gigabytes


def spirals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], length: int = 9, dilation: int = 1
) -> Int[np.ndarray, "vertex length"]:
    """Order the neighborhood of each vertex along a spiral, in the published order.

    Rings are appended until ``length * dilation`` vertices are there, then every ``dilation``-th is kept. A vertex
    whose component ends before that (a small component, an isolated vertex) gets its ``length * dilation`` nearest
    vertices in space instead, itself first, as published. Where the whole mesh has fewer vertices, for which the
    published code stops with an error, the rest of the row repeats the vertex itself.

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
           [1, 0, 3, 2],
           [2, 0, 3, 1],
           [3, 1, 2, 0]])
    """
    if length < 1 or dilation < 1:
        raise MeshError(f"Spirals were asked for with length {length}, dilation {dilation}; wanted 1 or more for both.")
    wanted = length * dilation
    ring, _ = one_ring_order(faces, len(vertices))
    rows, is_exhausted = _grow(ring, wanted)
    lost = np.flatnonzero(is_exhausted)
    rows[lost, :wanted] = _nearest(vertices, lost, wanted)
    return rows[:, :wanted:dilation].copy()


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


def _append_next_ring(
    rows: np.ndarray, fill: np.ndarray, active: np.ndarray, begin: np.ndarray, ring: np.ndarray, wanted: int
) -> None:
    """Go along the last ring of each active row and append the new neighbors of its vertices, in place.

    A row whose entries reach ``wanted`` is left as soon as it has one new entry: the rest would be cut off.
    """
    end = fill[active]
    valence = (ring >= 0).sum(axis=1)
    for step in range(int((end - begin).max(initial=0))):
        goes_on = (begin + step < end) & ((fill[active] < wanted) | (fill[active] == end))
        who = np.flatnonzero(goes_on)
        if not len(who):
            break
        centers = rows[active[who], begin[who] + step]
        comparisons = int(valence[centers].max()) * int(fill[active[who]].max())
        parts = min(len(who) * comparisons // _COMPARISONS_AT_ONCE + 1, len(who))
        for part in np.array_split(np.arange(len(who)), parts):
            of = who[part]
            _append_around(rows, fill, active[of], begin[of], end[of], ring[centers[part]])


def _append_around(
    rows: np.ndarray, fill: np.ndarray, vertex: np.ndarray, begin: np.ndarray, end: np.ndarray, around: np.ndarray
) -> None:
    """Append to each row what is new of ``around``, starting behind the first entry that lies in its last ring."""
    around = around[:, : int((around >= 0).sum(axis=1).max(initial=0))]  # (n, valence)
    so_far = rows[vertex, : int(fill[vertex].max(initial=0))]
    position = np.arange(so_far.shape[1])
    is_last_ring = (position >= begin[:, None]) & (position < end[:, None])
    is_same = around[:, :, None] == so_far[:, None, :]  # (n, valence, entries)
    is_known = is_same.any(axis=2) | (around < 0)
    start = (is_same & is_last_ring[:, None, :]).any(axis=2)
    turn = _turn_behind_first((around >= 0).sum(axis=1), start)
    around, is_known = np.take_along_axis(around, turn, axis=1), np.take_along_axis(is_known, turn, axis=1)
    _append_new(rows, fill, vertex, around, ~is_known)


def _turn_behind_first(valence: np.ndarray, is_marked: np.ndarray) -> np.ndarray:
    """Indices that rotate the first ``valence`` entries of each row to start behind the first marked one."""
    start = np.where(is_marked.any(axis=1), is_marked.argmax(axis=1) + 1, 0)
    column = np.arange(is_marked.shape[1])
    turned = (start[:, None] + column) % np.maximum(valence, 1)[:, None]
    return np.where(column < valence[:, None], turned, column)


def _append_new(rows: np.ndarray, fill: np.ndarray, vertex: np.ndarray, around: np.ndarray, is_new: np.ndarray) -> None:
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
    is_lost = ~(found == queries[:, None]).any(axis=1)  # among many vertices at one place
    found[is_lost, -1] = queries[is_lost]
    distance = ((vertices[found] - vertices[queries, None]) ** 2).sum(axis=2)
    distance[found == queries[:, None]] = -1.0
    order = np.lexsort([found, distance], axis=1)
    take = min(wanted, reach)
    result[:, :take] = np.take_along_axis(found, order, axis=1)[:, :take]
    return result
