r"""How one face is stretched and turned, vertex by vertex, against another: the local maps of deformation transfer.

A displacement that was seen on one face is carried to another by the linear map that takes the neighborhood of each
vertex there (Sumner and Popovic 2004, "Deformation transfer for triangle meshes", with one map a vertex instead of one
a triangle). With the edges :math:`e` that leave a vertex and its unit normal :math:`n`, on the face at rest (0) and on
the other (1),

.. math::
    M = \left(\sum_j e^1_j {e^0_j}^T + \kappa^2 n^1 {n^0}^T + \epsilon \kappa^2 I\right)
        \left(\sum_j e^0_j {e^0_j}^T + \kappa^2 n^0 {n^0}^T + \epsilon \kappa^2 I\right)^{-1}

is the map that fits both best; :math:`\kappa` is the mean length of an edge. The last term says no change where all
edges nearly lie on a line, as at the corners of an eye, and one vertex alone has no map. Maps of neighbors are then
averaged, since those of single vertices follow the noise of the scans. Both normals have length one, so a face that is
larger all around moves further along its surface and little further away from it; normals that grow with the face, as
in the paper, leave a little more (0.176 instead of 0.171 mm, see ``_EPSILON``).
"""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from meshdisent.errors import MeshError
from meshdisent.mesh.topology import Topology

#: Weight of "no change", in squared edge lengths. On ICT-300 displacements that are carried to the mean face leave
#: 0.170 mm beyond 32 principal directions with 0.05, 0.174 with 0 or 0.2 (and single vertices then blow up with 0).
_EPSILON = 0.1
#: Directions whose derivatives are taken at once, so that edges of many large faces are never held together.
_BLOCK = 16


def local_maps(
    rest: Topology, vertices: Float[np.ndarray, "vertex 3"], smoothing_mm: float = 15.0
) -> Float[np.ndarray, "vertex 3 3"]:
    """Maps that take displacements of the template to displacements of another face of the topology.

    Parameters
    ----------
    rest : Its template is the face that displacements are taken from, in mm.
    vertices : (V, 3) The face that they are taken to, in mm.
    smoothing_mm : Over which distance maps are averaged: the standard deviation of the weights.

    Raises
    ------
    MeshError : If a vertex belongs to no face, so that it has no map.

    Examples
    --------
    >>> topology = model.topology
    >>> maps = local_maps(topology, topology.template + [0.0, 0.0, 7.0])  # who moves as a whole does not change
    >>> bool(np.allclose(maps, np.eye(3)))
    True
    """
    start = _Neighborhoods(rest, smoothing_mm)
    edges = start.edges_of(vertices)
    normal = start.unit(start.normal_sums(vertices, vertices))
    return start.fit(edges, normal, start.no_change)


def map_derivatives(
    rest: Topology, directions: Float[np.ndarray, "direction vertex 3"], smoothing_mm: float = 15.0
) -> Float[np.ndarray, "direction vertex 3 3"]:
    """How the local maps change as the template moves along each direction, at the template: per unit of direction.

    Maps are linear in the face but for the normal, so ``identity + sum of coefficient * derivative`` is within a few
    percent of :func:`local_maps` for faces as different as people are, at the price of one matrix product.

    Parameters
    ----------
    rest : Its template is where the derivative is taken.
    directions : (K, V, 3) Changes of the template, in mm.
    smoothing_mm : As in :func:`local_maps`.

    Raises
    ------
    MeshError : As :func:`local_maps`.

    Examples
    --------
    >>> as_a_whole = np.ones((1, model.topology.vertex_count, 3))
    >>> bool(np.allclose(map_derivatives(model.topology, as_a_whole), 0.0))
    True
    """
    start = _Neighborhoods(rest, smoothing_mm)
    result = np.empty((len(directions), rest.vertex_count, 3, 3))
    for first in range(0, len(directions), _BLOCK):
        block = directions[first : first + _BLOCK]
        sums = start.normal_sums(rest.template, block) + start.normal_sums(block, rest.template)
        along = (sums * start.normal).sum(axis=-1, keepdims=True) * start.normal
        turned = (sums - along) / start.normal_length[:, None]
        result[first : first + _BLOCK] = start.fit(start.edges_of(block), turned)
    return result


class _Neighborhoods:
    """Edges, normals and the inverse matrices of a face at rest."""

    def __init__(self, rest: Topology, smoothing_mm: float):
        self.count = rest.vertex_count
        self.faces: Int[np.ndarray, "face 3"] = rest.faces
        ends = np.concatenate([rest.edges, rest.edges[:, ::-1]])
        self.ends = ends[np.lexsort(ends.T[::-1])]
        alone = np.bincount(self.ends[:, 0], minlength=self.count) < 2
        if alone.any():
            raise MeshError(
                f"Vertex {alone.argmax()} of the template has fewer than two edges, so no local map; wanted a mesh "
                "whose vertices all belong to faces. Leave such vertices out when preparing the scans."
            )
        shape = self.count, len(self.ends)
        self.gather = sparse.csr_array((np.ones(len(self.ends)), (self.ends[:, 0], np.arange(len(self.ends)))), shape)
        corners = self.faces.T.reshape(-1)
        self.at_corners = sparse.csr_array(
            (np.ones(len(corners)), (corners, np.arange(len(corners)) % len(self.faces))), (self.count, len(self.faces))
        )
        self.edges = self.edges_of(rest.template)
        self.length = float(np.linalg.norm(self.edges, axis=-1).mean())
        # A walk of k steps of this length spreads over length * sqrt(k).
        self.rounds = round((smoothing_mm / self.length) ** 2)
        reach = rest.adjacency.astype(np.float64) + sparse.eye_array(self.count)
        self.mean = sparse.csr_array(sparse.diags_array(1.0 / reach.sum(axis=1)) @ reach)
        sums = self.normal_sums(rest.template, rest.template)
        self.normal_length = np.maximum(np.linalg.norm(sums, axis=-1), 1e-12)
        self.normal = self.unit(sums)
        self.no_change = _EPSILON * self.length**2 * np.eye(3)
        self.inverse = np.linalg.inv(self._sums(self.edges, self.normal) + self.no_change)

    def edges_of(self, vertices: Float[np.ndarray, "*face vertex 3"]) -> Float[np.ndarray, "*face end 3"]:
        return vertices[..., self.ends[:, 1], :] - vertices[..., self.ends[:, 0], :]

    def normal_sums(
        self, first: Float[np.ndarray, "*face vertex 3"], second: Float[np.ndarray, "*other vertex 3"]
    ) -> Float[np.ndarray, "*any vertex 3"]:
        """Sum over the faces at each vertex of one edge of the first times one edge of the second."""
        a, b, c = self.faces.T
        product = np.cross(first[..., b, :] - first[..., a, :], second[..., c, :] - second[..., a, :])
        return _apply(self.at_corners, product)

    @staticmethod
    def unit(sums: Float[np.ndarray, "*face vertex 3"]) -> Float[np.ndarray, "*face vertex 3"]:
        return sums / np.maximum(np.linalg.norm(sums, axis=-1, keepdims=True), 1e-12)

    def fit(
        self,
        edges: Float[np.ndarray, "*face end 3"],
        normal: Float[np.ndarray, "*face vertex 3"],
        no_change: Float[np.ndarray, "3 3"] | float = 0.0,
    ) -> Float[np.ndarray, "*face vertex 3 3"]:
        """The map of each vertex that takes edges and normals at rest to these, averaged over neighborhoods."""
        flat = ((self._sums(edges, normal) + no_change) @ self.inverse).reshape(*normal.shape[:-1], 9)
        for _ in range(self.rounds):
            flat = _apply(self.mean, flat)
        return flat.reshape(*normal.shape, 3)

    def _sums(
        self, edges: Float[np.ndarray, "*face end 3"], normal: Float[np.ndarray, "*face vertex 3"]
    ) -> Float[np.ndarray, "*face vertex 3 3"]:
        """Products of edges and normals with those at rest."""
        products = edges[..., :, None] * self.edges[..., None, :]
        flat = _apply(self.gather, products.reshape(*edges.shape[:-1], 9))
        return flat.reshape(*normal.shape, 3) + self.length**2 * normal[..., :, None] * self.normal[..., None, :]


def _apply(matrix: sparse.csr_array, fields: Float[np.ndarray, "*face row value"]) -> np.ndarray:
    """A sparse matrix applied to each of several fields at once."""
    rows, width = fields.shape[-2:]
    beside = np.moveaxis(fields.reshape(-1, rows, width), 1, 0).reshape(rows, -1)  # (R, N * value)
    result = (matrix @ beside).reshape(matrix.shape[0], -1, width)
    return np.moveaxis(result, 0, 1).reshape(*fields.shape[:-2], matrix.shape[0], width)
