"""Sums over many scans: distances to a truth, and spreads within groups; in mm, a block of scans at a time."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.errors import ModelFileError
from meshdisent.metrics import spread_a, spread_b, summary, vertex_distance

SPREADS = {"a": spread_a, "b": spread_b}

Faces = Float[np.ndarray, "scan vertex 3"]
Moving = Bool[np.ndarray, " vertex"] | None


class Errors:
    """Vertex distances of many scans: a number for each scan, and a mean for each vertex.

    Examples
    --------
    >>> errors = Errors(vertex_count=2, moving=np.array([True, False]))
    >>> errors.add(np.array([[[3.0, 4, 0], [0, 0, 1]]]), np.zeros((1, 2, 3)))
    >>> errors.summary()
    {'mean': 3.0, 'std': 0.0, 'median': 3.0, 'moving': 5.0}
    """

    def __init__(self, vertex_count: int, moving: Moving):
        self.mask = moving
        self.whole: list[np.ndarray] = []
        self.moving: list[np.ndarray] = []
        self.total = np.zeros(vertex_count)
        self.count = 0

    def add(self, found: Faces | None, truth: Faces, is_known: Bool[np.ndarray, " scan"] | None = None) -> None:
        """Compare a block; scans whose truth is unknown count as NaN, and None (not defined) does not count."""
        if found is None:
            return
        distance = vertex_distance(finite(found), truth)
        if is_known is not None:
            distance[~is_known] = np.nan
        self.whole.append(distance.mean(axis=1))
        if self.mask is not None:
            self.moving.append(distance[:, self.mask].mean(axis=1))
        self.total += np.nansum(distance, axis=0)
        self.count += int(np.isfinite(self.whole[-1]).sum())

    def summary(self) -> dict[str, float | None] | None:
        """Mean, standard deviation, median and moving mean over scans with a known truth; None if there is none."""
        if self.count == 0:
            return None
        whole, moving = np.concatenate(self.whole), np.concatenate(self.moving) if self.moving else None
        return summary(whole[np.isfinite(whole)], None if moving is None else moving[np.isfinite(moving)])

    def per_scan(self) -> Float[np.ndarray, " scan"] | None:
        """(N,) In the order in which scans were added; NaN where the truth is unknown."""
        return np.concatenate(self.whole) if self.count else None

    def per_vertex(self) -> Float[np.ndarray, " vertex"] | None:
        """(V,) Mean over the scans."""
        return self.total / self.count if self.count else None


class Spreads:
    """Both variants of the spread of several groups of faces: a number for each group."""

    def __init__(self, moving: Moving):
        self.mask = moving
        self.whole: dict[str, list[float]] = {kind: [] for kind in SPREADS}
        self.moving: dict[str, list[float]] = {kind: [] for kind in SPREADS}

    def add(self, faces: Faces) -> None:
        """Measure one group."""
        one_group = np.zeros(len(finite(faces)), np.int64)
        for kind, spread in SPREADS.items():
            self.whole[kind].append(float(spread(faces, one_group)[1][0]))
            if self.mask is not None:
                self.moving[kind].append(float(spread(faces, one_group, self.mask)[1][0]))

    def summary(self) -> dict[str, Any] | None:
        """``{"a": S, "b": S}`` over the groups; None if there is none."""
        if not self.whole["a"]:
            return None
        return {kind: summary(np.array(self.whole[kind]), np.array(self.moving[kind])) for kind in SPREADS}


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
