"""``meshdisent fit MODEL INPUT... --out DIR``: a trained model fitted to raw scans, landmarks or photographs."""

import importlib
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.cli.fit_inputs import Kind
    from meshdisent.fitting.dial import Fitter
    from meshdisent.fitting.result import Fit
    from meshdisent.mesh.landmark_files import Points
    from meshdisent.morphable.contract import MorphableModel

_MILLIMETERS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Fit a model to raw scans, landmarks or photographs: codes, the face, and how sure every vertex of it is.

    For example: meshdisent fit wsdf-ict head.ply --out fitted

    Scans may be of any mesh or points without one, noisy, and show part of a face. They look along +z with +y up;
    --any-pose tries all turns. Landmarks of three coordinates are places in space, of two in a picture (then give
    --focal and --picture-size). Photographs have options of their own: `meshdisent fit MODEL photo.jpg --help` shows
    them. What cannot be fitted is named with its residual, drawn, and left out; the exit code is
    then 3.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    inputs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT", help_behavior_hint="(required)")
    ]
    """Scans (OBJ, PLY, WRL, or faces.h5:SUBJECT/EXPRESSION), landmark files (.json, .csv, .pp, .pts, .ljson), or
    pictures; all of one kind."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the faces, their codes, pictures, and fit.json with all numbers."""
    unit: Literal["mm", "cm", "m"] = "mm"
    """Of scans and landmarks in space."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Named points on the scan, in its unit: they give the pose, and pull. Of several scans a folder of files that are
    called as the scans are."""
    template_landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The same points on the model's template, in mm, where it does not know its own (`meshdisent inspect MODEL`).
    Names may also be numbers of vertices."""
    noise: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """The dial between data and prior: how far the input may lie from the face, in mm, or in pixels of a picture. By
    default measured on a scan; 2 for landmarks."""
    trade_off: bool = False
    """Print what a quarter to four times that noise gives."""
    any_pose: bool = False
    """Scans may be turned any way."""
    scale: bool = False
    """Scans and landmarks may be of any size."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Draw so many faces that the input leaves possible."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Of these draws."""
    focal: Annotated[float | None, tyro.conf.arg(metavar="PIXELS")] = None
    """Focal length of the camera of landmarks in a picture."""
    picture_size: Annotated[tuple[int, int] | None, tyro.conf.arg(metavar="W H")] = None
    """Width and height of that picture, pixels."""
    no_pictures: bool = False
    """Leave out the pictures of residuals and uncertainty."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write all numbers there as well, or to standard output for -."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    if _are_photographs(arguments):
        return importlib.import_module("meshdisent.cli.fit_images").main(arguments)
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent fit", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    if given.samples < 0:
        raise UsageError(f"--samples is {given.samples}; wanted 0 or more.")
    from meshdisent.cli.fit_inputs import one_kind
    from meshdisent.morphable.model_file import load_morphable

    kind = one_kind(given.inputs)
    if kind == "image":
        raise UsageError(
            "Options stand before the pictures; wanted MODEL and pictures first: fit MODEL photo.jpg --out DIR."
        )
    _refuse_unused(given, kind)
    return _fit_all(given, kind, load_morphable(given.model))


def _are_photographs(arguments: list[str]) -> bool:
    """Whether what stands behind MODEL is a picture: these have options of their own."""
    from meshdisent.data.images.layouts.image_tree import EXTENSIONS

    first = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    return any(Path(word).suffix.lower() in EXTENSIONS for word in first[1:])


def _fit_all(given: Arguments, kind: "Kind", model: "MorphableModel") -> int:
    from meshdisent.cli.results import write_json
    from meshdisent.cli.scan_arguments import different_names
    from meshdisent.fitting.result import FitRefused

    names = different_names({text: Path(text).stem.replace("/", "-").replace(":", "-") for text in given.inputs})
    reports: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    with writing_folder(given.out, given.overwrite) as folder:
        for text in given.inputs:
            try:
                fitter, fit = _fit_one(text, kind, given, model)
            except UsageError:
                raise
            except MeshdisentError as error:
                failed.append(f"{text}: {' '.join(str(error).split())}")
                print(f"left out: {failed[-1]}", file=sys.stderr)
                if isinstance(error, FitRefused) and not given.no_pictures:
                    _draw(error.fit, names[text], folder, "refused-", f"{text}: refused")
                continue
            reports[names[text]] = {"input": text, **_told(text, fit, fitter, given)}
            _write(fit, names[text], folder, given)
        (folder / "fit.json").write_text(json.dumps(reports, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    write_json(reports, given.json, given.overwrite)
    if not reports:
        raise DataError(
            f"Nothing could be fitted; {given.out} has pictures of what was refused. The first: {failed[0]}"
        )
    count = f"{len(reports)} fits, each" if len(reports) > 1 else "1 fit"
    parts = "mesh and codes" if given.no_pictures else "mesh, codes and pictures"
    print(f"{given.out}: {count} with {parts}, and fit.json", file=_aside(given))
    return 3 if failed else 0


def _fit_one(text: str, kind: "Kind", given: Arguments, model: "MorphableModel") -> "tuple[Fitter, Fit]":
    """Fit one input; also what can fit it again."""
    if kind == "landmarks":
        return _fit_landmarks(Path(text), given, model)
    from meshdisent.cli.fit_inputs import known_points, landmark_file_for, rows_of_names, surface_of
    from meshdisent.fitting.pose_starts import turned_starts
    from meshdisent.fitting.scan import ScanFitConfig, ScanFitter
    from meshdisent.mesh.landmark_files import read_landmark_file
    from meshdisent.mesh.landmarks import Landmarks

    landmarks, unit = None, _MILLIMETERS[given.unit]
    if given.landmarks is not None:
        path = landmark_file_for(given.landmarks, text, len(given.inputs) == 1)
        points = _in_space(read_landmark_file(path), path)
        which, places = known_points(points, rows_of_names(given.template_landmarks, model), path)
        landmarks = Landmarks(which, unit * places)
    config = ScanFitConfig(noise_mm=given.noise, with_scale=given.scale)
    fitter = ScanFitter(model, surface_of(text, model, unit), config, landmarks=landmarks)
    starts = turned_starts(fitter.mean_face, fitter.points.surface) if given.any_pose else None
    return fitter, fitter.fit(fitter.begin(starts))


def _fit_landmarks(path: Path, given: Arguments, model: "MorphableModel") -> "tuple[Fitter, Fit]":
    from meshdisent.cli.fit_inputs import known_points, rows_of_names
    from meshdisent.fitting.landmarks import LandmarkFitConfig, LandmarkFitter, PictureFitter, PictureLandmarks
    from meshdisent.mesh.landmark_files import read_landmark_file
    from meshdisent.mesh.landmarks import Landmarks
    from meshdisent.render.camera import Camera

    points = read_landmark_file(path)
    which, places = known_points(points, rows_of_names(given.template_landmarks, model), path)
    config = LandmarkFitConfig(noise=2.0 if given.noise is None else given.noise, with_scale=given.scale)
    if places.shape[1] == 3:
        fitter = LandmarkFitter(model, Landmarks(which, _MILLIMETERS[given.unit] * places), config)
        return fitter, fitter.fit(fitter.begin())
    if given.focal is None or given.picture_size is None:
        raise UsageError(f"{path} has points of a picture, with two coordinates; give its --focal and --picture-size.")
    width, height = given.picture_size
    middle = (width - 1) / 2, (height - 1) / 2
    camera = Camera(height=height, width=width, focal=given.focal, center_u=middle[0], center_v=middle[1])
    shown = PictureFitter(model, PictureLandmarks(which, places), camera, config)
    return shown, shown.fit(shown.begin())


def _refuse_unused(given: Arguments, kind: "Kind") -> None:
    """Options that would change nothing are mistakes."""
    if kind == "landmarks" and (given.landmarks is not None or given.any_pose):
        raise UsageError("--landmarks and --any-pose are for scans, and the INPUTs are landmark files; leave them out.")
    if kind == "scan" and (given.focal is not None or given.picture_size is not None):
        raise UsageError("--focal and --picture-size are for landmarks of a picture, and the INPUTs are scans.")
    if given.landmarks is None and kind == "scan" and given.template_landmarks is not None:
        raise UsageError("--template-landmarks names the points of --landmarks, which are not given; give both.")


def _told(text: str, fit: "Fit", fitter: "Fitter", given: Arguments) -> dict[str, Any]:
    """Print what was found, and return it as plain values."""
    told, out, unit = fit.numbers(), _aside(given), fit.residuals.unit
    print(f"{text}: residual {fit.residuals.median:.2f} {unit} (95 % below {fit.residuals.most:.2f}), noise "
          f"{fit.noise:.2f} {unit}; 90 % of vertices within {told['radius_90_mm']['mean']:.2f} mm on average",
          file=out, flush=True)  # fmt: skip
    if given.trade_off:
        from meshdisent.fitting.dial import trade_off

        rows = trade_off(fitter, fit)
        print(f"  noise, {unit:8}  residual  prior |u|^2  expected error, mm", file=out)
        for row in rows:
            print(f"  {row.noise:15.3f}  {row.median:8.3f}  {row.prior_cost:11.3f}  {row.deviation_mm:18.2f}", file=out)
        told["trade_off"] = [vars(row) for row in rows]
    return told


def _write(fit: "Fit", name: str, folder: Path, given: Arguments) -> None:
    import torch

    from meshdisent.mesh.mesh import Mesh

    factor = 1 / _MILLIMETERS[given.unit]
    faces = fit.mesh.faces
    sure = {"deviation_mm": fit.deviation_mm, "radius_90_mm": fit.radius_mm()}
    Mesh(factor * fit.vertices, faces, vertex_attributes=sure).write(folder / f"{name}.ply")
    fit.in_model_frame.write(folder / f"{name}-model-frame.ply")
    codes = {factor: code[0].tolist() for factor, code in fit.codes._asdict().items()}
    (folder / f"{name}-codes.json").write_text(json.dumps(codes) + "\n", encoding="utf-8")
    if given.samples:
        drawn = fit.samples(given.samples, torch.Generator().manual_seed(given.seed))
        (folder / f"{name}-samples").mkdir()
        for number, vertices in enumerate(drawn.vertices):
            Mesh(factor * vertices, faces).write(folder / f"{name}-samples" / f"{number:04d}.ply")
    if not given.no_pictures:
        _draw(fit, name, folder, "", name)


def _draw(fit: "Fit", name: str, folder: Path, prefix: str, title: str) -> None:
    from meshdisent.show.fit_pictures import residual_sheet, uncertainty_sheet
    from meshdisent.show.pictures import write_png

    write_png(folder / f"{prefix}{name}-residuals.png", residual_sheet(fit, title))
    if not prefix:
        write_png(folder / f"{name}-uncertainty.png", uncertainty_sheet(fit, title))


def _in_space(points: "Points", path: Path) -> "Points":
    if any(len(place) != 3 for place in points.values()):
        raise DataError(f"{path} has points of a picture, with two coordinates; wanted points in space, with three.")
    return points


def _aside(given: Arguments) -> Any:
    """Words go to standard error where standard output is one JSON object."""
    return sys.stderr if given.json == "-" else sys.stdout
