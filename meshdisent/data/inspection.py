"""What is in a dataset, and what looks wrong: the questions to ask before a night of training, answered in a minute."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.known_faces import find_landmarks, known_regions
from meshdisent.data.labels import SPLITS
from meshdisent.data.splits import WITHIN_SUBJECTS
from meshdisent.data.suspicions import Overview, copies, frame, neutral_quality, overview, strangers

FACE_MM = (80.0, 450.0)  # longest side of the box around a face or a head
_MUCH_SHIFT_MM, _MUCH_TURN_DEGREES, _MUCH_SAVED = 10.0, 5.0, 0.5
_ODD_SIZE = 1.5
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What :func:`inspect` found; ``warnings`` holds what looks wrong, ``notes`` what is worth knowing.

    Attributes
    ----------
    path : The file, None for a dataset in memory.
    data_hash : Of the content.
    scans, subjects, expressions, frames : Counts; ``frames`` counts scans with a frame number.
    splits : Scans and subjects of each split.
    sets : Scans and subjects of each combined set, and its scans for training and test; empty where there is one.
    expression_names : The table of expressions.
    vertices, faces, border_vertices, components, isolated_vertices : The topology in numbers.
    topology_hash, template_hash : What may be mixed, and what hierarchy and spirals depend on.
    regions : Size of each named set of vertices, the topology's own and those that its landmarks say.
    landmarks : Where named points are known from, and the vertex next to each; None if the topology is not known.
    unit : Always mm.
    box_mm : Least and greatest coordinates of all scans.
    size_mm : Longest side of the box around the template.
    cells : Pairs of a subject and an expression, and how many of them have a scan.
    unlabeled : Scans without an expression.
    neutrals : Subjects with a neutral, with a true one, and how far neutrals are from the middle of a subject's scans.
    copies : Pairs of scans that are the same.
    strangers : Scans unlike all others, worst first, with their mean distance to the mean shape in mm.
    frame : How the scans lie to their mean shape.
    attributes : How the dataset was made.
    """

    path: str | None
    data_hash: str
    scans: int
    subjects: int
    expressions: int
    frames: int
    splits: dict[str, dict[str, int]]
    sets: dict[str, dict[str, int]]
    expression_names: tuple[str, ...]
    vertices: int
    faces: int
    border_vertices: int
    components: int
    isolated_vertices: int
    topology_hash: str
    template_hash: str
    regions: dict[str, int]
    landmarks: dict[str, Any] | None
    unit: str
    box_mm: list[list[float]]
    size_mm: float
    cells: dict[str, int]
    unlabeled: int
    neutrals: dict[str, float | int | None]
    copies: list[tuple[str, str]]
    strangers: list[tuple[str, float]]
    frame: dict[str, float] | None
    attributes: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as numbers, strings, lists and tables."""
        return dataclasses.asdict(self)


def inspect(scans: ScanDataset) -> Inspection:
    """Look a dataset over, in three passes over its scans.

    Raises
    ------
    DataError : If the file turns out to be damaged.

    Examples
    --------
    >>> scans = ScanDataset.from_arrays(np.eye(3)[None], np.array([[0, 1, 2]]), ["anna"], ["smile"])
    >>> inspect(scans).warnings[0]
    'the template is 1 mm across; faces are 80 to 450 mm: it looks like meters, prepare again with --unit m'
    """
    view = overview(scans)
    findings = _Findings(scans, view)
    warnings = [*_unit_warnings(scans, view), *findings.warnings(), *_label_warnings(scans), *_split_warnings(scans)]
    topology, summary = scans.topology, scans.summary()
    used = np.unique(topology.faces)
    seen = np.unique(np.stack([scans.subject, scans.expression], axis=1)[scans.expression >= 0], axis=0)
    return Inspection(
        path=scans.path,
        data_hash=scans.data_hash,
        scans=len(scans),
        subjects=len(scans.subjects),
        expressions=len(scans.expressions),
        frames=summary["frames"],
        splits=summary["splits"],
        sets={name: _set_counts(scans, number) for number, name in enumerate(scans.sets)},
        expression_names=scans.expressions,
        vertices=topology.vertex_count,
        faces=topology.face_count,
        border_vertices=int(topology.is_border.sum()),
        components=len(np.unique(topology.components[used])),
        isolated_vertices=topology.vertex_count - len(used),
        topology_hash=topology.topology_hash,
        template_hash=topology.template_hash,
        regions={name: len(members) for name, members in known_regions(topology, scans.path).items()},
        landmarks=_landmarks(scans),
        unit=str(scans.attributes.get("unit", "mm")),
        box_mm=view.box.tolist(),
        size_mm=_size(scans),
        cells={"all": len(scans.subjects) * len(scans.expressions), "seen": len(seen)},
        unlabeled=int((scans.expression < 0).sum()),
        neutrals=findings.neutral_numbers(),
        copies=[(scans.labels.name(pair.first), scans.labels.name(pair.second)) for pair in findings.copies],
        strangers=[(scans.labels.name(int(row)), float(mm)) for row, mm in zip(*findings.strangers, strict=True)],
        frame=findings.frame._asdict() if findings.frame else None,
        attributes=scans.attributes,
        notes=tuple(_notes(scans)),
        warnings=tuple(warnings),
    )


def _landmarks(scans: ScanDataset) -> dict[str, Any] | None:
    """Where the topology's named points are known from, and the vertex next to each."""
    found = find_landmarks(scans.topology, scans.path)
    return None if found is None else {"source": found.source, "vertices": found.rows}


def _set_counts(scans: ScanDataset, number: int) -> dict[str, int]:
    rows = np.flatnonzero(scans.set_of_scan == number)
    counts = {name: int((scans.split[rows] == SPLITS.index(name)).sum()) for name in ("train", "test")}
    return {"scans": len(rows), "subjects": len(np.unique(scans.subject[rows])), **counts}


class _Findings:
    """The checks that look at coordinates, done once."""

    def __init__(self, scans: ScanDataset, view: Overview):
        self.scans = scans
        self.copies = copies(scans, view)
        self.strangers = strangers(scans, view.mean)
        self.neutrals = neutral_quality(scans)
        self.frame = frame(scans, view.mean)

    def warnings(self) -> Iterator[str]:
        scans = self.scans
        if self.copies:
            across = [p for p in self.copies if _is_leak(int(scans.split[p.first]), int(scans.split[p.second]))]
            names = [f"{scans.labels.name(p.first)} = {scans.labels.name(p.second)}" for p in across or self.copies]
            where = f", {len(across)} of them in two splits" if across else ""
            yield f"{len(self.copies)} pairs of scans are copies of one another{where}: {_some(names)}"
        rows, distance = self.strangers
        if len(rows):
            names = [f"{scans.labels.name(int(row))} ({mm:.1f} mm)" for row, mm in zip(rows, distance, strict=True)]
            yield (
                f"{len(rows)} scans are unlike all others of their kind (mean distance to the mean shape in brackets): "
                f"{_some(names)}; look at them, or prepare again with --drop"
            )
        yield from self._neutral_warnings()
        if self.frame and (
            self.frame.shift_mm > _MUCH_SHIFT_MM
            or self.frame.turn_degrees > _MUCH_TURN_DEGREES
            or self.frame.saved_share > _MUCH_SAVED
        ):
            yield (
                f"the scans do not share a frame (half of them are shifted by {self.frame.shift_mm:.1f} mm and turned "
                f"by {self.frame.turn_degrees:.1f} degrees or more): prepare again with --align rigid"
            )

    def _neutral_warnings(self) -> Iterator[str]:
        scans, (subjects, neutral_mm, others_mm) = self.scans, self.neutrals
        if len(subjects):
            usual = np.median(neutral_mm)
            # A neutral is near the middle of a subject's scans; the middle of other expressions is not.
            is_odd = (neutral_mm > 0.8 * others_mm) | ((neutral_mm > 0.4 * others_mm) & (neutral_mm > 2 * usual))
            names = [
                f"{scans.subjects[subject]} ({mm:.1f} mm from the middle of its scans, the others {other:.1f} mm)"
                for subject, mm, other in zip(subjects[is_odd], neutral_mm[is_odd], others_mm[is_odd], strict=True)
            ]
            if names:
                yield f"{len(names)} subjects have a neutral that is not neutral: {_some(names)}; check the labels"
        if scans.truth is not None:
            both = np.flatnonzero((scans.neutral_row >= 0) & ~np.isnan(scans.truth[:, 0, 0]))
            found = scans.vertices(scans.neutral_row[both])
            apart = np.linalg.norm(found - scans.truth[both], axis=2).mean(axis=1)
            names = [f"{scans.subjects[both[k]]} ({apart[k]:.1f} mm)" for k in np.flatnonzero(apart > 1.0)]
            if names:
                yield f"{len(names)} subjects have a neutral scan far from their true neutral: {_some(names)}"

    def neutral_numbers(self) -> dict[str, float | int | None]:
        scans, (subjects, neutral_mm, others_mm) = self.scans, self.neutrals
        truth = 0 if scans.truth is None else int((~np.isnan(scans.truth[:, 0, 0])).sum())
        return {
            "subjects_with_scan": int((scans.neutral_row >= 0).sum()),
            "subjects_with_truth": truth,
            "neutral_to_middle_mm": float(np.median(neutral_mm)) if len(subjects) else None,
            "others_to_middle_mm": float(np.median(others_mm)) if len(subjects) else None,
        }


def _unit_warnings(scans: ScanDataset, view: Overview) -> Iterator[str]:
    size = _size(scans)
    if not FACE_MM[0] <= size <= FACE_MM[1]:
        guess = "check the unit"
        for factor, name, flag in ((1000.0, "meters", "m"), (10.0, "centimeters", "cm")):
            if FACE_MM[0] <= size * factor <= FACE_MM[1] or (flag == "m" and size <= FACE_MM[1] / 100):
                guess = f"it looks like {name}, prepare again with --unit {flag}"
                break
        if size > FACE_MM[1]:
            guess = "it looks like a unit below mm, or a mesh with more than a head; scale the files to mm"
        yield (f"the template is {size:.3g} mm across; faces are {FACE_MM[0]:.0f} to {FACE_MM[1]:.0f} mm: {guess}")
    middle = np.median(view.size)
    odd = np.flatnonzero((view.size > _ODD_SIZE * middle) | (view.size < middle / _ODD_SIZE))
    if len(odd):
        names = [f"{scans.labels.name(int(row))} ({view.size[row] / middle:.2g} times)" for row in odd]
        yield f"{len(odd)} scans are of another size than the others: {_some(names)}; check their unit"


def _label_warnings(scans: ScanDataset) -> Iterator[str]:
    counts = np.bincount(scans.subject[scans.split != SPLITS.index("dropped")], minlength=len(scans.subjects))
    single = [scans.subjects[k] for k in np.flatnonzero(counts == 1)]
    if single:
        yield f"{len(single)} subjects have one scan only, which says nothing about who and what apart: {_some(single)}"
    unknown = int((scans.expression < 0).sum())
    if unknown:
        yield f"{unknown} scans have no expression label"
    has_truth = np.zeros(len(scans.subjects), bool) if scans.truth is None else ~np.isnan(scans.truth[:, 0, 0])
    without = [scans.subjects[k] for k in np.flatnonzero((scans.neutral_row < 0) & ~has_truth)]
    if len(without) == len(scans.subjects):
        yield "no subject has a neutral; if one expression is at rest, prepare again with --neutral NAME"
    elif without:
        yield f"{len(without)} subjects have no neutral: {_some(without)}"
    names, times = np.unique(np.array(scans.names(), dtype=object), return_counts=True)
    if (times > 1).any():
        yield f"{(times > 1).sum()} names stand for several scans: {_some(names[times > 1].tolist())}"
    missing = _missing_cells(scans)
    if missing and len(missing) <= 0.2 * len(scans.subjects) * len(scans.expressions):
        yield f"{len(missing)} subjects and expressions have no scan: {_some(missing)}"


def _missing_cells(scans: ScanDataset) -> list[str]:
    seen = np.zeros((len(scans.subjects), len(scans.expressions)), bool)
    known = scans.expression >= 0
    seen[scans.subject[known], scans.expression[known]] = True
    return [f"{scans.subjects[s]}/{scans.expressions[e]}" for s, e in np.argwhere(~seen)]


def _split_warnings(scans: ScanDataset) -> Iterator[str]:
    for name in ("train", "test"):
        if not len(scans.rows(name)):
            yield f"no scan is in the split {name!r}"
    shared = _shared_subjects(scans)
    if shared and not _is_within_subjects(scans):
        yield f"{len(shared)} subjects are in more than one split, so the test knows who they are: {_some(shared)}"


def _notes(scans: ScanDataset) -> Iterator[str]:
    shared = _shared_subjects(scans)
    if shared and _is_within_subjects(scans):
        yield f"split by frames: {len(shared)} subjects are in training and test; figures are not those of new people"
    missing = _missing_cells(scans)
    if len(missing) > 0.2 * len(scans.subjects) * len(scans.expressions):
        yield f"{len(missing)} of {len(scans.subjects) * len(scans.expressions)} subjects and expressions have no scan"
    dropped = len(scans.rows("dropped"))
    if dropped:
        yield f"{dropped} scans are set aside as unlikely (split 'dropped')"


def _is_within_subjects(scans: ScanDataset) -> bool:
    """Whether the dataset was split so that training and test share subjects, as published for sequences."""
    settings = str(scans.attributes.get("settings", ""))
    return any(f'"split_by": "{how}{end}' in settings for how in WITHIN_SUBJECTS for end in ('"', ":"))


def _shared_subjects(scans: ScanDataset) -> list[str]:
    used = [set(scans.subject[scans.rows(name)].tolist()) for name in ("train", "val", "test")]
    return [scans.subjects[k] for k in sorted((used[0] & used[1]) | (used[0] & used[2]) | (used[1] & used[2]))]


def _is_leak(first: int, second: int) -> bool:
    dropped = SPLITS.index("dropped")
    return first != second and dropped not in (first, second)


def _size(scans: ScanDataset) -> float:
    return float(np.ptp(scans.topology.template, axis=0).max())


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
