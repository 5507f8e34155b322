"""All that spiral networks need of a template, computed once and cached on disk."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from meshdisent.mesh.hierarchy import Hierarchy, hierarchy
from meshdisent.mesh.spirals import spirals
from meshdisent.mesh.topology import Topology


@dataclass(frozen=True, eq=False)
class SpiralHierarchy:
    """Levels of a template and the spirals of each level."""

    hierarchy: Hierarchy
    spirals: tuple[Int[np.ndarray, "vertex length"], ...]


def spiral_hierarchy(
    topology: Topology,
    factors: tuple[int, ...] = (4, 4, 4, 4),
    length: int = 9,
    dilation: int = 1,
    method: str = "ours",
) -> SpiralHierarchy:
    """Build the hierarchy and the spirals of its levels."""
    levels = hierarchy(topology.template, topology.faces, factors)
    orders = tuple(spirals(level.vertices, level.faces, length, dilation) for level in levels.levels)
    return SpiralHierarchy(levels, orders)
