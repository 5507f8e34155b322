"""Where a head is, and how it is turned: from its frontal frame into a view and back.

Both frames are the camera's (x right, y down, z forward). A head turns about a point on the optical axis, at depth 1 in
LatentFace, by :math:`R = R_z R_y R_x`, and moves by t: :math:`P' = R (P - c) + c + t` (Unsup3D, Wu et al. 2020).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class View:
    """Turns and moves of heads.

    Attributes
    ----------
    rotation : (B, 3, 3)
    translation : (B, 3) In the unit of the points.
    center : Depth of the point on the optical axis about which heads turn.
    """

    rotation: Float[Tensor, "batch 3 3"]
    translation: Float[Tensor, "batch 3"]
    center: float = 1.0

    @classmethod
    def of(cls, angles_and_moves: Float[Tensor, "batch 6"], center: float = 1.0) -> "View":
        """Views of three angles about x, y and z in radians, and three moves along them."""
        return cls(
            rotation=rotation_matrix(angles_and_moves[:, :3]), translation=angles_and_moves[:, 3:], center=center
        )

    def apply(self, points: Float[Tensor, "batch *point 3"]) -> Float[Tensor, "batch *point 3"]:
        """Points of the frontal frame, in the view."""
        flat = points.flatten(1, -2)
        center = self._center(points)
        moved = (flat - center) @ self.rotation.mT + center + self.translation[:, None]
        return moved.reshape(points.shape)

    def undo(self, points: Float[Tensor, "batch *point 3"]) -> Float[Tensor, "batch *point 3"]:
        """Points of the view, in the frontal frame."""
        flat = points.flatten(1, -2)
        center = self._center(points)
        moved = (flat - self.translation[:, None] - center) @ self.rotation + center
        return moved.reshape(points.shape)

    def _center(self, points: Tensor) -> Tensor:
        return points.new_tensor([0.0, 0.0, self.center])


def scaled_view(
    raw: Float[Tensor, "batch 6"], degrees: float = 60.0, sideways: float = 0.1, forward: float = 0.0
) -> Float[Tensor, "batch 6"]:
    """What a network says about the view (-1 .. 1) as angles in radians and moves; faces do not move ``forward``."""
    turn = math.radians(degrees)
    return raw * raw.new_tensor([turn, turn, turn, sideways, sideways, forward])


def rotation_matrix(angles: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """:math:`R_z R_y R_x` of angles in radians about x, y and z."""
    cos, sin = angles.cos(), angles.sin()
    one, zero = torch.ones_like(cos[:, 0]), torch.zeros_like(cos[:, 0])

    def matrix(*entries: Tensor) -> Tensor:
        return torch.stack(entries, -1).reshape(-1, 3, 3)

    (cx, cy, cz), (sx, sy, sz) = cos.unbind(-1), sin.unbind(-1)
    about_x = matrix(one, zero, zero, zero, cx, -sx, zero, sx, cx)
    about_y = matrix(cy, zero, sy, zero, one, zero, -sy, zero, cy)
    about_z = matrix(cz, -sz, zero, sz, cz, zero, zero, zero, one)
    return about_z @ about_y @ about_x
