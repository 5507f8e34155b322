r"""The denoiser of the representation diffusion: a UNet of ``diffusers`` on one pixel (LatentFace, figure 14).

The channels of the pixel are the noisy latent and the latent of an image; the output is the clean latent. Nothing is
up- or downsampled. On one pixel a padded 3 x 3 convolution uses its central weights only and attention is a linear map,
so this is a perceptron of residual blocks, eight ninths of whose 3 x 3 weights never act. They are kept, because with
them published weights fit: on two CPU cores, 16 latents take 3.7 ms a call, with central weights alone 2.6 ms
(256 latents: 11.5 and 9.8 ms; a training step of 16: 13.9 and 8.2 ms).
"""

import math
from importlib import import_module
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.errors import UsageError


class Denoiser(nn.Module):
    """From a noisy latent, the condition and the time to the clean latent.

    Parameters
    ----------
    latent_size : Entries of a latent.
    width : Channels inside.
    norm_groups : Groups of each group norm.
    attention_head_size : Channels of a head of the attention in the middle.
    layers_per_block : Residual blocks on the way in; one more on the way out.

    Raises
    ------
    UsageError : If the package ``diffusers`` is missing.
    """

    def __init__(
        self, latent_size: int, width: int, norm_groups: int, attention_head_size: int, layers_per_block: int
    ) -> None:
        super().__init__()
        self.unet = diffusers_class("UNet2DModel")(
            sample_size=1,
            in_channels=2 * latent_size,
            out_channels=latent_size,
            down_block_types=("DownBlock2D",),
            up_block_types=("UpBlock2D",),
            block_out_channels=(width,),
            layers_per_block=layers_per_block,
            attention_head_dim=attention_head_size,
            norm_num_groups=norm_groups,
            norm_eps=1e-5,
        )
        self.unet.time_proj = TimeSinusoid(width)

    def forward(
        self,
        noisy: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        time: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch latent"]:
        """Clean latents."""
        pixel = torch.cat([noisy, condition], dim=1)[:, :, None, None]  # (B, 2 L, 1, 1)
        return self.unet(pixel, time, return_dict=False)[0].flatten(start_dim=1)


class TimeSinusoid(nn.Module):
    r"""Steps of time as waves, cosines first.

    .. math:: (\cos(t f_k), \sin(t f_k)), \quad f_k = 10000^{-k/n}, \; k = 0, \ldots, n - 1

    In double precision: that of ``diffusers``, which it replaces, computes angles up to 999 in single precision and is
    off by up to 5e-5.
    """

    def __init__(self, width: int):
        super().__init__()
        self.count = width // 2

    def forward(self, time: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """Waves at these steps."""
        exponent = torch.arange(self.count, dtype=torch.float64, device=time.device) / self.count
        angle = time.double()[:, None] * torch.exp(-math.log(10000) * exponent)
        return torch.cat([angle.cos(), angle.sin()], dim=1)


def diffusers_class(name: str) -> Any:
    """A class of the package ``diffusers``, whose import takes two seconds.

    Raises
    ------
    UsageError : If the package is missing or broken.
    """
    try:
        return getattr(import_module("diffusers"), name)
    # A torchvision that does not fit torch makes it fail with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"Representation diffusion needs the package diffusers, which could not be imported "
            f'({shorten(str(error), 200)}). Install it: pip install "meshdisent[image]".'
        ) from error
