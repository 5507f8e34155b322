"""Named points on a template, and points of a scan: what landmark files must hold for either."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from meshdisent.errors import DataError
from meshdisent.mesh.landmark_files import Points, read_landmark_file

if TYPE_CHECKING:
    from meshdisent.mesh.topology import Topology

_FARTHEST_MM = 15.0


def rows_on_template(path: Path, topology: "Topology") -> dict[str, int]:
    """The vertex of the template next to each named point of a file in mm.

    Raises
    ------
    DataError : If points are not in space, or one lies off the template.
    """
    points = read_points(path)
    distance, rows = cKDTree(topology.template).query(np.stack(list(points.values())))
    if distance.max() > _FARTHEST_MM:
        name = list(points)[int(distance.argmax())]
        raise DataError(
            f"{path}: {name!r} is {distance.max():.0f} mm from the template; wanted points on it, in mm. Pick them on "
            "the template itself."
        )
    return dict(zip(points, rows.tolist(), strict=True))


def read_points(path: Path) -> Points:
    """The named points of a file, with three coordinates each.

    Raises
    ------
    DataError : If they are points of a picture.
    """
    points = read_landmark_file(path)
    if any(len(place) != 3 for place in points.values()):
        raise DataError(f"{path} has points of a picture, with two coordinates; wanted points in space, with three.")
    return points
