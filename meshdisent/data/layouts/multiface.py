"""Multiface (Wuu et al. 2022), tracked meshes: 13 people, 7,306 vertices, millimeters, in the frame of the head."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro

from meshdisent.data.layouts.base import (
    MM_PER_UNIT,
    Listing,
    RawFolders,
    Rejection,
    ScanRecord,
    natural_key,
)
from meshdisent.data.layouts.named_files import NamedFrames
from meshdisent.data.layouts.tree import arranged, matched, read_scan
from meshdisent.data.published_splits import without_sequence
from meshdisent.data.splits import NamedSplit
from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh

SUBJECT_COUNT = 13
_PATTERN = re.compile(
    r"/m--\d+--\d+--(?P<subject>[^/]+)--GHS/tracked_mesh/(?P<sequence>[^/]+)/(?P<frame>\d{1,18})\.(?P<kind>obj|bin)$",
    re.IGNORECASE,
)
_WANTED = "m--YYYYMMDD--0000--ID--GHS/tracked_mesh/EXPRESSION/000001.obj (or .bin, with --faces FILE.obj)"


@dataclass(frozen=True, kw_only=True)
class MultifaceLayout(NamedFrames):
    """Multiface, tracked meshes: RAW/m--DATE--0000--ID--GHS/tracked_mesh/EXPRESSION/FRAME.obj|bin, millimeters."""

    name: ClassVar[str] = "multiface"
    align: ClassVar[str] = "none"
    drop: ClassVar[float] = 0.0
    sign: ClassVar[re.Pattern[str] | None] = _PATTERN
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "extrapolation": NamedSplit("one expression of all subjects to the test", without_sequence, "EXPRESSION"),
    }

    raw: RawFolders
    """The folder with the folders m--..., or one above it."""
    neutral: Annotated[str, tyro.conf.arg(metavar="NAME")] = "E001_Neutral_Eyes_Open"
    """Name of the expression at rest; its first frame is the subject's neutral."""
    pose: Literal["head", "rig"] = "head"
    """Leave the meshes in the frame of the head, or move them to that of the rig by FRAME_transform.txt."""
    faces: Annotated[Path | None, tyro.conf.arg(metavar="FILE.obj")] = None
    """A mesh with the triangles: .bin files, which have none, are read then, and before .obj files."""

    def find(self) -> Listing:
        """List the frames: subject, expression, frame."""
        passed_over: Counter[str] = Counter()
        frames: dict[tuple[str, str, int, str], dict[str, str]] = {}
        for match, file in matched(self.raw, _PATTERN, passed_over, _WANTED):
            place = match["subject"], match["sequence"], int(match["frame"]), str(file.path.parent)
            frames.setdefault(place, {})[match["kind"].lower()] = str(file.path)
        kinds = ("obj",) if self.faces is None else ("bin", "obj")
        records: list[ScanRecord] = []
        for (subject, sequence, number, _), files in frames.items():
            chosen = next((files[kind] for kind in kinds if kind in files), None)
            if chosen is None:
                passed_over["binary meshes, which --faces FILE.obj would open"] += 1
            else:
                records.append(ScanRecord(subject, sequence, number, chosen))
        if not records:
            raise DataError(
                f"{', '.join(map(str, self.raw))} holds {len(frames)} binary meshes and no .obj; wanted the triangles "
                "too. Give a mesh of the data set: --faces FILE.obj."
            )
        return arranged(_thinned(records, self.every), (), passed_over, self.subjects, remarks=_remarks)

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read the files, in mm, and move them to the rig where that is asked for."""
        return [self._read(record.source) for record in records]

    def _read(self, source: str) -> Mesh | Rejection:
        mesh = self._read_binary(source) if source.lower().endswith(".bin") else read_scan(source, self.unit)
        if isinstance(mesh, Rejection) or self.pose == "head":
            return mesh
        motion = head_pose(Path(source).with_name(f"{Path(source).stem}_transform.txt"))
        if isinstance(motion, str):
            return Rejection(source, motion)
        return mesh.with_vertices(mesh.vertices @ motion[:, :3].T + motion[:, 3] * MM_PER_UNIT[self.unit])

    def _read_binary(self, source: str) -> Mesh | Rejection:
        """Read float32 x, y, z of each vertex; there must be as many as the mesh with the triangles has."""
        topology = _topology(str(self.faces))
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            return Rejection(source, f"cannot be read: {error.strerror}")
        wanted = topology.vertex_count * 12
        if len(content) != wanted:
            return Rejection(
                source, f"has {len(content)} bytes; wanted {wanted}: three float32 a vertex of {self.faces}"
            )
        vertices = np.frombuffer(content, "<f4").reshape(-1, 3).astype(np.float64)
        if not np.isfinite(vertices).all():
            return Rejection(source, "has coordinates that are not finite")
        return Mesh(vertices * MM_PER_UNIT[self.unit], topology.faces)


def head_pose(path: Path) -> np.ndarray | str:
    """Read the rotation and translation of a head, (3, 4); or say in one line why that is impossible."""
    try:
        numbers = np.loadtxt(path, dtype=np.float64)
    except OSError:
        return f"has no {path.name} beside it, which --pose rig needs"
    except ValueError as error:
        return f"{path.name} is no table of numbers ({' '.join(str(error).split())})"
    if numbers.shape != (3, 4) or not np.isfinite(numbers).all():
        return f"{path.name} has the shape {numbers.shape}; wanted 3 rows of 4 finite numbers"
    return numbers


@lru_cache(maxsize=1)
def _topology(faces: str) -> Mesh:
    mesh = Mesh.read(faces)
    if not mesh.face_count:
        raise DataError(f"--faces {faces} has no faces; wanted a tracked mesh as .obj. Give another file.")
    return mesh


def _remarks(records: Sequence[ScanRecord]) -> Iterator[str]:
    count = len({record.subject for record in records})
    if count != SUBJECT_COUNT:
        yield f"{count} subjects are there; the published data have {SUBJECT_COUNT}"


def _thinned(records: Sequence[ScanRecord], every: int) -> list[ScanRecord]:
    """Keep the first of every so many frames of each sequence."""
    counts: Counter[tuple[str, str | None]] = Counter()
    kept = []
    for record in sorted(records, key=lambda r: (natural_key(r.subject), natural_key(r.expression or ""), r.frame)):
        if counts[record.subject, record.expression] % every == 0:
            kept.append(record)
        counts[record.subject, record.expression] += 1
    return kept
