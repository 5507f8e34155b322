"""Scans as people keep them, PLY, OBJ or WRL: ``SUBJECT/EXPRESSION.ply``, or ``SUBJECT/SEQUENCE/FRAME.ply``."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from meshdisent.data.layouts.base import Listing, RawFolders, Rejection, ScanRecord, Unit, as_folders, natural_key
from meshdisent.data.layouts.tree import FoundFile, files_below, frame_number, kind_of, read_scan, unfit
from meshdisent.data.splits import NamedSplit
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """Registered scans in folders: RAW/SUBJECT/EXPRESSION.obj|ply|wrl or RAW/SUBJECT/SEQUENCE/FRAME.ply."""

    name: ClassVar[str] = "folder"
    align: ClassVar[str] = "none"
    drop: ClassVar[float] = 0.0
    splits: ClassVar[Mapping[str, NamedSplit]] = {}
    sign: ClassVar[re.Pattern[str] | None] = None

    raw: RawFolders
    """Folders with one folder a subject."""
    unit: Unit = "mm"
    """Unit of the coordinates in the files."""
    neutral: Annotated[str, tyro.conf.arg(metavar="NAME")] = "neutral"
    """Name of the expression (or sequence) at rest."""
    subjects: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Take the first so many subjects only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", as_folders(self.raw))
        if not self.raw:
            raise UsageError("The layout folder got no folder; wanted one or more, each with one folder a subject.")
        if self.subjects is not None and self.subjects < 1:
            raise UsageError(f"{self.subjects} subjects were asked for; wanted at least 1.")

    def find(self) -> Listing:
        """List the scans of all folders in natural order: subjects, then expressions, then frames."""
        from meshdisent.mesh.formats import READERS

        passed_over: Counter[str] = Counter()
        found = files_below(self.raw, passed_over, deepest=4)
        files = list(_scan_files(found, tuple(READERS), passed_over))  # subject, expression, frame name, file
        if not files:
            raise DataError(_nothing_found(self.raw, tuple(READERS), passed_over))
        files.sort(
            key=lambda file: (natural_key(file[0]), natural_key(file[1]), natural_key(file[2] or ""), str(file[3]))
        )
        subjects = list(dict.fromkeys(file[0] for file in files))[: self.subjects]
        left_out = sorted({file[0] for file in files} - set(subjects), key=natural_key)
        kept, rejected = _without_duplicates([file for file in files if file[0] in set(subjects)])
        return Listing(tuple(_numbered(kept)), tuple(rejected), passed_over, tuple(left_out))

    def template(self) -> Mesh | None:
        """Give none: one of the scans is the reference."""
        return None

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give none: files of scans do not name regions."""
        return {}

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read the files, scaled to mm."""
        return [read_scan(record.source, self.unit) for record in records]


def _scan_files(
    found: Sequence[FoundFile], extensions: tuple[str, ...], passed_over: Counter[str]
) -> Iterator[tuple[str, str, str | None, Path]]:
    """Yield (subject, expression, frame name or None, file), counting what is none by its kind."""
    for file in found:
        depth = len(file.parts) - 1
        if file.extension not in extensions:
            passed_over[kind_of(file)] += 1
        elif depth == 0:
            passed_over["meshes outside a subject's folder"] += 1
        elif depth > 2:
            passed_over["meshes more than two folders deep"] += 1
        else:
            stem = unicodedata.normalize("NFC", file.path.stem)
            subject, expression = file.parts[0], file.parts[1]
            yield (subject, stem, None, file.path) if depth == 1 else (subject, expression, stem, file.path)


def _without_duplicates(
    files: list[tuple[str, str, str | None, Path]],
) -> tuple[list[tuple[str, str, str | None, Path]], list[Rejection]]:
    kept: dict[tuple[str, str, str | None], tuple[str, str, str | None, Path]] = {}
    rejected = []
    for file in files:
        if any(reasons := [unfit(part) for part in file[:3] if part]):
            rejected.append(Rejection(str(file[3]), next(filter(None, reasons))))
            continue
        first = kept.setdefault(file[:3], file)
        if first is not file:
            name = "/".join(part for part in file[:3] if part)
            rejected.append(Rejection(str(file[3]), f"duplicate name: {name} was taken from {first[3]}"))
    return list(kept.values()), rejected


def _numbered(files: list[tuple[str, str, str | None, Path]]) -> Iterator[ScanRecord]:
    """Give each scan of a sequence the number in its name; its place, where the names have none or repeat one."""
    sequences: dict[tuple[str, str], list[str]] = {}
    for subject, expression, frame, _ in files:
        if frame is not None:
            sequences.setdefault((subject, expression), []).append(frame)
    numbers = {
        (*sequence, frame): number
        for sequence, frames in sequences.items()
        for frame, number in zip(frames, _frame_numbers(frames), strict=True)
    }
    for subject, expression, frame, path in files:
        number = -1 if frame is None else numbers[subject, expression, frame]
        yield ScanRecord(subject, expression, number, str(path))


def _frame_numbers(frames: list[str]) -> list[int]:
    numbers = [number for frame in frames if (number := frame_number(frame)) is not None]
    return numbers if len(set(numbers)) == len(frames) else list(range(len(frames)))


def _nothing_found(raw: tuple[Path, ...], extensions: tuple[str, ...], passed_over: Counter[str]) -> str:
    where = ", ".join(map(str, raw)) or "no folder at all"
    seen = ", ".join(f"{count} {kind}" for kind, count in passed_over.items()) or "nothing"
    hint = "Give the folder above it." if passed_over["meshes outside a subject's folder"] else "Check the folder."
    return (
        f"{where} holds no scan ({seen}); wanted SUBJECT/EXPRESSION.ext or SUBJECT/SEQUENCE/FRAME.ext with the "
        f"extension {' or '.join(extensions)}. {hint}"
    )
