"""Polygons as fans of triangles, and back.

A polygon of n corners becomes n - 2 triangles that share its first corner, in order. The sizes of the polygons are then
all that it takes to get the polygons back, for positions, texture coordinates and normals alike. A fan covers a convex
polygon exactly; a polygon that is not convex keeps its corners but may be covered twice.
"""

import numpy as np
from jaxtyping import Int

from meshdisent.errors import MeshError


def fan(sizes: Int[np.ndarray, " polygon"]) -> Int[np.ndarray, "face 3"]:
    """For polygons whose corners lie one after the other in a list: the places of each triangle's corners in it.

    Parameters
    ----------
    sizes : (polygon,) Corners of each polygon, at least 3.

    Examples
    --------
    >>> fan(np.array([4, 3])).tolist()
    [[0, 1, 2], [0, 2, 3], [4, 5, 6]]
    """
    first = np.cumsum(sizes) - sizes
    step = _place_in_polygon(sizes - 2)
    first = np.repeat(first, sizes - 2)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def polygon_corners(
    triangles: Int[np.ndarray, "face 3"], sizes: Int[np.ndarray, " polygon"]
) -> Int[np.ndarray, " corner"]:
    """Give back the corner list of polygons that :func:`fan` has split.

    Raises
    ------
    MeshError : If the triangles are not fans of such sizes.

    Examples
    --------
    >>> polygon_corners(np.array([[5, 6, 7], [5, 7, 8], [1, 2, 3]]), np.array([4, 3])).tolist()
    [5, 6, 7, 8, 1, 2, 3]
    """
    check_fans(triangles, sizes)
    first, first_triangle = np.cumsum(sizes) - sizes, np.cumsum(sizes - 2) - (sizes - 2)
    corners = np.empty(int(sizes.sum()), dtype=np.int64)
    corners[first] = triangles[first_triangle, 0]
    corners[first + 1] = triangles[first_triangle, 1]
    corners[np.repeat(first + 2, sizes - 2) + _place_in_polygon(sizes - 2)] = triangles[:, 2]
    return corners


def check_fans(triangles: Int[np.ndarray, "face 3"], sizes: Int[np.ndarray, " polygon"]) -> None:
    """Raise :class:`MeshError` unless the triangles are fans of polygons of such sizes."""
    if len(sizes) and sizes.min() < 3:
        row = int(np.argmin(sizes))
        raise MeshError(f"Polygon {row} has {sizes[row]} corners; wanted 3 or more in every polygon.")
    stops = np.cumsum(sizes - 2)
    count = int(stops[-1]) if len(sizes) else 0
    if count != len(triangles):
        raise MeshError(
            f"The polygons make {count} triangles; wanted the {len(triangles)} of the faces. "
            "Leave polygon_sizes out for a mesh of triangles."
        )
    goes_on = (triangles[1:, 0] == triangles[:-1, 0]) & (triangles[1:, 1] == triangles[:-1, 2])
    goes_on[stops[:-1] - 1] = True  # the next triangle begins another polygon
    if not goes_on.all():
        raise MeshError(
            f"Triangle {int(np.argmin(goes_on)) + 1} does not continue the fan of its polygon; wanted triangles that "
            "share the polygon's first corner, in order. Leave polygon_sizes out for a mesh of triangles."
        )


def _place_in_polygon(counts: Int[np.ndarray, " polygon"]) -> Int[np.ndarray, " total"]:
    """0, 1, ... count - 1 for each polygon, one after the other."""
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
