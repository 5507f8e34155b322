"""A tree of images and lists as people unpack it, and how the lists in it are read."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meshdisent.data.layouts.base import natural_key
from meshdisent.data.layouts.tree import FoundFile, files_below, frame_number, kind_of
from meshdisent.errors import DataError

#: Extensions of photographs, in lower case, wherever files of them are asked for.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")


@dataclass(frozen=True)
class ImageTree:
    """The images and the other files below a folder; hidden files and what macOS leaves behind are counted only.

    Attributes
    ----------
    root : The folder.
    images, others : In natural order of their paths.
    passed_over : Other files by kind, those taken as lists excepted.
    """

    root: Path
    images: tuple[FoundFile, ...]
    others: tuple[FoundFile, ...]
    passed_over: Counter[str]

    @classmethod
    def below(cls, root: Path) -> "ImageTree":
        """Look through a folder.

        Raises
        ------
        DataError : If it is absent or holds no image.
        """
        if not root.is_dir():
            raise DataError(f"{root} is {'a file' if root.exists() else 'absent'}; wanted a folder. Check the name.")
        passed_over: Counter[str] = Counter()
        found = files_below((root,), passed_over)
        found.sort(key=lambda file: tuple(map(natural_key, file.parts)))
        images = tuple(file for file in found if file.extension in EXTENSIONS)
        others = tuple(file for file in found if file.extension not in EXTENSIONS)
        passed_over.update(map(kind_of, others))
        if not images:
            seen = ", ".join(f"{count} {kind}" for kind, count in passed_over.items()) or "nothing"
            raise DataError(f"{root} holds no image ({seen}); wanted {', '.join(EXTENSIONS)}. Check the folder.")
        return cls(root, images, others, passed_over)

    def list_file(self, name: str) -> Path:
        """The list of that name, anywhere in the tree; raises :class:`DataError` if it is absent or there are two."""
        path = self.list_file_or_none(name)
        if path is None:
            raise DataError(
                f"{self.root} has no {name}; wanted it anywhere in the folder, as the data set is published with it. "
                "Unpack it there, or give the folder above."
            )
        return path

    def list_file_or_none(self, name: str) -> Path | None:
        """The same, None where it is absent."""
        found = [file for file in self.others if file.parts[-1].casefold() == name.casefold()]
        if len(found) > 1:
            raise DataError(f"{self.root} has {found[0].path} and {found[1].path}; wanted one {name}. Take one away.")
        if not found:
            return None
        self.take(found[0])
        return found[0].path

    def take(self, file: FoundFile) -> None:
        """Count a file no longer among those that were passed over."""
        self.passed_over[kind_of(file)] -= 1
        if not self.passed_over[kind_of(file)]:
            del self.passed_over[kind_of(file)]


def numbered_frames(names: Sequence[str]) -> list[int]:
    """Frame numbers of the files of one sequence: the last number in each name; their places, where that names none.

    Examples
    --------
    >>> numbered_frames(["frame_2.jpg", "frame_10.jpg"]), numbered_frames(["a.jpg", "b.jpg"])
    ([2, 10], [0, 1])
    """
    numbers = [frame_number(Path(name).stem) for name in names]
    known = [number for number in numbers if number is not None and number <= np.iinfo(np.int32).max]
    return known if len(set(known)) == len(names) else list(range(len(names)))


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a list that are not empty, composed (NFC), with their numbers from 1.

    Raises
    ------
    DataError : If the file cannot be read or is no UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8"
        raise DataError(
            f"{path} cannot be read ({reason}); wanted a list, one entry a line. Save it as UTF-8."
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, unicodedata.normalize("NFC", line.strip())


def whole_number(text: str, path: Path, line: int, what: str, low: int, high: int) -> int:
    """A whole number out of a list.

    Raises
    ------
    DataError : If it is none, or outside ``low`` to ``high``; with file and line.

    Examples
    --------
    >>> whole_number("8", Path("labels.txt"), 3, "label", 1, 7)
    Traceback (most recent call last):
    ...
    meshdisent.errors.DataError: labels.txt, line 3: label is '8'; wanted 1 to 7. Correct the list.
    """
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise DataError(f"{path}, line {line}: {what} is {text!r}; wanted {low} to {high}. Correct the list.")
    return number


def fields(text: str, count: int, path: Path, line: int, wanted: str) -> list[str]:
    """The last ``count - 1`` fields of a line and what stands before them, which may hold spaces.

    Raises
    ------
    DataError : If there are fewer; with file and line.

    Examples
    --------
    >>> fields("my photo.jpg 3", 2, Path("labels.txt"), 1, "NAME LABEL")
    ['my photo.jpg', '3']
    """
    found = text.rsplit(None, count - 1)
    if len(found) < count:
        raise DataError(f"{path}, line {line} is {text!r}; wanted {wanted}. Correct the list.")
    return found
