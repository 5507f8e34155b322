"""Pinhole cameras, pixels to rays and back; the frame of a camera is x right, y down, z forward.

The center of the pixel in row r and column c is the point (c, r), as in Unsup3D (Wu et al. 2020), whose intrinsics
:meth:`Camera.of_field_of_view` gives: the outermost pixel centers lie on the border of the field of view.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera.

    Attributes
    ----------
    height, width : Pixels.
    focal : Focal length, pixels; pixels are square.
    center_u, center_v : Where the optical axis meets the picture, pixels: column and row.
    """

    height: int
    width: int
    focal: float
    center_u: float
    center_v: float

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UsageError(f"A camera has {self.height} x {self.width} pixels; wanted at least one each way.")
        if not (math.isfinite(self.focal) and self.focal > 0):
            raise UsageError(f"A camera has a focal length of {self.focal} pixels; wanted a positive number.")

    @classmethod
    def of_field_of_view(cls, size: int, degrees: float = 10.0) -> "Camera":
        """A square picture whose outermost pixel centers are ``degrees`` apart.

        Examples
        --------
        >>> round(Camera.of_field_of_view(64).focal, 2)
        360.05
        """
        if size < 2 or not 0 < degrees < 180:
            raise UsageError(
                f"A camera was asked for {size} pixels and a field of view of {degrees} degrees; "
                "wanted at least 2 pixels, and more than 0 and less than 180 degrees."
            )
        middle = (size - 1) / 2
        focal = middle / math.tan(math.radians(degrees) / 2)
        return cls(height=size, width=size, focal=focal, center_u=middle, center_v=middle)

    def project(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 2"]:
        """Pixels (column, row) of points in the camera's frame; z must not be 0."""
        x, y, z = points.unbind(-1)
        return torch.stack([self.focal * x / z + self.center_u, self.focal * y / z + self.center_v], -1)

    def rays(self, like: Tensor) -> Float[Tensor, "height width 3"]:
        """The point at depth 1 that each pixel center sees, of the type and on the device of ``like``."""
        columns = (torch.arange(self.width, dtype=like.dtype, device=like.device) - self.center_u) / self.focal
        rows = (torch.arange(self.height, dtype=like.dtype, device=like.device) - self.center_v) / self.focal
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([x, y, torch.ones_like(x)], -1)
