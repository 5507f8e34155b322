"""CoMA (Ranjan et al. 2018): 12 people, 12 sequences each, 20,466 meshes registered to FLAME, in meters."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro

from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, Unit, as_folders, natural_key
from meshdisent.data.layouts.sequences import (
    Frame,
    Sequences,
    absences,
    mean_of_first_frames,
    records_of,
    sequences_below,
)
from meshdisent.data.layouts.tree import arranged, read_scan
from meshdisent.data.motion_levels import (
    NEUTRAL_LEVEL,
    SIDE_VERTEX,
    distances_to_first,
    motion_levels,
    sided_names,
)
from meshdisent.data.published_splits import fed_windows, without_sequence
from meshdisent.data.splits import NamedSplit, split_by_frames
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.flame import SKIN_COUNT, VERTEX_COUNT
from meshdisent.mesh.mesh import Mesh

SUBJECTS = tuple(
    f"FaceTalk_{name}_TA"
    for name in (
        "170725_00137", "170728_03272", "170731_00024", "170809_00138", "170811_03274", "170811_03275",
        "170904_00128", "170904_03276", "170908_03277", "170912_03278", "170913_03279", "170915_00223",
    )
)  # fmt: skip
SEQUENCES = (
    "bareteeth", "cheeks_in", "eyebrow", "high_smile", "lips_back", "lips_up", "mouth_down", "mouth_extreme",
    "mouth_middle", "mouth_open", "mouth_side", "mouth_up",
)  # fmt: skip
SCAN_COUNT = 20_466
_PATTERN = re.compile(
    r"/(?P<subject>FaceTalk_\d+_\d+_TA)/(?P<sequence>[^/]+)/[^/]*\.(?P<frame>\d{1,18})\.ply$", re.IGNORECASE
)
_WANTED = "FaceTalk_..._TA/SEQUENCE/SEQUENCE.000001.ply"


def _interpolation(subjects: Sequence[str], expressions: Sequence[str | None], seed: int, argument: str) -> list[str]:
    return split_by_frames(np.arange(len(subjects)))


@dataclass(frozen=True, kw_only=True)
class ComaLayout:
    """CoMA, registered meshes: RAW/SUBJECT/SEQUENCE/SEQUENCE.000001.ply, meters; subjects begin with FaceTalk."""

    name: ClassVar[str] = "coma"
    align: ClassVar[str] = "rigid"
    drop: ClassVar[float] = 0.05
    neutral: ClassVar[str] = "neutral"
    sign: ClassVar[re.Pattern[str] | None] = _PATTERN
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "interpolation": NamedSplit("the first 10 of every 100 scans to the test (CoMA, WSDF)", _interpolation),
        "extrapolation": NamedSplit("one sequence of all subjects to the test (CoMA)", without_sequence, "SEQUENCE"),
        "windows": NamedSplit("windows of 10 frames drawn by the seed to the test (FED)", fed_windows),
    }

    raw: RawFolders
    """The folder with the 12 folders that begin with FaceTalk, or one above it."""
    unit: Unit = "m"
    """Unit of the coordinates in the files."""
    labels: Literal["sequences", "fed"] = "sequences"
    """Expressions: the 12 sequences; or FED's 16 classes, which name the sides of mouth_down, mouth_middle,
    mouth_side and mouth_up, and leave out frames that move beyond 3 standard deviations of their sequence.
    fed reads the files twice."""
    truth: Literal["first-frames", "levels", "none"] = "first-frames"
    """True neutral of a subject: the mean of the first frames of its sequences, aligned (WSDF); or of all frames that
    have moved by at most 1 % of their sequence (FED); or unknown."""
    side_vertex: Annotated[int, tyro.conf.arg(metavar="VERTEX")] = SIDE_VERTEX
    """Vertex whose x tells the side of a frame."""
    subjects: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Take the first so many subjects only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", as_folders(self.raw))
        if not self.raw or (self.subjects is not None and self.subjects < 1) or self.side_vertex < 0:
            raise UsageError(
                f"The layout coma got {len(self.raw)} folders, {self.subjects} subjects and the side vertex "
                f"{self.side_vertex}; wanted at least one folder and one subject. Correct the arguments."
            )

    def find(self) -> Listing:
        """List the frames in the order of the published splits: subject, sequence, frame."""
        passed_over: Counter[str] = Counter()
        sequences = sequences_below(self.raw, _PATTERN, passed_over, _WANTED)
        subjects = list(dict.fromkeys(subject for subject, _ in sequences))
        rejected: list[Rejection] = []
        records = list(records_of(sequences))
        if self.labels == "fed":
            chosen = set(subjects[: self.subjects])
            records = [record for record in records if record.subject not in chosen]  # are left out unread
            for (subject, sequence), frames in sequences.items():
                if subject in chosen:
                    records += self._sided(subject, sequence, frames, rejected)
        if self.truth != "none":
            records += [ScanRecord(name, self.neutral, -1, f"{name} at rest", is_truth=True) for name in subjects]
        return arranged(records, rejected, passed_over, self.subjects, _order, lambda _: _remarks(sequences))

    def template(self) -> Mesh | None:
        """Give none: one of the scans is the reference, or FLAME's template with ``--topology``."""
        return None

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give skin and eyeballs of FLAME."""
        return flame_regions(template)

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read the files in mm, and compute true neutrals."""
        return [self._at_rest(r.subject) if r.is_truth else read_scan(r.source, self.unit) for r in records]

    def _at_rest(self, subject: str) -> Mesh | Rejection:
        sequences = sequences_below(self.raw, _PATTERN, Counter(), _WANTED)
        if self.truth == "first-frames":
            return mean_of_first_frames(subject, sequences, self.unit)
        return self._mean_of_low_levels(subject, sequences)

    def _mean_of_low_levels(self, subject: str, sequences: Sequences) -> Mesh | Rejection:
        """Average the frames that have hardly moved, as they lie in the files (FED)."""
        at_rest: list[np.ndarray] = []
        faces = None
        for (who, _), frames in sequences.items():
            _, meshes = _readable(frames, self.unit, []) if who == subject else ([], [])
            if meshes and (not at_rest or meshes[0].vertex_count == at_rest[0].shape[1]):
                vertices = np.stack([mesh.vertices for mesh in meshes])
                level, is_kept = motion_levels(distances_to_first(vertices))
                at_rest.append(vertices[is_kept & (level <= NEUTRAL_LEVEL)])
                faces = meshes[0].faces
        if faces is None:
            return Rejection(f"{subject} at rest", "no frame of it can be read")
        return Mesh(np.concatenate(at_rest).mean(axis=0), faces)

    def _sided(
        self, subject: str, sequence: str, frames: Sequence[Frame], rejected: list[Rejection]
    ) -> Iterator[ScanRecord]:
        """Name the frames of a sequence by FED's classes; outliers and what cannot be read are rejected."""
        good, meshes = _readable(frames, self.unit, rejected)
        if not meshes:
            return
        vertices = np.stack([mesh.vertices for mesh in meshes])
        if vertices.shape[1] <= self.side_vertex:
            raise DataError(
                f"{good[0].source} has {vertices.shape[1]} vertices; wanted FLAME's 5023, whose vertex "
                f"{self.side_vertex} tells the sides. Use --labels sequences."
            )
        distance = distances_to_first(vertices)
        is_kept = motion_levels(distance)[1]
        names = sided_names(sequence, vertices[:, self.side_vertex, 0])
        for frame, name, keep, moved in zip(good, names, is_kept, distance, strict=True):
            if keep:
                yield ScanRecord(subject, name, frame.number, frame.source)
            else:
                reason = f"moves by {moved:.2f} mm, beyond 3 standard deviations of its sequence (--labels fed)"
                rejected.append(Rejection(frame.source, reason))


def flame_regions(template: Mesh) -> dict[str, Sequence[int]]:
    """Skin and eyeballs, if the template has FLAME's vertices."""
    if template.vertex_count != VERTEX_COUNT:
        return {}
    return {"skin": range(SKIN_COUNT), "eyeballs": range(SKIN_COUNT, VERTEX_COUNT)}


def _order(expression: str) -> tuple:
    """Frames of both sides of a sequence stay in the order of the sequence."""
    return natural_key(re.sub(r"_(left|right)$", "", expression))


def _readable(frames: Sequence[Frame], unit: str, rejected: list[Rejection]) -> tuple[list[Frame], list[Mesh]]:
    """The frames that can be read and have as many vertices as the first of them."""
    good: list[Frame] = []
    meshes: list[Mesh] = []
    for frame in frames:
        mesh = read_scan(frame.source, unit)
        if isinstance(mesh, Rejection):
            rejected.append(mesh)
        elif meshes and mesh.vertex_count != meshes[0].vertex_count:
            reason = f"has {mesh.vertex_count} vertices; {good[0].source} has {meshes[0].vertex_count}"
            rejected.append(Rejection(frame.source, reason))
        else:
            good.append(frame)
            meshes.append(mesh)
    return good, meshes


def _remarks(sequences: Sequences) -> Iterator[str]:
    yield from absences("subjects", SUBJECTS, [subject for subject, _ in sequences])
    subjects = dict.fromkeys(subject for subject, _ in sequences)
    cells = [f"{subject}/{sequence}" for subject in subjects for sequence in SEQUENCES]
    yield from absences("sequences", cells, [f"{subject}/{sequence}" for subject, sequence in sequences])
    count = sum(map(len, sequences.values()))
    if count != SCAN_COUNT and len(subjects) == len(SUBJECTS):
        yield f"{count} frames are there; the published data have {SCAN_COUNT}"
