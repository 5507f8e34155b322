r"""A trained model fitted to landmarks: vertices whose places are known, in space or in a picture.

The most probable face and pose, by Gauss-Newton steps (:mod:`~meshdisent.fitting.gauss_newton`). A landmark has the
variance of its noise and of the misfit, what the model's codes cannot say. Few landmarks leave much open: the
uncertainty of the result says how much.

In a picture, the pose is that in the frame of the camera (x right, y down, z forward), in mm: pixel
:math:`(f x / z + c_u, f y / z + c_v)`. It begins with the mean face, turned to each of a few sides.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError, RecipeError
from meshdisent.fitting.code_space import CodeSpace
from meshdisent.fitting.gauss_newton import State, descend, normal_equations
from meshdisent.fitting.result import Fit, FitRefused, Residuals
from meshdisent.fitting.rows import Rows, point_rows
from meshdisent.fitting.uncertainty import Posterior
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.morphable.contract import MorphableModel
from meshdisent.render.camera import Camera

_STEPS = 30
_FEWEST_IN_PICTURE = 4
_TO_CAMERA = np.diag([1.0, -1.0, -1.0])  # from y up, z to the viewer, to y down, z forward
_YAWS = (0.0, -45.0, 45.0)
_NEAREST_MM = 10.0  # before the camera


@dataclass(frozen=True, kw_only=True)
class LandmarkFitConfig:
    """What to trust, and beyond what a fit is refused.

    Attributes
    ----------
    noise : The dial between data and prior: how far landmarks may be off, in mm, or in pixels of a picture.
    misfit_mm : What the model's codes cannot say, root mean square of a coordinate. None: of the model's card.
    with_scale : Look for a size too; not in a picture, where size and distance are the same.
    most_median_mm : A fit is refused if half of the landmarks lie farther off.
    most_median_share : The same in a picture, as a share of the extent of the landmarks.
    """

    noise: float = 2.0
    misfit_mm: float | None = None
    with_scale: bool = False
    most_median_mm: float = 10.0
    most_median_share: float = 0.08

    def __post_init__(self) -> None:
        for name in ("noise", "most_median_mm", "most_median_share"):
            if not getattr(self, name) > 0:
                raise RecipeError(f"{name} of a landmark fit is {getattr(self, name)}; wanted more than 0.")
        if self.misfit_mm is not None and not self.misfit_mm >= 0:
            raise RecipeError(f"misfit_mm of a landmark fit is {self.misfit_mm}; wanted 0 or more.")


@dataclass(frozen=True, eq=False)
class PictureLandmarks:
    """Vertices of a model and where a picture shows them.

    Attributes
    ----------
    vertices : (L,) Rows of the model's topology; four or more.
    pixels : (L, 2) Column and row; the center of the first pixel is (0, 0).
    """

    vertices: Int[np.ndarray, " landmark"]
    pixels: Float[np.ndarray, "landmark 2"]

    def __post_init__(self) -> None:
        if len(self.vertices) != len(self.pixels) or len(self.vertices) < _FEWEST_IN_PICTURE:
            raise DataError(
                f"There are {len(self.vertices)} landmarks on the model and {len(self.pixels)} in the picture; wanted "
                f"as many of each, {_FEWEST_IN_PICTURE} or more, such as corners of eyes and mouth."
            )
        if not np.isfinite(self.pixels).all():
            raise DataError("A landmark in the picture has a position that is not finite. Leave it out.")

    def check(self, vertex_count: int) -> None:
        """Raise :class:`DataError` if a landmark is no vertex of the model."""
        wrong = self.vertices[(self.vertices < 0) | (self.vertices >= vertex_count)]
        if len(wrong):
            raise DataError(f"A landmark names vertex {wrong[0]} of the model, which has 0 to {vertex_count - 1}.")


def fit_landmarks(model: MorphableModel, landmarks: Landmarks, config: LandmarkFitConfig | None = None) -> Fit:
    """Fit a model to landmarks in space.

    Raises
    ------
    FitRefused : If the landmarks lie far from the fitted face: names may be mixed up, or the unit is another.
    DataError : If landmarks are not of the model, or fix no pose.

    Examples
    --------
    >>> rows = np.arange(0, 162, 8)
    >>> found = fit_landmarks(model, Landmarks(rows, model.topology.template[rows] + 10.0))
    >>> found.residuals.median < 2.0, found.motion.translation.round() .tolist()
    (True, [10.0, 10.0, 10.0])
    """
    fitter = LandmarkFitter(model, landmarks, config)
    return fitter.fit(fitter.begin())


def fit_picture_landmarks(
    model: MorphableModel, landmarks: PictureLandmarks, camera: Camera, config: LandmarkFitConfig | None = None
) -> Fit:
    """Fit a model to landmarks in a picture; the face is placed in the frame of the camera.

    Raises
    ------
    DataError : If the camera sees no landmark, or landmarks are not of the model.
    FitRefused : If the landmarks lie far from where the fitted face shows them.
    """
    fitter = PictureFitter(model, landmarks, camera, config)
    return fitter.fit(fitter.begin())


class LandmarkFitter:
    """Landmarks in space and one model; to be fitted with several noises, say."""

    def __init__(self, model: MorphableModel, landmarks: Landmarks, config: LandmarkFitConfig | None = None):
        landmarks.check(model.topology.vertex_count)
        self.space, self.landmarks, self.config = CodeSpace(model), landmarks, config or LandmarkFitConfig()

    def begin(self) -> State:
        """The mean face, where the landmarks say."""
        places = self.space.face(np.zeros(self.space.size))[self.landmarks.vertices]
        return State.mean(self.space, align(places, self.landmarks.points, self.config.with_scale))

    def fit(self, state: State, noise: float | None = None, *, is_near: bool = False) -> Fit:
        """Go from a state to the optimum, with another noise than that of the configuration if one is given."""
        noise = noise or self.config.noise
        misfit = self.space.misfit_mm if self.config.misfit_mm is None else self.config.misfit_mm
        deviation, landmarks = (noise**2 + misfit**2) ** 0.5, self.landmarks

        def measure(at: State) -> Rows:
            wanted = at.motion.inverse().apply(landmarks.points)
            return point_rows(at.vertices, landmarks.vertices, wanted, deviation)

        state = descend(self.space, state, measure, with_scale=self.config.with_scale, steps=_STEPS)
        normal = normal_equations(
            state, measure(state), self.space.jacobian(state.numbers), self.config.with_scale, self.space.prior
        )
        away = np.linalg.norm(measure(state).residual.reshape(-1, 3), axis=1)
        posterior = Posterior(self.space, state, normal.matrix, normal.center, misfit)
        fit = Fit(
            posterior=posterior,
            residuals=Residuals.of(away, "mm"),
            noise=noise,
            misses=_by_vertex(len(state.vertices), self.landmarks.vertices, away),
        )
        if fit.residuals.median > self.config.most_median_mm:
            raise FitRefused(
                f"The fit failed: half of the {len(away)} landmarks are {fit.residuals.median:.1f} mm or more from the "
                f"fitted face; wanted at most {self.config.most_median_mm:g}. Names may be mixed up (left is the "
                "person's own), or the unit is another.",
                fit,
            )
        return fit


class PictureFitter:
    """Landmarks in a picture, its camera, and one model."""

    def __init__(
        self,
        model: MorphableModel,
        landmarks: PictureLandmarks,
        camera: Camera,
        config: LandmarkFitConfig | None = None,
    ):
        landmarks.check(model.topology.vertex_count)
        self.space, self.landmarks, self.camera = CodeSpace(model), landmarks, camera
        self.config = config or LandmarkFitConfig()
        if self.config.with_scale:
            raise RecipeError("with_scale was asked for in a picture, where size and distance are the same; leave it.")
        self._refuse_unseen()

    def begin(self) -> State:
        """The mean face in the pose that shows the landmarks best, of a few that it is turned to at first."""
        places = self.space.face(np.zeros(self.space.size))[self.landmarks.vertices]
        middle = places.mean(axis=0)
        extent = np.ptp(self.landmarks.pixels, axis=0).max()
        depth = self.camera.focal * np.ptp(places[:, :2], axis=0).max() / max(extent, 1e-9)
        aside = (self.landmarks.pixels.mean(axis=0) - [self.camera.center_u, self.camera.center_v]) / self.camera.focal

        def motion(pose: np.ndarray) -> Similarity:
            turn = _TO_CAMERA @ Rotation.from_rotvec(pose[:3]).as_matrix().T
            return Similarity(1.0, turn, depth * pose[3:] - middle @ turn)

        def miss(pose: np.ndarray) -> np.ndarray:
            return (self._pixels(motion(pose).apply(places)) - self.landmarks.pixels).ravel() / extent

        found = [
            least_squares(miss, [0.0, np.radians(yaw), 0.0, *aside, 1.0], loss="soft_l1", f_scale=0.1) for yaw in _YAWS
        ]
        return State.mean(self.space, motion(min(found, key=lambda one: one.cost).x))

    def fit(self, state: State, noise: float | None = None, *, is_near: bool = False) -> Fit:
        """Go from a state to the optimum, with another noise in pixels than the configuration's if one is given."""
        noise = noise or self.config.noise
        misfit = self.space.misfit_mm if self.config.misfit_mm is None else self.config.misfit_mm
        depth = float(np.median(state.motion.apply(state.vertices)[self.landmarks.vertices, 2]))
        deviation = (noise**2 + (misfit * self.camera.focal / depth) ** 2) ** 0.5
        for times in (1.0,) if is_near else (8.0, 3.0, 1.0):
            measure = partial(self._rows, deviation=times * deviation)
            state = descend(self.space, state, measure, with_scale=False, steps=_STEPS)
        rows = self._rows(state, deviation)
        normal = normal_equations(state, rows, self.space.jacobian(state.numbers), False, self.space.prior)
        away = np.linalg.norm(rows.residual.reshape(-1, 2), axis=1)
        posterior = Posterior(self.space, state, normal.matrix, normal.center, misfit)
        fit = Fit(
            posterior=posterior,
            residuals=Residuals.of(away, "pixels"),
            noise=noise,
            misses=_by_vertex(len(state.vertices), self.landmarks.vertices, away),
        )
        self._check(fit)
        return fit

    def _pixels(self, points: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, "point 2"]:
        depth = np.maximum(points[:, 2:], _NEAREST_MM)  # far off, not infinite, for what is behind the camera
        return self.camera.focal * points[:, :2] / depth + [self.camera.center_u, self.camera.center_v]

    def _rows(self, state: State, deviation: float) -> Rows:
        """(2L,) Columns and rows of all landmarks."""
        which, turn = self.landmarks.vertices, state.motion.rotation
        points = state.motion.apply(state.vertices[which])
        depth = np.maximum(points[:, 2], _NEAREST_MM)
        directions = np.zeros((len(which), 2, 3))
        directions[:, 0, 0] = directions[:, 1, 1] = self.camera.focal / depth
        directions[:, :, 2] = -self.camera.focal * points[:, :2] / depth[:, None] ** 2
        residual = self._pixels(points) - self.landmarks.pixels
        corners = np.repeat(which, 6).reshape(-1, 3)
        weights = np.tile([1.0, 0.0, 0.0], (len(corners), 1))
        along = state.motion.scale * (directions.reshape(-1, 3) @ turn.T)
        return Rows(residual.ravel(), corners, weights, along, np.full(len(corners), deviation**-2.0))

    def _refuse_unseen(self) -> None:
        pixels, camera = self.landmarks.pixels, self.camera
        is_inside = (pixels >= -0.5).all(axis=1) & (pixels < [camera.width - 0.5, camera.height - 0.5]).all(axis=1)
        if is_inside.any():
            return
        (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
        raise DataError(
            f"The camera sees none of the {len(pixels)} landmarks: its picture has {camera.width} x {camera.height} "
            f"pixels, and they lie in columns {left:.0f} to {right:.0f} and rows {top:.0f} to {bottom:.0f}. Give the "
            "size and the focal length of the picture on which they were marked, in its pixels."
        )

    def _check(self, fit: Fit) -> None:
        extent = float(np.ptp(self.landmarks.pixels, axis=0).max())
        most = self.config.most_median_share * extent
        if fit.vertices[:, 2].min() <= 0 or fit.residuals.median > most:
            raise FitRefused(
                f"The fit failed: half of the landmarks are {fit.residuals.median:.1f} pixels or more from where the "
                f"fitted face shows them; wanted at most {most:.1f}, and the face before the camera. Names may be "
                "mixed up (left is the person's own), or the focal length is that of another picture.",
                fit,
            )


def _by_vertex(
    count: int, which: Int[np.ndarray, " landmark"], away: Float[np.ndarray, " landmark"]
) -> Float[np.ndarray, " vertex"]:
    found = np.full(count, np.nan)
    found[which] = away
    return found
