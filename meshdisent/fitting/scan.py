r"""A trained model fitted to a raw scan: any mesh or cloud of points, part of a face, noisy, anywhere.

1. The pose: from landmarks, or searched from many starts (:mod:`~meshdisent.fitting.pose_starts`).
2. The most probable face and pose for planes (point to plane, Chen and Medioni 1992): each point of the scan pulls at
   the plane of its nearest place on the model, a Gauss-Newton step a round, first with much noise, so that the prior
   keeps the face whole while the pose settles, then with that of the scan.

A point counts by

.. math:: w = \frac{\rho(r)}{\sigma^2 + c \, \tau^2}

with :math:`\sigma` its noise, :math:`\tau` the misfit, what the model's codes cannot say, which neighbors share, c the
crowd of points in one patch of that size, and :math:`\rho` the weight of Geman and McClure (1987). Noise is measured
where it is not given, as how points differ from their neighbors along the face. The misfit is the error of the model's
card on people it has not seen, or more, if neighbors are seen to lie off the face together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from meshdisent.errors import RecipeError
from meshdisent.fitting.code_space import CodeSpace
from meshdisent.fitting.gauss_newton import Normal, State, moved, normal_equations, solve
from meshdisent.fitting.pose_starts import upright_starts
from meshdisent.fitting.result import Fit, FitRefused, Residuals
from meshdisent.fitting.rows import Rows, point_rows, stacked
from meshdisent.fitting.scan_points import ScanPoints
from meshdisent.fitting.surface_places import Pairs, SurfacePlaces
from meshdisent.fitting.uncertainty import Posterior
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.pose_search import search_pose
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import MorphableModel

_COARSE_NORMAL_MM, _NORMAL_MM = 15.0, 3.0  # how much directions help to find places, early and late
_LEAST_AGREEMENT = 0.4  # cosine between normals of a point and its place
_GATE_FACTOR, _GATES_MM = 6.0, (4.0, 30.0)  # of the distance beyond which a match does not count
_ROBUST = 3.0  # deviations at which a residual counts for a quarter
_STALE = 0.25  # deviations that a number may move before slopes are measured anew
_MEASURED_ROUNDS = 4  # of the last stage, in which noise and misfit are measured; then they stay
_COARSE_MISFIT_MM, _LEAST_NOISE_MM = 0.3, 0.05
_NEIGHBORS = 8


@dataclass(frozen=True, kw_only=True)
class ScanFitConfig:
    """What to trust, and beyond what a fit is refused.

    Attributes
    ----------
    noise_mm : The dial between data and prior: how far points of the scan are taken to lie from the face. None: as far
        as they are seen to scatter.
    misfit_mm : What the model's codes cannot say of a face, root mean square of a coordinate. None: of the model's
        card, or more if it is seen.
    landmark_mm : How far landmarks of a scan may be off.
    with_scale : Look for a size too; otherwise the scan is as large as its unit says.
    coarse_mm : Noise of the first stages.
    rounds, most_rounds : Matches and steps of each first stage, and at most of the last.
    still_mm : The last ends when vertices move less, root mean square.
    patch_mm : Radius within which points share the misfit.
    most_median_mm : A fit is refused if half of the trusted points lie farther from it.
    fewest_explained : A fit is refused if a smaller share of the scan's points is trusted. Hair and shoulders are not.
    """

    noise_mm: float | None = None
    misfit_mm: float | None = None
    landmark_mm: float = 2.0
    with_scale: bool = False
    coarse_mm: tuple[float, ...] = (10.0, 5.0, 2.5)
    rounds: int = 3
    most_rounds: int = 12
    still_mm: float = 0.1
    patch_mm: float = 8.0
    most_median_mm: float = 3.0
    fewest_explained: float = 0.5

    def __post_init__(self) -> None:
        above = {"coarse_mm": min(self.coarse_mm, default=1.0)}
        names = ("noise_mm", "landmark_mm", "rounds", "most_rounds", "still_mm", "patch_mm", "most_median_mm")
        above |= {name: getattr(self, name) for name in (*names, "fewest_explained")}
        for name, value in above.items():
            if value is not None and not value > 0:
                raise RecipeError(f"{name} of a fit is {value}; wanted more than 0.")
        if self.misfit_mm is not None and not self.misfit_mm >= 0:
            raise RecipeError(f"misfit_mm of a fit is {self.misfit_mm}; wanted 0 or more.")


class Scatter(NamedTuple):
    """How residuals scatter, mm: each by itself, and neighbors together."""

    noise_mm: float
    misfit_mm: float


def fit_scan(
    model: MorphableModel,
    surface: TargetSurface,
    config: ScanFitConfig | None = None,
    *,
    landmarks: Landmarks | None = None,
    starts: Sequence[Similarity] | None = None,
) -> Fit:
    """Fit a model to a raw scan.

    Parameters
    ----------
    model : Any trained morphable model.
    surface : The scan in mm, see :func:`~meshdisent.fitting.scan_points.scan_surface`.
    config : What to trust; the defaults suit faces.
    landmarks : Vertices of the model whose places are known; they give the pose, and pull.
    starts : Poses to begin with. None for a face that looks along +z with +y up, or a part of one; see
        :func:`~meshdisent.fitting.pose_starts.turned_starts` for any.

    Raises
    ------
    FitRefused : If the fit cannot be trusted, with the number that says so and its limit.
    DataError : If landmarks are not of the model.

    Examples
    --------
    >>> found = fit_scan(model, TargetSurface.of_mesh(model.topology.template, model.topology.faces))
    >>> found.residuals.median < 0.5, found.codes.identity.shape == (1, model.identity_size)
    (True, True)
    """
    fitter = ScanFitter(model, surface, config, landmarks=landmarks)
    return fitter.fit(fitter.begin(starts))


class ScanFitter:
    """One scan and one model; to be fitted with several noises, say. Arguments as of :func:`fit_scan`.

    Attributes
    ----------
    mean_face : The face at the middle of the model's prior, with which the search for a pose begins.
    points : What of the scan is looked at.
    """

    def __init__(
        self,
        model: MorphableModel,
        surface: TargetSurface,
        config: ScanFitConfig | None = None,
        *,
        landmarks: Landmarks | None = None,
    ):
        self.config = config or ScanFitConfig()
        if landmarks is not None:
            landmarks.check(model.topology.vertex_count)
        self.space, self.landmarks = CodeSpace(model), landmarks
        self.points = ScanPoints.of(surface)
        self.mean = self.space.face(np.zeros(self.space.size))
        self.places = SurfacePlaces(model.topology, self.mean)
        self.mean_face = Topology(self.mean, model.topology.faces)
        self._slopes: tuple[np.ndarray, np.ndarray] | None = None
        self._gate = _GATES_MM[1]

    def begin(self, starts: Sequence[Similarity] | None = None) -> State:
        """The mean face in the best pose that is found, from landmarks or starts."""
        if self.landmarks is not None:
            places = self.mean[self.landmarks.vertices]
            return State.mean(self.space, align(places, self.landmarks.points, self.config.with_scale))
        surface = self.points.surface
        tried = upright_starts(self.mean_face, surface) if starts is None else starts
        return State.mean(self.space, search_pose(self.mean_face, surface, tried, self.config.with_scale)[0])

    def fit(self, state: State, noise: float | None = None, *, is_near: bool = False) -> Fit:
        """Go from a state to the optimum.

        Parameters
        ----------
        noise : Instead of that of the configuration, mm.
        is_near : The state is an optimum already, for another noise: leave out the first stages.
        """
        config = self.config
        given = config.noise_mm if noise is None else noise
        self._gate = _GATES_MM[0] if is_near else _GATES_MM[1]
        crowd = self.points.crowd(config.patch_mm * state.motion.scale)
        for coarse in () if is_near else config.coarse_mm:
            for _ in range(config.rounds):
                seen = self._seen(state, _COARSE_NORMAL_MM)
                state, _, _ = self._step(state, seen, Scatter(coarse, _COARSE_MISFIT_MM), crowd)
        crowd = self.points.crowd(config.patch_mm * state.motion.scale)
        for number in range(config.most_rounds):
            seen = self._seen(state, _NORMAL_MM)
            if number < _MEASURED_ROUNDS:
                scatter = self._scatter(seen, given)
            state, normal, far_mm = self._step(state, seen, scatter, crowd)
            if number >= _MEASURED_ROUNDS and far_mm < config.still_mm:
                break
        return self._checked(state, normal, scatter)

    def _seen(self, state: State, normal_mm: float) -> tuple[Pairs, Bool[np.ndarray, " point"]]:
        """The places of all points on a face, and which of these can be trusted."""
        back, surface = state.motion.inverse(), self.points.surface
        pairs = self.places.pair(state.vertices, back.apply(surface.points), surface.normals @ back.rotation, normal_mm)
        is_good = ~pairs.is_beyond & (pairs.agreement > _LEAST_AGREEMENT) & (pairs.distance <= self._gate)
        if is_good.any():
            self._gate = float(np.clip(_GATE_FACTOR * np.median(pairs.distance[is_good]), *_GATES_MM))
        return pairs, is_good

    def _scatter(self, seen: tuple[Pairs, np.ndarray], noise: float | None) -> Scatter:
        """Noise and misfit by the residuals of neighbors along the face; in space, neighbors share their noise."""
        pairs, is_good = seen
        misfit = self.config.misfit_mm
        least = self.space.misfit_mm if misfit is None else misfit
        if is_good.sum() <= _NEIGHBORS:
            return Scatter(noise or 1.0, least)
        feet = np.einsum("pk,pkd->pd", pairs.weights, self.mean[pairs.corners])[is_good]
        near = cKDTree(feet).query(feet, k=_NEIGHBORS, workers=-1)[1]
        along = pairs.along[is_good][near]  # (G, 8)
        middle = np.median(along, axis=1)
        alone = _deviation(along - along.mean(axis=1, keepdims=True)) * (_NEIGHBORS / (_NEIGHBORS - 1)) ** 0.5
        together = _deviation(middle) ** 2 - 1.5 * alone**2 / _NEIGHBORS
        shared = max(together, 0.0) ** 0.5 if misfit is None else misfit
        return Scatter(noise or max(alone, _LEAST_NOISE_MM), max(shared, least))

    def _step(
        self, state: State, seen: tuple[Pairs, np.ndarray], scatter: Scatter, crowd: Float[np.ndarray, " point"]
    ) -> tuple[State, Normal, float]:
        """One Gauss-Newton step towards the planes; the normal equations, and how far vertices went, mm."""
        pairs, is_good = seen
        usual = (scatter.noise_mm**2 + scatter.misfit_mm**2) ** 0.5
        if is_good.any():
            usual = max(usual, _deviation(pairs.along[is_good]))
        robust = is_good / (1 + (pairs.along / (_ROBUST * usual)) ** 2) ** 2
        precision = robust / (scatter.noise_mm**2 + crowd * scatter.misfit_mm**2)
        rows = Rows(pairs.along, pairs.corners, pairs.weights, pairs.normals, precision)
        if self.landmarks is not None:
            wanted = state.motion.inverse().apply(self.landmarks.points)
            rows = stacked(rows, point_rows(state.vertices, self.landmarks.vertices, wanted, self.config.landmark_mm))
        normal = normal_equations(state, rows, self._jacobian(state.numbers), self.config.with_scale, self.space.prior)
        after = moved(self.space, state, solve(normal), normal.center)
        way = after.motion.apply(after.vertices) - state.motion.apply(state.vertices)
        return after, normal, float(np.sqrt((way**2).sum(axis=1).mean())) / state.motion.scale

    def _jacobian(self, numbers: np.ndarray) -> np.ndarray:
        if self._slopes is None or np.abs(numbers - self._slopes[0]).max() > _STALE:
            self._slopes = numbers, self.space.jacobian(numbers)
        return self._slopes[1]

    def _checked(self, state: State, normal: Normal, scatter: Scatter) -> Fit:
        pairs, is_good = self._seen(state, _NORMAL_MM)
        residuals = Residuals.of(np.abs(pairs.along[is_good]), "mm", float(is_good.mean()))
        posterior = Posterior(self.space, state, normal.matrix, normal.center, scatter.misfit_mm)
        fit = Fit(
            posterior=posterior, residuals=residuals, noise=scatter.noise_mm, misses=_by_vertex(pairs, is_good, state)
        )
        config = self.config
        if residuals.explained < config.fewest_explained:
            raise FitRefused(
                f"The fit failed: {residuals.explained:.1%} of the scan lies on the fitted face; wanted "
                f"{config.fewest_explained:.0%} or more. The pose was not found (give landmarks, or try any pose), the "
                "scan is in another unit, or it has much that is no face: cut it off.",
                fit,
            )
        if residuals.median > config.most_median_mm:
            raise FitRefused(
                f"The fit failed: half of the scan's points are {residuals.median:.2f} mm or more from the fitted "
                f"face; wanted at most {config.most_median_mm:g}. The scan is no face of this model, or its unit or "
                "pose is wrong: give landmarks.",
                fit,
            )
        return fit


def _by_vertex(pairs: Pairs, is_good: Bool[np.ndarray, " point"], state: State) -> Float[np.ndarray, " vertex"]:
    """Mean distance of the trusted points around each vertex; NaN where there is none."""
    corners, shares = pairs.corners[is_good].ravel(), pairs.weights[is_good].ravel()
    off = np.repeat(np.abs(pairs.along[is_good]), 3)
    total = np.bincount(corners, shares, len(state.vertices))
    found = np.full(len(total), np.nan)
    np.divide(np.bincount(corners, shares * off, len(total)), total, out=found, where=total > 0)
    return found


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of what is normal about zero, by the median."""
    return 1.4826 * float(np.median(np.abs(values)))
