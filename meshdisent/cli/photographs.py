"""Photographs on a command line: each is used or named and left out, and gets a folder of its own."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from meshdisent.errors import DataError, MeshdisentError, UsageError

Made = TypeVar("Made")


def made_of_each(paths: Sequence[Path], make: Callable[[Path], Made]) -> tuple[list[tuple[Path, Made]], int]:
    """Each photograph that can be used with what ``make`` makes of it, and how many cannot, which are named.

    Raises
    ------
    UsageError : If the command line itself is wrong.
    DataError : If no photograph can be used.
    """
    made: list[tuple[Path, Made]] = []
    failed: list[str] = []
    for path in paths:
        try:
            made.append((path, make(path)))
        except UsageError:
            raise
        except MeshdisentError as error:
            failed.append(" ".join(str(error).split()))
    for message in failed:
        print(f"left out: {message}", file=sys.stderr)
    if not made:
        raise DataError(f"No photograph could be used. The first: {failed[0]}")
    return made, len(failed)


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A folder name for each photograph: its own, numbered where two have the same."""
    names: list[str] = []
    for path in paths:
        name, number = path.stem, 2
        while name in names:
            name, number = f"{path.stem}-{number}", number + 1
        names.append(name)
    return names
