"""Photographs from files: whole, upright, red, green, blue; a damaged one is told by its reason."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from meshdisent.data.images.cropping import box_of_crop, crop_square
from meshdisent.data.images.layouts.base import ImageRecord
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.layouts.tree import one_line
from meshdisent.errors import DataError

_DEEP_MODES = ("I", "F")  # and I;16 and its kin: more than 8 bits a channel


def read_photo(path: str | Path, upright: bool = True) -> UInt8[np.ndarray, "height width 3"]:
    """Read an image as (H, W, 3) uint8: grey is repeated, transparency dropped, a turned camera's photo put upright.

    Parameters
    ----------
    path : The file.
    upright : Follow the orientation that the camera noted; False where boxes were given in the pixels of the file.

    Raises
    ------
    DataError : If the file is absent, damaged, cut short, no image, has more than 8 bits a channel, or more pixels than
        Pillow takes to be harmless.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # remarks on metadata
            with Image.open(path) as image:
                if image.mode.startswith(_DEEP_MODES):
                    raise DataError(f"{path} has the mode {image.mode}; wanted 8 bits a channel. Convert it.")
                image.load()
                turned = ImageOps.exif_transpose(image) if upright else image
                return np.asarray(turned.convert("RGB"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there; wanted a photograph. Correct its path.") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels, which no face needs. Scale it down."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Warning) as error:
        raise DataError(f"{path} is no whole image ({one_line(error, str(path))}). Copy it again.") from error


def read_crops(
    records: Sequence[ImageRecord], crop: str, size: int
) -> tuple[UInt8[np.ndarray, "image size size 3"], list[int], list[Rejection]]:
    """Read and crop images: pixels of those that could be read, their places among the records, and the others."""
    pixels = np.empty((len(records), size, size, 3), np.uint8)
    kept: list[int] = []
    rejected: list[Rejection] = []
    for k, record in enumerate(records):
        try:
            image = read_photo(record.path, upright=record.box is None)
            box = box_of_crop(crop, image.shape[1], image.shape[0], record.box)
            pixels[len(kept)] = crop_square(image, box, size)
        except DataError as error:
            rejected.append(Rejection(record.path, one_line(error, record.path)))
        else:
            kept.append(k)
    return pixels[: len(kept)], kept, rejected
