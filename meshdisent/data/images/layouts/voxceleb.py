"""VoxCeleb as frames, ``ID/VIDEO/CLIP/0001.jpg``; 1,251 speakers, of whom 1,147 are for training."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from meshdisent.data.images.layouts.base import ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, list_lines, numbered_frames
from meshdisent.data.layouts.tree import FoundFile, some
from meshdisent.errors import DataError, UsageError

TRAINING_SPEAKERS, SPEAKERS = 1147, 1251


@dataclass(frozen=True, kw_only=True)
class VoxcelebLayout:
    """Frames in folders ``ID/VIDEO/CLIP/*.jpg``, anywhere below the root; a sequence is a clip, a subject a speaker."""

    name: ClassVar[str] = "voxceleb"
    crop: ClassVar[str] = "center"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/id[0-9]{5}/[\w-]{11}/[^/]+/[^/]+\.(jpg|jpeg|png)$", re.IGNORECASE
    )

    training: Path | None = None
    """File with the names of the training speakers, one a line; the others are for the test."""
    training_share: float = TRAINING_SPEAKERS / SPEAKERS
    """Share of the speakers to train on, drawn by seed, where no file names them."""
    every: int = 1
    """Take the first of every so many frames of a clip."""
    seed: int = 0
    """Draws the speakers."""

    def __post_init__(self) -> None:
        if not 0 < self.training_share <= 1 or self.every < 1:
            raise UsageError(
                f"The layout voxceleb got training_share {self.training_share} and every {self.every}; wanted a share "
                "above 0 and up to 1, and at least 1. Correct the options."
            )

    def find(self, root: Path) -> ImageListing:
        """List the frames: speakers, videos, clips and frames in natural order."""
        tree = ImageTree.below(root)
        clips = list(_clips(tree.images, tree.passed_over))
        if not clips:
            raise DataError(f"{root} holds no frame of a clip; wanted ID/VIDEO/CLIP/*.jpg. Give the folder of the IDs.")
        speakers = list(dict.fromkeys(clip[0] for clip, _ in clips))
        split, remarks = self._split(speakers)
        records = []
        for clip, frames in clips:
            numbers = numbered_frames([frame.parts[-1] for frame in frames])
            for number, frame in sorted(zip(numbers, frames, strict=True), key=lambda pair: pair[0])[:: self.every]:
                records.append(
                    ImageRecord(
                        path=str(frame.path),
                        subject=clip[0],
                        sequence="/".join(clip),
                        frame=number,
                        split=split[clip[0]],
                    )
                )
        return ImageListing(records=tuple(records), passed_over=tree.passed_over, remarks=tuple(remarks))

    def _split(self, speakers: Sequence[str]) -> tuple[dict[str, str], list[str]]:
        if self.training is None:
            order = np.random.default_rng(self.seed).permutation(len(speakers))
            chosen = {speakers[k] for k in order[: max(1, round(self.training_share * len(speakers)))]}
            return {name: "train" if name in chosen else "test" for name in speakers}, []
        named = {text for _, text in list_lines(self.training)}
        absent = sorted(named - set(speakers))
        if len(absent) == len(named):
            raise DataError(
                f"{self.training} names {some(absent)}, of whom there are no frames; the speakers are "
                f"{some(speakers)}. Correct the names."
            )
        remarks = [f"{len(absent)} of {len(named)} training speakers are absent: {some(absent)}"] if absent else []
        return {name: "train" if name in named else "test" for name in speakers}, remarks


def _clips(
    images: Sequence[FoundFile], passed_over: Counter[str]
) -> Iterator[tuple[tuple[str, str, str], list[FoundFile]]]:
    clips: dict[tuple[str, str, str], list[FoundFile]] = {}
    for image in images:
        if len(image.parts) > 3:
            clips.setdefault((image.parts[-4], image.parts[-3], image.parts[-2]), []).append(image)
        else:
            passed_over["images outside a clip's folder"] += 1
    yield from clips.items()
