"""LatentFace on rendered faces: depth against the truth, and what its codes tell of people who were not trained on.

    python benchmarks/photographs.py OUT                 # hours; stop it at any time, the same line goes on
    python benchmarks/photographs.py OUT --list          # what there is and what is to come
    python benchmarks/photographs.py OUT --only LatentFace supervised
    python benchmarks/photographs.py OUT --minutes 0.2   # a smoke test in OUT/smoke

OUT/images.h5 is made first: 500 synthetic people, four sequences of eight pictures each; 100 of them are for the test.
Depth is measured in the view of the picture, as Unsup3D does: 100 times the scale-invariant error, and the mean angle
between normals. Codes are measured by the expression that a linear probe reads from them, and by how often the nearest
picture of another sequence is of the same person.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import jobs
import numpy as np
import torch
from figures_table import table
from torch import Tensor

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.files import writing
from meshdisent.latentface.evaluation import (
    Take,
    depth_figures,
    expression_figures,
    feature_kinds,
    person_figures,
    view_depth,
)
from meshdisent.latentface.latentface import load_latentface
from meshdisent.latentface.networks import shape_network
from meshdisent.training.recipe import differences, read_recipe

RECORDS, TABLE = jobs.RECORDS / "photographs", jobs.ROOT / "docs" / "photographs-table.md"

#: Rows that are trained: name -> recipe.
TRAINED = {
    "LatentFace": "latentface-rendered",
    "encoder instead of diffusion": "latentface-rendered/encoder",
}
#: Steps of the supervised network.
SUPERVISED_STEPS = 6000
#: Rows that need no recipe, in the order of the table.
ALL = ("constant depth", "mean true depth", "supervised", *TRAINED, "pixels")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Where everything lies; ``smoke_minutes`` instead of the recipes' time, to see whether everything works."""

    out: Path
    records: Path = RECORDS
    table: Path = TABLE
    people: int = 500
    size: int = 64
    smoke_minutes: float | None = None

    @cached_property
    def data(self) -> ImageDataset:
        """The pictures, made if they are not there."""
        path = self.out / "images.h5"
        if not path.exists():
            wanted = ("--people", self.people, "--sequences", 4, "--frames", 8, "--size", self.size)
            jobs.command("render", "--out", path, *wanted)
        return ImageDataset.open(path).load()

    def settings(self, name: str) -> tuple[str, ...]:
        """In what a row differs from its recipe."""
        start = (f"config.start={self.run('LatentFace')}",) if name.startswith("encoder") else ()
        if self.smoke_minutes is None:
            return start
        steps = () if read_recipe(TRAINED[name]).config.stage_one_steps is None else ("config.stage_one_steps=5",)
        return (*start, *steps, f"training.minutes={self.smoke_minutes}")

    def run(self, name: str) -> Path:
        """The folder of a trained row."""
        return self.out / slug(name)

    def record(self, name: str) -> dict[str, Any] | None:
        """What is recorded of a row; None before it has been made, or if its recipe has changed since."""
        file = self.records / f"{slug(name)}.json"
        if not file.is_file():
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        return None if name in TRAINED and differences(found["recipe"], self.recipe(name)) else found

    def recipe(self, name: str) -> dict[str, Any]:
        """The resolved recipe of a trained row as plain values, in which no folder stands."""
        values = read_recipe(TRAINED[name], self.settings(name)).plain()
        if values["config"]["start"] is not None:
            values["config"]["start"] = "the run LatentFace"
        return values


def slug(name: str) -> str:
    """Letters and digits of a name, for files."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def make(experiment: Experiment, name: str, code: dict[str, Any]) -> dict[str, Any]:
    """Make and measure one row; its record."""
    data = experiment.data
    about: dict[str, Any] = {"name": name, **({"is_smoke_test": True} if experiment.smoke_minutes else {})}
    if name in TRAINED:
        data_file = experiment.out / "images.h5"
        jobs.train(TRAINED[name], experiment.settings(name), experiment.run(name), data_file, code)
        model = load_latentface(experiment.run(name))
        about |= {"recipe": experiment.recipe(name), "steps": model.card.notes.get("steps")}
        about["training_minutes"] = round(model.card.notes.get("seconds", 0.0) / 60, 2)
        about["depth"] = measured(data, lambda images: view_depth(model, images))
        about["codes"] = codes_tell(data, feature_kinds(model, draws=4))
    elif name == "pixels":
        about["codes"] = codes_tell(data, {"pixels": image_means})
    else:
        about |= {"constant depth": constant, "mean true depth": mean_depth, "supervised": supervised}[name](experiment)
    return {**about, **jobs.provenance(code), "data_hash": data.data_hash}


# -------------------------------------------------------------------- depth


def measured(data: ImageDataset, predict: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """SIDE (times 100) and MAD (degrees) of a predictor on the test people."""
    found = depth_figures(predict, data, data.rows("test"))
    assert found is not None
    return found


def constant(experiment: Experiment) -> dict[str, Any]:
    """The same depth everywhere."""
    return {"depth": measured(experiment.data, lambda images: torch.ones(len(images), *images.shape[2:]))}


def mean_depth(experiment: Experiment) -> dict[str, Any]:
    """The mean of the true depths of the training pictures, pixel by pixel, where they see a face."""
    data = experiment.data
    rows = data.rows("train")
    depth, mask = data.truth("depth", rows).astype(np.float64), data.truth("mask", rows)
    count = mask.sum(0)
    mean = np.where(count > 0, (depth * mask).sum(0) / np.maximum(count, 1), depth[mask].mean())
    return {"depth": measured(data, lambda images: torch.from_numpy(mean).expand(len(images), -1, -1))}


def supervised(experiment: Experiment) -> dict[str, Any]:
    """The shape network of the same size, taught the true depth in the view by its mean absolute error."""
    data, recipe = experiment.data, read_recipe("latentface-rendered")
    assert recipe.training is not None
    count = 20 if experiment.smoke_minutes else SUPERVISED_STEPS
    torch.manual_seed(recipe.seed)
    network, scene = shape_network(recipe.config.networks), recipe.config.scene
    optimizer = torch.optim.Adam(network.parameters(), recipe.training.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count)
    random, rows = np.random.default_rng(recipe.seed), data.rows("train")

    def predict(images: Tensor) -> Tensor:
        raw = network(2 * images - 1)[1][:, 0]
        relief = raw.tanh()
        return (1 + relief) / 2 * scene.farthest + (1 - relief) / 2 * scene.nearest

    begun = perf_counter()
    for _ in range(count):
        chosen = np.sort(random.choice(rows, 16, replace=False))
        depth = torch.from_numpy(data.truth("depth", chosen))
        mask = torch.from_numpy(data.truth("mask", chosen)).float()
        loss = ((predict(torch.from_numpy(data.images(chosen))) - depth).abs() * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    minutes = round((perf_counter() - begun) / 60, 2)
    network.eval()
    return {"depth": measured(data, predict), "steps": count, "training_minutes": minutes}


# -------------------------------------------------------------------- codes


def image_means(images: Tensor) -> Tensor:
    """Pictures of 16 x 16 pixels."""
    return torch.nn.functional.avg_pool2d(images, images.shape[-1] // 16).flatten(1)


def codes_tell(data: ImageDataset, kinds: dict[str, Take]) -> dict[str, dict[str, Any]]:
    """For each kind of features: the expression that a probe reads, and the person of the nearest picture."""
    test, results = data.rows("test"), {}
    for name, take in kinds.items():
        read, person = expression_figures(data, take), person_figures(data, test, take)
        assert read is not None
        assert person is not None
        results[name] = {"expression": read["accuracy"], "expression F1": read["macro_f1"], "person": person["rate"]}
    return results


# -------------------------------------------------------------------- table


def write_table(experiment: Experiment) -> None:
    """Lay out what is recorded."""
    records = {name: found for name in ALL if (found := experiment.record(name)) is not None}
    depth = [
        [name, *(f"{v[k]['mean']:.3f} ± {v[k]['std']:.3f}" for k in ("SIDE", "MAD", "MAD_published")), *_effort(found)]
        for name, found in records.items()
        if (v := found.get("depth"))
    ]
    codes = [
        [name, kind, *(f"{100 * values[key]:.1f}" for key in ("expression", "expression F1", "person"))]
        for name, found in records.items()
        for kind, values in (found.get("codes") or {}).items()
    ]
    lines = ["<!-- Made by benchmarks/photographs.py; do not edit. -->", ""]
    if depth:
        lines += [
            *table(["depth of unseen people", "SIDE x 100", "MAD, degrees", "as published", "steps", "minutes"], depth),
            "",
        ]
    if codes:
        lines += [*table(["codes of unseen people", "which", "expression, %", "macro F1, %", "person, %"], codes), ""]
    missing = [name for name in ALL if name not in records]
    lines += [f"Not measured yet: {'; '.join(missing)}.", ""] if missing else []
    if any(found.get("is_smoke_test") for found in records.values()):
        lines += ["A smoke test: these numbers say nothing.", ""]
    with writing(experiment.table, overwrite=True) as aside:
        aside.write_text("\n".join(lines), encoding="utf-8")


def _effort(record: dict[str, Any]) -> list[str]:
    steps, minutes = record.get("steps"), record.get("training_minutes")
    return ["-", "-"] if steps is None else [f"{steps:,}", f"{minutes:.1f}"]


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="photographs.py", description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for pictures and runs")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these rows alone")
    parser.add_argument("--list", action="store_true", help="say where each row stands, and do nothing")
    parser.add_argument("--minutes", type=float, metavar="M", help="a smoke test: train so long, in OUT/smoke")
    given = parser.parse_args(arguments)
    experiment = Experiment(out=given.out)
    if given.minutes is not None:
        smoke = given.out / "smoke"
        places = {"records": smoke / "records", "table": smoke / "photographs-table.md"}
        experiment = Experiment(out=smoke, people=10, smoke_minutes=given.minutes, **places)
    try:
        unknown = [name for name in given.only if name not in ALL]
        if unknown:
            raise UsageError(f"There is no row {unknown[0]!r}; wanted {', '.join(ALL)}.")
        code = jobs.code_state()
        for name in given.only or ALL:
            is_done = experiment.record(name) is not None
            print(f"{name}: {'done' if is_done else 'to be made'}", file=sys.stderr, flush=True)
            if not given.list and not is_done:
                jobs.write_json(experiment.records / f"{slug(name)}.json", make(experiment, name, code))
                write_table(experiment)
    except MeshdisentError as error:
        print(f"photographs.py: error: {error}", file=sys.stderr)
        return error.exit_code
    if not given.list:
        print(experiment.table.read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
