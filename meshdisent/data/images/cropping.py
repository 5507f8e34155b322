r"""The square of an image that holds the face, at the size that networks take.

A box is left, top, right, bottom in pixels; pixel k reaches from k to k + 1, so that the whole image is 0, 0, width,
height. A box may reach over the border: the border's pixels are repeated.

Sources: the given boxes of CelebA (as released with Unsup3D) and AffectNet; Unsup3D's demo for faces that a detector
found (:func:`detector_box`); the largest square in the middle, and the whole image, for images that are aligned.
Unsup3D stores CelebA at 128 pixels and shrinks that to 64; we go to the final size in one step, here as everywhere.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from meshdisent.data.images.layouts.base import Box
from meshdisent.errors import DataError, UsageError

_HALF_SIDE, _DOWN = 0.55, 0.15  # Unsup3D, demo: of the mean side, and of half the side
_LARGEST_RATIO = 8  # a box that is so many times as large as the image shows borders only


def crop_square(image: UInt8[np.ndarray, "height width 3"], box: Box, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Cut a box out of an image and scale it to ``size`` x ``size`` pixels.

    Pixels outside the image are those of its border. Scaling is bilinear with as wide a filter as shrinking needs
    (PIL), so that fine patterns fade instead of aliasing. A box that is no square is stretched to one. Corners may lie
    between pixels.

    Raises
    ------
    DataError : If the box is empty, not finite, far larger than the image, or wholly outside it.

    Examples
    --------
    >>> image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(3, axis=2)
    >>> crop_square(image, (-1.0, 0.0, 1.0, 2.0), 2)[..., 0].tolist()
    [[0, 0], [2, 2]]
    """
    from PIL import Image

    height, width = image.shape[:2]
    left, top, right, bottom = box
    _check_box(box, width, height)
    # Whole pixels around the box; clipped indices repeat the border.
    x0, y0, x1, y1 = math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)
    columns = np.arange(x0, x1).clip(0, width - 1)
    part = image[np.arange(y0, y1).clip(0, height - 1)[:, None], columns]
    inside = (left - x0, top - y0, right - x0, bottom - y0)
    scaled = Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR, box=inside)
    return np.asarray(scaled, dtype=np.uint8)


def given_box(width: int, height: int, box: Box | None) -> Box:
    """The box as the data set gives it; raises :class:`DataError` if there is none."""
    if box is None:
        raise DataError("no box is known; wanted one, or another crop")
    return box


def detector_box(width: int, height: int, box: Box | None) -> Box:
    r"""The square around a detected face (Unsup3D, demo).

    .. math:: h = 0.55 \, (w_b + h_b) / 2, \quad c = c_b + (0, 0.15 h), \quad [c - h, c + h]

    Examples
    --------
    >>> [round(corner, 6) for corner in detector_box(100, 100, (40.0, 40.0, 60.0, 60.0))]
    [39.0, 40.65, 61.0, 62.65]
    """
    left, top, right, bottom = given_box(width, height, box)
    half = _HALF_SIDE * (right - left + bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2 + _DOWN * half
    return x - half, y - half, x + half, y + half


def center_box(width: int, height: int, side: int) -> Box:
    """A square of that side in the middle, at whole pixels.

    Examples
    --------
    >>> center_box(178, 218, 170)
    (4.0, 24.0, 174.0, 194.0)
    """
    left, top = float((width - side) // 2), float((height - side) // 2)
    return left, top, left + side, top + side


def largest_center_box(width: int, height: int, box: Box | None) -> Box:
    """The largest square in the middle."""
    return center_box(width, height, min(width, height))


def whole_box(width: int, height: int, box: Box | None) -> Box:
    """The whole image."""
    return 0.0, 0.0, float(width), float(height)


#: Width and height of an image and its box, if known -> what is cut out.
CROPS: dict[str, Callable[[int, int, Box | None], Box]] = {
    "box": given_box,
    "detector": detector_box,
    "center": largest_center_box,
    "whole": whole_box,
}
#: Those of them that need a box.
NEED_BOXES = ("box", "detector")


def check_crop(crop: str) -> None:
    """Raise :class:`UsageError` if there is no crop of that name; ``center:170`` is a square of 170 pixels."""
    name, colon, side = crop.partition(":")
    if not (name in CROPS and not colon) and not (name == "center" and side.isdecimal() and int(side) > 0):
        raise UsageError(f"The crop is {crop!r}; wanted {', '.join(CROPS)}, or center:SIDE such as center:170.")


def box_of_crop(crop: str, width: int, height: int, box: Box | None) -> Box:
    """What a crop cuts out of an image of that size; ``crop`` was checked."""
    name, _, side = crop.partition(":")
    return center_box(width, height, int(side)) if side else CROPS[name](width, height, box)


def _check_box(box: Box, width: int, height: int) -> None:
    left, top, right, bottom = box
    if not all(map(math.isfinite, box)) or right <= left or bottom <= top:
        raise DataError(f"the box {_shown(box)} has no area; wanted left < right and top < bottom")
    if max(right - left, bottom - top) > _LARGEST_RATIO * max(width, height):
        raise DataError(
            f"the box {_shown(box)} is more than {_LARGEST_RATIO} times as large as the image ({width} x {height})"
        )
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise DataError(f"the box {_shown(box)} lies outside the image ({width} x {height})")


def _shown(box: Box) -> str:
    return ", ".join(f"{corner:g}" for corner in box)
