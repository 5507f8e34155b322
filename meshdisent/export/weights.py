"""Weights of morph targets over time, read from a file that an animator, a program or an iPhone wrote.

CSV: a line of names, then a line for each frame. A column ``seconds`` says when; without it frames follow each other at
a rate. What the app Live Link Face writes is read as it is: its names begin with capitals, and beside the shapes of
ARKit it has a time code and turns of head and eyes. JSON: ``{"fps": 30, "frames": [{"jawOpen": 0.4}, ...]}``.
"""

import csv
import difflib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from meshdisent.errors import DataError, UsageError
from meshdisent.morphable.arkit_names import ARKIT_NAMES, shown_weights

#: Frames a second where a file does not say, and of Live Link Face.
FPS, LIVE_LINK_FPS = 30.0, 60.0
_SECONDS = "seconds"
_TURNS = [f"{part}{turn}" for part in ("head", "lefteye", "righteye") for turn in ("yaw", "pitch", "roll")]
#: In lower case: columns that are no face of their own, and shapes that a rig may lack. They are left out, and said.
_KNOWN = {"timecode", "blendshapecount", *_TURNS, *(name.lower() for name in ARKIT_NAMES)}


@dataclass(frozen=True, kw_only=True)
class WeightTrack:
    """Weights of K targets at T times.

    Attributes
    ----------
    seconds : (T,) Rising, the first is 0.
    weights : (T, K)
    left_out : Columns of the file that the rig has no target for.
    """

    seconds: Float[np.ndarray, " time"]
    weights: Float[np.ndarray, "time target"]
    left_out: tuple[str, ...] = ()


def each_in_turn(names: Sequence[str], seconds: float = 1.0) -> WeightTrack:
    """Every target from 0 to 1 and back, one after another; ``mouthClose`` with ``jawOpen``, which it is made for.

    Examples
    --------
    >>> track = each_in_turn(["smile", "frown"])
    >>> track.seconds.tolist(), track.weights[:, 1].tolist()
    ([0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 0.0, 0.0, 1.0, 0.0])
    """
    weights = np.zeros((2 * len(names) + 1, len(names)))
    weights[1::2] = shown_weights(names)
    return WeightTrack(seconds=np.arange(len(weights)) * (seconds / 2), weights=weights)


def read_weights(path: str | os.PathLike, names: Sequence[str]) -> WeightTrack:
    """Read weights for the targets of a rig; a target that the file does not mention stays at 0.

    Parameters
    ----------
    names : Of the rig's targets; upper and lower case are the same.

    Raises
    ------
    DataError : If the file is missing or damaged, or holds something that is no number.
    UsageError : If it names something that is neither a target nor known to be left out, or no target at all.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".json": _read_json}
    if path.suffix.lower() not in readers:
        raise DataError(f"{path} is no file of weights; wanted .csv or .json. See docs/rigs.md for both.")
    try:
        columns, rows, seconds = readers[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Wanted weights as CSV or JSON (docs/rigs.md).") from error
    weights, left_out = _sorted_in(columns, rows, names, path)
    if not len(rows) or not np.isfinite(weights).all() or not (np.diff(seconds) > 0).all():
        raise DataError(f"{path} has {len(rows)} frames; wanted at least one, finite weights, and seconds that rise.")
    return WeightTrack(seconds=seconds - seconds[0], weights=weights, left_out=left_out)


def _sorted_in(
    columns: Sequence[str], rows: np.ndarray, names: Sequence[str], path: Path
) -> tuple[Float[np.ndarray, "time target"], tuple[str, ...]]:
    """Columns where the rig has them, and the names of those that it lacks."""
    place = {name.lower(): number for number, name in enumerate(names)}
    weights, left_out = np.zeros((len(rows), len(names))), []
    for number, column in enumerate(columns):
        if column.lower() in place:
            weights[:, place[column.lower()]] = rows[:, number]
        elif column.lower() in _KNOWN:
            left_out.append(column)
        else:
            nearest = difflib.get_close_matches(column.lower(), place, n=1, cutoff=0.0)
            raise UsageError(
                f"{path} has weights for {column!r}; the rig has no such target. Did you mean "
                f"{names[place[nearest[0]]]!r}? Rename or remove the column."
            )
    if len(left_out) == len(columns):
        raise UsageError(
            f"{path} has weights for none of the rig's {len(names)} targets ({', '.join(names[:3])}, ...). Names of "
            "ARKit need --targets arkit."
        )
    return weights, tuple(left_out)


def _read_csv(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    head = [name.strip() for name in lines[0]] if lines else []
    is_number = [name.lower() != "timecode" for name in head]  # 12:34:56:07.123
    rows = np.zeros((max(len(lines) - 1, 0), len(head)))
    for number, line in enumerate(lines[1:]):
        if len(line) != len(head):
            raise DataError(f"{path}, frame {number}: {len(line)} values under {len(head)} names. Mend the line.")
        for column in np.flatnonzero(is_number):
            rows[number, column] = _number(line[column], f"{path}, frame {number}, {head[column]}")
    fps = FPS if all(is_number) else LIVE_LINK_FPS
    seconds = np.arange(len(rows)) / fps
    if _SECONDS in head:
        seconds = rows[:, head.index(_SECONDS)]
        rows = np.delete(rows, head.index(_SECONDS), axis=1)
        head.remove(_SECONDS)
    return head, rows, seconds


def _read_json(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    content = json.loads(path.read_text(encoding="utf-8"))
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f'{path} has no list of frames; wanted {{"fps": 30, "frames": [{{"jawOpen": 0.4}}, ...]}}.')
    names = list(dict.fromkeys(name for frame in frames for name in frame))
    rows = np.zeros((len(frames), len(names)))
    for number, frame in enumerate(frames):
        for name, weight in frame.items():
            rows[number, names.index(name)] = _number(weight, f"{path}, frame {number}, {name}")
    fps = _number(content.get("fps", FPS), f"{path}, fps")
    if not fps > 0:
        raise DataError(f"{path} has {fps} frames a second; wanted more than 0.")
    return names, rows, np.arange(len(frames)) / fps


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {value!r} is no number; wanted a weight, 0 at rest and 1 in full.") from error
