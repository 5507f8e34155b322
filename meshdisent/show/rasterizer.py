"""The renderer for machines without OpenGL: triangles to pixels in numpy, whole arrays at a time.

Each triangle is cut into pixel rows and each row into pixels; both steps are one ``np.repeat`` over all triangles, so
the cost follows the number of covered pixels. A pixel belongs to a triangle when its center does; a center on a common
edge goes to exactly one of the two. Positions and light are interpolated in perspective, as graphics hardware does.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.show.camera import Camera
from meshdisent.show.shading import BACKGROUND, Material, shade, unit, vertex_normals

# Nearer than this to the camera's plane, the projection has no meaning; such faces are left out.
NEAREST_MM = 1e-3


def visible_faces(
    points: Float[np.ndarray, "vertex 2"],
    nearness: Float[np.ndarray, " vertex"],
    faces: Int[np.ndarray, "face 3"],
    size: tuple[int, int],
) -> Int[np.ndarray, "height width"]:
    """Give, for each pixel, the row in ``faces`` of the nearest triangle over its center; -1 where there is none.

    Parameters
    ----------
    points : (V, 2) Positions in the picture, pixels, y down; the pixel in row i, column k has its center at
        (k + 0.5, i + 0.5).
    nearness : (V,) One over the distance from the camera. It is linear in the picture, distance is not.
    faces : (F, 3) Either orientation is drawn.
    size : Width and height of the picture.
    """
    width, height = size
    face, row, left, right, near_left, near_right = _spans(points, nearness, faces, height)
    first = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    last = np.clip(np.ceil(right - 0.5), 0, width).astype(np.int64)
    count = np.maximum(last - first, 0)
    span, column = _expand(first, count)
    slope = (near_right - near_left) / np.where(right > left, right - left, 1.0)
    near = (near_left + (0.5 - left) * slope)[span] + slope[span] * column
    pixel = (row * width)[span] + column
    nearest = np.zeros(width * height)
    np.maximum.at(nearest, pixel, near)
    winner = np.flatnonzero(near == nearest[pixel])
    picture = np.full(width * height, -1, np.int64)
    picture[pixel[winner]] = face[span[winner]]
    return picture.reshape(height, width)


def render_software(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    colors: Float[np.ndarray, "vertex 3"],
    camera: Camera,
    size: tuple[int, int],
    material: Material,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a mesh with a color at each vertex; one sample a pixel. The caller smooths edges by drawing larger."""
    points, depth = camera.project(vertices, size)
    drawn = faces[(depth[faces] > NEAREST_MM).all(1)]
    nearness = 1 / np.maximum(depth, NEAREST_MM)
    picture = np.empty((size[1] * size[0], 3), np.uint8)
    picture[:] = np.round(np.asarray(BACKGROUND) * 255)
    visible = visible_faces(points, nearness, drawn, size).ravel()
    pixel = np.flatnonzero(visible >= 0)
    face = visible[pixel]
    x, y = pixel % size[0] + 0.5, pixel // size[0] + 0.5
    weights = _weights(points, nearness, drawn, face, x, y)
    corners = [drawn[:, k][face] for k in range(3)]
    normals = _interpolate(vertex_normals(vertices, faces) @ camera.rotation.T, corners, weights)
    is_plain = bool((colors == colors[0]).all())
    paint = colors[:1].T.astype(np.float32) if is_plain else _interpolate(colors, corners, weights)
    picture[pixel] = np.round(shade(unit(normals), unit(camera.rays(x, y, size)), paint, material) * 255).T
    return picture.reshape(size[1], size[0], 3)


def _spans(points: np.ndarray, nearness: np.ndarray, faces: np.ndarray, height: int) -> tuple[np.ndarray, ...]:
    """Cut triangles into pixel rows: face, row, and at the left and the right end of each the x and the nearness."""
    x, y = points[:, 0][faces], points[:, 1][faces]
    order = np.argsort(y, axis=1, kind="stable")
    at = np.take_along_axis(faces, order, axis=1)  # top, middle, bottom
    y = np.take_along_axis(y, order, axis=1)
    first = np.clip(np.ceil(y[:, 0] - 0.5), 0, height).astype(np.int64)
    last = np.clip(np.ceil(y[:, 2] - 0.5), 0, height).astype(np.int64)
    outside = (x.max(1) < 0) | ~np.isfinite(x).all(1)
    face, row = _expand(first, np.where(outside, 0, np.maximum(last - first, 0)))
    center = row + 0.5
    top, middle, bottom = at[face].T
    is_upper = center < y[face, 1]
    long_x, long_near = _along(points, nearness, top, bottom, center)
    short_x, short_near = _along(
        points, nearness, np.where(is_upper, top, middle), np.where(is_upper, middle, bottom), center
    )
    swap = short_x < long_x
    left, right = np.where(swap, short_x, long_x), np.where(swap, long_x, short_x)
    near_left, near_right = np.where(swap, short_near, long_near), np.where(swap, long_near, short_near)
    return face, row, left, right, near_left, near_right


def _along(
    points: np.ndarray, nearness: np.ndarray, start: np.ndarray, end: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where edges cross rows. Edges always run downwards, so that two faces get the same number for a common edge."""
    share = (y - points[start, 1]) / np.where(points[end, 1] > points[start, 1], points[end, 1] - points[start, 1], 1.0)
    x = points[start, 0] + share * (points[end, 0] - points[start, 0])
    return x, nearness[start] + share * (nearness[end] - nearness[start])


def _expand(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay ranges end to end: owner of each entry, and first[owner], first[owner] + 1, ..."""
    owner = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - (start - first)[owner]


def _weights(
    points: np.ndarray, nearness: np.ndarray, faces: np.ndarray, face: np.ndarray, x: np.ndarray, y: np.ndarray
) -> list[np.ndarray]:
    """Perspective weights of the three corners at picture positions. Made once a face, then gathered."""
    a, b, c = (points[faces[:, k]].T for k in range(3))
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    area = np.where(area == 0, 1.0, area)
    weights = []
    for start, end, corner in ((b, c, 0), (c, a, 1), (a, b, 2)):
        by_x, by_y = (start[1] - end[1]) / area, (end[0] - start[0]) / area
        share = by_x[face] * x + by_y[face] * y - (by_x * start[0] + by_y * start[1])[face]
        # A sliver's shares are rounding noise: keep them in range.
        weights.append((np.clip(share, 0, 1) * nearness[faces[:, corner]][face]).astype(np.float32))
    total = np.maximum(weights[0] + weights[1] + weights[2], np.float32(1e-30))
    return [weight / total for weight in weights]


def _interpolate(attributes: np.ndarray, corners: list[np.ndarray], weights: list[np.ndarray]) -> np.ndarray:
    """Give (channel, pixel) from (V, channel). Channels come first: whole rows of numbers are fast."""
    channels = np.ascontiguousarray(attributes.T, np.float32)
    result = np.zeros((len(channels), len(weights[0])), np.float32)
    for corner, weight in zip(corners, weights, strict=True):
        for k, channel in enumerate(channels):
            result[k] += channel[corner] * weight
    return result
