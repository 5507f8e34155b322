"""The hierarchy exactly as the published WSDF code builds it: one heap of edges, cheapest collapse first.

Its rule (Garland and Heckbert 1997, without border term, flip or manifold test): the cost of an edge is the error of
its cheaper end under the summed quadric of both; the surviving end keeps its position; both ends get the summed
quadric; an entry whose true cost has grown is pushed again. It ends when at most ``ceil(V / factor)`` vertices still
have a face. The published code renames vertices all over its queue at every collapse; a union-find gives the same
result in a fraction of a second.
"""

import heapq
import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.collector import collector_at_rest
from meshdisent.mesh.decimation import has_proper_triangle
from meshdisent.mesh.hierarchy import SMALLEST_LEVEL, Hierarchy, Level, check_factors
from meshdisent.mesh.quadrics import vertex_quadrics
from meshdisent.mesh.topology import edges_of


def published_hierarchy(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    factors: Sequence[int | float] = (4, 4, 4, 4),
) -> Hierarchy:
    """Decimate level by level as published.

    Parameters, result and errors are those of :func:`meshdisent.mesh.hierarchy.hierarchy`. Levels may be no manifolds
    and may lose small components. Where the published code would go on to less than three vertices, levels end.
    """
    check_factors(factors)
    levels, kept = [Level(vertices, np.asarray(faces, dtype=np.int64))], []
    for factor in factors:
        level = levels[-1]
        wanted = math.ceil(len(level.vertices) / factor)
        if wanted < SMALLEST_LEVEL or not has_proper_triangle(level.faces):
            break
        chosen, small = np.unique(_heap_collapse(level.vertices, level.faces, wanted), return_inverse=True)
        if len(chosen) < SMALLEST_LEVEL:
            break
        kept.append(chosen)
        levels.append(Level(level.vertices[chosen], small.reshape(-1, 3).astype(np.int64)))
    return Hierarchy(tuple(levels), tuple(kept))


def published_up(fine: Level, coarse: Level) -> sparse.csr_array:
    """Take values of a coarse level to the fine one by the published coefficients, which WSDF builds and never uses.

    Where the closest point of a fine vertex lies inside a coarse face, its row holds the least-squares coefficients of
    that point in the three corner *positions*; on an edge, those of the fine vertex itself in the two end positions;
    at a vertex, a one. Rows need not sum to one, and depend on where the origin is; ``Hierarchy.up`` has weights.

    Returns
    -------
    (V_fine, V_coarse)
    """
    face, weights, _ = closest_points(fine.vertices, coarse.vertices, coarse.faces)
    corner_index = coarse.faces[face]  # (V, 3)
    corners = coarse.vertices[corner_index]  # (V, 3 corners, 3)
    is_used = weights > 1e-12
    target = np.where((is_used.sum(axis=1) == 3)[:, None], np.einsum("vk,vkd->vd", weights, corners), fine.vertices)
    masked = np.where(is_used[:, :, None], corners, 0.0)  # an unused corner gets the coefficient 0 of least norm
    coefficients = np.einsum("vkd,vd->vk", np.linalg.pinv(masked.transpose(0, 2, 1)), target)
    at_vertex = is_used.sum(axis=1) == 1
    coefficients[at_vertex] = is_used[at_vertex]
    row = np.repeat(np.arange(len(face)), 3)
    shape = (len(fine.vertices), len(coarse.vertices))
    return sparse.csr_array((coefficients.ravel(), (row, corner_index.ravel())), shape=shape)


@collector_at_rest()
def _heap_collapse(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """Faces, in the numbers of the level, after collapsing down to ``vertex_count`` vertices that have a face."""
    points = [tuple(point) for point in vertices.tolist()]
    quadrics = [_packed(quadric) for quadric in vertex_quadrics(vertices, faces).tolist()]
    surface = _Faces(faces, len(vertices))
    parent = list(range(len(vertices)))
    queue = []
    for one, other in edges_of(faces, len(vertices))[0].tolist():
        total = _sum(quadrics[one], quadrics[other])
        queue.append((min(_error(total, points[one]), _error(total, points[other])), one, other))
    heapq.heapify(queue)
    while queue and surface.vertex_count > vertex_count:
        stored, one, other = heapq.heappop(queue)
        one, other = _root(parent, one), _root(parent, other)
        if one == other:
            continue
        total = _sum(quadrics[one], quadrics[other])
        keep_one, keep_other = _error(total, points[one]), _error(total, points[other])
        if min(keep_one, keep_other) > stored:
            heapq.heappush(queue, (min(keep_one, keep_other), one, other))
            continue
        kept, removed = (one, other) if keep_one < keep_other else (other, one)
        parent[removed] = kept
        quadrics[kept] = total
        surface.rename(removed, kept)
    return surface.left()


class _Faces:
    """Triangles whose corners are renamed, and how many faces each vertex still has."""

    def __init__(self, faces: np.ndarray, vertex_count: int):
        self.corners: list[list[int] | None] = faces.tolist()
        self.around: list[list[int]] = [[] for _ in range(vertex_count)]
        for index, face in enumerate(faces.tolist()):
            for corner in face:
                self.around[corner].append(index)
        self.valence = [len(entry) for entry in self.around]
        self.vertex_count = sum(count > 0 for count in self.valence)

    def rename(self, removed: int, kept: int) -> None:
        """Put ``kept`` where ``removed`` is, and drop the faces that this makes degenerate."""
        for index in self.around[removed]:
            face = self.corners[index]
            if face is None:
                continue
            face[face.index(removed)] = kept
            if face.count(kept) == 1:
                self.around[kept].append(index)
                self._count(kept, 1)
            else:
                self.corners[index] = None
                for corner in {*face, kept} - {kept}:
                    self._count(corner, -1)
                self._count(kept, -1)
            self._count(removed, -1)

    def _count(self, vertex: int, change: int) -> None:
        before, after = self.valence[vertex], self.valence[vertex] + change
        self.valence[vertex] = after
        self.vertex_count += (after > 0) - (before > 0)

    def left(self) -> np.ndarray:
        """(F, 3) Faces that are not degenerate, in their order."""
        return np.array([face for face in self.corners if face is not None], dtype=np.int64).reshape(-1, 3)


def _root(parent: list[int], vertex: int) -> int:
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


# Quadrics as tuples of their ten different numbers: Python floats are far quicker here than 4 x 4 arrays.


def _packed(quadric: list[list[float]]) -> tuple[float, ...]:
    return tuple(quadric[row][column] for row in range(4) for column in range(row, 4))


def _sum(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(float.__add__, one, other))


def _error(quadric: tuple[float, ...], point: tuple[float, ...]) -> float:
    x, y, z = point
    xx, xy, xz, xw, yy, yz, yw, zz, zw, ww = quadric
    return x * (xx * x + 2 * (xy * y + xz * z + xw)) + y * (yy * y + 2 * (yz * z + yw)) + z * (zz * z + 2 * zw) + ww
