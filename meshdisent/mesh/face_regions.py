"""Named regions of a face, from its 68 landmarks: forehead, brows, eyes, nose, cheeks, mouth, jaw, ears, neck, scalp.

Each region has a skeleton: points and lines between landmarks, or beside them by shares of the distance between the
eyes. A vertex belongs to the region whose skeleton is nearest, less that region's reach; so the regions cut a surface
into parts that do not overlap, on any topology whose landmarks are known. Three names stand for several of them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from meshdisent.errors import DataError
from meshdisent.mesh.landmark_files import IBUG_68

#: Names for several regions. The stable one moves least when a face does (what ``--stable`` aligns by).
UNIONS = {
    "front": ("forehead", "brows", "eyes", "nose", "cheeks", "mouth", "jaw"),
    "upper_face": ("forehead", "brows", "eyes"),
    "lower_face": ("mouth", "jaw"),
}
_STEP = 0.04  # between points of a line, in distances between the eyes
#: How far a region reaches from its skeleton before another may begin, in distances between the eyes.
_REACH = {"eyes": 0.10, "brows": 0.05, "nose": 0.04, "mouth": 0.10, "forehead": 0.0, "cheeks": 0.0, "jaw": 0.0,
          "ears": 0.0, "neck": 0.0, "scalp": 0.0}  # fmt: skip
REGIONS = tuple(_REACH)


def face_regions(
    vertices: Float[np.ndarray, "vertex 3"],
    landmarks: Mapping[str, Float[np.ndarray, "3"]],
    parts: Sequence[str] = REGIONS,
) -> dict[str, Int[np.ndarray, " member"]]:
    """The vertices of each region, by name; together with the unions and ``stable``.

    Parameters
    ----------
    vertices : (V, 3) A face at rest, mm, y up, z towards the viewer: the template.
    landmarks : The 68 points by their names, in the same frame.
    parts : What the topology has; a mask has no ears, and nothing of it is called so.

    Raises
    ------
    DataError : If one of the 68 points is missing.
    """
    missing = [name for name in IBUG_68 if name not in landmarks]
    if missing:
        raise DataError(
            f"Regions are drawn from all 68 landmarks; {len(missing)} are missing, the first {missing[0]!r}."
        )
    points = np.array([landmarks[name] for name in IBUG_68], np.float64)
    frame = _Frame(points)
    local = frame.local(vertices)
    skeletons = _skeletons(frame.local(points))
    names = [name for name in REGIONS if name in parts]
    score = np.stack([cKDTree(skeletons[name]).query(local)[0] - _REACH[name] for name in names])
    nearest = score.argmin(axis=0)
    found = {name: np.flatnonzero(nearest == number) for number, name in enumerate(names)}
    for name, members in UNIONS.items():
        found[name] = np.sort(np.concatenate([found[part] for part in members if part in found]))
    bridge = found["nose"][local[found["nose"], 1] > frame.local(points)[29, 1]]
    found["stable"] = np.sort(np.concatenate([found["forehead"], bridge]))
    return {name: members for name, members in found.items() if len(members)}


class _Frame:
    """Axes of the face: from the right eye to the left, up from the mouth, forward; the unit lies between the eyes."""

    def __init__(self, points: Float[np.ndarray, "68 3"]):
        right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
        self.unit = float(np.linalg.norm(left - right))
        self.origin = (left + right) / 2
        across = (left - right) / self.unit
        up = self.origin - points[48:60].mean(axis=0)
        up -= (up @ across) * across
        up /= np.linalg.norm(up)
        self.axes = np.stack([across, up, np.cross(across, up)])

    def local(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 3"]:
        return (points - self.origin) @ self.axes.T / self.unit


def _skeletons(p: Float[np.ndarray, "68 3"]) -> dict[str, Float[np.ndarray, "point 3"]]:
    """Points of each skeleton in the face's own frame, by region."""
    brows = p[17:27]
    lids = [_line(ring, closed=True) for ring in (p[36:42], p[42:48])]
    across = [_line(p[ends]) for ends in ([36, 39], [42, 45])]
    wings = [_line(p[[28, side]]) for side in (31, 35)]
    temples = [
        _line(np.stack([_moved(brows[k], side * 0.18, 0.0, -0.25), _moved(brows[k], side * 0.18, 0.5, -0.5)]))
        for side, k in ((-1, 0), (1, 9))
    ]
    forehead = [_line(_moved(brows, 0.0, 0.42, -0.12)), _line(_moved(brows, 0.0, 0.80, -0.40))]
    return {
        "eyes": np.concatenate(lids + across),
        "brows": np.concatenate([_line(brows[:5]), _line(brows[5:])]),
        "nose": np.concatenate([_line(p[27:31]), _line(p[31:36]), *wings]),
        "mouth": np.concatenate([_line(p[48:60], closed=True), _line(p[[60, 62, 64]])]),
        "forehead": np.concatenate(forehead + temples),
        "cheeks": _cheeks(p),
        **_below_and_behind(p),
    }


def _cheeks(p: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "point 3"]:
    """Lines from beside the nose, and from beside the eye, to before the ear."""
    lines = []
    for side, wing, outer, top in ((-1, 31, 36, 0), (1, 35, 45, 16)):
        for k, low in enumerate((0.12, -0.06, -0.20)):
            start = _moved(p[wing], side * (0.22 + 0.08 * k), low, -0.1)
            end = _moved(p[top - side * (k + 1)], -side * 0.08, 0.0, 0.0)
            lines.append(_line(np.stack([start, end])))
        lines.append(_line(np.stack([_moved(p[outer], side * 0.35, -0.1, -0.2), p[top - side]])))
    return np.concatenate(lines)


#: How far below and behind the edge of the jaw the lines of the neck run, in distances between the eyes.
_NECK = ((0.42, 0.5), (0.8, 0.6), (1.2, 0.75), (1.2, 1.45), (0.7, 1.95), (1.6, 0.75))
#: How far out of and behind the upper end of the jaw the lines of an ear run.
_EAR = ((0.25, 0.75), (0.40, 0.95), (0.15, 0.62))


def _below_and_behind(p: Float[np.ndarray, "68 3"]) -> dict[str, Float[np.ndarray, "point 3"]]:
    """Jaw, neck, ears and scalp: along the jaw's edge, and where they are on a head that has them."""
    jaw, brows = p[:17], p[17:27]
    chin = np.stack([_moved(p[57], 0.0, -0.3, -0.03), jaw[8]])
    edge = [_line(_moved(jaw[3:14], 0.0, 0.0, -0.02)), _line(_moved(jaw[5:12], 0.0, 0.12, 0.05)), _line(chin)]
    narrow = jaw[3:14] * np.array([0.8, 1.0, 1.0])
    ears, behind = [], []
    for side, top in ((-1, 0), (1, 16)):
        ear = _moved(jaw[[top, top - 2 * side]], 0.0, 0.05, 0.0)
        ears += [_line(_moved(ear, side * out, 0.0, -back)) for out, back in _EAR]
        path = np.array([[side * 0.1, 0.55, -0.9], [side * 0.05, 0.2, -1.6], [-side * 0.2, 0.1, -1.9]])
        behind.append(_line(ear[[0, 0, 1]] + path))
    return {
        "jaw": np.concatenate(edge),
        "ears": np.concatenate(ears),
        "neck": np.concatenate([_line(_moved(narrow, 0.0, -drop, -back)) for drop, back in _NECK]),
        "scalp": np.concatenate([*(_line(_moved(brows, 0.0, 1.25, -back)) for back in (1.0, 1.7, 2.4)), *behind]),
    }


def _moved(points: Float[np.ndarray, "*point 3"], *shift: float) -> Float[np.ndarray, "*point 3"]:
    return points + np.array(shift)


def _line(corners: Float[np.ndarray, "corner 3"], closed: bool = False) -> Float[np.ndarray, "point 3"]:
    """Points along straight lines from corner to corner."""
    ends = np.concatenate([corners[1:], corners[:1]]) if closed else corners[1:]
    starts = corners if closed else corners[:-1]
    parts = []
    for start, end in zip(starts, ends, strict=True):
        count = max(int(np.ceil(np.linalg.norm(end - start) / _STEP)), 1)
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[:, None])
    return np.concatenate(parts)
