"""A raw scan made ready for registration: its unit, normals of points that have none, and the face among the rest.

A scanner sees shoulders, hair and the back of a head, too. Where a scan is much larger than the template, the template
is set down at many places of it and follows only what is near (:func:`~meshdisent.mesh.pose_search.search_pose`); then
what lies far from where it has come to rest is cut off. So the target of the registration is a face again, and its
limits mean what they say.
"""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.pose_search import search_pose
from meshdisent.mesh.registration_result import FitLimits
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

MILLIMETERS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
_NEIGHBORS, _SMOOTHING_ROUNDS = 16, 10
_MUCH_LARGER = 1.3  # a scan beyond so many sizes of the template is more than a face
_PLACES, _YAWS = 48, (-30.0, 0.0, 30.0)
_FACING = 0.3  # a face that looks along +z has its nose where the surface does
_REACH_MM, _BEYOND_MM = 30.0, 8.0  # what is kept: so far from the inside of the template, so far beyond its rim
#: For a face that was cut out of more. What is left has hair, teeth, eyes (36 % of two heads lay on the template), so
#: most of the template must lie on it (97 % there; a hand 46 %), and nearly so as long as it is stiff (1.8 mm there; a
#: torso 3.4, the back of a head 6.2, random triangles 6.5): any smooth thing is met once the template may bend.
PART_LIMITS = FitLimits(fewest_seen=0.7, fewest_explained=0.25, most_stiff_mm=2.8)


class FoundFace(NamedTuple):
    """The part of a scan that is a face, where the template lies there, and the share of the points that was cut."""

    target: TargetSurface
    pose: Similarity
    cut_share: float


def guessed_unit(
    vertices: Float[np.ndarray, "vertex 3"], template: Float[np.ndarray, "_ 3"]
) -> Literal["mm", "cm", "m"]:
    """The unit in which a scan comes nearest to the size of the template, which is in mm.

    Examples
    --------
    >>> guessed_unit(scans.topology.template / 1000, scans.topology.template)
    'm'
    """
    size, wanted = _size(np.asarray(vertices, dtype=np.float64)), _size(template)
    if not (np.isfinite(size) and size > 0):
        raise DataError("The scan has no size: all its points are at one place; wanted a face.")
    units: tuple[Literal["mm", "cm", "m"], ...] = ("mm", "cm", "m")
    return min(units, key=lambda unit: abs(np.log(size * MILLIMETERS[unit] / wanted)))


def estimated_normals(points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
    """Outer unit normals of points that have none: of the plane through the neighbors, away from the inside of a head.

    The middle of a face lies behind it; where a plane looks neither to it nor away, as at the wings of a nose, most of
    the neighbors decide.

    Raises
    ------
    DataError : If there are too few points for planes.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) <= _NEIGHBORS:
        raise DataError(f"The scan has {len(points)} points and no faces; wanted more than {_NEIGHBORS}.")
    near = cKDTree(points).query(points, k=_NEIGHBORS)[1]
    arms = points[near] - points[near].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(arms.transpose(0, 2, 1) @ arms)[1][:, :, 0]
    outward = points - points.mean(axis=0)
    outward /= np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-12)
    normals *= np.where((normals * outward).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    for _ in range(_SMOOTHING_ROUNDS):
        votes = (normals[near] * normals[:, None]).sum(axis=2)
        certain = np.abs((normals * outward).sum(axis=1))[near]
        normals = normals * np.where((votes * certain).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    return normals


def is_more_than_a_face(topology: Topology, target: TargetSurface) -> bool:
    """Whether a scan is so large that it must have more in view than the template."""
    return _size(target.points) > _MUCH_LARGER * _size(topology.template[np.unique(topology.faces)])


def find_face(topology: Topology, target: TargetSurface, pose: Similarity | None = None) -> FoundFace:
    """Find the template's part of a large scan that looks along +z, and cut the rest off.

    Parameters
    ----------
    topology : The template.
    target : A scan with shoulders, hair, or a whole head.
    pose : Where the template lies, if that is known, as from landmarks.
    """
    if pose is None:
        pose = search_pose(topology, target, _scattered_starts(topology, target), is_partial=True)[0]
    tree = cKDTree(pose.apply(topology.template))
    keep = _near(tree, topology, target.points)
    if keep.sum() < 4:
        raise DataError("No part of the scan looks like the template; wanted a face that looks along +z. Cut it out.")
    if target.faces is None or target.vertices is None:
        part = TargetSurface(target.points[keep], target.normals[keep], target.is_border[keep])
    else:
        faces = target.faces[_near(tree, topology, target.vertices)[target.faces].all(axis=1)]
        used, numbered = np.unique(faces, return_inverse=True)
        part = TargetSurface.of_mesh(target.vertices[used], numbered.reshape(-1, 3))
    return FoundFace(part, pose, float(1 - keep.mean()))


def _near(tree: cKDTree, topology: Topology, points: np.ndarray) -> np.ndarray:
    distance, nearest = tree.query(points)
    return distance < np.where(topology.is_border[nearest], _BEYOND_MM, _REACH_MM)


def _size(points: np.ndarray) -> float:
    """How far most of the points lie from their middle."""
    return float(np.quantile(np.linalg.norm(points - np.median(points, axis=0), axis=1), 0.9))


def _scattered_starts(topology: Topology, target: TargetSurface) -> list[Similarity]:
    """The tip of the template's nose at places all over what looks along +z."""
    template, normals = topology.template, vertex_normals(topology.template, topology.faces)
    candidates = target.points[target.normals[:, 2] > _FACING]
    if not len(candidates):
        raise DataError("No part of the scan looks along +z; wanted a face that does. Turn it, or give landmarks.")
    chosen = [int(candidates[:, 2].argmax())]
    distance = np.linalg.norm(candidates - candidates[chosen[0]], axis=1)
    for _ in range(_PLACES - 1):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(candidates - candidates[chosen[-1]], axis=1))
    starts = []
    for yaw in _YAWS:
        turn = Rotation.from_euler("y", yaw, degrees=True).as_matrix().T
        tip = (template @ turn)[np.argmax(np.where(normals[:, 2] > _FACING, template[:, 2], -np.inf))]
        starts += [Similarity(1.0, turn, candidates[place] - tip) for place in chosen]
    return starts
