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
    jaw, brows = p[:17], p[17:27]
    eyes = [_line(ring, closed=True) for ring in (p[36:42], p[42:48])]
    centers = [_line(np.stack([p[a], p[b]])) for a, b in ((36, 39), (42, 45))]
    wings = [_line(np.stack([p[28], p[side]])) for side in (31, 35)]
    mouth = [_line(p[48:60], closed=True), _line(p[[60, 62, 64]])]
    above = brows + [0.0, 0.42, -0.12]
    higher = brows + [0.0, 0.80, -0.40]
    cheeks = []
    for side, ala, outer, top in ((-1, 31, 36, 0), (1, 35, 45, 16)):
        for k, low in enumerate((0.12, -0.06, -0.20)):  # from beside the nose to before the ear
            start, end = p[ala] + [side * (0.22 + 0.08 * k), low, -0.1], p[top - side * (k + 1)]
            cheeks.append(_line(np.stack([start, end - [side * 0.08, 0.0, 0.0]])))
        cheeks.append(_line(np.stack([p[outer] + [side * 0.35, -0.1, -0.2], p[top - side]])))
    chin = [_line(jaw[3:14] + [0.0, 0.0, -0.02]), _line(jaw[5:12] + [0.0, 0.12, 0.05]),
            _line(np.stack([p[57] + [0.0, -0.3, -0.03], jaw[8]]))]  # fmt: skip
    neck = [_line(jaw[3:14] * [0.8, 1.0, 1.0] + [0.0, -drop, -back]) for drop, back in
            ((0.42, 0.5), (0.8, 0.6), (1.2, 0.75), (1.2, 1.45), (0.7, 1.95), (1.6, 0.75))]  # fmt: skip
    ears, sides = [], []
    for side, top in ((-1, 0), (1, 16)):
        ear = jaw[[top, top - 2 * side]] + [0.0, 0.05, 0.0]
        ears += [_line(ear + [side * out, 0.0, -back]) for out, back in ((0.25, 0.75), (0.40, 0.95), (0.15, 0.62))]
        sides += [_line(ear[[0, 0, 1]] + [[side * 0.1, 0.55, -0.9], [side * 0.05, 0.2, -1.6], [-side * 0.2, 0.1, -1.9]])]
    temples = [_line(np.stack([brows[k] + [side * 0.18, 0.0, -0.25], brows[k] + [side * 0.18, 0.5, -0.5]]))
               for side, k in ((-1, 0), (1, 9))]  # fmt: skip
    scalp = [_line(brows + [0.0, 1.25, -1.0 - back]) for back in (0.0, 0.7, 1.4)] + sides
    return {
        "eyes": np.concatenate(eyes + centers),
        "brows": np.concatenate([_line(brows[:5]), _line(brows[5:])]),
        "nose": np.concatenate([_line(p[27:31]), _line(p[31:36]), *wings]),
        "mouth": np.concatenate(mouth),
        "forehead": np.concatenate([_line(above), _line(higher), *temples]),
        "cheeks": np.concatenate(cheeks),
        "jaw": np.concatenate(chin),
        "ears": np.concatenate(ears),
        "neck": np.concatenate(neck),
        "scalp": np.concatenate(scalp),
    }


def _line(corners: Float[np.ndarray, "corner 3"], closed: bool = False) -> Float[np.ndarray, "point 3"]:
    """Points along straight lines from corner to corner."""
    ends = np.concatenate([corners[1:], corners[:1]]) if closed else corners[1:]
    starts = corners if closed else corners[:-1]
    parts = []
    for start, end in zip(starts, ends, strict=True):
        count = max(int(np.ceil(np.linalg.norm(end - start) / _STEP)), 1)
        parts.append(start + (end - start) * np.linspace(0, 1, count + 1)[:, None])
    return np.concatenate(parts)
