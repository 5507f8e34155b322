"""Text in pictures, in the font that comes with matplotlib: every machine draws the same letters."""

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

INK = (32, 36, 42)
FAINT_INK = (92, 98, 107)


@cache
def font(pixels: int, is_bold: bool = False) -> "FreeTypeFont":
    """Give DejaVu Sans of so many pixels."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), pixels)


def wrap(text: str, pixels: int, width: int, is_bold: bool = False) -> list[str]:
    """Break a text into lines that fit a width in pixels; a word that alone is wider is broken inside.

    Examples
    --------
    >>> wrap("mouth_stretch of subject 0012", pixels=16, width=130)
    ['mouth_stretch', 'of subject 0012']
    """
    letters, lines = font(pixels, is_bold), []
    for paragraph in text.split("\n"):
        line = ""
        # Names of files and expressions may also break after these signs.
        for piece in re.findall(r"[^\s_/\-]*[_/\-]+|[^\s_/\-]+\s*|\s+", paragraph):
            if line and letters.getlength((line + piece).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += piece
            while letters.getlength(line.rstrip()) > width and len(line.rstrip()) > 1:
                fitting = max(1, sum(letters.getlength(line[: k + 1]) <= width for k in range(len(line.rstrip()))))
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line.rstrip())
    return lines


def text_width(text: str, pixels: int, is_bold: bool = False) -> int:
    """Give the width of a text in one line, pixels."""
    return int(np.ceil(font(pixels, is_bold).getlength(text)))


def text_block(
    text: str,
    pixels: int,
    width: int,
    *,
    align: str = "left",
    is_bold: bool = False,
    ink: tuple[int, int, int] = INK,
) -> UInt8[np.ndarray, "height width 3"]:
    """Write a wrapped text on white; the picture is ``width`` wide and as high as the text needs.

    Parameters
    ----------
    text : What to write.
    pixels : Size of the letters.
    width : Width of the block, pixels.
    align : ``left``, ``center`` or ``right``.
    is_bold : Bold letters.
    ink : Color of the letters, 0 to 255.
    """
    from PIL import Image, ImageDraw

    lines = wrap(text, pixels, width, is_bold)
    advance = round(pixels * 1.32)
    image = Image.new("RGB", (width, advance * len(lines)), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    left, anchor = {"left": (0.0, "la"), "center": (width / 2, "ma"), "right": (width, "ra")}[align]
    for k, line in enumerate(lines):
        draw.text((left, k * advance), line, fill=ink, font=font(pixels, is_bold), anchor=anchor)
    return np.array(image)
