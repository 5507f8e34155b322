"""Codes as pictures: where expression codes lie (t-SNE), and what the leading modes of each model hold."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int, UInt8

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.embedding import embedded
from meshdisent.evaluation.protocol import Evaluation
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.curves import COLORS, FAINT_INK, GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = UInt8[np.ndarray, "height width 3"]
#: One for each subject of a scatter plot; more cannot be told apart.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
#: Expressions that get a color and a name of their own.
NAMED = 20


def chosen_scans(evaluation: Evaluation, scans: ScanDataset) -> Int[np.ndarray, " chosen"]:
    """Places among the measured scans of up to twelve subjects, evenly spaced."""
    subjects = np.unique(scans.subject[evaluation.rows])
    some = subjects[np.unique(np.linspace(0, len(subjects) - 1, min(len(MARKERS), len(subjects))).round().astype(int))]
    return np.flatnonzero(np.isin(scans.subject[evaluation.rows], some))


def expression_scatter(
    evaluation: Evaluation, model: MorphableModel, scans: ScanDataset, seed: int = 0
) -> Picture | None:
    """Expression codes on a plane (t-SNE), colored by expression, marked by subject; None if there is no such code."""
    if model.identity_size == 0 or model.expression_size == 0:
        return None
    places = chosen_scans(evaluation, scans)
    points = embedded(evaluation.codes[places, model.identity_size :].astype(np.float64), seed)
    if points is None:
        return None
    figure, axes = _figure((640, 560))
    rows = evaluation.rows[places]
    colors = _colors(scans, evaluation)
    for marker, subject in zip(MARKERS, np.unique(scans.subject[rows]), strict=False):
        own = scans.subject[rows] == subject
        shades = [colors.get(int(label), "#8a9099") for label in scans.expression[rows[own]]]
        area = 90 if marker == "*" else 44
        axes.scatter(*points[own].T, c=shades, marker=marker, s=area, linewidths=0.5, edgecolors="white")
    axes.set_title(evaluation.name, loc="left", fontsize=14, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    _frame(axes, ("left", "right", "top", "bottom"))
    return _drawn(figure)


def scatter_legend(evaluation: Evaluation, scans: ScanDataset) -> Picture:
    """What the colors and the marks of the scatter plots mean."""
    from matplotlib.lines import Line2D

    colors = _colors(scans, evaluation)
    rows = evaluation.rows[chosen_scans(evaluation, scans)]
    subjects = [scans.subjects[s] for s in np.unique(scans.subject[rows])]
    style: dict[str, Any] = {"linestyle": "", "markersize": 9, "markeredgecolor": "white"}
    shades = [Line2D([], [], marker="o", color=color, **style) for color in colors.values()]
    names = [_short(scans.expressions[label]) for label in colors]
    if len(np.unique(scans.expression[rows])) > len(colors):
        shades, names = [*shades, Line2D([], [], marker="o", color="#8a9099", **style)], [*names, "others, or unknown"]
    marks = [Line2D([], [], marker=m, color=INK, **style) for m, _ in zip(MARKERS, subjects, strict=False)]
    height = 90 + 24 * (-(-len(names) // 4) + -(-len(marks) // 4))
    figure, axes = _figure((860, height))
    axes.axis("off")
    options = {
        "frameon": False,
        "ncols": 4,
        "fontsize": 12,
        "labelcolor": INK,
        "borderaxespad": 0.0,
        "alignment": "left",
    }
    first = axes.legend(shades, names, title="expressions", loc="upper left", **options)
    axes.add_artist(first)
    axes.legend(marks, [_short(name) for name in subjects], title="subjects", loc="lower left", **options)
    return _drawn(figure)


def mode_curves(named: Mapping[str, dict[str, Any]]) -> Picture | None:
    """Generalization (error on held-out scans) and compactness (share of the variance) against the number of modes."""
    able = {
        name: own for name, own in named.items() if own and own["generalization"] and own["generalization"]["entries"]
    }
    if not able:
        return None
    figure, both = _figure((1180, 460), columns=2)
    titles = ("Generalization: error on held-out scans, mm", "Compactness: share of the prior's variance")
    for axes, title in zip(both, titles, strict=True):
        axes.set_title(title, loc="left", fontsize=13, color=INK)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("leading modes", color=FAINT_INK)
        axes.grid(True, color=GRID, linewidth=0.8)
        axes.tick_params(colors=FAINT_INK, labelsize=11)
        _frame(axes, ("left", "bottom"))
    for k, (name, own) in enumerate(able.items()):
        # Later lines are thinner, so that none lies hidden under another.
        width = max(1.4, 3.6 - 0.7 * k)
        style = {"color": COLORS[k % len(COLORS)], "marker": "o", "markersize": 2.2 * width, "linewidth": width}
        dash = "-" if k < len(COLORS) else "--"
        both[0].plot(
            own["generalization"]["entries"], own["generalization"]["E_avd"], dash, label=_short(name), **style
        )
        if own["compactness"]["share"]:
            both[1].plot(own["compactness"]["entries"], own["compactness"]["share"], dash, **style)
    both[0].set_ylim(bottom=0)
    both[1].set_ylim(0, 1.02)
    both[0].legend(frameon=False, fontsize=11, labelcolor=INK)
    return _drawn(figure)


def _colors(scans: ScanDataset, evaluation: Evaluation) -> dict[int, Any]:
    """A color for each expression, as far as colors can be told apart."""
    from matplotlib import colormaps

    labels = np.unique(scans.expression[evaluation.rows])
    labels = labels[labels >= 0][:NAMED]
    palette = [tuple(color) for color in colormaps["tab20"](np.arange(20))[:, :3].tolist()]
    # Strong colors first; their pale twins only where there are many expressions.
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    return {int(label): palette[order[k % 20]] for k, label in enumerate(labels)}


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}\u2026"


def _figure(size: tuple[int, int], columns: int = 1) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100, layout="constrained", facecolor="white")
    return figure, figure.subplots(1, columns)


def _frame(axes: "Axes", shown: Sequence[str]) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in shown)
        spine.set_color("#b8bdc4")


def _drawn(figure: "Figure") -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
