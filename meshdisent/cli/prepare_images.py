"""``meshdisent prepare-images LAYOUT RAW --out images.h5``: photographs of faces into the file that training reads."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from meshdisent.data.images.preparation import ImagePreparation


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Read photographs or frames of faces into one file: crop, scale, and keep who and what is seen.

    Layouts: celeba, voxceleb, rafdb, affectnet, affwild2, lfw, sllfw, folder (SUBJECT/*.jpg or SUBJECT/SEQUENCE/*.jpg).

    For example: meshdisent prepare-images folder photos --out images.h5 --size 64
    """

    layout: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="LAYOUT")]
    """How they lie on disk; data_prep/images.py says what each wants where."""
    raw: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RAW")]
    """Their folder."""
    out: Annotated[Path, tyro.conf.arg(metavar="IMAGES.H5")]
    """The file to write."""
    size: Annotated[int, tyro.conf.arg(metavar="PIXELS")] = 64
    """Of a side; 64 and 128 are published."""
    crop: Annotated[str | None, tyro.conf.arg(metavar="box|detector|center|center:SIDE|whole")] = None
    """Which square holds the face; if not given, as the layout is published."""
    boxes: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Boxes of your own detector, a CSV with path,left,top,right,bottom; for the crops box and detector."""
    subjects: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Only the first so many subjects."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Draws the split where the data set has none."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Processes that read, at most one a core; if not given, as many."""
    strict: bool = False
    """Stop at the first image that cannot be used."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(
        Arguments, args=arguments, prog="meshdisent prepare-images", config=(tyro.conf.FlagCreatePairsOff,)
    )
    from meshdisent.data.images.preparation import prepare_images

    result = prepare_images(
        given.layout,
        given.raw,
        given.out,
        size=given.size,
        crop=given.crop,
        boxes=given.boxes,
        subjects=given.subjects,
        seed=given.seed,
        strict=given.strict,
        workers=given.workers,
        overwrite=given.overwrite,
        progress=sys.stderr.isatty(),
    )
    print(_text(result))
    return 0


def _text(result: "ImagePreparation") -> str:
    splits = ", ".join(f"{count} {name}" for name, count in result.splits.items() if count)
    lines = [
        f"{result.path}: {result.images} images of {result.subjects} subjects ({splits}), {result.sequences} sequences"
        f", in {result.seconds:.1f} s"
    ]
    lines += [f"list {name}: {count} images" for name, count in result.lists.items()]
    lines += [f"pairs to verify: {result.pairs}"] if result.pairs else []
    lines += [f"passed over: {count} {kind}" for kind, count in result.passed_over.items()]
    lines += [f"note: {remark}" for remark in result.remarks]
    if result.rejected:
        lines.append(f"rejected: {len(result.rejected)} images, listed in {result.rejected_path}; the first:")
        lines += [f"  {rejection.source}: {rejection.reason}" for rejection in result.rejected[:3]]
    lines.append(f"next: meshdisent train latentface-rendered --data {shlex.quote(str(result.path))} --out run")
    return "\n".join(lines)
