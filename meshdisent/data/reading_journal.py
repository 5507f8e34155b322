"""What a preparation has read so far, beside the file that it will write, so that a killed one goes on where it was.

A folder ``.NAME.partial`` holds the scans one after the other as plain float32 numbers, and a line of JSON for each
batch that was read. A batch counts when its line is whole and its numbers have the checksum that stands there; what
comes after the last such batch is cut off. The folder belongs to one set of files and settings: others begin anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float32

from meshdisent.data.layouts.base import Rejection
from meshdisent.errors import DataError, TopologyError, UsageError
from meshdisent.files import remove_leftovers


@dataclass(frozen=True, eq=False)
class ReadBatch:
    """What came of reading a few records: scans of the stored topology, and which of the records they are."""

    vertices: Float32[np.ndarray, "scan vertex 3"]
    anchors: Float32[np.ndarray, "scan anchor 3"]
    kept: list[int]
    rejected: list[Rejection]


class ReadingJournal:
    """The batches that were read, in their order; use it in a ``with`` block.

    When the block ends, nothing of it stays, unless the work was interrupted: where the input is at fault, it would be
    again.

    Parameters
    ----------
    out : The file that is prepared; the folder lies beside it.
    key : What the batches depend on; see :func:`journal_key`.
    vertex_count, anchor_count : Of a scan.

    Attributes
    ----------
    done : Batches that are in it.

    Raises
    ------
    UsageError : If another process is writing to it.
    """

    def __init__(self, out: Path, key: str, vertex_count: int, anchor_count: int):
        self.out, self.path, self.key = out, journal_path(out), key
        self._widths = {"vertices": vertex_count, "anchors": anchor_count}
        self._lines: list[dict[str, Any]] = []
        self.done = 0

    def __enter__(self) -> "ReadingJournal":
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(
                f"{self.path} is being written by another preparation of the same file. Wait for it, stop it, or "
                "choose another name."
            ) from None
        except OSError:
            pass  # some network file systems have no locks; a preparation there is not refused for it
        self._lines = self._whole_lines()
        self.done = len(self._lines)
        remove_leftovers(self.out)  # of a process that was killed; nobody else writes that file now
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        is_at_fault = isinstance(error, DataError | TopologyError | UsageError)
        if error is None or is_at_fault or self.done == 0:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def read(self) -> Iterator[ReadBatch]:
        """The batches that are in it."""
        starts = dict.fromkeys(self._widths, 0)
        for line in self._lines:
            count, arrays = len(line["kept"]), {}
            for name, width in self._widths.items():
                size = 12 * width * count
                with (self.path / name).open("rb") as file:
                    file.seek(starts[name])
                    arrays[name] = np.frombuffer(file.read(size), "<f4").reshape(count, width, 3)
                starts[name] += size
            rejected = [Rejection(**entry) for entry in line["rejected"]]
            yield ReadBatch(arrays["vertices"], arrays["anchors"], line["kept"], rejected)

    def append(self, batch: ReadBatch) -> None:
        """Keep one batch more; it is on the disk when this returns."""
        sums = {}
        for name, array in (("vertices", batch.vertices), ("anchors", batch.anchors)):
            content = np.ascontiguousarray(array, "<f4").tobytes()
            sums[name] = zlib.crc32(content)
            _append(self.path / name, content)
        rejected = [{"source": str(entry.source), "reason": entry.reason} for entry in batch.rejected]
        line = json.dumps({"kept": batch.kept, "rejected": rejected, "sums": sums}) + "\n"
        _append(self.path / "batches.jsonl", line.encode())
        self.done += 1

    def _whole_lines(self) -> list[dict[str, Any]]:
        """Lines of batches whose numbers are whole; everything after them is cut off."""
        try:
            is_ours = (self.path / "key").read_text(encoding="utf-8") == self.key
            text = (self.path / "batches.jsonl").read_bytes() if is_ours else b""
        except OSError:
            is_ours, text = False, b""
        if not is_ours:
            for entry in self.path.iterdir():
                entry.unlink()
            (self.path / "key").write_text(self.key, encoding="utf-8")
            return []
        lines: list[dict[str, Any]] = []
        sizes = dict.fromkeys(self._widths, 0)
        length = 0
        for raw in text.splitlines(keepends=True):
            line = _parsed(raw)
            ends = None if line is None else self._ends(line, sizes)
            if line is None or ends is None:
                break
            lines.append(line)
            sizes, length = ends, length + len(raw)
        for name, size in (*sizes.items(), ("batches.jsonl", length)):
            if (self.path / name).exists():
                os.truncate(self.path / name, size)
        return lines

    def _ends(self, line: dict[str, Any], starts: dict[str, int]) -> dict[str, int] | None:
        """Where the numbers of a batch end, if they are what its line says."""
        ends = {}
        for name, width in self._widths.items():
            size = 12 * width * len(line["kept"])
            try:
                with (self.path / name).open("rb") as file:
                    file.seek(starts[name])
                    content = file.read(size)
            except FileNotFoundError:
                return None
            if len(content) != size or zlib.crc32(content) != line["sums"][name]:
                return None
            ends[name] = starts[name] + size
        return ends


def journal_key(settings: Any, sources: Iterable[str | os.PathLike]) -> str:
    """Digits that change with the settings and with the name, the size or the time of any file."""
    digest = hashlib.sha256(repr(settings).encode())
    for source in sources:
        digest.update(f"\n{source}".encode())
        try:
            found = os.stat(source)
        except OSError:
            continue  # no file of its own, such as a scan that a layout makes
        digest.update(f" {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()


def journal_path(out: Path) -> Path:
    """The folder beside a file that is to be written."""
    return out.with_name(f".{out.name}.partial")


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _parsed(raw: bytes) -> dict[str, Any] | None:
    """A whole line, else None."""
    try:
        line = json.loads(raw) if raw.endswith(b"\n") else None
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"kept", "rejected", "sums"} <= line.keys() else None
