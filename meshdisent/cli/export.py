"""``meshdisent export MODEL SCAN --out face.glb``: a rig, a sequence of meshes, or networks for other programs."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing

if TYPE_CHECKING:
    from meshdisent.export.targets import ExpressionCodes
    from meshdisent.export.weights import WeightTrack
    from meshdisent.morphable.contract import MorphableModel


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Give a face to other programs: a rig with morph targets, a sequence of meshes, or the networks.

    For example: meshdisent export wsdf-ict faces.h5:anna/smile --out anna.glb --targets arkit

    The ending of --out says what is written: .glb a rig (Blender, Unity, three.js); .png or .svg a sheet of its
    targets; a folder, with --format obj or ply, numbered meshes; with --format onnx, encoder and decoder.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    scan: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SCAN")] = "mean"
    """Whose face: a mesh file, faces.h5:SUBJECT/EXPRESSION, or mean, the mean of all subjects."""
    out: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """A .glb, .png or .svg file, or a folder for --format."""
    format: Literal["glb", "sheet", "obj", "ply", "onnx"] | None = None
    """What is written, where the ending of --out does not say."""
    targets: Literal["expressions", "arkit", "directions"] = "expressions"
    """Morph targets: expressions, the shapes of ARKit by Apple's names, or what the expression code does most."""
    expressions: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="NAME|SCAN|DATA", help_behavior_hint="(optional)")
    ] = ()
    """Which expressions: names that the model has, scans that show them, or all of a faces.h5. By default all names."""
    facekit: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """A clone of ICT-FaceKit, to solve the shapes of ARKit for a model that has none of them."""
    count: Annotated[int, tyro.conf.arg(metavar="N")] = 10
    """How many directions; each gives two targets."""
    animation: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Weights over time, CSV (also of Live Link Face) or JSON. By default each target in turn."""
    keep_detail: bool = False
    """Keep on the face what the model's codes cannot say of the scan."""
    no_eyes: bool = False
    """Leave out the plain eyeballs and the dark of a mouth that a rig has behind its openings."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the figures as one JSON object too; with - to standard output."""
    overwrite: bool = False
    """Replace what exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent export", config=(tyro.conf.FlagCreatePairsOff,))
    form = _form(given)
    refuse_existing(given.out, given.overwrite)
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite)
    from meshdisent.cli.results import write_json
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    write = {"onnx": _write_networks, "obj": _write_meshes, "ply": _write_meshes}.get(form, _write_rig)
    numbers, text = write(given, model, form)
    write_json({"format": form, "out": str(given.out)} | numbers, given.json, given.overwrite)
    print(text, file=sys.stderr if given.json == "-" else sys.stdout)
    return 0


def _form(given: Arguments) -> str:
    """What to write, from the ending of ``--out`` or from ``--format``."""
    endings = {".glb": "glb", ".png": "sheet", ".svg": "sheet"}
    ending = given.out.suffix.lower()
    if ending in endings and given.format not in (None, endings[ending]):
        raise UsageError(f"--out {given.out} means {endings[ending]}, and --format is {given.format}; leave one out.")
    form = given.format or endings.get(ending)
    if form is None:
        raise UsageError(
            f"--out {given.out} does not say what to write; wanted a file .glb, .png or .svg, or a folder and --format "
            "obj, ply or onnx."
        )
    if form in ("glb", "sheet") and ending not in endings:
        raise UsageError(
            f"--out {given.out} with --format {form} wants the ending {'.glb' if form == 'glb' else '.png'}."
        )
    return form


def _write_rig(given: Arguments, model: "MorphableModel", form: str) -> tuple[dict[str, Any], str]:
    from meshdisent.export.rig import make_rig
    from meshdisent.export.rig_glb import write_rig
    from meshdisent.export.rig_sheet import write_rig_sheet

    scan, codes = _scan(given, model), _codes(given, model)
    rig = make_rig(model, scan, codes, given.keep_detail)
    if form == "sheet":
        if given.animation is not None:
            raise UsageError(f"{given.out} is a sheet of targets, which plays nothing; leave --animation out.")
        write_rig_sheet(given.out, rig, f"{given.model}: {len(rig.names)} targets", given.overwrite)
        lines = [f"{given.out}: {len(rig.names)} targets of {_called(given)}, same camera"]
    else:
        track = _track(given, tuple(codes))
        write_rig(given.out, rig, track, not given.no_eyes, given.overwrite)
        size = given.out.stat().st_size / 1e6
        lines = [
            f"{given.out}: {len(rig.neutral):,} vertices, {len(rig.names)} morph targets, an animation of "
            f"{track.seconds[-1]:.1f} s, {size:.1f} MB; in meters, y up",
        ]
    lines += [*_missing(given, rig.names), rig.errors.in_words()]
    return {"targets": list(rig.names), "errors": rig.errors.as_numbers()}, "\n".join(lines)


def _write_meshes(given: Arguments, model: "MorphableModel", form: str) -> tuple[dict[str, Any], str]:
    from meshdisent.export.sequence import perform, write_sequence

    assert form in ("obj", "ply")
    codes = _codes(given, model)
    track = _track(given, tuple(codes))
    frames = perform(model, _scan(given, model), codes, track.weights, given.keep_detail)
    write_sequence(given.out, frames, model.topology.faces, "obj" if form == "obj" else "ply", given.overwrite)
    text = (
        f"{given.out}: {len(frames)} meshes ({form}) over {track.seconds[-1]:.1f} s, decoded by the model; in mm, y up"
    )
    numbers = {"targets": list(codes), "frames": len(frames), "seconds": track.seconds.tolist()}
    return numbers, "\n".join([text, *_missing(given, tuple(codes))])


def _write_networks(given: Arguments, model: "MorphableModel", form: str) -> tuple[dict[str, Any], str]:
    from meshdisent.export.onnx import write_onnx

    result = write_onnx(model, given.out, given.overwrite)
    numbers = {
        "files": [str(path) for path in result.files],
        "code_share": result.code_share,
        "vertex_share": result.vertex_share,
        "vertex_difference_mm": result.vertex_difference_mm,
    }
    return numbers, (
        f"{given.out}: encoder.onnx, decoder.onnx for batches of any size\n"
        f"onnxruntime against the model, at most: {result.vertex_difference_mm:.1e} mm in a coordinate, "
        f"{result.code_share:.1e} of the largest entry in a code"
    )


def _scan(given: Arguments, model: "MorphableModel") -> Any:
    from meshdisent.cli.scan_arguments import read_scan

    return "mean" if given.scan == "mean" else read_scan(given.scan, model).vertices


def _codes(given: Arguments, model: "MorphableModel") -> "ExpressionCodes":
    from meshdisent.export.rig import read_subject
    from meshdisent.export.targets import apple_codes, direction_codes

    person, _ = read_subject(model, _scan(given, model))
    if given.targets != "expressions" and given.expressions:
        raise UsageError(f"--expressions chooses among expressions, and --targets is {given.targets}; leave one out.")
    if given.targets == "arkit":
        return apple_codes(model, given.facekit)
    if given.facekit is not None:
        raise UsageError("--facekit solves the shapes of ARKit; add --targets arkit, or leave it out.")
    if given.targets == "directions":
        return direction_codes(model, person[0], given.count)
    return _chosen(given.expressions, model)


def _chosen(texts: tuple[str, ...], model: "MorphableModel") -> "ExpressionCodes":
    """Codes of names, scans and whole datasets, in the order given."""
    from meshdisent.cli.scan_arguments import read_scan
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.export.targets import dataset_codes, named_codes, scanned_codes

    if not texts:
        return named_codes(model)
    found: dict[str, Any] = {}
    for text in texts:
        path = Path(text.partition(".h5:")[0])
        if text in model.named_expressions or not (path.suffix or path.exists() or ".h5:" in text):
            added = named_codes(model, [text])
        elif path.suffix in (".h5", ".hdf5"):
            added = dataset_codes(model, ScanDataset.open(path))
        else:
            scan = read_scan(text, model)
            added = scanned_codes(model, {scan.name: scan.vertices})
        twice = found.keys() & added.keys()
        if twice:
            raise UsageError(f"--expressions gives {min(twice)!r} twice; wanted different names. Leave one out.")
        found |= added
    return found


def _track(given: Arguments, names: tuple[str, ...]) -> "WeightTrack":
    from meshdisent.export.weights import each_in_turn, read_weights

    if given.animation is None:
        return each_in_turn(names)
    track = read_weights(given.animation, names)
    if track.left_out:
        print(f"meshdisent: {given.animation}: no target for {', '.join(track.left_out)}", file=sys.stderr)
    return track


def _called(given: Arguments) -> str:
    return {"arkit": "ARKit", "directions": "leading directions", "expressions": "expressions"}[given.targets]


def _missing(given: Arguments, names: tuple[str, ...]) -> list[str]:
    """Which shapes of ARKit are not there."""
    from meshdisent.morphable.arkit_names import ARKIT_NAMES

    absent = [name for name in ARKIT_NAMES if name not in names] if given.targets == "arkit" else []
    return [f"{len(names)} of the {len(ARKIT_NAMES)} shapes of ARKit; without {', '.join(absent)}"] if absent else []
