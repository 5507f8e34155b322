"""One template brought onto another of a different topology, so that closest points correspond.

Without landmarks a rigid motion is found by iterated closest points (Chen and Medioni 1992: distances along the
normals, so that surfaces may slide), looked for from both surfaces and trimmed (Chetverikov et al. 2002), since one may
reach further than the other. Size is kept, or it would hide how the faces differ. With landmarks a similarity follows
from them, and a thin plate spline in space (Bookstein 1989; its kernel in three dimensions is the distance)
carries each landmark exactly to its partner. Neither is a registration of two faces of different shape: what lies
between landmarks is where the spline says, and closest points do the rest.
"""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import RBFInterpolator
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.normals import face_normals
from meshdisent.mesh.topology import Topology

_ROUNDS, _STILL_MM = 60, 1e-3
_TRUSTED = 0.7  # share of the closest points that a round looks at; the others may have no partner at all
_SEEN = 1000  # vertices of each template that a round looks at
_CLOSE_MM = 0.5  # two meshes of one surface in one frame; there is nothing to look for
_SAME_FRAME = 0.9  # a motion that leaves more than this share of the distance says nothing: the frames agree
_UNLIKE_SIZE = 4.0
_FEWEST = 4
_APART_MM = 0.5  # nearer landmarks are one: a spline cannot take a point to two places


@dataclass(frozen=True, eq=False)
class LandmarkPairs:
    """Points of one template and where the same points of a face lie on the other.

    Attributes
    ----------
    source, target : (L, 3) Positions in mm; at least four, not all in one plane.
    """

    source: Float[np.ndarray, "landmark 3"]
    target: Float[np.ndarray, "landmark 3"]

    def __post_init__(self) -> None:
        for name, points in (("source", self.source), ("target", self.target)):
            spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) if len(points) >= _FEWEST else [0.0]
            if not np.isfinite(points).all() or spread[-1] <= 1e-3 * spread[0]:
                raise DataError(
                    f"The {len(points)} landmarks on the {name} template are fewer than {_FEWEST}, not finite, or all "
                    "in one plane; wanted points all over the face, such as corners of eyes and mouth, the tip of the "
                    "nose and the chin."
                )

    @classmethod
    def named(
        cls, source: Mapping[str, Float[np.ndarray, "3"]], target: Mapping[str, Float[np.ndarray, "3"]]
    ) -> "LandmarkPairs":
        """The points that have a name on both templates; of those in one place on either, such as lips that meet, one.

        Examples
        --------
        >>> corners = {name: point for name, point in zip("abcde", np.eye(5, 3))}
        >>> len(LandmarkPairs.named(corners, corners).source)  # d and e are both at the origin
        4
        """
        kept: list[str] = []
        for name in source:
            is_new = name in target and all(
                min(np.linalg.norm(side[name] - side[other]) for side in (source, target)) > _APART_MM for other in kept
            )
            kept += [name] if is_new else []
        return cls(*(np.array([side[name] for name in kept], np.float64).reshape(-1, 3) for side in (source, target)))


_VERTICES = ["source", "target"]
_POINTS = [f"{side}_{axis}" for side in _VERTICES for axis in "xyz"]


def read_landmarks(path: str | os.PathLike, source: Topology, target: Topology) -> LandmarkPairs:
    """Read a table of corresponding points, a CSV file with a head.

    Its columns are ``source,target``, numbers of vertices; or ``source_x,source_y,source_z`` and the same for
    ``target``, points on the templates in mm.

    Raises
    ------
    DataError : If the file cannot be read, has other columns, or names a vertex that does not exist.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            head, *lines = [line for line in csv.reader(file) if line]
        head = [name.strip() for name in head]
        numbers = np.array([[float(entry) for entry in line] for line in lines])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of landmarks ({error}); {_WANTED}") from error
    if head not in (_VERTICES, _POINTS) or numbers.shape[1:] != (len(head),):
        raise DataError(f"{path} has the columns {','.join(head)}; {_WANTED}")
    if head == _POINTS:
        return LandmarkPairs(numbers[:, :3], numbers[:, 3:])
    for column, (name, topology) in enumerate((("source", source), ("target", target))):
        wrong = [n for n in numbers[:, column].tolist() if n not in range(topology.vertex_count)]
        if wrong:
            raise DataError(
                f"{path} names vertex {wrong[0]:g} of the {name}, which has 0 to {topology.vertex_count - 1}."
            )
    rows = numbers.astype(np.int64)
    return LandmarkPairs(source.template[rows[:, 0]], target.template[rows[:, 1]])


def is_table_of_pairs(path: str | os.PathLike) -> bool:
    """Whether a file begins as a table of :func:`read_landmarks` does; another one may hold the points of one face."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            head = next(csv.reader(file), [])
    except (OSError, ValueError, csv.Error):
        return False
    return [name.strip() for name in head] in (_VERTICES, _POINTS)


_WANTED = f"wanted {','.join(_VERTICES)} (numbers of vertices) or {','.join(_POINTS)} (mm), a landmark a line."


def on_border(
    topology: Topology, face: Int[np.ndarray, " point"], weights: Float[np.ndarray, "point 3"]
) -> Bool[np.ndarray, " point"]:
    """(P,) Whether points on the surface lie on its border: where a closest point goes that has no partner."""
    is_elsewhere = (weights > 1e-9) & ~topology.is_border[topology.faces[face]]
    is_inside = (weights > 1e-9).all(axis=1)  # a triangle may have three vertices on the border
    return ~is_elsewhere.any(axis=1) & ~is_inside


def brought_onto(
    source: Topology, target: Topology, landmarks: LandmarkPairs | None = None
) -> tuple[Float[np.ndarray, "vertex 3"], bool]:
    """Bring the target's template to where the source's lies.

    Parameters
    ----------
    source, target : Templates in mm.
    landmarks : Corresponding points; None to look for the motion alone.

    Returns
    -------
    vertices : (V, 3) The target's template in the source's frame.
    is_moved : Whether the frames differed; False where the target's template lay where it should from the beginning.

    Raises
    ------
    DataError : If one template is several times as large as the other.
    """
    _refuse_other_unit(source, target)
    if landmarks is not None:
        motion = align(landmarks.target, landmarks.source, with_scale=True)
        moved, seen = motion.apply(target.template), motion.apply(landmarks.target)
        spline = RBFInterpolator(seen, landmarks.source - seen, kernel="linear", degree=1)
        return moved + spline(moved), True
    both = _Surfaces(source, target)
    stays = Similarity.identity()
    if both.distance(stays) < _CLOSE_MM:
        return target.template.copy(), False
    motion = min((both.search(start) for start in (stays, both.centers_together())), key=both.distance)
    if both.distance(motion) > _SAME_FRAME * both.distance(stays):
        return target.template.copy(), False
    return motion.apply(target.template), True


def _refuse_other_unit(source: Topology, target: Topology) -> None:
    sizes = [float(np.ptp(topology.template, axis=0).max()) for topology in (source, target)]
    if min(sizes) <= 0 or not 1 / _UNLIKE_SIZE < sizes[0] / sizes[1] < _UNLIKE_SIZE:
        raise DataError(
            f"The source template is {sizes[0]:.3g} mm across and the target template {sizes[1]:.3g}; wanted two faces "
            "in millimeters. Look whether one is in another unit, and prepare or export it in mm."
        )


class _Surfaces:
    """Two surfaces and what lies between them; the target is moved."""

    def __init__(self, source: Topology, target: Topology):
        self.source, self.target = self.both = source, target
        self.chosen = [_spread(topology) for topology in (source, target)]

    def centers_together(self) -> Similarity:
        """The shift between the middles of both, which look the same way as all templates do."""
        middles = [np.median(topology.template[np.unique(topology.faces)], axis=0) for topology in self.both]
        return Similarity(1.0, np.eye(3), middles[0] - middles[1])

    def pairs(self, motion: Similarity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Trusted corresponding points, of the moved target and of the source, and the normals between them."""
        moved = Topology(motion.apply(self.target.template), self.target.faces)
        own, other = self.chosen
        ahead, back = _feet(moved.template[other], self.source), _feet(self.source.template[own], moved)
        parts = [
            (moved.template[other][ahead.is_good], ahead.points, ahead.normals),
            (back.points, self.source.template[own][back.is_good], back.normals),
        ]
        on_target, on_source, normals = (np.concatenate(part) for part in zip(*parts, strict=True))
        return on_target, on_source, normals

    def distance(self, motion: Similarity) -> float:
        """Mean distance of the trusted pairs, in mm; infinite if there is none."""
        on_target, on_source, _ = self.pairs(motion)
        return float(np.linalg.norm(on_target - on_source, axis=1).mean()) if len(on_target) else np.inf

    def search(self, motion: Similarity) -> Similarity:
        """Closest points and a small motion towards them in turn, until nothing moves."""
        for _ in range(_ROUNDS):
            on_target, on_source, normals = self.pairs(motion)
            if len(on_target) < _FEWEST:
                break
            step = _small_motion(on_target, on_source, normals)
            motion = step.compose(motion)
            if np.abs(step.apply(on_target) - on_target).max() < _STILL_MM:
                break
        return motion


class _Feet(NamedTuple):
    """The trusted ones among the closest points on a surface, with its normals there."""

    is_good: Bool[np.ndarray, " point"]
    points: Float[np.ndarray, "good 3"]
    normals: Float[np.ndarray, "good 3"]


def _feet(points: Float[np.ndarray, "point 3"], surface: Topology) -> _Feet:
    face, weights, distance = closest_points(points, surface.template, surface.faces)
    is_inside = ~on_border(surface, face, weights)
    is_good = is_inside.copy()
    if is_inside.any():
        is_good &= distance <= np.quantile(distance[is_inside], _TRUSTED)
    corners = surface.faces[face[is_good]]
    normals = face_normals(surface.template, corners)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return _Feet(is_good, np.einsum("pk,pkd->pd", weights[is_good], surface.template[corners]), normals)


def _small_motion(
    moving: Float[np.ndarray, "pair 3"], fixed: Float[np.ndarray, "pair 3"], normals: Float[np.ndarray, "pair 3"]
) -> Similarity:
    """The motion that brings points closest along the normals, to first order in the turn."""
    center = moving.mean(axis=0)
    matrix = np.hstack([np.cross(moving - center, normals), normals])
    along = ((fixed - moving) * normals).sum(axis=1)
    found = np.linalg.lstsq(matrix, along, rcond=1e-6)[0]  # a plane or a ball fixes no turn: then none is made
    turn = Rotation.from_rotvec(found[:3]).as_matrix().T
    return Similarity(1.0, turn, center + found[3:] - center @ turn)


def _spread(topology: Topology) -> Int[np.ndarray, " chosen"]:
    """Some of the vertices that have a face, evenly taken from the list."""
    used = np.unique(topology.faces)
    return used[np.linspace(0, len(used) - 1, min(len(used), _SEEN)).astype(np.int64)]
