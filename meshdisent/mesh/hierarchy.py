"""Hierarchies: a template decimated again and again, each level a subset of the vertices of the one above.

:func:`hierarchy` is ours, fast. :func:`meshdisent.mesh.published_hierarchy.published_hierarchy` follows the published
heap to the letter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.errors import MeshError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.decimation import has_proper_triangle, select_vertices


@dataclass(frozen=True, eq=False)
class Level:
    """One mesh of a hierarchy.

    Parameters
    ----------
    vertices : (V_l, 3) In the unit of the template.
    faces : (F_l, 3)
    """

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Levels from fine to coarse, and how to go between them.

    Parameters
    ----------
    levels : Finest first; ``levels[0]`` is the template itself.
    kept : For each step down, (V_{l+1},) the vertex of level l that each vertex of level l + 1 is, increasing.
    """

    levels: tuple[Level, ...]
    kept: tuple[Int[np.ndarray, " _"], ...]

    @cached_property
    def up(self) -> tuple[sparse.csr_array, ...]:
        """For each step, (V_l, V_{l+1}) barycentric weights of the closest point on level l + 1; rows sum to one.

        Computed when first asked for: WSDF never goes up, and this costs more than all the rest.
        """
        return tuple(_barycentric_up(*pair) for pair in zip(self.levels[:-1], self.levels[1:], strict=True))


def hierarchy(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    factors: Sequence[int | float] = (4, 4, 4, 4),
) -> Hierarchy:
    """Decimate a template level by level, each to ``ceil(V_l / factor)`` of its vertices.

    Parameters
    ----------
    vertices : (V, 3) The template.
    faces : (F, 3) Open borders, several components and vertices without a face are allowed.
    factors : How much smaller each level is than the one above.

    Returns
    -------
    Hierarchy with at most ``len(factors) + 1`` levels. It has fewer where a level would have less than three vertices,
    where nothing is left that could collapse, or where there are no faces at all; and a level has more vertices than
    asked for where its surface cannot do with fewer (a surface with many holes). Vertices without a face are on level 0
    only. The same input gives the same output.

    Raises
    ------
    MeshError : If a factor is not above 1.

    Examples
    --------
    >>> triangle = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> len(hierarchy(triangle, np.array([[0, 1, 2]])).levels)
    1
    """
    check_factors(factors)
    levels, kept = [Level(vertices, np.asarray(faces, dtype=np.int64))], []
    for factor in factors:
        level = levels[-1]
        wanted = math.ceil(len(level.vertices) / factor)
        if wanted < SMALLEST_LEVEL or not has_proper_triangle(level.faces):
            break
        chosen, small, _ = select_vertices(level.vertices, level.faces, wanted)
        if len(chosen) == len(level.vertices):
            break
        kept.append(chosen)
        levels.append(Level(level.vertices[chosen], small))
    return Hierarchy(tuple(levels), tuple(kept))


SMALLEST_LEVEL = 3  # vertices: one triangle


def check_factors(factors: Sequence[int | float]) -> None:
    """Raise :class:`MeshError` unless all factors are above 1."""
    wrong = [factor for factor in factors if not factor > 1]
    if wrong:
        raise MeshError(f"A hierarchy was asked for with factor {wrong[0]}; wanted numbers above 1, such as 4, 4, 4.")


def _barycentric_up(fine: Level, coarse: Level) -> sparse.csr_array:
    face, weights, _ = closest_points(fine.vertices, coarse.vertices, coarse.faces)
    row = np.repeat(np.arange(len(fine.vertices)), 3)
    shape = (len(fine.vertices), len(coarse.vertices))
    up = sparse.csr_array((weights.ravel(), (row, coarse.faces[face].ravel())), shape=shape)
    up.eliminate_zeros()
    return up
