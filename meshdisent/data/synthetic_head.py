"""A human face at rest, from formulas: skull, features laid on it, eyeballs under lids, lips that meet.

A bent sheet (a midline profile swept backwards along an ellipse) carries smooth bumps and grooves for brow, nose,
cheeks, lips and chin; lids follow an ellipsoid round each eye. 30 identity parameters change its numbers, each standard
normal. All lengths in mm, y up, z towards the viewer, x = 0 the middle of the face, y = 0 the height of the eyes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array, diags_array

from meshdisent.data.synthetic_chart import (
    EYE_CENTER,
    EYEBALL,
    INNER_LIP,
    IRIS,
    LID_MARGIN,
    MOUTH_CENTER,
    MOUTH_HALF_WIDTH,
    SKIN,
    FaceChart,
)

IDENTITY_PARAMETERS = (
    "face_width", "face_height", "jaw_width", "chin_length", "chin_protrusion", "chin_width", "forehead_slope",
    "forehead_height", "brow_height", "brow_ridge", "eye_size", "eye_distance", "eye_depth", "eye_slant",
    "lid_opening", "nose_length", "nose_width", "nose_protrusion", "nose_bridge", "nose_hump", "nose_tip",
    "cheekbone", "cheek_fullness", "upper_lip", "lower_lip", "mouth_width", "mouth_height", "mouth_protrusion",
    "jaw_asymmetry", "nose_asymmetry",
)  # fmt: skip

EYE_RADIUS, EYE_STRETCH, EYE_YAW = 12.5, 17.0 / 12.5, np.deg2rad(14.0)
LID_THICKNESS, MARGIN_GAP = 1.3, 0.12

# The midline without nose and lips, and what the sheet does beside it, by height v of the chart.
_V = np.array([-128.0, -117, -108, -97, -82, -65, -45, -15, 5, 20, 40, 60, 80, 95])
_MIDLINE_Y = CubicSpline(_V, [-114.0, -111, -106, -96.5, -82, -65, -45, -15, 5, 20, 40, 59.5, 78, 89])
_MIDLINE_Z = CubicSpline(_V, [-26.0, -14, -5.5, 0.0, -1.5, 2.5, 2.5, 0.0, 0.0, 3.0, 2.0, -4.0, -16, -30])
_HALF_WIDTH = CubicSpline(_V, [44.0, 48, 52, 56, 61, 65, 68.5, 71, 71, 71, 71, 70, 67, 63])
_DEPTH = CubicSpline([-128.0, -97, -65, 0, 40, 95], [62.0, 74, 88, 95, 93, 76])
_LATERAL_RISE = CubicSpline([-128.0, -97, -65, -30, 10, 50, 80, 95], [40.0, 29, 12, 1, 0, -3, -11, -16])
_NOSE_RIDGE = CubicSpline(
    [-60.0, -52, -47.5, -44.5, -42, -39, -36, -32, -25, -15, -6, 3, 12, 20],
    [0.0, 0, 0.6, 4.0, 10.5, 16.2, 18.4, 17.6, 13.6, 8.6, 4.3, 0.9, 0, 0],
)


Values = Float[np.ndarray, " vertex"]
Points = Float[np.ndarray, "vertex 3"]
Number = int | float
Parameters = dict[str, float]  # of an identity, by name


@dataclass(frozen=True, eq=False)
class Subject:
    """A face at rest and the measures that its expressions depend on.

    Attributes
    ----------
    vertices : (V, 3) mm.
    eye_center : (2, 3) mm, of the eyeball at positive x, then negative x.
    eye_scale : Size relative to the average eyeball.
    face_scale : (2,) width and height relative to the average.
    parameters : The identity, by name.
    """

    vertices: Points
    eye_center: Float[np.ndarray, "2 3"]
    eye_scale: float
    face_scale: tuple[float, float]
    parameters: Parameters


def bump(u: Values, v: Values, center_u: Number, center_v: Number, reach_u: Number, reach_v: Number) -> Values:
    """A Gaussian hill of height 1."""
    return np.exp(-(((u - center_u) / reach_u) ** 2) - ((v - center_v) / reach_v) ** 2)


def ease(x: Values, low: Number, high: Number) -> Values:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * t * (t * (6 * t - 15) + 10)


def eye_weight(u: Values, v: Values) -> Values:
    """One on and round the eye, zero from the nose's ridge and the brow on."""
    distance = np.sqrt(((u - EYE_CENTER[0]) / 31) ** 2 + ((v - EYE_CENTER[1]) / 25) ** 2)
    return 1 - ease(distance, 0.5, 1.0)


class Anatomy:
    """The formulas over one chart.

    Parameters
    ----------
    chart : The flat face whose vertices are lifted.
    """

    def __init__(self, chart: FaceChart):
        self.chart = chart
        self.u, self.v = np.abs(chart.position[:, 0]), chart.position[:, 1]
        self.sign = np.where(chart.position[:, 0] >= 0, 1.0, -1.0)
        self.angle = self.u / 68.0
        self.smoothing = _smoothing(chart)

    def subject(self, identity: Float[np.ndarray, " parameter"]) -> Subject:
        """Build the face of identity parameters (already clipped)."""
        p = dict(zip(IDENTITY_PARAMETERS, identity, strict=True))
        x, y, z = self._sheet(p)
        out, forward = self._features(p)
        x = x + out * np.sin(self.angle)
        z = z + out * np.cos(self.angle) + forward
        x, y = self._move_features(p, x, y)
        points, eye = self._eyes(p, np.stack([x, y, z], axis=1))
        points[:, 0] *= self.sign  # so far both halves were at positive x; neighbors across the middle need it now
        points = self._inner_lips(self.smoothing @ points)
        vertices = points + np.outer(self._asymmetry(p), (1, 0, 0))
        return Subject(
            vertices,
            eye_center=np.array([eye, eye * (-1, 1, 1)]),
            eye_scale=1 + 0.05 * p["eye_size"],
            face_scale=(1 + 0.04 * p["face_width"], 1 + 0.035 * p["face_height"]),
            parameters=p,
        )

    def _sheet(self, p: Parameters) -> tuple[Values, Values, Values]:
        """Bend the chart into a skull without features."""
        v, angle = self.v, self.angle
        low = 1 - ease(v, -110, -5)
        half = _HALF_WIDTH(v) * (1 + 0.04 * p["face_width"] + 0.06 * p["jaw_width"] * low)
        half = half * (1 + 0.06 * p["chin_width"] * (1 - ease(v, -112, -72)) * (1 - ease(angle, 0.3, 1.1)))
        x = half * np.sin(angle)
        y = _MIDLINE_Y(v) + _LATERAL_RISE(v) * (1 - np.cos(angle))
        z = _MIDLINE_Z(v) - _DEPTH(v) * (1 - np.cos(angle))
        chin = 1 - ease(v, -108, -70)
        z = z + chin * (1 - ease(angle, 0.2, 1.2)) * 3.0 * p["chin_protrusion"]
        high = ease(v, 18, 95)
        z = z - high * 5.0 * p["forehead_slope"]
        y = y * (1 + 0.035 * p["face_height"]) - 3.0 * p["chin_length"] * chin + 4.0 * p["forehead_height"] * high
        return x, y, z

    def _features(self, p: Parameters) -> tuple[Values, Values]:
        """Heights of the features: along the sheet's normal, and straight forward."""
        u, v = self.u, self.v
        out = (3.0 + 1.6 * p["cheekbone"]) * bump(u, v, 56, -13, 17, 12)
        out += (2.2 + 1.8 * p["cheek_fullness"]) * bump(u, v, 40, -36, 19, 20)
        out += (-1.5 + 1.8 * p["cheek_fullness"]) * bump(u, v, 62, -58, 20, 20)
        out -= 3.0 * bump(u, v, 76, 28, 14, 22)
        out += 2.0 * bump(u, v, 76, -66, 14, 13)
        forward = self._brow_and_socket(p) + self._nose(p) + self._mouth(p)
        forward += (3.2 + 0.8 * p["chin_protrusion"]) * bump(u, v, 0, -98, 15 + 1.5 * p["chin_width"], 9)
        forward -= 1.6 * bump(u, v, 0, -82, 18, 5)
        return out, forward

    def _brow_and_socket(self, p: Parameters) -> Values:
        u, v = self.u, self.v
        arch = 13.5 + 5.0 * (1 - ((u - 33) / 32) ** 2)
        ridge = np.exp(-(((v - arch) / 7.0) ** 2)) * (1 - ease(u, 42, 66)) * (0.45 + 0.55 * ease(u, 2, 16))
        socket = 3.4 * bump(u, v, 27, 3, 18, 11) + 3.4 * bump(u, v, 16.5, 3, 6.5, 8)
        hair = 1.6 * np.exp(-(((v - arch - 1.0) / 2.6) ** 2)) * ease(u, 6, 15) * (1 - ease(u, 44, 56))
        return (3.2 + 1.5 * p["brow_ridge"]) * ridge + hair - socket

    def _nose(self, p: Parameters) -> Values:
        u, v = self.u, self.v
        lower, upper = 1 - ease(v, -40, -8), ease(v, -30, 2) * (1 - ease(v, 2, 24))
        height = _NOSE_RIDGE(np.clip(v, -60, 20)) * (1 + 0.11 * p["nose_protrusion"] * lower)
        height = height + upper * 1.3 * p["nose_bridge"] + 1.2 * p["nose_hump"] * np.exp(-(((v + 14) / 8) ** 2))
        half = 9.5 + 0.5 * (1 - ease(v, -36, -12)) + 3.0 * ease(v, -6, 12)
        nose = height * np.exp(-((u / half) ** 2.25)) + 2.2 * bump(u, v, 0, -35.5, 7.0, 5.5)
        wide = 12.8 + 0.9 * p["nose_width"]
        wing = 6.6 * np.exp(-(np.abs((u - wide) / 4.6) ** 2.4) - np.abs((v + 39) / 6.0) ** 2.4)
        groove = 1.8 * np.exp(-(((u - wide - 6.6) / 2.6) ** 2) - ((v + 38) / 6.5) ** 2)
        nostril = 4.6 * bump(u, v, 6.9, -43.2, 3.4, 2.2)
        return nose + wing - groove - nostril

    def _mouth(self, p: Parameters) -> Values:
        u, v, side = self.u, self.v, self.chart.side
        s = np.clip(u / MOUTH_HALF_WIDTH, 0, 1.3)
        inside = np.clip(1 - s**2, 0, 1)
        arch = (3.4 + 1.3 * p["mouth_protrusion"]) * bump(u, v, 0, -64, 30, 17)
        above = v - MOUTH_CENTER
        bow = 1 + 0.16 * np.exp(-(((u - 5.5) / 3.5) ** 2)) - 0.12 * np.exp(-((u / 2.5) ** 2))
        upper = 7.4 * (1 + 0.2 * p["upper_lip"]) * bow * inside**0.7 + 1.2
        lower = 8.8 * (1 + 0.2 * p["lower_lip"]) * inside**0.6 + 1.2
        thickness = np.where(side > 0, upper, lower)
        e = np.abs(above) / thickness  # 0 where the lips meet, 1 at the border of the red
        volume = np.where(side > 0, 4.2 * (1 + 0.12 * p["upper_lip"]), 5.0 * (1 + 0.12 * p["lower_lip"]))
        meeting = np.exp(-((above / 2.0) ** 2))  # where the lips meet they are as deep as each other
        volume = volume + meeting * (4.6 + 0.27 * (p["upper_lip"] + p["lower_lip"]) - volume)
        lips = volume * inside**0.8 * np.exp(-(np.abs((e - 0.42) / 0.5) ** 3))
        seam = -0.8 * np.exp(-((above / 1.8) ** 2)) * (1 - ease(s, 0.9, 1.25))
        philtrum = 0.7 * bump(u, v, 4.6, -52, 2.2, 5) - 0.8 * bump(u, v, 0, -52, 2.6, 5.5)
        corner = -1.8 * bump(u, v, MOUTH_HALF_WIDTH + 1.5, MOUTH_CENTER, 4.0, 4.0)
        return arch + lips + seam + philtrum + corner

    def _move_features(self, p: Parameters, x: Values, y: Values) -> tuple[Values, Values]:
        """Slide nose and mouth, still flat, to the identity's places."""
        u, v, side = self.u, self.v, self.chart.side
        nose = bump(u, v, 0, -38, 20, 17)
        mouth = bump(u, v, 0, MOUTH_CENTER, 38, 14)
        x = x * (1 + 0.085 * p["nose_width"] * bump(u, v, 0, -39, 21, 13) + 0.06 * p["mouth_width"] * mouth)
        y = y - 1.8 * p["nose_length"] * nose - 1.2 * p["mouth_height"] * mouth
        y = y + (1.8 * p["nose_tip"] - 1.2) * bump(u, v, 0, -36, 9, 7)
        above = v - MOUTH_CENTER
        line = -0.9 * np.exp(-((u / 4.5) ** 2)) + 0.5 * np.exp(-(((u - 11) / 6) ** 2))
        y = y + line * np.exp(-((above / 7) ** 2))
        fuller = np.where(side > 0, p["upper_lip"], p["lower_lip"]) * (1 - ease(u, 10, MOUTH_HALF_WIDTH + 4))
        y = y + 0.12 * fuller * above * np.exp(-((above / 11) ** 2))
        y = y + 1.6 * p["brow_height"] * bump(u, v, 32, 17, 26, 9)
        return x, y

    def _eyes(self, p: Parameters, points: Points) -> tuple[Points, Float[np.ndarray, "3"]]:
        """Give each eye its place, lay the lids on it, and put the eyeball in."""
        u, v, chart = self.u, self.v, self.chart
        scale = 1 + 0.05 * p["eye_size"]
        center = np.array(
            [31.5 * (1 + 0.022 * p["face_width"]) + 1.1 * p["eye_distance"], 0.0, -21.2 - 1.2 * p["eye_depth"]]
        )
        weight = eye_weight(u, v)
        across, up = (u - EYE_CENTER[0]) * scale, v * scale * (1 + 0.11 * p["lid_opening"] * np.exp(-((v / 9) ** 2)))
        up = up + np.tan(np.deg2rad(2.0 + 2.2 * p["eye_slant"])) * across
        place = np.stack([center[0] + across, center[1] + up, points[:, 2] - 0.8 * p["eye_depth"]], axis=1)
        points = points + weight[:, None] * (place - points)
        local = to_eye(points, center, scale)
        lid = eyelid_depth(local, EYE_RADIUS + LID_THICKNESS + 0.4 * np.tanh(v / 3))
        near = weight > 0
        local[:, 2] = np.where(near, _smooth_maximum(local[:, 2], lid, 3.2), local[:, 2])
        fold = 1.3 * np.exp(-(((chart.lid_distance - 7.6) / 2.8) ** 2))
        crease = 1.3 * np.exp(-(((chart.lid_distance - 4.2) / 2.2) ** 2))
        local[:, 2] += weight * ease(v, 0.5, 5) * (fold - crease)
        margin = chart.kind == LID_MARGIN
        local[margin] = behind_lid(local[chart.anchor[margin]])
        ball = chart.kind == EYEBALL
        local[ball] = eyeball(chart.ball[ball])
        inside = near & (chart.kind != INNER_LIP)
        points[inside] = from_eye(local[inside], center, scale)
        return points, center

    def _inner_lips(self, points: Points) -> Points:
        """Fold the lips inwards from the line where they meet."""
        chart = self.chart
        rows = chart.kind == INNER_LIP
        at, inward = chart.anchor[rows], chart.inward[rows]
        turn = self.angle[at] * self.sign[at]
        fade = np.clip(1 - (self.u[at] / MOUTH_HALF_WIDTH) ** 2, 0, 1) ** 0.5
        fold = np.stack([-np.sin(turn), chart.side[at] * fade * 0.45, -np.cos(turn)], axis=1)
        points[rows] = points[at] + inward[:, None] * fold
        return points

    def _asymmetry(self, p: Parameters) -> Values:
        v = self.v
        jaw = 1.1 * p["jaw_asymmetry"] * (1 - ease(v, -110, -50))
        nose = 0.9 * p["nose_asymmetry"] * bump(self.u, v, 0, -34, 16, 14) * (1 - eye_weight(self.u, v))
        return jaw + nose


def to_eye(points: Points, center: Float[np.ndarray, "3"], scale: float) -> Points:
    """Express points (at positive x) in the frame of the eye: turned outwards, of average size."""
    offset = (points - center) / scale
    cosine, sine = np.cos(EYE_YAW), np.sin(EYE_YAW)
    across, forward = offset[:, 0] * cosine - offset[:, 2] * sine, offset[:, 0] * sine + offset[:, 2] * cosine
    return np.stack([across, offset[:, 1], forward], axis=1)


def from_eye(local: Points, center: Float[np.ndarray, "3"], scale: float) -> Points:
    """Undo :func:`to_eye`."""
    cosine, sine = np.cos(EYE_YAW), np.sin(EYE_YAW)
    x, z = local[:, 0] * cosine + local[:, 2] * sine, -local[:, 0] * sine + local[:, 2] * cosine
    return np.stack([x, local[:, 1], z], axis=1) * scale + center


def eyelid_depth(local: Points, radius: Values) -> Values:
    """Height of the ellipsoid of a radius over the eye's frame, falling steeply outside it."""
    square = radius**2 - (local[:, 0] / EYE_STRETCH) ** 2 - local[:, 1] ** 2
    return np.where(square > 0, np.sqrt(np.maximum(square, 0)), square / radius)


def behind_lid(edge: Points) -> Points:
    """Give the inner edge of the lid margin: the lid's edge moved along its radius onto the eyeball."""
    radius = np.sqrt((edge[:, 0] / EYE_STRETCH) ** 2 + edge[:, 1] ** 2 + edge[:, 2] ** 2)
    return edge * ((EYE_RADIUS + MARGIN_GAP) / np.maximum(radius, EYE_RADIUS + MARGIN_GAP))[:, None]


def eyeball(front: Float[np.ndarray, "vertex 2"]) -> Points:
    """Lift eyeball vertices; the pupil is a shallow hollow, as sculptors cut it, so that the eye has a gaze."""
    square = EYE_RADIUS**2 - (front[:, 0] / EYE_STRETCH) ** 2 - front[:, 1] ** 2
    depth = np.sqrt(np.maximum(square, 0.0))
    distance = np.sqrt(((front - IRIS) ** 2).sum(axis=1))
    depth = depth - 1.0 * (1 - ease(distance, 3.0, 5.6)) - 1.8 * (1 - ease(distance, 1.6, 3.1))
    return np.stack([front[:, 0], front[:, 1], depth], axis=1)


def _smooth_maximum(a: Values, b: Values, softness: float) -> Values:
    gap = np.clip(0.5 + 0.5 * (a - b) / softness, 0, 1)
    return b + (a - b) * gap + softness * gap * (1 - gap)


def _smoothing(chart: FaceChart, rounds: int = 3) -> csr_array:
    """Average the skin a little with its neighbors: a bump narrower than an edge looks like a dent."""
    count = len(chart.position)
    first, second = chart.faces.ravel(), chart.faces[:, [1, 2, 0]].ravel()
    edges = csr_array((np.ones(len(first)), (first, second)), shape=(count, count))
    joined = edges.maximum(edges.T)
    border = np.unique(np.concatenate((edges != edges.T).nonzero()))
    free = (chart.kind == SKIN) & ~chart.lip_ring
    free[border] = False
    mean = diags_array(1 / joined.sum(axis=1)) @ joined
    share = diags_array(0.5 * free * ease(chart.lid_distance, 0.0, 4.0))
    once = diags_array(np.ones(count)) + share @ mean - share
    smooth = once
    for _ in range(rounds - 1):
        smooth = smooth @ once
    return csr_array(smooth)
