r"""Laplacians of a mesh, as sparse matrices: how far a vertex is from the mean of its neighbors.

.. math:: (L x)_v = x_v - \frac{\sum_w a_{vw} x_w}{\sum_w a_{vw}}

with weights 1 along edges (uniform), or the cotangents of the opposite angles (Pinkall and Polthier 1993).
"""

from collections.abc import Callable

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.mesh.topology import Topology

#: Cotangents above this, of angles below half a degree, say more about a sliver than about the surface.
_LARGEST = 1e2


def uniform_laplacian(topology: Topology) -> sparse.csr_array:
    """``I - D^-1 A``: every neighbor counts the same; the row of an isolated vertex is zero (as FED's published code).

    Examples
    --------
    >>> triangle = Topology(np.zeros((4, 3)), np.array([[0, 1, 2]]))
    >>> uniform_laplacian(triangle).toarray()[[0, 3]]
    array([[ 1. , -0.5, -0.5,  0. ],
           [ 0. ,  0. ,  0. ,  0. ]])
    """
    return _row_normalized(topology.adjacency.astype(np.float64))


def cotangent_laplacian(topology: Topology, vertices: Float[np.ndarray, "vertex 3"] | None = None) -> sparse.csr_array:
    """The same with cotangent weights, measured on the template or on other ``vertices`` (V, 3).

    Along the normal it is near the mean curvature; on regular triangles it is the uniform one. Obtuse angles have
    negative cotangents; weights below 0 are taken as 0, and those of slivers are bounded, so that the result stays a
    mean of neighbors.

    Examples
    --------
    >>> square = Topology(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    >>> cotangent_laplacian(square).toarray()[0].round(12) + 0
    array([ 1. , -0.5,  0. , -0.5])
    """
    shown = topology.template if vertices is None else vertices
    cotangents = _cotangents(shown, topology.faces)  # (F, 3), at each corner
    # The corner's angle lies opposite the edge between the two others.
    heads, tails = topology.faces[:, [1, 2, 0]].ravel(), topology.faces[:, [2, 0, 1]].ravel()
    shape = (topology.vertex_count, topology.vertex_count)
    half = sparse.coo_array((cotangents.ravel() / 2, (heads, tails)), shape=shape).tocsr()
    weights = sparse.csr_array(half + half.T)
    weights.data = np.clip(weights.data, 0.0, _LARGEST)
    weights.setdiag(0)
    weights.eliminate_zeros()
    return _row_normalized(weights)


#: Both by name, measured on the template.
LAPLACIANS: dict[str, Callable[[Topology], sparse.csr_array]] = {
    "uniform": uniform_laplacian,
    "cotangent": cotangent_laplacian,
}


def _cotangents(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "face 3"]:
    corners = vertices[faces]  # (F, 3, 3)
    one = np.roll(corners, -1, axis=1) - corners
    other = np.roll(corners, -2, axis=1) - corners
    area = np.linalg.norm(np.cross(one, other), axis=2)
    return (one * other).sum(axis=2) / np.maximum(area, np.finfo(np.float64).tiny)


def _row_normalized(weights: sparse.csr_array) -> sparse.csr_array:
    """``I - D^-1 W`` where a row has weights, nothing where it has none."""
    total = weights.sum(axis=1)
    has_neighbors = total > 0
    scale = np.where(has_neighbors, 1.0 / np.where(has_neighbors, total, 1.0), 0.0)
    laplacian = sparse.diags_array(has_neighbors.astype(np.float64)) - sparse.diags_array(scale) @ weights
    result = sparse.csr_array(laplacian)
    result.eliminate_zeros()
    result.sort_indices()
    return result
