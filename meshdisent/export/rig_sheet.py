"""All targets of a rig on one page, drawn with one camera: a PNG, or an SVG whose names can be searched and copied."""

import base64
import os
from html import escape
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from meshdisent.errors import UsageError
from meshdisent.export.rig import Rig
from meshdisent.files import writing
from meshdisent.morphable.arkit_names import COMPANIONS, shown_weights
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import encode_png, render, write_png
from meshdisent.show.sheets import sheet

CELL, COLUMNS, LABEL = (200, 240), 8, 22
REST = "neutral"


def draw_targets(rig: Rig, size: tuple[int, int] = CELL) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
    """Pictures of the face at rest and of each target at full weight, by name; some come with what they belong to."""
    shown = rig.pose(shown_weights(rig.names))
    faces = {REST: rig.neutral} | {_label(name, rig.names): face for name, face in zip(rig.names, shown, strict=True)}
    # A little from the side, where lips and brows have a shape.
    camera = Camera.facing(np.concatenate(list(faces.values())), size=size, azimuth=18.0, margin=0.03)
    return {name: render(face, rig.faces, size=size, camera=camera) for name, face in faces.items()}


def _label(name: str, names: tuple[str, ...]) -> str:
    companion = COMPANIONS.get(name)
    return f"{name} + {companion}" if companion in names else name


def write_rig_sheet(path: str | os.PathLike, rig: Rig, title: str = "", overwrite: bool = False) -> Path:
    """Write the page; the ending says the format, ``.png`` or ``.svg``.

    Raises
    ------
    UsageError : If the ending is another, or the file exists.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"{path} has the ending {path.suffix!r}; wanted .png or .svg for a sheet of targets.")
    pictures = draw_targets(rig)
    if path.suffix.lower() == ".png":
        names, shown = list(pictures), list(pictures.values())
        starts = range(0, len(names), COLUMNS)
        below = [names[k : k + COLUMNS] for k in starts]
        write_png(path, sheet([shown[k : k + COLUMNS] for k in starts], title=title, below=below), overwrite)
        return path
    with writing(path, overwrite) as aside:
        aside.write_text(_svg(pictures, title), encoding="utf-8")
    return path


def _svg(pictures: dict[str, np.ndarray], title: str) -> str:
    (width, height), top = CELL, 50 if title else 10
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    size = f"{columns * width + 20} {top + rows * (height + LABEL) + 10}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    if title:
        lines.append(f'<text x="14" y="32" font-size="20" font-weight="bold">{escape(title)}</text>')
    for number, (name, picture) in enumerate(pictures.items()):
        x, y = 10 + number % columns * width, top + number // columns * (height + LABEL)
        data = base64.b64encode(encode_png(picture)).decode()
        lines.append(f'<image x="{x}" y="{y}" width="{width}" height="{height}" href="data:image/png;base64,{data}"/>')
        center = x + width // 2
        lines.append(f'<text x="{center}" y="{y + height + 14}" text-anchor="middle">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])
