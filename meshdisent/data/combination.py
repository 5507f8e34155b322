"""Several scan datasets of one topology as one, for training on all of them at once (WSDF, section IV.D, table II).

Subjects stay apart, expressions of one name are one, and every scan remembers its set.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32
from tqdm import tqdm

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.faces_file import blocks
from meshdisent.data.faces_writer import DatasetWriter, FullResolution, Transforms
from meshdisent.data.labels import SPLITS, UNKNOWN, Labels
from meshdisent.errors import DataError, TopologyError, UsageError
from meshdisent.files import refuse_existing
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.alignment import align as align_points
from meshdisent.mesh.misfit import misfit
from meshdisent.mesh.topology import Topology

Expressions = Literal["joined", "apart"]
Alignment = Literal["none", "rigid"]
_SEEN = 300  # scans of a set that its mean face is taken from, spread over the file


@dataclass(frozen=True, kw_only=True)
class CombinedSet:
    """One of the datasets in a combination.

    Attributes
    ----------
    name : Under which its scans are recorded.
    scans, subjects : How many.
    known_expressions : Expressions that the sets before it have too, by name.
    apart_mm : Mean distance of its mean face from that of the first set, in mm, as the scans are written.
    aligned_mm : What would be left of it after moving the whole set rigidly.
    """

    name: str
    scans: int
    subjects: int
    known_expressions: int
    apart_mm: float
    aligned_mm: float


@dataclass(frozen=True, kw_only=True)
class Combination:
    """What came of combining: the file, its counts, and each set."""

    path: str
    scans: int
    subjects: int
    expressions: int
    sets: tuple[CombinedSet, ...]


def combine(
    datasets: Mapping[str, ScanDataset],
    path: str | os.PathLike,
    *,
    expressions: Expressions = "joined",
    align: Alignment = "none",
    overwrite: bool = False,
    progress: bool = False,
) -> Combination:
    """Write several datasets of one topology as one faces.h5.

    A subject ``anna`` of the set ``a`` is called ``a-anna``. Splits, neutrals and transforms stay; the template, the
    order of the faces and the way back to an undecimated template are those of the first set.

    Parameters
    ----------
    datasets : By the name of their set. One that was combined itself keeps its sets and its subjects' names.
    path, overwrite : The file to appear, and whether it may replace another.
    expressions : "joined": one of the same name is the same; "apart": each set has its own, ``a-smile``.
    align : "none", or "rigid": each set is moved as a whole so that its mean face lies on that of the first.
    progress : Show a bar on standard error.

    Raises
    ------
    TopologyError : If the topologies differ.
    DataError : If a set is in another unit or lies elsewhere, a set is given twice, or names collide.
    UsageError : If fewer than two sets are given, or ``path`` exists and ``overwrite`` is false.

    Examples
    --------
    >>> half = [scans.rows("train"), scans.rows("test")]
    >>> from meshdisent.data.subset import save_subset
    >>> for name, rows in zip("ab", half):
    ...     save_subset(scans, rows, folder / f"{name}.h5")
    >>> result = combine({name: ScanDataset.open(folder / f"{name}.h5") for name in "ab"}, folder / "all.h5")
    >>> both = ScanDataset.open(folder / "all.h5")
    >>> both.sets, both.set_of_scan.tolist() == [0] * 12 + [1] * 6, both.names()[-1]
    (('a', 'b'), True, 'b-finn/frown')
    """
    refuse_existing(path, overwrite)
    names, sets = list(datasets), list(datasets.values())
    _check_sets(names, sets)
    motions, apart = _motions(names, sets, align)
    labels = _joined_labels(names, sets, expressions)
    labels.check(str(path))
    topology = _with_all_regions(sets)
    with DatasetWriter(path, topology, _attributes(names, sets), overwrite) as writer:
        total = sum(map(len, sets))
        with tqdm(total=total, unit=" scans", desc="combine", file=sys.stderr, disable=not progress) as bar:
            for scans, motion in zip(sets, motions, strict=True):
                for rows in blocks(len(scans), topology.vertex_count):
                    writer.append(_moved(scans.vertices(rows), motion))
                    bar.update(len(rows))
        writer.finish(labels, _joined_truth(sets, motions), _joined_transforms(sets, motions), _common_full(sets))
    return Combination(
        path=str(path),
        scans=len(labels),
        subjects=len(labels.subjects),
        expressions=len(labels.expressions),
        sets=tuple(_described(names, sets, apart, expressions)),
    )


def _described(
    names: Sequence[str], sets: Sequence[ScanDataset], apart: Sequence[tuple[float, float]], expressions: Expressions
) -> Iterator[CombinedSet]:
    seen: set[str] = set()
    for name, scans, (apart_mm, aligned_mm) in zip(names, sets, apart, strict=True):
        yield CombinedSet(
            name=name,
            scans=len(scans),
            subjects=len(scans.subjects),
            known_expressions=0 if expressions == "apart" else len(seen & {*scans.expressions}),
            apart_mm=apart_mm,
            aligned_mm=aligned_mm,
        )
        seen |= {*scans.expressions}


def set_names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Short different names for files: what they are called, else the folders they lie in, else both.

    Raises
    ------
    UsageError : If none of these tells them apart.

    Examples
    --------
    >>> set_names(["ict.h5", "heads.h5"]), set_names(["ict/faces.h5", "heads/faces.h5"])
    (['ict', 'heads'], ['ict', 'heads'])
    """
    files = [Path(path) for path in paths]
    folders = [file.absolute().parent.name for file in files]
    for names in (
        [file.stem for file in files],
        folders,
        [f"{folder}-{file.stem}" for folder, file in zip(folders, files, strict=True)],
    ):
        if len(set(names)) == len(names) and all(names):
            return names
    raise UsageError("The files have neither names nor folders of their own; give each set a name: NAME=FACES.H5.")


def _check_sets(names: Sequence[str], sets: Sequence[ScanDataset]) -> None:
    if len(sets) < 2:
        raise UsageError(f"{len(sets)} dataset{'' if len(sets) == 1 else 's'} given; wanted at least two to combine.")
    first, where = sets[0].topology, _where(names[0], sets[0])
    seen: dict[str, str] = {}
    for name, scans in zip(names, sets, strict=True):
        found, here = scans.topology, _where(name, scans)
        if found.topology_hash != first.topology_hash:
            raise TopologyError(
                f"{here} has topology {found.topology_hash} ({found.vertex_count} vertices, {found.face_count} faces); "
                f"{where} has {first.topology_hash} ({first.vertex_count}, {first.face_count}). Only scans of one "
                f"topology can be combined. Resample it (meshdisent resample {here} --topology {where} --out FILE), or "
                "register its raw scans to that template and prepare them again."
            )
        if scans.data_hash in seen:
            raise DataError(f"{here} holds the same scans as {seen[scans.data_hash]}; give each dataset once.")
        seen[scans.data_hash] = here
    own = [name for name, scans in zip(names, sets, strict=True) for name in (scans.sets or (name,))]
    twice = next((name for name in own if own.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"Two of the sets are called {twice!r}; give the files other names: NAME=FACES.H5.")


def _where(name: str, scans: ScanDataset) -> str:
    return os.path.relpath(scans.path) if scans.path else f"the set {name}"


def _motions(
    names: Sequence[str], sets: Sequence[ScanDataset], align: Alignment
) -> tuple[list[Similarity], list[tuple[float, float]]]:
    """How each set is moved, and how far its mean face is from the first one as written and at best, in mm."""
    means = [_mean_face(scans) for scans in sets]
    motions, apart = [], []
    for name, scans, mean in zip(names, sets, means, strict=True):
        best = Similarity.identity() if mean is means[0] else align_points(mean, means[0])
        reason = misfit(best.apply(mean) if align == "rigid" else mean, means[0])
        if reason is not None:
            raise DataError(
                f"The mean face of {_where(name, scans)}, beside that of {_where(names[0], sets[0])}, {reason}"
            )
        motions.append(best if align == "rigid" else Similarity.identity())
        as_written, at_best = (
            float(np.linalg.norm(motion.apply(mean) - means[0], axis=1).mean()) for motion in (motions[-1], best)
        )
        apart.append((as_written, at_best))
    return motions, apart


def _mean_face(scans: ScanDataset) -> Float[np.ndarray, "vertex 3"]:
    usable = np.flatnonzero(scans.split != SPLITS.index("dropped"))
    usable = usable if len(usable) else np.arange(len(scans))
    rows = usable[np.unique(np.linspace(0, len(usable) - 1, min(len(usable), _SEEN)).astype(np.int64))]
    total = np.zeros((scans.topology.vertex_count, 3))
    for block in blocks(len(rows), scans.topology.vertex_count):
        total += scans.vertices(rows[block]).sum(axis=0, dtype=np.float64)
    return total / len(rows)


def _moved(vertices: Float32[np.ndarray, "scan vertex 3"], motion: Similarity) -> np.ndarray:
    return vertices if _is_none(motion) else motion.apply(vertices)


def _is_none(motion: Similarity) -> bool:
    return bool(np.array_equal(motion.rotation, np.eye(3)) and not motion.translation.any())


def _joined_labels(names: Sequence[str], sets: Sequence[ScanDataset], expressions: Expressions) -> Labels:
    subjects: list[str] = []
    table: dict[str, int] = {}
    set_table: list[str] = []
    columns: dict[str, list[np.ndarray]] = {}
    rows_before = 0
    for name, scans in zip(names, sets, strict=True):
        number = np.array([table.setdefault(n, len(table)) for n in _own_names(name, scans, expressions)] + [UNKNOWN])
        neutral = scans.neutral_row
        for column, values in {
            "subject": scans.subject + len(subjects),
            "expression": number[scans.expression],  # -1, unknown, is the last entry
            "frame": scans.frame,
            "split": scans.split,
            "set_of_scan": scans.set_of_scan + len(set_table),
            "neutral_row": np.where(neutral >= 0, neutral + rows_before, UNKNOWN),
        }.items():
            columns.setdefault(column, []).append(values)
        # A file that was combined before has told its subjects apart already.
        subjects += scans.subjects if scans.sets else [f"{name}-{subject}" for subject in scans.subjects]
        set_table += scans.sets or (name,)
        rows_before += len(scans)
    joined: dict[str, Any] = {column: np.concatenate(values) for column, values in columns.items()}
    return Labels(subjects=tuple(subjects), expressions=tuple(table), sets=tuple(set_table), **joined)


def _own_names(name: str, scans: ScanDataset, expressions: Expressions) -> list[str]:
    return list(scans.expressions) if expressions == "joined" else [f"{name}-{entry}" for entry in scans.expressions]


def _joined_truth(
    sets: Sequence[ScanDataset], motions: Sequence[Similarity]
) -> Float32[np.ndarray, "subject vertex 3"] | None:
    if all(scans.truth is None for scans in sets):
        return None
    parts = []
    for scans, motion in zip(sets, motions, strict=True):
        unknown = np.full((len(scans.subjects), scans.topology.vertex_count, 3), np.nan, np.float32)
        parts.append(unknown if scans.truth is None else _moved(scans.truth, motion).astype(np.float32))
    return np.concatenate(parts)


def _joined_transforms(sets: Sequence[ScanDataset], motions: Sequence[Similarity]) -> Transforms | None:
    if all(scans.transforms is None for scans in sets) and all(map(_is_none, motions)):
        return None
    parts = [
        (scans.transforms or Transforms.identity(len(scans))).followed_by(motion)
        for scans, motion in zip(sets, motions, strict=True)
    ]
    return Transforms(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _with_all_regions(sets: Sequence[ScanDataset]) -> Topology:
    """The first topology, with the regions that only others name."""
    regions: dict[str, np.ndarray] = {}
    for scans in reversed(sets):
        regions |= scans.topology.regions
    return Topology(sets[0].topology.template, sets[0].topology.faces, regions)


def _common_full(sets: Sequence[ScanDataset]) -> FullResolution | None:
    """The way from the undecimated template that the first set knows; None where another set knows another way."""
    first, *others = [scans.full_resolution() for scans in sets]
    for other in others:
        if first is None or (other is not None and not _is_same(first, other)):
            return None
    return first


def _is_same(first: FullResolution, second: FullResolution) -> bool:
    if first.map.shape != second.map.shape or not np.array_equal(first.faces, second.faces):
        return False
    return bool(abs(first.map - second.map).max() < 1e-9)


def _attributes(names: Sequence[str], sets: Sequence[ScanDataset]) -> dict[str, str | int | float | bool]:
    """What all sets say alike, and in ``settings`` what each was."""
    from meshdisent import __version__

    common = dict(sets[0].attributes.items() & set.intersection(*({*scans.attributes.items()} for scans in sets)))
    about = {name: {"data_hash": scans.data_hash, **_settings(scans)} for name, scans in zip(names, sets, strict=True)}
    return {
        **common,
        "layout": "combined",
        "settings": json.dumps({"sets": about}),
        "made_by": f"meshdisent {__version__}",
    }


def _settings(scans: ScanDataset) -> dict[str, Any]:
    """The attributes of a set, its own settings as values instead of as text."""
    found = dict(scans.attributes)
    try:
        found["settings"] = json.loads(found["settings"])
    except (KeyError, ValueError):
        found.pop("settings", None)
    return found
