"""``meshdisent evaluate-images MODEL --data images.h5``: measure a model of photographs."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from meshdisent.cli.results import write_json
from meshdisent.files import refuse_existing


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
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write one JSON object to this file too; with - to standard output, instead of the text."""
    overwrite: bool = False
    """Replace the JSON file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(
        Arguments, args=arguments, prog="meshdisent evaluate-images", config=(tyro.conf.FlagCreatePairsOff,)
    )
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
    return 0


def _say(message: str) -> None:
    print(f"  {message}", file=sys.stderr, flush=True)
