"""The photographs of ``meshdisent fit MODEL IMAGE... --out DIR``: fitted, drawn, and written with their colors."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from meshdisent.cli.photographs import folder_names, made_of_each
from meshdisent.data.images.layouts.image_tree import EXTENSIONS
from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.fitting.image import ImageFit, ImageFitConfig
    from meshdisent.fitting.image_windows import Photo
    from meshdisent.fitting.texture import VertexTexture
    from meshdisent.morphable.contract import MorphableModel

#: Likeness below which half of the fits of rendered faces without landmarks were worse than the mean face.
DOUBTFUL = 0.6


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Fit a morphable model to photographs of faces.

    For example: meshdisent fit wsdf-ict photo.jpg --out photo --landmarks photo.pts

    Without --landmarks or --detector the face is taken to fill the picture, or its --box, more or less, and is found in
    few photographs of real people. A photograph that cannot be used or explained is named and left out; the exit code
    is then 3, and the others are written.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    images: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE", help_behavior_hint="(required)")
    ]
    """Photographs (JPEG, PNG, ...)."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for meshes, pictures and numbers, a folder a photograph."""
    same_subject: bool = False
    """All photographs show one person."""
    sequence: bool = False
    """They follow each other in time, of one person."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Named points in the photograph, pixels; of several photographs a folder with a file of each one's name."""
    detector: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Find the landmarks with mediapipe: its face_landmarker.task."""
    template_landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The same names in space on the template, mm; by default those that it knows (`meshdisent inspect MODEL`), else
    what its openings tell: eyes, lips, and the nose."""
    masks: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Where the face is: a picture, light there and dark elsewhere; or a folder of one for each photograph."""
    box: Annotated[tuple[float, float, float, float] | None, tyro.conf.arg(metavar="LEFT TOP RIGHT BOTTOM")] = None
    """Where the face is, pixels; of all photographs."""
    field_of_view: Annotated[float | None, tyro.conf.arg(metavar="DEGREES")] = None
    """Of the camera, along the longer side of a photograph; guessed as 20 where it is not given."""
    albedo: str = "painted"
    """What is known of colors: painted (where lips, brows and eyes are) or smooth (nothing)."""
    bare: str = "face"
    """What shows skin: the face from brows to chin, with hair and clothes around it, or the whole head."""
    color_trust: float = 0.15
    """The dial between photograph and prior: standard deviation of colors; larger keeps nearer to the mean."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Parse the arguments and fit; returns the exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent fit", config=(tyro.conf.FlagCreatePairsOff,))
    return fit_photographs(given)


def fit_photographs(given: Arguments) -> int:
    """Fit and write what was asked for; returns the exit code."""
    refuse_existing(given.out, given.overwrite)
    if given.landmarks is not None and given.detector is not None:
        raise UsageError("--landmarks and --detector both say where points of the face are; give one of them.")
    from meshdisent.fitting.image import ImageFitConfig
    from meshdisent.fitting.image_equations import Trust
    from meshdisent.morphable.model_file import load_morphable

    config = ImageFitConfig(
        same_subject=given.same_subject or given.sequence,
        sequence=given.sequence,
        albedo=given.albedo,
        bare=given.bare,
        trust=Trust(color=given.color_trust),
    )
    model = load_morphable(given.model)
    rows = _template_rows(given.template_landmarks, model)
    photos, left_out = _read(given)
    fits, misfits = _fit(model, photos, config, rows, given)
    with writing_folder(given.out, given.overwrite) as folder:
        report = _write(model, photos, fits, folder)
        (folder / "fit.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    for fit in fits:
        found = fit.evidence
        marks = "" if found.landmark_pixels is None else f", landmarks {found.landmark_pixels:.1f} pixels"
        print(f"{fit.name}: colors off by {found.color_error:.3f} of 1, likeness {found.likeness:.2f}{marks}")
        if found.landmark_pixels is None and found.likeness < DOUBTFUL:
            print(
                f"{fit.name}: a doubtful likeness; look at sheet.png, and give --detector or --landmarks",
                file=sys.stderr,
            )
    print(f"{given.out}: {len(fits)} fit{'s' if len(fits) > 1 else ''}, with face.glb, codes.json, pictures; sheet.png")
    return 3 if left_out + misfits else 0


def _read(given: Arguments) -> tuple[list["Photo"], int]:
    """Photographs with what is known about them, and how many cannot be used."""
    from meshdisent.data.images.image_reading import read_photo
    from meshdisent.fitting.image_windows import Photo

    def photo_of(path: Path) -> Photo:
        pixels = read_photo(path)
        mask = None if given.masks is None else read_photo(_beside(given.masks, path, given, EXTENSIONS))[..., 1] > 127
        photo = Photo(
            pixels=pixels,
            landmarks=_landmarks(path, pixels, given),
            mask=mask,
            field_of_view=given.field_of_view,
            box=given.box,
            name=str(path),
        )
        photo.square()
        return photo

    photos, failed = made_of_each(given.images, photo_of)
    return [photo for _, photo in photos], failed


def _landmarks(path: Path, pixels: np.ndarray, given: Arguments) -> dict[str, np.ndarray] | None:
    from meshdisent.data.images.face_detection import largest_face, named_points
    from meshdisent.mesh.landmark_files import READERS, read_landmark_file

    if given.detector is not None:
        return named_points(largest_face(pixels, given.detector, str(path)))
    if given.landmarks is None:
        return None
    file = _beside(given.landmarks, path, given, tuple(READERS))
    points = read_landmark_file(file)
    if len(next(iter(points.values()))) != 2:
        raise DataError(f"{file} holds points in space; wanted two coordinates each, pixels of {path.name}.")
    return points


def _beside(place: Path, photo: Path, given: Arguments, endings: Sequence[str]) -> Path:
    """The file itself, or that of the photograph's name in the folder."""
    if not place.is_dir():
        if len(given.images) > 1:
            raise UsageError(f"{place} is one file, and there are several photographs; give a folder of files.")
        return place
    found = [place / f"{photo.stem}{ending}" for ending in endings if (place / f"{photo.stem}{ending}").is_file()]
    if len(found) != 1:
        raise DataError(f"{place} has {len(found)} files called {photo.stem}; wanted one for {photo.name}.")
    return found[0]


def _template_rows(path: Path | None, model: "MorphableModel") -> dict[str, int] | None:
    """Vertices of the template nearest to named points in space; without a file those it knows, else None.

    Not those of the jaw: in a picture they lie on the outline, which is another line of the face in each view.
    """
    from meshdisent.cli.template_landmarks import rows_on_template
    from meshdisent.data.known_faces import find_landmarks

    if path is None:
        known = find_landmarks(model.topology)
        return None if known is None else {k: row for k, row in known.rows.items() if not k.startswith("jaw")}
    return rows_on_template(path, model.topology)


def _fit(
    model: "MorphableModel",
    photos: list["Photo"],
    config: "ImageFitConfig",
    rows: dict[str, int] | None,
    given: Arguments,
) -> tuple[list["ImageFit"], int]:
    """Fits of the photographs; those that no face explains are drawn beside the folder and left out.

    Photographs that are left out are taken out of ``photos``, too.
    """
    from meshdisent.fitting.image import ImageMisfit, fit_images

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    if config.same_subject:
        try:
            return fit_images(model, photos, config, landmark_rows=rows, say=say), 0
        except ImageMisfit as error:
            raise DataError(f"{error} The best try: {_drawn(error.picture, given, 0)}.") from error
    fits: list[ImageFit] = []
    failed: list[str] = []
    for photo in list(photos):
        try:
            fits += fit_images(model, [photo], config, landmark_rows=rows, say=say)
        except ImageMisfit as error:
            failed.append(f"{error} The best try: {_drawn(error.picture, given, len(failed))}.")
            photos.remove(photo)
        except UsageError:
            raise
        except MeshdisentError as error:
            failed.append(str(error))
            photos.remove(photo)
    if not fits:
        raise DataError(" ".join(failed[0].split()))
    for message in failed:
        print(f"left out: {' '.join(message.split())}", file=sys.stderr)
    return fits, len(failed)


def _drawn(picture: np.ndarray, given: Arguments, number: int) -> Path:
    """Write the picture of a misfit beside the folder of results."""
    from meshdisent.show.pictures import write_png

    path = given.out.with_name(f"{given.out.name}-misfit{number or ''}.png")
    write_png(path, picture, overwrite=True)
    return path


def _write(
    model: "MorphableModel", photos: list["Photo"], fits: list["ImageFit"], folder: Path
) -> dict[str, dict[str, Any]]:
    """Everything about each photograph in a folder of its own, and a sheet of all; gives the numbers by name."""
    from meshdisent.export.textured import write_colored_glb
    from meshdisent.fitting.image_pictures import turned_picture
    from meshdisent.fitting.texture import texture_of, transferred_texture
    from meshdisent.show.pictures import write_png
    from meshdisent.show.sheets import sheet

    report: dict[str, dict[str, Any]] = {}
    rows = []
    for photo, fit, name in zip(photos, fits, folder_names([Path(fit.name) for fit in fits]), strict=True):
        (folder / name).mkdir()
        texture = texture_of(model, fit, photo)
        mesh = transferred_texture(model, fit, texture)
        mesh.write(folder / name / "face.ply")
        mesh.write(folder / name / "face.obj")
        write_colored_glb(mesh, folder / name / "face.glb")
        numbers = _numbers(fit, texture)
        (folder / name / "codes.json").write_text(json.dumps(_codes(fit), indent=2) + "\n", encoding="utf-8")
        pictures = vars(fit.views) | {"turned": turned_picture(mesh, fit.views.photo.shape[0])}
        for title, picture in pictures.items():
            write_png(folder / name / f"{title}.png", picture)
        rows.append(list(pictures.values()))
        report[name] = numbers
    size = max(picture.shape[0] for row in rows for picture in row)
    labels = ["photograph", "fitted", "overlay", "what is left", "shape", "its skin"]
    page = sheet([[_grown(picture, size) for picture in row] for row in rows], list(report), labels)
    write_png(folder / "sheet.png", page)
    return report


def _grown(picture: np.ndarray, size: int) -> np.ndarray:
    times = max(size // picture.shape[0], 1)
    return picture.repeat(times, 0).repeat(times, 1)


def _codes(fit: "ImageFit") -> dict[str, list[float]]:
    return {
        "identity": fit.codes.identity[0].double().tolist(),
        "expression": fit.codes.expression[0].double().tolist(),
    }


def _numbers(fit: "ImageFit", texture: "VertexTexture") -> dict[str, Any]:
    """Pose, camera, light and how good the fit is, as plain numbers."""
    return {
        "image": fit.name,
        "pose": {
            "rotation": fit.rotation.double().tolist(),
            "translation_m": fit.translation_m.double().tolist(),
            "middle_mm": fit.middle_mm.double().tolist(),
        },
        "camera": {
            "focal_pixels": fit.camera.focal,
            "center": [fit.camera.center_u, fit.camera.center_v],
            "field_of_view_is_guessed": fit.is_guessed,
        },
        "square": list(fit.square),
        "light": fit.light.double().tolist(),
        "seen_vertices": int(texture.is_seen.sum()),
        "evidence": vars(fit.evidence),
    }
