"""Left and right: where each vertex of a roughly symmetric template lands when the face is seen in a mirror."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float

from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.topology import Topology

_NOTHING = 1e-6  # a barycentric weight below this is rounding


@dataclass(frozen=True, eq=False)
class Mirror:
    """The reflection of scans of one topology at a plane of constant x.

    Parameters
    ----------
    map : (V, V) Barycentric weights, rows summing to one: row v is the place on the surface at which vertex v is in
        the mirror.
    center_x : Where the plane is, mm.
    residual : (V,) Distance in mm from a mirrored vertex of the template to that place: how asymmetric it is there.
    """

    map: sparse.csr_array
    center_x: float
    residual: Float[np.ndarray, " vertex"]

    def apply(self, scans: Float[np.ndarray, "*batch vertex 3"]) -> Float[np.ndarray, "*batch vertex 3"]:
        """Mirror scans ``(..., V, 3)`` in their own precision; vertex k stays vertex k of the topology."""
        columns = np.moveaxis(scans, -2, 0)  # (V, ..., 3)
        mirrored = (self.map.astype(scans.dtype) @ columns.reshape(len(columns), -1)).reshape(columns.shape)
        mirrored = np.ascontiguousarray(np.moveaxis(mirrored, 0, -2))
        mirrored[..., 0] = 2.0 * self.center_x - mirrored[..., 0]
        return mirrored


def mirror_map(topology: Topology) -> Mirror:
    """Find the mirror of a template whose left and right are at positive and negative x, or shifted.

    The plane is x = 0 or x = the mean over the vertices, whichever leaves less residual. Vertices need no partner: each
    takes the closest point of the surface, so a topology that is not symmetric itself will do.

    Returns
    -------
    Mirror; see ``residual`` for how well it fits. A residual of some mm on average means that left is not x.

    Raises
    ------
    MeshError : If the topology has no faces.

    Examples
    --------
    >>> triangle = Topology(np.array([[-1.0, 0, 0], [1, 0, 0], [0, 2, 0]]), np.array([[0, 1, 2]]))
    >>> mirror_map(triangle).map.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 1.]])
    """
    candidates = [_mirror_at(topology, center) for center in (0.0, float(topology.template[:, 0].mean()))]
    return min(candidates, key=lambda mirror: float(mirror.residual.mean()))


def _mirror_at(topology: Topology, center_x: float) -> Mirror:
    reflected = topology.template * np.array([-1.0, 1.0, 1.0]) + np.array([2.0 * center_x, 0.0, 0.0])
    face, weights, distance = closest_points(reflected, topology.template, topology.faces)
    weights = np.where(weights < _NOTHING, 0.0, weights)
    weights /= weights.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(topology.vertex_count), 3)
    shape = (topology.vertex_count, topology.vertex_count)
    to_mirror = sparse.csr_array((weights.ravel(), (row, topology.faces[face].ravel())), shape=shape)
    to_mirror.eliminate_zeros()
    return Mirror(map=to_mirror, center_x=center_x, residual=distance)
