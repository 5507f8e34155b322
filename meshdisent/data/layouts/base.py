"""What a layout is: it lists the scans of a data set and reads them, in millimeters, in any order and any process."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import tyro

from meshdisent.data.splits import NamedSplit
from meshdisent.mesh.mesh import Mesh

#: The raw folders of a layout stand without ``--`` on the command line; this is the whole tie to the parser.
RawFolders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RAW")]
Unit = Literal["mm", "cm", "dm", "m"]
MM_PER_UNIT: dict[str, float] = {"mm": 1.0, "cm": 10.0, "dm": 100.0, "m": 1000.0}


@dataclass(frozen=True, order=False)
class ScanRecord:
    """One scan that a layout can read.

    Attributes
    ----------
    subject : Who.
    expression : Which facial state, None if unknown.
    frame : Number within the sequence, -1 where there is none.
    source : The file, or what the scan is made from; named in messages.
    is_truth : Whether it is a subject's true neutral, which is kept beside the scans instead of among them.
    """

    subject: str
    expression: str | None
    frame: int
    source: str
    is_truth: bool = False


@dataclass(frozen=True)
class Rejection:
    """A file that was left out, and why, in one line."""

    source: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a layout found.

    Attributes
    ----------
    records : Scans in natural order; those of a subject stand together.
    rejected : Files that cannot be scans of this data set, such as duplicate names.
    passed_over : How many files of each other kind there are.
    left_out : Subjects that are there and were not asked for.
    remarks : What is worth knowing of the whole, such as scans that the data set should have; a line each.
    """

    records: tuple[ScanRecord, ...]
    rejected: tuple[Rejection, ...] = ()
    passed_over: Counter[str] = field(default_factory=Counter)
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Layout(Protocol):
    """A frozen dataclass whose fields are the options of ``meshdisent prepare LAYOUT``; it travels to other processes.

    Attributes
    ----------
    name : As it is written on the command line.
    align, drop : What its scans need by default: how to align them, which share of unlikely training scans to drop.
    splits : The published splits of the data set, by the name that ``--split-by`` takes.
    sign : What the path of one of its files looks like, for whoever points another layout at them; None: like any.
    raw : The folders of the data set.
    neutral : Name of the expression at rest.
    unit : Unit of the files.
    """

    name: ClassVar[str]
    align: ClassVar[str]
    drop: ClassVar[float]
    splits: ClassVar[Mapping[str, NamedSplit]]
    sign: ClassVar[re.Pattern[str] | None]

    @property
    def raw(self) -> tuple[Path, ...]: ...  # noqa: D102
    @property
    def neutral(self) -> str: ...  # noqa: D102
    @property
    def unit(self) -> Unit: ...  # noqa: D102

    def find(self) -> Listing:
        """List the scans; raises :class:`DataError` if the folders are absent or hold none."""
        ...

    def template(self) -> Mesh | None:
        """The reference mesh in mm if the data set has one of its own, else None."""
        ...

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Named sets of vertices that the data set defines on its template."""
        ...

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read scans in mm; one that cannot be read is rejected with its reason. The seed is for layouts that draw."""
        ...


def as_folders(raw: Sequence[Path | str] | Path | str) -> tuple[Path, ...]:
    """Take one folder or several, as paths or strings."""
    return (Path(raw),) if isinstance(raw, str | Path) else tuple(map(Path, raw))


def natural_key(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Sort key that puts ``2_smile`` before ``10_dimpler``.

    Examples
    --------
    >>> sorted(["10_grin", "2_smile", "Anna"], key=natural_key)
    ['2_smile', '10_grin', 'Anna']
    """
    parts = re.split(r"([0-9]+)", unicodedata.normalize("NFC", name).casefold())
    return (
        *((not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part),
        _last(name),
    )


def _last(name: str) -> tuple[bool, int, str]:
    return False, 0, name  # names that differ in case only, or in leading zeros, still have one order
