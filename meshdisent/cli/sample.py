"""``meshdisent sample MODEL --out DIR``: draw new people and new expressions."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from meshdisent.cli.results import Output, Result, refuse_output, write_result

if TYPE_CHECKING:
    import numpy as np

    from meshdisent.morphable.contract import MorphableModel


@dataclass(frozen=True, kw_only=True)
class Arguments(Output):
    """Draw new people with new expressions from where the codes of the training scans lie.

    For example: meshdisent sample run --count 12 --out people
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    count: Annotated[int, tyro.conf.arg(metavar="N")] = 12
    """How many faces."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Another number draws other faces."""
    identity: Annotated[str | None, tyro.conf.arg(metavar="SCAN")] = None
    """Keep the person of this scan, and draw expressions only."""
    expression: Annotated[str | None, tyro.conf.arg(metavar="SCAN|NAME|neutral")] = None
    """Keep the expression of this scan, the one that the model has under this name (jawOpen), or none at all (neutral),
    and draw people only. `meshdisent models` says which models have names."""
    spread: Annotated[float, tyro.conf.arg(metavar="SCALE")] = 1.0
    """Below 1 faces are more usual, above 1 less."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent sample", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_output(given)
    from meshdisent.cli.scan_arguments import read_scan
    from meshdisent.editing import sample
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    identity = None if given.identity is None else read_scan(given.identity, model).vertices
    expression = _expression(given.expression, model)
    meshes = sample(model, given.count, given.seed, identity, expression, given.spread)
    shown = [mesh.vertices for mesh in meshes[:48]]
    columns = min(6, len(shown))
    result = Result(
        meshes={f"{number:04d}": mesh for number, mesh in enumerate(meshes)},
        rows=[shown[k : k + columns] for k in range(0, len(shown), columns)],
        title=f"{len(shown)} of {len(meshes)} samples, seed {given.seed}" if len(shown) < len(meshes) else "",
    )
    write_result(result, given)
    return 0


def _expression(text: str | None, model: "MorphableModel") -> "str | np.ndarray | None":
    """The vertices of a scan; a name, or what can be none but a misspelled one, stays as it is."""
    from meshdisent.cli.scan_arguments import read_scan

    if text is None or text in ("neutral", *model.named_expressions):
        return text
    return read_scan(text, model).vertices if Path(text).suffix or {"/", ":"} & set(text) else text
