"""Decimation: the quadric collapse runs once, on the template; every scan then goes through the same linear map."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.errors import MeshError


@dataclass(frozen=True, eq=False)
class Decimation:
    """A decimated topology and the linear map that takes any scan to it.

    Parameters
    ----------
    kept : (n,) The vertex of the full mesh that each vertex of the small one is, increasing; None for a barycentric map.
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


def decimate(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> Decimation:
    """Decimate a template to ``vertex_count`` of its own vertices."""
    groups = collapse_groups(vertices, faces, [vertex_count])[0]
    kept, small = select(vertices, faces, groups)
    ones = np.ones(len(kept))
    chosen = sparse.csr_array((ones, (np.arange(len(kept)), kept)), shape=(len(kept), len(vertices)))
    return Decimation(kept=kept, faces=small, map=chosen)


def collapse_groups(vertices, faces, counts):
    import fast_simplification

    if min(counts) < 1:
        raise MeshError(f"wanted {min(counts)} vertices")
    _, _, collapses = fast_simplification.simplify(
        vertices, faces.astype(np.int32), target_count=max(int(min(counts) * 1.0), 1), return_collapses=True
    )
    result = []
    referenced = np.unique(faces)
    for count in counts:
        used = collapses[: max(len(referenced) - count, 0)]
        parent = np.arange(len(vertices))
        parent[used[:, 1]] = used[:, 0]
        while (parent != parent[parent]).any():
            parent = parent[parent]
        result.append(parent)
    return result


def select(vertices, faces, groups):
    from meshdisent.mesh.hierarchy import vertex_quadrics

    quadrics = vertex_quadrics(vertices, faces)
    total = np.zeros_like(quadrics)
    np.add.at(total, groups, quadrics)
    points = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    cost = np.einsum("vi,vij,vj->v", points, total[groups], points)
    order = np.lexsort([np.arange(len(vertices)), cost, groups])
    first = order[np.concatenate([[True], groups[order][1:] != groups[order][:-1]])]
    representative = np.empty(len(vertices), dtype=np.int64)
    representative[groups[first]] = first
    small = representative[groups[faces]]
    small = small[(small != small[:, [1, 2, 0]]).all(axis=1)]
    start = small.argmin(axis=1)[:, None]
    turned = np.take_along_axis(small, (start + np.arange(3)) % 3, axis=1)
    _, index = np.unique(turned, axis=0, return_index=True)
    small = small[np.sort(index)]
    kept, inverse = np.unique(small, return_inverse=True)
    return kept, inverse.reshape(-1, 3)
