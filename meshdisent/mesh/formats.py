"""Which function reads and writes which mesh file: the two dicts that every choice of format comes from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshdisent.errors import MeshError
from meshdisent.mesh.obj import read_obj, write_obj
from meshdisent.mesh.ply import read_ply, write_ply
from meshdisent.mesh.wrl import read_wrl

READERS = {".obj": read_obj, ".ply": read_ply, ".wrl": read_wrl}
WRITERS = {".obj": write_obj, ".ply": write_ply}


def by_extension(table: Mapping[str, Any], path: str | os.PathLike) -> Any:
    """Pick the entry for the extension of ``path``.

    Raises
    ------
    MeshError : If the extension is not in the table.
    """
    extension = Path(path).suffix.lower()
    if extension not in table:
        raise MeshError(
            f"{path} has the extension {extension!r}; wanted one of {', '.join(table)}. Convert the mesh, or rename "
            "the file if it is one of these."
        )
    return table[extension]
