"""Fitting a morphable model to photographs: who, which expression, from where, in which light, in which colors.

Everything is found at once by least squares with steps of Gauss and Newton (``image_equations``), in pictures that get
finer; the slopes by codes come from the model's ``decode`` alone, so any morphable model will do. Photographs of one
subject share the identity code and the colors; in a sequence, neighbors in time are alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.appearance import ALBEDOS
from meshdisent.fitting.face_points import face_points
from meshdisent.fitting.image_equations import ImageProblem, Trust
from meshdisent.fitting.image_pictures import Evidence, Views, evidence_of, explained, views_of
from meshdisent.fitting.image_solver import descend
from meshdisent.fitting.image_start import landmark_starts, searched_starts
from meshdisent.fitting.image_state import FaceMaker, ImageState
from meshdisent.fitting.image_windows import GUESSED_DEGREES, Photo, Square, Windows, windows_of
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.render.camera import Camera

#: What of a head may be said to show skin.
BARE = ("face", "head")
_SEARCHED = 32


@dataclass(frozen=True, kw_only=True)
class ImageFitConfig:
    """How photographs are fitted.

    Attributes
    ----------
    same_subject : All photographs show one person.
    sequence : They follow each other in time, which says that they show one person.
    albedo : What is known of colors: ``painted`` knows where lips, brows and eyes are, ``smooth`` knows nothing.
    sizes, steps : Pixels a side of the square around the face, coarse to fine, and most steps with each.
    bare : What shows skin: the ``face`` from brows to chin, with hair and clothes around it as in most photographs, or
        the whole ``head``. Colors of the rest are not looked at. Only ``painted`` knows where what is.
    trust : What is believed of pixels and landmarks.
    largest_error, least_likeness : A fit that explains colors worse than by this root mean square (0 to 1), or that
        explains not even this part of what a smooth picture leaves over, is none.
    least_with_landmarks : The same part where landmarks say where the face is: that of real photographs is small.
    """

    same_subject: bool = False
    sequence: bool = False
    albedo: str = "painted"
    bare: str = "face"
    sizes: tuple[int, ...] = (64, 128, 256)
    steps: tuple[int, ...] = (10, 6, 2)
    trust: Trust = field(default_factory=Trust)
    largest_error: float = 0.14
    least_likeness: float = 0.2
    least_with_landmarks: float = 0.0

    def __post_init__(self) -> None:
        if self.albedo not in ALBEDOS:
            raise UsageError(f"albedo is {self.albedo!r}; wanted one of {', '.join(ALBEDOS)}.")
        if self.bare not in BARE:
            raise UsageError(f"bare is {self.bare!r}; wanted one of {', '.join(BARE)}.")
        if not self.sizes or len(self.sizes) != len(self.steps) or min(self.sizes) < _SEARCHED:
            raise UsageError(
                f"sizes {self.sizes} and steps {self.steps} do not go together; wanted as many of each, and at least "
                f"{_SEARCHED} pixels."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageFit:
    """What explains a photograph.

    Attributes
    ----------
    codes : Of the model, one row each; ``whitened`` the same in standard deviations of the prior.
    mesh : The face in mm, in the frame of the model, with its colors without light as ``red``, ``green``, ``blue``.
    rotation, translation_m : :math:`P = R\\,A (v - m) / 1000 + t` is a vertex v in the frame of the camera (x right, y
        down, z forward, meters), with A = diag(1, -1, -1) and the middle m of the template, ``middle_mm``.
    camera : Of the photograph; ``is_guessed`` where its field of view was.
    light : (9, 3) Strengths of the polynomials of :func:`~meshdisent.fitting.appearance.harmonics`, camera's frame.
    albedo : (V, 3) Likely colors without light; :mod:`~meshdisent.fitting.texture` takes finer ones from the
        photograph.
    views : Pictures of the square around the face: photograph, fitted, overlay, residual.
    evidence : Numbers that say how good it is.
    """

    name: str
    codes: Codes
    whitened: Codes
    mesh: Mesh
    rotation: Float[Tensor, "3 3"]
    translation_m: Float[Tensor, "3"]
    middle_mm: Float[Tensor, "3"]
    camera: Camera
    is_guessed: bool
    light: Float[Tensor, "9 3"]
    albedo: Float[Tensor, "vertex 3"]
    square: Square
    views: Views
    evidence: Evidence

    def in_camera(self, vertices: Float[Tensor, "vertex 3"]) -> Float[Tensor, "vertex 3"]:
        """Vertices of the model's frame (mm) in that of the camera (meters)."""
        axes = torch.tensor([1.0, -1.0, -1.0]) / 1000
        return ((vertices - self.middle_mm) * axes) @ self.rotation.T + self.translation_m


class ImageMisfit(DataError):
    """A photograph that no face explains; ``picture`` shows the best try."""

    def __init__(self, message: str, picture: UInt8[np.ndarray, "height width 3"]):
        super().__init__(message)
        self.picture = picture


def fit_images(
    model: MorphableModel,
    photos: Sequence[Photo],
    config: ImageFitConfig | None = None,
    *,
    landmark_rows: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[ImageFit]:
    """Fit a model to one or several photographs.

    Parameters
    ----------
    photos : With what is known about each. Where the field of view is not known, 20 degrees are taken.
    landmark_rows : Vertices of the template by the names that the photographs' landmarks have; by default those that
        the template's openings tell (:func:`~meshdisent.fitting.face_points.face_points`).
    say : Is told what is guessed, and what is being done.

    Returns
    -------
    A fit for each photograph, in their order.

    Raises
    ------
    DataError : If a photograph cannot be used, or the camera sees nothing of a face.
    ImageMisfit : If no face explains a photograph; its ``picture`` shows the best try.
    """
    config = config or ImageFitConfig()
    if not photos:
        raise UsageError("fit_images got no photograph; wanted at least one.")
    albedo = ALBEDOS[config.albedo](model.topology)
    if config.bare == "head":
        albedo = replace(albedo, bare=torch.ones_like(albedo.bare))
    maker = FaceMaker(model, albedo)
    rows = _rows(model, photos, landmark_rows)
    guessed = [photo.name for photo in photos if photo.field_of_view is None]
    if guessed:
        say(f"field of view guessed as {GUESSED_DEGREES:.0f} degrees: {', '.join(guessed)}")
    windows = windows_of(photos, rows, sorted({_SEARCHED, *config.sizes}))
    groups = [list(range(len(photos)))] if config.same_subject or config.sequence else [[k] for k in range(len(photos))]
    fits = []
    for group in groups:
        state, problem = _fit_subject(maker, windows, group, config, [photos[k].name for k in group], say)
        for place, k in enumerate(group):
            fits.append(_result(maker, problem, state, place, photos[k]))
    for fit in fits:
        _refuse_misfit(fit, config)
    return fits


def _rows(model: MorphableModel, photos: Sequence[Photo], given: Mapping[str, int] | None) -> dict[str, int] | None:
    if given is None:
        return face_points(model.topology) if any(photo.landmarks for photo in photos) else None
    wrong = [name for name, row in given.items() if not 0 <= row < model.topology.vertex_count]
    if wrong:
        raise DataError(
            f"The landmark {wrong[0]!r} names vertex {given[wrong[0]]} of the template, which has 0 to "
            f"{model.topology.vertex_count - 1}. Correct it."
        )
    return dict(given)


def _fit_subject(
    maker: FaceMaker,
    windows: Windows,
    group: Sequence[int],
    config: ImageFitConfig,
    names: Sequence[str],
    say: Callable[[str], None],
) -> tuple[ImageState, ImageProblem]:
    """Each photograph by itself on the coarsest pictures, then all of the subject together."""
    singles = []
    for k, name in zip(group, names, strict=True):
        say(f"{name}: looking for the face")
        problem = ImageProblem(maker, windows.one(k), config.trust)
        singles.append(_start(problem, config))
    state = _together(singles)
    chosen = windows if len(group) == len(windows) else windows.one(group[0])
    problem = ImageProblem(maker, chosen, config.trust, is_sequence=config.sequence)
    for size, steps in zip(config.sizes, config.steps, strict=True):
        say(f"{', '.join(names)}: {size} x {size} pixels")
        state, _ = descend(problem, state, size, steps)
    return state, problem


def _start(problem: ImageProblem, config: ImageFitConfig) -> ImageState:
    """The best of several starts after some steps on the coarsest picture."""
    size = config.sizes[0]
    if len(problem.windows.landmarks[0][0]):
        tried = [descend(problem, state, None, 12) for state in landmark_starts(problem)]
        best = min(tried, key=lambda pair: pair[1])[0]
        return descend(problem, best, size, 3)[0]
    followed = [descend(problem, state, size, 4)[0] for state in searched_starts(problem)]
    return max(followed, key=lambda state: explained(problem, state, size))


def _together(states: Sequence[ImageState]) -> ImageState:
    """One state of several photographs, with the mean of what they share."""
    return replace(
        states[0],
        identity=torch.stack([state.identity for state in states]).mean(0),
        albedo=torch.stack([state.albedo for state in states]).mean(0),
        expression=torch.cat([state.expression for state in states]),
        rotation=torch.cat([state.rotation for state in states]),
        place=torch.cat([state.place for state in states]),
        light=torch.cat([state.light for state in states]),
    )


def _result(maker: FaceMaker, problem: ImageProblem, state: ImageState, k: int, photo: Photo) -> ImageFit:
    own = state.one(k)
    shape = maker.shapes(own.identity[None], own.expression)[0]
    albedo = maker.albedo.albedo(own.albedo).clamp(0, 1)
    shear = problem.windows.shear[k]
    put = own.place[0, 2].exp() * torch.cat([own.place[0, :2], torch.ones(1)])
    colors = albedo.double().numpy()
    mesh = Mesh(
        shape.double().numpy(),
        np.asarray(maker.model.topology.faces),
        vertex_attributes={name: colors[:, c] for c, name in enumerate(("red", "green", "blue"))},
    )
    alone = ImageProblem(maker, problem.windows.one(k), problem.trust)
    return ImageFit(
        name=photo.name,
        codes=maker.codes(own.identity[None], own.expression),
        whitened=Codes(own.identity[None], own.expression),
        mesh=mesh,
        rotation=own.rotation[0],
        translation_m=torch.linalg.inv(shear) @ put,
        middle_mm=maker.middle,
        camera=photo.camera,
        is_guessed=photo.field_of_view is None,
        light=own.light[0],
        albedo=albedo,
        square=problem.windows.squares[k],
        views=views_of(alone, own),
        evidence=evidence_of(alone, own),
    )


def _refuse_misfit(fit: ImageFit, config: ImageFitConfig) -> None:
    found = fit.evidence
    is_led = found.landmark_pixels is not None
    least = config.least_with_landmarks if is_led else config.least_likeness
    if found.color_error <= config.largest_error and found.likeness >= least:
        return
    remedy = (
        f"Its landmarks are {found.landmark_pixels:.1f} pixels off; check that they are those of this photograph."
        if is_led
        else "Wanted a face that fills the picture, a box, or landmarks; give --detector, --landmarks, or crop it."
    )
    raise ImageMisfit(
        f"{fit.name}: no face explains it: colors are off by {found.color_error:.3f} (limit {config.largest_error}), "
        f"likeness {found.likeness:.2f} (limit {least}). {remedy}",
        fit.views.side_by_side(),
    )
