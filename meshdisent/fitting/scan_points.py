"""A raw scan as a fit looks at it: some of its points, with normals that noise does not turn, and how crowded they are.

Neighboring points of one scan say nearly the same of a model: what its codes cannot express is missed by all of them
alike. How many lie in a patch of that size is their crowd, by which a fit counts them.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.target_surface import TargetSurface

#: Points that a fit looks at; more change nothing, because crowded ones count less.
MOST_POINTS = 5000
_NEIGHBORS = 24  # whose mean normal a point takes
_NORMAL_NAMES = ("nx", "ny", "nz")


def scan_surface(mesh: Mesh, millimeters: float = 1.0) -> TargetSurface:
    """The surface of a raw scan in mm: of its triangles, else of its points with their normals, else of its points.

    Normals of bare points are those of planes through their neighbors, on the side that looks away from the middle of
    a ball fitted to all of them.

    Raises
    ------
    DataError : If the scan has too few points, or no surface.
    """
    points = mesh.vertices * millimeters
    if mesh.face_count:
        return TargetSurface.of_mesh(points, mesh.faces)
    if all(name in mesh.vertex_attributes for name in _NORMAL_NAMES):
        normals = np.stack([np.asarray(mesh.vertex_attributes[name], np.float64) for name in _NORMAL_NAMES], axis=1)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        has_normal = length[:, 0] > 0
        return TargetSurface.of_points(points[has_normal], (normals / np.maximum(length, 1e-300))[has_normal])
    return TargetSurface.of_points(points, outward_normals(points))


def outward_normals(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
    """Unit normals of a cloud of points that covers part of a head.

    Raises
    ------
    DataError : If there are fewer points than a plane through neighbors wants.
    """
    if len(points) < _NEIGHBORS:
        raise DataError(
            f"The scan has {len(points)} points and no faces; wanted {_NEIGHBORS} or more, or the faces between them."
        )
    near = cKDTree(points).query(points, k=_NEIGHBORS)[1]
    spread = points[near] - points[near].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("pkd,pke->pde", spread, spread))[1][:, :, 0]
    # |p|^2 = 2 p.c + (r^2 - |c|^2): linear in the middle c of a ball.
    moved = points - points.mean(axis=0)
    middle = np.linalg.lstsq(np.hstack([2 * moved, np.ones((len(moved), 1))]), (moved**2).sum(axis=1), rcond=None)[0]
    outside = ((moved - middle[:3]) * normals).sum(axis=1, keepdims=True)
    return np.where(outside < 0, -normals, normals)


@dataclass(frozen=True, eq=False)
class ScanPoints:
    """Points of a scan; see the module's first lines.

    Attributes
    ----------
    surface : The points that are looked at, mm, with smooth normals.
    """

    surface: TargetSurface

    @classmethod
    def of(cls, surface: TargetSurface, most: int = MOST_POINTS) -> "ScanPoints":
        """Smooth the normals, then keep some of the points."""
        count = len(surface.points)
        near = cKDTree(surface.points).query(surface.points, k=min(_NEIGHBORS, count), workers=-1)[1]
        mean = surface.normals[near].mean(axis=1)
        length = np.linalg.norm(mean, axis=1, keepdims=True)
        normals = np.where(length > 0.1, mean / np.maximum(length, 1e-12), surface.normals)
        # Not every nth: vertices of a file lie in rows.
        kept = np.sort(np.random.default_rng(0).permutation(count)[:most])
        return cls(TargetSurface(surface.points[kept], normals[kept], surface.is_border[kept]))

    @property
    def count(self) -> int:
        """Points that are looked at."""
        return len(self.surface.points)

    @cached_property
    def near(self) -> Int[np.ndarray, "point 8"]:
        """The eight nearest points of each, itself first; fewer where there are not so many."""
        return self._tree.query(self.surface.points, k=min(8, self.count), workers=-1)[1]

    def crowd(self, radius: float) -> Float[np.ndarray, " point"]:
        """How many points lie within a radius of each, itself among them."""
        near = self._tree.query_ball_point(self.surface.points, radius, return_length=True, workers=-1)
        return near.astype(np.float64)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.surface.points)
