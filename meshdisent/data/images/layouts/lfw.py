"""LFW: labeled faces in the wild, with 6,000 verification pairs in ten folds."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from meshdisent.data.images.layouts.base import ImageListing, ImageRecord, PairRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, list_lines, whole_number
from meshdisent.data.layouts.base import Rejection, natural_key
from meshdisent.errors import DataError

_MOST = 10_000


class NamedPair(NamedTuple):
    """Two images by name, such as ``Ana_Alba_0001``, whether they show one person, the fold, and the line."""

    first: str
    second: str
    is_same: bool
    fold: int
    line: int


@dataclass(frozen=True, kw_only=True)
class LfwLayout:
    """``NAME/NAME_0001.jpg`` and ``pairs.txt``, anywhere below the root; only images that a pair names are taken.

    The first line of the list has the number of folds and of pairs of a kind in each (10 300); then come, fold by fold,
    pairs of one person (NAME K L) and pairs of two (NAME K OTHER L).
    """

    name: ClassVar[str] = "lfw"
    crop: ClassVar[str] = "whole"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(r"/([^/]+)/\1_[0-9]{4}\.(jpg|png)$|/pairs\.txt$")

    def find(self, root: Path) -> ImageListing:
        """List the images of the pairs in natural order."""
        tree = ImageTree.below(root)
        path = tree.list_file("pairs.txt")
        return listing_of_pairs(tree, list(_pairs(path)), path)


def listing_of_pairs(tree: ImageTree, pairs: Sequence[NamedPair], path: Path) -> ImageListing:
    """The images that pairs name, and the pairs between those that are there."""
    images = {file.path.stem: file.path for file in tree.images}
    wanted: dict[str, int] = {}
    for pair in pairs:
        wanted.setdefault(pair.first, pair.line)
        wanted.setdefault(pair.second, pair.line)
    there = sorted((name for name in wanted if name in images), key=natural_key)
    place = {name: k for k, name in enumerate(there)}
    records = [ImageRecord(path=str(images[name]), subject=_person(name), split="test") for name in there]
    rejected = [
        Rejection(name, f"is absent; {path.name} names it in line {line}")
        for name, line in wanted.items()
        if name not in place
    ]
    kept = [pair for pair in pairs if pair.first in place and pair.second in place]
    remarks = [f"{len(pairs) - len(kept)} of {len(pairs)} pairs lack an image"] if len(kept) < len(pairs) else []
    unnamed = len(images) - len(there)
    if unnamed:
        tree.passed_over["images that no pair names"] += unnamed
    return ImageListing(
        records=tuple(records),
        rejected=tuple(rejected),
        passed_over=tree.passed_over,
        remarks=tuple(remarks),
        pairs=tuple(PairRecord(place[p.first], place[p.second], p.is_same, p.fold) for p in kept),
    )


def _person(name: str) -> str:
    return name.rpartition("_")[0]


def _pairs(path: Path) -> Iterator[NamedPair]:
    lines = list(list_lines(path))
    header = lines[0][1].split() if lines else []
    if len(header) != 2:
        raise DataError(
            f"{path}, line 1 is {' '.join(header)!r}; wanted FOLDS PAIRS, such as 10 300. Correct the list."
        )
    fold_count, half = (whole_number(text, path, 1, "a count", 1, _MOST) for text in header)
    if len(lines) - 1 != fold_count * 2 * half:
        raise DataError(
            f"{path} has {len(lines) - 1} pairs; wanted {fold_count * 2 * half}, {half} of one person and {half} of "
            f"two in each of {fold_count} folds, as its first line says. Get the whole list."
        )
    for k, (line, text) in enumerate(lines[1:]):
        fold, place = divmod(k, 2 * half)
        cells = text.split("\t") if "\t" in text else text.split()
        if len(cells) != (3 if place < half else 4):
            wanted = "NAME K L" if place < half else "NAME K OTHER L"
            raise DataError(f"{path}, line {line} is {text!r}; wanted {wanted}. Correct the list.")
        other = cells[0] if place < half else cells[2]
        numbers = (whole_number(cell, path, line, "an image", 1, _MOST) for cell in (cells[1], cells[-1]))
        first, second = (f"{name}_{number:04d}" for name, number in zip((cells[0], other), numbers, strict=True))
        yield NamedPair(first, second, place < half, fold, line)
