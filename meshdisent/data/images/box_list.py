"""Face boxes that a detector found, from a CSV file of the user's own."""

import csv
import os
from pathlib import Path

from meshdisent.data.images.layouts.base import Box
from meshdisent.errors import DataError

COLUMNS = ("path", "left", "top", "right", "bottom")


def read_boxes(path: str | os.PathLike, root: Path) -> dict[str, Box]:
    """Boxes by the full path of the image.

    Parameters
    ----------
    path : CSV with a header, ``path,left,top,right,bottom``: paths relative to ``root``, pixels.
    root : Folder of the images.

    Raises
    ------
    DataError : If the file cannot be read, lacks a column, or has a row that is no box; with its line.

    Examples
    --------
    >>> _ = (folder / "boxes.csv").write_text("path,left,top,right,bottom\\nanna/1.jpg,3,4,60,61.5\\n")
    >>> list(read_boxes(folder / "boxes.csv", folder).values())
    [(3.0, 4.0, 60.0, 61.5)]
    """
    boxes: dict[str, Box] = {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if not set(COLUMNS) <= set(table.fieldnames or ()):
                raise DataError(f"{path} has the columns {table.fieldnames}; wanted {', '.join(COLUMNS)}.")
            for row in table:
                try:
                    left, top, right, bottom = (float(row[name]) for name in COLUMNS[1:])
                except (TypeError, ValueError) as error:
                    raise DataError(
                        f"{path}, line {table.line_num}: {error}; wanted four numbers, {', '.join(COLUMNS[1:])}."
                    ) from error
                boxes[str(root / row["path"])] = (left, top, right, bottom)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); wanted a CSV file, {','.join(COLUMNS)}.") from error
    return boxes
