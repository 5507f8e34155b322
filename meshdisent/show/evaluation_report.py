"""An evaluation as sections of a report: the numbers first, then where the errors lie and what the model makes.

``add_evaluation(report, evaluation, model, scans)`` adds all of them; each section is also a function of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.protocol import Evaluation, mean_of
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show import evaluation_pictures as pictures
from meshdisent.show.animation import write_gif
from meshdisent.show.html import Report, Section
from meshdisent.show.pictures import write_png
from meshdisent.show.tables import Column, Row, Table

#: Columns of the tables: heading, where the summary stands among the figures, whether less is better.
COLUMNS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("E_avd", ("E_avd",), "lower"),
    ("E_id", ("E_id", "b"), "lower"),
    ("E_exp", ("E_exp", "b"), ""),
    ("E_neu", ("E_neu",), "lower"),
    ("E_neu kept", ("E_neu_kept",), "lower"),
    ("E_tra", ("E_tra", "plain"), "lower"),
    ("E_tra kept", ("E_tra", "kept"), "lower"),
)
CAPTIONS = {
    "mean": "Means over all vertices, mm",
    "moving": "Means over the 30 % of vertices that expressions move most, mm",
}
MEANINGS = (
    "E_avd: distance of a scan to its reconstruction. E_id: spread of a subject's neutralized scans about their mean "
    "(root mean square). E_exp: spread of an expression decoded on no one in particular. E_neu: distance of a "
    "neutralized scan to the subject's true neutral. E_tra: distance of a transferred expression to the true face. "
    "Kept: what the codes cannot say of the shown scan is added back."
)
LESS_IS_NOT_BETTER = (
    "Less E_exp is not better below the spread of the true displacements: real people do the same expression "
    "differently, and a model that says less of it has lost something."
)
LEAKS = (
    ("subject_from_expression", "the nearest scan by expression code is of the same subject"),
    ("expression_from_identity", "the nearest scan by identity code shows the same expression"),
)


def evaluation_table(evaluation: Evaluation, part: str = "mean") -> Table:
    """The model, the baselines and the truth beside each other.

    Parameters
    ----------
    part : ``mean``, over all vertices, or ``moving``, over those that expressions move.

    Returns
    -------
    A table without the columns that are defined for nobody.
    """
    figures = evaluation.figures
    named = {evaluation.name: figures, **figures["baselines"]}
    used = [c for c in COLUMNS if any(mean_of(own, c[1], part) is not None for own in named.values())]
    rows = [
        Row(name, [_value(name, own, column[1], part) for column in used], "baseline" if k else "model")
        for k, (name, own) in enumerate(named.items())
    ]
    truth = [_true_value(figures, path, part) for _, path, _ in used]
    if any(value is not None for value in truth):
        rows.append(Row("the truth", truth, "reference"))
    return Table([Column(name, "mm", better) for name, _, better in used], rows, caption=CAPTIONS[part])


def _value(name: str, figures: dict[str, Any], path: tuple[str, ...], part: str) -> float | str | None:
    value = mean_of(figures, path, part)
    # One answer for everything has no spread; as a text it is shown and does not compete.
    return f"{value:.3f}" if value is not None and name == "mean face" and path[0] == "E_id" else value


def _true_value(figures: dict[str, Any], path: tuple[str, ...], part: str) -> float | None:
    return mean_of(figures, ("E_exp", "truth", "b"), part) if path[0] == "E_exp" else None


def leak_lines(evaluation: Evaluation) -> list[str]:
    """How often the wrong code tells what it should not know, beside chance; nothing if there are no two codes."""
    leak = evaluation.figures["leak"] or {}
    return [
        f"{100 * leak[key]['rate']:.1f} % of the time {what} (by chance {100 * leak[key]['chance']:.1f} %)"
        for key, what in LEAKS
        if leak.get(key) and leak[key]["rate"] is not None
    ]


def expression_lines(evaluation: Evaluation) -> list[str]:
    """E_exp beside the true spread, and what it means; nothing where one of them is unknown."""
    own = mean_of(evaluation.figures, ("E_exp", "b"))
    truth = mean_of(evaluation.figures, ("E_exp", "truth", "b"))
    if own is None or truth is None:
        return []
    side = "below" if own < truth else "above"
    return [f"E_exp is {own:.3f} mm, {side} the {truth:.3f} mm of the true displacements. {LESS_IS_NOT_BETTER}"]


def add_evaluation(
    report: Report,
    evaluation: Evaluation,
    model: MorphableModel,
    scans: ScanDataset,
    folder: Path | None = None,
) -> None:
    """Add every section that the model and the scans allow.

    Parameters
    ----------
    report : Grows by up to six sections; its warnings get the verdicts.
    evaluation : Of ``model`` on ``scans``.
    folder : Where each picture is written as a file too, if given.
    """
    add_numbers(report, evaluation)
    for section in (add_error_maps, add_neutrals, add_transfer, add_interpolation, add_samples):
        section(report, evaluation, model, scans, folder)


def add_numbers(report: Report, evaluation: Evaluation) -> None:
    """Add the tables, what the model loses to, the leak and what was left out."""
    figures = evaluation.figures
    section = report.section(
        "The numbers",
        f"Measured on {figures['scans']:,} scans of {figures['subjects']:,} subjects, beside what anybody "
        "can do without a network.",
    )
    for verdict in evaluation.verdicts:
        report.warning(f"{evaluation.name} {verdict}.")
    section.table(evaluation_table(evaluation))
    if mean_of(figures, ("E_avd",), "moving") is not None:
        section.table(evaluation_table(evaluation, "moving"))
    section.text(MEANINGS)
    for line in expression_lines(evaluation):
        section.text(line)
    leaks = leak_lines(evaluation)
    if leaks:
        section.text(f"Leak between the codes: {'; '.join(leaks)}. Nearer to chance is better.")
    for note in evaluation.notes:
        section.text(f"Note: {note}.")


def add_error_maps(
    report: Report, evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add the mean error of each vertex on the template, and the best, the middle and the worst reconstruction."""
    maps = pictures.error_maps(evaluation, scans)
    if maps is None:
        return
    section = report.section("Where the errors lie")
    _picture(
        section,
        "error-maps",
        maps,
        "The template colored by the mean error of each vertex, in mm.",
        "Mean error of each vertex over the measured scans.",
        folder,
    )
    if evaluation.avd is not None:
        _picture(
            section,
            "reconstructions",
            pictures.reconstructions(evaluation, model, scans),
            "The best, the middle and the worst reconstruction beside the scan, with error maps in mm.",
            "Scans, what the codes keep of them, and the distance between both.",
            folder,
        )


def add_neutrals(
    report: Report, evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add scans with the expression taken off, beside the true neutral."""
    drawn = pictures.neutrals(evaluation, model, scans)
    if drawn is not None:
        section = report.section("The expression taken off")
        _picture(
            section,
            "neutrals",
            drawn,
            "Scans, their neutral as the model sees it, the true neutral, error maps in mm.",
            "From the best to the worst of the measured scans in equal steps; people whom the model has not seen.",
            folder,
        )


def add_transfer(
    report: Report, evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add people with the expressions of others."""
    drawn = pictures.transfers(evaluation, model, scans)
    if drawn is not None:
        section = report.section("The expressions of others")
        _picture(
            section,
            "transfer",
            drawn,
            "A matrix of people (rows) with expressions of others (columns).",
            "Left: the scans that give the person. Top: the scans that give the expression, each of somebody else.",
            folder,
        )


def add_interpolation(
    report: Report, evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add an animated walk between two people with two expressions."""
    frames = pictures.interpolation(evaluation, model, scans)
    if frames:
        section = report.section("From one face to another")
        section.gif(
            frames,
            "A face that turns into another.",
            "Equal steps of both codes, of the identity code only, of the expression code only.",
        )
        if folder is not None:
            write_gif(folder / "interpolation.gif", frames, ping_pong=True)


def add_samples(
    report: Report, evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add people who do not exist."""
    section = report.section("New people")
    _picture(
        section,
        "samples",
        pictures.samples(model),
        "Faces drawn at random from the model.",
        "Drawn from where the codes of the training scans lie; seed 0.",
        folder,
    )


def _picture(section: Section, name: str, picture: np.ndarray, alt: str, caption: str, folder: Path | None) -> None:
    section.picture(picture, alt, caption)
    if folder is not None:
        write_png(folder / f"{name}.png", picture)


def text_table(table: Table) -> Sequence[str]:
    """A table as aligned lines of text; ``*`` marks numbers that are better than the model's."""
    head = [table.corner, *(column.name for column in table.columns)]
    lines = [
        [line.name, *(f"{'*' if 'beats' in cell.classes else ''}{cell.text}" for cell in line.cells)]
        for line in table.lines
    ]
    widths = [max(len(row[k]) for row in [head, *lines]) for k in range(len(head))]
    return [
        "  ".join(
            text.rjust(width) if k else text.ljust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [head, *lines]
    ]
