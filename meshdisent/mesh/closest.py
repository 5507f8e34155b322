"""The closest point of a triangle mesh to each of many points, exactly.

A triangle whose center is at ``c`` and whose corners lie within ``r`` of it is at least ``|p - c| - r`` away from
``p``. So the triangle with the nearest center gives an upper bound, and only triangles whose lower bound stays below it
are tried. They are searched in groups of similar ``r``: one large triangle does not widen the search among small ones.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.errors import MeshError

_PAIRS_AT_ONCE = 2_000_000  # about 1 GB of temporary arrays
_FIRST = 256  # points; how many triangles each of them meets says how many follow at once


def closest_points(
    points: Float[np.ndarray, "point 3"], vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, "point 3"], Float[np.ndarray, " point"]]:
    """Find where on the surface each point is closest.

    Parameters
    ----------
    points : (P, 3) Query points.
    vertices, faces : The surface; degenerate triangles are allowed.

    Returns
    -------
    face : (P,) The face that holds the closest point; the first of several.
    barycentric : (P, 3) Its weights in that face, none negative, rows sum to one.
    distance : (P,) Distance to it, in the unit of the points.

    Raises
    ------
    MeshError : If there are no faces, or a position is not finite.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> closest_points(np.array([[0.5, 0.5, 2.0]]), corners, np.array([[0, 1, 2]]))
    (array([0]), array([[0. , 0.5, 0.5]]), array([2.]))
    """
    if not len(faces):
        raise MeshError("Closest points were asked for on a mesh without faces; wanted at least one. Give its faces.")
    if not (np.isfinite(points).all() and np.isfinite(vertices).all()):
        raise MeshError("Closest points were asked for at positions that are not finite; wanted finite numbers.")
    points, corners = np.asarray(points, dtype=np.float64), np.asarray(vertices, dtype=np.float64)[faces]  # (F, 3, 3)
    find, begin, count = _Candidates(corners), 0, _FIRST
    chosen = np.empty(len(points), dtype=np.int64)
    barycentric = np.empty((len(points), 3))
    squared = np.empty(len(points))
    while begin < len(points):
        point, face = find(points[begin : begin + count])
        weights, distance = _closest_on_triangle(points[begin + point], corners[face])
        best = np.lexsort([face, distance, point])
        best = best[np.concatenate([[True], point[best][1:] != point[best][:-1]])]
        rows = begin + point[best]
        chosen[rows], barycentric[rows], squared[rows] = face[best], weights[best], distance[best]
        begin += count
        count = max(1, min(16 * count, count * _PAIRS_AT_ONCE // len(point)))
    return chosen, barycentric, np.sqrt(squared)


class _Candidates:
    """Pairs (point, face) among which each point's closest face surely is."""

    def __init__(self, corners: np.ndarray):
        self._corners, self._center = corners, corners.mean(axis=1)
        self._radius = np.sqrt(((corners - self._center[:, None]) ** 2).sum(axis=2).max(axis=1))
        self._all = cKDTree(self._center)
        radius = self._radius
        size = np.floor(np.log2(np.maximum(radius, radius.max() * 2.0**-20 + 1e-300))).astype(np.int64)
        groups = [np.flatnonzero(size == group) for group in np.unique(size)]
        self._groups = [(members, cKDTree(self._center[members]), radius[members].max()) for members in groups]

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nearest = self._all.query(points)[1]
        bound = np.sqrt(_closest_on_triangle(points, self._corners[nearest])[1])
        # Rounding must not lose the winner.
        bound = bound * (1 + 1e-9) + 1e-12 * (np.abs(self._corners).max() + 1.0)
        found_points, found_faces = [], []
        for members, tree, reach in self._groups:
            lists = tree.query_ball_point(points, bound + reach, return_sorted=False)
            counts = np.fromiter((len(entry) for entry in lists), dtype=np.int64, count=len(points))
            point = np.repeat(np.arange(len(points)), counts)
            face = members[np.fromiter((f for entry in lists for f in entry), dtype=np.int64, count=int(counts.sum()))]
            gap = np.sqrt(((points[point] - self._center[face]) ** 2).sum(axis=1))
            is_near = gap <= (bound[point] + self._radius[face]) * (1 + 1e-9)
            found_points.append(point[is_near])
            found_faces.append(face[is_near])
        return np.concatenate(found_points), np.concatenate(found_faces)


def _closest_on_triangle(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (P, 3) of the closest point of each point's own triangle (P, 3, 3), and its squared distance (P,)."""
    best, best_squared = _closest_on_edge(points, corners, 0)
    for edge in (1, 2):
        weights, squared = _closest_on_edge(points, corners, edge)
        is_closer = squared < best_squared
        best[is_closer], best_squared[is_closer] = weights[is_closer], squared[is_closer]
    side, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    reach = points - corners[:, 0]
    a, b, c = (side * side).sum(1), (side * other).sum(1), (other * other).sum(1)
    u, v = (side * reach).sum(1), (other * reach).sum(1)
    area = a * c - b * b
    with np.errstate(divide="ignore", invalid="ignore"):  # a degenerate triangle has no inside, only edges
        second, third = (c * u - b * v) / area, (a * v - b * u) / area
        is_inside = (area > 0) & (second >= 0) & (third >= 0) & (second + third <= 1)
    first = np.maximum(1 - second - third, 0.0)  # by rounding it may be below zero where second + third is 1
    inside = np.stack([first, second, third], axis=1)[is_inside]
    squared = ((points[is_inside] - np.einsum("pk,pkd->pd", inside, corners[is_inside])) ** 2).sum(axis=1)
    # On the plane's inside the foot is closer than any edge, except by rounding in slivers.
    is_closer = squared <= best_squared[is_inside]
    rows = np.flatnonzero(is_inside)[is_closer]
    best[rows], best_squared[rows] = inside[is_closer], squared[is_closer]
    return best, best_squared


def _closest_on_edge(points: np.ndarray, corners: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    start, end = corners[:, edge], corners[:, (edge + 1) % 3]
    along = end - start
    length = (along * along).sum(axis=1)
    share = np.clip(((points - start) * along).sum(axis=1) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    weights = np.zeros((len(points), 3))
    weights[:, edge], weights[:, (edge + 1) % 3] = 1.0 - share, share
    return weights, ((points - start - share[:, None] * along) ** 2).sum(axis=1)
