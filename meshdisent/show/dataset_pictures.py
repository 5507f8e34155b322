"""What is in a dataset, as pictures: its people at rest, and one of them with every expression."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from meshdisent.data.dataset import ScanDataset
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render
from meshdisent.show.sheets import sheet

Picture = UInt8[np.ndarray, "height width 3"]
Draw = Callable[[Float[np.ndarray, "vertex 3"]], Picture]


def artist(
    shown: Float[np.ndarray, "scan vertex 3"],
    faces: np.ndarray,
    *,
    size: tuple[int, int] = (240, 290),
    azimuth: float = 12.0,
) -> Draw:
    """A function that draws faces with one camera that fits all of them; vertices in mm."""
    camera = Camera.facing(np.concatenate(list(shown)), size=size, azimuth=azimuth)
    return lambda vertices: render(vertices, faces, size=size, camera=camera)


def people(scans: ScanDataset, count: int = 6) -> Picture:
    """Some subjects at rest, from the front and from the side; each one's first scan where no neutral is known."""
    neutrals, known = scans.neutrals()
    first = np.array([np.flatnonzero(scans.subject == subject)[0] for subject in range(min(count, len(known)))])
    shown = np.where(known[: len(first), None, None], neutrals[: len(first)], scans.vertices(first))
    front = artist(shown, scans.topology.faces)
    side = artist(shown, scans.topology.faces, azimuth=40.0)
    return sheet([[front(face) for face in shown], [side(face) for face in shown]])


def expressions(scans: ScanDataset, subject: int = 0, columns: int = 5) -> Picture:
    """All scans of one subject with the names of their expressions, the neutral first."""
    rows = np.flatnonzero(scans.subject == subject)[:40]
    is_rest = rows == scans.neutral_row[subject]
    rows = np.concatenate([rows[is_rest], rows[~is_rest]])
    faces = scans.vertices(rows)
    draw = artist(faces, scans.topology.faces)
    cells = [draw(face) for face in faces]
    names = [scans.expressions[label].replace("_", " ") if label >= 0 else "" for label in scans.expression[rows]]
    chunks = range(0, len(cells), columns)
    return sheet([cells[k : k + columns] for k in chunks], below=[names[k : k + columns] for k in chunks])
