"""The square of a photograph that a LatentFace looks at: a box, that around the points of a face, or all of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from meshdisent.data.images.cropping import crop_square, whole_box
from meshdisent.errors import DataError

Box = tuple[float, float, float, float]
_SMALLEST = 16  # pixels of a face below which there is nothing to see
_WIDE = 1.21


def face_box(face: Float[np.ndarray, "point 2"]) -> Box:
    """The square around the points that mediapipe finds on a face, from forehead to chin: as faces fill rendered ones.

    On 40 pictures of 64 pixels that ``meshdisent render`` draws, and that ``latentface-rendered`` was trained on, the
    picture is 1.21 times as wide as such points are apart (mean of width and height), and has them in its middle. The
    square of Unsup3D's demo, for a detector of its own, is 1.10 times as wide and lies lower.

    Examples
    --------
    >>> [round(corner, 6) for corner in face_box(np.array([[10.0, 20.0], [30.0, 40.0], [20.0, 30.0]]))]
    [7.9, 17.9, 32.1, 42.1]
    """
    low, high = face.min(axis=0), face.max(axis=0)
    (x, y), half = (low + high) / 2, _WIDE * float((high - low).mean()) / 2
    return float(x - half), float(y - half), float(x + half), float(y + half)


def cropped(
    photo: UInt8[np.ndarray, "height width 3"], size: int, box: Box | None, where: str
) -> UInt8[np.ndarray, "size size 3"]:
    """The face in a box, or the whole photograph, at the size that a model looks at.

    Raises
    ------
    DataError : If the box lies outside, or is too small; ``where`` names the photograph.
    """
    height, width = photo.shape[:2]
    chosen = whole_box(width, height, None) if box is None else box
    sides = chosen[2] - chosen[0], chosen[3] - chosen[1]
    if min(sides) < _SMALLEST:
        raise DataError(
            f"{where}: the face is {sides[0]:.0f} x {sides[1]:.0f} pixels (box {_shown(chosen)}); wanted at least "
            f"{_SMALLEST} each way. Give a larger picture, or another --box."
        )
    try:
        return crop_square(photo, chosen, size)
    except DataError as error:
        raise DataError(f"{where}: {error}.") from error


def _shown(box: Sequence[float]) -> str:
    return ", ".join(f"{corner:g}" for corner in box)
