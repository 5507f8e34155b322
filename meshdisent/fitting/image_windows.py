"""Photographs as squares around a face, at several sizes, and the camera that sees each square.

All squares have one camera (focal length 1, axis in the middle of a picture one unit wide), so that they can be drawn
together. Where a square lies in its photograph, and how the photograph's camera looks, is one shear of space that keeps
depth: :math:`(X, Y, Z) \\mapsto (aX + bZ, aY + cZ, Z)`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from meshdisent.data.images.cropping import crop_square
from meshdisent.errors import DataError, UsageError
from meshdisent.render.camera import Camera

#: Field of view of a photograph, degrees along its longer side, where nobody says it: that of a portrait.
GUESSED_DEGREES = 20.0
#: Pixels below which a photograph, or the square around a face, shows nothing; and a difference of gray that is none.
SMALLEST, _FLAT = 32, 4
#: The square around a face is so many times as wide as its landmarks are apart, and lies so much lower.
_WIDE, _DOWN = 2.4, 0.06

Square = tuple[float, float, float]  # left, top, side: pixels of the photograph


@dataclass(frozen=True, kw_only=True)
class Photo:
    """A photograph of a face and what is known about it.

    Attributes
    ----------
    pixels : (H, W, 3)
    landmarks : Pixels (column, row) of named points, the center of the first pixel at (0, 0).
    mask : (H, W) Where the face is; what is outside is not looked at.
    field_of_view : Degrees along the longer side; None to guess.
    box : Left, top, right, bottom of the face, pixels.
    name : For messages.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    landmarks: dict[str, Float[np.ndarray, "2"]] | None = None
    mask: Bool[np.ndarray, "mask_height mask_width"] | None = None
    field_of_view: float | None = None
    box: tuple[float, float, float, float] | None = None
    name: str = "the photograph"

    def __post_init__(self) -> None:
        height, width = self.pixels.shape[:2]
        if min(height, width) < SMALLEST:
            raise DataError(
                f"{self.name} has {width} x {height} pixels; wanted at least {SMALLEST} each way. Give a larger one."
            )
        if np.ptp(self.pixels) < _FLAT:
            raise DataError(f"{self.name} is one even color; wanted a photograph of a face.")
        if self.mask is not None and self.mask.shape != (height, width):
            raise DataError(
                f"The mask of {self.name} has {self.mask.shape[1]} x {self.mask.shape[0]} pixels; wanted {width} x "
                f"{height}, those of the photograph. Scale the mask."
            )
        if self.mask is not None and not self.mask.any():
            raise DataError(f"The mask of {self.name} covers nothing; wanted the pixels of the face to be set.")
        if self.field_of_view is not None and not 0 < self.field_of_view < 150:
            raise UsageError(
                f"The field of view of {self.name} is {self.field_of_view} degrees; wanted more than 0 and less than "
                "150, along the longer side of the photograph."
            )
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise UsageError(f"The box of {self.name} is {self.box}; wanted left < right and top < bottom, in pixels.")

    @property
    def camera(self) -> Camera:
        """The camera of the photograph: its axis in the middle, pixel centers on the edges of the field of view."""
        height, width = self.pixels.shape[:2]
        degrees = GUESSED_DEGREES if self.field_of_view is None else self.field_of_view
        focal = (max(height, width) - 1) / 2 / math.tan(math.radians(degrees) / 2)
        return Camera(height=height, width=width, focal=focal, center_u=(width - 1) / 2, center_v=(height - 1) / 2)

    def square(self) -> Square:
        """The square that is looked at: around the landmarks, the box, or the mask; else around all."""
        height, width = self.pixels.shape[:2]
        whole = max(height, width)
        if self.landmarks:
            points = np.stack(list(self.landmarks.values()))
            side = _WIDE * float(np.ptp(points, axis=0).max())
            middle = points.min(0) / 2 + points.max(0) / 2 + [0.5, 0.5 + _DOWN * side]
        elif self.box is not None:
            side = max(self.box[2] - self.box[0], self.box[3] - self.box[1])
            middle = np.array([self.box[0] + self.box[2], self.box[1] + self.box[3]]) / 2
        elif self.mask is not None:
            rows, columns = (np.flatnonzero(self.mask.any(axis)) for axis in (1, 0))
            side = 1.1 * float(max(np.ptp(rows), np.ptp(columns)) + 1)
            middle = np.array([columns[0] + columns[-1] + 1, rows[0] + rows[-1] + 1]) / 2
        else:
            side, middle = whole, np.array([width, height]) / 2
        if side >= whole:
            side, middle = whole, np.array([width, height]) / 2
        if side < SMALLEST:
            raise DataError(
                f"The face in {self.name} is {side:.0f} pixels wide; wanted at least {SMALLEST}. Give a larger picture."
            )
        return float(middle[0] - side / 2), float(middle[1] - side / 2), float(side)


@dataclass(frozen=True, eq=False, kw_only=True)
class Windows:
    """Squares of several photographs.

    Attributes
    ----------
    shear : (B, 3, 3) From the frame of each photograph's camera into that of the common one.
    pictures : By size S: (B, S, S, 3) colors from 0 to 1, and (B, S, S) how far a pixel counts.
    landmarks : For each photograph (rows of the template, (L, 2) places in the square, 0 in its middle, 1 its width).
    squares : Where they lie.
    """

    shear: Float[Tensor, "batch 3 3"]
    pictures: dict[int, tuple[Float[Tensor, "batch size size 3"], Float[Tensor, "batch size size"]]]
    landmarks: list[tuple[np.ndarray, np.ndarray]]
    squares: list[Square]

    def __len__(self) -> int:
        return len(self.squares)

    def one(self, k: int) -> "Windows":
        """One photograph alone."""
        return Windows(
            shear=self.shear[k : k + 1],
            pictures={size: (colors[k : k + 1], counts[k : k + 1]) for size, (colors, counts) in self.pictures.items()},
            landmarks=self.landmarks[k : k + 1],
            squares=self.squares[k : k + 1],
        )


def camera_of(size: int) -> Camera:
    """The common camera at a size."""
    return Camera(height=size, width=size, focal=float(size), center_u=(size - 1) / 2, center_v=(size - 1) / 2)


def windows_of(photos: Sequence[Photo], rows: dict[str, int] | None, sizes: Sequence[int]) -> Windows:
    """Cut the squares out.

    Parameters
    ----------
    rows : Vertices of the template by name; landmarks with other names are left out. None: no landmarks.
    sizes : Pixels a side.

    Raises
    ------
    DataError : If fewer than three landmarks of a photograph have a name that the template knows.
    """
    squares = [photo.square() for photo in photos]
    shears = torch.stack([_shear(photo, square) for photo, square in zip(photos, squares, strict=True)])
    pictures = {}
    for size in sizes:
        cut = [_cut(photo, square, size) for photo, square in zip(photos, squares, strict=True)]
        pictures[size] = (torch.stack([colors for colors, _ in cut]), torch.stack([counts for _, counts in cut]))
    landmarks = [_placed(photo, square, rows) for photo, square in zip(photos, squares, strict=True)]
    return Windows(shear=shears, pictures=pictures, landmarks=landmarks, squares=squares)


def _shear(photo: Photo, square: Square) -> Float[Tensor, "3 3"]:
    camera, (left, top, side) = photo.camera, square
    across, down = (camera.center_u + 0.5 - left) / side - 0.5, (camera.center_v + 0.5 - top) / side - 0.5
    scale = camera.focal / side
    return torch.tensor([[scale, 0.0, across], [0.0, scale, down], [0.0, 0.0, 1.0]])


def _cut(photo: Photo, square: Square, size: int) -> tuple[Float[Tensor, "size size 3"], Float[Tensor, "size size"]]:
    left, top, side = square
    colors = torch.from_numpy(crop_square(photo.pixels, (left, top, left + side, top + side), size).copy())
    mask, inside = _masked(photo, square, size)
    if not (mask & inside).any():
        raise DataError(f"The mask of {photo.name} lies outside its landmarks or box; wanted them on the same face.")
    return colors.float() / 255, torch.from_numpy(mask & inside).float()


def _masked(photo: Photo, square: Square, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the square that are in the mask, all without one, and those that are in the photograph."""
    left, top, side = square
    height, width = photo.pixels.shape[:2]
    middles = (np.arange(size) + 0.5) / size * side
    rows, columns = top + middles, left + middles
    inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
    if photo.mask is None:
        return np.ones_like(inside), inside
    gray = np.repeat(255 * photo.mask[..., None].astype(np.uint8), 3, axis=2)
    return crop_square(gray, (left, top, left + side, top + side), size)[..., 0] > 230, inside


def _placed(photo: Photo, square: Square, rows: dict[str, int] | None) -> tuple[np.ndarray, np.ndarray]:
    left, top, side = square
    if photo.landmarks is None or rows is None:
        return np.zeros(0, np.int64), np.zeros((0, 2))
    names = [name for name in photo.landmarks if name in rows]
    if len(names) < 3:
        raise DataError(
            f"The landmarks of {photo.name} ({', '.join(list(photo.landmarks)[:8])}, ...) share {len(names)} names "
            f"with the template ({', '.join(list(rows)[:12])}); wanted 3 or more. Rename them, or give the template's."
        )
    points = np.stack([photo.landmarks[name] for name in names])
    places = (points + 0.5 - [left, top]) / side - 0.5
    return np.array([rows[name] for name in names], np.int64), places
