"""Figure 5 of the WSDF paper on ICT-300: how far each estimate of a subject's neutral is from the true one.

    python ../shared/protocol/ict_faces.py RAW                               # the scans
    python benchmarks/neutral_bank.py RAW OUT --only mean median mode        # a minute or two
    python benchmarks/neutral_bank.py RAW OUT                                # with four trainings of 20 minutes

Estimates: mean, median and mode of the raw scans, and the bank of WSDF as published (variant wsdf-published/bank),
which follows its own reconstructions. Settings: all 20 expressions of each training subject, without the neutral scan,
ten and five of the 20 drawn at random. Truth is the scan of the neutral expression, as the dataset has it; its scanner
noise of 0.05 mm a coordinate, 0.08 mm a vertex, is part of every error.

Writes OUT/neutral-bank.md and .png, and benchmarks/records/neutral-bank.json. Stopped at any time, the same line goes
on.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jobs
import numpy as np
from figures_table import table

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.labels import UNKNOWN
from meshdisent.data.pseudo_neutrals import FEWEST_FOR_MODE, PSEUDO_NEUTRALS, pseudo_neutrals
from meshdisent.data.subset import save_subset
from meshdisent.errors import MeshdisentError
from meshdisent.files import writing
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import expression_mask
from meshdisent.training.checkpoint import read_checkpoint
from meshdisent.training.recipe import read_recipe
from meshdisent.training.run_folder import RunFolder

RECIPE = "wsdf-published/bank"
EMA = "EMA bank"
ESTIMATES = (*PSEUDO_NEUTRALS, EMA)
DRAW_SEED = 5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Which training scans of each subject count.

    Attributes
    ----------
    title : For tables and the picture.
    has_neutral : Whether the neutral scan may be among them.
    count : So many, drawn at random; None for all.
    set : What differs from the recipe. Published, subjects with five scans or fewer have no neutral loss (confidence
        shift 5), so the setting with five takes the shift that the paper writes, 1.
    """

    title: str
    has_neutral: bool = True
    count: int | None = None
    set: tuple[str, ...] = ()

    def rows(self, scans: ScanDataset) -> np.ndarray:
        """Rows of the training scans that count, and all others; ascending."""
        rows = scans.rows("train")
        if not self.has_neutral:
            rows = np.setdiff1d(rows, scans.neutral_row[scans.neutral_row != UNKNOWN])
        if self.count is not None:
            rows = np.concatenate(
                [self._draw(rows[scans.subject[rows] == s], s) for s in np.unique(scans.subject[rows])]
            )
        return np.union1d(rows, np.setdiff1d(np.arange(len(scans)), scans.rows("train")))

    def _draw(self, own: np.ndarray, subject: int) -> np.ndarray:
        """``count`` of a subject's rows, the same whoever else is in the dataset."""
        return np.random.default_rng([DRAW_SEED, subject]).choice(own, min(self.count or 0, len(own)), replace=False)


SETTINGS = {
    "all": Setting(title="all 20 expressions"),
    "no-neutral": Setting(title="without the neutral scans", has_neutral=False),
    "ten": Setting(title="10 expressions", count=10),
    "five": Setting(title="5 expressions", count=5, set=("config.bank.confidence_shift=1",)),
}


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The true neutrals of the training subjects.

    Attributes
    ----------
    present : Rows of the subject table.
    neutrals : (S, V, 3) mm, for those subjects.
    moving : (V,) The 30 % of vertices that expressions move most, measured on all scans.
    """

    present: np.ndarray
    neutrals: np.ndarray
    moving: np.ndarray

    @classmethod
    def of(cls, scans: ScanDataset) -> "Truth":
        """What the whole dataset knows; refuses one with a training subject whose neutral is unknown."""
        present = np.unique(scans.subject[scans.rows("train")])
        return cls(present=present, neutrals=pseudo_neutrals(scans, "known")[present], moving=expression_mask(scans))

    def errors(self, estimate: np.ndarray) -> np.ndarray:
        """(S, V) Distances in mm of the estimates for the whole subject table."""
        return vertex_distance(estimate[self.present], self.neutrals)


def subset(slug: str, scans: ScanDataset, data: Path, folder: Path) -> Path:
    """The dataset of a setting: the whole one, or a part of it in a file of its own."""
    if slug == "all":
        return data
    part = folder / f"{slug}.h5"
    if not part.exists():
        save_subset(scans, SETTINGS[slug].rows(scans), part)
    return part


def trained_bank(
    slug: str, part: Path, folder: Path, minutes: float | None, code: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The bank at the end of a training, (S, V, 3) mm, and how it was trained; only checkpoints keep banks."""
    from meshdisent.morphable.model_file import load

    settings = SETTINGS[slug].set + (() if minutes is None else (f"training.minutes={minutes}",))
    run = folder / slug
    jobs.train(RECIPE, settings, run, part, code)
    notes = load(run).card.notes
    about = {
        "steps": notes["steps"],
        "training_minutes": round(notes["seconds"] / 60, 2),
        "seed": read_recipe(RECIPE, settings).seed,
        "recipe_name": RECIPE,
        "set": list(settings),
        "training_sessions": jobs.sessions(run),
    }
    return read_checkpoint(RunFolder(run))[0].model["bank.entries"].numpy(), about


def measure(given: argparse.Namespace, out: Path, record_file: Path) -> dict[str, Any]:
    """Make every estimate that is asked for in every setting; the record is written after each."""
    data, code = jobs.prepared(given.raw, out), jobs.code_state()
    scans, folder = ScanDataset.open(data).load(), out / "neutral-bank"
    truth = Truth.of(scans)
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    faces: dict[tuple[str, str], np.ndarray] = {}
    for name in given.only or ESTIMATES:  # what is quick comes first
        for slug in SETTINGS:
            print(f"{name}, {SETTINGS[slug].title}", file=sys.stderr, flush=True)
            part = subset(slug, scans, data, folder)
            if name == EMA:
                faces[slug, name], about = trained_bank(slug, part, folder, given.minutes, code)
            else:
                faces[slug, name], about = pseudo_neutrals(ScanDataset.open(part).load(), name), {}
            distance = truth.errors(faces[slug, name])
            figures = {"mean": float(distance.mean()), "moving": float(distance[:, truth.moving].mean())}
            entry = figures | about | jobs.provenance(code)
            record.setdefault(slug, {})[name] = entry | ({"is_smoke_test": True} if given.minutes is not None else {})
            jobs.write_json(record_file, {s: record[s] for s in SETTINGS if s in record})
    draw(scans, truth, faces, out / "neutral-bank.png")
    return record


def report(record: dict[str, Any]) -> str:
    """The record as a Markdown table, with what has to be known to read it."""
    names = [name for name in ESTIMATES if any(name in found for found in record.values())]
    lines = [
        [SETTINGS[slug].title, *(_cell(record[slug].get(name)) for name in names)]
        for slug in SETTINGS
        if slug in record
    ]
    return "\n".join(
        [
            *table(["training scans of a subject", *names], lines),
            "",
            "Distance to the true neutrals of the training subjects, mm: all vertices / the 30 % that expressions move "
            "most. The truth is the neutral scan, whose scanner noise (0.08 mm) is part of each figure. "
            f"Below {FEWEST_FOR_MODE} scans the mode is the median.",
            *(_about_training(record) if EMA in names else []),
        ]
    )


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "-"
    mark = " (smoke test)" if entry.get("is_smoke_test") else ""
    return f"{entry['mean']:.3f} / {entry['moving']:.3f}{mark}"


def _about_training(record: dict[str, Any]) -> list[str]:
    """Steps of each bank, since they were given equal time."""
    shown = [
        f"{SETTINGS[slug].title}: {entry['steps']:,} steps in {entry['training_minutes']:.1f} minutes"
        + (f" ({', '.join(SETTINGS[slug].set)})" if SETTINGS[slug].set else "")
        for slug in SETTINGS
        if (entry := record.get(slug, {}).get(EMA))
    ]
    return ["", f"{EMA}: {RECIPE}, beginning at the mean scan. {'; '.join(shown)}."]


def draw(scans: ScanDataset, truth: Truth, faces: dict[tuple[str, str], np.ndarray], path: Path) -> None:
    """Two subjects (columns: estimates, rows: settings), colored by error: the one in the middle and the worst.

    Subjects are ranked by the first estimate from all expressions.
    """
    from meshdisent.show.pictures import write_png
    from meshdisent.show.sheets import heat_map_sheet

    names = list(dict.fromkeys(name for _, name in faces))
    order = np.argsort(truth.errors(faces["all", names[0]]).mean(axis=1), kind="stable")
    places = {"typical": order[len(order) // 2], "worst": order[-1]}
    columns = [(place, name) for place in places.values() for name in names]
    page = heat_map_sheet(
        [[faces[slug, name][truth.present[place]] for place, name in columns] for slug in SETTINGS],
        [[truth.errors(faces[slug, name])[place] for place, name in columns] for slug in SETTINGS],
        scans.topology.faces,
        [setting.title for setting in SETTINGS.values()],
        [
            f"{name}\n{scans.subjects[truth.present[place]]} ({kind})"
            for kind, place in places.items()
            for name in names
        ],
        "Estimates of a subject's neutral, colored by their distance to the true one",
        size=(240, 290),
    )
    write_png(path, page, overwrite=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="neutral_bank.py", description=__doc__.partition("\n")[0])
    parser.add_argument("raw", type=Path, metavar="RAW", help="the scans that ict_faces.py wrote")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the prepared scans, the runs and the results")
    parser.add_argument("--only", nargs="+", choices=ESTIMATES, help="these estimates; all but the EMA bank are quick")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="a smoke test: train so long, keep everything in OUT/smoke"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str], records: Path = jobs.RECORDS) -> int:
    """Run the command; returns its exit code."""
    given = parse(arguments)
    out = given.out if given.minutes is None else given.out / "smoke"
    try:
        record = measure(given, out, (records if given.minutes is None else out / "records") / "neutral-bank.json")
        with writing(out / "neutral-bank.md", overwrite=True) as aside:
            aside.write_text(report(record) + "\n", encoding="utf-8")
        print(report(record))
    except MeshdisentError as error:
        print(f"neutral_bank.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
