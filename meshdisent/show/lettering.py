"""Text in pictures: the font that comes with matplotlib, so that every machine draws the same letters."""

import re
from functools import cache

import numpy as np
from jaxtyping import UInt8

INK = (32, 36, 42)
FAINT_INK = (96, 102, 110)


@cache
def font(pixels: int, is_bold: bool = False):
    """Give DejaVu Sans of so many pixels a line."""
    from pathlib import Path

    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if is_bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), pixels)


def wrap(text: str, pixels: int, width: int, is_bold: bool = False) -> list[str]:
    """Break a text into lines that fit a width in pixels; a word that is wider alone is broken inside.

    Examples
    --------
    >>> wrap("mouth_stretch of subject 0012", pixels=16, width=130)
    ['mouth_stretch', 'of subject 0012']
    """
    letters = font(pixels, is_bold)
    lines = []
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


def line_height(pixels: int) -> int:
    """Give the distance from line to line, pixels."""
    return round(pixels * 1.32)


def text_width(lines: list[str], pixels: int, is_bold: bool = False) -> int:
    """Give the width of the widest line, pixels."""
    return int(np.ceil(max((font(pixels, is_bold).getlength(line) for line in lines), default=0)))


class Canvas:
    """A white page for pictures and lines of text."""

    def __init__(self, width: int, height: int):
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", (width, height), (255, 255, 255))
        self.draw = ImageDraw.Draw(self.image)

    def paste(self, picture: UInt8[np.ndarray, "height width 3"], left: int, top: int) -> None:
        """Put a picture with its upper left corner there."""
        from PIL import Image

        self.image.paste(Image.fromarray(picture), (left, top))

    def write(
        self, lines: list[str], left: float, top: float, pixels: int, *,
        align: str = "left", is_bold: bool = False, ink: tuple[int, int, int] = INK,
    ) -> None:  # fmt: skip
        """Write lines from ``top`` downwards; ``left`` is the left end, the middle (``center``) or the right end."""
        anchor = {"left": "la", "center": "ma", "right": "ra"}[align]
        for k, line in enumerate(lines):
            place = (left, top + k * line_height(pixels))
            self.draw.text(place, line, fill=ink, font=font(pixels, is_bold), anchor=anchor)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """Give the page as an array."""
        return np.array(self.image)
