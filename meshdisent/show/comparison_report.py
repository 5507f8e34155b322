"""A comparison as text, as Markdown, and as sections of a report: numbers with intervals first, then pictures.

A number is bold only where its row is better than every other on the same people, with 95 %: a difference that other
people might turn around is no difference.
"""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.comparison import Comparison
from meshdisent.evaluation.protocol import mean_of
from meshdisent.evaluation.references import NAMES as REFERENCES
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show import code_pictures, comparison_pictures, evaluation_pictures
from meshdisent.show.evaluation_report import CAPTIONS, COLUMNS, LESS_IS_NOT_BETTER, MEANINGS, text_table
from meshdisent.show.evidence_tables import MEANINGS as EVIDENCE_MEANINGS
from meshdisent.show.evidence_tables import evidence_tables
from meshdisent.show.html import Report, Section
from meshdisent.show.pictures import write_png
from meshdisent.show.tables import Column, Estimate, Row, Table

Models = Mapping[str, MorphableModel]
BEST = (
    "Bold: better than every other model and baseline on the same people, with 95 %; rows in italics do not compete. "
    "Below each number, its 95 % interval over people."
)
TEXT_MARKS = {"best": "*", "beats": "!"}
LEGEND = "* best of models and baselines on the same people, with 95 %; ! above chance, with 95 %; [ ] 95 % over people"


def comparison_table(comparison: Comparison, part: str = "mean") -> Table:
    """Every model, every baseline and the truth beside each other, without columns that are defined for nobody.

    Parameters
    ----------
    part : ``mean``, over all vertices, with intervals; or ``moving``, over those that expressions move, without.
    """
    named = comparison.figures
    used = [c for c in COLUMNS if any(mean_of(own, c[1], part) is not None for own in named.values())]
    rows = []
    for name, own in named.items():
        role = "model" if name in comparison.evaluations else "reference" if name in REFERENCES else "baseline"
        values = [_estimate(own, path, part, comparison.best.get(path) == name) for _, path, _ in used]
        rows.append(Row(name, [_code(comparison, name), *values], role))
    truth = [_truth(named, path, part) for _, path, _ in used]
    if any(value is not None for value in truth):
        rows.append(Row("the truth", [None, *truth], "reference"))
    columns = [Column("code", "who + what", "", is_number=False), *(Column(head, "mm", "") for head, _, _ in used)]
    marks = BEST if part == "mean" else "Without intervals."
    return Table(columns, rows, CAPTIONS[part], marks=marks)


def _code(comparison: Comparison, name: str) -> str | None:
    return " + ".join(map(str, comparison.sizes[name])) if name in comparison.sizes else None


def _estimate(figures: dict[str, Any], path: tuple[str, ...], part: str, is_best: bool) -> Estimate | None:
    value = mean_of(figures, path, part)
    if value is None:
        return None
    if part != "mean":
        return Estimate(value)
    return Estimate(value, mean_of(figures, path, "low"), mean_of(figures, path, "high"), is_best)


def _truth(named: dict[str, dict[str, Any]], path: tuple[str, ...], part: str) -> Estimate | None:
    """The spread of true displacements, which every row that has an E_exp carries along."""
    if path[0] != "E_exp":
        return None
    found = [_estimate(own, ("E_exp", "truth", "b"), part, False) for own in named.values()]
    return next((one for one in found if one is not None), None)


def estimates_table(comparison: Comparison) -> Table | None:
    """The neutral bank against the truth; None where that is not known."""
    estimates = comparison.estimates
    if estimates is None:
        return None
    rows = [
        Row(kind, [Estimate(own["mean"], own["low"], own["high"]), own["median"], own["moving"]], "model")
        for kind, own in estimates.figures.items()
    ]
    fewest, most = estimates.scans_each
    seen = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    caption = (
        f"Distance to the known neutral of {estimates.people} training people, from {seen} scans each and the subject "
        "label alone. Mean: as the paper's bank; median and mode: ours."
    )
    columns = [Column("mean", "mm", ""), Column("median", "mm", ""), Column("mean, moving vertices", "mm", "")]
    return Table(columns, rows, caption, marks="Below each mean, its 95 % interval over people.")


def all_tables(comparison: Comparison) -> list[Table]:
    """Every table, in the order of reading."""
    tables = [comparison_table(comparison)]
    if any(mean_of(own, ("E_avd",), "moving") is not None for own in comparison.figures.values()):
        tables.append(comparison_table(comparison, "moving"))
    tables += evidence_tables(comparison.figures)
    estimates = estimates_table(comparison)
    return [*tables, estimates] if estimates else tables


def comparison_text(comparison: Comparison) -> str:
    """Everything that the command line prints."""
    lines = [_headline(comparison)]
    for table in all_tables(comparison):
        lines += ["", *wrap(f"{table.caption.rstrip('.')}:", 110), *text_table(table, TEXT_MARKS)]
    lines += ["", LEGEND, "", *comparison.findings]
    return "\n".join(
        lines + [line for note in comparison.notes for line in wrap(f"note: {note}", 110, subsequent_indent="  ")]
    )


def comparison_markdown(comparison: Comparison, title: str) -> str:
    """The tables, the findings and the notes as Markdown."""
    lines = [f"# {_plain(title)}", "", _headline(comparison) + "."]
    for table in all_tables(comparison):
        lines += ["", f"**{_plain(table.caption.rstrip('.'))}**", "", *markdown_table(table)]
        lines += ["", _plain(table.marks)] if table.marks else []
    lines += ["", "## What can be told apart", "", *(f"- {_plain(line)}" for line in comparison.findings)]
    lines += ["", "## Notes", "", *(f"- {_plain(note)}" for note in comparison.notes)] if comparison.notes else []
    return "\n".join(lines) + "\n"


def markdown_table(table: Table) -> list[str]:
    """A table as lines of Markdown: units in the heading, intervals in brackets, the best in bold, flags in italics."""
    heads = [f"{_plain(column.name)}{f', {column.unit}' if column.unit else ''}" for column in table.columns]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for row in table.lines:
        cells = []
        for cell in row.cells:
            kinds = cell.classes.split()
            mark = "**" if "best" in kinds else "*" if "beats" in kinds else ""
            cells.append(f"{mark}{_plain(cell.text)}{mark}{f' ({cell.note})' if cell.note else ''}")
        lines.append(f"| {_plain(row.name)} | {' | '.join(cells)} |")
    return lines


def _plain(text: str) -> str:
    """Text in which no character of a file name is taken for Markdown or HTML."""
    for character in "\\`*_|[]#~":
        text = text.replace(character, f"\\{character}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")


def _headline(comparison: Comparison) -> str:
    first = next(iter(comparison.evaluations.values())).figures
    count = len(comparison.evaluations)
    return (
        f"{count} {'model' if count == 1 else 'models'} on {first['scans']:,} scans of {first['subjects']:,} subjects"
    )


def add_comparison(
    report: Report, comparison: Comparison, models: Models, scans: ScanDataset, folder: Path | None = None
) -> None:
    """Add every section that the models and the scans allow.

    Parameters
    ----------
    models : Those that were compared, by the same names.
    folder : Where each picture is written as a file too, if given.
    """
    _add_numbers(report, comparison)
    _add_errors(report, comparison, models, scans, folder)
    _add_neutrals(report, comparison, models, scans, folder)
    _add_transfers(report, comparison, models, scans, folder)
    _add_codes(report, comparison, models, scans, folder)
    _add_shapes(report, comparison, folder)


def _add_numbers(report: Report, comparison: Comparison) -> None:
    section = report.section("The numbers", f"{_headline(comparison)}, beside what anybody can do without a network.")
    section.table(comparison_table(comparison))
    if any(mean_of(own, ("E_avd",), "moving") is not None for own in comparison.figures.values()):
        section.table(comparison_table(comparison, "moving"))
    section.text(f"{MEANINGS} {LESS_IS_NOT_BETTER}")
    told = report.section("What can be told apart", "Differences on the same people, resampled (bootstrap, 95 %).")
    for line in comparison.findings:
        told.text(f"{line}.")
    for note in comparison.notes:
        told.text(f"Note: {note}.")
    evidence = report.section("What leaks, and what else the codes say", EVIDENCE_MEANINGS)
    for table in evidence_tables(comparison.figures):
        evidence.table(table)


def _add_errors(
    report: Report, comparison: Comparison, models: Models, scans: ScanDataset, folder: Path | None
) -> None:
    section = report.section("Where the errors lie", "One color bar for all models of a picture.")
    _picture(
        section, "extremes", comparison_pictures.extremes(comparison, models, scans),
        "The best, the average and the worst scan of each model, with error maps in mm.",
        "Rows: models. The scans with the least, the middle and the largest reconstruction error of that model.",
        folder,
    )  # fmt: skip
    _picture(
        section, "error-maps", comparison_pictures.mean_error_maps(comparison, scans),
        "The template colored by the mean error of each vertex for each model, in mm.",
        "Mean error of each vertex over the measured scans.", folder,
    )  # fmt: skip


def _add_neutrals(
    report: Report, comparison: Comparison, models: Models, scans: ScanDataset, folder: Path | None
) -> None:
    drawn = comparison_pictures.neutrals(comparison, models, scans)
    table = estimates_table(comparison)
    if drawn is None and table is None:
        return
    section = report.section("The expression taken off, and what is known of the truth")
    if drawn is not None:
        _picture(
            section, "neutrals", drawn, "The same scans with the expression taken off by each model, and the truth.",
            "From the best to the worst scan of the first model, in equal steps, each of somebody else. Each model's "
            "neutral is colored by its distance to the true one.", folder,
        )  # fmt: skip
    if table is not None and comparison.estimates is not None:
        section.text(
            "The neutral bank: what networks without neutral labels are held to, estimated from a person's scans."
        )
        section.table(table)
        _picture(
            section, "neutral-estimates", comparison_pictures.neutral_estimate_maps(comparison.estimates, scans),
            "The template colored by the mean distance of each estimate to the true neutral, in mm.",
            "Mean distance of each vertex to the known neutral.", folder,
        )  # fmt: skip


def _add_transfers(
    report: Report, comparison: Comparison, models: Models, scans: ScanDataset, folder: Path | None
) -> None:
    drawn = {
        name: evaluation_pictures.transfers(evaluation, models[name], scans)
        for name, evaluation in comparison.evaluations.items()
    }
    if all(picture is None for picture in drawn.values()):
        return
    section = report.section(
        "The expressions of others",
        "Left: the scans that give the person. Top: those that give the expression, each of somebody else. The same "
        "for every model.",
    )
    for number, (name, picture) in enumerate(drawn.items(), start=1):
        if picture is not None:
            alt = f"People (rows) with expressions of others (columns), as {name} makes them."
            section.text(f"{name}:")
            _picture(section, f"transfer-{number}", picture, alt, "", folder)


def _add_codes(report: Report, comparison: Comparison, models: Models, scans: ScanDataset, folder: Path | None) -> None:
    drawn = {
        name: code_pictures.expression_scatter(evaluation, models[name], scans, comparison.seed)
        for name, evaluation in comparison.evaluations.items()
    }
    shown = {name: picture for name, picture in drawn.items() if picture is not None}
    if not shown:
        return
    from meshdisent.show.html import embed

    section = report.section(
        "Where expression codes lie",
        "t-SNE of expression codes: colored by expression, marked by subject. Clusters of one color with all marks in "
        "them are what is wanted; clusters of one mark say that the code tells who it is. Distances between clusters "
        "mean nothing.",
    )
    section.pictures(
        [embed(picture, f"Expression codes of {name} on a plane, clustered.") for name, picture in shown.items()]
    )
    first = next(iter(comparison.evaluations.values()))
    legend = code_pictures.scatter_legend(first, scans)
    _picture(section, "tsne-legend", legend, "Colors of expressions and marks of subjects.", "", folder)
    if folder is not None:
        for number, name in enumerate(drawn, start=1):
            if name in shown:
                write_png(folder / f"tsne-{number}.png", shown[name])


def _add_shapes(report: Report, comparison: Comparison, folder: Path | None) -> None:
    named = {name: one.figures["evidence"] for name, one in comparison.evaluations.items()}
    curves = code_pictures.mode_curves(named)
    if curves is not None:
        section = report.section("What the leading modes hold")
        _picture(
            section, "modes", curves, "Two charts against the number of modes: error on held-out scans, and variance.",
            "Modes are principal directions of the faces that each model's own prior gives, largest first.", folder,
        )  # fmt: skip


def _picture(section: Section, name: str, picture: np.ndarray, alt: str, caption: str, folder: Path | None) -> None:
    section.picture(picture, alt, caption)
    if folder is not None:
        write_png(folder / f"{name}.png", picture)
