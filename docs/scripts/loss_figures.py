"""Plots of the theory pages: one look for all, on white, readable at the width of a phone."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from meshdisent.show.curves import COLORS, FAINT_INK, GRID, INK

BLUE, ORANGE, GREEN, PINK = COLORS[:4]


def panels(count: int, titles: Sequence[str] = (), height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Plots side by side."""
    figure, axes = plt.subplots(1, count, figsize=(2.5 * count + 0.5, 0.85 * height), dpi=140, layout="constrained")
    axes = list(np.atleast_1d(axes))
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, loc="left", fontsize=10, color=INK)
    for axis in axes:
        axis.grid(True, color=GRID, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.tick_params(colors=FAINT_INK, length=3, labelsize=9)
        for side, spine in axis.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color("#b8bdc4")
    return figure, axes


def label(axis: Axes, x: str, y: str = "", has_legend: bool = False) -> None:
    """Name both axes, with their units."""
    axis.set_xlabel(x, color=FAINT_INK, fontsize=9)
    axis.set_ylabel(y, color=FAINT_INK, fontsize=9)
    if has_legend:
        axis.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def pictures(axes: Sequence[Axes], shown: Sequence[np.ndarray], below: Sequence[str] = ()) -> None:
    """Put pictures where plots would be."""
    for k, (axis, picture) in enumerate(zip(axes, shown, strict=True)):
        axis.imshow(picture, cmap="gray", interpolation="nearest")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        for spine in axis.spines.values():
            spine.set_visible(False)
        if below:
            axis.set_xlabel(below[k], color=FAINT_INK, fontsize=9)


def keep(figure: Figure, name: str) -> None:
    """Write the figure and forget it."""
    figure.savefig(name, facecolor="white")
    plt.close(figure)
