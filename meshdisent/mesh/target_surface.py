"""A surface without correspondences, as points with normals: which of them a moving template lies closest to.

A triangle mesh gives its vertices, and more points inside triangles that are larger than a spacing, so that the tangent
plane of the nearest point stands for the surface (its error is d^2 / 2R, 0.05 mm for points 2 mm apart on a ball of
10 mm). Points of the border are marked: where a surface ends, everything beyond has its closest point on the border,
and none of these is a correspondence. What lies over a border point, no farther beside it than the next points are, is
not beyond: a depth map loses a ring several mm wide where it is steep otherwise.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from meshdisent.errors import DataError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.topology import edges_of, is_border_vertex

SPACING_MM = 3.0
_MOST_POINTS = 400_000
_NEIGHBORS = 16  # of a point without faces, to tell whether it is on the border
#: How far a point lies from the middle of its neighbors, over their mean distance: 0 inside, 0.64 on a straight border.
_OFF_CENTER = 0.4


class Matches(NamedTuple):
    """The point of the surface that each query takes for its own, and the surface there."""

    points: Float[np.ndarray, "query 3"]
    normals: Float[np.ndarray, "query 3"]
    distance: Float[np.ndarray, " query"]
    agreement: Float[np.ndarray, " query"]  # cosine between the normals of both
    is_beyond: Bool[np.ndarray, " query"]  # nearest to the border, and farther than the next points are apart


@dataclass(frozen=True, eq=False)
class TargetSurface:
    """Points of a surface in mm, as :meth:`of_mesh` and :meth:`of_points` give them.

    Attributes
    ----------
    points, normals : (P, 3) Positions in mm and outer unit normals.
    is_border : (P,) Whether the surface ends there.
    vertices, faces : The mesh that the points come from; None without one.

    Raises
    ------
    DataError : If there are fewer than four points, one is not finite, or a normal has no length.
    """

    points: Float[np.ndarray, "point 3"]
    normals: Float[np.ndarray, "point 3"]
    is_border: Bool[np.ndarray, " point"]
    vertices: Float[np.ndarray, "vertex 3"] | None = None
    faces: Int[np.ndarray, "face 3"] | None = None

    def __post_init__(self) -> None:
        if len(self.points) < 4 or not (np.isfinite(self.points).all() and np.isfinite(self.normals).all()):
            raise DataError(
                f"The target surface has {len(self.points)} points, or one that is not finite; wanted four or more "
                "finite positions in mm. Leave out what the scanner did not see."
            )
        length = np.linalg.norm(self.normals, axis=1)
        if not np.allclose(length, 1.0, atol=1e-3):
            raise DataError(
                f"The target surface has normals of length {length.min():.3g} to {length.max():.3g}; wanted 1. "
                "Normalize them, and leave out points without one."
            )

    @classmethod
    def of_mesh(
        cls,
        vertices: Float[np.ndarray, "vertex 3"],
        faces: Int[np.ndarray, "face 3"],
        spacing_mm: float = SPACING_MM,
    ) -> "TargetSurface":
        """Points of a triangle mesh; vertices without a face, and those of faces without area, are left out.

        Raises
        ------
        DataError : If no face is left, a face names a vertex that is absent, or the spacing is not above 0.
        """
        vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
        _refuse_broken(vertices, faces, spacing_mm)
        normals = vertex_normals(vertices, faces)
        has_normal = np.linalg.norm(normals, axis=1) > 0.5
        if has_normal.sum() < 4:
            raise DataError("The target mesh has no faces with an area; wanted a surface in mm. Look at its faces.")
        corner, weights, is_border = _inside_large(vertices, faces, spacing_mm)
        inner = np.einsum("pk,pkd->pd", weights, vertices[corner])
        inner_normals = np.einsum("pk,pkd->pd", weights, normals[corner])
        length = np.linalg.norm(inner_normals, axis=1, keepdims=True)
        is_good = length[:, 0] > 0.1
        return cls(
            np.concatenate([vertices[has_normal], inner[is_good]]),
            np.concatenate([normals[has_normal], (inner_normals / np.maximum(length, 1e-12))[is_good]]),
            np.concatenate([is_border_vertex(faces, len(vertices))[has_normal], is_border[is_good]]),
            vertices,
            faces,
        )

    @classmethod
    def of_points(cls, points: Float[np.ndarray, "point 3"], normals: Float[np.ndarray, "point 3"]) -> "TargetSurface":
        """Points without faces; those that have neighbors on one side only are its border."""
        points, normals = np.asarray(points, dtype=np.float64), np.asarray(normals, dtype=np.float64)
        if len(points) < 4 or not np.isfinite(points).all():
            return cls(points, normals, np.zeros(len(points), dtype=bool))  # refused there, in one place
        near = cKDTree(points).query(points, k=min(_NEIGHBORS, len(points)))[1][:, 1:]
        reach = points[near] - points[:, None]
        reach -= (reach * normals[:, None]).sum(axis=2, keepdims=True) * normals[:, None]
        usual = np.linalg.norm(reach, axis=2).mean(axis=1)
        off_center = np.linalg.norm(reach.mean(axis=1), axis=1)
        return cls(points, normals, off_center > _OFF_CENTER * np.maximum(usual, 1e-12))

    @cached_property
    def spacing_mm(self) -> float:
        """Median distance from a point to its nearest neighbor."""
        some = self.points[:: max(1, len(self.points) // 2000)]
        return float(np.median(self._tree(0.0).query(some, k=2)[0][:, 1]))

    def match(
        self, points: Float[np.ndarray, "query 3"], normals: Float[np.ndarray, "query 3"], normal_mm: float = 0.0
    ) -> Matches:
        """The nearest point in space and direction, :math:`|p - q|^2 + a^2 |n_p - n_q|^2`.

        Parameters
        ----------
        points, normals : (Q, 3) Queries in mm, with unit normals.
        normal_mm : a, how many mm count as much as one radian between the normals: with it a slope finds a slope.
        """
        queries = np.hstack([points, normal_mm * normals]) if normal_mm else points
        found = self._tree(normal_mm).query(queries, workers=-1)[1]
        gap, planes = self.points[found] - points, self.normals[found]
        beside = np.linalg.norm(gap - (gap * planes).sum(axis=1, keepdims=True) * planes, axis=1)
        return Matches(
            points=self.points[found],
            normals=planes,
            distance=np.linalg.norm(gap, axis=1),
            agreement=(planes * normals).sum(axis=1),
            is_beyond=self.is_border[found] & (beside > self._reach[found]),
        )

    def distance(self, points: Float[np.ndarray, "query 3"], matches: Matches) -> Float[np.ndarray, " query"]:
        """From points to the surface: exact on a mesh; without faces, to the plane of the match where that reaches."""
        if self.faces is not None and self.vertices is not None:
            return closest_points(points, self.vertices, self.faces)[2]
        gap = matches.points - points
        along = np.abs((gap * matches.normals).sum(axis=1))
        beside = np.sqrt(np.maximum(matches.distance**2 - along**2, 0.0))
        return np.where(beside <= 2 * self.spacing_mm, along, matches.distance)

    def _tree(self, normal_mm: float) -> cKDTree:
        if normal_mm not in self._trees:
            rows = np.hstack([self.points, normal_mm * self.normals]) if normal_mm else self.points
            self._trees[normal_mm] = cKDTree(rows)
        return self._trees[normal_mm]

    @cached_property
    def _reach(self) -> Float[np.ndarray, " point"]:
        """How far the plane of a point stands for the surface: to its third neighbor."""
        return self._tree(0.0).query(self.points, k=4, workers=-1)[0][:, -1]

    @cached_property
    def _trees(self) -> dict[float, cKDTree]:
        return {}


def _refuse_broken(vertices: np.ndarray, faces: np.ndarray, spacing_mm: float) -> None:
    if not spacing_mm > 0:
        raise DataError(f"The spacing of a target surface is {spacing_mm:g} mm; wanted more than 0, such as 3.")
    if not len(faces) or faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(
            f"The target mesh has {len(faces)} faces for {len(vertices)} vertices, and wanted are faces that name "
            "vertices it has. Give points with normals (TargetSurface.of_points) if there are no faces."
        )
    if not np.isfinite(vertices[faces]).all():
        raise DataError("The target mesh has positions that are not finite; wanted finite numbers in mm.")


def _inside_large(
    vertices: np.ndarray, faces: np.ndarray, spacing_mm: float
) -> tuple[Int[np.ndarray, "point 3"], Float[np.ndarray, "point 3"], Bool[np.ndarray, " point"]]:
    """Corners, weights and whether on the border, of a grid of points on each triangle longer than the spacing."""
    corners = vertices[faces]
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)  # (F, 3), side k from corner k to k + 1
    steps = np.ceil(sides.max(axis=1) / spacing_mm).astype(np.int64)
    while (total := int((steps[steps > 1] ** 2).sum()) // 2) > _MOST_POINTS:
        steps = np.ceil(steps * (_MOST_POINTS / total) ** 0.5 * 0.9).astype(np.int64)
    edges, counts = edges_of(faces, len(vertices))
    border = edges[counts == 1]
    keys = border[:, 0] * len(vertices) + border[:, 1]
    ends = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1), axis=-1)  # (F, 3, 2)
    is_open = np.isin(ends[..., 0] * len(vertices) + ends[..., 1], keys)  # (F, 3)
    found = [(np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3)), np.zeros(0, dtype=bool))]
    for count in np.unique(steps[steps > 1]).tolist():
        row = np.flatnonzero(steps == count)
        grid = np.array([(i, j, count - i - j) for i in range(count + 1) for j in range(count + 1 - i)]) / count
        grid = grid[grid.max(axis=1) < 1]
        opposite = grid[:, [2, 0, 1]] == 0  # side k lies opposite to corner k + 2
        on_open = (is_open[row][:, None] & opposite).any(axis=2)  # (rows, grid)
        found.append((np.repeat(faces[row], len(grid), axis=0), np.tile(grid, (len(row), 1)), on_open.ravel()))
    corner, weights, on_border = (np.concatenate(part) for part in zip(*found, strict=True))
    return corner, weights, on_border
