"""Expressions of the procedural head: named actions of muscles, and the 20 expressions made of them.

Most actions are fields over the chart (mm along the skin, up, forward). Three are not linear: lips slide round the
dental arch, the jaw turns about a hinge before the ears, the lids turn about the eye. How far each goes depends on the
subject's own measures and manner, so what an expression adds to one face is not what it adds to another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from jaxtyping import Int
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

from meshdisent.data.synthetic_chart import EYEBALL, INNER_LIP, LID_MARGIN, MOUTH_CENTER, MOUTH_HALF_WIDTH
from meshdisent.data.synthetic_head import (
    Anatomy,
    Number,
    Points,
    Subject,
    Values,
    behind_lid,
    bump,
    ease,
    eye_weight,
    from_eye,
    to_eye,
)

HINGE = np.array([0.0, -12.0, -72.0])
ARCH_RADIUS = 42.0  # mm, of the dental arch that lips slide on
JAW_ANGLE = np.deg2rad(20.0)  # of jaw_open at 1

# Amounts of actions; a pair is (left, right) of the person: left is at positive x.
EXPRESSIONS: Mapping[str, Mapping[str, float | tuple[float, float]]] = MappingProxyType({
    "neutral": {},
    "smile": {"corner_up": 0.9, "cheek_raise": 0.7, "lower_lid": 0.3},
    "mouth_stretch": {"jaw_open": 1.0, "lid_wide": 0.2, "brow_in_up": 0.25, "brow_out_up": 0.25, "upper_raise": 0.25},
    "anger": {
        "brow_down": 1.0, "nose_wrinkle": 0.7, "upper_raise": 0.5, "lower_drop": 0.75, "corner_out": 0.35,
        "corner_down": 0.35, "lid_wide": 0.15, "flare": 1.0,
    },
    "jaw_left": {"jaw_left": 1.0, "jaw_open": 0.04},
    "jaw_right": {"jaw_left": -1.0, "jaw_open": 0.04},
    "jaw_forward": {"jaw_forward": 1.0, "jaw_open": 0.05, "lower_up": 0.3},
    "mouth_left": {"mouth_left": 1.0, "corner_up": (0.35, 0.0)},
    "mouth_right": {"mouth_left": -1.0, "corner_up": (0.0, 0.35)},
    "dimpler": {"corner_out": 0.9, "dimple": 1.0, "press": 0.35},
    "chin_raiser": {"chin_up": 1.0, "corner_down": 0.35},
    "lip_puckerer": {"pucker": 1.0},
    "lip_funneler": {"funnel": 1.0, "jaw_open": 0.28},
    "sadness": {"corner_down": 0.8, "brow_in_up": 0.9, "brow_down": (0.15, 0.15), "chin_up": 0.45, "lid_close": 0.2},
    "lip_roll": {"press": 1.0, "corner_out": 0.15},
    "grin": {
        "corner_up": 0.75, "corner_out": 0.65, "upper_raise": 0.65, "lower_drop": 0.7, "cheek_raise": 0.8,
        "lower_lid": 0.4,
    },
    "cheek_blowing": {"puff": 1.0, "press": 0.15},
    "eye_closed": {"lid_close": 1.0, "lower_lid": 0.15},
    "brow_raiser": {"brow_in_up": 1.0, "brow_out_up": 1.0, "lid_wide": 0.5},
    "brow_lower": {"brow_down": 1.0, "lower_lid": 0.25, "lid_close": 0.12},
})  # fmt: skip

# How an identity's measures change what its muscles do: exponents for one standard deviation.
GAINS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "corner_up": {"mouth_width": 0.08, "cheek_fullness": 0.10, "jaw_width": -0.08},
        "corner_out": {"mouth_width": 0.10, "jaw_width": 0.08, "lower_lip": -0.06},
        "corner_down": {"mouth_width": 0.08, "chin_length": 0.10},
        "dimple": {"cheek_fullness": 0.20, "cheekbone": -0.10},
        "mouth_left": {"mouth_width": -0.08, "chin_width": 0.10},
        "pucker": {"mouth_width": 0.12, "upper_lip": 0.10, "lower_lip": 0.10},
        "funnel": {"upper_lip": 0.10, "lower_lip": 0.10},
        "press": {"upper_lip": 0.08, "lower_lip": 0.12},
        "upper_raise": {"upper_lip": -0.12, "nose_length": -0.08},
        "lower_drop": {"lower_lip": 0.10, "chin_length": 0.08},
        "chin_up": {"chin_protrusion": 0.10, "chin_length": -0.08},
        "cheek_raise": {"cheek_fullness": 0.15, "cheekbone": -0.06},
        "puff": {"cheek_fullness": 0.14, "jaw_width": 0.06},
        "flare": {"nose_width": 0.15},
        "nose_wrinkle": {"nose_bridge": -0.08, "nose_hump": 0.08},
        "brow_in_up": {"forehead_height": 0.10, "brow_ridge": -0.10},
        "brow_out_up": {"forehead_height": 0.10, "brow_height": -0.08},
        "brow_down": {"brow_ridge": 0.10, "brow_height": 0.08},
        "jaw_open": {"jaw_width": -0.05, "chin_length": 0.05},
        "jaw_left": {"jaw_width": -0.08, "chin_width": 0.06},
        "jaw_forward": {"chin_protrusion": -0.12},
    }
)
Amounts = Mapping[str, tuple[float, float]]  # of actions, on the left and on the right
MOVEMENTS = ("jaw_open", "jaw_left", "jaw_forward", "lid_close", "lid_wide", "lower_lid")


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a person performs.

    Attributes
    ----------
    strength : Factor on every action.
    asymmetry : How much stronger the left side acts, as a share; negative for the right.
    habits : Factors of single actions by name; 1 where absent.
    """

    strength: float = 1.0
    asymmetry: float = 0.0
    habits: Mapping[str, float] = field(default_factory=dict)


class Performance:
    """Fields and weights of all actions over one chart, computed once.

    Parameters
    ----------
    anatomy : The formulas of the face at rest.
    average : The average face, whose edges weigh the jaw's influence.
    """

    def __init__(self, anatomy: Anatomy, average: Subject):
        chart = anatomy.chart
        self.chart = chart
        # Inner lips and lid margins act as the skin that they hang on.
        hung = np.where(np.isin(chart.kind, (INNER_LIP, LID_MARGIN)), chart.anchor, np.arange(len(chart.anchor)))
        self.u, self.v, self.sign = anatomy.u[hung], anatomy.v[hung], anatomy.sign[hung]
        self.side, self.lid_distance = chart.side[hung], chart.lid_distance[hung]
        self.left = ease(self.u * self.sign, -9.0, 9.0)
        self.fields = self._fields(anatomy.angle[hung])
        fixed = chart.kind == EYEBALL
        for moves in self.fields.values():
            moves[fixed] = 0.0
        self._prepare_patches(average.vertices)
        self.jaw = self._jaw_weight(average.vertices, upper=0.42, lower=1.0)
        # Lips that stay closed shift as one.
        self.closed_jaw = self._jaw_weight(average.vertices, upper=0.5, lower=0.5)
        self.actions = (*self.fields, *MOVEMENTS)

    def perform(self, subject: Subject, actions: Mapping[str, float | tuple[float, float]], manner: Manner) -> Points:
        """Move a subject's face by amounts of actions."""
        amounts = {
            name: _both_sides(amount, manner.strength * manner.habits.get(name, 1.0) * _gain(name, subject), manner)
            for name, amount in actions.items()
            if name != "lid_close"
        }
        if "lid_close" in actions:  # an eye that is said to be closed is closed, whoever closes it
            amounts["lid_close"] = _both_sides(actions["lid_close"], 1.0, Manner())
        points = self._slide(subject, self._displacement(subject, amounts))
        points = self._turn_jaw(subject, points, amounts)
        return self._turn_lids(subject, points, amounts)

    def _displacement(self, subject: Subject, amounts: Amounts) -> Points:
        """Add up the fields and carry them over to the subject, stretched and turned as its face is there."""
        total = np.zeros((len(self.u), 3))
        for name, (left, right) in amounts.items():
            if name in self.fields:
                total += (right + (left - right) * self.left)[:, None] * self.fields[name]
        total += np.mean(amounts.get("jaw_open", (0.0, 0.0))) * self.narrowing
        stretch = self.patches @ subject.vertices + self.stiffness  # (patch, 3, 3)
        return np.einsum("vi,vp,pij->vj", total, self.patch_share, stretch, optimize=True)

    def _slide(self, subject: Subject, moves: Points) -> Points:
        """Apply a field: its first part goes round the dental arch, outwards on each side."""
        x, y, z = subject.vertices.T
        arch = subject.vertices[self.chart.lip_ring]
        axis = arch[:, 2].max() - ARCH_RADIUS * subject.face_scale[0]
        radius, angle = np.hypot(x, z - axis), np.arctan2(x, z - axis)
        angle = angle + moves[:, 0] / np.maximum(radius, 20.0)
        return np.stack([radius * np.sin(angle), y + moves[:, 1], axis + radius * np.cos(angle) + moves[:, 2]], axis=1)

    def _turn_jaw(self, subject: Subject, points: Points, amounts: Amounts) -> Points:
        """Open about the hinge; shift sidewards by a turn about the far joint, and forwards along the joint."""
        opening, sideways, forward = (
            np.mean(amounts.get(k, (0.0, 0.0))) for k in ("jaw_open", "jaw_left", "jaw_forward")
        )
        if not (opening or sideways or forward):
            return points
        hinge = HINGE * (subject.face_scale[0], subject.face_scale[1], subject.face_scale[0])
        offset = points - hinge
        turn = self.jaw * opening * JAW_ANGLE
        y = offset[:, 1] * np.cos(turn) - offset[:, 2] * np.sin(turn)
        z = offset[:, 1] * np.sin(turn) + offset[:, 2] * np.cos(turn)
        swing = self.closed_jaw * sideways * np.deg2rad(6.5)
        x = offset[:, 0] * np.cos(swing) + z * np.sin(swing)
        z = -offset[:, 0] * np.sin(swing) + z * np.cos(swing)
        z = z + self.jaw * (6.0 * forward + 2.0 * np.maximum(opening, 0.0)) * subject.face_scale[0]
        return np.stack([x, y, z], axis=1) + hinge

    def _turn_lids(self, subject: Subject, points: Points, amounts: Amounts) -> Points:
        closing, wide, lower = (amounts.get(k, (0.0, 0.0)) for k in ("lid_close", "lid_wide", "lower_lid"))
        points = points.copy()
        for k, sign in enumerate((1.0, -1.0)):
            upper_turn, lower_turn = 0.76 * closing[k] - 0.22 * wide[k], 0.23 * closing[k] + 0.30 * lower[k]
            total = max(upper_turn + lower_turn, 1e-9)
            squeeze = min(1.0, 0.985 / total)  # lids meet, they do not pass each other
            at = np.flatnonzero((self.sign == sign) & (eye_weight(self.u, self.v) > 0) & (self.chart.kind != EYEBALL))
            folded = points[at] * (sign, 1, 1)
            center = subject.eye_center[k] * (sign, 1, 1)
            local = to_eye(folded, center, subject.eye_scale)
            local = self._close(local, at, upper_turn * squeeze, lower_turn * squeeze)
            points[at] = from_eye(local, center, subject.eye_scale) * (sign, 1, 1)
        return points

    def _close(self, local: Points, at: Int[np.ndarray, " vertex"], upper_turn: float, lower_turn: float) -> Points:
        """Turn the lids of one eye by shares of its opening, about the axis from canthus to canthus."""
        elevation, radius = np.arctan2(local[:, 1], local[:, 2]), np.hypot(local[:, 1], local[:, 2])
        ring, above = self.chart.lid_ring[at], self.v[at] >= 0
        edges = []
        for half in (ring & above, ring & (~above | (self.v[at] == 0))):
            order = np.argsort(local[half, 0])
            edges.append(np.interp(local[:, 0], local[half, 0][order], elevation[half][order]))
        gap = np.maximum(edges[0] - edges[1], 0.0)
        near = 1 - ease(self.lid_distance[at], 1.0, 9.5)
        elevation = elevation + gap * near * np.where(above, -upper_turn, lower_turn)
        turned = np.stack([local[:, 0], radius * np.sin(elevation), radius * np.cos(elevation)], axis=1)
        margin = np.flatnonzero(self.chart.kind[at] == LID_MARGIN)
        position = np.full(len(self.u), -1)
        position[at] = np.arange(len(at))
        turned[margin] = behind_lid(turned[position[self.chart.anchor[at[margin]]]])
        return turned

    def _fields(self, angle: Values) -> dict[str, Points]:
        """Displacements of unit actions: along the skin to positive x, up, forward (mm)."""
        fields = {**self._mouth_corners(), **self._lips(), **self._cheeks(angle), **self._upper_face()}
        u, v = self.u, self.v
        self.narrowing = self._join(-3.5 * bump(u, v, 27, MOUTH_CENTER, 16, 16) * ease(u, 0, 14), 0, 0)
        return fields

    def _join(self, outward: Values | Number, up: Values | Number, forward: Values | Number) -> Points:
        parts = np.broadcast_arrays(outward, up, forward, self.u)[:3]
        return np.stack([parts[0] * self.sign, parts[1], parts[2]], axis=1)

    def _mouth_corners(self) -> dict[str, Points]:
        u, v = self.u, self.v
        corner = bump(u, v, MOUTH_HALF_WIDTH + 1, MOUTH_CENTER, 17, 14)
        outward = corner * ease(u, 2, 24)
        cheek = bump(u, v, 41, -38, 17, 15)
        middle = bump(u, v, 0, MOUTH_CENTER, 20, 13)
        dimple = bump(u, v, MOUTH_HALF_WIDTH + 6, MOUTH_CENTER, 7, 9)
        shift = self._join(0, 0, 0)
        shift[:, 0] = 8.5 * bump(u, v, 0, MOUTH_CENTER - 1, 36, 19)
        return {
            "corner_up": self._join(
                6.5 * outward, 7.0 * outward + 3.0 * cheek + 0.6 * middle, 1.8 * cheek - 1.0 * middle - 0.6 * corner
            ),
            "corner_out": self._join(6.0 * outward, -0.6 * outward, -1.2 * middle - 1.2 * corner),
            "corner_down": self._join(1.0 * outward, -6.0 * outward + 0.8 * middle, 0),
            "dimple": self._join(0, 0, -1.9 * dimple),
            "mouth_left": shift,
        }

    def _lips(self) -> dict[str, Points]:
        u, v, side = self.u, self.v, self.side
        above = v - MOUTH_CENTER
        s = u / MOUTH_HALF_WIDTH
        lip, wide = bump(u, v, 0, MOUTH_CENTER, 20, 12), bump(u, v, 0, MOUTH_CENTER, 40, 21)
        part = (1 - ease(s, 0.25, 1.0)) * np.exp(-((above / 13) ** 2))
        upper, lower = part * (side > 0), part * (side < 0)
        roll = (1 - ease(s, 0.55, 1.15)) * np.exp(-((above / 6.5) ** 2))
        gather = side * above / 5 * np.exp(0.5 - 0.5 * (above / 5) ** 2) * side * roll
        nose_side = bump(u, v, 14, -37, 10, 10)
        chin = bump(u, v, 0, -91, 22, 14)
        return {
            "upper_raise": self._join(0, 5.0 * upper + 1.0 * nose_side, 0.6 * upper),
            "lower_drop": self._join(0, -6.0 * lower, 0.6 * lower),
            "lower_up": self._join(0, 1.5 * lip, 1.0 * lower),
            "press": self._join(0, -2.2 * gather, -4.0 * roll),
            "pucker": self._join(-0.46 * u * wide, 0.7 * above * bump(u, v, 0, MOUTH_CENTER, 14, 9) * 0.3, 5.5 * lip),
            "funnel": self._join(-0.26 * u * wide, 3.4 * upper - 3.4 * lower, 5.5 * lip + 1.5 * roll),
            "chin_up": self._join(
                0, 4.5 * chin + 3.6 * lip, 1.6 * chin + 2.0 * lip * (0.4 + 0.6 * ease(-above, -3, 6))
            ),
        }

    def _cheeks(self, angle: Values) -> dict[str, Points]:
        u, v = self.u, self.v
        puff = 14.0 * bump(u, v, 43, -57, 20, 19)
        lips = bump(u, v, 0, MOUTH_CENTER, 24, 14)
        raised = bump(u, v, 42, -24, 19, 12) * ease(self.lid_distance, 3, 14)
        return {
            "puff": self._join(puff * np.sin(angle), 0, puff * np.cos(angle) + 2.6 * lips),
            "cheek_raise": self._join(0.8 * raised, 3.6 * raised, 1.8 * raised),
            "flare": self._join(1.8 * bump(u, v, 14, -39, 6, 7), 0.6 * bump(u, v, 14, -39, 6, 7), 0),
            "nose_wrinkle": self._join(
                0.8 * bump(u, v, 14, -36, 9, 10),
                2.8 * bump(u, v, 13, -36, 10, 11) - 1.0 * bump(u, v, 0, 6, 14, 10),
                0.8 * bump(u, v, 9, -12, 6, 12),
            ),
        }

    def _upper_face(self) -> dict[str, Points]:
        u, v = self.u, self.v
        clear = ease(self.lid_distance, 2.0, 13.0)
        reach = np.where(v > 22, 24.0, 13.0)
        inner, outer = (
            np.exp(-(((u - c) / w) ** 2) - ((v - 22) / reach) ** 2) * clear for c, w in ((10, 18), (45, 20))
        )
        frown = np.exp(-(((u - 15) / 19) ** 2) - ((v - 19) / np.where(v > 19, 16.0, 10.0)) ** 2) * clear
        return {
            "brow_in_up": self._join(0, 7.5 * inner, 0.8 * inner),
            "brow_out_up": self._join(0, 7.5 * outer, 0.6 * outer),
            "brow_down": self._join(-2.4 * frown * ease(u, 0, 12), -5.5 * frown, 1.4 * frown),
        }

    def _prepare_patches(self, average: Points) -> None:
        """Prepare the linear maps that best take patches of the average face to a subject's, and where each counts.

        Such a map is the weighted least-squares fit of the patch, drawn towards no change where the patch is flat.
        """
        signed = self.u * self.sign
        centers = [(c * side, v) for c, v in ((28, -64), (46, -32), (30, 22)) for side in (1, -1)]
        weights = [
            bump(signed, self.v, u, v, 26.0, 26.0) for u, v in (*centers, (0, MOUTH_CENTER), (0, -100), (0, -10))
        ]
        patches, stiffness = [], []
        for weight in weights:
            centered = average - np.average(average, axis=0, weights=weight)
            square = (centered * weight[:, None]).T @ centered
            rigid = 0.05 * np.trace(square) * np.eye(3)
            patches.append(np.linalg.solve(square + rigid, (centered * weight[:, None]).T))
            stiffness.append(np.linalg.solve(square + rigid, rigid))
        self.patches, self.stiffness = np.stack(patches), np.stack(stiffness)
        share = np.stack(weights, axis=1) + 1e-6
        self.patch_share = share / share.sum(axis=1, keepdims=True)

    def _jaw_weight(self, vertices: Points, upper: float, lower: float) -> Values:
        """Blend the jaw's motion over the skin: 1 on chin and lower lip, 0 above the upper lip, smoothest between.

        The minimum of the squared Laplacian (weights: inverse edge lengths) knows the slit: lips part. ``lower`` is the
        weight in the middle of the lower lip, ``upper`` that of the mouth's corners; the upper lip's middle has 0 where
        the lips part, the corners' weight where they stay together.
        """
        u, v, side, chart = self.u, self.v, self.side, self.chart
        s = np.clip(u / MOUTH_HALF_WIDTH, 0, 1)
        value = np.full(len(u), np.nan)
        value[v > -34] = 0.0
        value[(v < -88) & (u < 40)] = 1.0
        value[(v < -100) & (u < 60)] = 1.0
        top, bottom = chart.lip_ring & (side > 0), chart.lip_ring & (side < 0)
        value[top] = upper * s[top] ** 2.2 if lower > upper else upper
        value[bottom] = lower + (upper - lower) * s[bottom] ** 4
        edges = np.sort(
            np.concatenate([chart.faces[:, [0, 1]], chart.faces[:, [1, 2]], chart.faces[:, [2, 0]]]), axis=1
        )
        edges = np.unique(edges, axis=0)
        weight = 1 / np.maximum(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1), 0.3)
        count = len(u)
        half = csc_array((weight, (edges[:, 0], edges[:, 1])), shape=(count, count))
        joined = half + half.T
        laplacian = diags_array(joined.sum(axis=1)) - joined
        energy = csc_array(laplacian.T @ laplacian)
        known = ~np.isnan(value)
        rows = energy[~known]
        value[~known] = splu(csc_array(rows[:, ~known])).solve(-(rows[:, known] @ value[known]))
        hung = chart.kind == INNER_LIP
        value[hung] = value[chart.anchor[hung]]
        return np.clip(value, 0.0, 1.0)


def _gain(action: str, subject: Subject) -> float:
    """Say how much more than the average face an identity moves in an action."""
    return float(np.exp(sum(weight * subject.parameters[name] for name, weight in GAINS.get(action, {}).items())))


def _both_sides(amount: Number | tuple[Number, Number], factor: Number, manner: Manner) -> tuple[float, float]:
    left, right = amount if isinstance(amount, tuple) else (amount, amount)
    return left * factor * (1 + manner.asymmetry), right * factor * (1 - manner.asymmetry)
