"""``meshdisent transfer MODEL --identity SCAN --expression SCAN... --out DIR``: put an expression on a person."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from meshdisent.cli.results import Output, Result, refuse_output, write_result


@dataclass(frozen=True, kw_only=True)
class Arguments(Output):
    """Put the expressions of some scans on the person of another.

    For example: meshdisent transfer run --identity faces.h5:anna/neutral --expression faces.h5:ben/smile --out smiling
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    identity: Annotated[str, tyro.conf.arg(metavar="SCAN")]
    """Who: a mesh file, or faces.h5:SUBJECT/EXPRESSION, with any expression."""
    expression: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SCAN")]
    """What the face does: one scan or several, of anyone."""
    keep_detail: bool = False
    """Keep what the model's codes cannot say of the person's scan."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent transfer", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_output(given)
    import numpy as np

    from meshdisent.cli.scan_arguments import read_scan, read_scans
    from meshdisent.editing import transfer
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    person = read_scan(given.identity, model)
    shown, left_out = read_scans(given.expression, model)
    meshes = transfer(model, person.vertices, np.stack([scan.vertices for scan in shown]), given.keep_detail)
    first = list(zip(shown, meshes, strict=True))[:8]
    result = Result(
        meshes={f"{person.name}-as-{scan.name}": mesh for scan, mesh in zip(shown, meshes, strict=True)},
        rows=[[scan.vertices for scan, _ in first], [mesh.vertices for _, mesh in first]],
        row_labels=["expression", f"{person.name}, detail kept" if given.keep_detail else person.name],
        column_labels=[scan.name for scan, _ in first],
    )
    write_result(result, given)
    return 3 if left_out else 0
