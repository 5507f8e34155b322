"""CelebA: 202,599 photographs of 10,177 people, with an official split and a list of crops."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from meshdisent.data.images.layouts.base import Box, ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, fields, list_lines, whole_number
from meshdisent.data.layouts.base import Rejection

PARTITION, IDENTITY = "list_eval_partition.txt", "identity_CelebA.txt"
CROPS_OF_UNSUP3D, OFFICIAL_BOXES = "celeba_crop_bbox.txt", "list_bbox_celeba.txt"
SPLIT_OF_NUMBER = ("train", "val", "test")
_LARGEST = 10**6


@dataclass(frozen=True, kw_only=True)
class CelebaLayout:
    """``img_celeba/000001.jpg`` and, anywhere beside it, the official lists.

    ``list_eval_partition.txt`` (0, 1, 2: train, val, test) is needed; ``identity_CelebA.txt`` gives the subjects.
    Boxes come from ``celeba_crop_bbox.txt`` (NAME SPLIT X Y WIDTH HEIGHT, released with Unsup3D) if it is there, else
    from ``list_bbox_celeba.txt`` (NAME X Y WIDTH HEIGHT).
    """

    name: ClassVar[str] = "celeba"
    crop: ClassVar[str] = "box"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/img_(align_)?celeba(_png)?/[^/]*\.(jpg|png)$|/list_eval_partition\.txt$", re.IGNORECASE
    )

    aligned: bool = False
    """Take the images of ``img_align_celeba``, which need no box (crop ``center``)."""

    def find(self, root: Path) -> ImageListing:
        """List the images that the partition names, in its order."""
        tree = ImageTree.below(root)
        partition = tree.list_file(PARTITION)
        images = {
            file.path.stem: file.path for file in tree.images if ("img_align_celeba" in file.whole) == self.aligned
        }
        subject = _subjects(tree.list_file_or_none(IDENTITY))
        boxes = {} if self.aligned else dict(_boxes(tree))
        records, rejected = [], []
        for line, text in list_lines(partition):
            name, number = fields(text, 2, partition, line, "NAME 0|1|2")
            split = SPLIT_OF_NUMBER[whole_number(number, partition, line, "the split", 0, 2)]
            stem = Path(name).stem
            path = images.pop(stem, None)
            if path is None:
                rejected.append(Rejection(name, f"is absent; {partition.name} names it in line {line}"))
                continue
            records.append(ImageRecord(path=str(path), box=boxes.get(stem), subject=subject.get(stem), split=split))
        if images:
            tree.passed_over[f"images that {PARTITION} does not name"] += len(images)
        return ImageListing(records=tuple(records), rejected=tuple(rejected), passed_over=tree.passed_over)


def _subjects(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    rows = (fields(text, 2, path, line, "NAME IDENTITY") for line, text in list_lines(path))
    return {Path(name).stem: identity for name, identity in rows}


def _boxes(tree: ImageTree) -> Iterator[tuple[str, Box]]:
    path = tree.list_file_or_none(CROPS_OF_UNSUP3D)
    header_lines = 0
    if path is None:
        path, header_lines = tree.list_file_or_none(OFFICIAL_BOXES), 2
    if path is None:
        return
    for line, text in list_lines(path):
        if line <= header_lines:
            continue
        name, *numbers = fields(text, 5, path, line, "NAME ... X Y WIDTH HEIGHT")
        x, y = (whole_number(number, path, line, "a corner", -_LARGEST, _LARGEST) for number in numbers[:2])
        width, height = (whole_number(number, path, line, "a side", 0, _LARGEST) for number in numbers[2:])
        if width == 0 or height == 0:  # the official list has a few: no face was marked
            tree.passed_over["boxes without an area"] += 1
            continue
        # NAME SPLIT in the one list, NAME in the other; names have no spaces
        yield Path(name.split()[0]).stem, (float(x), float(y), float(x + width), float(y + height))
