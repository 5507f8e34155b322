"""Scans as people keep them, PLY or OBJ: ``SUBJECT/EXPRESSION.ply``, or ``SUBJECT/SEQUENCE/FRAME.ply`` in sequences."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from meshdisent.data.layouts.base import (
    MM_PER_UNIT,
    Listing,
    RawFolders,
    Rejection,
    ScanRecord,
    Unit,
    as_folders,
    natural_key,
)
from meshdisent.errors import DataError, MeshError, UsageError
from meshdisent.mesh.mesh import Mesh


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """Registered scans in folders: RAW/SUBJECT/EXPRESSION.obj|ply or RAW/SUBJECT/SEQUENCE/FRAME.obj|ply."""

    name: ClassVar[str] = "folder"
    align: ClassVar[str] = "none"
    drop: ClassVar[float] = 0.0

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
        files: list[tuple[str, str, str | None, Path]] = []  # subject, expression, frame name, file
        for folder in self.raw:
            if not folder.is_dir():
                found = "a file" if folder.exists() else "absent"
                raise DataError(f"{folder} is {found}; wanted a folder with one folder a subject. Check the name.")
            files += _scan_files(folder, tuple(READERS), passed_over)
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
        return [self._read(record) for record in records]

    def _read(self, record: ScanRecord) -> Mesh | Rejection:
        try:
            mesh = Mesh.read(record.source)
        except (MeshError, OSError) as error:
            return Rejection(record.source, _one_line(error, record.source))
        scale = MM_PER_UNIT[self.unit]
        return mesh if scale == 1.0 else mesh.with_vertices(mesh.vertices * scale)


def _scan_files(
    folder: Path, extensions: tuple[str, ...], passed_over: Counter[str]
) -> Iterator[tuple[str, str, str | None, Path]]:
    """Yield (subject, expression, frame name or None, file), counting what is none by its kind."""
    for path, depth in _walk(folder, 0):
        extension = path.suffix.lower()
        parts = [unicodedata.normalize("NFC", part) for part in path.relative_to(folder).parts]
        if _is_hidden(parts):
            passed_over["hidden or macOS side files"] += 1
        elif extension not in extensions:
            passed_over[f"other files ({extension or 'no extension'})"] += 1
        elif depth == 0:
            passed_over["meshes outside a subject's folder"] += 1
        elif depth > 2:
            passed_over["meshes more than two folders deep"] += 1
        else:
            stem = unicodedata.normalize("NFC", path.stem)
            yield (parts[0], stem, None, path) if depth == 1 else (parts[0], parts[1], stem, path)


def _walk(folder: Path, depth: int) -> Iterator[tuple[Path, int]]:
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path, depth
        elif depth <= 3:  # deeper ones cannot be scans, and a link to a parent would lead round in circles
            yield from _walk(path, depth + 1)


def _is_hidden(parts: list[str]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _without_duplicates(
    files: list[tuple[str, str, str | None, Path]],
) -> tuple[list[tuple[str, str, str | None, Path]], list[Rejection]]:
    kept: dict[tuple[str, str, str | None], tuple[str, str, str | None, Path]] = {}
    rejected = []
    for file in files:
        if any(unfit := [_unfit(part) for part in file[:3] if part]):
            rejected.append(Rejection(str(file[3]), next(filter(None, unfit))))
            continue
        first = kept.setdefault(file[:3], file)
        if first is not file:
            name = "/".join(part for part in file[:3] if part)
            rejected.append(Rejection(str(file[3]), f"duplicate name: {name} was taken from {first[3]}"))
    return list(kept.values()), rejected


def _unfit(name: str) -> str | None:
    """Say why a name cannot stand in a dataset, None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is no UTF-8; rename it"
    return "its name has control characters; rename it" if any(ord(letter) < 32 for letter in name) else None


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
    found = [re.search(r"[0-9]+(?=[^0-9]*$)", frame) for frame in frames]
    numbers = [int(match.group()) for match in found if match]
    is_usable = len(set(numbers)) == len(frames) and max(numbers) < 2**62
    return numbers if is_usable else list(range(len(frames)))


def _nothing_found(raw: tuple[Path, ...], extensions: tuple[str, ...], passed_over: Counter[str]) -> str:
    where = ", ".join(map(str, raw)) or "no folder at all"
    seen = ", ".join(f"{count} {kind}" for kind, count in passed_over.items()) or "nothing"
    hint = "Give the folder above it." if passed_over["meshes outside a subject's folder"] else "Check the folder."
    return (
        f"{where} holds no scan ({seen}); wanted SUBJECT/EXPRESSION.ext or SUBJECT/SEQUENCE/FRAME.ext with the "
        f"extension {' or '.join(extensions)}. {hint}"
    )


def _one_line(error: Exception, source: str) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix(" ".join(source.split())).lstrip(" ,:")
