"""A mesh as a picture: one function, two renderers that look alike.

pyvista draws where it can; a machine without OpenGL libraries gets the software renderer of
:mod:`meshdisent.show.rasterizer`. The variable ``MESHDISENT_RENDERER`` (``auto``, ``pyvista``, ``software``) decides
for programs whose callers do not.
"""

import io
import os
import sys

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.errors import MeshError, UsageError
from meshdisent.files import refuse_existing, writing
from meshdisent.mesh.openings import Painted, fill_openings
from meshdisent.show import offscreen
from meshdisent.show.camera import Camera
from meshdisent.show.offscreen import render_offscreen
from meshdisent.show.rasterizer import render_software
from meshdisent.show.shading import CHART, MATTE, SKIN

RENDERERS = {"pyvista": render_offscreen, "software": render_software}
RENDERER_VARIABLE = "MESHDISENT_RENDERER"
COLORMAP = "magma_r"
# Pictures are drawn this many times wider and higher, then averaged: smooth edges, the same in both renderers.
SUPERSAMPLING = 2


def render(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    *,
    size: tuple[int, int] = (480, 560),
    camera: Camera | None = None,
    values: Float[np.ndarray, " value"] | None = None,
    limits: tuple[float, float] | None = None,
    colormap: str = COLORMAP,
    color: tuple[float, float, float] = SKIN,
    backend: str = "auto",
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a mesh on white; a face gets eyeballs and the dark of a mouth (:mod:`meshdisent.mesh.openings`).

    Parameters
    ----------
    vertices : (V, 3) mm, y up, z towards the viewer.
    faces : (F, 3) Counter-clockwise from outside; both sides are drawn.
    size : Width and height of the picture, pixels.
    camera : Default: the front camera that fits these vertices. Give the same camera to all pictures of a sheet.
    values : (V,) A number for each vertex, shown as color instead of ``color``.
    limits : The values at both ends of the colormap; what lies outside takes the color of the end. Default: the range
        of the values.
    colormap : A name that matplotlib knows.
    color : Red, green, blue of the surface, 0 to 1.
    backend : ``auto``, ``pyvista`` or ``software``. With ``auto`` the variable ``MESHDISENT_RENDERER`` decides, then
        whether pyvista can draw here.

    Returns
    -------
    (height, width, 3) The picture.

    Raises
    ------
    MeshError : If there is nothing to draw: no face, a coordinate that is no number, a face of a missing vertex.
    UsageError : If the values do not fit the vertices, or the backend or the colormap is unknown.
    """
    vertices, faces = _checked(vertices, faces, size)
    if values is None:
        colors, material = np.tile(np.asarray(color, np.float64), (len(vertices), 1)), MATTE
    else:
        colors, material = _colors(np.asarray(values, np.float64), len(vertices), limits, colormap), CHART
    camera = camera or Camera.facing(vertices[np.unique(faces)], size=size)
    draw = RENDERERS[renderer(backend)]
    width, height = size
    shown = fill_openings(Painted(vertices, faces, colors))
    picture = draw(*shown, camera, (width * SUPERSAMPLING, height * SUPERSAMPLING), material)
    return _shrunk(picture)


def renderer(backend: str = "auto") -> str:
    """Say which renderer a request means on this machine: ``pyvista`` or ``software``.

    Raises
    ------
    UsageError : If the backend, or the variable ``MESHDISENT_RENDERER``, names none of the known ones.
    """
    where = "backend"
    if backend == "auto":
        backend, where = os.environ.get(RENDERER_VARIABLE) or "auto", RENDERER_VARIABLE
    if backend in RENDERERS:
        return backend
    if backend != "auto":
        raise UsageError(f"{where} is {backend!r}; wanted one of auto, {', '.join(RENDERERS)}. Use auto if unsure.")
    if offscreen.can_render():
        return "pyvista"
    _say_once(
        "OpenGL does not work here (pyvista could not draw): pictures come from the built-in software renderer, "
        f"which looks alike. {RENDERER_VARIABLE}=software skips this check."
    )
    return "software"


def write_png(path: str | os.PathLike, picture: UInt8[np.ndarray, "height width 3"], overwrite: bool = False) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises
    ------
    UsageError : If the file exists and ``overwrite`` is false.
    """
    refuse_existing(path, overwrite)
    data = encode_png(picture)
    with writing(path, overwrite) as aside:
        aside.write_bytes(data)


def encode_png(picture: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Give the bytes of a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def map_colors(
    values: Float[np.ndarray, "..."], limits: tuple[float, float], colormap: str = COLORMAP
) -> Float[np.ndarray, "... 3"]:
    """Give the red, green, blue (0 to 1) of values in a colormap between two limits."""
    import matplotlib

    if colormap not in matplotlib.colormaps:
        raise UsageError(f"The colormap {colormap!r} is unknown to matplotlib; wanted a name such as viridis or magma.")
    low, high = limits
    if not (np.isfinite(limits).all() and low <= high):
        raise UsageError(f"The limits of the colormap are {limits}; wanted two finite numbers, the lower one first.")
    share = (np.asarray(values, np.float64) - low) / (high - low) if high > low else np.zeros_like(values, np.float64)
    return matplotlib.colormaps[colormap](share)[..., :3]


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """Average blocks of SUPERSAMPLING x SUPERSAMPLING pixels, rounded."""
    steps = range(SUPERSAMPLING)
    parts = [picture[i::SUPERSAMPLING, k::SUPERSAMPLING] for i in steps for k in steps]
    total = np.add.reduce(parts, dtype=np.uint16)
    return ((total + SUPERSAMPLING**2 // 2) // SUPERSAMPLING**2).astype(np.uint8)


def _checked(vertices: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces, np.int64)
    if min(size) < 1:
        raise UsageError(f"The picture's size is {size}; wanted a width and a height of at least 1 pixel.")
    if vertices.ndim != 2 or vertices.shape[-1] != 3 or faces.ndim != 2 or faces.shape[-1] != 3:
        raise MeshError(
            f"render got vertices of shape {vertices.shape} and faces of shape {faces.shape}; wanted (V, 3) and "
            "(F, 3). Give one scan at a time."
        )
    if not len(vertices) or not len(faces):
        raise MeshError(
            f"render got a mesh of {len(vertices)} vertices and {len(faces)} faces; wanted at least one face. "
            "A point cloud has to be meshed first."
        )
    bad = np.flatnonzero(~np.isfinite(vertices).all(1))
    if len(bad):
        raise MeshError(
            f"render got {len(bad)} vertices with NaN or infinite coordinates, the first is vertex {bad[0]}; wanted "
            "finite millimeters. Look for a model that diverged or a damaged file: meshdisent inspect names the scans."
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise MeshError(
            f"render got faces that use vertices {faces.min()} to {faces.max()} of {len(vertices)}; wanted 0 to "
            f"{len(vertices) - 1}. Faces and vertices belong to different topologies."
        )
    return vertices, faces


def _colors(values: np.ndarray, vertex_count: int, limits: tuple[float, float] | None, colormap: str) -> np.ndarray:
    if values.shape != (vertex_count,):
        raise UsageError(
            f"render got values of shape {values.shape} for {vertex_count} vertices; wanted ({vertex_count},). "
            "Give one number for each vertex."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise UsageError(
            f"render got {len(bad)} values that are NaN or infinite, the first at vertex {bad[0]}; wanted finite "
            "numbers. Replace them before drawing, for example by zero."
        )
    return map_colors(values, limits or (float(values.min()), float(values.max())), colormap)


_SAID: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _SAID:
        _SAID.add(text)
        print(text, file=sys.stderr)
