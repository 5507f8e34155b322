"""Hierarchies: a template decimated again and again, each level a subset of the one above."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Level:
    """One level: vertices (V, 3) in the unit of the template, faces (F, 3)."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Levels from fine to coarse, and how to go between them.

    Parameters
    ----------
    levels : Finest first; ``levels[0]`` is the template.
    kept : For each step, (V_{l+1},) the vertex of level l that each vertex of level l + 1 is.
    up : For each step, (V_l, V_{l+1}) rows that take values of level l + 1 to level l; None if they were not built.
    """

    levels: tuple[Level, ...]
    kept: tuple[Int[np.ndarray, " small"], ...]
    up: tuple[sparse.csr_array, ...] | None


def hierarchy(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    factors: tuple[int, ...] = (4, 4, 4, 4),
) -> Hierarchy:
    """Build levels with about 1/factor of the vertices each."""
    from meshdisent.mesh.decimation import decimate

    levels = [Level(vertices, faces)]
    kept = []
    for factor in factors:
        count = -(-len(levels[-1].vertices) // factor)
        if count < 4:
            break
        small = decimate(levels[-1].vertices, levels[-1].faces, count)
        assert small.kept is not None
        kept.append(small.kept)
        levels.append(Level(levels[-1].vertices[small.kept], small.faces))
    return Hierarchy(tuple(levels), tuple(kept), None)


def vertex_quadrics(vertices, faces):
    """(V, 4, 4) Sum over the faces at a vertex of n n^T, n = (unit normal, offset)."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    plane = np.concatenate([normal, -(normal * corners[:, 0]).sum(axis=1, keepdims=True)], axis=1)
    outer = plane[:, :, None] * plane[:, None, :]
    total = np.zeros((len(vertices), 4, 4))
    for corner in range(3):
        np.add.at(total, faces[:, corner], outer)
    return total
