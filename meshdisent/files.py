"""Output files that appear whole or not at all: written aside, flushed, then renamed.

Every file that the library writes goes through :func:`writing`.
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from meshdisent.errors import MeshdisentError, UsageError


@contextmanager
def writing(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends without an error.

    Parameters
    ----------
    path : The file to appear. Missing parent folders are made.
    overwrite : Replace an existing file.

    Raises
    ------
    UsageError : If ``path`` exists and ``overwrite`` is false, before anything is written.
    MeshdisentError : If the disk is full or the folder cannot be written.

    Examples
    --------
    >>> with writing(folder / "numbers.txt") as aside:
    ...     _ = aside.write_text("1 2 3")
    >>> (folder / "numbers.txt").read_text()
    '1 2 3'
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    handle, name = -1, ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept last: many writers choose the format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".partial{path.suffix}", dir=path.parent)
        os.close(handle)
        yield Path(name)
        # Only now: a temporary file is private, and some writers (safetensors) put a private one of their own there.
        os.chmod(name, 0o666 & ~_umask())
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, path)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise MeshdisentError(
                f"{path} could not be written: {error.strerror}. {_DISK_ERRORS[error.errno]}"
            ) from error
        raise
    finally:
        if name and os.path.exists(name):
            os.unlink(name)


@contextmanager
def writing_folder(path: str | os.PathLike, overwrite: bool = False) -> Iterator[Path]:
    """The same for a folder of results: filled aside, then renamed; with ``overwrite`` the old one is replaced."""
    path = Path(path)
    refuse_existing(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        os.chmod(aside, 0o777 & ~_umask())
        yield aside
        if path.exists():
            old = aside.with_suffix(".old")
            os.replace(path, old)
            os.replace(aside, path)
            shutil.rmtree(old)
        else:
            os.replace(aside, path)
    except OSError as error:
        if error.errno in _DISK_ERRORS:
            raise MeshdisentError(
                f"{path} could not be written: {error.strerror}. {_DISK_ERRORS[error.errno]}"
            ) from error
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove what a killed process left of a file that :func:`writing` was to write; nobody may be writing it now."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)


def refuse_existing(path: str | os.PathLike, overwrite: bool) -> None:
    """Raise :class:`UsageError` if ``path`` exists and may not be replaced. An empty folder counts as absent."""
    path = Path(path)
    if overwrite or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    raise UsageError(f"{path} exists already. Choose another name, or give --overwrite to replace it.")


_DISK_ERRORS = {
    28: "The disk is full; free some space and run the command again.",  # ENOSPC
    30: "The disk is read-only; choose another folder.",  # EROFS
    13: "Permission is missing; choose another folder.",  # EACCES
    122: "The disk quota is used up; free some space and run the command again.",  # EDQUOT
    20: "A part of the path is a file; choose another folder.",  # ENOTDIR
    21: "It is a folder; choose another name.",  # EISDIR
}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
