"""RAF-DB, basic set: aligned photographs with one of seven expressions."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from meshdisent.data.images.layouts.base import ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, fields, list_lines, whole_number
from meshdisent.data.layouts.base import Rejection
from meshdisent.errors import DataError

LABELS = "list_patition_label.txt"  # spelled as published
EXPRESSIONS = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


@dataclass(frozen=True, kw_only=True)
class RafdbLayout:
    """``aligned/train_00001_aligned.jpg`` and ``list_patition_label.txt`` (NAME LABEL, 1 to 7), below the root.

    The label is stored minus 1, in the order of ``EXPRESSIONS``; the split is in the name of the file.
    """

    name: ClassVar[str] = "rafdb"
    crop: ClassVar[str] = "whole"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/(train|test)_[0-9]+(_aligned)?\.(jpg|png)$|/list_patition_label\.txt$", re.IGNORECASE
    )

    def find(self, root: Path) -> ImageListing:
        """List the images that the list names, in its order; of an image and its aligned copy the aligned one."""
        tree = ImageTree.below(root)
        labels = tree.list_file(LABELS)
        images = {file.path.stem: file.path for file in tree.images}
        records, rejected, used = [], [], set()
        for line, text in list_lines(labels):
            name, label = fields(text, 2, labels, line, "NAME LABEL")
            number = whole_number(label, labels, line, "the label", 1, len(EXPRESSIONS))
            stem = Path(name).stem
            split = stem.partition("_")[0]
            if split not in ("train", "test"):
                raise DataError(
                    f"{labels}, line {line}: the image is {name!r}; wanted train_NUMBER or test_NUMBER. "
                    "Correct the list."
                )
            copies = [images[copy] for copy in (f"{stem}_aligned", stem) if copy in images]
            used.update(copies)
            if not copies:
                rejected.append(Rejection(name, f"is absent; {labels.name} names it in line {line}"))
                continue
            records.append(ImageRecord(path=str(copies[0]), expression=EXPRESSIONS[number - 1], split=split))
        if len(used) < len(images):
            tree.passed_over[f"images that {LABELS} does not name"] += len(images) - len(used)
        return ImageListing(
            records=tuple(records), rejected=tuple(rejected), passed_over=tree.passed_over, expressions=EXPRESSIONS
        )
