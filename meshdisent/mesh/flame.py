"""The template of FLAME (Li et al. 2017): its mean head, out of a ``.pkl`` or ``.npz`` of the model.

Neither chumpy nor anything in the file is needed or run. CoMA, D3DFACS and other registrations to FLAME have this
topology: 5,023 vertices, 9,976 triangles. The files are in meters; what is given back is in millimeters.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from meshdisent.errors import MeshError
from meshdisent.mesh.array_pickle import ArrayPickle
from meshdisent.mesh.contents import ARCHIVE_DAMAGE, file_contents, read_archive
from meshdisent.mesh.mesh import Mesh

FLAME_EXTENSIONS = (".pkl", ".npz")
VERTEX_COUNT, SKIN_COUNT = 5023, 3931  # the eyeballs stand last, 546 vertices each
MM_PER_METER = 1000.0


def read_template(path: str | os.PathLike, mm_per_unit: float = 1.0) -> Mesh:
    """Read a mesh file in the given unit, or the template of a FLAME model, whose unit is known; in mm."""
    if Path(path).suffix.lower() in FLAME_EXTENSIONS:
        return read_flame_template(path)
    mesh = Mesh.read(path)
    with np.errstate(over="ignore", invalid="ignore"):
        return mesh if mm_per_unit == 1.0 else mesh.with_vertices(mesh.vertices * mm_per_unit)


def read_flame_template(path: str | os.PathLike) -> Mesh:
    """Read ``v_template`` and ``f`` of a FLAME model, in mm.

    Parameters
    ----------
    path : ``generic_model.pkl``, ``flame2023.pkl`` or an ``.npz`` with the same names.

    Raises
    ------
    MeshError : If the file is damaged, holds anything but arrays and sparse matrices, or is no model with a template;
        what it names or lacks is said.
    """
    arrays: Mapping[str, Any] = ArrayPickle(path) if Path(path).suffix.lower() == ".pkl" else _open_npz(path)
    lacking = [name for name in ("v_template", "f") if name not in arrays]
    if lacking:
        raise MeshError(
            f"{path} has no {' and no '.join(lacking)}; it has {', '.join(sorted(arrays)[:8]) or 'nothing'}. Wanted a "
            "FLAME model such as generic_model.pkl; textures, masks and landmarks are other files."
        )
    try:
        vertices, faces = (np.asarray(arrays[name]) for name in ("v_template", "f"))
        if faces.dtype.kind == "f" and np.array_equal(faces, np.rint(faces)):  # some files store indices as floats
            faces = faces.astype(np.int64)
        with np.errstate(over="ignore", invalid="ignore"):  # the mesh says which vertex is not finite
            return Mesh(vertices * MM_PER_METER, faces)
    except (MeshError, TypeError, ValueError) as error:
        raise MeshError(f"{path} is no FLAME model: {error}") from error


def _open_npz(path: str | os.PathLike) -> Mapping[str, Any]:
    """The two arrays of an ``.npz``; what else is in it stays unread, None."""
    content = io.BytesIO(file_contents(path))
    try:
        return read_archive(content, ("v_template", "f").__contains__)
    except ARCHIVE_DAMAGE as error:
        raise MeshError(
            f"{path} could not be read as the .npz of a FLAME model ({' '.join(str(error).split())[:200]}). Download "
            "it again, and make sure that it holds plain arrays."
        ) from error
