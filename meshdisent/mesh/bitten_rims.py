"""Rims that holes of the scan have eaten into: the border then runs along the rim, around the hole, and on.

Such a border is longer than the rim, and laid along it as a whole it would draw the rim into the hole. So the bite is
cut off by a chord: of all pairs of points of the border that are near to each other, with a detour between them, those
are taken whose chord leaves what is most like the rim; once more if there are two bites. What lies on a chord is where
the rim might be, but nothing shows it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from meshdisent.mesh.closed_lines import compared, evenly, length_of

_SPACING_MM, _WIDEST_MM = 2.5, 25.0  # of the points of a border that chords end in; of a bite
_DETOUR, _SHORTEST_MM = 1.3, 5.0  # of the way around a bite, over its chord; and its length
_COMPARED, _KEPT, _BITES = 32, 4, 2
_FAR = 0.25  # of the length of the rim: as far off as a line that is nothing like it
_MOST_CHORDS = 20_000


class Line(NamedTuple):
    """A closed line, which of its points were on the border of the scan, and how many bites were cut off."""

    points: Float[np.ndarray, "point 3"]
    is_seen: Bool[np.ndarray, " point"]
    bites: int = 0


def without_bites(
    rim: Float[np.ndarray, "own 3"], border: Float[np.ndarray, "_ 3"], lengths: tuple[float, float]
) -> list[Line]:
    """What is left of a border without one or two bites, by chords that make it most like the rim.

    Parameters
    ----------
    rim, border : Closed lines, mm.
    lengths : Bounds of what is left over the length of the rim.
    """
    size = length_of(rim)
    like = compared(evenly(rim, _COMPARED)[0], 1)
    points, _ = evenly(border, max(8, round(length_of(border) / _SPACING_MM)))
    found: list[Line] = []
    begun = [Line(points, np.ones(len(points), dtype=bool))]
    for _ in range(_BITES):
        tried = [cut for line in begun for cut in _cuts(line, like, rim.mean(axis=0), size, lengths)]
        begun = [line for _, line in sorted(tried, key=lambda cut: cut[0])[:_KEPT]]
        found += begun
    return found


def _cuts(
    line: Line, like: np.ndarray, middle: np.ndarray, size: float, lengths: tuple[float, float]
) -> list[tuple[float, Line]]:
    """The best few ways to cut one bite off, with what each leaves unlike."""
    points, count = line.points, len(line.points)
    step = length_of(points) / count
    first, second = np.nonzero(~np.eye(count, dtype=bool))
    steps = (second - first) % count  # from the first point to the second it is kept
    chord = np.linalg.norm(points[second] - points[first], axis=1)
    left, around = steps * step + chord, (count - steps) * step
    is_bite = (chord < _WIDEST_MM) & (around > _DETOUR * chord) & (around > _SHORTEST_MM)
    is_bite &= (left > lengths[0] * size) & (left < lengths[1] * size)
    rows = np.flatnonzero(is_bite)[:: 1 + int(is_bite.sum()) // _MOST_CHORDS]
    if not len(rows):
        return []
    first, second, steps, chord = first[rows], second[rows], steps[rows], chord[rows]
    # Evenly spaced points along the kept part and the chord.
    at = np.arange(_COMPARED) / _COMPARED * (steps * step + chord)[:, None] / step
    on_chord = at > steps[:, None]
    share = np.where(on_chord, (at - steps[:, None]) * step / np.maximum(chord, 1e-9)[:, None], at % 1)[..., None]
    whole = np.floor(np.minimum(at, steps[:, None])).astype(np.int64)
    start = np.where(on_chord, second[:, None], (first[:, None] + whole) % count)
    end = np.where(on_chord, first[:, None], (first[:, None] + whole + 1) % count)
    samples = points[start] * (1 - share) + points[end] * share
    like_what = compared(samples, 1)
    unlike = np.full(len(rows), np.inf)
    for shift in range(_COMPARED):
        turned = np.roll(like, -shift, axis=0)
        unlike = np.minimum(unlike, ((like_what - turned) ** 2).sum(axis=2).mean(axis=1))
    unlike += (np.linalg.norm(samples.mean(axis=1) - middle, axis=1) / (_FAR * size)) ** 2
    return [
        (float(unlike[k]), _kept(line, int(first[k]), int(steps[k]), float(chord[k]), step))
        for k in _apart(unlike, first, second)
    ]


def _apart(unlike: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[int]:
    """The least unlike few of which no two have nearly the same ends."""
    chosen: list[int] = []
    for k in np.argsort(unlike)[:200]:
        if all(abs(first[k] - first[j]) + abs(second[k] - second[j]) > 4 for j in chosen):
            chosen.append(int(k))
        if len(chosen) == _KEPT:
            break
    return chosen


def _kept(line: Line, first: int, steps: int, chord: float, step: float) -> Line:
    count = len(line.points)
    rows = (first + np.arange(steps + 1)) % count
    share = np.linspace(0, 1, max(2, round(chord / step)) + 1)[1:-1, None]
    bridge = line.points[rows[-1]] * (1 - share) + line.points[rows[0]] * share
    return Line(
        np.concatenate([line.points[rows], bridge]),
        np.concatenate([line.is_seen[rows], np.zeros(len(bridge), dtype=bool)]),
        line.bites + 1,
    )
