"""Poses to begin a fit with, when the scan shows only part of a face.

A part has its middle anywhere on the head, but a head is nearly convex: the mean direction of a part says which part it
is, once the turn is supposed. So each turn gives one start, which brings the vertices that look that way to its middle.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.pose_search import frontal_starts
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

_YAWS, _PITCHES = (-35.0, 0.0, 35.0), (-20.0, 0.0, 20.0)
_ALIKE = 0.8  # cosine to the mean direction of the part


def upright_starts(topology: Topology, target: TargetSurface) -> list[Similarity]:
    """Starts for the whole face or part of it, looking along +z up to 40 degrees to either side, with +y up."""
    turns = [Rotation.from_euler("yx", [yaw, pitch], degrees=True).as_matrix() for yaw in _YAWS for pitch in _PITCHES]
    return [*frontal_starts(topology, target), *_starts(topology, target, np.stack(turns))]


def turned_starts(topology: Topology, target: TargetSurface) -> list[Similarity]:
    """Starts for any pose: sixty turns that leave no pose farther than 45 degrees."""
    return _starts(topology, target, Rotation.create_group("I").as_matrix())


def _starts(topology: Topology, target: TargetSurface, turns: Float[np.ndarray, "turn 3 3"]) -> list[Similarity]:
    normals = vertex_normals(topology.template, topology.faces)
    middle, direction = np.median(target.points, axis=0), target.normals.mean(axis=0)
    direction = direction / max(float(np.linalg.norm(direction)), 1e-12)
    found = []
    for turn in turns:
        along = (normals @ turn) @ direction
        alike = along > min(_ALIKE, float(np.quantile(along, 0.9)))
        anchor = topology.template[alike].mean(axis=0)
        found.append(Similarity(1.0, turn, middle - anchor @ turn))
    return found
