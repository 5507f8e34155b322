"""Which vertex of a mesh a click hits, and the landmarks that are picked so."""

import json

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import UsageError

Vertices = Float[np.ndarray, "vertex 3"]


def hit_vertex(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    origin: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
) -> int | None:
    """The corner next to where a ray first hits a triangle; None if it hits none.

    All triangles at once (Moeller and Trumbore 1997), seen from both sides.

    Examples
    --------
    >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    >>> hit_vertex(square, np.array([[0, 1, 2], [0, 2, 3]]), np.array([0.9, 0.2, 5.0]), np.array([0.0, 0, -1]))
    1
    """
    corners = vertices[faces].astype(np.float64)  # (F, 3, 3)
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(direction, second)
    volume = (first * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        begin = origin - corners[:, 0]
        u = (begin * across).sum(1) / volume
        turned = np.cross(begin, first)
        v = (turned @ direction) / volume
        along = (second * turned).sum(1) / volume
        is_hit = (np.abs(volume) > 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (along > 0)
    if not is_hit.any():
        return None
    nearest = int(np.where(is_hit, along, np.inf).argmin())
    point = origin + along[nearest] * direction
    return int(faces[nearest][np.linalg.norm(corners[nearest] - point, axis=1).argmin()])


class PickedLandmarks:
    """Named vertices, in the order in which they were picked.

    Examples
    --------
    >>> picked = PickedLandmarks()
    >>> picked.add("tip of the nose", 3)
    >>> picked.next_name()
    'point 2'
    """

    def __init__(self) -> None:
        self.vertex_of: dict[str, int] = {}

    def add(self, name: str, vertex: int) -> None:
        """Name a vertex; a name that is there already moves to it.

        Raises
        ------
        UsageError : If the name is empty.
        """
        name = " ".join(name.split())
        if not name:
            raise UsageError("The point has no name; write one into the field before you click.")
        self.vertex_of.pop(name, None)
        self.vertex_of[name] = int(vertex)

    def undo(self) -> None:
        """Forget the last one, if there is one."""
        if self.vertex_of:
            self.vertex_of.popitem()

    def clear(self) -> None:
        """Forget all."""
        self.vertex_of.clear()

    def next_name(self) -> str:
        """A name that is free."""
        number = len(self.vertex_of) + 1
        while f"point {number}" in self.vertex_of:
            number += 1
        return f"point {number}"

    def points(self, vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "landmark 3"]:
        """(L, 3) Where they are on a face, mm."""
        return vertices[np.array(list(self.vertex_of.values()), dtype=np.int64)]

    def to_json(self, vertices: Float[np.ndarray, "vertex 3"]) -> str:
        """A file that ``meshdisent register --landmarks`` reads: name, point in mm, and the vertex beside it.

        Raises
        ------
        UsageError : If nothing was picked.
        """
        if not self.vertex_of:
            raise UsageError("No point was picked; wanted at least one. Click on the face first.")
        rows = [
            {"name": name, "point": [round(float(x), 4) for x in point], "vertex": vertex}
            for (name, vertex), point in zip(self.vertex_of.items(), self.points(vertices), strict=True)
        ]
        return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
