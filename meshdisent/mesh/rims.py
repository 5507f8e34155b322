r"""Where the rims of a template lie on a scan that is open there, too: eyes, mouth, and perhaps the outer rim.

Closest points do not find them: an open mouth is one and the same face as a closed one, and the lower lip of the
template is nearest to the upper lip of the scan. Both rims are closed lines, so one is laid along the other as a whole:
by dynamic time warping (Sakoe and Chiba 1978) of positions, with the extent of each axis made equal, and of directions,

.. math:: c_{ij} = |a_i - b_j|^2 + |\dot a_i - \dot b_j|^2,

from the pair of points at which the even walk along both costs least. A border of the scan is the rim of an opening if
it is as long, within bounds, and lies where it should; holes are not.

Scans end anywhere. Where the template, bent to what is inside, comes to lie with its outer rim on the end of the scan
all around, the scan was cut along that rim, and the rim holds what slides; else it says nothing.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.even_strain import Slides
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.thin_plate import Pulls
from meshdisent.mesh.topology import Topology

#: Area of surface that one vertex of a rim is worth.
PULL_MM2 = 20.0
_SAMPLES = 96
_SHORTEST_MM, _DENSE_MM = 15.0, 0.7
_TURN_MM = 8.0  # how far counts as much as a turn by one radian when rims slide
_GATE_MM, _SAME_WAY = 6.0, 0.5  # beyond which they do not
_AHEAD = 3  # of the dense points of a line, for its direction
_SMOOTHED = 2  # rounds of averaging with the next samples: the noise of a scan makes its rims longer
_LENGTHS = (0.55, 1.7)  # of a rim of the scan, over the template's
_OUTER_LENGTHS = (0.85, 1.18)
_APART = 0.13  # mean distance between both, over the length of the rim
_APART_MM = 25.0
#: The outer rim counts if half and nine tenths of it lie so near to the line; of raw faces it was 1 to 3 mm away where
#: they were cut along it, and where they were cut elsewhere as far as that.
_NEAR_MM = (3.0, 6.0)
_FLAT = 0.25  # an axis along which a rim extends less than this share of the largest is not stretched further
_PENALTY = 0.02  # of a step that stays on one line


class Rims:
    """Rims of the template's openings and where they lie on a scan.

    Attributes
    ----------
    count : How many of the template's rims the scan has, too.

    Parameters
    ----------
    topology, target : The template, and the scan with faces; one without has no rims.
    motion : From the template's frame to the scan's.
    outer : Whether the longest rim of the template counts, too: ``always``, for scans that were cut along the same
        line, ``near``, while it lies on such a line, or ``never``. There a vertex goes to the nearest point of the
        line, since along it nothing says how far.
    """

    def __init__(
        self,
        topology: Topology,
        target: TargetSurface,
        motion: Similarity,
        outer: Literal["never", "near", "always"] = "never",
    ):
        self._rows, self._points = [np.zeros(0, dtype=np.int64)], [np.zeros((0, 3))]
        self._ends: tuple[np.ndarray, np.ndarray, cKDTree] | None = None
        self._outer: tuple[np.ndarray, cKDTree] | None = None
        self._is_near_asked = outer == "near"
        self.count = 0
        if target.faces is None or target.vertices is None or not topology.is_border.any():
            return
        longest, *inner = sorted(closed_borders(topology.faces), key=lambda loop: -_length(topology.template[loop]))
        lines = [motion.inverse().apply(target.vertices[loop]) for loop in closed_borders(target.faces)]
        lines = [line for line in lines if _length(line) > _SHORTEST_MM]
        self._loops = [longest, *inner]
        if lines:
            dense = [motion.apply(_dense(line)) for line in lines]
            along = np.concatenate([_directions(line, _AHEAD) for line in dense])
            ends = np.concatenate(dense)
            self._ends = ends, along, cKDTree(np.hstack([ends, _TURN_MM * motion.scale * along]))
        for loop in inner:
            found = _partner(topology.template[loop], lines, _LENGTHS)
            if found is not None:
                self._rows.append(loop)
                self._points.append(motion.apply(found[0]))
                self.count += 1
        if outer == "never":
            return
        found = _partner(topology.template[longest], lines, _OUTER_LENGTHS)
        if found is not None:
            self._outer = longest, cKDTree(motion.apply(_dense(lines[found[1]])))
            self.count += 1

    def pulls(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> Pulls | None:
        """Where the rims of a shape should go, in the frame of the template; None if there are none."""
        if not self.count:
            return None
        points, weights = np.zeros(shape.shape), np.zeros(len(shape))
        back = motion.inverse()
        rows = np.concatenate(self._rows)
        points[rows], weights[rows] = back.apply(np.concatenate(self._points)), PULL_MM2
        if self._outer is not None:
            rows, line = self._outer
            apart, nearest = line.query(motion.apply(shape[rows]))
            if self._is_outer(apart, motion):
                points[rows], weights[rows] = back.apply(line.data[nearest]), PULL_MM2
        return Pulls(points, weights)

    def slides(self, shape: Float[np.ndarray, "vertex 3"], motion: Similarity) -> Slides | None:
        """The nearest points of borders of the scan that run the same way, in the frame of the template; None without.

        Other than :meth:`pulls` it needs no whole rim: where a hole has eaten into an eye, the rest of its rim counts.
        Both lips are told apart by their direction, and a hole from the rim beside it.
        """
        if self._ends is None:
            return None
        line, along, tree = self._ends
        placed, found = motion.apply(shape), []
        for loop in self._loops:
            own = _directions(placed[loop], 1)
            nearest = tree.query(np.hstack([placed[loop], _TURN_MM * motion.scale * own]))[1]
            apart = np.linalg.norm(line[nearest] - placed[loop], axis=1) / motion.scale
            is_near = (apart < _GATE_MM) & ((along[nearest] * own).sum(axis=1) > _SAME_WAY)
            is_off = self._outer is None or (self._is_near_asked and np.median(apart) > _NEAR_MM[0])
            if loop is self._loops[0] and is_off:
                continue
            found.append((loop[is_near], line[nearest][is_near], along[nearest][is_near]))
        if not sum(len(rows) for rows, _, _ in found):
            return None
        rows, points, directions = (np.concatenate(part) for part in zip(*found, strict=True))
        back = motion.inverse()
        return Slides(rows, back.apply(points), directions @ back.rotation, PULL_MM2)

    def _is_outer(self, apart: np.ndarray, motion: Similarity) -> bool:
        """Whether the template's outer rim, so far from the line, lies on it."""
        limits = motion.scale * np.array(_NEAR_MM)
        return not self._is_near_asked or bool((np.quantile(apart, [0.5, 0.9]) < limits).all())


def _directions(line: np.ndarray, ahead: int) -> np.ndarray:
    """Unit vectors along a closed line, from so many points before to as many behind."""
    way = np.roll(line, -ahead, axis=0) - np.roll(line, ahead, axis=0)
    return way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12)


def closed_borders(faces: Int[np.ndarray, "face 3"]) -> list[Int[np.ndarray, " loop"]]:
    """Closed lines of half-edges without a partner; where two borders meet in a vertex they are parted.

    Unlike :func:`~meshdisent.mesh.openings.border_loops` it takes a scan as it is, and leaves out lines that end.
    """
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    count = int(half.max()) + 1
    border = half[~np.isin(half[:, 0] * count + half[:, 1], half[:, 1] * count + half[:, 0])]
    following: dict[int, list[int]] = {}
    for start, end in border.tolist():
        following.setdefault(start, []).append(end)
    loops = []
    for start in list(following):
        while following.get(start):
            walk, place = [start], {start: 0}
            while following.get(walk[-1]):
                after = following[walk[-1]].pop()
                if after in place:  # a loop is closed; what was walked before it goes on from there
                    loop = walk[place[after] :]
                    loops.append(np.array(loop))
                    for vertex in loop[1:]:
                        del place[vertex]
                    del walk[place[after] + 1 :]
                else:
                    place[after] = len(walk)
                    walk.append(after)
    return [loop for loop in loops if len(loop) >= 3]


def _partner(
    rim: Float[np.ndarray, "own 3"], lines: list[Float[np.ndarray, "_ 3"]], lengths: tuple[float, float]
) -> tuple[Float[np.ndarray, "own 3"], int] | None:
    """Where the points of a rim lie on the line that is its own, and which line; None if none of the lines is."""
    own, at = _resampled(rim)
    size = _length(own)
    best, chosen, least = None, 0, min(_APART * size, _APART_MM)
    for number, line in enumerate(lines):
        other, _ = _resampled(line)
        if not lengths[0] < _length(other) / size < lengths[1]:
            continue
        if np.linalg.norm(other.mean(axis=0) - own.mean(axis=0)) > least:
            continue
        along = _warped(own, other)
        apart = float(np.linalg.norm(along - own, axis=1).mean())
        if apart < least:
            best, chosen, least = along, number, apart
    if best is None:
        return None
    closed = np.concatenate([best, best[:1]])
    return np.stack([np.interp(at, np.arange(_SAMPLES + 1), closed[:, k]) for k in range(3)], axis=1), chosen


def _dense(line: np.ndarray) -> np.ndarray:
    """A smoothed closed line as points less than a millimeter apart."""
    for _ in range(_SMOOTHED):
        line = _averaged(line)
    closed = np.concatenate([line, line[:1]])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    even = np.arange(0.0, walked[-1], _DENSE_MM)
    return np.stack([np.interp(even, walked, closed[:, k]) for k in range(3)], axis=1)


def _averaged(line: np.ndarray) -> np.ndarray:
    return (np.roll(line, 1, axis=0) + 2 * line + np.roll(line, -1, axis=0)) / 4


def _length(line: np.ndarray) -> float:
    return float(np.linalg.norm(np.roll(line, -1, axis=0) - line, axis=1).sum())


def _resampled(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced points along a closed line, smoothed, and where along them its own points lie."""
    closed = np.concatenate([line, line[:1]])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    even = np.linspace(0, walked[-1], _SAMPLES, endpoint=False)
    points = np.stack([np.interp(even, walked, closed[:, k]) for k in range(3)], axis=1)
    for _ in range(_SMOOTHED):
        points = _averaged(points)
    return points, walked[:-1] / walked[-1] * _SAMPLES


def _warped(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The point of the other line for each sample of the own one."""
    one, two = (_normalized(line) for line in (own, other))
    shift = min(range(_SAMPLES), key=lambda k: float(((one - np.roll(two, -k, axis=0)) ** 2).sum()))
    two, other = np.roll(two, -shift, axis=0), np.roll(other, -shift, axis=0)
    cost = ((one[:, None] - two[None]) ** 2).sum(axis=2) / one.shape[1]
    ones, twos = _cheapest_path(cost)
    total, count = np.zeros_like(own), np.zeros(len(own))
    np.add.at(total, ones, other[twos % _SAMPLES])
    np.add.at(count, ones, 1.0)
    return total / count[:, None]


def _normalized(line: np.ndarray) -> np.ndarray:
    """Positions with equal extent along each axis, and directions."""
    centered = line - line.mean(axis=0)
    spread = centered.std(axis=0)
    scaled = centered / np.maximum(spread, _FLAT * spread.max())
    ahead = np.roll(line, -2, axis=0) - np.roll(line, 2, axis=0)
    return np.hstack([scaled, ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)])


def _cheapest_path(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of samples along the cheapest way from the first pair to the last, never backwards."""
    count = len(cost)
    total = np.full((count, count), np.inf)
    total[0] = np.cumsum(cost[0] + _PENALTY)
    for i in range(1, count):
        row, above = total[i], total[i - 1]
        row[0] = above[0] + cost[i, 0] + _PENALTY
        straight = np.minimum(above[:-1], above[1:] + _PENALTY) + cost[i, 1:]
        for j in range(1, count):
            row[j] = min(straight[j - 1], row[j - 1] + cost[i, j] + _PENALTY)
    path, i, j = [(count - 1, count - 1)], count - 1, count - 1
    while i or j:
        steps = [(i - 1, j - 1)] * (i > 0 and j > 0) + [(i - 1, j)] * (i > 0) + [(i, j - 1)] * (j > 0)
        i, j = min(steps, key=lambda step: total[step] + _PENALTY * (step != (i - 1, j - 1)))
        path.append((i, j))
    ones, twos = np.array(path).T
    return ones, twos
