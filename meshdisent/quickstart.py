"""The main job on built-in heads, from raw scans to a report, in minutes and without any download.

Synthetic people are written as PLY files, prepared into one ``faces.h5``, and a small WSDF is trained on their subject
labels alone. It is measured on people it has never seen, then it neutralizes, transfers, interpolates and samples;
meshes, pictures and one self-contained ``report.html`` are what stays.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts.folder import FolderLayout
from meshdisent.data.preparation import prepare
from meshdisent.data.synthetic import SyntheticHead, write_synthetic_folder
from meshdisent.editing import interpolate, neutralize, sample, transfer
from meshdisent.evaluation.protocol import Evaluation, evaluate
from meshdisent.files import refuse_existing, writing_folder
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.curves import training_curves
from meshdisent.show.dataset_pictures import artist, expressions, people
from meshdisent.show.evaluation_report import add_evaluation
from meshdisent.show.html import Report, Tile
from meshdisent.show.pictures import write_png
from meshdisent.show.sheets import sheet
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import Recipe, read_recipe
from meshdisent.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class QuickstartResult:
    """What the quickstart made.

    Attributes
    ----------
    report : The page to open.
    evaluation : Figures on the unseen people, mm.
    """

    report: Path
    evaluation: Evaluation
    seconds: float


def quickstart(
    out: str | os.PathLike,
    *,
    recipe: str = "wsdf-quick",
    overrides: Sequence[str] = (),
    subjects: int = 80,
    vertex_count: int = 1500,
    seed: int = 0,
    overwrite: bool = False,
) -> QuickstartResult:
    """Run the main job in a folder; progress goes to stderr.

    Parameters
    ----------
    out : Folder for everything; see the module's first lines.
    recipe, overrides : What to train, a zoo name or a file, with changes such as ``training.minutes=1``.
    subjects : Synthetic people; 70 % for training, 10 % to choose the best weights, 20 % for the test.
    vertex_count : Vertices of a head, 1,200 to 6,000.

    Raises
    ------
    UsageError : If the folder exists and is not empty, and ``overwrite`` is false.
    RecipeError : If the recipe is unknown or broken.
    """
    started = perf_counter()
    out = Path(out)
    refuse_existing(out, overwrite)
    settings = read_recipe(recipe, overrides)
    say = _Steps(5)
    say(f"{subjects} synthetic people make {len(SyntheticHead.expressions)} faces each -> {out / 'raw'}")
    write_synthetic_folder(out / "raw", subjects, seed, vertex_count, overwrite=overwrite)
    say(f"prepare -> {out / 'faces.h5'}")
    layout = FolderLayout(raw=(out / "raw",))
    prepare(layout, out / "faces.h5", seed=seed, overwrite=overwrite, progress=True, split_by="subjects")
    scans = ScanDataset.open(out / "faces.h5").load()
    say(f"train {recipe} -> {out / 'run'}")
    result = run_recipe(settings, scans, out / "run", overwrite=overwrite)
    say("measure on people that it has never seen")
    evaluation = evaluate(result.model, scans, progress=lambda line: print(f"  {line}", file=sys.stderr))
    say(f"neutralize, transfer, interpolate, sample -> meshes and pictures in {out}")
    use(result.model, scans, out, overwrite)
    report = _report(result.model, scans, evaluation, settings, out, perf_counter() - started)
    report.write(out / "report.html", overwrite)
    return QuickstartResult(report=out / "report.html", evaluation=evaluation, seconds=perf_counter() - started)


def use(model: MorphableModel, scans: ScanDataset, out: Path, overwrite: bool = False) -> None:
    """Write what the model makes of unseen people, a folder a verb, each with a sheet."""
    rows = scans.rows("test")
    people = [rows[scans.subject[rows] == subject] for subject in np.unique(scans.subject[rows])]
    first, second = people[0], people[min(1, len(people) - 1)]
    shown, other = scans.vertices(first[:6]), scans.vertices(second[:6])
    _write(out / "neutralize", ("scan", "neutral"), shown, neutralize(model, shown), overwrite)
    _write(out / "transfer", ("expression", "transferred"), other, transfer(model, shown[0], other), overwrite)
    walk = interpolate(model, shown[1], other[2 % len(other)], steps=12)
    _write(out / "interpolate", ("walk",), None, walk, overwrite, is_animated=True)
    _write(out / "sample", ("sample",), None, sample(model, 12), overwrite)


def _write(
    folder: Path,
    labels: tuple[str, ...],
    shown: np.ndarray | None,
    meshes: list[Mesh],
    overwrite: bool,
    is_animated: bool = False,
) -> None:
    """Meshes, a sheet and perhaps a GIF, in a folder that appears whole."""
    from meshdisent.show.animation import write_gif

    draw = artist(np.stack([mesh.vertices for mesh in meshes]), meshes[0].faces)
    pictures = [draw(mesh.vertices) for mesh in meshes]
    rows = [pictures[k : k + 6] for k in range(0, len(pictures), 6)]
    if shown is not None:
        rows = [[draw(scan) for scan in shown], *rows]
    with writing_folder(folder, overwrite) as aside:
        for number, mesh in enumerate(meshes):
            mesh.write(aside / f"{number:04d}.ply")
        write_png(aside / "sheet.png", sheet(rows, labels if len(labels) == len(rows) else ()))
        if is_animated:
            write_gif(aside / "animation.gif", pictures, ping_pong=True)


def _report(
    model: MorphableModel, scans: ScanDataset, evaluation: Evaluation, recipe: Recipe, out: Path, seconds: float
) -> Report:
    figures = evaluation.figures
    report = Report(
        title="meshdisent quickstart",
        summary=[
            f"{len(scans.subjects)} synthetic people with {len(scans.expressions)} expressions each were prepared, "
            f"and a {model.name} model with {model.identity_size} + {model.expression_size} code entries was trained "
            "on subject labels alone. Everything below is measured on people that it has never seen.",
            "It is small and was trained for minutes, to show the way. Where it loses to what needs no network, a "
            "warning says so: PCA need not keep the person and the expression apart, and the ridge regression says the "
            "face at rest alone, without a code.",
        ],
        tiles=[
            _tile("Reconstruction", figures["E_avd"]),
            _tile("Neutralization", figures["E_neu"]),
            Tile("Spread of neutrals", f"{figures['E_id']['b']['mean']:.2f}", "mm", "of one person's scans"),
            Tile("Time", f"{seconds / 60:.1f}", "min", "from nothing to this page"),
        ],
        reproduction={
            "command": "meshdisent quickstart",
            "recipe": recipe.description or recipe.model,
            "seed": recipe.seed,
            "data": scans.data_hash,
            **_versions(),
        },
    )
    data = report.section("The people", "Six of them at rest, and one of them with every expression.")
    data.picture(people(scans), "Six synthetic people", "Six people at rest.")
    data.picture(expressions(scans), "One person, twenty expressions", "The expressions of FaceScape, on one person.")
    training = report.section("Training", "Terms of the loss, and figures on the validation people.")
    training.picture(training_curves(RunFolder(out / "run").read_log()), "Training curves")
    add_evaluation(report, evaluation, model, scans)
    report.section(
        "Go on",
        "The model is in the folder run; every command takes it from there. For example: meshdisent sample run "
        "--count 24 --out more-people, or meshdisent transfer run --identity faces.h5:person_032/neutral --expression "
        "faces.h5:person_033/smile --out smile. Your own scans: meshdisent prepare folder RAW --out faces.h5.",
    )
    return report


def _tile(name: str, figure: dict[str, float | None] | None) -> Tile:
    value = figure["mean"] if figure else None
    moving = figure["moving"] if figure else None
    note = "" if moving is None else f"{moving:.2f} mm where expressions move"
    return Tile(name, "\u2013" if value is None else f"{value:.2f}", "mm", note)


def _versions() -> dict[str, str]:
    import platform

    import torch

    from meshdisent import __version__

    return {"meshdisent": __version__, "torch": torch.__version__, "python": platform.python_version()}


class _Steps:
    """Say which step of how many begins."""

    def __init__(self, count: int):
        self.count, self.done = count, 0

    def __call__(self, what: str) -> None:
        self.done += 1
        print(f"\n[{self.done}/{self.count}] {what}", file=sys.stderr, flush=True)
