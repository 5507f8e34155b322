"""The log of a training run as curves: the terms of the objective, and the validation figures in mm."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8

from meshdisent.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colors, told apart by color-blind readers too; after the last one, lines are dashed.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#4d4d4d")
INK = "#20242a"
FAINT_INK = "#5c626b"
GRID = "#e4e6e9"


def training_curves(
    rows: Sequence[Mapping[str, Any]], *, title: str = "", size: tuple[int, int] = (1280, 560)
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the log of a run: terms on a logarithmic axis on the left, validation figures on the right.

    Parameters
    ----------
    rows : As in ``log.jsonl``: each has ``step``, ``terms`` and ``figures``, the latter two from name to number. What
        is no number, and what a logarithm does not know, is left out.
    title : Above both.
    size : Width and height, pixels.

    Raises
    ------
    DataError : If no row has a step.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if "step" in row]
    if not rows:
        raise DataError("The log has no row with a step; wanted at least one. Train until the first validation.")
    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained", facecolor="white")
    canvas = FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold", color=INK)
    terms, figures = figure.subplots(1, 2)
    drawn = _lines(terms, rows, "terms", lowest=0.0)
    if drawn:
        terms.set_yscale("log")
    _dress(terms, "Terms of the objective, unweighted", "", bool(drawn))
    drawn = _lines(figures, rows, "figures", lowest=-np.inf)
    if drawn:
        figures.set_ylim(bottom=0, top=_top(drawn))
    _dress(figures, "Validation", _unit(rows), bool(drawn))
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _unit(rows: Sequence[Mapping[str, Any]]) -> str:
    """Of the validation figures: mm for those of scans; those of pictures each have their own."""
    names = {name for row in rows for name, value in (row.get("figures") or {}).items() if _is_number(value)}
    units = {"photo": "photo: % of the colors", "SIDE": "SIDE: 1e-2", "MAD": "MAD: degrees", "identity": "identity: %"}
    of_pictures = [text for name, text in units.items() if name in names]
    return ", ".join(of_pictures) if of_pictures else "mm"


def _lines(axes: "Axes", rows: Sequence[Mapping[str, Any]], group: str, lowest: float) -> list[np.ndarray]:
    """Draw one line for each name, with its last value in the legend; give the values."""
    drawn: list[np.ndarray] = []
    for name in dict.fromkeys(name for row in rows for name in row.get(group) or {}):
        pairs = [(row["step"], row[group][name]) for row in rows if _is_number((row.get(group) or {}).get(name))]
        points = np.array([pair for pair in pairs if pair[1] > lowest], float).reshape(-1, 2)
        if not len(points):
            continue
        k = len(drawn)
        axes.plot(
            *points.T, color=COLORS[k % len(COLORS)], linestyle="-" if k < len(COLORS) else "--", linewidth=1.8,
            marker="o" if len(points) < 25 else None, markersize=3.5, label=f"{name}  {_short(points[-1, 1])}",
        )  # fmt: skip
        drawn.append(points[:, 1])
    return drawn


def _dress(axes: "Axes", title: str, unit: str, has_lines: bool) -> None:
    axes.set_title(title, loc="left", fontsize=12, color=INK)
    axes.set_xlabel("step", color=FAINT_INK)
    if unit:
        axes.set_ylabel(unit, color=FAINT_INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT_INK, which="both", length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#b8bdc4")
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}" if step == round(step) else "")
    if has_lines:
        axes.legend(frameon=False, fontsize=10, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    else:
        axes.text(0.5, 0.5, "nothing was logged", transform=axes.transAxes, ha="center", color=FAINT_INK)


def _top(drawn: Sequence[np.ndarray]) -> float:
    """Upper limit of the mm axis: the first steps may be far off and would flatten everything after them."""
    values = np.concatenate([line[len(line) // 10 :] for line in drawn])
    return float(max(values.max() * 1.08, 1e-3))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _short(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= abs(value) < 1000 else f"{value:.3g}"
