"""Does training on ICT-300 and the synthetic heads together help either? The question of WSDF's table II.

    python ../shared/protocol/ict_faces.py RAW             # ICT-300, 1,200 vertices
    python benchmarks/combined.py RAW OUT --list           # where each row stands
    python benchmarks/combined.py RAW OUT                  # 4 rows of 20 minutes; stop it at any time, it goes on

How both come to one topology: 25 landmarks of ICT-300's template have known places on the flat chart that the synthetic
heads are made from (ict_landmarks.csv). A spline through them carries that template onto the average head, each vertex
takes its closest point there, and what the heads do not cover (neck, top of the head, ears, the inside of the lips) is
left out of the topology. Then ICT-300 is restricted to the vertices that remain, which changes none of them. So the
heads are exact points of their own surfaces, and which points correspond is known at the landmarks and smooth between.

Every row is trained for the same time with the same recipe and measured on the unseen people of both sets, each set
alone. Records lie in benchmarks/records/combined, the tables in docs/combined-table.md.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jobs
import numpy as np
from figures_table import FIGURES, cells, table
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.synthetic import SyntheticHead, synthetic_dataset
from meshdisent.data.synthetic_chart import SKIN, face_chart
from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.files import writing
from meshdisent.training.recipe import Recipe, read_recipe
from meshdisent.training.run_folder import RunFolder

LANDMARKS = Path(__file__).with_name("ict_landmarks.csv")
RECORDS = jobs.RECORDS / "combined"
TABLE = jobs.ROOT / "docs" / "combined-table.md"
SETS = {"ict": "ICT-300", "heads": "synthetic heads"}
POINTS = [f"{side}_{axis}" for side in ("source", "target") for axis in "xyz"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One training: its name, the file it sees, and what it changes in the recipe."""

    name: str
    data: str
    settings: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return self.name.replace(" ", "-").replace(",", "")


ROWS = (
    Row(name="ict alone", data="ict"),
    Row(name="heads alone", data="heads"),
    Row(name="both", data="all"),
    Row(name="both, balanced", data="all", settings=("training.sampler.balance=1.0",)),
)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Where everything lies and how it is made.

    Attributes
    ----------
    raw, out : ICT-300; the folder of datasets and runs.
    recipe, minutes : What is trained and how long, None: as the recipe says.
    heads, head_vertices : People and vertices of the synthetic heads; fewer people than ICT-300 has, so that a balance
        matters.
    records, table : Folder of the records, and the file of the tables.
    """

    raw: Path
    out: Path
    recipe: str = "wsdf"
    minutes: float | None = None
    heads: int = 100
    head_vertices: int = 2500
    records: Path = RECORDS
    table: Path = TABLE
    is_smoke_test: bool = False

    def data(self, name: str) -> Path:
        """The dataset of that name."""
        return self.out / f"{name}.h5"

    def run(self, row: Row) -> Path:
        """The folder in which a row is trained."""
        return self.out / row.slug

    def settings(self, row: Row) -> tuple[str, ...]:
        """Everything in which a row differs from the recipe."""
        minutes = () if self.minutes is None else (f"training.minutes={self.minutes}",)
        return (*row.settings, *minutes)

    def resolved(self, row: Row) -> Recipe:
        """The recipe of a row with every default written out."""
        return read_recipe(self.recipe, self.settings(row))

    def record(self, row: Row) -> dict[str, Any] | None:
        """What is recorded of a row; None before it has been made."""
        file = self.records / f"{row.slug}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def make_data(experiment: Experiment) -> None:
    """Make the datasets ict, heads and all on one topology; what is there already stays."""
    if experiment.data("all").exists():
        return
    whole, made = jobs.prepared(experiment.raw, experiment.out), experiment.out / "heads-made.h5"
    if not made.exists():
        count = experiment.heads
        synthetic_dataset(count, 0, experiment.head_vertices, val_share=0.1, test_share=0.3).save(made)
    if not experiment.data("heads").exists():
        landmarks = experiment.out / "landmarks.csv"
        write_landmarks(landmarks, ScanDataset.open(whole), experiment.head_vertices)
        how = ("--landmarks", landmarks, "--tolerance", 5.0, "--leave-out")
        saved = ("--save-map", experiment.out / "heads-to-ict.npz", "--overwrite")
        jobs.command("resample", made, "--topology", whole, *how, *saved, "--out", experiment.data("heads"))
    if not experiment.data("ict").exists():
        jobs.command("resample", whole, "--topology", experiment.data("heads"), "--out", experiment.data("ict"))
    sets = [f"{name}={experiment.data(name)}" for name in SETS]
    jobs.command("combine", *sets, "--out", experiment.data("all"))


def write_landmarks(path: Path, ict: ScanDataset, head_vertices: int) -> None:
    """Write where each landmark lies on the average head and on the template of ICT-300, in mm.

    Raises
    ------
    UsageError : If the scans are not ICT-300 with 1,200 vertices, whose vertices the table names.
    """
    if ict.topology.vertex_count != 1200:
        raise UsageError(
            f"{ict.path} has {ict.topology.vertex_count} vertices; wanted ICT-300 with 1,200, whose landmarks are "
            "known. Make it with ict_faces.py RAW."
        )
    with open(LANDMARKS, newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    corners = np.array([[int(line[name]) for name in "abc"] for line in lines])
    weights = np.array([[float(line[f"weight_{name}"]) for name in "abc"] for line in lines])
    on_ict = np.einsum("lk,lkd->ld", weights, ict.topology.template[corners])
    on_head = _on_average_head(np.array([[float(line["u"]), float(line["v"])] for line in lines]), head_vertices)
    with writing(path, overwrite=True) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow(POINTS)
        written.writerows(np.hstack([on_head, on_ict]).round(4).tolist())


def _on_average_head(flat: np.ndarray, vertex_count: int) -> np.ndarray:
    """Where points of the flat chart lie on the average head; in an opening, the nearest vertex."""
    chart, head = face_chart(vertex_count), SyntheticHead(vertex_count).topology.template
    skin = chart.kind == SKIN
    found = LinearNDInterpolator(chart.position[skin], head[skin])(flat)
    nearest = NearestNDInterpolator(chart.position[skin], head[skin])(flat)
    return np.where(np.isnan(found), nearest, found)


def state(experiment: Experiment, row: Row) -> tuple[str, bool]:
    """Where a row stands in words, and whether there is something to do."""
    record = experiment.record(row)
    changes = jobs.changed_keys(record["recipe"], experiment.resolved(row)) if record else []
    if record is not None and not changes:
        return f"done {record['utc'][:10]}", False
    before = f"outdated ({', '.join(changes)}), " if changes else ""
    if jobs.is_trained(experiment.resolved(row), experiment.run(row)):
        return before + "trained, to be measured", True
    if not jobs.is_begun(experiment.resolved(row), experiment.run(row)):
        return before + "to be made", True
    return f"{before}{jobs.minutes_done(experiment.run(row)):.1f} minutes trained", True


def make_row(experiment: Experiment, row: Row, code: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one row; returns its record, in which no name of a folder stands."""
    from meshdisent.morphable.model_file import load

    run, target = experiment.run(row), experiment.out / f"{row.slug}.figures.json"
    jobs.train(experiment.recipe, experiment.settings(row), run, experiment.data(row.data), code)
    model = RunFolder(run).model
    if not target.exists() or target.stat().st_mtime < model.stat().st_mtime:
        jobs.command(
            "evaluate", model, "--data", experiment.data("all"), "--json", target, "--overwrite", "--no-report"
        )
    figures, card = json.loads(target.read_text()), load(model).card
    return {
        "name": row.name,
        "recipe_name": experiment.recipe,
        "set": list(experiment.settings(row)),
        **({"is_smoke_test": True} if experiment.is_smoke_test else {}),
        "vertices": ScanDataset.open(experiment.data("all")).topology.vertex_count,
        "steps": card.notes.get("steps"),
        "training_minutes": round(card.notes.get("seconds", 0.0) / 60, 2),
        **jobs.provenance(code),
        "training_sessions": jobs.sessions(run),
        "data_hash": card.data_hash,
        "sets": figures["sets"],
        "recipe": experiment.resolved(row).plain(),
    }


def write_table(experiment: Experiment, rows: Sequence[Row]) -> None:
    """Write a table a set from the records, a row for each training."""
    made = {row: record for row in rows if (record := experiment.record(row)) is not None}
    lines = ["<!-- Made by benchmarks/combined.py from its records; do not edit. -->", ""]
    for name, title in SETS.items():
        shown = [_line(experiment, row, record, name) for row, record in made.items()]
        lines += [f"**Unseen people of {title}**", "", *table(["trained on", *FIGURES, "steps", "minutes"], shown), ""]
    missing = [row.name for row in rows if row not in made]
    lines += [f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []
    with writing(experiment.table, overwrite=True) as aside:
        aside.write_text("\n".join(lines), encoding="utf-8")


def _line(experiment: Experiment, row: Row, record: dict[str, Any], name: str) -> list[str]:
    changes = jobs.changed_keys(record["recipe"], experiment.resolved(row))
    marks = [f"outdated: {', '.join(changes)} changed since"] if changes else []
    marks += ["smoke test"] if record.get("is_smoke_test") else []
    title = row.name + (f" ({'; '.join(marks)})" if marks else "")
    return [title, *cells(record["sets"][name]), f"{record['steps'] or 0:,}", f"{record['training_minutes']:.1f}"]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="combined.py", description=__doc__.partition("\n")[0])
    parser.add_argument("raw", type=Path, metavar="RAW", help="the scans that ict_faces.py wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the datasets and the runs")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"some of: {'; '.join(row.name for row in ROWS)}")
    parser.add_argument("--recipe", default="wsdf", help="what is trained (default: wsdf)")
    parser.add_argument("--list", action="store_true", help="say where each row stands, and do nothing")
    parser.add_argument("--table", action="store_true", help="write the tables anew from the records")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="a smoke test: train so long, keep everything in OUT/smoke"
    )
    return parser.parse_args(arguments)


def combined(arguments: Sequence[str], rows: Sequence[Row] = ROWS, **places: Any) -> int:
    """Run the command; returns its exit code. ``places`` are fields of :class:`Experiment` for tests."""
    given = parse(arguments)
    try:
        if given.minutes is not None:
            smoke = given.out / "smoke"
            own = {"records": smoke / "records", "table": smoke / "combined-table.md", "is_smoke_test": True}
            places = places | own | {"out": smoke, "minutes": given.minutes}
        experiment = Experiment(**{"raw": given.raw, "out": given.out, "recipe": given.recipe} | places)
        chosen = [row for row in rows if not given.only or {row.name, row.slug} & {*given.only}]
        if not chosen:
            raise UsageError(f"There is no row {given.only[0]!r}; the rows are {'; '.join(row.name for row in rows)}.")
        states = {row: state(experiment, row) for row in chosen}
        if given.list:
            print("\n".join(f"{row.name:16}  {said}" for row, (said, _) in states.items()))
            return 0
        code = jobs.code_state()
        for row, (said, is_open) in states.items() if not given.table else ():
            print(f"{row.name}: {said}", file=sys.stderr, flush=True)
            if is_open:
                make_data(experiment)
                jobs.write_json(experiment.records / f"{row.slug}.json", make_row(experiment, row, code))
        write_table(experiment, rows)
        print(experiment.table.read_text(encoding="utf-8"))
    except MeshdisentError as error:
        print(f"combined.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(combined(sys.argv[1:]))
