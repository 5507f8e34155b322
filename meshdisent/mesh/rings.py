"""The order of the neighbors around each vertex, from the directed edges of the faces, all vertices at once."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Int
from scipy.sparse.csgraph import connected_components


class HalfEdges(NamedTuple):
    """The directed edges of triangles; three for each triangle, one after the other.

    Parameters
    ----------
    tail, head : (3 F,) Where each starts and ends.
    opposite : (3 F,) The one that runs the other way, -1 at a border.
    following : (3 F,) The next one of the same face.
    """

    tail: Int[np.ndarray, " half"]
    head: Int[np.ndarray, " half"]
    opposite: Int[np.ndarray, " half"]
    following: Int[np.ndarray, " half"]


def half_edges(faces: Int[np.ndarray, "face 3"], vertex_count: int) -> HalfEdges:
    """Cut faces (F, 3) into directed edges.

    Degenerate faces are left out, and so are faces with a directed edge that an earlier face has taken: a third face at
    an edge, or a face turned against its neighbor. The published tool refuses the same faces.
    """
    faces = _with_unique_directed_edges(np.asarray(faces, dtype=np.int64), vertex_count)
    tail, head = faces.reshape(-1), faces[:, [1, 2, 0]].reshape(-1)
    following = np.arange(len(tail)).reshape(-1, 3)[:, [1, 2, 0]].reshape(-1)
    if not len(tail):
        return HalfEdges(tail, head, tail, following)
    key, reverse = tail * vertex_count + head, head * vertex_count + tail
    order = np.argsort(key)
    candidate = order[np.minimum(np.searchsorted(key, reverse, sorter=order), len(key) - 1)]
    return HalfEdges(tail, head, np.where(key[candidate] == reverse, candidate, -1), following)


def one_ring_order(
    faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> tuple[Int[np.ndarray, "vertex valence"], Bool[np.ndarray, " vertex"]]:
    """Order the neighbors of each vertex clockwise seen from outside, as the published tool goes around it.

    The ring of a border vertex starts at the neighbor ``w`` where the directed edge (w, v) is in a face and (v, w) is
    not; that of an interior vertex at the vertex after ``v`` in its last face. Where several fans of faces meet in one
    vertex, they follow each other, open fans first, each kind by the place of its start among the faces.

    Returns
    -------
    (V, valence) Neighbors, padded with -1; (V,) whether the vertex is at the border.
    """
    edges = half_edges(faces, vertex_count)
    # Clockwise around its tail: over the edge into the neighboring face, then one on.
    turned = np.where(edges.opposite >= 0, edges.following[edges.opposite], -1)
    fans, is_border = _fans(edges, turned, vertex_count)
    table = _Table(vertex_count)
    rank = _rank_in_group(fans.owner)
    for nth in range(int(rank.max(initial=-1)) + 1):  # almost always one fan a vertex
        chosen = rank == nth
        _walk(table, _Fans(*(column[chosen] for column in fans)), edges.head, turned)
    return table.entries, is_border


class _Fans(NamedTuple):
    """Faces around a vertex that hang together: their vertex, first half-edge, and the neighbor before it, or -1."""

    owner: np.ndarray
    first: np.ndarray
    leading: np.ndarray


class _Table:
    """Rows of different length, filled from the left, padded with -1."""

    def __init__(self, row_count: int):
        self.entries = np.full((row_count, 1), -1, dtype=np.int64)
        self.fill = np.zeros(row_count, dtype=np.int64)

    def append(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Append one value to each of some different rows."""
        if len(rows) and self.fill[rows].max() >= self.entries.shape[1]:
            more = np.full((len(self.entries), 1), -1, dtype=np.int64)
            self.entries = np.concatenate([self.entries, more], axis=1)
        self.entries[rows, self.fill[rows]] = values
        self.fill[rows] += 1


def _with_unique_directed_edges(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    key = faces * vertex_count + faces[:, [1, 2, 0]]  # (F, 3)
    values, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    if len(values) == key.size:
        return faces
    is_disputed = (counts[inverse.reshape(key.shape)] > 1).any(axis=1)
    is_kept = np.array(~is_disputed)
    taken: set[int] = set()
    for face in np.flatnonzero(is_disputed):  # one by one: whether a face is refused depends on those before it
        directed = key[face].tolist()
        if taken.isdisjoint(directed):
            taken.update(directed)
            is_kept[face] = True
    return faces[is_kept]


def _fans(edges: HalfEdges, turned: np.ndarray, vertex_count: int) -> tuple[_Fans, np.ndarray]:
    """Where each fan starts, sorted by vertex, open fans first; and which vertices have an open one."""
    entering = np.flatnonzero(edges.opposite < 0)  # w -> v without v -> w
    is_border = np.zeros(vertex_count, dtype=bool)
    is_border[edges.head[entering]] = True
    last = _last_of_closed_fans(edges.opposite, turned)
    owner = np.concatenate([edges.head[entering], edges.tail[last]])
    first = np.concatenate([edges.following[entering], last])
    leading = np.concatenate([edges.tail[entering], np.full(len(last), -1)])
    order = np.argsort(owner, kind="stable")
    return _Fans(owner[order], first[order], leading[order]), is_border


def _last_of_closed_fans(opposite: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """The half-edge of the highest face in each cycle of ``turned``."""
    count = len(turned)
    if not count:
        return turned
    going = np.flatnonzero(turned >= 0)
    links = sparse.coo_array((np.ones(len(going), dtype=np.int8), (going, turned[going])), shape=(count, count))
    fan_count, fan = connected_components(links, directed=False)
    last = np.empty(fan_count, dtype=np.int64)
    last[fan] = np.arange(count)  # of several, the last assignment stays
    is_closed = np.ones(fan_count, dtype=bool)
    is_closed[fan[opposite < 0]] = False
    return last[is_closed]


def _rank_in_group(groups: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within each run of equal values of a sorted array."""
    index = np.arange(len(groups))
    is_first = np.append(True, groups[1:] != groups[:-1])[: len(groups)]
    return index - np.maximum.accumulate(np.where(is_first, index, 0))


def _walk(table: _Table, fans: _Fans, head: np.ndarray, turned: np.ndarray) -> None:
    """Append the neighbors of one fan per vertex, all fans at once, a step at a time."""
    owner, first, leading = fans
    opens = leading >= 0
    table.append(owner[opens], leading[opens])
    at = first
    while len(owner):
        table.append(owner, head[at])
        at = turned[at]
        goes_on = (at >= 0) & (at != first)
        owner, first, at = owner[goes_on], first[goes_on], at[goes_on]
