"""Decimation: the quadric collapse runs once, on the template; every scan then goes through the same linear map.

Quadrics of unit normals (Garland and Heckbert 1997) choose what collapses and which vertex of each group stays.
Measured on the ICT face, 9,409 to 1,200 vertices: distance of the full vertices to the decimated surface in mm.

============================== ===== ================ =======
..                             mean  root mean square largest
============================== ===== ================ =======
:func:`decimate_by_selection`  0.185 0.252            1.45
:func:`decimate_barycentric`   0.200 0.252            1.26
locking all border vertices    0.211 0.288            1.31
============================== ===== ================ =======

The selection is the default: it is the closest, a scan is decimated by a gather, exactly, and vertex k of a small scan
is a vertex that was measured. Neither map is recomputed from a scan: that would not be linear, nor the same for all.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components

from meshdisent.errors import MeshError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.collapse import collapse_sequence, groups_after, typical_edge_length, with_skirt
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.quadrics import quadric_cost, quadric_minimum, sum_by_group, vertex_quadrics
from meshdisent.mesh.topology import adjacency_of, edges_of, is_border_vertex
from meshdisent.mesh.turned_faces import is_turned, turn_back


@dataclass(frozen=True, eq=False)
class Decimation:
    """A decimated topology and the linear map that takes any scan to it.

    Parameters
    ----------
    kept : (n,) The vertex of the full mesh that each small vertex is, increasing; None for a barycentric map.
    faces : (m, 3) Faces of the small mesh, counter-clockwise.
    map : (n, V) Rows sum to one; ``map @ scan`` is the decimated scan.
    """

    kept: Int[np.ndarray, " small"] | None
    faces: Int[np.ndarray, "face 3"]
    map: sparse.csr_array

    def apply(self, scans: Float[np.ndarray, "*batch vertex 3"]) -> Float[np.ndarray, "*batch small 3"]:
        """Decimate scans ``(..., V, 3)``, in their own precision."""
        if self.kept is not None:
            return scans[..., self.kept, :]
        flat = np.moveaxis(scans, -2, 0).reshape(scans.shape[-2], -1)
        small = (self.map.astype(scans.dtype) @ flat).reshape(-1, *scans.shape[:-2], scans.shape[-1])
        return np.ascontiguousarray(np.moveaxis(small, 0, -2))


def decimate_by_selection(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> Decimation:
    """Decimate a template to some of its own vertices.

    Parameters
    ----------
    vertices : (V, 3) The template.
    faces : (F, 3) Triangles; open borders, several components and unreferenced vertices are allowed.
    vertex_count : Vertices to keep. Vertices without a face go first. Where even the smallest pieces (a triangle, a
        tetrahedron) of all components are more than this, the components of least area go, whole. With V or more,
        nothing is changed, and vertices without a face stay.

    Returns
    -------
    Decimation with ``kept``; exactly ``vertex_count`` vertices wherever the surface allows it. The border stays in
    place up to the error above; its vertices are border vertices of the template. Faces that the collapse had turned
    over are turned back by choosing another vertex of the group, or by swapping an edge. The same input gives the same
    output.

    Raises
    ------
    MeshError : If ``vertex_count`` is below 3 or the template has no triangle with three different corners.

    Warns
    -----
    UserWarning : If the result cannot have the vertices that were asked for.

    Examples
    --------
    >>> rows, columns = np.mgrid[:5, :5]
    >>> grid = np.stack([columns, rows, 0 * rows], axis=-1).reshape(-1, 3).astype(float)
    >>> corner = (5 * rows[:-1, :-1] + columns[:-1, :-1]).ravel()
    >>> first = np.stack([corner, corner + 1, corner + 6], axis=1)
    >>> second = np.stack([corner, corner + 6, corner + 5], axis=1)
    >>> decimate_by_selection(grid, np.concatenate([first, second]), 4).kept
    array([ 0,  4, 20, 24])
    """
    if vertex_count >= len(vertices):
        return _selection(len(vertices), np.arange(len(vertices)), np.asarray(faces, dtype=np.int64))
    kept, small, _ = select_vertices(vertices, faces, vertex_count)
    _say_if_missed(len(kept), vertex_count)
    return _selection(len(vertices), kept, small)


def decimate_barycentric(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> Decimation:
    """Decimate a template to points on its surface, three weights a vertex: smaller largest error than a selection.

    The faces are those of :func:`decimate_by_selection`; each vertex then moves to the minimum of its group's quadric,
    projected to the template, unless that would turn a face over. Parameters, result and errors are the same.
    """
    if vertex_count >= len(vertices):
        return decimate_by_selection(vertices, faces, vertex_count)
    kept, small, quadrics = select_vertices(vertices, faces, vertex_count)
    _say_if_missed(len(kept), vertex_count)
    face, weights, _ = closest_points(quadric_minimum(quadrics, vertices[kept]), vertices, faces)
    moved = _rows(faces[face], weights, len(vertices))
    fixed = _selection(len(vertices), kept, small).map
    normals = vertex_normals(vertices, faces)
    # The projection must not jump to another sheet, as from one lip to the other.
    stays = ((moved @ normals) * normals[kept]).sum(axis=1) <= 0
    while True:
        mixed = sparse.csr_array(sparse.diags_array(stays * 1.0) @ fixed + sparse.diags_array(~stays * 1.0) @ moved)
        turned = is_turned(mixed @ vertices, small, mixed @ normals)
        corners = np.unique(small[turned])
        if stays[corners].all():
            break
        stays[corners] = True
    mixed.eliminate_zeros()
    return Decimation(kept=None, faces=small, map=mixed)


def decimate(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> Decimation:
    """Decimate by selection: see :func:`decimate_by_selection`, the default for the reasons at the top of this file."""
    return decimate_by_selection(vertices, faces, vertex_count)


def select_vertices(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> tuple[Int[np.ndarray, " small"], Int[np.ndarray, "small_face 3"], Float[np.ndarray, "small 4 4"]]:
    """Find kept vertices, the faces between them, and the summed quadric of each one's group of vertices."""
    faces = _proper_triangles(np.asarray(faces, dtype=np.int64))
    if vertex_count < 3 or not len(faces):
        raise MeshError(
            f"Decimation to {vertex_count} vertices was asked for on a template with {len(faces)} proper triangles; "
            "wanted 3 vertices or more and at least one triangle. Give a larger number, or a template with faces."
        )
    steps, faces = _steps(vertices, faces, vertex_count)
    survivors, group = np.unique(groups_after(steps, len(vertices)), return_inverse=True)
    quadrics = _group_quadrics(vertices, faces, group, len(survivors))
    members = _members_by_cost(vertices, faces, group, quadrics)
    corners = _proper_triangles(group[faces])
    chosen = np.array([best[0] for best in members])
    chosen, corners = turn_back(vertices, vertex_normals(vertices, faces), chosen, corners, members)
    order = np.unique(corners)
    order = order[np.argsort(chosen[order])]
    rank = np.empty(len(survivors), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return chosen[order], rank[corners], quadrics[order]


def has_proper_triangle(faces: Int[np.ndarray, "face 3"]) -> bool:
    """Whether any face has three different corners."""
    return bool((faces != faces[:, [1, 2, 0]]).all(axis=1).any())


def _say_if_missed(found: int, wanted: int) -> None:
    if found != wanted:
        warnings.warn(
            f"Decimation ended at {found} vertices; {wanted} were asked for. The surface has no other collapse without "
            "a tear, or not enough vertices with a face.",
            stacklevel=3,
        )


def _steps(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Collapses down to ``vertex_count``, and the faces of the components that there is room for."""
    steps = collapse_sequence(vertices, faces, vertex_count)
    if len(np.unique(faces)) - len(steps) <= vertex_count:
        return steps, faces
    component = connected_components(adjacency_of(edges_of(faces, len(vertices))[0], len(vertices)), directed=False)[1]
    left = np.unique(groups_after(steps, len(vertices))[faces])
    size = np.bincount(component[left], minlength=component.max() + 1)
    area = np.bincount(component[faces[:, 0]], np.linalg.norm(face_normals(vertices, faces), axis=1), len(size))
    room, stays = vertex_count, np.zeros(len(size), dtype=bool)
    for candidate in np.argsort(-area, kind="stable"):
        if size[candidate] and (size[candidate] <= room or not stays.any()):
            stays[candidate] = True
            room -= size[candidate]
    faces = faces[stays[component[faces[:, 0]]]]
    return collapse_sequence(vertices, faces, vertex_count), faces


def _group_quadrics(vertices: np.ndarray, faces: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    skirted = with_skirt(vertices, faces, depth=typical_edge_length(vertices, faces))
    single = vertex_quadrics(*skirted)[: len(vertices)]
    return sum_by_group(single.reshape(-1, 16), group, count).reshape(-1, 4, 4)


def _members_by_cost(
    vertices: np.ndarray, faces: np.ndarray, group: np.ndarray, quadrics: np.ndarray
) -> list[np.ndarray]:
    """For each group its vertices, least quadric error first; only border vertices where it has any."""
    is_border = is_border_vertex(faces, len(vertices))
    has_border = np.zeros(len(quadrics), dtype=bool)
    has_border[group[is_border]] = True
    allowed = np.flatnonzero(is_border | ~has_border[group])
    cost = quadric_cost(quadrics[group[allowed]], vertices[allowed])
    allowed = allowed[np.lexsort([allowed, cost, group[allowed]])]
    return np.split(allowed, np.flatnonzero(np.diff(group[allowed])) + 1)


def _proper_triangles(faces: np.ndarray) -> np.ndarray:
    """Triangles with three different corners, each set of corners once, in their order."""
    faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    ordered = np.sort(faces, axis=1)
    count = int(faces.max(initial=0)) + 1
    _, first = np.unique((ordered[:, 0] * count + ordered[:, 1]) * count + ordered[:, 2], return_index=True)
    return faces[np.sort(first)]


def _selection(vertex_count: int, kept: np.ndarray, faces: np.ndarray) -> Decimation:
    return Decimation(kept=kept, faces=faces, map=_rows(kept[:, None], np.ones((len(kept), 1)), vertex_count))


def _rows(columns: np.ndarray, values: np.ndarray, width: int) -> sparse.csr_array:
    """A sparse matrix with the given columns (n, k) and values (n, k) in each row."""
    row = np.repeat(np.arange(len(columns)), columns.shape[1])
    return sparse.csr_array((values.ravel(), (row, columns.ravel())), shape=(len(columns), width))
