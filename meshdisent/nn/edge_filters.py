"""Features of pictures that need no weights: contrast along edges, at two scales and four directions.

Derivatives of Gaussians across four directions, their magnitude, averaged: what a first layer of a scattering network
computes (Bruna and Mallat 2013). A picture that is a little off in place or light has nearly the same features, and one
whose edges lie elsewhere has not; that is what a perceptual loss is for where no trained network is at hand.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

#: Widths of the Gaussians in pixels, and directions of each.
_SCALES, _DIRECTIONS = (1.0, 2.0), 4


class EdgeFilters(nn.Module):
    """Contrast along edges: pictures in -1 .. 1 to features of a quarter of their size. Has no weights to train.

    Examples
    --------
    >>> EdgeFilters()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 24, 16, 16])
    """

    feature_size = 3 * len(_SCALES) * _DIRECTIONS

    def __init__(self) -> None:
        super().__init__()
        angles = torch.arange(_DIRECTIONS) * math.pi / _DIRECTIONS
        self.directions: Tensor
        self.register_buffer("directions", torch.stack([angles.cos(), angles.sin()], 1), persistent=False)

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature h w"]:
        """Features (B, 24, H/4, W/4)."""
        batch, _, height, width = pictures.shape
        slopes = torch.cat([_slopes(pictures.reshape(-1, 1, height, width), scale) for scale in _SCALES])
        # A derivative across any direction is a mix of those across two.
        edges = torch.einsum("dc,nchw->ndhw", self.directions, slopes)
        # Smooth where it is 0, so that a flat picture has a gradient.
        strength = functional.avg_pool2d((edges.square() + 1e-4).sqrt() - 1e-2, 4)
        parts = strength.reshape(len(_SCALES), batch, -1, height // 4, width // 4)
        return parts.transpose(0, 1).flatten(1, 2)


def _slopes(pictures: Float[Tensor, "picture 1 height width"], scale: float) -> Float[Tensor, "picture 2 height width"]:
    """Steps of blurred pictures across and down, in colors: a step of height 1 across gives 1 at its middle."""
    reach = math.ceil(2.5 * scale)
    at = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    blur = torch.exp(-at.square() / (2 * scale * scale))
    slope = at * blur
    blur, slope = blur / blur.sum(), slope / slope.clamp(min=0).sum()
    padded = functional.pad(pictures, (reach,) * 4, mode="reflect")
    across = functional.conv2d(padded, torch.stack([slope, blur])[:, None, None])  # slope, then blur, along rows
    down = torch.stack([blur, slope])[:, None, :, None]
    return functional.conv2d(across, down, groups=2)
