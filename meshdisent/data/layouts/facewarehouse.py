"""FaceWarehouse (Cao et al. 2014): 150 people, 20 poses or 47 blend shapes each, 11,510 vertices.

Coordinates are about a decimeter a unit, so they are multiplied by 100. ``shape.bs`` is read as others read it: three
32-bit counts (shapes without the neutral, vertices, faces), then x, y, z of each vertex as float32, the neutral first.
That format is nowhere documented, so every size is checked.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import tyro
from jaxtyping import Float32

from meshdisent.data.layouts.base import (
    MM_PER_UNIT,
    Listing,
    RawFolders,
    Rejection,
    ScanRecord,
    Unit,
    natural_key,
)
from meshdisent.data.layouts.named_files import NamedFiles
from meshdisent.data.layouts.sequences import absences
from meshdisent.data.layouts.tree import arranged, matched, one_line, read_scan
from meshdisent.data.published_splits import facewarehouse_140
from meshdisent.data.splits import NamedSplit
from meshdisent.errors import DataError, MeshError
from meshdisent.mesh.mesh import Mesh

SUBJECT_COUNT, POSE_COUNT, SHAPE_COUNT = 150, 20, 47
_POSE = re.compile(r"/Tester_(?P<subject>\d{1,6})/TrainingPose/pose_(?P<number>\d{1,6})\.obj$", re.IGNORECASE)
_SHAPES = re.compile(r"/Tester_(?P<subject>\d{1,6})/Blendshape/shape\.bs$", re.IGNORECASE)
_SIGN = re.compile(r"/Tester_\d+/(TrainingPose/pose_\d+\.obj|Blendshape/shape\.bs)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class FacewarehouseLayout(NamedFiles):
    """FaceWarehouse: RAW/Tester_N/TrainingPose/pose_K.obj, or the blend shapes Tester_N/Blendshape/shape.bs."""

    name: ClassVar[str] = "facewarehouse"
    align: ClassVar[str] = "rigid"
    drop: ClassVar[float] = 0.0
    neutral: ClassVar[str] = "neutral"
    sign: ClassVar[re.Pattern[str] | None] = _SIGN
    splits: ClassVar[Mapping[str, NamedSplit]] = {
        "140": NamedSplit("Tester_1 to 140 to train, 141 to 150 to test (Jiang et al. 2019)", facewarehouse_140)
    }

    raw: RawFolders
    """The folder with Tester_1 to Tester_150, or one above it."""
    unit: Unit = "dm"
    """Unit of the coordinates in the files."""
    scans: Literal["poses", "blendshapes"] = "poses"
    """What the scans are: 20 poses as they were captured, or the neutral and 46 blend shapes fitted to them."""
    faces: Annotated[Path | None, tyro.conf.arg(metavar="FILE.obj")] = None
    """A mesh with the triangles of the blend shapes; if not given, each subject's TrainingPose/pose_0.obj."""

    def find(self) -> Listing:
        """List the poses, or the shapes that each ``shape.bs`` says it has."""
        passed_over: Counter[str] = Counter()
        records, rejected = [], []
        if self.scans == "poses":
            for match, file in matched(self.raw, _POSE, passed_over, "Tester_N/TrainingPose/pose_K.obj"):
                number = int(match["number"])
                expression = self.neutral if number == 0 else f"pose_{number}"
                records.append(ScanRecord(str(int(match["subject"])), expression, -1, str(file.path)))
        else:
            for match, file in matched(self.raw, _SHAPES, passed_over, "Tester_N/Blendshape/shape.bs"):
                try:
                    count = len(read_blendshapes(str(file.path)))
                except MeshError as error:
                    rejected.append(Rejection(str(file.path), one_line(error, str(file.path))))
                    continue
                for number in range(count):
                    expression = self.neutral if number == 0 else f"shape_{number}"
                    source = f"{file.path}#{number}"
                    records.append(ScanRecord(str(int(match["subject"])), expression, -1, source))
        if not records:
            raise DataError(f"{rejected[0].source} {rejected[0].reason}; none of {len(rejected)} files can be read.")
        return arranged(records, rejected, passed_over, self.subjects, _order, _remarks)

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read poses or blend shapes, in mm."""
        if self.scans == "poses":
            return [read_scan(record.source, self.unit) for record in records]
        return [self._read_shape(record.source) for record in records]

    def _read_shape(self, source: str) -> Mesh | Rejection:
        path, _, number = source.rpartition("#")
        try:
            shape = read_blendshapes(path)[int(number)]
            beside = Path(path).parent.parent / "TrainingPose" / "pose_0.obj"
            topology = _topology(str(self.faces or beside))
        except MeshError as error:
            return Rejection(source, one_line(error, path))
        if topology.vertex_count != len(shape):
            return Rejection(source, f"has {len(shape)} vertices; the mesh with the triangles {topology.vertex_count}")
        if not np.isfinite(shape).all():
            return Rejection(source, "has coordinates that are not finite")
        return Mesh(shape.astype(np.float64) * MM_PER_UNIT[self.unit], topology.faces)


@lru_cache(maxsize=1)
def read_blendshapes(path: str) -> Float32[np.ndarray, "shape vertex 3"]:
    """Read a ``shape.bs``: the neutral and the shapes, as absolute positions in the unit of the file.

    Raises
    ------
    MeshError : If the file is absent, or its size is not what its counts make it.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise MeshError(f"{path} cannot be read: {error.strerror}. Check the folder.") from error
    counts = np.frombuffer(content[:12], "<i4").tolist() if len(content) >= 12 else [0, 0, 0]
    shapes, vertices, faces = counts
    if not (0 < shapes < 1000 and 0 < vertices < 1_000_000 and 0 < faces < 2_000_000):
        raise MeshError(
            f"{path} begins with the counts {counts} in {len(content)} bytes; wanted those of shapes, vertices and "
            "faces, such as 46, 11510, 11400. It is damaged or of another format; unpack it again."
        )
    size = 12 + (shapes + 1) * vertices * 12
    if len(content) - size not in (0, faces * 12, faces * 16):  # some files may go on with triangles or quads
        raise MeshError(
            f"{path} has {len(content)} bytes; {shapes + 1} shapes of {vertices} vertices take {size}. It was cut off "
            "or is of another format; unpack it again."
        )
    return np.frombuffer(content[12:size], "<f4").reshape(shapes + 1, vertices, 3)


@lru_cache(maxsize=2)
def _topology(path: str) -> Mesh:
    return Mesh.read(path)


def _order(expression: str) -> tuple:
    return (0,) if expression == "neutral" else (1, natural_key(expression))


def _remarks(records: Sequence[ScanRecord]) -> Iterator[str]:
    wanted = [str(number) for number in range(1, SUBJECT_COUNT + 1)]
    yield from absences("subjects", wanted, list(dict.fromkeys(record.subject for record in records)))
    counts = Counter(record.subject for record in records)
    usual = counts.most_common(1)[0][1] if counts else 0
    fewer = [f"{name} ({count})" for name, count in counts.items() if count != max(counts.values())]
    if fewer:
        yield f"{len(fewer)} subjects have fewer scans than {max(usual, max(counts.values()))}: {', '.join(fewer[:5])}"
