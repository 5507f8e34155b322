"""What ``meshdisent fit`` is given: raw scans, landmark files or photographs, told apart by their extension."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Int

from meshdisent.cli.template_landmarks import rows_on_template
from meshdisent.data.images.layouts.image_tree import EXTENSIONS as PHOTOS
from meshdisent.data.known_faces import find_landmarks
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.formats import READERS as MESHES
from meshdisent.mesh.landmark_files import READERS as LANDMARK_FILES
from meshdisent.mesh.landmark_files import Points

if TYPE_CHECKING:
    from meshdisent.mesh.target_surface import TargetSurface
    from meshdisent.morphable.contract import MorphableModel

_DATASET = re.compile(r"(.+\.(?:h5|hdf5)):(.+)")

Kind = Literal["scan", "landmarks", "image"]


def kind_of(text: str) -> Kind:
    """What an input is.

    Raises
    ------
    UsageError : If the extension is that of none.
    """
    suffix = Path(text).suffix.lower()
    if _DATASET.fullmatch(text) or suffix in MESHES:
        return "scan"
    if suffix in LANDMARK_FILES:
        return "landmarks"
    if suffix in PHOTOS:
        return "image"
    raise UsageError(
        f"{text} is neither a scan ({', '.join(MESHES)}), nor landmarks ({', '.join(LANDMARK_FILES)}), nor a picture "
        f"({', '.join(PHOTOS)}). Convert it, or correct its extension."
    )


def one_kind(texts: Sequence[str]) -> Kind:
    """The kind that all inputs share.

    Raises
    ------
    UsageError : If none is given, or they are of several kinds.
    """
    kinds = {kind_of(text) for text in texts}
    if len(kinds) != 1:
        found = " and ".join(sorted(kinds)) or "no input"
        raise UsageError(f"fit got {found}; wanted one or more INPUTs of one kind. Call it once for each kind.")
    return kinds.pop()


def surface_of(text: str, model: "MorphableModel", millimeters: float) -> "TargetSurface":
    """The surface of a scan in mm: a mesh file in its unit, or a scan of a dataset."""
    from meshdisent.cli.scan_arguments import read_scan
    from meshdisent.fitting.scan_points import scan_surface
    from meshdisent.mesh.mesh import Mesh

    if _DATASET.fullmatch(text):
        return scan_surface(Mesh(read_scan(text, model).vertices, model.topology.faces))
    return scan_surface(Mesh.read(text), millimeters)


def rows_of_names(path: Path | None, model: "MorphableModel") -> dict[str, int] | None:
    """The vertex of the model's template next to each named point of a file in mm; without a file, of those it knows.

    Raises
    ------
    DataError : If a point lies off the template.
    """
    if path is None:
        known = find_landmarks(model.topology)
        return None if known is None else known.rows
    return rows_on_template(path, model.topology)


def known_points(
    points: Points, on_model: dict[str, int] | None, path: Path
) -> tuple[Int[np.ndarray, " landmark"], np.ndarray]:
    """Vertices and places of the points that the model knows: by name, or by the number of the vertex.

    Raises
    ------
    DataError : If names are no numbers and nothing says which vertices they are, or no name is shared.
    """
    if (
        all(name.isdecimal() for name in points)
        and path.suffix.lower() != ".pts"
        and not points.keys() & (on_model or {})
    ):
        on_model = {name: int(name) for name in points}
    if on_model is None:
        raise DataError(
            f"{path} names {next(iter(points))!r}, and nothing says which vertex of the model that is; wanted "
            "numbers of vertices as names, or --template-landmarks with the same names."
        )
    names = [name for name in points if name in on_model]
    if not names:
        raise DataError(
            f"{path} ({', '.join(list(points)[:5])}, ...) and the template's landmarks "
            f"({', '.join(list(on_model)[:5])}, ...) share no name; wanted the same names for the same points."
        )
    return np.array([on_model[name] for name in names], dtype=np.int64), np.stack([points[name] for name in names])


def landmark_file_for(given: Path, scan: str, is_alone: bool) -> Path:
    """The landmark file of one scan: the file itself, or the one of its name in a folder.

    Raises
    ------
    UsageError : If a file is given for several scans.
    DataError : If the folder has no such file, or several.
    """
    if not given.is_dir():
        if not is_alone:
            raise UsageError(f"--landmarks is the file {given}, and there are several scans; give a folder of files.")
        return given
    stem = Path(scan).stem
    found = [given / f"{stem}{ending}" for ending in LANDMARK_FILES if (given / f"{stem}{ending}").is_file()]
    if len(found) != 1:
        raise DataError(f"{given} has {len(found)} landmark files called {stem}; wanted one for {scan}.")
    return found[0]
