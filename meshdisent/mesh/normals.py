"""Normals of faces and vertices; outwards where faces are counter-clockwise seen from outside."""

import numpy as np
from jaxtyping import Float, Int


def face_normals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "face 3"]:
    """(F, 3) Normals, each as long as twice the area of its face; zero for a degenerate face."""
    corner, second, third = (vertices[faces[:, column]] for column in range(3))
    return np.cross(second - corner, third - corner)


def vertex_normals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """(V, 3) Unit normals, the faces around a vertex weighted by their area; zero where there is no face."""
    normal = np.repeat(face_normals(vertices, faces), 3, axis=0)
    sums = [np.bincount(faces.ravel(), weights=normal[:, axis], minlength=len(vertices)) for axis in range(3)]
    total = np.stack(sums, axis=1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.finfo(np.float64).tiny)
