"""The figures of an evaluation as cells of a Markdown table, in mm."""

from collections.abc import Sequence
from typing import Any

#: What :func:`cells` gives; spreads are in variant b, transfers over all vertices / those that expressions move.
FIGURES = ["E_avd", "E_id", "E_exp", "E_neu", "kept", "E_tra plain", "E_tra kept", "leak who / what, %"]


def number(figures: dict[str, Any] | None, *path: str, moving: bool = False) -> str:
    """A mean in mm, with that of the moving vertices if wanted; a dash where it is not defined."""
    found = figures
    for step in path:
        found = found.get(step) if found else None
    if not found or found["mean"] is None:
        return "-"
    if not moving:
        return f"{found['mean']:.3f}"
    return f"{found['mean']:.3f} / " + ("-" if found["moving"] is None else f"{found['moving']:.3f}")


def cells(figures: dict[str, Any]) -> list[str]:
    """One text for each of ``FIGURES``."""
    leak = figures["leak"]
    shown = [number(figures, "E_avd"), number(figures, "E_id", "b"), number(figures, "E_exp", "b")]
    shown += [number(figures, "E_neu"), number(figures, "E_neu_kept")]
    shown += [number(figures, "E_tra", kind, moving=True) for kind in ("plain", "kept")]
    return [*shown, " / ".join(f"{100 * value['rate']:.1f}" for value in leak.values()) if leak else "-"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; two numbers of one cell stay on one line of a page."""
    whole = [[cell.replace(" / ", "\u00a0/\u00a0") for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *whole)]
