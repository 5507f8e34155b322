"""Sequences of registered meshes, ``SUBJECT/SEQUENCE/NAME.FRAME.ply``, and the face at rest that they begin with."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from meshdisent.data.layouts.base import Rejection, ScanRecord, natural_key
from meshdisent.data.layouts.tree import matched, read_scan, some
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import generalized_procrustes
from meshdisent.mesh.mesh import Mesh


class Frame(NamedTuple):
    """One file of a sequence."""

    number: int
    source: str


Sequences = dict[tuple[str, str], list[Frame]]


def sequences_below(raw: Sequence[Path], pattern: re.Pattern[str], passed_over: Counter[str], wanted: str) -> Sequences:
    """Find the frames of each (subject, sequence), in natural order and ascending; numbers may have gaps.

    Parameters
    ----------
    raw, passed_over, wanted : As in :func:`~meshdisent.data.layouts.tree.matched`.
    pattern : With the groups ``subject``, ``sequence`` and ``frame``.
    """
    found: Sequences = {}
    for match, file in matched(raw, pattern, passed_over, wanted):
        key = match["subject"], match["sequence"]
        found.setdefault(key, []).append(Frame(int(match["frame"]), str(file.path)))
    order = sorted(found, key=lambda key: (natural_key(key[0]), natural_key(key[1])))
    return {key: sorted(found[key]) for key in order}


def records_of(sequences: Mapping[tuple[str, str], Sequence[Frame]], every: int = 1) -> Iterator[ScanRecord]:
    """Give a record for each frame, or for the first of every so many."""
    for (subject, sequence), frames in sequences.items():
        for frame in frames[::every]:
            yield ScanRecord(subject, sequence, frame.number, frame.source)


def mean_of_first_frames(subject: str, sequences: Sequences, unit: str) -> Mesh | Rejection:
    """Average the first frames of all of a subject's sequences, each moved rigidly onto their mean (WSDF's truth).

    The result lies where the first of them does. A frame that cannot be read, or has another vertex count than most,
    is left out of the mean; it is rejected among the scans.
    """
    firsts = [read_scan(frames[0].source, unit) for (who, _), frames in sequences.items() if who == subject]
    meshes = [mesh for mesh in firsts if isinstance(mesh, Mesh)]
    if not meshes:
        return Rejection(f"{subject} at rest", "none of the first frames of its sequences can be read")
    counts = [mesh.vertex_count for mesh in meshes]
    alike = [mesh for mesh in meshes if mesh.vertex_count == max(counts, key=counts.count)]
    try:
        mean, _ = generalized_procrustes(np.stack([mesh.vertices for mesh in alike]))
    except DataError as error:
        return Rejection(f"{subject} at rest", " ".join(str(error).split()))
    return Mesh(mean, alike[0].faces)


def absences(what: str, wanted: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Say which of the names that a data set has are not here, and which are here and not of it."""
    absent = [name for name in wanted if name not in set(found)]
    if absent:
        yield f"{len(absent)} of {len(wanted)} {what} are absent: {some(absent)}"
    strange = [name for name in dict.fromkeys(found) if name not in set(wanted)]
    if strange:
        yield f"{len(strange)} {what} are not of the published data: {some(strange)}"
