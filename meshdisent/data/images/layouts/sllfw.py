"""SLLFW: images of LFW in pairs of people who look alike, in ten folds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from meshdisent.data.images.layouts.base import ImageListing
from meshdisent.data.images.layouts.image_tree import ImageTree, list_lines
from meshdisent.data.images.layouts.lfw import NamedPair, listing_of_pairs
from meshdisent.errors import DataError

FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class SllfwLayout:
    """``NAME/NAME_0001.jpg`` as in LFW and ``pair_SLLFW.txt``: two lines a pair, each NAME/NAME_0001.jpg.

    Two images of one name are a pair of one person; a tenth of the pairs, in their order, is a fold.
    """

    name: ClassVar[str] = "sllfw"
    crop: ClassVar[str] = "whole"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(r"/pair_SLLFW\.txt$", re.IGNORECASE)

    def find(self, root: Path) -> ImageListing:
        """List the images of the pairs in natural order."""
        tree = ImageTree.below(root)
        path = tree.list_file("pair_SLLFW.txt")
        return listing_of_pairs(tree, list(_pairs(path)), path)


def _pairs(path: Path) -> Iterator[NamedPair]:
    lines = list(list_lines(path))
    if not lines or len(lines) % (2 * FOLDS):
        raise DataError(
            f"{path} has {len(lines)} lines; wanted two for each pair, and as many pairs in each of {FOLDS} folds. "
            "Get the whole list."
        )
    for line, text in lines:
        if "/" not in text or "_" not in text.rpartition("/")[2]:
            raise DataError(f"{path}, line {line} is {text!r}; wanted NAME/NAME_0001.jpg. Correct the list.")
    fold_size = len(lines) // (2 * FOLDS)
    for k, ((line, first), (_, second)) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        is_same = first.partition("/")[0] == second.partition("/")[0]
        yield NamedPair(Path(first).stem, Path(second).stem, is_same, k // fold_size, line)
