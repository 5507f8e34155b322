"""What can be wrong with a set of scans: copies, strange shapes, neutrals that are not neutral, scans that lie askew.

Every function reads the scans in blocks and holds little more than one block in memory.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.faces_file import blocks
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import align

COPY_SHARE = 1e-4  # of the size, 0.01 mm on a face: rounding in a text file leaves less, a scanner leaves more
_CODE_SIZE = 12
_SHAPE_FENCE, _STRETCH_FENCE = 4.0, 8.0  # interquartile ranges above the upper quartile
_GROUP = 3  # scans that an expression needs to be judged by itself
_FRAME_SCANS = 200
_SUBJECT_SCANS = 64


@dataclass(frozen=True, eq=False)
class Overview:
    """What one pass over all scans collects.

    Attributes
    ----------
    mean : (V, 3) Mean shape, mm.
    box : (2, 3) Least and greatest coordinates of all scans, mm.
    size : (N,) Root mean square distance of each scan's vertices from their center, mm.
    code : (N, 12) Random projection that keeps distances: codes of equal scans are equal.
    """

    mean: Float[np.ndarray, "vertex 3"]
    box: Float[np.ndarray, "2 3"]
    size: Float[np.ndarray, " scan"]
    code: Float[np.ndarray, "scan code"]


class Copies(NamedTuple):
    """Two scans that are the same, and the root mean square distance of their vertices, mm."""

    first: int
    second: int
    distance_mm: float


class Neutrals(NamedTuple):
    """How far each judged subject's neutral, and its other scans, are from the middle of its scans.

    Attributes
    ----------
    subject : Rows of the subject table.
    neutral_mm : Mean vertex distance of the neutral to the subject's per-vertex median.
    others_mm : Median over its other scans of the same.
    """

    subject: Int[np.ndarray, " judged"]
    neutral_mm: Float[np.ndarray, " judged"]
    others_mm: Float[np.ndarray, " judged"]


class Frame(NamedTuple):
    """How the scans lie to their mean: median shift and turn, and what aligning them would save of the spread."""

    shift_mm: float
    turn_degrees: float
    saved_share: float


def overview(scans: ScanDataset) -> Overview:
    """Pass over all scans once."""
    count, width = len(scans), scans.topology.vertex_count * 3
    directions = np.random.default_rng(0).standard_normal((width, _CODE_SIZE)) / np.sqrt(_CODE_SIZE)
    reference = scans.topology.template.ravel()
    total = np.zeros(width)
    box = np.array([[np.inf] * 3, [-np.inf] * 3])
    size, code = np.empty(count), np.empty((count, _CODE_SIZE))
    for rows in blocks(count, scans.topology.vertex_count):
        vertices = scans.vertices(rows).astype(np.float64)
        flat = vertices.reshape(len(rows), -1)
        total += flat.sum(axis=0)
        box = np.stack([np.minimum(box[0], vertices.min(axis=(0, 1))), np.maximum(box[1], vertices.max(axis=(0, 1)))])
        centered = vertices - vertices.mean(axis=1, keepdims=True)
        size[rows] = np.sqrt((centered**2).sum(axis=2).mean(axis=1))
        code[rows] = (flat - reference) @ directions
    return Overview((total / count).reshape(-1, 3), box, size, code)


def copies(scans: ScanDataset, view: Overview) -> list[Copies]:
    """Find scans that are the same up to rounding: nearest neighbors by code, then compared in full."""
    if len(scans) < 2:
        return []
    distance, neighbor = cKDTree(view.code).query(view.code, k=2)
    near = COPY_SHARE * float(np.median(view.size))
    # Codes keep squared lengths on average; with 12 of them, 3 times the root is far above what chance does.
    limit = 3 * near * np.sqrt(scans.topology.vertex_count)
    found: dict[tuple[int, int], Copies] = {}
    for row in np.flatnonzero(distance[:, 1] < limit):
        other = int(neighbor[row, 1] if neighbor[row, 0] == row else neighbor[row, 0])
        pair = (min(int(row), other), max(int(row), other))
        if pair not in found:
            first, second = scans.vertices(np.array(pair)).astype(np.float64)
            apart = float(np.sqrt(((first - second) ** 2).sum(axis=1).mean()))
            if apart < near:
                found[pair] = Copies(*pair, apart)
    return [found[pair] for pair in sorted(found)]


def strangers(
    scans: ScanDataset, mean: Float[np.ndarray, "vertex 3"]
) -> tuple[Int[np.ndarray, " strange"], Float[np.ndarray, " strange"]]:
    """Find scans much farther from the mean shape than the others, or with a vertex pulled far out of the surface.

    Each scan is measured against those of its expression: an open mouth is no fault.

    Returns
    -------
    Their rows, worst first, and their mean vertex distance to the mean shape in mm.
    """
    distance, stretch = np.empty(len(scans)), np.empty(len(scans))
    edges = scans.topology.edges
    length = np.linalg.norm(mean[edges[:, 0]] - mean[edges[:, 1]], axis=1) + 1.0  # mm; keeps tiny edges from counting
    for rows in blocks(len(scans), scans.topology.vertex_count):
        vertices = scans.vertices(rows).astype(np.float64)
        distance[rows] = np.linalg.norm(vertices - mean, axis=2).mean(axis=1)
        now = np.linalg.norm(vertices[:, edges[:, 0]] - vertices[:, edges[:, 1]], axis=2)
        stretch[rows] = (now / length).max(axis=1, initial=0.0)
    strange = np.flatnonzero(
        _beyond_fence(_relative(distance, scans.expression), _SHAPE_FENCE)
        | _beyond_fence(_relative(stretch, scans.expression), _STRETCH_FENCE)
    )
    order = strange[np.argsort(-distance[strange], kind="stable")]
    return order, distance[order]


def neutral_quality(scans: ScanDataset) -> Neutrals:
    """Compare each subject's neutral with the middle of its scans, for subjects with four scans or more."""
    judged, neutral_mm, others_mm = [], [], []
    for subject, neutral in enumerate(scans.neutral_row):
        rows = np.flatnonzero(scans.subject == subject)
        if neutral < 0 or len(rows) < 4:
            continue
        others = rows[rows != neutral]
        others = np.unique(others[np.linspace(0, len(others) - 1, min(_SUBJECT_SCANS, len(others))).astype(np.int64)])
        vertices = scans.vertices(np.append(others, neutral)).astype(np.float64)
        distance = np.linalg.norm(vertices - np.median(vertices, axis=0), axis=2).mean(axis=1)
        judged.append(subject)
        neutral_mm.append(distance[-1])
        others_mm.append(np.median(distance[:-1]))
    return Neutrals(np.array(judged, np.int64), np.array(neutral_mm, np.float64), np.array(others_mm, np.float64))


def frame(scans: ScanDataset, mean: Float[np.ndarray, "vertex 3"]) -> Frame | None:
    """Measure how a few scans lie to the mean shape; None if that cannot be said, as for a flat shape or one scan."""
    rows = np.unique(np.linspace(0, len(scans) - 1, min(_FRAME_SCANS, len(scans))).astype(np.int64))
    shift, turn, before, after = [], [], [], []
    for row in rows:
        vertices = scans.vertices(np.array([row]))[0].astype(np.float64)
        try:
            motion = align(vertices, mean)
        except DataError:
            return None
        moved = motion.apply(vertices)
        shift.append(np.linalg.norm(vertices.mean(axis=0) - mean.mean(axis=0)))
        turn.append(np.degrees(np.arccos(np.clip((np.trace(motion.rotation) - 1) / 2, -1, 1))))
        before.append(((vertices - mean) ** 2).sum())
        after.append(((moved - mean) ** 2).sum())
    saved = 1 - np.sum(after) / np.sum(before) if np.sum(before) > 0 else 0.0
    return Frame(float(np.median(shift)), float(np.median(turn)), float(saved))


def _relative(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Divide each value by the median of its group, that of all where the group is small or its median is 0."""
    result = values / max(np.median(values), 1e-12)
    for name in np.unique(group):
        rows = group == name
        middle = np.median(values[rows])
        if rows.sum() >= _GROUP and middle > 0:
            result[rows] = values[rows] / middle
    return result


def _beyond_fence(values: np.ndarray, fence: float) -> np.ndarray:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return values > max(high + fence * (high - low), 1.5 * middle)
