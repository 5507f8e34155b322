"""A registration as one page: the scan, the template after some of its stages, and how far the last one lies away."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.registration_result import Stage
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.pictures import COLORMAP, render
from meshdisent.show.sheets import letter_pixels, sheet

SCAN_COLOR = (0.62, 0.68, 0.75)
VIEWS = {"front": 0.0, "side": 50.0}
_SIZE = (300, 360)
_STAGES = 4


def registration_sheet(
    target: TargetSurface,
    topology: Topology,
    stages: Sequence[Stage],
    vertices: Float[np.ndarray, "vertex 3"],
    motion: Similarity,
    title: str = "",
    caption: str = "",
    backend: str = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a registration, whether it was accepted or refused.

    Parameters
    ----------
    target : The scan.
    topology : Of the template.
    stages : What was done; the first, the last and some between are shown.
    vertices : (V, 3) The result, in the frame of the scan.
    motion : From the template's frame to the scan's: pictures are taken in the former, where a face looks ahead.
    title, caption : Above and below.
    backend : As in :func:`~meshdisent.show.pictures.render`.
    """
    back = motion.inverse()
    scan, scan_faces = _drawable(target)
    scan, result = back.apply(scan), back.apply(vertices)
    matches = target.match(vertices, vertex_normals(vertices, topology.faces))
    far = target.distance(vertices, matches) / motion.scale
    shown = [stages[k] for k in sorted(set(np.linspace(0, len(stages) - 1, _STAGES).astype(int).tolist())) if stages]
    limits = (0.0, nice_ceiling(float(np.quantile(far, 0.95))))
    rows = []
    for azimuth in VIEWS.values():
        camera = Camera.facing(np.concatenate([scan, result]), size=_SIZE, azimuth=azimuth)
        draw = partial(render, size=_SIZE, camera=camera, backend=backend)
        row = [draw(scan, scan_faces, color=SCAN_COLOR)]
        row += [draw(back.apply(stage.vertices), topology.faces) for stage in shown]
        rows.append([*row, draw(result, topology.faces, values=far, limits=limits)])
    labels = ["scan", *(f"{stage.name} {stage.length_mm:g} mm: {stage.median_mm:.2f} mm" for stage in shown)]
    bar = color_bar(
        limits, round(_SIZE[1] * 1.4), COLORMAP,
        pixels=letter_pixels(_SIZE[0], len(labels) + 1), is_clipped=bool(far.max() > limits[1]),
    )  # fmt: skip
    return sheet(rows, list(VIEWS), [*labels, "distance from the scan"], title, caption, bar=bar)


def _drawable(target: TargetSurface) -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "face 3"]]:
    """The mesh of a scan; points without faces become small triangles in their planes."""
    if target.vertices is not None and target.faces is not None:
        return target.vertices, target.faces
    count = len(target.points)
    axis = np.eye(3)[np.abs(target.normals).argmin(axis=1)]
    one = np.cross(target.normals, axis)
    one /= np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12)
    other = np.cross(target.normals, one)
    angles = np.radians([0.0, 120.0, 240.0])
    corners = target.points[:, None] + target.spacing_mm * (
        np.cos(angles)[None, :, None] * one[:, None] + np.sin(angles)[None, :, None] * other[:, None]
    )
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)
