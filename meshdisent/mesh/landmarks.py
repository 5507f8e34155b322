"""Landmarks: vertices of a template whose places on a target surface are known by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError

_FEWEST = 3


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Vertices of a template and where they are on a target.

    Attributes
    ----------
    vertices : (L,) Rows of the template; three or more.
    points : (L, 3) Places in the target's frame, mm.
    """

    vertices: Int[np.ndarray, " landmark"]
    points: Float[np.ndarray, "landmark 3"]

    def __post_init__(self) -> None:
        if len(self.vertices) != len(self.points) or len(self.vertices) < _FEWEST:
            raise DataError(
                f"There are {len(self.vertices)} landmarks on the template and {len(self.points)} on the target; "
                f"wanted as many of each, {_FEWEST} or more, such as corners of eyes and mouth."
            )
        if not np.isfinite(self.points).all():
            raise DataError("A landmark on the target has a position that is not finite. Leave it out.")

    @classmethod
    def named(cls, on_template: Mapping[str, int], on_target: Mapping[str, Float[np.ndarray, "3"]]) -> "Landmarks":
        """The landmarks that have a name in both tables; others are left out.

        Examples
        --------
        >>> table = {"nose": 7, "left eye": 2, "right eye": 4, "chin": 0}
        >>> seen = {"left eye": np.zeros(3), "nose": np.ones(3), "right eye": np.ones(3), "ear": np.zeros(3)}
        >>> Landmarks.named(table, seen).vertices
        array([2, 7, 4])
        """
        names = sorted(set(on_template) & set(on_target))
        if len(names) < _FEWEST:
            raise DataError(
                f"The landmarks of the template ({', '.join(sorted(on_template)) or 'none'}) and of the target "
                f"({', '.join(sorted(on_target)) or 'none'}) share {len(names)} names; wanted {_FEWEST} or more."
            )
        rows = np.array([on_template[name] for name in names], dtype=np.int64)
        return cls(rows, np.array([on_target[name] for name in names], dtype=np.float64))

    def check(self, vertex_count: int) -> None:
        """Raise :class:`DataError` if a landmark is no vertex of the template."""
        if self.vertices.min() < 0 or self.vertices.max() >= vertex_count:
            wrong = int(self.vertices.max()) if self.vertices.max() >= vertex_count else int(self.vertices.min())
            raise DataError(f"A landmark names vertex {wrong} of the template, which has 0 to {vertex_count - 1}.")
