"""A tree of files as people unpack it: what lies in it, in which order, and what becomes a scan of a data set."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from meshdisent.data.layouts.base import MM_PER_UNIT, Listing, Rejection, ScanRecord, natural_key
from meshdisent.errors import DataError, MeshError
from meshdisent.mesh.mesh import Mesh

DEEPEST = 6  # folders below the one that was named; unpacking often leaves one or two of its own
_SHOWN = 5


class FoundFile(NamedTuple):
    """A file below a raw folder.

    Attributes
    ----------
    parts : Names from the raw folder on, composed (NFC); the file's own is the last.
    path : Where it is.
    """

    parts: tuple[str, ...]
    path: Path

    @property
    def whole(self) -> str:
        """The whole path with slashes, for patterns that look at its end: the raw folder may be a subject's own."""
        return unicodedata.normalize("NFC", self.path.absolute().as_posix())

    @property
    def extension(self) -> str:
        """In lower case, with its dot."""
        return self.path.suffix.lower()


def matched(
    raw: Sequence[Path], pattern: re.Pattern[str], passed_over: Counter[str], wanted: str
) -> list[tuple[re.Match[str], FoundFile]]:
    """List the files whose path ends as a pattern says, and count the others by their kind.

    Parameters
    ----------
    raw, passed_over : As in :func:`files_below`.
    pattern : Is looked for in the whole path; it should begin with a slash and end with ``$``.
    wanted : The pattern in words, for the error.

    Raises
    ------
    DataError : If there is none.
    """
    found = []
    for file in files_below(raw, passed_over):
        match = pattern.search(file.whole)
        if match:
            found.append((match, file))
        else:
            passed_over[kind_of(file)] += 1
    if not found:
        seen = ", ".join(f"{count} {kind}" for kind, count in passed_over.items()) or "nothing"
        raise DataError(f"{', '.join(map(str, raw))} holds no scan ({seen}); wanted {wanted}. Check the folder.")
    return found


def files_below(raw: Sequence[Path], passed_over: Counter[str], deepest: int = DEEPEST) -> list[FoundFile]:
    """List the files of folders; hidden ones and what macOS leaves behind are counted and left out.

    Parameters
    ----------
    raw : The folders.
    passed_over : Is added to.
    deepest : Folders to go down.

    Raises
    ------
    DataError : If a folder is absent or a file.
    """
    found = []
    for folder in raw:
        if not folder.is_dir():
            state = "a file" if folder.exists() else "absent"
            raise DataError(f"{folder} is {state}; wanted a folder with one folder a subject. Check the name.")
        for path in _walk(folder, deepest, set()):
            parts = tuple(unicodedata.normalize("NFC", part) for part in path.relative_to(folder).parts)
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                passed_over["hidden or macOS side files"] += 1
            else:
                found.append(FoundFile(parts, path))
    return found


def kind_of(file: FoundFile) -> str:
    """What a file that no layout reads is counted as."""
    return f"other files ({file.extension or 'no extension'})"


def arranged(
    records: Iterable[ScanRecord],
    rejected: Sequence[Rejection],
    passed_over: Counter[str],
    subject_count: int | None = None,
    order: Callable[[str], Any] = natural_key,
    remarks: Callable[[Sequence[ScanRecord]], Iterable[str]] = lambda records: (),
) -> Listing:
    """Sort scans, take the first subjects, and reject what has a name twice or one that cannot stand in a dataset.

    Parameters
    ----------
    records : Scans in any order.
    rejected, passed_over : What was left out before.
    subject_count : How many subjects to take; None: all.
    order : Sort key of an expression.
    remarks : Says what is worth knowing of the scans that are left.
    """
    ranked = sorted(records, key=lambda r: (natural_key(r.subject), order(r.expression or ""), r.frame, r.source))
    subjects = list(dict.fromkeys(record.subject for record in ranked))
    chosen = set(subjects[:subject_count])
    kept: dict[tuple[str, str | None, int, bool], ScanRecord] = {}
    refused = list(rejected)
    for record in ranked:
        if record.subject not in chosen:
            continue
        reason = unfit(record.subject) or unfit(record.expression or "")
        first = kept.setdefault((record.subject, record.expression, record.frame, record.is_truth), record)
        if reason or first is not record:
            name = "/".join(str(part) for part in (record.subject, record.expression) if part)
            refused.append(Rejection(record.source, reason or f"duplicate name: {name} was taken from {first.source}"))
    good = tuple(record for record in kept.values() if not (unfit(record.subject) or unfit(record.expression or "")))
    left_out = tuple(name for name in subjects if name not in chosen)
    return Listing(good, tuple(refused), passed_over, left_out, tuple(remarks(good)))


def unfit(name: str) -> str | None:
    """Say why a name cannot stand in a dataset, None if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is no UTF-8; rename it"
    return "its name has control characters; rename it" if any(ord(letter) < 32 for letter in name) else None


def frame_number(name: str) -> int | None:
    """The last whole number in a name; None if there is none, or none that fits."""
    match = re.search(r"[0-9]+(?=[^0-9]*$)", name)
    return int(match.group()) if match and len(match.group()) < 19 else None


def read_scan(source: str, unit: str) -> Mesh | Rejection:
    """Read a mesh file, in mm; one that cannot be read is rejected with its reason in one line."""
    try:
        mesh = Mesh.read(source)
    except (MeshError, OSError) as error:
        return Rejection(source, one_line(error, source))
    scale = MM_PER_UNIT[unit]
    return mesh if scale == 1.0 else mesh.with_vertices(mesh.vertices * scale)


def one_line(error: Exception, source: str) -> str:
    """The message of an error without line breaks and without the name of the file, which stands beside it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.removeprefix(" ".join(source.split())).lstrip(" ,:")


def some(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _walk(folder: Path, deepest: int, seen: set[tuple[int, int]]) -> Iterator[Path]:
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:  # a link to a parent would lead round in circles
        return
    seen.add((status.st_dev, status.st_ino))
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif deepest:
            yield from _walk(path, deepest - 1, seen)
