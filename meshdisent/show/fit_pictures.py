"""A fit as two pictures: how far the input lies from the face, and how sure every vertex is; both with color bars.

Faces are drawn in the model's frame, from the front and from the side. What the input says nothing of has no residual:
it is left out of that picture.
"""

from functools import partial

import numpy as np
from jaxtyping import UInt8

from meshdisent.fitting.result import Fit
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.lettering import INK
from meshdisent.show.pictures import COLORMAP, map_colors, render
from meshdisent.show.sheets import letter_pixels, sheet

Picture = UInt8[np.ndarray, "height width 3"]
_SIZE, _AZIMUTHS = (300, 400), (0.0, 40.0)
_DOT = 0.012  # radius of a landmark, as a share of the height


def residual_sheet(fit: Fit, title: str = "") -> Picture:
    """The fitted face, and how far from it the input lies, where the input says anything."""
    vertices, faces, residuals = fit.in_model_frame.vertices, fit.in_model_frame.faces, fit.residuals
    is_seen = ~np.isnan(fit.misses)
    limits = (0.0, nice_ceiling(float(np.percentile(fit.misses[is_seen], 98)) if is_seen.any() else 1.0))
    patch = faces[is_seen[faces].all(axis=1)]
    cameras = [Camera.facing(vertices, size=_SIZE, azimuth=azimuth) for azimuth in _AZIMUTHS]
    whole = [render(vertices, faces, size=_SIZE, camera=camera) for camera in cameras]
    is_surface = 2 * len(patch) > is_seen.sum()  # landmarks have hardly a triangle between them
    if is_surface:
        misses = np.where(is_seen, fit.misses, 0.0)
        paint = partial(render, vertices, patch, size=_SIZE, values=misses, limits=limits)
        colored = [paint(camera=camera) for camera in cameras]
    else:
        colored = [_dotted(picture, camera, fit, limits) for picture, camera in zip(whole, cameras, strict=True)]
    what = "what the scan shows" if is_surface else "landmarks"
    return sheet(
        [[*whole, *colored]],
        title=title,
        column_labels=["fitted face", "", what, ""],
        caption=f"Residual: median {residuals.median:.2f} {residuals.unit}, 95 % below {residuals.most:.2f}; "
        f"{100 * residuals.explained:.0f} % of the input is trusted. Noise {fit.noise:.2f} {residuals.unit}.",
        bar=_bar(limits, residuals.unit),
    )


def uncertainty_sheet(fit: Fit, title: str = "", level: float = 0.9) -> Picture:
    """Within how many mm of each vertex the true one lies, with a probability."""
    vertices, faces, radius = fit.in_model_frame.vertices, fit.in_model_frame.faces, fit.radius_mm(level)
    limits = (0.0, nice_ceiling(float(np.percentile(radius, 99))))
    cameras = [Camera.facing(vertices, size=_SIZE, azimuth=azimuth) for azimuth in (-40.0, *_AZIMUTHS)]
    row = [
        render(vertices, faces, size=_SIZE, camera=camera, values=np.minimum(radius, limits[1]), limits=limits)
        for camera in cameras
    ]
    return sheet(
        [row],
        title=title,
        caption=f"Within this distance lies the true vertex with a probability of {level:.0%}; {radius.mean():.2f} mm "
        "on average.",
        bar=_bar(limits, "mm"),
    )


def _bar(limits: tuple[float, float], unit: str) -> Picture:
    return color_bar(limits, round(0.75 * _SIZE[1]), pixels=letter_pixels(_SIZE[0], 4), unit=unit, is_clipped=True)


def _dotted(picture: Picture, camera: Camera, fit: Fit, limits: tuple[float, float]) -> Picture:
    """The picture with a dot at each landmark, colored by its residual."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture.copy())
    draw = ImageDraw.Draw(image)
    which = np.flatnonzero(~np.isnan(fit.misses))
    seen = camera.view(fit.in_model_frame.vertices[which])
    width, height = _SIZE
    scale = height / 2 / np.tan(np.radians(camera.field_of_view / 2))
    columns, rows = width / 2 - scale * seen[:, 0] / seen[:, 2], height / 2 + scale * seen[:, 1] / seen[:, 2]
    colors = np.round(255 * map_colors(fit.misses[which], limits, COLORMAP)).astype(int)
    radius = _DOT * height
    for column, row, color in zip(columns, rows, colors, strict=True):
        box = (column - radius, row - radius, column + radius, row + radius)
        draw.ellipse(box, fill=tuple(color.tolist()), outline=INK)
    return np.array(image)
