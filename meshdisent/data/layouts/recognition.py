"""Which data set lies in a folder, by the names of its files: for whoever points the wrong layout at it."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from meshdisent.data.layouts import LAYOUTS
from meshdisent.data.layouts.base import Layout, Listing
from meshdisent.errors import DataError

_MOST_FILES, _MOST_PER_FOLDER, _DEEPEST = 3000, 24, 6  # a look takes well below a second in the largest data set

#: Data sets that lie as SUBJECT/SEQUENCE/FRAME, so that the layout ``folder`` finds the right names in them too.
_PLAIN = ("coma", "d3dfacs")


def find_scans(layout: Layout) -> Listing:
    """List the scans of a layout; where it finds none, or only names that mean nothing, say which layout fits.

    Raises
    ------
    DataError : As the layout says it, and which other layout the folder looks like.
    """
    try:
        listing = layout.find()
    except DataError as error:
        other = recognize(layout.raw)
        if other in (None, layout.name):
            raise
        raise DataError(f"{error} The folder looks like the layout {other}: meshdisent prepare {other}.") from error
    if layout.sign is None:
        other = recognize(layout.raw)
        if other is not None and other not in _PLAIN:
            raise DataError(
                f"{', '.join(map(str, layout.raw))} looks like the data set {other}, whose files the layout "
                f"{layout.name} would take for subjects and expressions with wrong names. Write: meshdisent prepare "
                f"{other}."
            )
    return listing


def recognize(folders: Sequence[Path]) -> str | None:
    """Name the layout that most files of the folders look like; None if they look like none.

    Only some files of each folder are looked at, and only their names.
    """
    signs = {name: layout.sign for name, layout in LAYOUTS.items() if layout.sign is not None}
    votes: Counter[str] = Counter()
    for folder in folders:
        for path in some_files(folder):
            votes.update(name for name, sign in signs.items() if sign.search(path))
    return votes.most_common(1)[0][0] if votes else None


def some_files(folder: Path) -> Iterator[str]:
    """A few files of each folder, breadth first, as whole paths with slashes."""
    waiting, count = [(folder.absolute(), 0)], 0
    while waiting and count < _MOST_FILES:
        here, depth = waiting.pop(0)
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # absent, a file, or not ours to read: nothing to recognize
            continue
        visible = [entry for entry in listed if not entry.name.startswith(".") and entry.name != "__MACOSX"]
        folders = [entry for entry in visible if entry.is_dir(follow_symlinks=False)]
        if depth < _DEEPEST:
            waiting += [(Path(entry.path), depth + 1) for entry in folders[:_MOST_PER_FOLDER]]
        files = [entry for entry in visible if not entry.is_dir()]
        for entry in files[:_MOST_PER_FOLDER]:
            count += 1
            yield Path(entry.path).as_posix()
