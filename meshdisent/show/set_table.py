"""The figures of a model on each of several combined sets, as a table."""

from collections.abc import Mapping
from typing import Any

from meshdisent.evaluation.protocol import mean_of
from meshdisent.show.evaluation_report import COLUMNS, text_table
from meshdisent.show.tables import Column, Row, Table


def set_table(sets: Mapping[str, Mapping[str, Any] | None], part: str = "mean") -> Table:
    """One row a set, without the columns that are defined for none.

    Parameters
    ----------
    sets : See :func:`meshdisent.evaluation.per_set.figures_per_set`.
    part : ``mean``, over all vertices, or ``moving``, over those that expressions move.
    """
    figures = {name: dict(found or {}) for name, found in sets.items()}
    used = [column for column in COLUMNS if any(mean_of(own, column[1], part) is not None for own in figures.values())]
    rows = [Row(name, [mean_of(own, path, part) for _, path, _ in used]) for name, own in figures.items()]
    caption = "the model on the scans of each set alone"
    return Table([Column(name, "mm", "") for name, _, _ in used], rows, caption=caption)


def set_lines(sets: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """The table as lines of text, and what each set was measured on; nothing without sets."""
    if not sets:
        return []
    table = set_table(sets)
    counts = [
        f"{name}: {found['scans']:,} scans of {found['subjects']:,} subjects" if found else f"{name}: no scan"
        for name, found in sets.items()
    ]
    return ["", table.caption, *text_table(table), "; ".join(counts)]
