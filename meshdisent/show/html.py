"""A report as one HTML file: no scripts, nothing fetched from anywhere, readable on a phone, in the dark and on paper.

    report = Report("WSDF on faces.h5", summary=["90 unseen subjects."])
    section = report.section("Accuracy")
    section.table(Table([Column("E_avd", "mm")], [Row("WSDF", [0.86], "model"), Row("PCA", [0.91])]))
    section.picture(sheet(...), alt="...", caption="...")
    report.write("report.html")

All text is escaped: names come from files, and files come from anywhere.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

from meshdisent.files import writing
from meshdisent.show.animation import encode_gif
from meshdisent.show.pictures import encode_png
from meshdisent.show.tables import Column, Row, Table

__all__ = ["Column", "Report", "Row", "Section", "Table", "Tile"]

# Wider pictures are shrunk: no page shows more, and a report should fit in a mail.
WIDEST = 2000


@dataclass(frozen=True)
class Text:
    """A paragraph, or a warning."""

    text: str
    kind: str = "text"


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture inside the file, with what it shows in words."""

    data: str
    width: int
    height: int
    alt: str
    caption: str = ""
    media_type: str = "image/png"


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side where there is room."""

    pictures: Sequence[EmbeddedPicture]
    kind: str = field(default="pictures", init=False)


@dataclass(frozen=True)
class Tile:
    """One number that a reader sees first."""

    name: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass
class Section:
    """A heading and what follows it, in the order in which it is added."""

    title: str
    blocks: list[Text | Table | Pictures] = field(default_factory=list)

    def text(self, text: str) -> None:
        """Add paragraphs; a blank line begins a new one."""
        self.blocks += [Text(part.strip()) for part in text.split("\n\n") if part.strip()]

    def warning(self, text: str) -> None:
        """Add a warning that cannot be overlooked."""
        self.blocks.append(Text(text, kind="warning"))

    def table(self, table: Table) -> None:
        """Add a table."""
        self.blocks.append(table)

    def picture(self, picture: np.ndarray, alt: str, caption: str = "") -> None:
        """Add a (height, width, 3) uint8 picture; ``alt`` says in words what it shows."""
        self.blocks.append(Pictures([embed(picture, alt, caption)]))

    def pictures(self, pictures: Sequence[EmbeddedPicture]) -> None:
        """Add several pictures, made by :func:`embed` and :func:`embed_gif`, side by side where there is room."""
        self.blocks.append(Pictures(list(pictures)))

    def gif(
        self, frames: Sequence[np.ndarray], alt: str, caption: str = "", *, fps: float = 12.0, ping_pong: bool = True
    ) -> None:
        """Add an animation of (height, width, 3) uint8 frames."""
        self.blocks.append(Pictures([embed_gif(frames, alt, caption, fps=fps, ping_pong=ping_pong)]))


@dataclass
class Report:
    """A report that grows section by section and is written once.

    Attributes
    ----------
    title : Heading of the page.
    summary : Lines below it: what this is about and what came out.
    tiles : The few numbers that a reader wants first.
    warnings : Shown above everything else.
    reproduction : What is needed to get the same numbers again: command, recipe, seed, versions, hash of the data.
    footer : Last line.
    """

    title: str
    summary: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
    warnings: list[str] = field(default_factory=list)
    reproduction: Mapping[str, object] = field(default_factory=dict)
    footer: str = "Made by meshdisent. This file is complete: it can be mailed, archived and opened offline."
    sections: list[Section] = field(default_factory=list)

    def section(self, title: str, text: str = "") -> Section:
        """Begin a section, with paragraphs if given; what is added to the result appears in it."""
        section = Section(title)
        section.text(text)
        self.sections.append(section)
        return section

    def warning(self, text: str) -> None:
        """Add a warning at the top of the page."""
        self.warnings.append(text)

    def html(self) -> str:
        """Give the page as text."""
        from jinja2 import Environment, StrictUndefined

        source = files(__package__).joinpath("report.html.j2").read_text(encoding="utf-8")
        environment = Environment(autoescape=True, undefined=StrictUndefined)
        return environment.from_string(source).render(report=self) + "\n"

    def write(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write the page, whole or not at all.

        Raises
        ------
        UsageError : If the file exists and ``overwrite`` is false.
        """
        page = self.html()
        with writing(path, overwrite) as aside:
            aside.write_text(page, encoding="utf-8")


def embed(picture: np.ndarray, alt: str, caption: str = "") -> EmbeddedPicture:
    """Put a (height, width, 3) uint8 picture into a form that a page can hold; shrunk if very wide."""
    from PIL import Image

    height, width = picture.shape[:2]
    if width > WIDEST:
        size = (WIDEST, round(height * WIDEST / width))
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
        height, width = picture.shape[:2]
    return EmbeddedPicture(base64.b64encode(encode_png(picture)).decode(), width, height, alt, caption)


def embed_gif(
    frames: Sequence[np.ndarray], alt: str, caption: str = "", *, fps: float = 12.0, ping_pong: bool = True
) -> EmbeddedPicture:
    """Put frames, as an endless animation, into a form that a page can hold."""
    data = base64.b64encode(encode_gif(frames, fps, ping_pong=ping_pong)).decode()
    return EmbeddedPicture(data, frames[0].shape[1], frames[0].shape[0], alt, caption, media_type="image/gif")
