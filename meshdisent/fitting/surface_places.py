"""Places on a model's surface for the points of a scan: so dense that the nearest of them has the right triangle.

They are the middles of small cells into which the triangles of the topology are cut, so that a place keeps its name
while the face moves and belongs to one triangle. What lies nearest to the rim of the model, and beside it, is not part
of the model: hair, an ear, a shoulder.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.topology import Topology, edges_of

CELL_MM = 2.0
_MOST_PLACES = 60_000


class Pairs(NamedTuple):
    """For each point of a scan, in the model's frame, its place on the model.

    Attributes
    ----------
    corners, weights : (P, 3) Where the place is.
    normals : (P, 3) Of the triangle there.
    along : (P,) Signed distance from the point to the plane of the triangle, mm; positive for points inside the head.
    distance : (P,) From the point to the place, mm.
    agreement : (P,) Cosine between the normals of the point and of the surface.
    is_beyond : (P,) Nearest to the rim, and beside it.
    """

    corners: Int[np.ndarray, "point 3"]
    weights: Float[np.ndarray, "point 3"]
    normals: Float[np.ndarray, "point 3"]
    along: Float[np.ndarray, " point"]
    distance: Float[np.ndarray, " point"]
    agreement: Float[np.ndarray, " point"]
    is_beyond: Bool[np.ndarray, " point"]


class SurfacePlaces:
    """Fixed places on a topology, see the module's first lines.

    Parameters
    ----------
    reference : (V, 3) A usual face in mm, by which triangles are cut.
    cell_mm : Longest side of a cell.
    """

    def __init__(self, topology: Topology, reference: Float[np.ndarray, "vertex 3"], cell_mm: float = CELL_MM):
        self.faces = topology.faces
        corners = reference[self.faces]
        sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2).max(axis=1)
        steps = np.maximum(np.ceil(sides / cell_mm), 1).astype(np.int64)
        while (steps**2).sum() > max(_MOST_PLACES, len(steps)):
            steps = np.maximum(np.ceil(steps * 0.8), 1).astype(np.int64)
        is_open = _open_sides(self.faces, topology.vertex_count)
        found = []
        for count in np.unique(steps).tolist():
            row = np.flatnonzero(steps == count)
            middles = _cell_middles(count)
            # Side k lies opposite to corner k + 2; the cells along it have the least weight of that corner.
            at_side = middles[:, [2, 0, 1]] < 0.9 / count
            on_rim = (is_open[row][:, None] & at_side).any(axis=2)
            found.append((np.repeat(self.faces[row], len(middles), 0), np.tile(middles, (len(row), 1)), on_rim.ravel()))
        self.corners, self.weights, self.is_rim = (np.concatenate(part) for part in zip(*found, strict=True))
        self.reach = 1.5 * float(np.median(sides / steps))

    def pair(
        self,
        vertices: Float[np.ndarray, "vertex 3"],
        points: Float[np.ndarray, "point 3"],
        normals: Float[np.ndarray, "point 3"],
        normal_mm: float,
    ) -> Pairs:
        """The place of a face that is nearest to each point in space and direction.

        Parameters
        ----------
        normal_mm : How many mm count as much as one radian between normals.
        """
        shown = vertex_normals(vertices, self.faces)
        places = np.einsum("pk,pkd->pd", self.weights, vertices[self.corners])
        smooth = np.einsum("pk,pkd->pd", self.weights, shown[self.corners])
        smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-12)
        tree = cKDTree(np.hstack([places, normal_mm * smooth]), balanced_tree=False, compact_nodes=False)
        found = tree.query(np.hstack([points, normal_mm * normals]), workers=-1)[1]
        corners = self.corners[found]
        plane = face_normals(vertices, corners)
        plane /= np.maximum(np.linalg.norm(plane, axis=1, keepdims=True), 1e-12)
        gap = places[found] - points
        along = (gap * plane).sum(axis=1)
        beside = np.linalg.norm(gap - along[:, None] * plane, axis=1)
        return Pairs(
            corners=corners,
            weights=self.weights[found],
            normals=plane,
            along=along,
            distance=np.linalg.norm(gap, axis=1),
            agreement=(smooth[found] * normals).sum(axis=1),
            is_beyond=self.is_rim[found] & (beside > self.reach),
        )


def _cell_middles(count: int) -> Float[np.ndarray, "cell 3"]:
    """Weights of the middles of the count * count cells of a triangle.

    Examples
    --------
    >>> _cell_middles(1).round(3).tolist()
    [[0.333, 0.333, 0.333]]
    """
    upright = [(3 * i + 1, 3 * j + 1) for i in range(count) for j in range(count - i)]
    turned = [(3 * i + 2, 3 * j + 2) for i in range(count - 1) for j in range(count - 1 - i)]
    grid = np.array(upright + turned, dtype=np.float64) / (3 * count)
    return np.column_stack([grid, 1.0 - grid.sum(axis=1)])


def _open_sides(faces: Int[np.ndarray, "face 3"], vertex_count: int) -> Bool[np.ndarray, "face 3"]:
    """Whether the side from corner k to the next belongs to no other face."""
    edges, counts = edges_of(faces, vertex_count)
    border = edges[counts == 1]
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1)
    return np.isin(ends[..., 0] * vertex_count + ends[..., 1], border[:, 0] * vertex_count + border[:, 1])
