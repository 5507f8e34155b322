"""Which image data set lies in a folder, by the names of its files: for whoever points the wrong layout at it."""

from collections import Counter
from pathlib import Path

from meshdisent.data.images.layouts import IMAGE_LAYOUTS
from meshdisent.data.images.layouts.base import ImageLayout, ImageListing
from meshdisent.data.layouts.recognition import some_files
from meshdisent.errors import DataError

#: Data sets whose folders are subjects, so that the layout ``folder`` finds right names in them too.
_PLAIN = ("lfw", "sllfw", "voxceleb")


def find_images(layout: ImageLayout, root: Path) -> ImageListing:
    """List the images of a layout; where it finds none, or names that mean nothing, say which layout fits.

    Raises
    ------
    DataError : As the layout says it, and which other layout the folder looks like.
    """
    try:
        listing = layout.find(root)
    except DataError as error:
        other = recognize_images(root)
        if other in (None, layout.name):
            raise
        raise DataError(f"{error} The folder looks like the layout {other}.") from error
    other = recognize_images(root) if layout.sign is None else None
    if other is not None and other not in _PLAIN:
        raise DataError(
            f"{root} looks like the data set {other}, whose folders the layout {layout.name} would take for subjects. "
            f"Give the layout {other}."
        )
    return listing


def recognize_images(root: Path) -> str | None:
    """Name the layout that most files below a folder look like; None if they look like none."""
    signs = {name: layout.sign for name, layout in IMAGE_LAYOUTS.items() if layout.sign is not None}
    votes: Counter[str] = Counter()
    for path in some_files(root):
        votes.update(name for name, sign in signs.items() if sign.search(path))
    return votes.most_common(1)[0][0] if votes else None
