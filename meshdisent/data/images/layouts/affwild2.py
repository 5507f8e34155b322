"""Aff-Wild2, expression set: cropped frames of videos, with a label for each frame."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np

from meshdisent.data.images.layouts.base import ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, list_lines, whole_number
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.layouts.tree import FoundFile
from meshdisent.errors import DataError, UsageError

EXPRESSIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
_SPLIT_OF_FOLDER = (("train", "train"), ("valid", "test"))


@dataclass(frozen=True, kw_only=True)
class Affwild2Layout:
    """``cropped_aligned/VIDEO/00001.jpg`` and ``EXPR_Set/Train_Set/VIDEO.txt``, ``EXPR_Set/Validation_Set/VIDEO.txt``.

    A table has a line that names the classes, then a label for each frame, -1 where there is none: frame n has label n
    - 1, counted from 0. Labels of the test set are not published: the validation set is the test set. A sequence is a
    video; who is seen is not said.
    """

    name: ClassVar[str] = "affwild2"
    crop: ClassVar[str] = "whole"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/cropped_aligned/[^/]+/[0-9]+\.(jpg|png)$|/EXPR_Set/[^/]+/[^/]+\.txt$", re.IGNORECASE
    )

    share: float = 0.25
    """Share of the labeled frames of each video to take, at random; 1: all."""
    seed: int = 0
    """Draws the frames of each video; other videos change nothing."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UsageError(f"The layout affwild2 got share {self.share}; wanted above 0 and up to 1, such as 0.25.")

    def find(self, root: Path) -> ImageListing:
        """List the drawn frames: videos in natural order, frames in their order."""
        tree = ImageTree.below(root)
        tables = dict(_tables(tree))
        if not tables:
            raise DataError(f"{root} has no table of labels; wanted EXPR_Set/Train_Set/VIDEO.txt. Unpack them there.")
        records: list[ImageRecord] = []
        for video, frames in groupby(tree.images, key=lambda image: image.parts[-2] if len(image.parts) > 1 else ""):
            if video in tables:
                split, path = tables.pop(video)
                labeled = list(_labeled(list(frames), _labels(path), tree.passed_over))
                records += self._drawn(video, split, labeled)
            else:
                tree.passed_over["frames of videos without a table"] += len(list(frames))
        rejected = [
            Rejection(str(path), f"has labels for {video}, whose frames are absent")
            for video, (_, path) in tables.items()
        ]
        return ImageListing(
            records=tuple(records), rejected=tuple(rejected), passed_over=tree.passed_over, expressions=EXPRESSIONS
        )

    def _drawn(self, video: str, split: str, labeled: list[tuple[int, int, str]]) -> Iterator[ImageRecord]:
        random = np.random.default_rng([self.seed, zlib.crc32(video.encode())])
        count = max(1, round(self.share * len(labeled))) if labeled else 0
        for k in np.sort(random.choice(len(labeled), count, replace=False)) if labeled else ():
            frame, label, path = labeled[k]
            yield ImageRecord(path=path, expression=EXPRESSIONS[label], sequence=video, frame=frame, split=split)


def _tables(tree: ImageTree) -> Iterator[tuple[str, tuple[str, Path]]]:
    """Video, and the split and the file of its labels."""
    for file in tree.others:
        folder = file.parts[-2].casefold() if len(file.parts) > 1 else ""
        for start, split in _SPLIT_OF_FOLDER:
            if file.extension == ".txt" and folder.startswith(start):
                tree.take(file)
                yield Path(file.parts[-1]).stem, (split, file.path)


def _labels(path: Path) -> list[int]:
    lines = list(list_lines(path))[1:]
    return [whole_number(text, path, line, "the label", -1, len(EXPRESSIONS) - 1) for line, text in lines]


def _labeled(frames: list[FoundFile], labels: list[int], passed_over: Counter[str]) -> Iterator[tuple[int, int, str]]:
    """Frame number, label and file of the frames that have a label, in the order of their numbers."""
    numbered = [(int(stem), frame) for frame in frames if (stem := frame.path.stem).isdecimal()]
    for number, frame in sorted(numbered, key=lambda pair: pair[0]):
        if not 1 <= number <= len(labels):
            passed_over["frames behind the last label"] += 1
        elif labels[number - 1] < 0:
            passed_over["frames without a label"] += 1
        else:
            yield number, labels[number - 1], str(frame.path)
