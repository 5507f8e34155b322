r"""Where the rims of a template lie on a scan that is open there, too: eyes, mouth, and perhaps the outer rim.

Closest points do not find them: an open mouth is one and the same face as a closed one, and the lower lip of the
template is nearest to the upper lip of the scan. Both rims are closed lines, so one is laid along the other as a whole
(:mod:`~meshdisent.mesh.closed_lines`), without the bites that holes have taken (:mod:`~meshdisent.mesh.bitten_rims`). A
border of the scan is the rim of an opening if it is like it, as long, within bounds, and lies where it should; holes
are not. On it corners go to corners, and what lies between is stretched evenly
(:mod:`~meshdisent.mesh.elastic_lines`).

Scans end anywhere. That one was cut along the template's outer rim is seen by how the line is stretched between its
corners: unevenly by 4 to 13 % (the spread) on 26 raw faces, by 15 % and more where they were cut 6 mm further inside,
and a forehead that was cut off leaves it 11 mm from where a similarity brings it, instead of 3 to 9 (one face: 11).
Strips of 15 mm off the forehead or 20 mm off the neck alone are not told. Or the template, bent to what is inside,
comes to lie with its outer rim on the end of the scan all around. Then the rim holds what slides; else it says nothing.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float, Int
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.bitten_rims import Line, without_bites
from meshdisent.mesh.closed_lines import (
    SAMPLES,
    closed_borders,
    directions,
    evenly,
    length_of,
    smoothed,
    smoothed_by,
    warp,
)
from meshdisent.mesh.elastic_lines import laid_along, stretch_of
from meshdisent.mesh.even_strain import Slides
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.thin_plate import Pulls
from meshdisent.mesh.topology import Topology

#: Area of surface that one vertex of a rim is worth.
PULL_MM2 = 20.0
_SHORTEST_MM, _DENSE_MM = 15.0, 0.7
_SMOOTH_MM = 2.0  # the noise of a scan makes its rims longer, and turns them
_GRIP = 0.1  # along a line whose corners are known, of what holds across
_TURN_MM = 8.0  # how far counts as much as a turn by one radian when rims slide
_GATE_MM, _SAME_WAY = 6.0, 0.5  # beyond which they do not
_AHEAD = 3  # of the dense points of a line, for its direction
_LENGTHS = (0.55, 1.7)  # of a rim of the scan, over the template's
_BITTEN = (1.2, 6.0)  # between which a border may be a rim and holes
_OUTER_LENGTHS = (0.85, 1.18)
_APART = 0.25  # mean distance between both, over the length of the rim
_APART_MM = 25.0
#: Most that a pair may cost; what a bite costs, and to be as far apart as may be, and, once bitten, e times as long.
_UNLIKE, _BITE, _OFF, _SIZE = 1.2, 0.1, 0.5, 5.0
#: The outer rim counts if half and nine tenths of it lie so near to the line; of raw faces it was 1 to 3 mm away where
#: they were cut along it, and where they were cut elsewhere as far as that.
_NEAR_MM = (3.0, 6.0)
_UNEVEN, _OFF_SIMILAR_MM = 0.14, 10.0  # beyond which it is another line
_INSET_MM = 10.0
_SEEN = 0.9
_BESIDE = 0.15  # of the length of a rim, on each side: what does not lie across
_OVER_MM, _OVER = 8.0, 0.6  # how far below a surface a rim may lie that it closes, and how much of it


class Rims:
    """Rims of the template's openings and where they lie on a scan.

    Attributes
    ----------
    count : How many of the template's rims the scan has, too.
    closed : Rims of the template's openings that it has not: there it is closed, or ends.

    Parameters
    ----------
    topology, target : The template, and the scan with faces; one without has no rims.
    motion : From the template's frame to the scan's.
    outer : Whether the longest rim of the template counts, too: ``always``, for scans that were cut along the same
        line, ``near``, while it lies on such a line, or ``never``.
    by_corners : Whether corners go to corners, and what is between is stretched evenly. Beside a prior, which knows
        better how far along a line a vertex is, openings are laid by time warping alone, and the outer rim goes to the
        nearest points, while near (18 faces with the prior of another topology: 0.99 mm, by corners 1.10).
    rest : (V, 3) A face in the same frame with closed lips, as far as the topology can, and smooth rims, which the
        mean of a prior that was carried over has not; the template unless given.
    """

    def __init__(
        self,
        topology: Topology,
        target: TargetSurface,
        motion: Similarity,
        outer: Literal["never", "near", "always"] = "never",
        rest: Float[np.ndarray, "vertex 3"] | None = None,
        by_corners: bool = True,
    ):
        self._by_corners = by_corners
        self._inner: list[_Laid] = []
        self._outer: tuple[_Laid, cKDTree] | None = None
        self._ends: tuple[np.ndarray, np.ndarray, cKDTree] | None = None
        self._is_near_asked = outer == "near"
        self.count = 0
        self.closed: list[np.ndarray] = []
        self._target, self._rest = target, topology.template if rest is None else rest
        if target.faces is None or target.vertices is None or not topology.is_border.any():
            return
        longest, *inner = sorted(closed_borders(topology.faces), key=lambda loop: -length_of(topology.template[loop]))
        back = motion.inverse()
        lines = [smoothed_by(back.apply(target.vertices[loop]), _SMOOTH_MM) for loop in closed_borders(target.faces)]
        lines = [line for line in lines if length_of(line) > _SHORTEST_MM]
        self._loops = [longest, *inner]
        if lines:
            dense = [motion.apply(_dense(line)) for line in lines]
            along = np.concatenate([directions(line, _AHEAD) for line in dense])
            ends = np.concatenate(dense)
            self._ends = ends, along, cKDTree(np.hstack([ends, _TURN_MM * motion.scale * along]))
            self._border = cKDTree(ends)
        for loop in inner:
            rim = topology.template[loop]
            found = _partner(rim, [left for line in lines for left in _left_of(rim, line)], _LENGTHS)
            if found is not None:
                self._inner.append(self._lay(loop, found, motion))
                self.count += 1
            else:
                self.closed.append(loop)
        if outer == "never":
            return
        rim = topology.template[longest]
        found = _partner(rim, [_whole(line) for line in lines], _OUTER_LENGTHS)
        if found is not None:
            self._outer = (
                self._lay(longest, found, motion),
                cKDTree(motion.apply(_dense(found.line))),
            )
            self.count += 1
            self._is_near_asked &= not (by_corners and self._is_sure(topology, longest, found.line))

    def pulls(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> Pulls | None:
        """Where the rims of a shape should go, in the frame of the template; None if there are none."""
        if not self.count:
            return None
        points, weights, placed = np.zeros(shape.shape), np.zeros(len(shape)), motion.apply(shape)
        for laid in self._laid(placed, motion):
            places = laid.points
            if self._outer is not None and laid is self._outer[0] and not self._by_corners:
                line = self._outer[1]
                places = line.data[line.query(placed[laid.rows])[1]]
            points[laid.rows], weights[laid.rows] = motion.inverse().apply(places), PULL_MM2
        return Pulls(points, weights)

    def pose(self, shape: Float[np.ndarray, "vertex 3"], with_scale: bool = False) -> Similarity | None:
        """The motion that brings the rims of a shape to the scan's; None unless the outer rim is known to be one."""
        if self._outer is None or self._is_near_asked:
            return None
        laid = [*self._inner, self._outer[0]]
        rows, points = (np.concatenate([way[part] for way in laid]) for part in (0, 1))
        return align(shape[rows], points, with_scale)

    def slides(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> Slides | None:
        """The nearest points of borders of the scan that run the same way, in the frame of the template; None without.

        Other than :meth:`pulls` it needs no whole rim: where a hole has eaten into an eye, the rest of its rim counts.
        Both lips are told apart by their direction, and a hole from the rim beside it.
        """
        if self._ends is None:
            return None
        line, along, tree = self._ends
        placed = motion.apply(shape)
        loops = self._loops if self._outer_lies(placed, motion) else self._loops[1:]
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *loops])
        own = np.concatenate([np.zeros((0, 3)), *(directions(placed[loop], 1) for loop in loops)])
        nearest = tree.query(np.hstack([placed[rows], _TURN_MM * motion.scale * own]))[1]
        points, ways, grip = line[nearest], along[nearest], np.zeros(len(rows))
        apart = np.linalg.norm(points - placed[rows], axis=1)
        place = np.full(len(shape), -1)
        place[rows] = np.arange(len(rows))
        for laid in self._laid(placed, motion):
            gap = laid.points - placed[laid.rows]
            across = np.linalg.norm(gap - (gap * laid.along).sum(axis=1, keepdims=True) * laid.along, axis=1)
            is_used = across < _GATE_MM * motion.scale
            is_used &= (laid.along * own[place[laid.rows]]).sum(axis=1) > _SAME_WAY
            at = place[laid.rows[is_used]]
            points[at], ways[at], grip[at], apart[at] = laid.points[is_used], laid.along[is_used], _GRIP, 0.0
        is_near = (apart < _GATE_MM * motion.scale) & ((ways * own).sum(axis=1) > _SAME_WAY)
        if not is_near.any():
            return None
        back = motion.inverse()
        ways = ways[is_near] @ back.rotation
        return Slides(rows[is_near], back.apply(points[is_near]), ways, PULL_MM2, grip[is_near])

    def covered(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> list[Int[np.ndarray, " rim"]]:
        """Rims over which the scan has a surface and no border, as it has over a closed mouth."""
        found = []
        for rim in self.closed:
            middle = motion.apply((shape[rim] + shape[rim[_across(self._rest[rim])]]) / 2)
            over = self._target.match(middle, np.zeros_like(middle))
            is_over = ~over.is_beyond & (over.distance < _OVER_MM * motion.scale)
            if self._ends is not None:  # a mouth that was not found, but is open
                is_over &= self._border.query(middle)[0] > _OVER_MM * motion.scale
            if is_over.mean() > _OVER:
                found.append(rim)
        return found

    def ties(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> Pulls | None:
        """Both sides of covered rims as far apart as they were, in the frame of the template; None without."""
        points, weights = shape.copy(), np.zeros(len(shape))
        for rim in self.covered(shape, motion):
            across = rim[_across(self._rest[rim])]
            points[rim] = (shape[rim] + shape[across] + self._rest[rim] - self._rest[across]) / 2
            weights[rim] = PULL_MM2
        return Pulls(points, weights) if weights.any() else None

    def _lay(self, loop: np.ndarray, found: "_Partner", motion: Similarity) -> "_Laid":
        points = found.points
        if self._by_corners:
            points = laid_along(smoothed_by(self._rest[loop], _SMOOTH_MM), found.line)
        points, shown = motion.apply(points), found.is_seen
        return _Laid(loop[shown], points[shown], directions(points, 1)[shown])

    def _laid(self, placed: np.ndarray, motion: Similarity) -> list["_Laid"]:
        """Rims whose places are known, the outer one if it lies on its line all around."""
        is_on = self._outer_lies(placed, motion, all_around=True)
        return [*self._inner, self._outer[0]] if self._outer is not None and is_on else self._inner

    def _outer_lies(self, placed: np.ndarray, motion: Similarity, all_around: bool = False) -> bool:
        """Whether the template's outer rim is known to lie on its line, or does."""
        if self._outer is None or not self._is_near_asked:
            return self._outer is not None
        laid, line = self._outer
        middle, most = np.quantile(line.query(placed[laid.rows])[0], [0.5, 0.9]) / motion.scale
        return bool(middle < _NEAR_MM[0] and (most < _NEAR_MM[1] or not all_around))

    def _is_sure(self, topology: Topology, rim: np.ndarray, line: np.ndarray) -> bool:
        """Whether the line is the outer rim by its corners, and one further inside would not be taken for it."""
        own = smoothed_by(self._rest[rim], _SMOOTH_MM)
        if not _is_same(own, line):
            return False
        inside = topology.faces[(_way_from(topology, rim) > _INSET_MM)[topology.faces].all(axis=1)]
        inset = max(closed_borders(inside), key=lambda loop: length_of(topology.template[loop]), default=None)
        return inset is not None and not _is_same(own, smoothed_by(self._rest[inset], _SMOOTH_MM))


class _Laid(NamedTuple):
    """Vertices of a rim that the scan shows, their places on it, and which way the line runs there."""

    rows: Int[np.ndarray, " rim"]
    points: Float[np.ndarray, "rim 3"]
    along: Float[np.ndarray, "rim 3"]


class _Partner(NamedTuple):
    """A line that is like a rim, where the points of the rim lie on it by time warping, and which of them it shows."""

    points: Float[np.ndarray, "own 3"]
    is_seen: Bool[np.ndarray, " own"]
    line: Float[np.ndarray, "_ 3"]


def _partner(rim: Float[np.ndarray, "own 3"], lines: Sequence[Line], lengths: tuple[float, float]) -> _Partner | None:
    """The line that is most like a rim; None if none is like it."""
    even, at = evenly(rim, SAMPLES)
    own = smoothed(even)
    size = length_of(own)
    most = min(_APART * size, _APART_MM)
    best, least = None, np.inf
    for line in lines:
        even, around = evenly(line.points, SAMPLES)
        other = smoothed(even)
        is_near = bool(np.linalg.norm(other.mean(axis=0) - own.mean(axis=0)) <= most)
        if not is_near or not lengths[0] < length_of(other) / size < lengths[1]:
            continue
        pairs = warp(own, other)
        along = pairs.onto(other)
        apart = float(np.linalg.norm(along - own, axis=1).mean())
        unlike = pairs.cost + _OFF * (apart / most) ** 2
        if line.bites:
            unlike += _BITE * line.bites + _SIZE * np.log(length_of(other) / size) ** 2
        if apart < most and pairs.cost < _UNLIKE and unlike < least:
            shown = _between(np.arange(SAMPLES), around, line.is_seen[:, None]) > _SEEN
            best, least = (along, pairs.onto(shown.astype(np.float64)), line.points), unlike
    if best is None:
        return None
    samples = np.arange(SAMPLES)
    is_seen = _between(at, samples, best[1] == 1.0)[:, 0] > _SEEN
    return _Partner(_between(at, samples, best[0]), is_seen, best[2])


def _between(at: np.ndarray, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (P, K) at places along a closed line of so many samples, read off elsewhere on it."""
    closed = np.append(places, SAMPLES), np.concatenate([values, values[:1]])
    return np.stack([np.interp(at, closed[0], closed[1][:, k]) for k in range(values.shape[1])], axis=1)


def _across(rim: Float[np.ndarray, "own 3"]) -> Int[np.ndarray, " own"]:
    """For each point of a closed line the nearest of those that lie further along it than its neighbors."""
    _, at = evenly(rim, SAMPLES)
    along = np.abs(at[:, None] - at)
    along = np.minimum(along, SAMPLES - along)
    apart = np.linalg.norm(rim[:, None] - rim, axis=2)
    return np.where(along > _BESIDE * SAMPLES, apart, np.inf).argmin(axis=1)


def _whole(line: Float[np.ndarray, "point 3"]) -> Line:
    return Line(line, np.ones(len(line), dtype=bool))


def _left_of(rim: Float[np.ndarray, "own 3"], line: Float[np.ndarray, "point 3"]) -> list[Line]:
    """A line, and what is left of it without bites if it is much longer than the rim."""
    own = smoothed_by(rim, _SMOOTH_MM)
    is_bitten = _BITTEN[0] < length_of(line) / length_of(own) < _BITTEN[1]
    is_bitten &= bool((line.min(axis=0) - own.max(axis=0) < _APART_MM).all())
    is_bitten &= bool((own.min(axis=0) - line.max(axis=0) < _APART_MM).all())
    return [_whole(line), *(without_bites(own, line, _LENGTHS) if is_bitten else [])]


def _is_same(rim: Float[np.ndarray, "own 3"], line: Float[np.ndarray, "_ 3"]) -> bool:
    stretch = stretch_of(rim, line)
    return stretch.uneven < _UNEVEN and stretch.off_mm < _OFF_SIMILAR_MM


def _way_from(topology: Topology, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, " vertex"]:
    """The shortest way along edges from some of the vertices to each."""
    faces, count = topology.faces, topology.vertex_count
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    ways = np.linalg.norm(topology.template[edges[:, 0]] - topology.template[edges[:, 1]], axis=1)
    graph = sparse.coo_array((ways, (edges[:, 0], edges[:, 1])), shape=(count, count)).tocsr()
    return csgraph.dijkstra(graph, directed=False, indices=rows, min_only=True)


def _dense(line: np.ndarray) -> np.ndarray:
    """A closed line as points less than a millimeter apart."""
    return evenly(line, max(3, int(np.ceil(length_of(line) / _DENSE_MM))))[0]
