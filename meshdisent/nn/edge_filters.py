"""Features of pictures that need no weights: contrast along edges, at two scales and four directions.

Derivatives of Gaussians across four directions, their magnitude, smoothed: what a first layer of a scattering network
computes (Bruna and Mallat 2013). A picture that is a little off in place or light has nearly the same features, and one
whose edges lie elsewhere has not; that is what a perceptual loss is for where no trained network is at hand.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

#: Width of the Gaussians in pixels, and directions of each.
_SCALES, _DIRECTIONS = (1.0, 2.0), 4


class EdgeFilters(nn.Module):
    """Contrast along edges: pictures in -1 .. 1 to features of a quarter of their size. Has no weights to train.

    Examples
    --------
    >>> EdgeFilters()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 24, 16, 16])
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Tensor
        kernels = torch.cat([_derivatives(scale, _DIRECTIONS) for scale in _SCALES])
        self.register_buffer("kernels", kernels[:, None], persistent=False)
        self.feature_size = 3 * len(kernels)

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch feature h w"]:
        """Features (B, 24, H/4, W/4)."""
        batch, _, height, width = pictures.shape
        reach = self.kernels.shape[-1] // 2
        padded = functional.pad(pictures.reshape(-1, 1, height, width), (reach,) * 4, mode="reflect")
        edges = functional.conv2d(padded, self.kernels)
        # Smooth where it is 0, so that a flat picture has a gradient.
        strength = (edges.square() + 1e-4).sqrt() - 1e-2
        return functional.avg_pool2d(strength, 4).reshape(batch, -1, height // 4, width // 4)


def _derivatives(scale: float, directions: int) -> Float[Tensor, "direction size size"]:
    """Derivatives of a Gaussian across some directions, of sum 0; a step of height 1 across gives 1 at its middle."""
    reach = math.ceil(2.5 * max(_SCALES))
    down, across = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
    blur = torch.exp(-(down.square() + across.square()) / (2 * scale * scale))
    angles = torch.arange(directions) * math.pi / directions
    slopes = angles.cos()[:, None, None] * across + angles.sin()[:, None, None] * down
    kernels = slopes * blur
    # Over one half of the plane the kernel sums up to the answer to a step of height 1.
    return kernels / kernels.clamp(min=0).sum((1, 2), keepdim=True)
