r"""Closed lines in space: the borders of meshes, and how one is laid along another.

One is laid along the other as a whole, by dynamic time warping (Sakoe and Chiba 1978) of positions, with the extent of
each axis made equal, and of directions,

.. math:: c_{ij} = |a_i - b_j|^2 + |\dot a_i - \dot b_j|^2,

from the pair of points at which the even walk along both costs least.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

SAMPLES = 96
_SMOOTHED = 2  # rounds of averaging with the next samples: the noise of a scan makes its rims longer
_MOST_ROUNDS = 200
_FLAT = 0.25  # an axis along which a rim extends less than this share of the largest is not stretched further
_PENALTY = 0.02  # of a step that stays on one line


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


def length_of(line: Float[np.ndarray, "point 3"]) -> float:
    """Length of a closed line."""
    return float(np.linalg.norm(np.roll(line, -1, axis=0) - line, axis=1).sum())


def evenly(
    line: Float[np.ndarray, "point 3"], count: int
) -> tuple[Float[np.ndarray, "count 3"], Float[np.ndarray, " point"]]:
    """Evenly spaced points along a closed line, and where among them its own points lie, 0 to ``count``."""
    closed = np.concatenate([line, line[:1]])
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))])
    even = np.linspace(0, walked[-1], count, endpoint=False)
    points = np.stack([np.interp(even, walked, closed[:, k]) for k in range(3)], axis=1)
    return points, walked[:-1] / walked[-1] * count


def smoothed(line: Float[np.ndarray, "point 3"], rounds: int = _SMOOTHED) -> Float[np.ndarray, "point 3"]:
    """A closed line, each point averaged with its neighbors so many times."""
    for _ in range(rounds):
        line = (np.roll(line, 1, axis=0) + 2 * line + np.roll(line, -1, axis=0)) / 4
    return line


def smoothed_by(line: Float[np.ndarray, "point 3"], width: float) -> Float[np.ndarray, "point 3"]:
    """A closed line without waves much shorter than a width, which the points of a scan make by themselves."""
    spacing = length_of(line) / len(line)
    return smoothed(line, int(np.clip(round(2 * (width / max(spacing, 1e-12)) ** 2), 0, _MOST_ROUNDS)))


def directions(line: Float[np.ndarray, "*line point 3"], ahead: int) -> Float[np.ndarray, "*line point 3"]:
    """Unit vectors along closed lines, from so many points before to as many behind."""
    way = np.roll(line, -ahead, axis=-2) - np.roll(line, ahead, axis=-2)
    return way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-12)


def compared(line: Float[np.ndarray, "*line point 3"], ahead: int) -> Float[np.ndarray, "*line point 6"]:
    """Positions with equal extent along each axis, and directions."""
    centered = line - line.mean(axis=-2, keepdims=True)
    spread = centered.std(axis=-2, keepdims=True)
    scaled = centered / np.maximum(spread, _FLAT * spread.max(axis=-1, keepdims=True))
    return np.concatenate([scaled, directions(line, ahead)], axis=-1)


class Warp(NamedTuple):
    """Pairs of samples of two lines, in their order, and what a pair costs on average."""

    ones: Int[np.ndarray, " pair"]
    twos: Int[np.ndarray, " pair"]
    cost: float

    def onto(self, values: Float[np.ndarray, "sample k"]) -> Float[np.ndarray, "sample k"]:
        """What belongs to each sample of the first line: the mean over its partners on the second."""
        total, count = np.zeros_like(values), np.zeros(len(values))
        np.add.at(total, self.ones, values[self.twos])
        np.add.at(count, self.ones, 1.0)
        return total / count[:, None]


def warp(own: Float[np.ndarray, "sample 3"], other: Float[np.ndarray, "sample 3"]) -> Warp:
    """Lay one line along another, both of as many evenly spaced samples."""
    one, two = compared(own, 2), compared(other, 2)
    count = len(one)
    shift = min(range(count), key=lambda k: float(((one - np.roll(two, -k, axis=0)) ** 2).sum()))
    two = np.roll(two, -shift, axis=0)
    ones, twos = _cheapest_path(((one[:, None] - two[None]) ** 2).sum(axis=2) / count)
    return Warp(ones, (twos + shift) % count, float(((one[ones] - two[twos]) ** 2).sum(axis=1).mean()))


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
