"""``meshdisent neutralize MODEL SCAN... --out DIR``: take the expression off scans."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from meshdisent.cli.results import Output, Result, refuse_output, write_result


@dataclass(frozen=True, kw_only=True)
class Arguments(Output):
    """Take the expression off scans.

    For example: meshdisent neutralize run faces.h5:anna/smile photo-scan.ply --out neutral

    A scan that does not fit the model is named and left out; the exit code is then 3, and the others are written.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    scans: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCAN", help_behavior_hint="(required)")
    ]
    """Mesh files, or faces.h5:SUBJECT/EXPRESSION."""
    keep_detail: bool = False
    """Keep what the model's codes cannot say of the scan."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent neutralize", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_output(given)
    import numpy as np

    from meshdisent.cli.scan_arguments import read_scans
    from meshdisent.editing import neutralize
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    scans, left_out = read_scans(given.scans, model)
    meshes = neutralize(model, np.stack([scan.vertices for scan in scans]), given.keep_detail)
    names = [f"{scan.name}-neutral" for scan in scans]
    shown = list(zip(scans, meshes, strict=True))[:8]
    result = Result(
        meshes=dict(zip(names, meshes, strict=True)),
        rows=[[scan.vertices for scan, _ in shown], [mesh.vertices for _, mesh in shown]],
        row_labels=["scan", "neutral, detail kept" if given.keep_detail else "neutral"],
        column_labels=[scan.name for scan, _ in shown],
        title=f"{len(shown)} of {len(scans)}" if len(shown) < len(scans) else "",
    )
    write_result(result, given)
    return 3 if left_out else 0
