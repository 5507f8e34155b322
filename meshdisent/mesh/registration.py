r"""Non-rigid registration: the template of a topology is brought onto a surface without correspondences.

1. Its pose: from landmarks, or searched (:mod:`~meshdisent.mesh.pose_search`).
2. With a linear model of shapes, the most probable shape, point to plane (:mod:`~meshdisent.mesh.plane_fit`), less
   noise in each stage; then model and bending together, so that what the model cannot do is bent and not forced
   upon it (:mod:`~meshdisent.mesh.thin_plate`).
3. From there it bends freely, stiff at first and softer in each stage (:mod:`~meshdisent.mesh.thin_plate`, with the
   equation), as in the optimal-step registration of Amberg et al. (2007).
4. Without a prior, and where rims hold it, it slides along the surface, a few steps towards where it is strained evenly
   (:mod:`~meshdisent.mesh.even_strain`): nothing else says how far it slides.

Each stage bends what the one before has left, so that a jaw may turn far, which a bending energy of the whole way
would not let it (mean distance to the truth on four depth maps of ICT faces: 2.29 mm, 2.43 when the whole way counts).
In each round every vertex looks for the nearest point of the target in space and direction. A match does not count
where the target ends, where the normals disagree, or where it is farther away than most others; those that remain have
the weight :math:`(1 + (r / \sigma)^2)^{-2}` of their distance r along the normal, with :math:`\sigma` three times its
median (Geman and McClure 1987). Vertices without a match move with their neighbors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from meshdisent.errors import DataError, RecipeError
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.even_strain import EvenStrain
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.plane_fit import Planes, ShapePrior, shape_step
from meshdisent.mesh.pose_search import frontal_starts, search_pose
from meshdisent.mesh.registration_result import (
    FitLimits,
    Registration,
    RegistrationRefused,
    Stage,
    check_fit,
    check_stiff,
    front_share,
    residual_of,
    turned_share,
)
from meshdisent.mesh.rims import Rims
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.thin_plate import HOLD_MM, Pulls, ThinPlate, across, joined
from meshdisent.mesh.topology import Topology

_PATCH_MM2 = 25.0  # of surface that counts as one independent measurement beside the prior
_GATES_MM = (3.0, 25.0)  # bounds of the distance at which a match no longer counts
_GATE_FACTOR = 5.0  # of the median distance
_EXPLAINED = 4000  # points of the target that are asked whether the template explains them
_RIM_ROUNDS, _RIM_LENGTH_MM = 2, 25.0
_EVEN_ROUNDS = 4  # later ones follow what the energy wants, and the bending before knows better what slides as a whole
_HOLD_ALONE_MM = 20.0  # of the thin plate without a prior: on six raw faces 2.6 mm from the truth, with 40 mm 2.7
_OUTER: dict[str, Literal["never", "near", "always"]] = {"openings": "never", "auto": "near", "all": "always"}
_SIGMA_FACTOR, _LEAST_SIGMA_MM = 3.0, 0.3


@dataclass(frozen=True, kw_only=True)
class RegistrationConfig:
    """How stiff, how often, and what counts as a match.

    Attributes
    ----------
    with_scale : Look for a scale too; otherwise the target is as large as its unit, mm, says.
    lengths_mm : Stiffness of each free stage: waves shorter than about six times this are not followed. Stages of which
        there is no length are left out.
    noises_mm : Noise of each stage with a prior: how far the shape may be from the target for the sake of probability.
    lengths_beside_prior_mm : Stiffness of each stage in which a prior and bending share what is left.
    mode_mm4 : What one squared standard deviation of the prior costs there: squared mm on so many mm^2 of surface.
    lengths_after_prior_mm, lengths_after_evening_mm : As ``lengths_mm``, when a prior has been fitted before, or the
        way was made even.
    evenings : Without a prior, and where rims are looked for: stiffness of each stage after ``lengths_mm`` in which the
        template slides towards an even strain (:mod:`~meshdisent.mesh.even_strain`).
    rounds : Matches and solutions a stage.
    point_weight : Weight of the distance to a match beside that to its plane.
    normal_mm : How many mm count as much as one radian between normals when a match is looked for.
    least_agreement : Cosine between normals below which a match does not count.
    seen_mm : A vertex is seen if it lies at most so far from the target, mm of the template.
    landmark_mm2 : Area of surface that one landmark is worth.
    rims : Which rims of the template lie on rims of the scan (:mod:`~meshdisent.mesh.rims`): ``openings`` (eyes and
        mouth, where the scan is open, too), ``auto`` (the outer rim as well, while it lies on an end of the scan),
        ``all`` (the scan was cut along the outer rim), or ``none``, for depth maps, which end where the camera sees no
        further. The template is bent to them first.
    limits : Beyond which the fit has failed.
    """

    with_scale: bool = False
    lengths_mm: tuple[float, ...] = (60.0, 40.0, 25.0, 15.0, 10.0, 6.0, 4.0, 2.5)
    noises_mm: tuple[float, ...] = (8.0, 4.0, 2.0, 1.0)
    lengths_beside_prior_mm: tuple[float, ...] = (6.0,)
    mode_mm4: float = 5.0
    lengths_after_prior_mm: tuple[float, ...] = (2.5,)
    lengths_after_evening_mm: tuple[float, ...] = (2.5, 2.5)
    evenings: tuple[float, ...] = (1.0,)
    rounds: int = 4
    point_weight: float = 0.005
    normal_mm: float = 20.0
    least_agreement: float = 0.5
    seen_mm: float = 2.0
    landmark_mm2: float = 100.0
    rims: Literal["none", "openings", "auto", "all"] = "none"
    limits: FitLimits = field(default_factory=FitLimits)

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if not isinstance(values, tuple):
                continue
            is_missing = not values and name == "noises_mm"
            if is_missing or min(values, default=1.0) <= 0 or list(values) != sorted(values, reverse=True):
                raise RecipeError(f"{name} of a registration is {values}; wanted lengths above 0 that only decrease.")
        above = (self.point_weight, self.seen_mm, self.mode_mm4)
        if self.rounds < 1 or self.normal_mm < 0 or not min(above) > 0:
            raise RecipeError(
                f"A registration got rounds {self.rounds}, point_weight {self.point_weight}, normal_mm "
                f"{self.normal_mm}, seen_mm {self.seen_mm}, mode_mm4 {self.mode_mm4}; wanted rounds >= 1, "
                "normal_mm >= 0, the others above 0."
            )
        if self.rims != "none" and self.rims not in _OUTER:
            raise RecipeError(f"A registration got rims {self.rims!r}; wanted none, {', '.join(_OUTER)}.")


def register(
    topology: Topology,
    target: TargetSurface,
    config: RegistrationConfig | None = None,
    *,
    landmarks: Landmarks | None = None,
    starts: Sequence[Similarity] | None = None,
    prior: ShapePrior | None = None,
) -> Registration:
    """Bring the template of a topology onto a target surface.

    Parameters
    ----------
    topology : Its template is a face in mm.
    target : Surface in mm; it may have holes and borders and may be seen from one side only.
    config : Stiffness and limits; the defaults suit faces.
    landmarks : Vertices whose places are known: they give the pose, and pull while the template bends.
    starts : Poses to begin the search with, from the template's frame to the target's. None for a face that looks
        along +z (:func:`~meshdisent.mesh.pose_search.frontal_starts`); see also
        :func:`~meshdisent.mesh.pose_search.any_starts`.
    prior : Linear model of shapes on the same topology, in the template's frame.

    Returns
    -------
    Registration: vertices in both frames, which of them are seen, distances, and how it was reached.

    Raises
    ------
    RegistrationRefused : If the fit failed (too little seen, too far away, folded), with the number and its limit.
    DataError : If landmarks or prior are not of the topology.

    Examples
    --------
    >>> template = scans.topology
    >>> found = register(template, TargetSurface.of_mesh(template.template, template.faces))
    >>> bool(found.is_seen.all()), found.residual.most_mm < 0.5, found.vertices.shape
    (True, True, (162, 3))
    """
    config = config or RegistrationConfig()
    _check(topology, landmarks, prior)
    mean = topology if prior is None else Topology(np.asarray(prior.mean, dtype=np.float64), topology.faces)
    if landmarks is None:
        tried = frontal_starts(mean, target) if starts is None else starts
        motion, _ = search_pose(mean, target, tried, config.with_scale)
    else:
        motion = align(mean.template[landmarks.vertices], landmarks.points, config.with_scale)
    fit = _Fit(mean, target, config, landmarks, motion, topology.template, prior is not None)
    try:
        if prior is not None:
            fit.within(prior)
            fit.bend(config.lengths_after_prior_mm)
        else:
            fit.open()
            fit.bend(config.lengths_mm)
            fit.even()
            fit.bend(config.lengths_after_evening_mm if fit.is_even else ())
        fit.settle()
        return fit.result()
    except RegistrationRefused as refused:
        refused.stages, refused.motion = tuple(fit.stages), fit.motion
        refused.vertices = fit.motion.apply(fit.shape)
        raise


def _check(topology: Topology, landmarks: Landmarks | None, prior: ShapePrior | None) -> None:
    if not topology.face_count:
        raise DataError("The topology to register has no faces; wanted a template surface.")
    if landmarks is not None:
        landmarks.check(topology.vertex_count)
    if prior is not None and len(prior.mean) != topology.vertex_count:
        raise DataError(
            f"The shape prior has {len(prior.mean)} vertices and the topology {topology.vertex_count}; wanted a model "
            "of this topology."
        )


class _Fit:
    """The template on its way: a shape in its own frame, and the motion to the target."""

    def __init__(
        self,
        topology: Topology,
        target: TargetSurface,
        config: RegistrationConfig,
        landmarks: Landmarks | None,
        motion: Similarity,
        rest: np.ndarray,
        is_likely: bool,
    ):
        self.topology, self.target, self.config, self.landmarks = topology, target, config, landmarks
        self.plate = ThinPlate(topology, HOLD_MM if is_likely else _HOLD_ALONE_MM)
        self.motion = motion
        self.expected = self.shape = topology.template
        self.prior: ShapePrior | None = None
        self.gate = _GATES_MM[1]
        self.stages: list[Stage] = []
        self.is_even = False
        self.rest, self.is_likely = rest, is_likely
        self.rims: Rims | None = None
        self._find_rims()

    def within(self, prior: ShapePrior) -> None:
        """Fit the shape inside a linear model, less noise in each stage."""
        weights = np.zeros(len(prior.deviations))
        for noise in self.config.noises_mm:
            for _ in range(self.config.rounds):
                planes = self._with_landmarks(self._with_ties(self._planes()))
                planes = planes._replace(weights=planes.weights * self.plate.areas / _PATCH_MM2)
                step, weights = shape_step(self.shape, planes, prior, weights, noise, self.config.with_scale)
                self.motion = self.motion.compose(step)
                self.shape = prior.shape(weights)
            self._close("prior", noise)
        self._beside(prior, weights)

    def _beside(self, prior: ShapePrior, weights: np.ndarray) -> None:
        """Let model and bending share what is left; the bending counts from the model's shape, not from the last."""
        bent = np.zeros_like(self.shape)
        for length in self.config.lengths_beside_prior_mm:
            for _ in range(self.config.rounds):
                weights, bent = self.plate.solve_beside(
                    prior, weights, bent, self._planes(), length, self.config.mode_mm4, self._pulls()
                )
                self.shape = prior.shape(weights) + bent
            self._close("prior and bending", length)
        self.expected = prior.shape(weights)
        self.prior = prior

    def open(self) -> None:
        """Lay and bend the template to the rims alone: a mouth that is open is too far from one that is not."""
        if self.rims is None or not self.rims.count:
            return
        posed = self.rims.pose(self.shape, self.config.with_scale) if self.landmarks is None else None
        if posed is not None:
            self.motion = posed
            self._find_rims()
        still = np.zeros_like(self.shape)
        nothing = Planes(self.shape, still, np.zeros(len(self.shape)), 0.0)
        for _ in range(_RIM_ROUNDS):
            self.shape = self.shape + self.plate.solve(self.shape, still, nothing, _RIM_LENGTH_MM, self._pulls())

    def bend(self, lengths_mm: Sequence[float]) -> None:
        """Let the shape bend, softer in each stage, which bends what the stage before has left."""
        for length in lengths_mm:
            before = self.shape
            for _ in range(self.config.rounds):
                moved = self.plate.solve(before, self.shape - before, self._planes(), length, self._pulls())
                self.shape = before + moved
            self._close("bending", length)

    def even(self) -> None:
        """Let the template slide on what it has found, a few steps towards where the whole way is even."""
        if self.rims is None:
            return
        strain = EvenStrain(self.topology)
        for stiffness in self.config.evenings:
            for _ in range(_EVEN_ROUNDS):
                slides = self.rims.slides(self.shape, self.motion)
                planes = self._planes()._replace(point_weight=0.0)
                self.shape = strain.step(self.shape, planes, stiffness, slides, self._with_named())
            self._close("evening", stiffness)
            self.is_even = True

    def settle(self) -> None:
        """Part the way into a motion, which brings the expected shape closest to this one, and a change of shape."""
        step = align(self.expected, self.shape, self.config.with_scale)
        self.motion, self.shape = self.motion.compose(step), step.inverse().apply(self.shape)

    def result(self) -> Registration:
        """Measure what was found, and raise if it is not to be trusted."""
        vertices = self.motion.apply(self.shape)
        matches = self.target.match(vertices, vertex_normals(vertices, self.topology.faces))
        distance_mm = self.target.distance(vertices, matches) / self.motion.scale
        is_good = ~matches.is_beyond & (matches.agreement > self.config.least_agreement)
        is_seen = is_good & (distance_mm <= self.config.seen_mm)
        found = Registration(
            vertices=vertices,
            in_template_frame=self.shape.copy(),
            motion=self.motion,
            is_seen=is_seen,
            distance_mm=distance_mm,
            residual=residual_of(distance_mm[is_seen]),
            seen_share=self._share(is_seen),
            front_share=front_share(self.topology, self.plate.areas, is_seen),
            explained_share=self._explained(vertices),
            turned_share=turned_share(self.topology, self.shape, is_seen),
            stages=tuple(self.stages),
            unlikeliness=None if self.prior is None else self.prior.unlikeliness(self.shape),
        )
        check_fit(found, self.config.limits)
        return found

    def _explained(self, vertices: np.ndarray) -> float:
        """Share of the target's points that lie on the template."""
        step = max(1, len(self.target.points) // _EXPLAINED)
        points, normals = self.target.points[::step], self.target.normals[::step]
        matches = TargetSurface.of_mesh(vertices, self.topology.faces).match(points, normals)
        along = np.abs(((matches.points - points) * matches.normals).sum(axis=1))
        is_on = ~matches.is_beyond & (matches.agreement > self.config.least_agreement)
        return float((is_on & (along <= self.config.seen_mm * self.motion.scale)).mean())

    def _find_rims(self) -> None:
        if self.config.rims != "none":
            outer = _OUTER[self.config.rims]
            self.rims = Rims(self.topology, self.target, self.motion, outer, self.rest, not self.is_likely)

    def _planes(self) -> Planes:
        """Where each vertex should go, in the template's frame, with weights from 0 to 1."""
        config, motion, back = self.config, self.motion, self.motion.inverse()
        normals = vertex_normals(self.shape, self.topology.faces)
        placed = motion.apply(self.shape)
        matches = self.target.match(placed, normals @ motion.rotation, config.normal_mm)
        points, planes = back.apply(matches.points), matches.normals @ back.rotation
        is_good = ~matches.is_beyond & (matches.agreement > config.least_agreement)
        distance = matches.distance / motion.scale
        is_good &= distance <= self.gate
        if not is_good.any():
            nothing = Stage(name="matching", length_mm=self.gate, median_mm=np.inf, matched=0.0, vertices=placed)
            check_stiff(nothing, config.limits)
        along = np.abs(((points - self.shape) * planes).sum(axis=1))
        self.gate = float(np.clip(_GATE_FACTOR * np.median(distance[is_good]), *self._gates()))
        sigma = max(_SIGMA_FACTOR * float(np.median(along[is_good])), _LEAST_SIGMA_MM)
        return Planes(points, planes, is_good / (1 + (along / sigma) ** 2) ** 2, config.point_weight)

    def _gates(self) -> tuple[float, float]:
        least = max(_GATES_MM[0], 2 * self.target.spacing_mm / self.motion.scale)
        return least, max(least, _GATES_MM[1])

    def _pulls(self) -> Pulls | None:
        if self.rims is None:
            return self._with_named()
        ties = self.rims.ties(self.shape, self.motion)
        if not self.is_even:
            return self._with_named(joined(ties, self.rims.pulls(self.shape, self.motion)))
        slides = self.rims.slides(self.shape, self.motion)
        return self._with_named(joined(ties, None if slides is None else slides.pulls(self.shape)))

    def _with_named(self, pulls: Pulls | None = None) -> Pulls | None:
        """Pulls of the landmarks, besides those given."""
        if self.landmarks is None:
            return pulls
        pulls = pulls or Pulls(np.zeros_like(self.shape), np.zeros(len(self.shape)))
        pulls.points[self.landmarks.vertices] = self.motion.inverse().apply(self.landmarks.points)
        pulls.weights[self.landmarks.vertices] = self.config.landmark_mm2
        return pulls

    def _with_ties(self, planes: Planes) -> Planes:
        """What is closed on the scan counts across: a likely face would else part its lips."""
        ties = None if self.rims is None else self.rims.ties(self.shape, self.motion)
        return planes if ties is None else across(planes, ties, self.shape, self.plate.areas)

    def _with_landmarks(self, planes: Planes) -> Planes:
        """A landmark is a match of its own vertex, whatever is nearest."""
        if self.landmarks is None:
            return planes
        rows = self.landmarks.vertices
        planes.points[rows] = self.motion.inverse().apply(self.landmarks.points)
        planes.weights[rows] = self.config.landmark_mm2 / np.maximum(self.plate.areas[rows], 1e-12)
        return planes

    def _share(self, chosen: np.ndarray) -> float:
        return float(self.plate.areas[chosen].sum() / self.plate.areas.sum())

    def _close(self, name: str, length: float) -> None:
        planes = self._planes()
        matched = planes.weights > 0
        along = np.abs(((planes.points - self.shape) * planes.normals).sum(axis=1))[matched]
        stage = Stage(
            name=name,
            length_mm=length,
            median_mm=float(np.median(along)),
            matched=self._share(matched),
            vertices=self.motion.apply(self.shape),
        )
        if not self.stages:
            check_stiff(stage, self.config.limits)
        self.stages.append(stage)
