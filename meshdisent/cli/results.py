"""Meshes and a picture of them in a folder, for the verbs that make faces."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro

from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.mesh.mesh import Mesh


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the meshes and the picture of them."""
    format: Literal["ply", "obj"] = "ply"
    """File format of the meshes."""
    no_pictures: bool = False
    """Meshes alone, without the picture of them."""
    overwrite: bool = False
    """Replace the folder if it exists."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a verb made: named meshes, and how to draw them.

    Attributes
    ----------
    meshes : By file name without its ending.
    rows : Rows of vertices (V, 3) for the sheet, with labels.
    frames : Vertices (V, 3) one after another for a GIF; empty for none.
    there_and_back : Whether the GIF runs back to its beginning.
    """

    meshes: "dict[str, Mesh]"
    rows: Sequence[Sequence[np.ndarray]]
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()
    title: str = ""
    frames: Sequence[np.ndarray] = ()
    there_and_back: bool = True


def refuse_output(output: Output) -> None:
    """Refuse a folder that exists before any work is done."""
    refuse_existing(output.out, output.overwrite)


def write_result(result: Result, output: Output) -> None:
    """Write meshes, sheet and GIF into a folder that appears whole, and say what is in it."""
    faces = next(iter(result.meshes.values())).faces
    with writing_folder(output.out, output.overwrite) as folder:
        for name, mesh in result.meshes.items():
            mesh.write(folder / f"{name}.{output.format}")
        if not output.no_pictures:
            _draw(result, faces, folder)
    drawn = [] if output.no_pictures else ["sheet.png", *(["animation.gif"] if result.frames else [])]
    count = f"{len(result.meshes)} mesh{'es' if len(result.meshes) > 1 else ''}"
    print(f"{output.out}: {count} ({output.format}){''.join(f', {name}' for name in drawn)}")


def _draw(result: Result, faces: np.ndarray, folder: Path) -> None:
    from meshdisent.show.animation import write_gif
    from meshdisent.show.camera import Camera
    from meshdisent.show.pictures import render, write_png
    from meshdisent.show.sheets import sheet

    every = np.concatenate([scan for row in result.rows for scan in row])
    # As wide as the scans are for their height; a little from the side, where a nose has a shape.
    width, height, _ = np.ptp(every, axis=0)
    size = (round(360 * float(np.clip(width / max(height, 1e-9), 0.6, 1.2))), 360)
    camera = Camera.facing(every, size=size, azimuth=12.0, margin=0.03)
    rows = [[render(scan, faces, size=size, camera=camera) for scan in row] for row in result.rows]
    write_png(folder / "sheet.png", sheet(rows, result.row_labels, result.column_labels, result.title))
    if result.frames:
        frames = [render(scan, faces, size=size, camera=camera) for scan in result.frames]
        write_gif(folder / "animation.gif", frames, ping_pong=result.there_and_back)


def write_json(numbers: dict[str, Any], target: str | None, overwrite: bool) -> None:
    """Write one JSON object to a file, or to standard output for ``-``."""
    from meshdisent.files import writing

    if target is None:
        return
    text = json.dumps(numbers, indent=2, allow_nan=False)
    if target == "-":
        sys.stdout.write(text + "\n")
        return
    with writing(target, overwrite) as aside:
        aside.write_text(text + "\n", encoding="utf-8")
