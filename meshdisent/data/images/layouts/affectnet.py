"""AffectNet: photographs with one of eight expressions, valence, arousal and a face box, in CSV tables."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from meshdisent.data.images.layouts.base import Box, ImageListing, ImageRecord
from meshdisent.data.images.layouts.image_tree import ImageTree, list_lines, whole_number
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.layouts.tree import some
from meshdisent.errors import DataError

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
#: Rows of these classes are kept in the training subset if their number in the table is a multiple of this.
KEPT_EVERY = {"neutral": 10, "happy": 20, "sad": 4, "surprise": 2, "anger": 4}
#: Published lists of validation images with turned heads, by the name that they get here.
POSE_LISTS = {"pose_30": "pose_30_affectnet_list.txt", "pose_45": "pose_45_affectnet_list.txt"}
#: Columns of the tables in their order; some copies of validation.csv come without the line that names them.
COLUMNS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
           "valence", "arousal")  # fmt: skip
_NO_EXPRESSION = 10  # 8 none, 9 uncertain, 10 no face
_TABLES = (("train", "training.csv"), ("test", "validation.csv"))


class _Row(NamedTuple):
    name: str
    box: Box
    expression: str
    line: int


@dataclass(frozen=True, kw_only=True)
class AffectnetLayout:
    """``Manually_Annotated_Images/FOLDER/NAME`` with ``training.csv`` and ``validation.csv``, anywhere below the root.

    Rows with an expression from 0 to 7 and valence and arousal from -1 to 1 count. Labels of the test set are not
    published: the validation set is the test set, as in the papers.
    """

    name: ClassVar[str] = "affectnet"
    crop: ClassVar[str] = "box"
    sign: ClassVar[re.Pattern[str] | None] = re.compile(
        r"/Manually_Annotated_(Images|file_lists)/|/(training|validation)\.csv$", re.IGNORECASE
    )

    downsample: bool = True
    """Take the training subset of the papers: a row of a frequent class only if its number is a multiple of
    ``KEPT_EVERY``. Numbers run over the rows that count, all classes together, from 0."""
    pose_30: Path | None = None
    """List of validation images with heads turned by 30 degrees or more; looked for by its published name."""
    pose_45: Path | None = None
    """The same for 45 degrees."""

    def find(self, root: Path) -> ImageListing:
        """List the images in the order of the tables: training, then validation."""
        tree = ImageTree.below(root)
        images = {"/".join(file.parts[-2:]).casefold(): file.path for file in tree.images}
        records: list[ImageRecord] = []
        rejected: list[Rejection] = []
        for split, name in _TABLES:
            table = tree.list_file_or_none(name)
            if table is None:
                continue
            rows = list(_rows(table, tree.passed_over))
            if split == "train" and self.downsample:
                rows = [row for k, row in enumerate(rows) if k % KEPT_EVERY.get(row.expression, 1) == 0]
            for row in rows:
                path = images.get(row.name.casefold())
                if path is None:
                    rejected.append(Rejection(row.name, f"is absent; {table.name} names it in line {row.line}"))
                else:
                    records.append(ImageRecord(path=str(path), box=row.box, expression=row.expression, split=split))
        if not records and not rejected:
            raise DataError(f"{root} has neither training.csv nor validation.csv; wanted one of them. Unpack it there.")
        lists, remarks = self._pose_lists(tree, records)
        return ImageListing(
            records=tuple(records),
            rejected=tuple(rejected),
            passed_over=tree.passed_over,
            remarks=tuple(remarks),
            expressions=EXPRESSIONS,
            lists=lists,
        )

    def _pose_lists(
        self, tree: ImageTree, records: Sequence[ImageRecord]
    ) -> tuple[Mapping[str, tuple[int, ...]], list[str]]:
        lists: dict[str, tuple[int, ...]] = {}
        remarks: list[str] = []
        place = {Path(record.path).name: k for k, record in enumerate(records) if record.split == "test"}
        for name, given in (("pose_30", self.pose_30), ("pose_45", self.pose_45)):
            path = given or tree.list_file_or_none(POSE_LISTS[name])
            if path is None:
                continue
            # A line is NAME, or FOLDER/NAME, and perhaps a label behind it.
            listed = [text.split()[0].replace("\\", "/").rpartition("/")[2] for _, text in list_lines(path)]
            lists[name] = tuple(sorted({place[image] for image in listed if image in place}))
            absent = [image for image in listed if image not in place]
            if absent:
                remarks.append(f"{len(absent)} of {len(listed)} images of {path.name} are absent: {some(absent)}")
        return lists, remarks


def _rows(path: Path, passed_over: Counter[str]) -> Iterator[_Row]:
    """Rows of a table that count; the others are counted, and what is no row of it is an error."""
    for line, text in list_lines(path):
        cells = next(csv.reader((text,)))
        if cells[0] == COLUMNS[0]:
            continue
        if len(cells) < len(COLUMNS):
            raise DataError(f"{path}, line {line} has {len(cells)} columns; wanted {', '.join(COLUMNS)}.")
        row = dict(zip(COLUMNS, cells, strict=False))
        expression = whole_number(row["expression"], path, line, "the expression", 0, _NO_EXPRESSION)
        x, y, width, height, valence, arousal = (
            _number(row[name], path, line, name) for name in (*COLUMNS[1:5], *COLUMNS[7:9])
        )
        if expression >= len(EXPRESSIONS):
            passed_over[f"rows without an expression in {path.name}"] += 1
        elif not (-1 <= valence <= 1 and -1 <= arousal <= 1):
            passed_over[f"rows without valence and arousal in {path.name}"] += 1
        else:
            name = "/".join(row[COLUMNS[0]].replace("\\", "/").split("/")[-2:])
            yield _Row(name, (x, y, x + width, y + height), EXPRESSIONS[expression], line)


def _number(text: str, path: Path, line: int, what: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {what} is {text!r}; wanted a number. Correct the table.") from error
