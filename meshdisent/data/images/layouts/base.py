"""What an image layout is: it lists the images of a data set, with what is known of each; it reads none of them."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from meshdisent.data.layouts.base import Rejection

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels: pixel k reaches from k to k + 1


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """One image that a layout has found.

    Attributes
    ----------
    path : The file.
    box : Where the face is, if the data set says so: left, top, right, bottom in pixels.
    subject, expression, sequence : Names, None where unknown; the name of a sequence is unique in the data set.
    frame : Number within the sequence, -1 where there is none.
    split : One of ``SPLITS``; None: drawn by subject.
    """

    path: str
    box: Box | None = None
    subject: str | None = None
    expression: str | None = None
    sequence: str | None = None
    frame: int = -1
    split: str | None = None


class PairRecord(NamedTuple):
    """Two records, by their place in the listing, whether they show one person, and the fold of the protocol."""

    first: int
    second: int
    is_same: bool
    fold: int


@dataclass(frozen=True, kw_only=True)
class ImageListing:
    """What a layout found.

    Attributes
    ----------
    records : Images in natural order; those of a sequence in the order of their frames.
    rejected : Images that a list names and that are absent, and the like.
    passed_over : How many other files, or rows of a list, there are of each kind.
    remarks : What is worth knowing of the whole; a line each.
    expressions : Names of all classes in the order of the data set; None: by first appearance.
    lists : Named records, by their place.
    pairs : Verification pairs.
    """

    records: tuple[ImageRecord, ...]
    rejected: tuple[Rejection, ...] = ()
    passed_over: Counter[str] = field(default_factory=Counter)
    remarks: tuple[str, ...] = ()
    expressions: tuple[str, ...] | None = None
    lists: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    pairs: tuple[PairRecord, ...] = ()


@runtime_checkable
class ImageLayout(Protocol):
    """A frozen dataclass whose fields are the options of a data set.

    Attributes
    ----------
    name : As it is written on the command line.
    crop : Which crop its images need by default, a name of ``CROPS``.
    sign : What the path of one of its files looks like, for whoever points another layout at them; None: like any.
    """

    name: ClassVar[str]
    crop: ClassVar[str]
    sign: ClassVar[re.Pattern[str] | None]

    def find(self, root: Path) -> ImageListing:
        """List the images below a folder; raises :class:`DataError` if it holds none, or a list is wrong."""
        ...
