"""The 68 points of iBUG's scheme on the synthetic head: vertices chosen by the formulas that shape it.

The chart (``synthetic_chart``) says where on the skin everything is before it is bent into a head: the lids' edge, the
line where the lips meet, the border of the red, the tip of the nose. A point is the nearest vertex of the right kind.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.data.synthetic_chart import (
    EYE_CENTER,
    MOUTH_CENTER,
    MOUTH_HALF_WIDTH,
    OUTLINE_CENTER,
    OUTLINE_HALF_HEIGHT,
    OUTLINE_HALF_WIDTH,
    SKIN,
    FaceChart,
    eye_opening,
)
from meshdisent.mesh.landmark_files import IBUG_68
from meshdisent.mesh.landmark_sets import LandmarkSet

# Left of the person is positive u; rows run from the person's right to the left, as iBUG's do.
_BROW_U = np.array([52.0, 43, 33, 22, 12])
_NOSE = [(0.0, 2.0), (0.0, -10), (0.0, -22), (0.0, -36), (-12.8, -44), (-6.5, -47), (0.0, -49), (6.5, -47), (12.8, -44)]
_JAW_SHRINK, _JAW_TOP = 0.85, np.deg2rad(12)  # of the outline, which lies behind the jaw's edge


def synthetic_landmarks(chart: FaceChart) -> LandmarkSet:
    """The 68 points by the names of :data:`meshdisent.mesh.landmark_files.IBUG_68`."""
    skin = chart.kind == SKIN
    open_skin = skin & ~chart.lid_ring & ~chart.lip_ring
    above, below = chart.side > 0, chart.side < 0
    lips = chart.lip_ring
    rows = [
        _nearest(chart, _jaw(), open_skin),
        _nearest(chart, _brows(), open_skin),
        _nearest(chart, np.array(_NOSE), open_skin),
        _nearest(chart, _eye(-1), chart.lid_ring),
        _nearest(chart, _eye(1), chart.lid_ring),
        _nearest(chart, np.array([(-MOUTH_HALF_WIDTH, MOUTH_CENTER)]), lips),
        _nearest(chart, _red_border(np.array([-17.0, -7, 0, 7, 17]), is_upper=True), open_skin & above),
        _nearest(chart, np.array([(MOUTH_HALF_WIDTH, MOUTH_CENTER)]), lips),
        _nearest(chart, _red_border(np.array([17.0, 8, 0, -8, -17]), is_upper=False), open_skin & below),
        _nearest(chart, _line(np.array([-19.0, -8, 0, 8, 19])), lips & above),
        _nearest(chart, _line(np.array([8.0, 0, -8])), lips & below),
    ]
    return LandmarkSet.of_vertices(IBUG_68, np.concatenate(rows), source="the synthetic head's formulas")


def _nearest(chart: FaceChart, places: Float[np.ndarray, "point 2"], is_kind: np.ndarray) -> Int[np.ndarray, " point"]:
    kind = np.flatnonzero(is_kind)
    return kind[cKDTree(chart.position[kind]).query(places)[1]]


def _jaw() -> Float[np.ndarray, "17 2"]:
    """Seventeen points on a smaller copy of the outline, from beside the right eye round the chin to the left."""
    angle = np.linspace(np.pi - _JAW_TOP, 2 * np.pi + _JAW_TOP, 17)
    cosine, sine = np.cos(angle), np.sin(angle)
    radius = _JAW_SHRINK * (np.abs(cosine) ** 2.4 + np.abs(sine) ** 2.4) ** (-1 / 2.4)
    return np.stack(
        [OUTLINE_HALF_WIDTH * radius * cosine, OUTLINE_CENTER + OUTLINE_HALF_HEIGHT * radius * sine], axis=1
    )


def _brows() -> Float[np.ndarray, "10 2"]:
    u = np.concatenate([-_BROW_U, _BROW_U[::-1]])
    return np.stack([u, 14.5 + 5.0 * (1 - ((np.abs(u) - 33) / 32) ** 2)], axis=1)


def _eye(side: int) -> Float[np.ndarray, "6 2"]:
    """Corners and two points on each lid; the order begins at the corner on the person's right."""
    angles = np.deg2rad([0.0, 62, 118, 180, 242, 298])  # from the outer corner, over the upper lid
    ring = eye_opening(angles) + np.array(EYE_CENTER)
    if side > 0:
        ring = ring[[3, 2, 1, 0, 5, 4]]
    return ring * (side, 1)


def _red_border(u: Float[np.ndarray, " point"], is_upper: bool) -> Float[np.ndarray, "point 2"]:
    """Where the red of a lip ends, as the average mouth has it."""
    inside = np.clip(1 - (u / MOUTH_HALF_WIDTH) ** 2, 0, 1)
    size = np.abs(u)
    bow = 1 + 0.16 * np.exp(-(((size - 5.5) / 3.5) ** 2)) - 0.12 * np.exp(-((size / 2.5) ** 2))
    thickness = 7.4 * bow * inside**0.7 + 1.2 if is_upper else 8.8 * inside**0.6 + 1.2
    return np.stack([u, MOUTH_CENTER + (thickness if is_upper else -thickness)], axis=1)


def _line(u: Float[np.ndarray, " point"]) -> Float[np.ndarray, "point 2"]:
    return np.stack([u, np.full(len(u), MOUTH_CENTER)], axis=1)
