"""The bytes of a mesh file, or one clear line that says why there are none."""

import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from meshdisent.errors import MeshError

#: What numpy and zipfile raise on an archive of arrays that is none, is damaged, or holds objects.
ARCHIVE_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,  # NotImplementedError among them: a method or a version that zipfile does not have
    MemoryError,
    SyntaxError,  # the head of an array is read as Python's literals, by its tokenizer
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


#: Archives of arrays that would unpack to more are refused unread; a FLAME model has 250 MB, a map of two heads 20.
MOST_UNPACKED = 2**30


def read_archive(
    file: io.BytesIO | io.BufferedReader, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray | None]:
    """The arrays of an ``.npz`` by name, None for those that are not wanted; nothing in it can run.

    Raises
    ------
    ValueError : If it would unpack to more than a gigabyte; any of ARCHIVE_DAMAGE if it is no archive of arrays.
    """
    with zipfile.ZipFile(file) as members:
        size = sum(member.file_size for member in members.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(f"it would unpack to {size:,} bytes; wanted at most {MOST_UNPACKED:,}")
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] if wanted(name) else None for name in stored.files}


def file_contents(path: str | os.PathLike) -> bytes:
    """Read a whole file.

    Raises
    ------
    MeshError : If the file is absent, empty, a folder, or may not be read.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MeshError(f"{path} does not exist; wanted a mesh file. Check the name and the folder.") from error
    except IsADirectoryError as error:
        raise MeshError(f"{path} is a folder; wanted one mesh file. Name a file inside it.") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have, with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise MeshError(f"{path} cannot be read: {reason}. Wanted a mesh file that this user may read.") from error
    if not content:
        raise MeshError(f"{path} is empty (0 bytes); wanted a mesh. Copy or export it again.")
    return content
