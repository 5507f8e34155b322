"""Quadric decimation with a heap, plainly in Python (Garland and Heckbert 1997), as the published code does it.

The surviving end of the cheapest edge keeps its place; at every collapse the faces and the whole queue are gone through
to rename the vertex that is gone. So the time grows with the square of the mesh: 2,000 vertices take seconds, 9,409
minutes.
"""

import heapq

import numpy as np


def heap_decimation(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Kept vertices, ascending, and the faces between them, in the numbers of the input."""
    quadrics = _quadrics(vertices, faces)
    faces = faces.copy()
    queue = []
    corners = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    for one, other in np.unique(np.sort(corners, axis=1), axis=0):
        total = quadrics[one] + quadrics[other]
        heapq.heappush(queue, (min(_cost(total, vertices[one]), _cost(total, vertices[other])), int(one), int(other)))
    while queue and len(np.unique(faces)) > vertex_count:
        stored, one, other = heapq.heappop(queue)
        if one == other:
            continue
        total = quadrics[one] + quadrics[other]
        keep_one, keep_other = _cost(total, vertices[one]), _cost(total, vertices[other])
        if min(keep_one, keep_other) > stored:
            heapq.heappush(queue, (min(keep_one, keep_other), one, other))
            continue
        kept, removed = (one, other) if keep_one < keep_other else (other, one)
        faces[faces == removed] = kept
        queue = [(c, kept if a == removed else a, kept if b == removed else b) for c, a, b in queue]
        quadrics[kept] = total
        faces = faces[(faces != faces[:, [1, 2, 0]]).all(axis=1)]
    return np.unique(faces), faces


def _cost(quadric: np.ndarray, point: np.ndarray) -> float:
    at = np.append(point, 1.0)
    return float(at @ quadric @ at)


def _quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    quadrics = np.zeros((len(vertices), 4, 4))
    for face in faces:
        a, b, c = vertices[face]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length == 0:
            continue
        plane = np.append(normal / length, -normal @ a / length)
        for corner in face:
            quadrics[corner] += np.outer(plane, plane)
    return quadrics
