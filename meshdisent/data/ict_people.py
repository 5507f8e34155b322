"""People who make faces, from the shapes of ICT-FaceKit (Li et al. 2020): every scan has a known subject and neutral.

A person is the generic face plus the identity modes with normal weights, plus a smooth displacement that no one else
has, mostly symmetric. An expression is a mixture of ARKit-named shapes, performed by each person in its own strength
and asymmetry and with its own habits. What a shape does to the generic face is carried over by the local deformation of
the person (after Sumner and Popovic 2004); the jaw and the eyelids turn about hinges. So a scan is neither additive in
who and what, nor is an expression the same for everyone. Lengths are in mm, y up, z towards the viewer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.mesh.topology import adjacency_of, edges_of

Mixture = Mapping[str, float]


def _sides(**weights: float) -> dict[str, float]:
    return {f"{name}_{side}": weight for name, weight in weights.items() for side in "LR"}


#: The twenty expressions of FaceScape by name, as weights of ICT-FaceKit's shapes.
EXPRESSIONS: dict[str, Mixture] = {
    "neutral": {},
    "smile": _sides(mouthSmile=0.85, cheekSquint=0.35),
    "mouth_stretch": {"jawOpen": 0.95} | _sides(mouthStretch=0.35),
    "anger": _sides(browDown=0.9, noseSneer=0.55, eyeSquint=0.45, mouthPress=0.45),
    "jaw_left": {"jawLeft": 0.95},
    "jaw_right": {"jawRight": 0.95},
    "jaw_forward": {"jawForward": 0.95},
    "mouth_left": {"mouthLeft": 0.95},
    "mouth_right": {"mouthRight": 0.95},
    "dimpler": _sides(mouthDimple=0.95),
    "chin_raiser": {"mouthShrugLower": 0.95, "mouthShrugUpper": 0.4},
    "lip_puckerer": {"mouthPucker": 0.95},
    "lip_funneler": {"mouthFunnel": 0.9, "jawOpen": 0.12},
    "sadness": _sides(browInnerUp=0.85, mouthFrown=0.8),
    "lip_roll": {"mouthRollLower": 0.85, "mouthRollUpper": 0.75},
    "grin": _sides(mouthSmile=0.35, mouthUpperUp=0.75, mouthLowerDown=0.7, mouthStretch=0.3),
    "cheek_blowing": _sides(cheekPuff=0.95),
    "eye_closed": _sides(eyeBlink=1.0),
    "brow_raiser": _sides(browOuterUp=0.9, browInnerUp=0.85, eyeWide=0.25),
    "brow_lower": _sides(browDown=0.95, eyeSquint=0.25),
}
#: What people do beside what they are asked for.
HABITS = (
    *_sides(mouthSmile=1.0, mouthFrown=1.0, mouthPress=1.0, mouthUpperUp=1.0),
    *_sides(browDown=1.0, browOuterUp=1.0, eyeSquint=1.0, cheekPuff=1.0),
    *("mouthShrugLower", "mouthShrugUpper", "mouthLeft", "mouthRight", "jawOpen", "jawForward"),
)
SHAPES = tuple(sorted({*HABITS, *(name for mixture in EXPRESSIONS.values() for name in mixture)}))

WEIGHT_LIMIT = 2.5  # of an identity mode, in standard deviations: beyond it faces look broken
STRENGTH_SPREAD, ASYMMETRY_SPREAD = 0.2, 0.12
HABIT_COUNT, HABIT_SPREAD = 3, 0.06
BUMP_COUNT, BUMP_WIDTHS, SYMMETRIC_SHARE = 80, (14.0, 45.0), 0.8  # mm
CARRY_SMOOTHING = 20  # rounds over the neighbors: a deformation of single triangles would carry their noise over


@dataclass(frozen=True, eq=False)
class IctShapes:
    """The shapes of ICT-FaceKit on one region of V vertices, in mm.

    Attributes
    ----------
    generic : (V, 3) The generic face at rest.
    faces : (F, 3) Triangles.
    identity : (M, V, 3) Displacement of each identity mode.
    expression : Displacement (V, 3) of each shape by name.
    eyes : (2, 3) Centers of the left and the right eyeball of the generic face.
    identity_eyes : (M, 2, 3) What each identity mode does to them.
    jaw_ends : The vertices at the upper ends of the jaw line, by the ears.
    """

    generic: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    identity: Float[np.ndarray, "mode vertex 3"]
    expression: Mapping[str, Float[np.ndarray, "vertex 3"]]
    eyes: Float[np.ndarray, "2 3"]
    identity_eyes: Float[np.ndarray, "mode 2 3"]
    jaw_ends: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Person:
    """A face at rest (V, 3) in mm, its hinges, and the displacement (V, 3) that each shape at full weight makes."""

    neutral: Float[np.ndarray, "vertex 3"]
    eyes: Float[np.ndarray, "2 3"]
    jaw: Float[np.ndarray, "3"]
    moves: Mapping[str, Float[np.ndarray, "vertex 3"]]


class IctPeople:
    """Draws people and lets them make faces; equal seeds and numbers give equal scans, in any order.

    Parameters
    ----------
    shapes : ICT-FaceKit on the wanted region.
    seed : Draws everything.
    detail : Root mean square length of the personal displacement, mm; 0 gives the bare identity modes.
    """

    def __init__(self, shapes: IctShapes, seed: int = 0, detail: float = 0.6):
        self.shapes, self.seed, self.detail = shapes, seed, detail
        edges = edges_of(shapes.faces, len(shapes.generic))[0]
        reach = adjacency_of(edges, len(shapes.generic)) + sparse.eye_array(len(shapes.generic), format="csr")
        self._smooth = sparse.csr_array(sparse.diags_array(1.0 / reach.sum(axis=1)) @ reach)
        self._at_rest = _triangle_frames(shapes.generic, shapes.faces)
        self._inverse = _inverse_frames(self._at_rest)

    def person(self, number: int) -> Person:
        """Draw the person with this number."""
        rng = np.random.default_rng([self.seed, number, 0])
        weights = np.clip(rng.standard_normal(len(self.shapes.identity)), -WEIGHT_LIMIT, WEIGHT_LIMIT)
        neutral = self.shapes.generic + np.tensordot(weights, self.shapes.identity, axes=1)
        eyes = self.shapes.eyes + np.tensordot(weights, self.shapes.identity_eyes, axes=1)
        if self.detail:
            neutral = neutral + self._personal_displacement(np.random.default_rng([self.seed, number, 1]))
        carry = self.local_deformation(neutral)
        moves = {
            name: np.einsum("vij,vj->vi", carry, displacement) for name, displacement in self.shapes.expression.items()
        }
        return Person(neutral, eyes, neutral[list(self.shapes.jaw_ends)].mean(axis=0), moves)

    def mixture(self, number: int, expression: str) -> dict[str, float]:
        """How this person performs an expression: its strength, its asymmetry and what else happens in the face."""
        rng = np.random.default_rng([self.seed, number, 2, list(EXPRESSIONS).index(expression)])
        strength = np.exp(np.clip(STRENGTH_SPREAD * rng.standard_normal(), -0.5, 0.4))
        tilt = ASYMMETRY_SPREAD * rng.standard_normal()
        performed = {
            name: weight * strength * (1 + tilt * (name.endswith("_L") - name.endswith("_R")))
            for name, weight in EXPRESSIONS[expression].items()
        }
        if performed:
            for name in rng.choice(HABITS, HABIT_COUNT, replace=False):
                performed[str(name)] = performed.get(str(name), 0.0) + abs(HABIT_SPREAD * rng.standard_normal())
        return performed

    def noise(self, number: int, expression: str, size: float) -> Float[np.ndarray, "vertex 3"]:
        """What a scanner adds: normal with standard deviation ``size``, mm, in each coordinate."""
        rng = np.random.default_rng([self.seed, number, 3, list(EXPRESSIONS).index(expression)])
        return size * rng.standard_normal(self.shapes.generic.shape)

    def local_deformation(self, neutral: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 3 3"]:
        """Matrix that takes displacements of the generic face to a person, at each vertex, smooth over the face."""
        faces, count = self.shapes.faces, len(neutral)
        gradient = _triangle_frames(neutral, faces) @ self._inverse  # (F, 3, 3)
        area = np.linalg.norm(self._at_rest[..., 2], axis=1) ** 2
        corner = sparse.csr_array(
            (np.repeat(area, 3), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), (count, len(faces))
        )
        total = corner.sum(axis=1)
        carry = np.where(total[:, None] > 0, corner @ gradient.reshape(-1, 9), np.eye(3).ravel())
        carry /= np.where(total > 0, total, 1.0)[:, None]
        for _ in range(CARRY_SMOOTHING):
            carry = self._smooth @ carry
        return carry.reshape(-1, 3, 3)

    def _personal_displacement(self, rng: np.random.Generator) -> Float[np.ndarray, "vertex 3"]:
        """Give a sum of soft bumps, each with a weaker or equal twin on the other side of the face."""
        generic, mirror = self.shapes.generic, np.array([-1.0, 1.0, 1.0])
        centers = generic[rng.integers(len(generic), size=BUMP_COUNT)]
        widths = np.exp(rng.uniform(np.log(BUMP_WIDTHS[0]), np.log(BUMP_WIDTHS[1]), BUMP_COUNT))
        pushes = rng.standard_normal((BUMP_COUNT, 3)) * (widths / BUMP_WIDTHS[1])[:, None]
        twins = rng.standard_normal((BUMP_COUNT, 3)) * (widths / BUMP_WIDTHS[1])[:, None]
        other = SYMMETRIC_SHARE * pushes * mirror + (1 - SYMMETRIC_SHARE) * twins
        field = _bumps(generic, centers, widths) @ pushes + _bumps(generic, centers * mirror, widths) @ other
        return field * (self.detail / np.sqrt((field**2).sum(axis=1).mean()))


def express(person: Person, mixture: Mixture) -> Float[np.ndarray, "vertex 3"]:
    """Face (V, 3) of a person with exactly this mixture of shapes, mm."""
    moved = np.zeros_like(person.neutral)
    for name, weight in mixture.items():
        if name == "jawOpen":
            moved += turn(person.neutral, person.moves[name], person.jaw, weight)
        elif name.startswith("eyeBlink"):
            moved += turn(person.neutral, person.moves[name], person.eyes[name.endswith("_R").real], weight)
        else:
            moved += weight * person.moves[name]
    return person.neutral + moved


def turn(
    points: Float[np.ndarray, "vertex 3"],
    displacement: Float[np.ndarray, "vertex 3"],
    hinge: Float[np.ndarray, "3"],
    weight: float,
) -> Float[np.ndarray, "vertex 3"]:
    """Displace points along arcs about the line through ``hinge`` that runs from ear to ear (the x axis).

    Angle, distance from the line and place along it go linearly with the weight, so that weight 1 gives exactly
    ``displacement``. Points near the line, where an angle says little, move straight.
    """
    arm, shift = (points - hinge)[:, 1:], displacement[:, 1:]
    reached = arm + shift
    radius, radius_reached = np.linalg.norm(arm, axis=1), np.linalg.norm(reached, axis=1)
    angle = np.arctan2(arm[:, 0] * reached[:, 1] - arm[:, 1] * reached[:, 0], (arm * reached).sum(axis=1))
    start = np.arctan2(arm[:, 1], arm[:, 0])
    length = radius + weight * (radius_reached - radius)
    turned = np.stack([np.cos(start + weight * angle), np.sin(start + weight * angle)], axis=1) * length[:, None]
    share = (radius**2 / (radius**2 + 4.0))[:, None]  # half straight at 2 mm from the line
    result = weight * displacement
    result[:, 1:] += share * (turned - arm - weight * shift)
    return result


def _bumps(points: np.ndarray, centers: np.ndarray, widths: np.ndarray) -> np.ndarray:
    square = (points**2).sum(axis=1)[:, None] - 2 * points @ centers.T + (centers**2).sum(axis=1)
    return np.exp(-np.maximum(square, 0.0) / (2 * widths**2))


def _triangle_frames(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Two edges and the normal of each triangle as columns (F, 3, 3); the normal is as long as the root of the area."""
    first, second = vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    normal = np.cross(first, second)
    normal /= np.sqrt(np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12))
    return np.stack([first, second, normal], axis=2)


def _inverse_frames(frames: np.ndarray) -> np.ndarray:
    """Inverse of each frame; a sliver of a triangle, which has none, counts as not deformed at all."""
    flat = np.abs(np.linalg.det(frames)) < 1e-9
    return np.linalg.inv(np.where(flat[:, None, None], np.eye(3), frames))
