"""Pictures one after another, as a GIF."""

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing, writing

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
    fps : Frames a second, at most 50 (viewers slow faster ones down). The format counts in hundredths of a second.
    overwrite : Replace an existing file.
    ping_pong : Run to the end and back again, so that the loop has no jump.

    Raises
    ------
    UsageError : If there is no frame, sizes differ, the rate is impossible, or the file exists.
    """
    refuse_existing(path, overwrite)
    data = encode_gif(frames, fps, ping_pong=ping_pong)
    with writing(path, overwrite) as aside:
        aside.write_bytes(data)


def encode_gif(frames: Sequence[np.ndarray], fps: float = 12.0, *, ping_pong: bool = False) -> bytes:
    """Give the bytes of a GIF; parameters and errors as in :func:`write_gif`."""
    from PIL import Image

    shapes = sorted({frame.shape for frame in frames})
    if len(shapes) != 1:
        found = f"frames of {len(shapes)} sizes {shapes}" if shapes else "no frame"
        raise UsageError(f"An animation got {found}; wanted at least one frame, all of one size. Render them alike.")
    if not 0 < fps <= 50:
        raise UsageError(f"An animation got {fps} frames a second; wanted more than 0, at most 50. 12 looks smooth.")
    frames = [*frames, *frames[-2:0:-1]] if ping_pong else list(frames)
    palette = _palette(frames)
    # One palette and no dithering: regions at rest do not flicker, and the file stays small.
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    stream = io.BytesIO()
    images[0].save(
        stream, format="GIF", save_all=True, append_images=images[1:], loop=0, disposal=1, optimize=False,
        duration=10 * max(2, round(100 / fps)),
    )  # fmt: skip
    return stream.getvalue()


def _palette(frames: Sequence[np.ndarray]) -> "Image.Image":
    """One palette of 256 colors for all frames, from a sample of their pixels."""
    from PIL import Image

    chosen = frames[:: max(1, len(frames) // 8)]
    stride = 1 + int((sum(frame[..., 0].size for frame in chosen) / 500_000) ** 0.5)
    strip = np.concatenate([frame[::stride, ::stride] for frame in chosen], axis=0)
    return Image.fromarray(strip).quantize(256, method=Image.Quantize.MEDIANCUT)
