"""Sheets: many pictures on one white page with labels, and error heat maps with one color bar in mm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.errors import UsageError
from meshdisent.show.camera import Camera
from meshdisent.show.lettering import FAINT_INK, Canvas, line_height, text_width, wrap
from meshdisent.show.pictures import COLORMAP, map_colors, render

Picture = UInt8[np.ndarray, "height width 3"]


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    caption: str = "",
    *,
    below: Sequence[Sequence[str]] = (),
    color_bar: np.ndarray | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay pictures out in rows and columns.

    Parameters
    ----------
    rows : Rows of (height, width, 3) uint8 pictures; ``None`` leaves a place empty, rows may differ in length.
    row_labels, column_labels : One for each row (left of it) and column (above it), or none at all; wrapped.
    title, caption : Above and below everything; wrapped.
    below : Rows of short texts, one under each picture.
    color_bar : A picture for the right edge, as :func:`color_bar` draws it.

    Returns
    -------
    (height, width, 3) The page, white where nothing is.

    Raises
    ------
    UsageError : If there is no picture, or labels and pictures do not match in number.
    """
    column_count = max((len(row) for row in rows), default=0)
    shown = [picture for row in rows for picture in row if picture is not None]
    if not shown:
        raise UsageError("sheet got no picture; wanted at least one. Render something first.")
    _check_labels("row_labels", row_labels, len(rows))
    _check_labels("column_labels", column_labels, column_count)
    page = _Page.plan(shown, rows, row_labels, column_labels, title, caption, below, color_bar)
    return page.draw(rows, below, color_bar)


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
    limits : Both ends of the color bar, mm. Default: 0 and the value that 99 % of all vertices stay below; the bar
        then says that colors end there.
    row_labels, column_labels, title, caption, colormap, camera, size, backend : As in :func:`sheet` and
        :func:`meshdisent.show.pictures.render`.

    Raises
    ------
    UsageError : If scans and errors do not match in number.
    """
    if [len(row) for row in scans] != [len(row) for row in errors_mm] or not any(len(row) for row in scans):
        raise UsageError(
            f"heat_map_sheet got rows of {[len(row) for row in scans]} scans and {[len(row) for row in errors_mm]} "
            "errors; wanted the same numbers, at least one. Give one array of errors for each scan."
        )
    every = np.concatenate([np.ravel(error) for row in errors_mm for error in row])
    limits = limits or (0.0, nice_ceiling(float(np.percentile(every, 99))))
    camera = camera or Camera.facing(np.concatenate([scan for row in scans for scan in row]), size=size)
    rows = [
        [
            render(
                scan, faces, size=size, camera=camera, values=error, limits=limits, colormap=colormap, backend=backend
            )
            for scan, error in zip(scan_row, error_row, strict=True)
        ]
        for scan_row, error_row in zip(scans, errors_mm, strict=True)
    ]
    below = [[f"mean {np.mean(error):.2f} mm" for error in row] for row in errors_mm]
    bar = color_bar(limits, (size[0], min(round(size[1] * len(rows) * 0.8), 2 * size[1])), colormap,
                    is_clipped=bool(every.max() > limits[1]))  # fmt: skip
    return sheet(rows, row_labels, column_labels, title, caption, below=below, color_bar=bar)


def color_bar(
    limits: tuple[float, float],
    size: tuple[int, int],
    colormap: str = COLORMAP,
    *,
    unit: str = "mm",
    is_clipped: bool = False,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a vertical color bar with ticks at round numbers and the unit on top.

    Parameters
    ----------
    limits : The values at the lower and the upper end.
    size : The width of the pictures beside it, which sets the size of the letters, and the height of the bar, pixels.
    is_clipped : Mark the upper end as "or more".
    """
    pixels = _letter_pixels(size[0])
    ticks, decimals = _ticks(*limits)
    labels = [f"{tick:.{decimals}f}" for tick in ticks]
    if is_clipped:
        labels[-1] = "\u2265 " + labels[-1]
    thickness, gap, high = round(pixels * 1.1), round(pixels * 0.4), size[1]
    top = 2 * line_height(pixels)
    width = thickness + 2 * gap + max(text_width([label], pixels) for label in [*labels, unit])
    canvas = Canvas(width, top + high + line_height(pixels))
    values = np.linspace(limits[1], limits[0], high)
    colors = np.round(map_colors(values, limits, colormap) * 255).astype(np.uint8)
    canvas.paste(np.repeat(colors[:, None], thickness, axis=1), 0, top)
    canvas.draw.rectangle((0, top, thickness - 1, top + high - 1), outline=FAINT_INK)
    canvas.write([unit], 0, 0, pixels, is_bold=True)
    for tick, label in zip(ticks, labels, strict=True):
        y = top + (limits[1] - tick) / max(limits[1] - limits[0], 1e-12) * (high - 1)
        canvas.draw.line((thickness, y, thickness + gap // 2, y), fill=FAINT_INK)
        canvas.draw.text((thickness + gap, y), label, fill=(32, 36, 42), font=_font(pixels), anchor="lm")
    return canvas.picture()


def nice_ceiling(value: float) -> float:
    """Give the next number of the series 1, 1.5, 2, 3, 4, 5, 6, 8 (times a power of ten) that is not below.

    Examples
    --------
    >>> nice_ceiling(1.23), nice_ceiling(0.0)
    (1.5, 1.0)
    """
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10])
    return float(round(steps[np.searchsorted(steps, value / power * (1 - 1e-9))] * power, 12))


def _font(pixels):
    from meshdisent.show.lettering import font

    return font(pixels)


def _ticks(low: float, high: float) -> tuple[list[float], int]:
    """Give both ends and four to six round numbers between them, and how many decimals they need."""
    spread = max(high - low, 1e-12)
    power = 10.0 ** np.floor(np.log10(spread))
    step = min((s * power for s in (0.1, 0.2, 0.25, 0.5, 1, 2)), key=lambda s: abs(spread / s - 5))
    ticks = [low, *(k * step for k in range(int(np.ceil(low / step)), int(high / step) + 1)), high]
    kept = [t for k, t in enumerate(ticks) if k in (0, len(ticks) - 1) or step / 2 < t - low and step / 2 < high - t]
    decimals = next(d for d in range(13) if d == 12 or all(abs(round(t, d) - t) < 1e-6 * spread for t in kept))
    return kept, min(decimals, 3)


def _letter_pixels(picture_width: int) -> int:
    return max(11, round(picture_width / 24))


def _check_labels(name: str, labels: Sequence[str], count: int) -> None:
    if labels and len(labels) != count:
        raise UsageError(f"sheet got {len(labels)} {name} for {count}; wanted one for each, or none.")


@dataclass(frozen=True, kw_only=True)
class _Page:
    """Where everything lies on a sheet, pixels."""

    cell: tuple[int, int]
    letter: int
    margin: int
    gap: int
    columns: int
    labels_left: list[list[str]]
    label_width: int
    labels_top: list[list[str]]
    title: list[str]
    caption: list[str]
    below_height: int
    width: int
    grid_top: int
    grid_height: int
    height: int

    @classmethod
    def plan(cls, shown, rows, row_labels, column_labels, title, caption, below, bar) -> "_Page":
        cell = (max(p.shape[1] for p in shown), max(p.shape[0] for p in shown))
        columns = max(len(row) for row in rows)
        letter = _letter_pixels(cell[0])
        margin, gap, line = round(letter * 1.5), round(letter * 0.4), line_height(letter)
        labels_left = [wrap(label, letter, max(cell[0] // 2, 6 * letter)) for label in row_labels]
        label_width = max((text_width(lines, letter) for lines in labels_left), default=-margin) + margin
        labels_top = [wrap(label, letter, cell[0] - gap) for label in column_labels]
        grid_width = columns * (cell[0] + gap) - gap
        bar_width = bar.shape[1] + margin if bar is not None else 0
        inner = max(label_width + grid_width + bar_width, 20 * letter)
        title_lines = wrap(title, round(letter * 1.4), inner, is_bold=True) if title else []
        caption_lines = wrap(caption, letter, inner) if caption else []
        below_height = line + gap if any(text for row in below for text in row) else 0
        grid_top = margin + (len(title_lines) * line_height(round(letter * 1.4)) + gap * 2 if title else 0)
        grid_top += max((len(lines) for lines in labels_top), default=0) * line + (gap if column_labels else 0)
        grid_height = len(rows) * (cell[1] + below_height + gap) - gap
        if bar is not None:
            grid_height = max(grid_height, bar.shape[0])
        height = grid_top + grid_height + (len(caption_lines) * line + 2 * gap if caption else 0) + margin
        return cls(
            cell=cell, letter=letter, margin=margin, gap=gap, columns=columns, labels_left=labels_left,
            label_width=label_width, labels_top=labels_top, title=title_lines, caption=caption_lines,
            below_height=below_height, width=inner + 2 * margin, grid_top=grid_top, grid_height=grid_height,
            height=height,
        )  # fmt: skip

    def draw(self, rows, below, bar) -> np.ndarray:
        canvas, line = Canvas(self.width, self.height), line_height(self.letter)
        canvas.write(self.title, self.margin, self.margin, round(self.letter * 1.4), is_bold=True)
        left = self.margin + self.label_width
        for k, lines in enumerate(self.labels_top):
            middle = left + k * (self.cell[0] + self.gap) + self.cell[0] / 2
            canvas.write(lines, middle, self.grid_top - self.gap - len(lines) * line, self.letter, align="center")
        for i, row in enumerate(rows):
            top = self.grid_top + i * (self.cell[1] + self.below_height + self.gap)
            if self.labels_left:
                lines = self.labels_left[i]
                middle = top + (self.cell[1] - len(lines) * line) / 2
                canvas.write(lines, left - self.margin / 2, middle, self.letter, align="right")
            for k, picture in enumerate(row):
                if picture is None:
                    continue
                x = left + k * (self.cell[0] + self.gap)
                canvas.paste(
                    picture, x + (self.cell[0] - picture.shape[1]) // 2, top + (self.cell[1] - picture.shape[0]) // 2
                )
                if i < len(below) and k < len(below[i]):
                    place = (x + self.cell[0] / 2, top + self.cell[1] + self.gap / 2)
                    canvas.write([below[i][k]], *place, self.letter, align="center", ink=FAINT_INK)
        if bar is not None:
            x = left + self.columns * (self.cell[0] + self.gap) - self.gap + self.margin
            canvas.paste(bar, x, self.grid_top + (self.grid_height - bar.shape[0]) // 2)
        canvas.write(
            self.caption, self.margin, self.height - self.margin - len(self.caption) * line, self.letter, ink=FAINT_INK
        )
        return canvas.picture()
