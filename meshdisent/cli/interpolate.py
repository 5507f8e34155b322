"""``meshdisent interpolate MODEL SCAN SCAN --out DIR``: walk from one face to another."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from meshdisent.cli.results import Output, Result, refuse_output, write_result


@dataclass(frozen=True, kw_only=True)
class Arguments(Output):
    """Walk from one scan to another in equal steps of their codes, with a GIF of the way.

    For example: meshdisent interpolate run faces.h5:anna/smile faces.h5:ben/anger --out walk --steps 12
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    scans: Annotated[tuple[str, str], tyro.conf.Positional, tyro.conf.arg(metavar="SCAN")]
    """Mesh files, or faces.h5:SUBJECT/EXPRESSION."""
    steps: Annotated[int, tyro.conf.arg(metavar="N")] = 9
    """Faces on the way, both ends counted."""
    only: Literal["both", "identity", "expression"] = "both"
    """Which code moves; the other stays that of the first scan."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent interpolate", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_output(given)
    from meshdisent.cli.scan_arguments import read_scan
    from meshdisent.editing import interpolate
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    first, second = (read_scan(text, model) for text in given.scans)
    meshes = interpolate(model, first.vertices, second.vertices, given.steps, given.only)
    frames = [mesh.vertices for mesh in meshes]
    shown = frames if len(frames) <= 9 else [frames[round(k * (len(frames) - 1) / 8)] for k in range(9)]
    result = Result(
        meshes={f"{number:04d}": mesh for number, mesh in enumerate(meshes)},
        rows=[shown],
        title=f"{first.name} to {second.name}" + ("" if given.only == "both" else f", {given.only} only"),
        frames=frames,
    )
    write_result(result, given)
    return 0
