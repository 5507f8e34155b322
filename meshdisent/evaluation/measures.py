"""Sums over many scans: distances to a truth, and spreads within groups; in mm, a block of scans at a time."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.errors import ModelFileError
from meshdisent.metrics import Resampling, interval, spread_a, spread_b, summary, vertex_distance
from meshdisent.metrics.spreads import distance_to_mean

SPREADS = {"a": spread_a, "b": spread_b}

Faces = Float[np.ndarray, "scan vertex 3"]
Moving = Bool[np.ndarray, " vertex"] | None
Subjects = Int[np.ndarray, " scan"]
#: A figure in each draw of people; None where it is not defined.
Draws = Float[np.ndarray, " draw"] | None


class Errors:
    """Vertex distances of many scans: a number for each scan, and a mean for each vertex.

    Examples
    --------
    >>> errors = Errors(2, np.array([True, False]), Resampling(np.array([0, 1])))
    >>> errors.add(np.array([[[3.0, 4, 0], [0, 0, 1]]]), np.zeros((1, 2, 3)), np.array([0]))
    >>> errors.summary()
    {'mean': 3.0, 'std': 0.0, 'median': 3.0, 'moving': 5.0, 'low': None, 'high': None}
    """

    def __init__(self, vertex_count: int, moving: Moving, resampling: Resampling):
        self.mask, self.resampling = moving, resampling
        self.whole: list[np.ndarray] = []
        self.moving: list[np.ndarray] = []
        self.subject: list[np.ndarray] = []
        self.total = np.zeros(vertex_count)
        self.count = 0

    def add(
        self,
        found: Faces | None,
        truth: Faces,
        subject: Subjects,
        is_known: Bool[np.ndarray, " scan"] | None = None,
    ) -> None:
        """Compare a block; scans whose truth is unknown count as NaN, and None (not defined) does not count."""
        if found is None:
            return
        distance = vertex_distance(finite(found), truth)
        if is_known is not None:
            distance[~is_known] = np.nan
        self.whole.append(distance.mean(axis=1))
        self.subject.append(subject)
        if self.mask is not None:
            self.moving.append(distance[:, self.mask].mean(axis=1))
        self.total += np.nansum(distance, axis=0)
        self.count += int(np.isfinite(self.whole[-1]).sum())

    def summary(self) -> dict[str, Any] | None:
        """Mean, its interval, deviation, median and moving mean over scans whose truth is known; None without one."""
        if self.count == 0:
            return None
        whole, moving = np.concatenate(self.whole), np.concatenate(self.moving) if self.moving else None
        found = summary(whole[np.isfinite(whole)], None if moving is None else moving[np.isfinite(moving)])
        return found | ends(self.draws())

    def draws(self) -> Draws:
        """The mean in each draw of people."""
        if self.count == 0:
            return None
        whole, subject = np.concatenate(self.whole), np.concatenate(self.subject)
        is_known = np.isfinite(whole)
        return self.resampling.means(whole[is_known], subject[is_known])

    def per_scan(self) -> Float[np.ndarray, " scan"] | None:
        """(N,) In the order in which scans were added; NaN where the truth is unknown."""
        return np.concatenate(self.whole) if self.count else None

    def per_vertex(self) -> Float[np.ndarray, " vertex"] | None:
        """(V,) Mean over the scans."""
        return self.total / self.count if self.count else None


class Spreads:
    """Both variants of the spread of several groups of faces: a number for each group."""

    def __init__(self, moving: Moving, resampling: Resampling):
        self.mask, self.resampling = moving, resampling
        self.whole: dict[str, list[float]] = {kind: [] for kind in SPREADS}
        self.moving: dict[str, list[float]] = {kind: [] for kind in SPREADS}
        self.drawn: dict[str, list[np.ndarray]] = {kind: [] for kind in SPREADS}
        self.weights: list[np.ndarray] = []
        self.subjects: set[int] = set()

    def add(self, faces: Faces, subject: Subjects) -> None:
        """Measure one group: the scans of a subject, or those of an expression."""
        one_group = np.zeros(len(finite(faces)), np.int64)
        for kind, spread in SPREADS.items():
            self.whole[kind].append(float(spread(faces, one_group)[1][0]))
            if self.mask is not None:
                self.moving[kind].append(float(spread(faces, one_group, self.mask)[1][0]))
        self._draw(faces, subject)

    def _draw(self, faces: Faces, subject: Subjects) -> None:
        """The group in each draw: one subject counts as often as drawn; of many subjects, those drawn are measured."""
        subjects = np.unique(subject)
        self.subjects.update(subjects.tolist())
        if len(subjects) == 1:
            self.weights.append(self.resampling.times[:, self.resampling.places(subjects)[0]])
            both = [np.full(self.resampling.count, self.whole[kind][-1]) for kind in SPREADS]
        else:
            distance = distance_to_mean(faces.astype(np.float64))
            both = [*self.resampling.spreads(distance.mean(axis=1), np.square(distance).mean(axis=1), subject)]
            self.weights.append(np.isfinite(both[0]).astype(np.float64))
        for kind, values in zip(SPREADS, both, strict=True):
            self.drawn[kind].append(np.nan_to_num(values))

    def summary(self) -> dict[str, Any] | None:
        """``{"a": S, "b": S}`` over the groups; None if there is none."""
        if not self.whole["a"]:
            return None
        draws = self.draws()
        return {
            kind: summary(np.array(self.whole[kind]), np.array(self.moving[kind])) | ends(draws[kind])
            for kind in SPREADS
        }

    def draws(self) -> dict[str, Draws]:
        """The mean over groups in each draw of people, by variant."""
        if len(self.subjects) < 2:
            return dict.fromkeys(SPREADS)
        weights = np.stack(self.weights)
        total = weights.sum(axis=0)
        over = {kind: (weights * np.stack(self.drawn[kind])).sum(axis=0) for kind in SPREADS}
        undefined = np.full(len(total), np.nan)
        return {kind: np.divide(over[kind], total, out=undefined.copy(), where=total > 0) for kind in SPREADS}


def ends(draws: Draws) -> dict[str, float | None]:
    """Both ends of the 95 % interval of some draws, as JSON has them; None where it is not defined."""
    found = None if draws is None else interval(draws)
    return dict(zip(("low", "high"), found or (None, None), strict=True))


def repeated(group: Int[np.ndarray, " scan"]) -> Int[np.ndarray, " label"]:
    """Labels of more than one scan: one scan has no spread, and its 0 would flatter the mean.

    Examples
    --------
    >>> repeated(np.array([4, 2, 4, -1, -1])).tolist()
    [4]
    """
    labels, sizes = np.unique(group[group >= 0], return_counts=True)
    return labels[sizes > 1]


def finite(faces: Faces) -> Faces:
    """Give faces back, or raise :class:`ModelFileError`: a mean over the finite ones would hide the others."""
    if not np.isfinite(faces).all():
        raise ModelFileError(
            "The model gives coordinates that are not finite for some scans; wanted millimeters. Train it again, or "
            "take an earlier model of the run."
        )
    return faces
