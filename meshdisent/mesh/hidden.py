"""What of a template nobody sees from outside when an opening is closed: the inner sides of lips and lids.

A scan of a closed mouth is one surface over both lips. The inner side of the template's lips has no place on it, and
what is nearest would draw the lips apart.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from scipy.spatial import cKDTree

from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.topology import Topology

_AROUND_MM, _ACROSS_MM = 20.0, 12.0  # from the rim; to what a vertex looks at
_AHEAD, _OPPOSITE = 0.7, -0.5  # cosines: of what lies before a vertex, and between both normals
_MOST = 1000  # vertices at a time


def faces_itself(topology: Topology, rims: Sequence[Int[np.ndarray, " rim"]]) -> Bool[np.ndarray, " vertex"]:
    """(V,) Which vertices near some rims, and on them, look at another part of the template a few millimeters away."""
    is_hidden = np.zeros(topology.vertex_count, dtype=bool)
    points, normals = topology.template, vertex_normals(topology.template, topology.faces)
    for rim in rims:
        apart = cKDTree(points[rim]).query(points, distance_upper_bound=_AROUND_MM)[0]
        near = np.flatnonzero(apart < _AROUND_MM)
        others = near[:: 1 + len(near) // _MOST]
        for rows in np.array_split(near, 1 + len(near) // _MOST):
            gap = points[others] - points[rows][:, None]
            distance = np.linalg.norm(gap, axis=2)
            ahead = np.einsum("pqd,pd->pq", gap, normals[rows]) > _AHEAD * distance
            is_opposite = normals[rows] @ normals[others].T < _OPPOSITE
            is_hidden[rows] |= (ahead & is_opposite & (distance > 0) & (distance < _ACROSS_MM)).any(axis=1)
        is_hidden[rim] = True
    return is_hidden
