"""``meshdisent compare MODEL... --data faces.h5 --out DIR``: several models on the same scans, with intervals."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.evaluation.comparison import Comparison
    from meshdisent.morphable.contract import MorphableModel

_MOST_NAMED = 3  # in a title


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure several models on the same scans: one table, one page with pictures.

    For example: meshdisent compare wsdf-ict runs/mine --data faces.h5 --out comparison

    Numbers come with 95 % intervals over people, and a model is called best only where these say so. Half a minute for
    each model and 2,000 scans. The folder gets report.html, comparison.md, comparison.json and the pictures.
    """

    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...", help_behavior_hint="(required)")
    ]
    """Run folders, model files, or names that `meshdisent models` lists; of the scans' topology."""
    data: Annotated[Path, tyro.conf.arg(metavar="FACES.H5")]
    """The scans; made by `meshdisent prepare`."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the report."""
    split: Literal["train", "val", "test", "dropped"] = "test"
    """Which scans are measured."""
    transfer: Annotated[Path | None, tyro.conf.arg(metavar="PAIRS.CSV")] = None
    """Table of true transfers (columns truth,identity,expression: a mesh and two scans), for E_tra."""
    ridge: tuple[Literal["mean", "median", "mode"], ...] = ("mode",)
    """Estimates of a subject's neutral that the ridge regression among the baselines is trained on, a row for each."""
    align: Literal["none", "rigid"] = "none"
    """Bring predictions onto the truth by rotation and translation before they are measured, as FED does on BU-3DFE."""
    seed: int = 0
    """Of everything that is drawn; the same seed gives the same report."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent compare", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    if not given.models:
        raise UsageError("meshdisent compare got no model; give at least one, such as a run folder.")
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.evaluation.comparison import compare, refuse_strangers
    from meshdisent.evaluation.transfer_pairs import TransferPairs
    from meshdisent.morphable.model_file import find_model, load_morphable
    from meshdisent.show.comparison_report import comparison_text

    names = told_apart(given.models, [find_model(model) for model in given.models])
    models = {name: load_morphable(model) for name, model in zip(names, given.models, strict=True)}
    scans = ScanDataset.open(given.data)
    refuse_strangers(models, scans)
    pairs = None if given.transfer is None else TransferPairs.read(given.transfer, scans)
    comparison = compare(
        models, scans, given.split, pairs, given.ridge, progress=_say, placing=given.align, seed=given.seed
    )
    print(comparison_text(comparison), flush=True)
    _say("report")
    write_comparison(given, comparison, models, scans, "meshdisent compare " + shlex.join(arguments))
    print(f"\n{given.out / 'report.html'}: open it in a browser")
    return 0


def told_apart(given: Sequence[str], files: Sequence[Path]) -> list[str]:
    """A name for each model: the folder of a run, the name of a file or of the zoo; with folders before it if needed.

    Raises
    ------
    UsageError : If a model is given twice.

    Examples
    --------
    >>> told_apart(["a/run", "b/run", "wsdf-ict"], [Path(p) for p in ("a/run/model.safetensors", "b/run/m", "zoo/w")])
    ['a/run', 'b/run', 'wsdf-ict']
    """
    resolved = [file.resolve() for file in files]
    twice = [model for place, model in enumerate(given) if resolved[place] in resolved[:place]]
    if twice:
        raise UsageError(f"{twice[0]} is the same model as one before it; give each model once.")
    parts = [_parts(model, file) for model, file in zip(given, resolved, strict=True)]
    count = [1] * len(parts)
    names = ["/".join(part[-1:]) for part in parts]
    while len(set(names)) < len(names):
        alike = [k for k, name in enumerate(names) if names.count(name) > 1]
        longer = [k for k in alike if count[k] < len(parts[k])]
        if not longer:
            return [f"{name} ({k})" if names.count(name) > 1 else name for k, name in enumerate(names, start=1)]
        for k in longer:
            count[k] += 1
            names[k] = "/".join(parts[k][-count[k] :])
    return names


def _parts(model: str, file: Path) -> list[str]:
    """The folders and the last name that a person would call a model by."""
    if not Path(model).exists():
        return [model]  # a name of the zoo
    if Path(model).is_dir() or file.name == "model.safetensors":
        return [part for part in file.parent.parts if part != file.anchor] or [file.stem]
    return [*(part for part in file.parent.parts if part != file.anchor), file.stem]


def write_comparison(
    given: Arguments,
    comparison: "Comparison",
    models: "dict[str, MorphableModel]",
    scans: "ScanDataset",
    command: str,
) -> None:
    """Write page, Markdown, JSON and pictures into a folder that appears whole."""
    from meshdisent import __version__
    from meshdisent.show.comparison_report import add_comparison, comparison_markdown
    from meshdisent.show.html import Report

    title = f"{', '.join(models) if len(models) <= _MOST_NAMED else f'{len(models)} models'} on {given.data.name}"
    first = next(iter(comparison.evaluations.values())).figures
    splits = {"train": "training", "val": "validation"}
    with writing_folder(given.out, given.overwrite) as folder:
        report = Report(
            title=title,
            summary=[
                f"{len(models)} model{'s' * (len(models) > 1)}, measured on the {splits.get(given.split, given.split)} "
                f"scans: {first['scans']:,} of {first['subjects']:,} subjects."
            ],
            reproduction={
                "command": command,
                **{f"{name} was trained on data": model.card.data_hash or "unknown" for name, model in models.items()},
                "data": scans.data_hash,
                "topology": scans.topology.topology_hash,
                "seed": given.seed,
                "meshdisent": __version__,
            },
        )
        add_comparison(report, comparison, models, scans, folder)
        numbers = comparison.as_json() | {"data": scans.data_hash, "split": given.split}
        text = json.dumps(numbers, indent=2, allow_nan=False)
        (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
        (folder / "comparison.md").write_text(comparison_markdown(comparison, title), encoding="utf-8")
        report.write(folder / "report.html")


def _say(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)
