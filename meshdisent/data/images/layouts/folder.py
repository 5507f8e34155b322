"""Images as people keep them: ``SUBJECT/a.jpg``, or ``SUBJECT/SEQUENCE/1.jpg`` for the frames of videos."""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from meshdisent.data.images.layouts.base import ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, numbered_frames
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.layouts.tree import unfit
from meshdisent.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ImageFolderLayout:
    """``SUBJECT/*.jpg`` without sequences, ``SUBJECT/SEQUENCE/*.jpg`` with; the split is drawn by subject."""

    name: ClassVar[str] = "folder"
    crop: ClassVar[str] = "center"
    sign: ClassVar[re.Pattern[str] | None] = None

    def find(self, root: Path) -> ImageListing:
        """List the images: subjects, sequences and frames in natural order."""
        tree = ImageTree.below(root)
        records: list[ImageRecord] = []
        rejected: list[Rejection] = []
        for parents, group in groupby(tree.images, key=lambda image: image.parts[:-1]):
            images = list(group)
            if len(parents) not in (1, 2):
                where = "outside a subject's folder" if not parents else "more than two folders deep"
                tree.passed_over[f"images {where}"] += len(images)
                continue
            if reason := next(filter(None, map(unfit, parents)), None):
                rejected += [Rejection(str(image.path), reason) for image in images]
                continue
            is_sequence = len(parents) == 2
            numbers = numbered_frames([image.parts[-1] for image in images]) if is_sequence else [-1] * len(images)
            ordered = sorted(zip(numbers, images, strict=True), key=lambda pair: pair[0])  # keeps the order of equals
            records += [
                ImageRecord(
                    path=str(image.path),
                    subject=parents[0],
                    sequence="/".join(parents) if is_sequence else None,
                    frame=number,
                )
                for number, image in ordered
            ]
        if not records:
            raise DataError(
                f"{root} holds {len(tree.images)} images, none in a subject's folder; wanted SUBJECT/*.jpg or "
                "SUBJECT/SEQUENCE/*.jpg. Give the folder above it."
            )
        return ImageListing(records=tuple(records), rejected=tuple(rejected), passed_over=tree.passed_over)
