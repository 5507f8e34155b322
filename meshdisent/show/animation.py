"""Pictures one after another, as a GIF."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from meshdisent.errors import UsageError
from meshdisent.files import writing

if TYPE_CHECKING:
    from PIL import Image


def write_gif(
    path: str | os.PathLike,
    frames: Sequence[np.ndarray],
    fps: float = 12.0,
    overwrite: bool = False,
    *,
    ping_pong: bool = False,
) -> None:
    """Write frames as a GIF that loops forever, whole or not at all.

    Parameters
    ----------
    path : The file to appear.
    frames : (height, width, 3) uint8 pictures of one size.
    fps : Frames a second, at most 50 (viewers slow faster ones down).
    overwrite : Replace an existing file.
    ping_pong : Run to the end and back again, so that the loop has no jump.

    Raises
    ------
    UsageError : If there is no frame, sizes differ, the rate is impossible, or the file exists.
    """
    from PIL import Image

    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) != 1:
        found = f"frames of {len(shapes)} sizes {shapes}" if shapes else "no frame"
        raise UsageError(f"write_gif got {found} for {path}; wanted at least one, all of one size.")
    if not 0 < fps <= 50:
        raise UsageError(f"write_gif got {fps} frames a second for {path}; wanted more than 0 and at most 50.")
    frames = [*frames, *frames[-2:0:-1]] if ping_pong else list(frames)
    palette = _palette(frames)
    # Ordered tables of one palette and no dithering: still regions stay still, and the file small.
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    with writing(path, overwrite) as aside:
        images[0].save(
            aside, format="GIF", save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0,
            disposal=1, optimize=False,
        )  # fmt: skip


def _palette(frames: Sequence[np.ndarray]) -> "Image.Image":
    """One palette of 256 colors for all frames, from a sample of their pixels."""
    from PIL import Image

    step = max(1, len(frames) // 8)
    strip = np.concatenate([frame[::2, ::2] for frame in frames[::step]], axis=0)
    return Image.fromarray(strip).quantize(256, method=Image.Quantize.MEDIANCUT)
