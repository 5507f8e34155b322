"""Landmark files: named points in the formats that people have, read without running or fetching anything.

========== =========================================================================================================
``.json``  ``{"tip of the nose": [x, y, z], ...}``, or a list of ``{"name": ..., "point": [x, y, z]}``
``.csv``   a row a point: name, x, y, z; a heading is allowed
``.pp``    MeshLab's picked points
``.pts``   iBUG's numbered points; they get the names of the 68-point scheme if they are 68, else their numbers from 1.
           Pixels of a picture are counted from 1 in them, as Matlab does, and from 0 here
``.ljson`` menpo's, versions 2 and 3: row before column in a picture. 68 points with a jaw of 17 get the names of the
           68-point scheme; else the points of a label are called ``LABEL 1``, ``LABEL 2``, ...
========== =========================================================================================================

Points have two or three coordinates, all in one file alike, in the unit and frame of the file's mesh or picture.
"""

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from meshdisent.errors import DataError

Points = dict[str, Float[np.ndarray, " axis"]]

#: In what ways the readers below stumble over a file that is none of theirs.
_BROKEN = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    RecursionError,
    OverflowError,
    StopIteration,
    csv.Error,
)

#: No honest file of landmarks is larger.
MOST_BYTES = 16 * 2**20


def _run(name: str, count: int) -> list[str]:
    return [f"{name} {number}" for number in range(1, count + 1)]


#: Names of the 68 points of iBUG's scheme in their order (Sagonas et al. 2013). Left and right are the person's own.
IBUG_68 = (
    *_run("jaw", 17),
    *_run("right brow", 5),
    *_run("left brow", 5),
    *_run("bridge of the nose", 3),
    "tip of the nose",
    *_run("base of the nose", 5),
    "outer corner of the right eye",
    *_run("upper lid of the right eye", 2),
    "inner corner of the right eye",
    *_run("lower lid of the right eye", 2),
    "inner corner of the left eye",
    *_run("upper lid of the left eye", 2),
    "outer corner of the left eye",
    *_run("lower lid of the left eye", 2),
    "right corner of the mouth",
    *_run("upper lip", 5),
    "left corner of the mouth",
    *_run("lower lip", 5),
    *_run("inner lips", 8),
)


def read_landmark_file(path: str | os.PathLike) -> Points:
    """Read named points; the extension says the format (see the module).

    Returns
    -------
    (2,) or (3,) float64 by name, in the order of the file.

    Raises
    ------
    DataError : If the file is absent, too large, of an unknown or another format, holds no point, a name twice, a
        coordinate that is not finite, or points of different dimensions.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} is no landmark file; wanted one of {', '.join(READERS)}. Convert it.")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} has {size:,} bytes; wanted landmarks, at most {MOST_BYTES:,}. Is it a mesh?")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} could not be read ({error}). Wanted a text file of landmarks.") from error
    try:
        rows = reader(text)
    except _BROKEN as error:
        raise DataError(
            f"{path} is no {path.suffix.lower()} file of landmarks ({type(error).__name__}: {str(error)[:120]}). "
            "Export it again, or correct its extension."
        ) from error
    return _checked(rows, str(path))


def _checked(rows: list[tuple[str, list[float]]], where: str) -> Points:
    points: Points = {}
    for name, numbers in rows:
        if not name.strip() or name in points:
            times = "twice" if name in points else "a point"
            raise DataError(f"{where} names {name!r} {times}; wanted a name of its own for each point.")
        if len(numbers) not in (2, 3) or not all(math.isfinite(number) for number in numbers):
            raise DataError(f"{where}: {name!r} is at {numbers}; wanted two or three finite coordinates.")
        points[name] = np.array(numbers, dtype=np.float64)
    if len({len(point) for point in points.values()}) != 1:
        found = "no point" if not points else "points of two and of three coordinates"
        raise DataError(f"{where} holds {found}; wanted landmarks, all of them in space or all in a picture.")
    return points


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list | tuple):
        raise ValueError(f"{values!r} is no list of coordinates")
    if not all(isinstance(value, int | float | str) and not isinstance(value, bool) for value in values):
        raise ValueError(f"{values!r} holds what is no number")
    return [float(value) for value in values]


def _json(text: str) -> list[tuple[str, list[float]]]:
    content = json.loads(text)
    if isinstance(content, list):
        return [(str(entry["name"]), _numbers(entry["point"])) for entry in content]
    if isinstance(content, Mapping):
        return [(name, _numbers(values)) for name, values in content.items()]
    raise ValueError("neither a list nor names with coordinates")


def _csv(text: str) -> list[tuple[str, list[float]]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    if rows and not _is_number(rows[0][-1]):
        rows = rows[1:]
    return [(row[0].strip(), _numbers(row[1:])) for row in rows]


def _pp(text: str) -> list[tuple[str, list[float]]]:
    if re.search(r"<!(?:DOCTYPE(?!\s+PickedPoints\s*>)|ENTITY)", text):
        raise ValueError("it declares entities, which no picked points need")
    try:
        root = ElementTree.fromstring(re.sub(r"<!DOCTYPE\s+PickedPoints\s*>", "", text))
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    rows = []
    for point in root.iter("point"):
        if point.get("active", "1") != "0":
            rows.append((str(point.attrib["name"]), [float(point.attrib[axis]) for axis in "xyz"]))
    return rows


def _pts(text: str) -> list[tuple[str, list[float]]]:
    found = re.search(r"n_points\s*:\s*(\d+)\s*\{([^}]*)\}", text)
    if found is None:
        raise ValueError("no n_points with a list in braces")
    rows = [[float(number) for number in line.split()] for line in found[2].splitlines() if line.strip()]
    if len(rows) != int(found[1]):
        raise ValueError(f"{len(rows)} points, n_points says {found[1]}")
    names = IBUG_68 if len(rows) == len(IBUG_68) else [str(number) for number in range(1, len(rows) + 1)]
    rows = [[value - 1 for value in row] if len(row) == 2 else row for row in rows]
    return list(zip(names, rows, strict=True))


def _ljson(text: str) -> list[tuple[str, list[float]]]:
    content = json.loads(text)
    group = content
    if content.get("version") == 3:
        group = next(iter(content["groups"].values()))
    shape = group["landmarks"]
    points = shape["points"]
    rows = []
    for name, place in _ljson_places(group["labels"], len(points)):
        if points[place] is not None and None not in points[place]:
            numbers = _numbers(points[place])
            rows.append((name, numbers[::-1] if len(numbers) == 2 else numbers))
    return rows


def _ljson_places(labels: list[dict[str, Any]], count: int) -> list[tuple[str, int]]:
    """Names of points and their rows. Labels may call the sides as the viewer sees them; those of the scheme do not."""
    if count == len(IBUG_68) and any(label["mask"] == list(range(17)) for label in labels):
        return [(name, row) for row, name in enumerate(IBUG_68)]
    places = []
    for label in labels:
        for number, place in enumerate(label["mask"], 1):
            if not isinstance(place, int) or place < 0:
                raise ValueError(f"{place!r} is no row of points")
            name = f"{label['label']} {number}" if len(label["mask"]) > 1 else str(label["label"])
            places.append((name, place))
    return places


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: dict[str, Callable[[str], list[tuple[str, list[float]]]]] = {
    ".json": _json,
    ".csv": _csv,
    ".pp": _pp,
    ".pts": _pts,
    ".ljson": _ljson,
}
