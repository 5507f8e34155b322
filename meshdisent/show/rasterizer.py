"""The renderer for machines without OpenGL: triangles to pixels in numpy, whole arrays at a time.

Each triangle is cut into pixel rows and each row into pixels; both steps are one ``np.repeat`` over all triangles, so
the cost follows the number of covered pixels. A pixel belongs to a triangle when its center does; a center on a common
edge goes to exactly one of the two. Positions and light are interpolated in perspective, as graphics hardware does.
"""

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.show.camera import Camera
from meshdisent.show.shading import BACKGROUND, Material, shade, vertex_normals

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
    visible = visible_faces(points, nearness, drawn, size)
    row, column = np.nonzero(visible >= 0)
    corner = drawn[visible[row, column]]  # (P, 3)
    weights, is_front = _weights(points, nearness, corner, column + 0.5, row + 0.5)
    attributes = np.concatenate(
        [vertex_normals(vertices, faces) @ camera.rotation.T, camera.view(vertices), colors], axis=1
    ).astype(np.float32)
    at = np.einsum("pc,pck->pk", weights, attributes[corner])
    normals = at[:, :3]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals[~is_front] *= -1
    picture = np.empty((size[1], size[0], 3), np.uint8)
    picture[:] = np.round(np.asarray(BACKGROUND) * 255)
    picture[row, column] = np.round(shade(normals, at[:, 3:6], at[:, 6:], material) * 255)
    return picture


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


def _along(points, nearness, start, end, y):
    """Where edges cross rows. Edges always run downwards, so that two faces get the same number for a common edge."""
    share = (y - points[start, 1]) / np.where(points[end, 1] > points[start, 1], points[end, 1] - points[start, 1], 1.0)
    x = points[start, 0] + share * (points[end, 0] - points[start, 0])
    return x, nearness[start] + share * (nearness[end] - nearness[start])


def _expand(first: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay ranges end to end: owner of each entry, and first[owner], first[owner] + 1, ..."""
    owner = np.repeat(np.arange(len(count)), count)
    start = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - (start - first)[owner]


def _weights(points, nearness, corner, x, y):
    """Perspective weights of the three corners at picture positions, and whether the front is seen."""
    a, b, c = (points[corner[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    in_b = (x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (y - a[:, 1]) * (c[:, 0] - a[:, 0])
    in_c = (b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])
    safe = np.where(area == 0, 1.0, area)
    shares = np.stack([1 - (in_b + in_c) / safe, in_b / safe, in_c / safe], axis=1)
    weights = np.clip(shares, 0, 1) * nearness[corner]  # a sliver's shares are rounding noise: keep them in range
    weights /= weights.sum(1, keepdims=True)
    return weights.astype(np.float32), area < 0  # y runs down: counter-clockwise from outside has a negative area
