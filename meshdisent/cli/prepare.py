"""``meshdisent prepare LAYOUT RAW... --out faces.h5``: read a folder of registered scans into one file."""

import difflib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from meshdisent.data.layouts import LAYOUTS
from meshdisent.data.preparation import Preparation, prepare
from meshdisent.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What is done to the scans."""

    out: Path
    """The file to write; what cannot be used is listed beside it, in NAME.rejected.csv."""
    vertices: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Decimate to so many vertices: once on the template, then all scans by the same map."""
    crop: Annotated[str | None, tyro.conf.arg(metavar="REGION")] = None
    """Keep this region only: one that the data set names, or where the landmarks are known one of front, eyes, mouth,
    nose ... (docs page landmarks)."""
    split_by: Annotated[str, tyro.conf.arg(metavar="HOW")] = "subjects"
    """subjects (60 % train, 10 % val, 30 % test), frames (10 of every 100 to the test), a published split of the
    layout (named above), or a JSON file {"train": [subjects], "val": [...], "test": [...]}."""
    align: Literal["layout", "none", "rigid", "similarity", "neutral-first"] = "layout"
    """Bring the scans into one frame; layout: what the data set needs; neutral-first: neutrals to their mean, then the
    others to their subject's neutral by the stable vertices (FED on BU-3DFE)."""
    stable: Annotated[str | None, tyro.conf.arg(metavar="REGION|FILE")] = None
    """Align by these vertices only: a region of the template, or a file with one index a line."""
    drop: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Share of training scans to set aside as unlikely (0.05 in the papers); if not given, what the data set needs."""
    topology: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Template that the scans must match, a mesh, a FLAME model (.pkl, .npz) or a faces.h5; if not given, one of the
    scans."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Draws the split, and the people of the layout ict."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes that read, at most one a core; if not given, as many."""
    cluster: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Let the workers of a dask.distributed scheduler read, such as tcp://10.0.0.1:8786; they see the same files."""
    strict: bool = False
    """Exit with code 3 if any scan was rejected."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in LAYOUTS:
        close = difflib.get_close_matches(name, LAYOUTS, n=1)
        hint = f"Did you mean {close[0]}?" if close else "Write: meshdisent prepare LAYOUT RAW --out faces.h5."
        raise UsageError(f"{name!r} is no layout; wanted one of {', '.join(LAYOUTS)}. {hint}")
    layout, steps = _parse(name, arguments[1:])
    result = prepare(
        layout,
        steps.out,
        vertices=steps.vertices,
        crop=steps.crop,
        topology=steps.topology,
        align=None if steps.align == "layout" else steps.align,
        stable=steps.stable,
        drop=steps.drop,
        split_by=steps.split_by,
        seed=steps.seed,
        workers=steps.workers,
        cluster=steps.cluster,
        overwrite=steps.overwrite,
        progress=True,
    )
    print(_text(result))
    if steps.strict and result.rejected:
        print(f"--strict: {len(result.rejected)} scans were rejected, see {result.rejected_path}", file=sys.stderr)
        return 3
    return 0


def _parse(name: str, arguments: list[str]) -> tuple[Any, Steps]:
    layout = LAYOUTS[name]
    flat = tyro.conf.arg(name="")  # the options of both stand side by side, without a prefix
    both = tuple[Annotated[layout, flat], Annotated[Steps, flat]]  # type: ignore[valid-type]
    return tyro.cli(
        both,
        args=arguments,
        prog=f"meshdisent prepare {name}",
        description=_description(name),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _description(name: str) -> str:
    """What a layout is, with its published splits and an example."""
    layout = LAYOUTS[name]
    lines = [str(layout.__doc__), ""]
    if layout.splits:
        lines += ["Published splits, for --split-by:"]
        shown = {
            f"{how}:{split.argument}" if split.argument else how: split.about for how, split in layout.splits.items()
        }
        lines += [f"  {how:{max(map(len, shown))}}  {about}" for how, about in shown.items()] + [""]
    split = next((how for how, split in layout.splits.items() if not split.argument), "")
    options = f" --split-by {split}" if split else " --vertices 1200"
    return "\n".join([*lines, f"For example: meshdisent prepare {name} RAW --out faces.h5{options}"])


def _text(result: Preparation) -> str:
    splits = ", ".join(f"{count} {name}" for name, count in result.splits.items() if count)
    lines = [
        f"{result.path}: {result.scans} scans of {result.subjects} subjects ({splits}), {result.vertices} vertices"
        + (f" out of {result.full_vertices}" if result.full_vertices != result.vertices else "")
        + f", in {result.seconds:.1f} s",
        f"neutral known of {result.neutrals} of {result.subjects} subjects"
        + ("" if result.neutrals else "; name the expression at rest with --neutral NAME"),
    ]
    lines += [f"passed over: {count} {kind}" for kind, count in result.passed_over.items()]
    lines += [f"note: {remark}" for remark in result.remarks]
    if result.rejected:
        lines.append(f"rejected: {len(result.rejected)} scans, listed in {result.rejected_path}; the first:")
        lines += [f"  {rejection.source}: {rejection.reason}" for rejection in result.rejected[:3]]
    lines.append(f"next: meshdisent inspect {result.path}")
    return "\n".join(lines)


def _help() -> str:
    rows = [f"  {name:{max(map(len, LAYOUTS))}}  {(layout.__doc__ or '').strip()}" for name, layout in LAYOUTS.items()]
    return "\n".join(
        [
            "usage: meshdisent prepare LAYOUT RAW... --out faces.h5 [options]",
            "",
            "Read registered scans into one file that training reads. LAYOUT says how they lie on disk:",
            "",
            *rows,
            "",
            "For example: meshdisent prepare folder RAW --split-by RAW/split.json --out faces.h5",
            "Options of a layout: meshdisent prepare LAYOUT --help",
        ]
    )
