"""What a mask says about the outline of a face, which colors cannot: the rasterizer has no slope across an edge.

Vertices that lie outside the mask are pulled to its nearest pixel, and places along its border pull the nearest vertex
of the face's own outline. Where the border of the mask is that of the photograph, nothing is pulled.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_erosion, distance_transform_edt

#: Places along the border of a mask, and the cosine below which a vertex belongs to the outline of a face.
_PLACES, _OUTLINE = 96, 0.2


@dataclass(frozen=True, eq=False)
class Outline:
    """A mask in the square around a face.

    Attributes
    ----------
    nearest : (S, S, 2) Place in the square (0 is its middle, 1 its width) of the pixel of the mask nearest to each
        pixel.
    is_outside : (S, S) Pixels of the photograph that are not in the mask.
    border : (N, 2) Places along its border.
    """

    nearest: Float[np.ndarray, "size size 2"]
    is_outside: Bool[np.ndarray, "size size"]
    border: Float[np.ndarray, "place 2"]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "size size"], inside: Bool[np.ndarray, "size size"]) -> "Outline":
        """Of a mask, and which pixels of the square belong to the photograph."""
        size = len(mask)
        rows = distance_transform_edt(~mask, return_distances=False, return_indices=True)
        nearest = (np.stack([rows[1], rows[0]], -1) + 0.5) / size - 0.5
        # A border pixel beside which the photograph goes on: not cut off by the photograph's own border.
        edge = mask & ~binary_erosion(mask, border_value=1) & binary_erosion(inside, iterations=2)
        v, u = np.nonzero(edge)
        chosen = np.unique(np.linspace(0, max(len(u) - 1, 0), _PLACES).round().astype(int))[: len(u)]
        border = (np.stack([u, v], -1)[chosen] + 0.5) / size - 0.5
        return cls(nearest, inside & ~mask, border)

    def pulls(
        self, places: Float[np.ndarray, "vertex 2"], facing: Float[np.ndarray, " vertex"]
    ) -> tuple[Int[np.ndarray, " pull"], Float[np.ndarray, "pull 2"]]:
        """Vertices that are pulled, and to where, for a face whose vertices are at these places."""
        size = len(self.is_outside)
        pixel = np.floor((places + 0.5) * size).astype(int)
        in_square = ((pixel >= 0) & (pixel < size)).all(1)
        column, row = pixel.clip(0, size - 1).T
        out = np.flatnonzero(in_square & self.is_outside[row, column] & (facing > 0))
        outline = np.flatnonzero(np.abs(facing) < _OUTLINE)
        if not len(outline) or not len(self.border):
            return out, self.nearest[row[out], column[out]]
        apart = np.linalg.norm(self.border[:, None] - places[outline][None], axis=2)
        near = outline[apart.argmin(1)]
        return np.concatenate([out, near]), np.concatenate([self.nearest[row[out], column[out]], self.border])
