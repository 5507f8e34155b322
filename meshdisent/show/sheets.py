"""Sheets: many pictures on one white page with labels, and error heat maps with one color bar in mm.

A page is made of blocks (white pictures of text, or drawn faces) that are laid beside and below each other.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.errors import UsageError
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.lettering import FAINT_INK, text_block, text_width
from meshdisent.show.pictures import COLORMAP, render


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    caption: str = "",
    *,
    below: Sequence[Sequence[str]] = (),
    bar: np.ndarray | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay pictures out in rows and columns.

    Parameters
    ----------
    rows : Rows of (height, width, 3) uint8 pictures; ``None`` leaves a place empty, rows may differ in length.
    row_labels, column_labels : One for each row (left of it) and each column (above it), or none at all; wrapped.
    title, caption : Above and below everything; wrapped.
    below : Rows of short texts, one under each picture.
    bar : A picture for the right edge, as :func:`meshdisent.show.color_bar.color_bar` draws it.

    Returns
    -------
    (height, width, 3) The page, white where nothing is.

    Raises
    ------
    UsageError : If there is no picture, or labels and pictures do not match in number.
    """
    shown = [picture for row in rows for picture in row if picture is not None]
    if not shown:
        raise UsageError("sheet got no picture; wanted at least one in rows. Render something first.")
    columns = max(len(row) for row in rows)
    _check_count("row_labels", row_labels, len(rows), "rows")
    _check_count("column_labels", column_labels, columns, "columns")
    width, height = max(picture.shape[1] for picture in shown), max(picture.shape[0] for picture in shown)
    letter = letter_pixels(width, columns)
    gap, margin = round(letter * 0.4), round(letter * 1.5)
    label_width = _label_width(row_labels, letter, width)
    lines = []
    if column_labels:
        heads = [text_block(label, letter, width - gap, align="center") for label in column_labels]
        lines.append(_beside([_blank(label_width), *(_grown(head, width) for head in heads)], gap, at=1.0))
    for i, row in enumerate(rows):
        cells = [_blank(width, height) if picture is None else _grown(picture, width, height) for picture in row]
        label = [text_block(row_labels[i], letter, label_width, align="right")] if row_labels else []
        lines.append(_beside([*label, *cells], gap))
        if below:
            texts = [text_block(text, letter, width, align="center", ink=FAINT_INK) for text in below[i]]
            lines.append(_beside([_blank(label_width), *texts] if row_labels else texts, gap, at=0.0))
    page = _stacked(lines, gap)
    if bar is not None:
        page = _beside([page, bar], margin)
    page = _stacked(_titled(page, title, caption, letter), gap * 2)
    return np.pad(page, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)


def heat_map_sheet(
    scans: Sequence[Sequence[Float[np.ndarray, "vertex 3"]]],
    errors_mm: Sequence[Sequence[Float[np.ndarray, " vertex"]]],
    faces: Int[np.ndarray, "face 3"],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    caption: str = "",
    *,
    limits: tuple[float, float] | None = None,
    colormap: str = COLORMAP,
    camera: Camera | None = None,
    size: tuple[int, int] = (360, 420),
    backend: str = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw scans colored by their error, with one color bar for all and the mean under each.

    Parameters
    ----------
    scans : Rows of (V, 3) vertices, mm.
    errors_mm : Rows of (V,) errors, one for each vertex of the scan at the same place.
    faces : (F, 3) Shared by all scans.
    row_labels, column_labels, title, caption : As in :func:`sheet`.
    limits : Both ends of the color bar, mm. Default: 0 and a round number that 99 % of all errors stay below; the bar
        then says that its last color means "or more".
    colormap, camera, size, backend : As in :func:`meshdisent.show.pictures.render`; the camera fits all scans.

    Raises
    ------
    UsageError : If scans and errors do not match in number.
    """
    counts = [len(row) for row in scans]
    if counts != [len(row) for row in errors_mm] or not sum(counts):
        raise UsageError(
            f"heat_map_sheet got rows of {counts} scans and of {[len(row) for row in errors_mm]} errors; wanted the "
            "same numbers, at least one. Give one array of errors for each scan."
        )
    every = np.concatenate([np.ravel(error) for row in errors_mm for error in row])
    limits = limits or (0.0, nice_ceiling(float(np.percentile(every, 99))))
    camera = camera or Camera.facing(np.concatenate([scan for row in scans for scan in row]), size=size)
    draw = partial(
        render, faces=faces, size=size, camera=camera, limits=limits, colormap=colormap, backend=backend
    )  # fmt: skip
    rows = [
        [draw(scan, values=error) for scan, error in zip(*row, strict=True)]
        for row in zip(scans, errors_mm, strict=True)
    ]
    bar = color_bar(
        limits, round(size[1] * min(len(rows), 3) * 0.75), colormap,
        pixels=letter_pixels(size[0], max(counts)), is_clipped=bool(every.max() > limits[1]),
    )  # fmt: skip
    below = [[f"mean {np.mean(error):.2f} mm" for error in row] for row in errors_mm]
    return sheet(rows, row_labels, column_labels, title, caption, below=below, bar=bar)


def letter_pixels(picture_width: int, columns: int = 1) -> int:
    """Give the size of letters that can be read when a sheet is shrunk to the width of a page."""
    return max(11, round(picture_width / 24), min(round(picture_width * columns / 90), round(picture_width / 13)))


def _check_count(name: str, labels: Sequence[str], count: int, what: str) -> None:
    if labels and len(labels) != count:
        raise UsageError(f"sheet got {len(labels)} {name} for {count} {what}; wanted one for each, or none at all.")


def _label_width(labels: Sequence[str], letter: int, cell_width: int) -> int:
    """Wide enough for the longest label, at most half a picture; longer ones are wrapped."""
    widest = max((text_width(line, letter) for label in labels for line in label.split("\n")), default=0)
    return min(widest + letter // 2, max(cell_width // 2, 6 * letter)) if labels else 0


def _titled(page: np.ndarray, title: str, caption: str, letter: int) -> list[np.ndarray]:
    width = max(page.shape[1], 24 * letter)
    head = [text_block(title, round(letter * 1.4), width, is_bold=True)] if title else []
    foot = [text_block(caption, letter, width, ink=FAINT_INK)] if caption else []
    return [*head, page, *foot]


def _blank(width: int, height: int = 1) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def _grown(block: np.ndarray, width: int, height: int | None = None, x: float = 0.5, y: float = 0.5) -> np.ndarray:
    """Put a block on a larger white one; ``x`` and ``y`` say where, from 0 (left, top) to 1."""
    free = (height or block.shape[0]) - block.shape[0], width - block.shape[1]
    top, left = round(free[0] * y), round(free[1] * x)
    return np.pad(block, ((top, free[0] - top), (left, free[1] - left), (0, 0)), constant_values=255)


def _beside(blocks: Sequence[np.ndarray], gap: int, at: float = 0.5) -> np.ndarray:
    """Lay blocks side by side; ``at`` is their height on the line, 0 for the top, 1 for the bottom."""
    height = max(block.shape[0] for block in blocks)
    parts = [_grown(block, block.shape[1], height, y=at) for block in blocks if block.shape[1]]
    return np.concatenate([part for one in parts for part in (_blank(gap, height), one)][1:], axis=1)


def _stacked(blocks: Sequence[np.ndarray], gap: int) -> np.ndarray:
    """Lay blocks below each other, left edges in line."""
    width = max(block.shape[1] for block in blocks)
    parts = [_grown(block, width, x=0.0) for block in blocks]
    return np.concatenate([part for one in parts for part in (_blank(width, gap), one)][1:], axis=0)
