"""``meshdisent transfer MODEL --identity SCAN --expression SCAN... --out DIR``: put an expression on a person."""

import contextlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from meshdisent.cli.results import Output, Result, refuse_output, write_json, write_result
from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing

if TYPE_CHECKING:
    import numpy as np

    from meshdisent.cli.scan_arguments import NamedScan
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.morphable.contract import MorphableModel

_SHOWN, _FRAMES, _MEASURED = 8, 120, 32


@dataclass(frozen=True, kw_only=True)
class Arguments(Output):
    """Put the expressions of some scans on the person of another; a sequence stays one.

    For example: meshdisent transfer run --identity faces.h5:anna/neutral --expression faces.h5:ben/smile --out smiling

    It says how much of the others' identity came along, with each method: 0 % is the person, 100 % the other.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run folder, a model file, or a name that `meshdisent models` lists."""
    identity: Annotated[str, tyro.conf.arg(metavar="SCAN")]
    """Who: a mesh file, or faces.h5:SUBJECT/EXPRESSION, with any expression."""
    expression: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SCAN|SEQUENCE")]
    """What the face does: one scan or several, of anyone; or sequences: faces.h5:SUBJECT/EXPRESSION with all frames, a
    folder of meshes, or a pattern such as 'walk/*.ply' in quotes (in natural order: 2 comes before 10)."""
    method: Literal["codes", "delta", "delta-local"] = "codes"
    """codes: identity and expression code decoded together; delta: what the other face moved from its neutral is added;
    delta-local: the same, turned and stretched as the two neutrals differ."""
    strength: Annotated[float, tyro.conf.arg(metavar="SCALE")] = 1.0
    """0 is the face at rest, 1 the expression as it is, above 1 exaggerates."""
    smooth: Annotated[float, tyro.conf.arg(metavar="FRAMES")] = 0.0
    """Average each sequence over time: standard deviation in frames."""
    keep_detail: bool = False
    """Keep what the model's codes cannot say of the person's scan (displacements keep it anyway)."""
    neutral: Annotated[str | None, tyro.conf.arg(metavar="SCAN")] = None
    """The person at rest, for delta; if not given, what the model takes for it."""
    others_neutral: Annotated[str | None, tyro.conf.arg(metavar="SCAN")] = None
    """Who makes the expressions, at rest, for delta; if not given, what the model takes for it in each scan."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the numbers as one JSON object (- for standard output, instead of the text)."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent transfer", config=(tyro.conf.FlagCreatePairsOff,))
    _check(given)
    from meshdisent.cli.scan_arguments import read_scan, read_sequences
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable(given.model)
    person = read_scan(given.identity, model)
    sequences, left_out = read_sequences(given.expression, model)
    neutrals = {
        name: None if text is None else read_scan(text, model).vertices
        for name, text in (("neutral", given.neutral), ("neutrals", given.others_neutral))
    }
    made = {
        name: _transferred(given.method, model, person, scans, given, neutrals) for name, scans in sequences.items()
    }
    leak = _leaks(model, person, sequences, given, neutrals)
    with contextlib.redirect_stdout(sys.stderr) if given.json == "-" else contextlib.nullcontext():
        write_result(_result(person, sequences, made, given), given)
        print(_text(leak))
    settings = {"method": given.method, "strength": given.strength, "smooth": given.smooth}
    numbers = {**settings, "results": sum(map(len, made.values())), "left_out": left_out, "identity_leak": leak}
    write_json(numbers, given.json, given.overwrite)
    return 3 if left_out else 0


def _check(given: Arguments) -> None:
    refuse_output(given)
    if given.json not in (None, "-"):
        refuse_existing(str(given.json), given.overwrite)
    if given.method == "codes" and (given.neutral, given.others_neutral) != (None, None):
        raise UsageError("--neutral and --others-neutral belong to displacements; give --method delta or delta-local.")
    if given.method != "codes" and given.keep_detail:
        raise UsageError("--keep-detail belongs to --method codes; displacements keep the detail of the scan anyway.")


def _transferred(
    method: str,
    model: "MorphableModel",
    person: "NamedScan",
    scans: "list[NamedScan]",
    given: Arguments,
    neutrals: "dict[str, np.ndarray | None]",
) -> "list[Mesh]":
    """One sequence, or one scan, by a method."""
    import numpy as np

    from meshdisent.editing import METHODS

    own: dict[str, Any] = {"keep_detail": given.keep_detail} if method == "codes" else neutrals
    shown = np.stack([scan.vertices for scan in scans])
    return METHODS[method](model, person.vertices, shown, strength=given.strength, smooth=given.smooth, **own)


def _leaks(
    model: "MorphableModel",
    person: "NamedScan",
    sequences: "dict[str, list[NamedScan]]",
    given: Arguments,
    neutrals: "dict[str, np.ndarray | None]",
) -> dict[str, dict[str, float | None]]:
    """How much of the others comes along, with each method, over some of the scans."""
    from meshdisent.editing import METHODS, identity_leak

    scans = _spread([scan for sequence in sequences.values() for scan in sequence], _MEASURED)
    found = {}
    for method in METHODS:
        meshes = [mesh for scan in scans for mesh in _transferred(method, model, person, [scan], given, neutrals)]
        leak = identity_leak(model, meshes, person.vertices, [scan.vertices for scan in scans])
        found[method] = {"share": leak["share"], "nearer": leak["nearer"]}
    return found


def _text(leak: dict[str, dict[str, float | None]]) -> str:
    shares = {method: found["share"] for method, found in leak.items()}
    said = ", ".join(f"{method} {'-' if share is None else f'{100 * share:.0f} %'}" for method, share in shares.items())
    return f"identity leak (0 % the person, 100 % who made the expression): {said}"


def _result(
    person: "NamedScan",
    sequences: "dict[str, list[NamedScan]]",
    made: "dict[str, list[Mesh]]",
    given: Arguments,
) -> Result:
    """Named meshes, a sheet of some, and the longest sequence as an animation."""
    meshes = {}
    for name, results in made.items():
        for number, mesh in enumerate(results):
            meshes[f"{person.name}-as-{name}" + (f"-{number:04d}" if len(results) > 1 else "")] = mesh
    pairs = [pair for name in made for pair in zip(sequences[name], made[name], strict=True)]
    shown = _spread(pairs, _SHOWN) if any(len(results) > 1 for results in made.values()) else pairs[:_SHOWN]
    longest = max(made.values(), key=len)
    return Result(
        meshes=meshes,
        rows=[[scan.vertices for scan, _ in shown], [mesh.vertices for _, mesh in shown]],
        row_labels=["the expression", "on the person, detail kept" if given.keep_detail else "on the person"],
        column_labels=[scan.name for scan, _ in shown],
        title=f"{len(shown)} of {len(pairs)}" if len(shown) < len(pairs) else "",
        frames=[mesh.vertices for mesh in _spread(longest, _FRAMES)] if len(longest) > 1 else (),
        there_and_back=False,
    )


def _spread(items: list, count: int) -> list:
    """At most so many, evenly taken."""
    last = len(items) - 1
    return items if len(items) <= count else [items[round(k * last / (count - 1))] for k in range(count)]
