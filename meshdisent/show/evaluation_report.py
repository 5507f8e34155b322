"""An evaluation as sections of a report: the numbers first, then where the errors lie and what the model makes.

``add_evaluation(report, evaluation, model, scans)`` adds all of them; each section is also a function of its own.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.protocol import Evaluation, mean_of
from meshdisent.evaluation.references import NAMES as REFERENCES
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show import evaluation_pictures as pictures
from meshdisent.show.animation import write_gif
from meshdisent.show.evidence_tables import MEANINGS as EVIDENCE_MEANINGS
from meshdisent.show.evidence_tables import evidence_tables
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
#: Rows of the table of spreads.
FIGURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("E_avd", ("E_avd",)),
    ("E_id, variant a (as published)", ("E_id", "a")),
    ("E_id, variant b", ("E_id", "b")),
    ("E_exp, variant a (as published)", ("E_exp", "a")),
    ("E_exp, variant b", ("E_exp", "b")),
    ("the truth's E_exp, variant a", ("E_exp", "truth", "a")),
    ("the truth's E_exp, variant b", ("E_exp", "truth", "b")),
    ("E_neu", ("E_neu",)),
    ("E_neu, detail kept", ("E_neu_kept",)),
    ("E_tra", ("E_tra", "plain")),
    ("E_tra, detail kept", ("E_tra", "kept")),
)
CAPTIONS = {
    "mean": "Means over all vertices, mm",
    "moving": "Means over the 30 % of vertices that expressions move most, mm",
}
MEANINGS = (
    "E_avd: distance of a scan to its reconstruction. E_id: spread of a subject's neutralized scans about their mean "
    "(root mean square); that of the mean face is 0 because it is the same for everybody, and does not count. E_exp: "
    "spread of an expression decoded on no one in particular. E_neu: distance of a neutralized scan to the subject's "
    "true neutral. E_tra: distance of a transferred expression to the true face. Kept: what the codes cannot say of "
    "the shown scan is added back."
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
        Row(name, [_value(name, own, column[1], part) for column in used], _role(name, evaluation))
        for name, own in named.items()
    ]
    truth = [_true_value(figures, path, part) for _, path, _ in used]
    if any(value is not None for value in truth):
        rows.append(Row("the truth", truth, "reference"))
    return Table([Column(name, "mm", better) for name, _, better in used], rows, caption=CAPTIONS[part])


def _role(name: str, evaluation: Evaluation) -> str:
    if name == evaluation.name:
        return "model"
    return "reference" if name in REFERENCES else "baseline"


def _value(name: str, figures: dict[str, Any], path: tuple[str, ...], part: str) -> float | str | None:
    value = mean_of(figures, path, part)
    # One answer for everything has no spread; as a text it is shown and does not compete.
    return f"{value:.3f}" if value is not None and name == "mean face" and path[0] == "E_id" else value


def _true_value(figures: dict[str, Any], path: tuple[str, ...], part: str) -> float | None:
    return mean_of(figures, ("E_exp", "truth", "b"), part) if path[0] == "E_exp" else None


def spread_table(evaluation: Evaluation) -> Table:
    """Mean with its interval, deviation, median of every figure of the model, and its mean where expressions move."""
    found = {name: _at(evaluation.figures, path) for name, path in FIGURES}
    rows = [
        Row(name, [summary[part] for part in ("mean", "low", "high", "std", "median", "moving")])
        for name, summary in found.items()
        if summary is not None
    ]
    heads = ("mean", "from", "to", "standard deviation", "median", "mean, moving vertices")
    caption = (
        f"{evaluation.name}, over scans (E_avd, E_neu, E_tra), subjects (E_id) or expressions (E_exp); from, to: 95 % "
        "interval of the mean if other people had been measured (bootstrap over subjects)"
    )
    return Table([Column(head, "mm", "") for head in heads], rows, caption=caption)


def _at(figures: dict[str, Any], path: tuple[str, ...]) -> dict[str, float | None] | None:
    found: Any = figures
    for step in path:
        found = found.get(step) if found else None
    return found


def leak_lines(evaluation: Evaluation) -> list[str]:
    """How often the wrong code tells what it should not know, beside chance; nothing if there are no two codes."""
    leak = evaluation.figures["leak"] or {}
    found = {key: pair for key, pair in leak.items() if pair and pair["rate"] is not None}
    return [
        f"{what} {100 * found[key]['rate']:.1f} % of the time (by chance {100 * found[key]['chance']:.1f} %)"
        + ("" if found[key]["rate"] > found[key]["chance"] else ": the nearest neighbor tells nothing")
        for key, what in LEAKS
        if key in found
    ]


def expression_lines(evaluation: Evaluation) -> list[str]:
    """E_exp beside the true spread, and what it means; nothing where one of them is unknown."""
    own = mean_of(evaluation.figures, ("E_exp", "b"))
    truth = mean_of(evaluation.figures, ("E_exp", "truth", "b"))
    if own is None or truth is None:
        return []
    side = "below" if own < truth else "above"
    return [f"E_exp is {own:.3f} mm, {side} the {truth:.3f} mm of the true displacements. {LESS_IS_NOT_BETTER}"]


def evaluation_text(evaluation: Evaluation) -> str:
    """Everything that the command line prints: tables, what the model loses to, leak, what was left out."""
    figures = evaluation.figures
    lines = [f"{evaluation.name} on {figures['scans']:,} scans of {figures['subjects']:,} subjects"]
    tables = [evaluation_table(evaluation)]
    if mean_of(figures, ("E_avd",), "moving") is not None:
        tables.append(evaluation_table(evaluation, "moving"))
    for table in [*tables, spread_table(evaluation)]:
        lines += ["", *_caption(table), *text_table(table)]
    lines += ["* better than the model"] if any(table.losses() for table in tables) else []
    lines += ["", *(f"WARNING: {evaluation.name} {verdict}" for verdict in evaluation.verdicts)]
    if not evaluation.verdicts:
        where = " over all vertices" if any(table.losses() for table in tables) else ""
        lines.append(f"no baseline is better than the model{where}")
    for table in evidence_tables({evaluation.name: figures}) if figures["evidence"] else []:
        lines += ["", *_caption(table), *text_table(table, {"beats": "!"})]
    said = [*expression_lines(evaluation), *(f"leak: {line}" for line in leak_lines(evaluation))]
    said += [f"note: {note}" for note in evaluation.notes]
    return "\n".join(lines + [line for text in said for line in wrap(text, 110, subsequent_indent="  ")])


#: What stands before a number of a text table, by the class of its cell.
BETTER_THAN_THE_MODEL = {"beats": "*"}


def text_table(table: Table, marks: Mapping[str, str] = BETTER_THAN_THE_MODEL) -> list[str]:
    """A table as aligned lines of text; a mark stands before a number, its interval in brackets behind it."""
    rows = [["", *(column.name for column in table.columns)]]
    for line in table.lines:
        cells = []
        for cell in line.cells:
            mark = "".join(mark for name, mark in marks.items() if name in cell.classes.split())
            cells.append(f"{mark}{cell.text}{f' [{cell.note}]' if cell.note else ''}")
        rows.append([line.name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _caption(table: Table) -> list[str]:
    return wrap(f"{table.caption.rstrip('.')}:", 110)


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
    section.table(spread_table(evaluation))
    section.text(MEANINGS)
    for line in expression_lines(evaluation):
        section.text(line)
    for line in leak_lines(evaluation):
        section.text(f"Leak: {line}.")
    for note in evaluation.notes:
        section.text(f"Note: {note}.")
    if figures["evidence"]:
        section = report.section("Evidence", EVIDENCE_MEANINGS)
        for table in evidence_tables({evaluation.name: figures}):
            section.table(table)


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
            "From the best to the worst of the measured scans, in equal steps.",
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
