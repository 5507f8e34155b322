"""``meshdisent evaluate-images MODEL --data images.h5``: measure a model of photographs."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from meshdisent.cli.report_place import is_report, report_place
from meshdisent.cli.results import write_json
from meshdisent.files import refuse_existing, writing_folder


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a LatentFace on test pictures: depth where the truth is known, expression and person from its codes.

    For example: meshdisent evaluate-images run --data images.h5 --json figures.json
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, a name that `meshdisent models` lists, or LatentFace's published checkpoint."""
    data: Annotated[Path, tyro.conf.arg(metavar="IMAGES.H5")]
    """The pictures; made by `meshdisent prepare-images` or `meshdisent render`."""
    seed: int = 0
    """Of the noise that identities are drawn from."""
    draws: int = 1
    """Take the mean identity of so many draws."""
    published: bool = False
    """Measure as published: choose the probe's epoch on the test pictures, train verification on a single batch."""
    report: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder for report.html and its pictures. By default `evaluation` in the run folder, else evaluation-MODEL beside
    the file or here; an older report there is replaced."""
    no_report: bool = False
    """Numbers alone."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write one JSON object to this file too; with - to standard output, instead of the text and of the report."""
    overwrite: bool = False
    """Replace the report and the JSON file if they exist."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(
        Arguments, args=arguments, prog="meshdisent evaluate-images", config=(tyro.conf.FlagCreatePairsOff,)
    )
    is_quiet = given.no_report or (given.json == "-" and given.report is None)
    place = report_place(given.report, is_quiet, given.model, "", given.overwrite)
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite)
    from meshdisent.data.images.image_dataset import ImageDataset
    from meshdisent.latentface.evaluation import evaluate_pictures, pictures_text
    from meshdisent.latentface.latentface import load_latentface

    model, data = load_latentface(given.model), ImageDataset.open(given.data)
    model.check_data(data)
    figures = evaluate_pictures(
        model, data, seed=given.seed, draws=given.draws, published=given.published, progress=_say
    )
    if given.json != "-":
        print(pictures_text(figures))
    write_json(figures, given.json, given.overwrite)
    if place is not None:
        from meshdisent.show.image_report import image_report

        _say("report")
        with writing_folder(place, given.overwrite or is_report(place)) as folder:
            command = "meshdisent evaluate-images " + shlex.join(arguments)
            page = image_report(model, data, figures, f"{given.model} on {given.data.name}", command, folder)
            write_json(figures, str(folder / "figures.json"), overwrite=False)
            page.write(folder / "report.html")
        if given.json != "-":
            print(f"\n{place / 'report.html'}: open it in a browser")
    return 0


def _say(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)
