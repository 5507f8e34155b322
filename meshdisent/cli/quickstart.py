"""``meshdisent quickstart --out DIR``: the main job on built-in heads, in minutes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Run the main job on built-in heads: prepare, train, evaluate, neutralize, transfer, interpolate, sample, report.

    For example: meshdisent quickstart --out quickstart
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for scans, model, meshes, pictures and report.html."""
    recipe: Annotated[str, tyro.conf.arg(metavar="RECIPE")] = "wsdf-quick"
    """What to train: a name that `meshdisent models` lists, or a YAML file."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE", help_behavior_hint="(optional)")] = ()
    """Change keys of the recipe, such as training.minutes=1."""
    subjects: Annotated[int, tyro.conf.arg(metavar="N")] = 80
    """How many people."""
    vertices: Annotated[int, tyro.conf.arg(metavar="N")] = 1500
    """Vertices of a head, 1200 to 6000."""
    overwrite: bool = False
    """Replace the folder's results."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    from meshdisent.cli.train import gather_settings

    given = tyro.cli(
        Arguments,
        args=gather_settings(arguments),
        prog="meshdisent quickstart",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    from meshdisent.quickstart import quickstart
    from meshdisent.show.evaluation_report import evaluation_table, text_table

    result = quickstart(
        given.out,
        recipe=given.recipe,
        overrides=given.set,
        subjects=given.subjects,
        vertex_count=given.vertices,
        overwrite=given.overwrite,
    )
    table = evaluation_table(result.evaluation)
    print("\n".join([*text_table(table), *(["* better than the model"] if table.losses() else [])]))
    print(f"\n{result.report}: open it in a browser. All this took {result.seconds / 60:.1f} minutes.")
    return 0
