r"""Quadric errors: the summed squared distance of a point to many planes, as one 4 x 4 matrix.

For planes with unit normal and offset :math:`n_i = (a, b, c, d)`, :math:`Q = \sum_i n_i n_i^T` and the point
:math:`p = (x, y, z, 1)` has the error :math:`p^T Q p` (Garland and Heckbert 1997).
"""

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.mesh.normals import face_normals


def vertex_quadrics(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 4 4"]:
    """(V, 4, 4) Sum over the faces at each vertex, every face weighted alike; a degenerate face counts for nothing."""
    normal = face_normals(vertices, faces)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    offset = -(normal * vertices[faces[:, 0]]).sum(axis=1, keepdims=True)
    plane = np.concatenate([normal, offset], axis=1)  # (F, 4)
    quadric = (plane[:, :, None] * plane[:, None, :]).reshape(-1, 16)
    return sum_by_group(np.repeat(quadric, 3, axis=0), faces.ravel(), len(vertices)).reshape(-1, 4, 4)


def sum_by_group(
    values: Float[np.ndarray, "entry value"], group: Int[np.ndarray, " entry"], group_count: int
) -> Float[np.ndarray, "group value"]:
    """(G, K) Sum the rows of each group, in the order of the rows."""
    member = sparse.csc_array((np.ones(len(group)), group, np.arange(len(group) + 1)), shape=(group_count, len(group)))
    return member @ values


def quadric_cost(
    quadrics: Float[np.ndarray, "point 4 4"], points: Float[np.ndarray, "point 3"]
) -> Float[np.ndarray, " point"]:
    """(P,) Error of each point under its own quadric, in squared units of length."""
    linear = quadrics[:, :3, :3] @ points[:, :, None] + 2.0 * quadrics[:, :3, 3:]
    return (points * linear[:, :, 0]).sum(axis=1) + quadrics[:, 3, 3]


def quadric_minimum(
    quadrics: Float[np.ndarray, "point 4 4"], points: Float[np.ndarray, "point 3"], firmness: float = 1e-3
) -> Float[np.ndarray, "point 3"]:
    """(P, 3) The point of least error under each quadric, held near ``points`` in the directions that cost nothing.

    ``firmness`` is the weight of the distance to ``points``, as a share of the quadric's trace.
    """
    square = quadrics[:, :3, :3]
    hold = np.maximum(firmness * np.trace(square, axis1=1, axis2=2), np.finfo(np.float64).tiny)
    slope = square @ points[:, :, None] + quadrics[:, :3, 3:]
    return points - np.linalg.solve(square + hold[:, None, None] * np.eye(3), slope)[:, :, 0]
