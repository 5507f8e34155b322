"""Where a template stands in the frame of a target surface: from landmarks, or from the shapes alone.

Without landmarks many poses are tried (iterated closest points with normals, Chen and Medioni 1992, from both
surfaces, and trimmed, Chetverikov et al. 2002), each for a few rounds on some of the points; the best ones go on, and
the one that leaves the target's points the least distance is kept. The template's do not count there: of a face seen
from one side it has much more. Closest is meant in space and direction: on depth maps of ICT faces turned by 40 degrees
most starts then end in the right pose; without directions few do, and an open mouth looks better in a wrong one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.plane_fit import Planes, motion_step
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

_SAMPLES = 1000  # points of each surface that a round looks at
_FIRST_SAMPLES, _FIRST_POINTS = 300, 2000  # the same while many starts are told apart, and points that are there at all
_TRUSTED = 0.8  # share of the good pairs of each surface that a round follows
_NORMAL_MM = 30.0  # how many mm count as much as one radian between normals
_CAP_MM = 25.0  # a point without a partner counts as so far away
_ALIKE = 0.5  # cosine between the normals of two that may be partners
_POINT_WEIGHT = 0.05
_FIRST_ROUNDS, _LAST_ROUNDS, _FINALISTS, _MANY = 12, 40, 3, 20
_STILL_MM = 1e-2
_YAWS, _FACING = (-40.0, -20.0, 0.0, 20.0, 40.0), 0.2


def frontal_starts(topology: Topology, target: TargetSurface) -> list[Similarity]:
    """Poses of a face that looks along +z, up to 40 degrees to either side, and +y is up.

    The middle of the vertices that such a view sees, or its point that is nearest to the viewer, is brought to that of
    the target.
    """
    normals = vertex_normals(topology.template, topology.faces)
    found = []
    for yaw in _YAWS:
        turn = Rotation.from_euler("y", yaw, degrees=True).as_matrix().T
        moved = topology.template @ turn
        facing = moved[(normals @ turn)[:, 2] > _FACING]
        for anchor in (np.median, _nearest_to_viewer):
            if len(facing):
                found.append(Similarity(1.0, turn, anchor(target.points, axis=0) - anchor(facing, axis=0)))
    return found or [Similarity.identity()]


def any_starts(topology: Topology, target: TargetSurface) -> list[Similarity]:
    """Sixty turns that leave no pose farther than 45 degrees, about the middles of both surfaces."""
    shift = np.median(target.points, axis=0)
    center = np.median(topology.template[np.unique(topology.faces)], axis=0)
    turns = Rotation.create_group("I").as_matrix()
    return [Similarity(1.0, turn, shift - center @ turn) for turn in turns]


def search_pose(
    topology: Topology,
    target: TargetSurface,
    starts: Sequence[Similarity],
    with_scale: bool = False,
    is_partial: bool = False,
) -> tuple[Similarity, float]:
    """Find the motion of the template that leaves the least distance.

    Parameters
    ----------
    topology, target : Both in mm.
    starts : Poses to begin with.
    with_scale : Look for a scale too.
    is_partial : The template is a part of the target, such as a face among shoulders: points of the target that are far
        from it do not draw it.

    Returns
    -------
    The motion from the template's frame to the target's, and the distance that it leaves, in mm of the template: the
    mean over points of the target of the distance to the template in space and direction, at most 25 mm.
    """
    if not starts:
        raise DataError("The search for a pose got no start; wanted at least one, such as Similarity.identity().")
    both = _Both.of(topology, target, is_partial=is_partial)
    few = (
        _Both.of(topology, _thinned(target), _FIRST_SAMPLES, _FIRST_POINTS, is_partial) if len(starts) > _MANY else both
    )
    first = sorted((few.follow(start, False, _FIRST_ROUNDS) for start in starts), key=lambda found: found[1])
    return min(
        (both.follow(motion, with_scale, _LAST_ROUNDS) for motion, _ in first[:_FINALISTS]), key=lambda found: found[1]
    )


def _nearest_to_viewer(points: np.ndarray, axis: int) -> np.ndarray:
    """The mean of the hundredth of the points with the largest z."""
    return points[points[:, 2] >= np.quantile(points[:, 2], 0.99)].mean(axis=axis)


@dataclass(frozen=True, eq=False)
class _Both:
    """Some points of both surfaces, and trees to find partners in."""

    points: Float[np.ndarray, "vertex 3"]
    normals: Float[np.ndarray, "vertex 3"]
    is_border: np.ndarray
    own: np.ndarray
    other: np.ndarray
    tree: cKDTree  # of positions and directions
    target: TargetSurface
    is_partial: bool

    @classmethod
    def of(
        cls,
        topology: Topology,
        target: TargetSurface,
        samples: int = _SAMPLES,
        most: int | None = None,
        is_partial: bool = False,
    ) -> "_Both":
        used = np.unique(topology.faces)
        used = used if most is None else used[_some(len(used), most)]
        points = topology.template[used]
        normals = vertex_normals(topology.template, topology.faces)[used]
        own, other = _some(len(points), samples), _some(len(target.points), samples)
        return cls(
            points,
            normals,
            topology.is_border[used],
            own,
            other,
            cKDTree(np.hstack([points, _NORMAL_MM * normals])),
            target,
            is_partial,
        )

    def pairs(self, motion: Similarity) -> tuple[np.ndarray, Planes, float]:
        """Points of the template, where they should go (in its frame), and the distance left."""
        back = motion.inverse()
        theirs, their_normals = back.apply(self.target.points[self.other]), self.target.normals[self.other]
        their_normals = their_normals @ back.rotation
        found = self.tree.query(np.hstack([theirs, _NORMAL_MM * their_normals]))[1]
        ours, our_normals = self.points[self.own], self.normals[self.own]
        matches = self.target.match(motion.apply(ours), our_normals @ motion.rotation, _NORMAL_MM)
        moving = np.concatenate([self.points[found], ours])
        fixed = np.concatenate([theirs, back.apply(matches.points)])
        normals = np.concatenate([their_normals, matches.normals @ back.rotation])
        distance = np.linalg.norm(fixed - moving, axis=1)
        agreement = np.concatenate([(self.normals[found] * their_normals).sum(axis=1), matches.agreement])
        is_good = (agreement > _ALIKE) & ~np.concatenate([self.is_border[found], matches.is_beyond])
        both = np.sqrt(distance**2 + _NORMAL_MM**2 * (2 - 2 * np.minimum(agreement, 1.0)))
        if self.is_partial:
            is_good[: len(theirs)] &= both[: len(theirs)] <= _CAP_MM
        weights = np.zeros(len(moving))
        for part in (slice(0, len(theirs)), slice(len(theirs), None)):
            good = is_good[part]
            if good.any():
                limit = np.quantile(both[part][good], _TRUSTED)
                weights[part] = good & (both[part] <= limit)
        theirs_left = np.where(is_good, np.minimum(both, _CAP_MM), _CAP_MM)[: len(theirs)]
        return moving, Planes(fixed, normals, weights, _POINT_WEIGHT), float(theirs_left.mean())

    def follow(self, motion: Similarity, with_scale: bool, rounds: int) -> tuple[Similarity, float]:
        """Closest points and a small motion towards them in turn, until nothing moves."""
        for _ in range(rounds):
            moving, planes, left = self.pairs(motion)
            if (planes.weights > 0).sum() < 8:
                return motion, left
            step = motion_step(moving, planes, with_scale)
            motion = motion.compose(step)
            if np.abs(step.apply(moving) - moving).max() < _STILL_MM:
                break
        return motion, self.pairs(motion)[2]


def _thinned(target: TargetSurface) -> TargetSurface:
    """Some of its points: far from the right pose a search in space and direction looks at nearly all of them."""
    chosen = _some(len(target.points), _FIRST_POINTS)
    return TargetSurface(target.points[chosen], target.normals[chosen], target.is_border[chosen])


def _some(count: int, samples: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, samples)).astype(np.int64)
