"""From scans as a data set keeps them to the one file that training reads.

Read, check against the template, decimate with one linear map, align where the data set needs it, set the least likely
training scans aside, split. A scan that cannot be used is listed with its reason, and the rest goes on.
"""

import dataclasses
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from meshdisent.data.cluster import map_on_cluster
from meshdisent.data.common_frame import to_common_frame
from meshdisent.data.faces_writer import DatasetWriter, Transforms
from meshdisent.data.labels import SPLITS, Labels
from meshdisent.data.layouts.base import Layout, Listing, Rejection, ScanRecord
from meshdisent.data.layouts.recognition import find_scans
from meshdisent.data.neutral_frame import check_neutrals, to_neutral_frame
from meshdisent.data.outliers import drop_unlikely
from meshdisent.data.reading_journal import ReadBatch, ReadingJournal, journal_key
from meshdisent.data.rejected_list import rejected_path, write_rejected
from meshdisent.data.splits import split_scans
from meshdisent.data.target import Target, choose_target, stable_vertices
from meshdisent.data.true_neutrals import truth_array
from meshdisent.data.workers import check_workers, core_count, map_in_order
from meshdisent.errors import DataError, UsageError
from meshdisent.files import refuse_existing
from meshdisent.mesh.alignment import align as align_points

Alignment = Literal["none", "rigid", "similarity", "neutral-first"]
#: Applies a function to tasks, somewhere, and gives the results in the order of the tasks.
Spread = Callable[[Callable[[list[ScanRecord]], ReadBatch], list[list[ScanRecord]]], Iterator[ReadBatch]]
_SCANS_PER_WORKER = 200  # a new process takes two seconds to start
_BATCH, _LARGEST_BATCH = 16, 64  # scans that one worker reads at a time; a batch ends with a subject where it can


@dataclass(frozen=True)
class Preparation:
    """What came of a preparation.

    Attributes
    ----------
    path : The dataset.
    scans, subjects : How many it holds.
    splits : Scans of each split.
    neutrals : Subjects with a known neutral.
    vertices, full_vertices : Vertices of a scan after and before decimation.
    rejected : Files that were left out, and why; also in ``rejected_path``.
    passed_over : How many files of each other kind lay in the folders.
    remarks : What the layout found worth knowing, such as scans that the data set should have.
    seconds : Time it took.
    """

    path: str
    scans: int
    subjects: int
    splits: dict[str, int]
    neutrals: int
    vertices: int
    full_vertices: int
    rejected: tuple[Rejection, ...]
    rejected_path: str
    passed_over: dict[str, int]
    remarks: tuple[str, ...]
    seconds: float


def prepare(
    layout: Layout,
    out: str | os.PathLike,
    *,
    vertices: int | None = None,
    crop: str | None = None,
    topology: str | os.PathLike | None = None,
    align: Alignment | None = None,
    stable: str | os.PathLike | None = None,
    drop: float | None = None,
    split_by: str | os.PathLike = "subjects",
    seed: int = 0,
    workers: int | None = 1,
    cluster: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Preparation:
    """Write a faces.h5 from the scans of a data set.

    What has been read is kept beside ``out`` until the file is whole, so the same call after an interruption goes on
    where it was, and gives the same file.

    Parameters
    ----------
    layout : How the data set lies on disk, such as ``FolderLayout(raw=(Path("scans"),))``.
    out : The file to write; rejected scans are listed beside it, in ``NAME.rejected.csv``.
    vertices : Decimate the template to so many vertices, and all scans by the same map.
    crop : Keep only this region of the template (:func:`meshdisent.data.known_faces.known_regions`); the way back to
        the whole stays in the file.
    topology : Template that all scans must match: a mesh, or a faces.h5.
    align : "none", "rigid", "similarity" (with scale: to the size of ``topology`` if given, else the mean size), or
        "neutral-first" (neutrals to their mean, then the others to their subject's neutral, by the stable vertices);
        the layout knows what its scans need.
    stable : Align by these vertices only: a region of the template, or a file of indices.
    drop : Share of the training scans to set aside as unlikely, from 0 to below 1; the layout knows.
    split_by : "subjects", "frames", a published split that the layout knows by name, or a JSON file of subject names.
    seed : Draws the split of subjects, and the people of a layout that makes them.
    workers : Processes that read scans, None for one a core; changes nothing but the time.
    cluster : Address of a dask.distributed scheduler whose workers read instead; they see the files by the same names.
    overwrite : Replace an existing file.
    progress : Show a bar on standard error.

    Returns
    -------
    Counts, and what was left out.

    Raises
    ------
    DataError : If no scan is usable, or a file that was named is not.
    UsageError : If ``out`` exists, or arguments cannot work together.
    """
    started = time.monotonic()
    out = Path(out)
    refuse_existing(out, overwrite)
    alignment, share = align or layout.align, layout.drop if drop is None else drop
    _check_arguments(alignment, share, stable, workers, cluster)
    listing = find_scans(layout)
    subjects, expressions = _names(listing)
    split = split_scans(split_by, subjects, seed, listing.left_out, expressions=expressions, named=layout.splits)
    if alignment == "neutral-first":
        check_neutrals(subjects, expressions, layout.neutral)
    target = choose_target(layout, listing.records, seed, vertices, topology, crop)
    anchors = stable_vertices(stable, target)
    settings = _settings(layout, vertices, topology, alignment, stable, share, split_by, seed, crop)
    read = functools.partial(_read_batch, layout, target, anchors, seed)
    spread: Spread = functools.partial(map_in_order, worker_count=workers or _worker_count(len(listing.records)))
    if cluster is not None:
        spread = functools.partial(map_on_cluster, address=cluster)
    with (
        _journal(out, settings, listing, target, anchors) as journal,
        DatasetWriter(out, target.topology, settings, overwrite) as writer,
    ):
        kept = _read_all(writer, listing, read, spread, journal, progress)
        write_rejected(out, kept.rejected)
        if not len(writer):
            raise DataError(
                f"None of {len(split)} scans is usable; the first, {kept.rejected[0].source}: "
                f"{kept.rejected[0].reason}. {rejected_path(out)} lists the reason for each."
            )
        labels = _labels(listing, kept.places, split, layout.neutral)
        transforms = None
        if alignment != "none":
            has_size = topology is not None  # one of the scans, taken as the template, says nothing about size
            transforms = _align(writer, target, kept, anchors, alignment, labels, has_size)
        if share:
            labels = _set_aside_unlikely(writer, labels, share)
        truth = truth_array(kept.truth, labels.subjects, target.topology.vertex_count) if kept.truth else None
        writer.finish(labels, truth, transforms, target.trace())
    known = (labels.neutral_row >= 0) | [name in kept.truth for name in labels.subjects]
    return Preparation(
        path=str(out),
        scans=len(labels),
        subjects=len(labels.subjects),
        splits={name: int((labels.split == k).sum()) for k, name in enumerate(SPLITS)},
        neutrals=int(np.sum(known)),
        vertices=target.topology.vertex_count,
        full_vertices=target.full.vertex_count,
        rejected=tuple(kept.rejected),
        rejected_path=str(rejected_path(out)),
        passed_over=dict(listing.passed_over),
        remarks=listing.remarks,
        seconds=time.monotonic() - started,
    )


@dataclass(eq=False)
class _Kept:
    """What reading left: places in the listing, anchors, true neutrals, rejections."""

    places: list[int]
    anchors: list[np.ndarray]
    truth: dict[str, np.ndarray]
    truth_anchors: dict[str, np.ndarray]
    rejected: list[Rejection]


def _journal(
    out: Path, settings: dict[str, Any], listing: Listing, target: Target, anchors: Int[np.ndarray, " anchor"] | None
) -> ReadingJournal:
    """What an earlier call with the same files and settings has read already."""
    rows = np.empty(0, np.int64) if anchors is None else anchors
    what = (sorted(settings.items()), listing.records, target.topology.template_hash, rows.tobytes())
    key = journal_key(what, [record.source for record in listing.records])
    return ReadingJournal(out, key, target.topology.vertex_count, len(rows))


def _read_all(
    writer: DatasetWriter,
    listing: Listing,
    read: Callable[[list[ScanRecord]], ReadBatch],
    spread: Spread,
    journal: ReadingJournal,
    progress: bool,
) -> _Kept:
    kept = _Kept([], [], {}, {}, list(listing.rejected))
    batches = list(_batches(listing.records))
    fresh = _kept_in(journal, spread(read, batches[journal.done :]))
    if journal.done and progress:
        print(f"{journal.path} has {journal.done} of {len(batches)} batches already; going on.", file=sys.stderr)
    scan_place = np.cumsum([not record.is_truth for record in listing.records]) - 1
    first = 0
    with tqdm(total=len(listing.records), unit=" scans", desc="prepare", file=sys.stderr, disable=not progress) as bar:
        for records, batch in zip(batches, itertools.chain(journal.read(), fresh), strict=True):
            is_truth = np.array([records[k].is_truth for k in batch.kept], bool)
            for k in np.flatnonzero(is_truth):
                subject = records[batch.kept[k]].subject
                kept.truth[subject], kept.truth_anchors[subject] = batch.vertices[k], batch.anchors[k]
            writer.append(batch.vertices[~is_truth])
            kept.anchors.append(batch.anchors[~is_truth])
            kept.places += [int(scan_place[first + k]) for k in batch.kept if not records[k].is_truth]
            kept.rejected += batch.rejected
            first += len(records)
            bar.update(len(records))
            bar.set_postfix_str(f"{len(kept.rejected)} rejected" if kept.rejected else "", refresh=False)
    return kept


def _kept_in(journal: ReadingJournal, fresh: Iterator[ReadBatch]) -> Iterator[ReadBatch]:
    for batch in fresh:
        journal.append(batch)
        yield batch


def _batches(records: Sequence[ScanRecord]) -> Iterator[list[ScanRecord]]:
    batch: list[ScanRecord] = []
    for record in records:
        is_next_subject = batch and record.subject != batch[-1].subject
        if len(batch) >= (_BATCH if is_next_subject else _LARGEST_BATCH):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _read_batch(
    layout: Layout,
    target: Target,
    anchors: Int[np.ndarray, " anchor"] | None,
    seed: int,
    records: Sequence[ScanRecord],
) -> ReadBatch:
    """Read, check and decimate a few scans; runs in a worker."""
    anchor_rows = np.empty(0, np.int64) if anchors is None else anchors
    kept: list[int] = []
    rejected: list[Rejection] = []
    vertices = np.empty((len(records), target.topology.vertex_count, 3), np.float32)
    points = np.empty((len(records), len(anchor_rows), 3), np.float32)
    for k, mesh in enumerate(layout.read(records, seed)):
        if isinstance(mesh, Rejection):
            rejected.append(mesh)
            continue
        reason = target.reason_against(mesh, records[k].source)
        if reason is not None:
            rejected.append(Rejection(records[k].source, reason))
            continue
        vertices[len(kept)], points[len(kept)] = target.reduce(mesh.vertices), mesh.vertices[anchor_rows]
        kept.append(k)
    return ReadBatch(vertices[: len(kept)], points[: len(kept)], kept, rejected)


def _names(listing: Listing) -> tuple[list[str], list[str | None]]:
    """Subject and expression of each scan; true neutrals are none."""
    scans = [record for record in listing.records if not record.is_truth]
    return [record.subject for record in scans], [record.expression for record in scans]


def _labels(listing: Listing, places: list[int], split: list[str], neutral: str) -> Labels:
    scans = [record for record in listing.records if not record.is_truth]
    records = [scans[place] for place in places]
    return Labels.from_names(
        [record.subject for record in records],
        [record.expression for record in records],
        frame=[record.frame for record in records],
        split=[split[place] for place in places],
        neutral=neutral,
    )


def _align(
    writer: DatasetWriter,
    target: Target,
    kept: _Kept,
    anchors: Int[np.ndarray, " anchor"] | None,
    alignment: str,
    labels: Labels,
    to_template_size: bool,
) -> Transforms:
    points = None if anchors is None else np.concatenate(kept.anchors)
    training = np.flatnonzero(labels.split == SPLITS.index("train"))
    with_scale = alignment == "similarity"
    if alignment == "neutral-first":
        transforms, mean = to_neutral_frame(writer, points, labels, training)
        anchors = None  # a neutral is aligned by all of its vertices
    else:
        reference = target.topology.template if anchors is None else target.full.template[anchors]
        transforms, mean = to_common_frame(writer, points, reference, with_scale, training, to_template_size)
    for subject, vertices in kept.truth.items():
        source = vertices if anchors is None else kept.truth_anchors[subject]
        kept.truth[subject] = align_points(source.astype(np.float64), mean, with_scale).apply(vertices)
    return transforms


def _set_aside_unlikely(writer: DatasetWriter, labels: Labels, share: float) -> Labels:
    training = np.flatnonzero(labels.split == SPLITS.index("train"))
    split = labels.split.copy()
    if len(training):
        split[training[drop_unlikely(writer.read(training), share)]] = SPLITS.index("dropped")
    return dataclasses.replace(labels, split=split)


def _worker_count(scan_count: int) -> int:
    return min(core_count(), 1 + scan_count // _SCANS_PER_WORKER)


def _check_arguments(
    align: str, drop: float, stable: str | os.PathLike | None, workers: int | None, cluster: str | None
) -> None:
    if align not in get_args(Alignment):
        raise UsageError(f"--align is {align!r}; wanted {', '.join(get_args(Alignment))}.")
    if not 0 <= drop < 1:
        raise UsageError(f"--drop is {drop}; wanted a share from 0 to below 1, such as 0.05.")
    if stable is not None and align == "none":
        raise UsageError(f"--stable {stable} was given without an alignment; give --align rigid or similarity too.")
    if cluster is None:
        check_workers(workers)
    elif workers is not None and workers > 1:
        raise UsageError("--workers says how many processes read here, --cluster where else; give one of them.")


def _settings(layout: Layout, *given: Any) -> dict[str, str | int | float | bool]:
    from meshdisent import __version__

    names = ("vertices", "topology", "align", "stable", "drop", "split_by", "seed", "crop")
    settings: dict[str, Any] = dict(zip(names, given, strict=True)) | dataclasses.asdict(layout)  # type: ignore[call-overload]
    return {
        "layout": layout.name,
        "settings": json.dumps(settings, default=str),
        "made_by": f"meshdisent {__version__}",
    }
