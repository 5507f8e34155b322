"""The color bar of a heat map: round limits, round ticks, the unit on top."""

import numpy as np
from jaxtyping import UInt8

from meshdisent.show.lettering import FAINT_INK, INK, font, text_width
from meshdisent.show.pictures import COLORMAP, map_colors


def color_bar(
    limits: tuple[float, float],
    height: int,
    colormap: str = COLORMAP,
    *,
    pixels: int = 16,
    unit: str = "mm",
    is_clipped: bool = False,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a vertical color bar with ticks at round numbers.

    Parameters
    ----------
    limits : The values at the lower and the upper end.
    height : Of the colored part, pixels.
    colormap : A name that matplotlib knows.
    pixels : Size of the letters.
    unit : Stands above the bar.
    is_clipped : Mark the upper end as "or more".
    """
    from PIL import Image, ImageDraw

    values = ticks(*limits)
    labels = tick_labels(values)
    if is_clipped:
        labels[-1] = f"\u2265 {labels[-1]}"
    thickness, gap, top = round(pixels * 1.1), round(pixels * 0.5), round(pixels * 2.2)
    width = thickness + gap + max(text_width(text, pixels, is_bold=True) for text in [*labels, unit])
    image = Image.new("RGB", (width, top + height + pixels), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    colors = map_colors(np.linspace(limits[1], limits[0], height), limits, colormap)
    strip = np.repeat(np.round(colors * 255).astype(np.uint8)[:, None], thickness, axis=1)
    image.paste(Image.fromarray(strip), (0, top))
    draw.rectangle((0, top, thickness - 1, top + height - 1), outline=FAINT_INK)
    draw.text((0, 0), unit, fill=INK, font=font(pixels, True))
    for value, label in zip(values, labels, strict=True):
        y = top + (limits[1] - value) / max(limits[1] - limits[0], 1e-12) * (height - 1)
        draw.line((thickness, y, thickness + gap // 2, y), fill=FAINT_INK)
        draw.text((thickness + gap, y), label, fill=INK, font=font(pixels), anchor="lm")
    return np.array(image)


def ticks(low: float, high: float) -> list[float]:
    """Give both ends and the round numbers between them, about six in all.

    Examples
    --------
    >>> ticks(0.0, 1.5)
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]
    """
    spread = high - low
    if not spread > 0:
        return [low]
    power = 10.0 ** np.floor(np.log10(spread))
    step = min((share * power for share in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0)), key=lambda step: abs(spread / step - 5.5))
    inner = step * np.arange(np.ceil(low / step), np.floor(high / step) + 1)
    # A round number right beside an end would write over its label.
    inner = inner[(inner - low > step / 2) & (high - inner > step / 2)]
    return [low, *(float(round(tick, 12)) for tick in inner), high]


def tick_labels(values: list[float]) -> list[str]:
    """Write ticks with as many decimals as the neediest of them wants, at most four."""
    decimals = next(d for d in range(5) if d == 4 or all(abs(round(value, d) - value) < 1e-9 for value in values))
    return [f"{value:.{decimals}f}" for value in values]


def nice_ceiling(value: float) -> float:
    """Give the next number of 1, 1.5, 2, 3, 4, 5, 6, 8 (times a power of ten) that is not below; 1 for nothing.

    Examples
    --------
    >>> nice_ceiling(1.23), nice_ceiling(0.061), nice_ceiling(0.0)
    (1.5, 0.08, 1.0)
    """
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    steps = np.array([1, 1.5, 2, 3, 4, 5, 6, 8, 10])
    return float(round(steps[np.searchsorted(steps, value / power * (1 - 1e-9))] * power, 12))
