"""The order in which edges of a template collapse, so that the mesh stays a manifold and its border keeps its shape.

The order comes from fast-simplification (quadric error, Garland and Heckbert 1997). It knows no cost for the border and
does not keep a manifold, so two things are added here. Before: a skirt of faces hangs from the border, which makes the
border a crease that the quadrics hold in place (ICT face, 9,409 to 1,200 vertices: largest error 1.3 mm with the skirt,
5.5 mm without). After: every collapse is replayed on the neighbor sets and left out where it would tear, pinch or fold
the surface (link condition, Dey et al. 1999), so that each accepted collapse removes exactly one vertex.
"""

import numpy as np
from jaxtyping import Float, Int

from meshdisent.mesh.collector import collector_at_rest
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.topology import edges_of


@collector_at_rest()
def collapse_sequence(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> Int[np.ndarray, "step 2"]:
    """Collapses (survivor, removed) that lead to ``vertex_count`` referenced vertices, or as near to it as can be.

    Parameters
    ----------
    vertices, faces : The template; faces without repeated corners.
    vertex_count : How many of the vertices that have a face shall be left.

    Returns
    -------
    (k, 2) In order. Every one is valid after those before it and leaves one vertex less.
    """
    surface = _Surface(vertices, faces)
    surface.replay(_fast_quadric_order(vertices, faces, vertex_count), vertex_count)
    while surface.remaining > vertex_count:
        before = surface.remaining
        surface.replay(surface.cheapest_first(), vertex_count)
        if surface.remaining == before:
            break
    return np.array(surface.done, dtype=np.int64).reshape(-1, 2)


def groups_after(steps: Int[np.ndarray, "step 2"], vertex_count: int) -> Int[np.ndarray, " vertex"]:
    """(V,) The survivor into which each vertex has gone; itself where nothing happened."""
    survivor = np.arange(vertex_count)
    survivor[steps[:, 1]] = steps[:, 0]
    while True:
        further = survivor[survivor]
        if np.array_equal(further, survivor):
            return survivor
        survivor = further


def border_half_edges(faces: Int[np.ndarray, "face 3"], vertex_count: int) -> Int[np.ndarray, "edge 2"]:
    """(K, 2) Directed edges of faces at which no other face lies."""
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    key = directed.min(axis=1) * vertex_count + directed.max(axis=1)
    _, index, counts = np.unique(key, return_index=True, return_counts=True)
    return directed[np.sort(index[counts == 1])]


def with_skirt(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], depth: float
) -> tuple[Float[np.ndarray, "more 3"], Int[np.ndarray, "faces 3"]]:
    """Hang a strip of faces from every border edge, ``depth`` inwards along the vertex normals."""
    border = border_half_edges(faces, len(vertices))
    if not len(border):
        return vertices, faces
    members = np.unique(border)
    hem = np.full(len(vertices), -1)
    hem[members] = len(vertices) + np.arange(len(members))
    lowered = vertices[members] - depth * vertex_normals(vertices, faces)[members]
    tail, head = border[:, 0], border[:, 1]
    strip = np.concatenate([np.stack([head, tail, hem[tail]], axis=1), np.stack([head, hem[tail], hem[head]], axis=1)])
    return np.concatenate([vertices, lowered]), np.concatenate([faces, strip])


def typical_edge_length(vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> float:
    """Mean length of the edges, in the unit of the vertices; 1 where all of them are points."""
    edges, _ = edges_of(faces, len(vertices))
    return float(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1).mean()) or 1.0


def _fast_quadric_order(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> list[list[int]]:
    import fast_simplification

    # Its thresholds are absolute: edges are brought to a mean length of 2, or the result would depend on the unit.
    points = (vertices - vertices.mean(axis=0)) * (2.0 / typical_edge_length(vertices, faces))
    points, skirted = with_skirt(points, faces, depth=6.0)
    triangles = skirted.astype(np.int32)
    # About half the faces that so many vertices have: some of its steps will be refused.
    target = max(min(vertex_count, len(triangles)), 1)
    _, _, steps = fast_simplification.simplify(points, triangles, target_count=target, return_collapses=True)
    return steps[(steps < len(vertices)).all(axis=1)].tolist()


class _Surface:
    """Neighbor sets of the vertices while edges collapse. Plain Python: each step is tiny and depends on the last."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray):
        edges, counts = edges_of(faces, len(vertices))
        self.vertices = vertices
        self.faces = faces
        self.neighbors: list[set[int]] = [set() for _ in range(len(vertices))]
        for one, other in edges.tolist():
            self.neighbors[one].add(other)
            self.neighbors[other].add(one)
        is_border = np.zeros(len(vertices), dtype=bool)
        is_border[edges[counts == 1]] = True
        self.is_border = is_border.tolist()
        self.remaining = len(np.unique(faces))
        self.done: list[tuple[int, int]] = []

    def replay(self, steps: list[list[int]], vertex_count: int) -> None:
        """Collapse in the given order what is valid, until ``vertex_count`` vertices remain."""
        for kept, removed in steps:
            if self.remaining <= vertex_count:
                return
            if removed in self.neighbors[kept] and self._may_collapse(kept, removed):
                self._collapse(kept, removed)

    def _may_collapse(self, one: int, other: int) -> bool:
        near_one, near_other = self.neighbors[one], self.neighbors[other]
        common = near_one & near_other
        both_at_border = self.is_border[one] and self.is_border[other]
        # A border edge has one face; an inner edge two. More common neighbors: the surface would fold onto itself;
        # an inner edge from border to border: it would be pinched to a point.
        if len(common) != (1 if both_at_border else 2):
            return False
        # What is left around the vertex: the last triangle and the last tetrahedron do not collapse.
        valence = len(near_one) + len(near_other) - 2 - len(common)
        return valence >= (2 if self.is_border[one] or self.is_border[other] else 3)

    def _collapse(self, kept: int, removed: int) -> None:
        for third in self.neighbors[removed]:
            ring = self.neighbors[third]
            ring.discard(removed)
            if third != kept:
                ring.add(kept)
        self.neighbors[kept] |= self.neighbors[removed]
        self.neighbors[kept].discard(kept)
        self.neighbors[kept].discard(removed)
        self.neighbors[removed].clear()
        self.is_border[kept] = self.is_border[kept] or self.is_border[removed]
        self.remaining -= 1
        self.done.append((kept, removed))

    def cheapest_first(self) -> list[list[int]]:
        """All edges left, shortest first: the finish where the quadric order has run out."""
        pairs = sorted((one, other) for one, ring in enumerate(self.neighbors) for other in ring if one < other)
        edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        length = ((self.vertices[edges[:, 0]] - self.vertices[edges[:, 1]]) ** 2).sum(axis=1)
        return edges[np.argsort(length, kind="stable")].tolist()
