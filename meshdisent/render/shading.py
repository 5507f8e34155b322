"""Light on a matte surface: everywhere the same, and from one side (LatentFace; Unsup3D, Wu et al. 2020)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Light:
    """Light for each of several pictures.

    Attributes
    ----------
    ambient, diffuse : (B,) Strength of the light from everywhere, and from one side.
    direction : (B, 3) Unit vectors that the light travels along, in the camera's frame: z is positive.
    """

    ambient: Float[Tensor, " batch"]
    diffuse: Float[Tensor, " batch"]
    direction: Float[Tensor, "batch 3"]

    @classmethod
    def of(cls, raw: Float[Tensor, "batch 4"]) -> "Light":
        """What a network says (-1 .. 1): ambient, diffuse, and where the light comes from, sideways and vertically."""
        sideways = torch.cat([raw[:, 2:], torch.ones_like(raw[:, :1])], 1)
        return cls(
            ambient=(1 + raw[:, 0]) / 2,
            diffuse=(1 + raw[:, 1]) / 2,
            direction=sideways / (sideways.square().sum(1, keepdim=True)).sqrt(),
        )


def shading(normals: Float[Tensor, "batch height width 3"], light: Light) -> Float[Tensor, "batch height width"]:
    """:math:`a + b \\max(0, n \\cdot l)`; normals point away from the camera, as the light does."""
    facing = torch.einsum("bhwc,bc->bhw", normals, light.direction).clamp(min=0)
    return light.ambient[:, None, None] + light.diffuse[:, None, None] * facing


def lit(
    albedo: Float[Tensor, "batch 3 height width"], shade: Float[Tensor, "batch height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """Colors (-1 .. 1) under light; not clamped, as published."""
    return (albedo / 2 + 0.5) * shade[:, None] * 2 - 1
