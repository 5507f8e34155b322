"""What layouts have in common whose files are named by who is seen and what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import tyro

from meshdisent.data.layouts.base import RawFolders, Rejection, ScanRecord, Unit, as_folders
from meshdisent.data.layouts.tree import read_scan
from meshdisent.errors import UsageError
from meshdisent.mesh.mesh import Mesh


@dataclass(frozen=True, kw_only=True)
class NamedFiles:
    """Options and defaults; a layout adds its name, its splits and how its files are found."""

    name: ClassVar[str]

    raw: RawFolders
    """Folders of the data set."""
    unit: Unit = "mm"
    """Unit of the coordinates in the files."""
    subjects: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Take the first so many subjects only."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw", as_folders(self.raw))
        if not self.raw or (self.subjects is not None and self.subjects < 1):
            raise UsageError(
                f"The layout {self.name} got {len(self.raw)} folders and {self.subjects} subjects; wanted at least one "
                "of each. Correct the arguments."
            )

    def template(self) -> Mesh | None:
        """Give none: one of the scans at rest is the reference."""
        return None

    def regions(self, template: Mesh) -> dict[str, Sequence[int]]:
        """Give none: the files name no regions."""
        return {}

    def read(self, records: Sequence[ScanRecord], seed: int) -> list[Mesh | Rejection]:
        """Read the files, in mm."""
        return [read_scan(record.source, self.unit) for record in records]


@dataclass(frozen=True, kw_only=True)
class NamedFrames(NamedFiles):
    """The same for sequences of frames."""

    every: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Take the first of every so many frames of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.every < 1:
            raise UsageError(
                f"The layout {self.name} got every {self.every}; wanted at least 1. Correct the arguments."
            )
