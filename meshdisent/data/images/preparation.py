"""From images as a data set keeps them to the one file that training reads.

Find, crop, scale, write block by block. An image that cannot be used is listed with its reason, and the rest goes on.
"""

import dataclasses
import difflib
import functools
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from meshdisent.data.images.box_list import read_boxes
from meshdisent.data.images.cropping import NEED_BOXES, check_crop
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs
from meshdisent.data.images.image_reading import read_crops
from meshdisent.data.images.image_writer import ImageWriter
from meshdisent.data.images.layouts import IMAGE_LAYOUTS
from meshdisent.data.images.layouts.base import ImageLayout, ImageListing, ImageRecord
from meshdisent.data.images.layouts.recognition import find_images
from meshdisent.data.labels import SPLITS
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.rejected_list import rejected_path, write_rejected
from meshdisent.data.splits import split_by_subjects
from meshdisent.data.workers import check_workers, core_count, map_in_order
from meshdisent.errors import DataError, UsageError
from meshdisent.files import refuse_existing

_BATCH = 64  # images that one worker reads at a time
_IMAGES_PER_WORKER = 1000  # a new process takes about a second to start

_Batch = tuple[UInt8[np.ndarray, "image size size 3"], list[int], list[Rejection]]


@dataclass(frozen=True, kw_only=True)
class ImagePreparation:
    """What came of a preparation.

    Attributes
    ----------
    path : The dataset.
    images, subjects, expressions, sequences, pairs : How many it holds.
    splits : Images of each split.
    lists : Images of each named list.
    rejected : Images that were left out, with the reason.
    rejected_path : Where they are listed.
    passed_over : Files and rows that were not taken, by kind.
    remarks : What is worth knowing of the whole, a line each.
    seconds : Time taken.
    """

    path: str
    images: int
    subjects: int
    expressions: int
    sequences: int
    pairs: int
    splits: dict[str, int]
    lists: dict[str, int]
    rejected: tuple[Rejection, ...]
    rejected_path: str
    passed_over: dict[str, int]
    remarks: tuple[str, ...]
    seconds: float


def prepare_images(
    layout: str | ImageLayout,
    root: str | os.PathLike,
    out: str | os.PathLike,
    *,
    size: int = 64,
    crop: str | None = None,
    boxes: str | os.PathLike | None = None,
    subjects: int | None = None,
    seed: int = 0,
    strict: bool = False,
    workers: int | None = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> ImagePreparation:
    """Write an images.h5 from the images of a data set.

    Parameters
    ----------
    layout : How the data set lies on disk: a name of ``IMAGE_LAYOUTS``, or such a layout with its options.
    root : Folder of the data set.
    out : The file to write; images that were left out are listed beside it, in ``NAME.rejected.csv``.
    size : Side of the images, in pixels.
    crop : A name of ``CROPS``, or ``center:SIDE``; the layout knows what its images need.
    boxes : CSV of face boxes (:func:`~meshdisent.data.images.box_list.read_boxes`), instead of those of the data set.
    subjects : Take the first so many subjects only.
    seed : Draws the split of subjects where the data set has none.
    strict : Raise for the first image that cannot be used.
    workers : Processes that read images, None for one a core; changes nothing but the time.
    overwrite : Replace an existing file.
    progress : Show a bar on standard error.

    Returns
    -------
    Counts, and what was left out.

    Raises
    ------
    DataError : If no image is usable, a list is wrong, or, with ``strict``, one image is not usable.
    UsageError : If ``out`` exists, or arguments cannot work together.
    """
    started, out, root = time.monotonic(), Path(out), Path(root)
    refuse_existing(out, overwrite)
    chosen = _layout(layout)
    crop = chosen.crop if crop is None else crop
    check_crop(crop)
    check_workers(workers)
    listing = _first_subjects(find_images(chosen, root), subjects)
    if strict and listing.rejected:
        raise DataError(_refusal(listing.rejected[0]))
    records = _with_splits(_with_boxes(listing.records, crop, boxes, root), seed)
    settings = _settings(chosen, crop=crop, boxes=boxes, subjects=subjects, seed=seed)
    process_count = workers or min(core_count(), 1 + len(records) // _IMAGES_PER_WORKER)
    with ImageWriter(out, size, attributes=settings, overwrite=overwrite) as writer:
        kept, unreadable = _read_all(writer, records, crop, process_count, strict, progress)
        rejected = (*listing.rejected, *unreadable)
        write_rejected(out, rejected)
        if not kept:
            raise DataError(_nothing_left(root, chosen, rejected, out))
        labels, lost = _labels(listing, records, kept)
        writer.finish(labels)
    return _report(out, labels, listing, rejected, lost, time.monotonic() - started)


def _layout(layout: str | ImageLayout) -> ImageLayout:
    if not isinstance(layout, str):
        return layout
    if layout not in IMAGE_LAYOUTS:
        near = difflib.get_close_matches(layout, IMAGE_LAYOUTS, n=1, cutoff=0.0)[0]
        raise UsageError(
            f"There is no image layout {layout!r}; wanted {', '.join(IMAGE_LAYOUTS)}. Did you mean {near!r}?"
        )
    return IMAGE_LAYOUTS[layout]()


def _first_subjects(listing: ImageListing, count: int | None) -> ImageListing:
    """Keep the images of the first subjects; lists and pairs follow."""
    if count is None:
        return listing
    names = list(dict.fromkeys(record.subject for record in listing.records if record.subject is not None))
    if count < 1 or not names:
        raise UsageError(f"{count} subjects were asked for, of {len(names)} that are known; wanted at least 1 of both.")
    chosen = set(names[:count])
    kept = [k for k, record in enumerate(listing.records) if record.subject in chosen]
    place = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        listing,
        records=tuple(listing.records[k] for k in kept),
        lists={name: tuple(place[k] for k in rows if k in place) for name, rows in listing.lists.items()},
        pairs=tuple(
            pair._replace(first=place[pair.first], second=place[pair.second])
            for pair in listing.pairs
            if pair.first in place and pair.second in place
        ),
    )


def _with_boxes(
    records: Sequence[ImageRecord], crop: str, boxes: str | os.PathLike | None, root: Path
) -> list[ImageRecord]:
    if boxes is not None:
        if crop not in NEED_BOXES:
            raise UsageError(f"boxes={boxes} was given, and the crop {crop!r} needs none; wanted 'detector' or 'box'.")
        known = read_boxes(boxes, root)
        records = [dataclasses.replace(record, box=known.get(record.path)) for record in records]
    if crop in NEED_BOXES and all(record.box is None for record in records):
        raise DataError(
            f"The crop {crop!r} needs a box of each face, and there is none. Add the data set's list of boxes, give "
            "boxes in a CSV file (boxes=), or choose the crop 'center' or 'whole'."
        )
    if crop not in NEED_BOXES:  # then the camera's orientation may be followed
        return [dataclasses.replace(record, box=None) for record in records]
    return list(records)


def _with_splits(records: Sequence[ImageRecord], seed: int) -> list[ImageRecord]:
    names = [record.subject or "" for record in records if record.split is None]
    drawn = split_by_subjects(list(dict.fromkeys(names)), seed)
    return [
        record if record.split is not None else dataclasses.replace(record, split=drawn[record.subject or ""])
        for record in records
    ]


def _read_all(
    writer: ImageWriter,
    records: Sequence[ImageRecord],
    crop: str,
    workers: int,
    strict: bool,
    progress: bool,
) -> tuple[list[int], list[Rejection]]:
    """Append all images that can be used: their places among the records, and the others."""
    kept: list[int] = []
    rejected: list[Rejection] = []
    batches = list(_batches(records))
    read = functools.partial(read_crops, crop=crop, size=writer.image_size)
    first = 0
    with tqdm(total=len(records), unit=" images", desc="prepare", file=sys.stderr, disable=not progress) as bar:
        for batch, (pixels, places, refused) in zip(batches, map_in_order(read, batches, workers), strict=True):
            if strict and refused:
                raise DataError(_refusal(refused[0]))
            writer.append(pixels)
            kept += [first + place for place in places]
            rejected += refused
            first += len(batch)
            bar.update(len(batch))
            bar.set_postfix_str(f"{len(rejected)} rejected" if rejected else "", refresh=False)
    return kept, rejected


def _batches(records: Sequence[ImageRecord]) -> Iterator[Sequence[ImageRecord]]:
    for start in range(0, len(records), _BATCH):
        yield records[start : start + _BATCH]


def _labels(
    listing: ImageListing, records: Sequence[ImageRecord], kept: Sequence[int]
) -> tuple[ImageLabels, list[str]]:
    """Labels of the images that were written, and what their lists and pairs have lost."""
    row = {place: k for k, place in enumerate(kept)}
    lists = {name: [row[k] for k in places if k in row] for name, places in listing.lists.items()}
    whole = [pair for pair in listing.pairs if pair.first in row and pair.second in row]
    lost = [
        f"{len(places) - len(lists[name])} of {len(places)} images of the list {name} were left out"
        for name, places in listing.lists.items()
        if len(lists[name]) < len(places)
    ]
    if len(whole) < len(listing.pairs):
        lost.append(f"{len(listing.pairs) - len(whole)} of {len(listing.pairs)} pairs were left out with an image")
    pairs = None
    if listing.pairs:
        pairs = VerificationPairs(
            rows=np.array([(row[p.first], row[p.second]) for p in whole], np.int64).reshape(-1, 2),
            is_same=np.array([p.is_same for p in whole], bool),
            fold=np.array([p.fold for p in whole], np.int64),
        )
    written = [records[place] for place in kept]
    labels = ImageLabels.from_names(
        [record.subject for record in written],
        expressions=[record.expression for record in written],
        sequences=[record.sequence for record in written],
        frames=[record.frame for record in written],
        splits=[record.split or "train" for record in written],
        expression_table=listing.expressions,
        lists=lists,
        pairs=pairs,
    )
    return labels, lost


def _report(
    out: Path,
    labels: ImageLabels,
    listing: ImageListing,
    rejected: tuple[Rejection, ...],
    lost: Sequence[str],
    seconds: float,
) -> ImagePreparation:
    return ImagePreparation(
        path=str(out),
        images=len(labels),
        subjects=len(labels.subjects),
        expressions=len(labels.expressions),
        sequences=len(labels.sequences),
        pairs=0 if labels.pairs is None else len(labels.pairs),
        splits={name: int((labels.split == k).sum()) for k, name in enumerate(SPLITS)},
        lists={name: len(rows) for name, rows in labels.lists.items()},
        rejected=rejected,
        rejected_path=str(rejected_path(out)),
        passed_over=dict(listing.passed_over),
        remarks=(*listing.remarks, *lost),
        seconds=seconds,
    )


def _refusal(rejection: Rejection) -> str:
    return f"{rejection.source}: {rejection.reason}. Mend it or take it out, or prepare without strict."


def _nothing_left(root: Path, layout: ImageLayout, rejected: Sequence[Rejection], out: Path) -> str:
    if not rejected:
        return f"{root} holds no image that the layout {layout.name} takes. Check the folder."
    return (
        f"None of {len(rejected)} images is usable; the first, {rejected[0].source}: {rejected[0].reason}. "
        f"{rejected_path(out)} lists the reason for each."
    )


def _settings(layout: ImageLayout, **given: Any) -> dict[str, str | int | float | bool]:
    settings = given | dataclasses.asdict(layout)  # type: ignore[call-overload]
    return {"layout": layout.name, "settings": json.dumps(settings, default=str)}
