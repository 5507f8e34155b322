"""All rows of the accuracy comparison on ICT-300: made, measured on 90 unseen people, recorded, laid out as tables.

    python ../shared/protocol/ict_faces.py RAW                 # the scans, and RAW-transfer
    python benchmarks/compare.py RAW OUT --list                # what there is, what is to come, how long it takes
    python benchmarks/compare.py RAW OUT                       # hours; stop it at any time, the same line goes on
    python benchmarks/compare.py RAW OUT --only "paper ablation" wsdf-published
    python benchmarks/compare.py RAW OUT --only methods --report
    python benchmarks/synthetic_people.py HEADS                # a second set of people, and HEADS-transfer
    python benchmarks/compare.py HEADS OUT2 --only methods --people synthetic --each 6

The rows are lines of rows.yaml. Each is trained in OUT/NAME, measured, and recorded in benchmarks/records/NAME.json;
after each, docs/accuracy-table.md is written anew. With --people NAME, records and table have NAME in their place, too.
A row whose record was made from the recipe as it is today is done. One whose recipe has changed since is outdated: the
table says so until it has been made again.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jobs
from figures_table import FIGURES, cells, number, table
from rows import GROUPS, Row, chosen_rows, read_rows

from meshdisent.errors import MeshdisentError
from meshdisent.files import writing
from meshdisent.training.recipe import Recipe, read_recipe
from meshdisent.training.run_folder import RunFolder
from meshdisent.zoo_index import find_zoo_weights


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Where everything lies, and how the rows are made.

    Attributes
    ----------
    raw, out : The scans; the folder of runs.
    records, table : Folder of the records and the file of the tables.
    smoke_minutes : Train this long instead, to see whether everything works; records say so.
    each_minutes : Train every row this long, instead of what it says.
    people, made_by : Whose scans these are, and by which command, for the text below the tables.
    is_partial : Groups without any record are not asked for.
    """

    raw: Path
    out: Path
    records: Path = jobs.RECORDS
    table: Path = jobs.TABLE
    smoke_minutes: float | None = None
    each_minutes: float | None = None
    people: str = "ICT-300"
    made_by: str = "make compare"
    is_partial: bool = False

    def run(self, row: Row) -> Path:
        """The folder in which a row is trained."""
        return self.out / row.slug

    def figures(self, row: Row) -> Path:
        """What the evaluation wrote, baselines included."""
        return self.out / f"{row.slug}.figures.json"

    def record_file(self, row: Row) -> Path:
        """The record of a row."""
        return self.records / f"{row.slug}.json"

    def record(self, row: Row) -> dict[str, Any] | None:
        """What is recorded of a row; None before it has been made."""
        file = self.record_file(row)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def settings(self, row: Row) -> tuple[str, ...]:
        """Everything in which a row differs from its recipe."""
        minutes = self.each_minutes if self.smoke_minutes is None else self.smoke_minutes
        if minutes is None or row.group == "shipped" or read_recipe(row.recipe).training is None:
            return row.settings
        return (*row.settings, f"training.minutes={minutes}")

    def recipe(self, row: Row) -> Recipe:
        """The resolved recipe of a row that is trained."""
        return read_recipe(row.recipe, self.settings(row))


def shipped_weights(row: Row) -> Path | None:
    """The weights that a row of the group ``shipped`` measures, if they come along."""
    return find_zoo_weights(row.recipe)


def outdated(comparison: Comparison, row: Row, record: dict[str, Any]) -> list[str]:
    """What has changed since a record was made: keys of the recipe, or the weights; nothing if it still holds."""
    if row.group != "shipped":
        return jobs.changed_keys(record["recipe"], comparison.recipe(row))
    weights = shipped_weights(row)
    return [] if weights is not None and _sha256(weights) == record.get("weights_sha256") else ["weights"]


class State(NamedTuple):
    """Where a row stands, in words; whether there is something to do, and the minutes of training in it."""

    text: str
    is_open: bool
    minutes: float = 0.0

    def __str__(self) -> str:
        return self.text + (f", {self.minutes:.1f} minutes to go" if self.minutes else "")


def state(comparison: Comparison, row: Row) -> State:
    """Where a row stands."""
    record = comparison.record(row)
    changes = outdated(comparison, row, record) if record is not None else []
    if record is not None and not changes:
        return State(f"done {record['utc'][:10]}", False)
    before = f"outdated ({', '.join(changes)}), " if record is not None else ""
    if row.group == "shipped":
        has_weights = shipped_weights(row) is not None
        return State(before + ("to be measured" if has_weights else "there are no weights"), has_weights)
    recipe, run = comparison.recipe(row), comparison.run(row)
    if jobs.is_trained(recipe, run):
        return State(before + "trained, to be measured", True)
    minutes = (recipe.training.minutes or 0.0) if recipe.training else 0.0
    passed = jobs.minutes_done(run) if jobs.is_begun(recipe, run) else 0.0
    if passed:
        return State(f"{before}{passed:.1f} of {minutes:g} minutes trained", True, max(minutes - passed, 0.0))
    return State(before + "to be made", True, minutes)


def list_rows(comparison: Comparison, rows: Sequence[Row]) -> str:
    """One line a row: where it stands and what it takes; at the end the time still to go."""
    states = {row: state(comparison, row) for row in rows}
    width = max(len(row.slug) for row in rows)
    lines = [f"{row.slug:{width}}  {row.group:14}  {found}" for row, found in states.items()]
    minutes, count = sum(found.minutes for found in states.values()), sum(found.is_open for found in states.values())
    training = f"{minutes:.1f} minutes of training" if minutes else "no training by the clock"
    return "\n".join([*lines, "", f"{count} of {len(rows)} rows to make: {training}, and the time to measure them"])


def make_rows(comparison: Comparison, rows: Sequence[Row], all_rows: Sequence[Row]) -> None:
    """Make every row that is not done; goes on where it was stopped."""
    pairs, code = jobs.transfer_pairs(comparison.raw), jobs.code_state()
    for place, row in enumerate(rows, 1):
        found = state(comparison, row)
        print(f"[{place}/{len(rows)}] {row.name}: {found}", file=sys.stderr, flush=True)
        if found.is_open:
            data = jobs.prepared(comparison.raw, comparison.out)
            jobs.write_json(comparison.record_file(row), make_row(comparison, row, data, pairs, code))
            write_table(comparison, all_rows)
    write_table(comparison, all_rows)


def make_row(comparison: Comparison, row: Row, data: Path, pairs: Path, code: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one row; returns its record, in which no name of a machine or of a folder stands."""
    from meshdisent.morphable.model_file import load

    about: dict[str, Any] = {"name": row.name, "group": row.group, "recipe_name": row.recipe}
    if row.group == "shipped":
        model = shipped_weights(row)
        assert model is not None
        about["weights_sha256"] = _sha256(model)
        comparison.figures(row).unlink(missing_ok=True)
    else:
        jobs.train(row.recipe, comparison.settings(row), comparison.run(row), data, code)
        model = RunFolder(comparison.run(row)).model
        about["set"] = list(comparison.settings(row))
    card = load(model).card
    recipe = comparison.recipe(row).plain() if row.group != "shipped" else card.recipe
    figures = jobs.evaluated(model, comparison.figures(row), data, pairs)
    return {
        **about,
        **({"is_smoke_test": True} if comparison.smoke_minutes is not None else {}),
        "seed": recipe.get("seed"),
        "steps": card.notes.get("steps"),
        "training_minutes": round(card.notes.get("seconds", 0.0) / 60, 2),
        "stopped_because": card.notes.get("stopped_because"),
        **jobs.provenance(code),
        "training_sessions": jobs.sessions(comparison.run(row)),
        "data_hash": card.data_hash,
        "figures": {name: found for name, found in figures.items() if name != "baselines"},
        "recipe": recipe,
    }


def report(comparison: Comparison, rows: Sequence[Row]) -> None:
    """One page in OUT/report about the models of some rows, side by side on the test people."""
    data, pairs = jobs.prepared(comparison.raw, comparison.out), jobs.transfer_pairs(comparison.raw)
    models = [comparison.run(row) for row in rows if row.group != "shipped"]
    given = ("--data", data, "--transfer", pairs, "--out", comparison.out / "report", "--overwrite")
    jobs.command("compare", *models, *given)


def forget(comparison: Comparison, row: Row) -> None:
    """Throw away what has been made of a row, so that it is made again."""
    shutil.rmtree(comparison.run(row), ignore_errors=True)
    for file in (comparison.record_file(row), comparison.figures(row)):
        file.unlink(missing_ok=True)


def write_table(comparison: Comparison, rows: Sequence[Row]) -> None:
    """Write the tables of all records, a table for each group; they are included in the documentation."""
    made = {row: record for row in rows if (record := comparison.record(row)) is not None}
    lines = ["<!-- Made by benchmarks/compare.py from benchmarks/records; do not edit. -->", ""]
    for group, title in GROUPS.items():
        shown = [_line(comparison, row, record) for row, record in made.items() if row.group == group]
        if shown:
            lines += [f"**{title}**", "", *table(["method", *FIGURES, "steps", "minutes"], shown), ""]
    begun = {row.group for row in made} if comparison.is_partial else set(GROUPS)
    missing = [row.name for row in rows if row not in made and row.group in begun]
    lines += _footnotes(comparison, list(made.values()), missing)
    with writing(comparison.table, overwrite=True) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(comparison: Comparison, row: Row, record: dict[str, Any]) -> list[str]:
    """Cells of one row of a table."""
    changes = outdated(comparison, row, record)
    marks = [f"outdated: {', '.join(changes)} changed since"] if changes else []
    marks += ["smoke test"] if record.get("is_smoke_test") else []
    name = row.name + (f" ({'; '.join(marks)})" if marks else "")
    steps, minutes = record["steps"], record["training_minutes"]
    return [name, *cells(record["figures"]), *([f"{steps:,}", f"{minutes:.1f}"] if steps else ["-", "-"])]


def _footnotes(comparison: Comparison, records: list[dict[str, Any]], missing: list[str]) -> list[str]:
    """How to read the tables, and how they came to be."""
    lines = []
    if records:
        figures = records[0]["figures"]
        lines += [
            f"Unseen people of {comparison.people}, mm; E_id and E_exp in variant b; "
            f"E_exp of the truth: {number(figures, 'E_exp', 'truth', 'b')} mm. *kept*: with the detail of the scan. "
            "Transfers over all vertices / those that expressions move most. *leak*: how often the nearest scan by "
            "expression code is of the same subject, and by identity code shows the same expression; "
            f"by chance {_chance(figures)} %.",
            "",
            f"Made by `{comparison.made_by}` on {_span(sorted({r['utc'][:10] for r in records}))}, "
            f"{', '.join(sorted({r['machine'] for r in records}))}, "
            f"torch {', '.join(sorted({r['torch'] for r in records}))}, commits {', '.join(_commits(records))}.",
        ]
    if missing:
        lines += ["", f"Not measured yet: {'; '.join(missing)}."]
    return lines


def _chance(figures: dict[str, Any]) -> str:
    return " / ".join(f"{100 * value['chance']:.1f}" for value in (figures["leak"] or {}).values()) or "-"


def _span(days: list[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _commits(records: list[dict[str, Any]]) -> list[str]:
    """Short names of the commits; those of a changed tree say so."""
    named = {(record["commit"] or "unknown")[:7] + ("+changes" if record["is_dirty"] else "") for record in records}
    return sorted(named)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _of_other_people(comparison: Comparison, people: str) -> Comparison:
    """The same with records and tables of their own, for scans that are not ICT-300's."""
    table = comparison.table.with_name(f"{comparison.table.stem}-{people}{comparison.table.suffix}")
    made_by = f"benchmarks/compare.py --people {people}"
    records = comparison.records / people
    named = replace(comparison, people=f"the set {people}", made_by=made_by, is_partial=True)
    return replace(named, records=records, table=table)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "raw", type=Path, metavar="RAW", help="the scans that ict_faces.py wrote; RAW-transfer beside it"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the prepared scans and the runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="GROUP|NAME", help="groups or rows, instead of all")
    parser.add_argument(
        "--again", nargs="+", default=[], metavar="NAME", help="throw these rows away and make them again"
    )
    parser.add_argument("--list", action="store_true", help="say where each row stands, and do nothing")
    parser.add_argument(
        "--table", action="store_true", help="write the tables anew from the records, and do nothing else"
    )
    parser.add_argument("--report", action="store_true", help="then make one page of these rows, OUT/report")
    parser.add_argument("--people", metavar="NAME", help="whose scans these are, if not ICT-300's: tables of their own")
    parser.add_argument("--each", type=float, metavar="M", help="train every row M minutes, instead of what it says")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="a smoke test: train so long, keep everything in OUT/smoke"
    )
    return parser.parse_args(arguments)


def compare(arguments: Sequence[str], rows: Sequence[Row] | None = None, **places: Path) -> int:
    """Run the command; returns its exit code. ``places`` are fields of :class:`Comparison` for tests."""
    given = parse(arguments)
    try:
        rows = read_rows() if rows is None else rows
        if given.minutes is not None:
            smoke = given.out / "smoke"
            places = {"records": smoke / "records", "table": smoke / "accuracy-table.md"}
            comparison = Comparison(raw=given.raw, out=smoke, smoke_minutes=given.minutes, **places)
        else:
            comparison = Comparison(raw=given.raw, out=given.out, each_minutes=given.each, **places)
        if given.people is not None:
            comparison = _of_other_people(comparison, given.people)
        chosen = chosen_rows(rows, [*given.only, *given.again] if given.only else [])
        again = chosen_rows(rows, given.again) if given.again else []
        if given.list:
            print(list_rows(comparison, chosen))
        elif given.table:
            write_table(comparison, rows)
        else:
            jobs.transfer_pairs(given.raw)  # before anything is thrown away
            for row in again:
                forget(comparison, row)
            make_rows(comparison, chosen, rows)
            if given.report:
                report(comparison, chosen)
            print(comparison.table.read_text(encoding="utf-8"))
    except MeshdisentError as error:
        print(f"compare.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(compare(sys.argv[1:]))
