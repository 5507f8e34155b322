"""``meshdisent evaluate MODEL --data faces.h5``: measure a model beside what needs no network."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from meshdisent.cli.report_place import is_report, report_place
from meshdisent.cli.results import write_json
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.evaluation.protocol import Evaluation
    from meshdisent.morphable.contract import MorphableModel
    from meshdisent.show.html import Report, Tile


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a model on scans that it has not seen, beside what anybody can do without a network.

    For example: meshdisent evaluate run --data faces.h5 --report report --json figures.json

    Figures are in mm; a line with WARNING says where the model loses.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    data: Annotated[Path, tyro.conf.arg(metavar="FACES.H5")]
    """The scans; made by `meshdisent prepare`."""
    split: Literal["train", "val", "test", "dropped"] = "test"
    """Which of them."""
    transfer: Annotated[Path | None, tyro.conf.arg(metavar="PAIRS.CSV")] = None
    """Table of true transfers (columns truth,identity,expression: a mesh and two scans), for E_tra."""
    ridge: tuple[Literal["mean", "median", "mode"], ...] = ("mode",)
    """Estimates of a subject's neutral that the ridge regression among the baselines is trained on, a row for each."""
    align: Literal["none", "rigid"] = "none"
    """Bring predictions onto the truth by rotation and translation before they are measured, as FED does on BU-3DFE."""
    evidence: bool = False
    """Ask further: probes that read one code for what only the other should hold, recognition, DCI, SAP, MIG,
    generalization, specificity, compactness. Half a minute for 2,000 scans."""
    seed: int = 0
    """Of everything that is drawn: people for the intervals, folds, sampled faces."""
    report: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for report.html, one page with numbers and pictures, and the pictures as files. By default `evaluation` in
    the run folder, else evaluation-MODEL beside the file or here; an older report there is replaced."""
    no_report: bool = False
    """Numbers alone."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write one JSON object to this file too; with - to standard output, instead of the text and of the report."""
    overwrite: bool = False
    """Replace the report and the JSON file if they exist."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent evaluate", config=(tyro.conf.FlagCreatePairsOff,))
    is_quiet = given.no_report or (given.json == "-" and given.report is None)
    place = report_place(given.report, is_quiet, given.model, _suffix(given), given.overwrite)
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite)
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.evaluation.protocol import evaluate
    from meshdisent.evaluation.transfer_pairs import TransferPairs
    from meshdisent.morphable.contract import refuse_other_topology
    from meshdisent.morphable.model_file import load_morphable

    model, scans = load_morphable(given.model), ScanDataset.open(given.data)
    refuse_other_topology(model, scans.topology, str(given.data))
    pairs = None if given.transfer is None else TransferPairs.read(given.transfer, scans)
    evaluation = evaluate(
        model, scans, given.split, pairs, ridge_kinds=given.ridge, progress=_say,
        placing=given.align, with_evidence=given.evidence, seed=given.seed,
    )  # fmt: skip
    if scans.sets:
        from meshdisent.evaluation.per_set import figures_per_set

        _say("each set alone")
        evaluation.figures["sets"] = figures_per_set(model, scans, given.split, pairs, given.align, given.seed)
    if given.json != "-":
        from meshdisent.show.evaluation_report import evaluation_text
        from meshdisent.show.set_table import set_lines

        print("\n".join([evaluation_text(evaluation), *set_lines(evaluation.figures.get("sets", {}))]), flush=True)
    write_json(evaluation.figures, given.json, given.overwrite)
    if place is not None:
        _say("report")
        write_report(place, given, evaluation, model, scans, "meshdisent evaluate " + shlex.join(arguments))
        if given.json != "-":
            print(f"\n{place / 'report.html'}: open it in a browser")
    return 0


def _suffix(given: Arguments) -> str:
    return "" if given.split == "test" else f"-{given.split}"


def write_report(
    place: Path,
    given: Arguments,
    evaluation: "Evaluation",
    model: "MorphableModel",
    scans: "ScanDataset",
    command: str,
) -> None:
    """Write the page, its pictures and its figures into a folder that appears whole."""
    from meshdisent.show.evaluation_report import add_evaluation

    with writing_folder(place, given.overwrite or is_report(place)) as folder:
        report = _report(given, evaluation, model, scans, command)
        add_evaluation(report, evaluation, model, scans, folder)
        write_json(evaluation.figures, str(folder / "figures.json"), overwrite=False)
        report.write(folder / "report.html")


def _report(
    given: Arguments, evaluation: "Evaluation", model: "MorphableModel", scans: "ScanDataset", command: str
) -> "Report":
    from meshdisent import __version__
    from meshdisent.show.html import Report

    figures = evaluation.figures
    splits = {"train": "training", "val": "validation"}
    return Report(
        title=f"{given.model} on {given.data.name}",
        summary=[
            f"A {model.name} model with {model.identity_size} + {model.expression_size} code entries, measured on the "
            f"{splits.get(given.split, given.split)} scans: {figures['scans']:,} of {figures['subjects']:,} subjects."
        ],
        tiles=_tiles(evaluation),
        reproduction={
            "command": command,
            "model": given.model,
            "trained on data": model.card.data_hash or "unknown",
            "data": scans.data_hash,
            "topology": scans.topology.topology_hash,
            "meshdisent": __version__,
        },
    )


def _tiles(evaluation: "Evaluation") -> list["Tile"]:
    """The figures that a reader wants first, those that are defined."""
    from meshdisent.evaluation.protocol import mean_of
    from meshdisent.show.html import Tile

    tiles = []
    for title, path in (
        ("Reconstruction", ("E_avd",)),
        ("Neutral", ("E_neu",)),
        ("Neutral, detail kept", ("E_neu_kept",)),
        ("Transfer, detail kept", ("E_tra", "kept")),
    ):
        value, moving = (mean_of(evaluation.figures, path, part) for part in ("mean", "moving"))
        if value is not None:
            note = "" if moving is None else f"{moving:.2f} mm where expressions move"
            tiles.append(Tile(title, f"{value:.2f}", "mm", note))
    return tiles


def _say(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)
