"""How far each frame of a sequence has moved from its first one, and what FED makes of it: outliers, sides, neutrals.

The rules are those of FED's published preparation of CoMA. No frame of CoMA is labeled neutral, and some of its
sequences go to both sides of the face.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

OUTLIER_DEVIATIONS = 3.0
NEUTRAL_LEVEL = 0.01
SIDE_VERTEX = 3506  # of FLAME's topology
TWO_SIDED = ("mouth_down", "mouth_middle", "mouth_side", "mouth_up")


def distances_to_first(frames: Float[np.ndarray, "frame vertex 3"]) -> Float[np.ndarray, " frame"]:
    """Mean distance of the vertices of each frame to those of the first one, in the unit of the frames."""
    return np.linalg.norm(frames - frames[:1], axis=2).mean(axis=1)


def motion_levels(
    distance: Float[np.ndarray, " frame"],
) -> tuple[Float[np.ndarray, " frame"], Bool[np.ndarray, " frame"]]:
    """Turn distances to the first frame of one sequence into levels from 0 to 1, and find its outliers.

    A frame is an outlier if its distance is more than 3 standard deviations (of the sequence, with 1/n) above the mean.
    Levels are distances divided by the largest of the frames that are none, so those of outliers lie above 1.

    Parameters
    ----------
    distance : (frame,) As :func:`distances_to_first` gives it.

    Returns
    -------
    level : (frame,) All 0 where nothing moves.
    is_kept : (frame,) Whether the frame is no outlier.

    Examples
    --------
    >>> level, is_kept = motion_levels(np.array([0.0, 1.0, 2.0, 1.0]))
    >>> level.tolist(), is_kept.all()
    ([0.0, 0.5, 1.0, 0.5], np.True_)
    """
    deviation = distance.std()
    is_kept = distance - distance.mean() <= OUTLIER_DEVIATIONS * deviation
    largest = distance[is_kept].max(initial=0.0)
    return (distance / largest if largest > 0 else np.zeros_like(distance)), is_kept


def sided_names(sequence: str, side_x: Float[np.ndarray, " frame"]) -> list[str]:
    """Name the expression of each frame of a CoMA sequence: FED's 16 classes.

    Parameters
    ----------
    sequence : Its name; those in ``TWO_SIDED`` become two expressions, ``..._left`` and ``..._right``.
    side_x : (frame,) x of vertex 3506 in each frame. Below that of the first frame is left, else right; the published
        code compares single with double precision, so there the first frame itself falls on either side by rounding.
    """
    if sequence not in TWO_SIDED:
        return [sequence] * len(side_x)
    return [f"{sequence}_{'left' if x < side_x[0] else 'right'}" for x in side_x]


def neutrals_by_level(
    vertices: Float[np.ndarray, "scan vertex 3"], subject: Int[np.ndarray, " scan"], level: Float[np.ndarray, " scan"]
) -> dict[int, Float[np.ndarray, "vertex 3"]]:
    """Mean of each subject's frames with a level of at most 0.01; subjects without one are left out.

    FED takes training frames only for the neutrals that it trains with, and all frames for those that it tests with.
    """
    at_rest = level <= NEUTRAL_LEVEL
    return {
        int(k): vertices[at_rest & (subject == k)].mean(axis=0, dtype=np.float64) for k in np.unique(subject[at_rest])
    }


def window_starts(
    subjects: Sequence[str | int], expressions: Sequence[str | int | None], random: np.random.RandomState
) -> Int[np.ndarray, " window"]:
    """Draw FED's test windows on CoMA: 10 frames each, together about a tenth of all, within one sequence each.

    ``int(0.01 N)`` starts are drawn uniformly. One counts if its first and last frame share subject and expression and
    it does not overlap an earlier one; else another is drawn.

    Parameters
    ----------
    subjects, expressions : (N,) Of each frame, in the order of the files, outliers left out.
    random : The old generator of numpy, which the published code draws from without a seed.

    Returns
    -------
    Ascending. Fewer than ``int(0.01 N)``, if a thousand draws each find no place for more.
    """
    count = len(subjects)
    starts: list[int] = []
    for _ in range(int(WINDOW_SHARE * count)):
        for _ in range(_MOST_DRAWS):
            start = int(random.randint(count - WINDOW + 1))
            last = start + WINDOW - 1
            fits = subjects[start] == subjects[last] and expressions[start] == expressions[last]
            if fits and all(abs(start - other) >= WINDOW for other in starts):
                starts.append(start)
                break
    return np.sort(np.array(starts, np.int64))


WINDOW, WINDOW_SHARE = 10, 0.01
_MOST_DRAWS = 1000
