"""``meshdisent combine A.h5 B.h5 ... --out all.h5``: several scan datasets of one topology as one."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing

if TYPE_CHECKING:
    from meshdisent.data.combination import Combination

_FAR_MM, _SAVED = 1.0, 0.8  # what is said to be apart: so far, and at most this share of it left after moving the set


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Make one file of several scan datasets of one topology, to train on all of them at once.

    For example: meshdisent combine ict.h5 heads=synthetic/faces.h5 --out all.h5

    Subjects are kept apart (anna of the set ict is ict-anna); every scan remembers its set.
    """

    data: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME=]FACES.H5", help_behavior_hint="(required)")
    ]
    """The datasets, each with a name for its set if that of the file will not do."""
    out: Annotated[Path, tyro.conf.arg(metavar="FACES.H5")]
    """The file to write."""
    expressions: Literal["joined", "apart"] = "joined"
    """joined: expressions of one name are the same in all sets; apart: each set has its own."""
    align: Literal["none", "rigid"] = "none"
    """rigid: move each set as a whole, so that its mean face lies on that of the first."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent combine", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    from meshdisent.data.combination import combine
    from meshdisent.data.dataset import ScanDataset

    files = named_files(given.data)
    found = combine(
        {name: ScanDataset.open(file) for name, file in files.items()},
        given.out,
        expressions=given.expressions,
        align=given.align,
        overwrite=given.overwrite,
        progress=True,
    )
    print(text(found))
    return 0


def named_files(given: tuple[str, ...]) -> dict[str, str]:
    """Files by the name of their set, which stands before ``=`` or is found from the path.

    Raises
    ------
    UsageError : If two sets get one name.
    """
    from meshdisent.data.combination import set_names

    pairs = [re.fullmatch(r"(?:([^=/\\]+)=)?(.+)", entry) for entry in given]
    files = [pair[2] if pair else entry for pair, entry in zip(pairs, given, strict=True)]
    unnamed = [file for file, pair in zip(files, pairs, strict=True) if pair is None or pair[1] is None]
    found = dict(zip(unnamed, set_names(unnamed) if unnamed else [], strict=False))
    names = [pair[1] if pair and pair[1] else found[file] for file, pair in zip(files, pairs, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two of the sets are called {twice!r}; give each another name: NAME=FACES.H5.")
    return dict(zip(names, files, strict=True))


def text(found: "Combination") -> str:
    """What a person wants to read of a combination."""
    lines = [
        f"{found.path}: {found.scans} scans of {found.subjects} subjects, {found.expressions} expressions, "
        f"{len(found.sets)} sets"
    ]
    for part in found.sets:
        known = f", {part.known_expressions} expressions known before" if part is not found.sets[0] else ""
        lines.append(f"  {part.name:12} {part.scans} scans of {part.subjects} subjects{known}")
        if part.apart_mm > _FAR_MM and part.aligned_mm < _SAVED * part.apart_mm:
            lines.append(
                f"WARNING: the mean face of {part.name} lies {part.apart_mm:.1f} mm from that of {found.sets[0].name}, "
                f"{part.aligned_mm:.1f} mm after moving the set as a whole: give --align rigid, unless that is meant"
            )
    lines.append(f"next: meshdisent inspect {found.path}")
    return "\n".join(lines)
