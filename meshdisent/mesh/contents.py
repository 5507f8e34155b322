"""The bytes of a mesh file, or one clear line that says why there are none."""

import os
import tokenize
import zipfile
import zlib
from pathlib import Path

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
