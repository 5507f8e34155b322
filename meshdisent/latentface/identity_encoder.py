"""The plain alternative to the diffusion: residual blocks that map a latent straight to the identity latent.

The encoder-based method of LatentFace's ablation (table 4: 73.04 % against 75.26 % on RAF-DB). The paper says that it
is a ResNet and no more; here the blocks lie as in the denoiser, without noise, time, and the attention, which is none
on one pixel. Mean latents of drawn frames are noisy targets, and the squared error makes it answer their average.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from meshdisent.errors import RecipeError
from meshdisent.latentface.identity_model import IdentityModel, LatentRange, check_norm_groups


@dataclass(frozen=True, kw_only=True)
class IdentityEncoderConfig:
    """Sizes of an identity encoder; those of the published denoiser.

    Parameters
    ----------
    latent_size : Entries of a latent.
    width : Channels inside.
    norm_groups : Groups of each group norm; a group of one channel would have the same value whatever is shown.
    layers_per_block : Residual blocks on the way in; two more in the middle, and one more than that on the way out.

    Raises
    ------
    RecipeError : If a number is below 1, or the width is not at least twice the groups and a multiple of them.
    """

    latent_size: int = 256
    width: int = 128
    norm_groups: int = 32
    layers_per_block: int = 2

    def __post_init__(self) -> None:
        for name in ("latent_size", "layers_per_block"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set {name}.")
        check_norm_groups(self.width, self.norm_groups)


class IdentityEncoder(IdentityModel):
    """Identity latents without chance.

    Examples
    --------
    >>> encoder = IdentityEncoder(IdentityEncoderConfig(latent_size=6, width=8, norm_groups=2))
    >>> encoder.sample(torch.rand(3, 6)).shape
    torch.Size([3, 6])
    """

    def __init__(self, config: IdentityEncoderConfig):
        super().__init__()
        self.config = config
        self.latent_size = config.latent_size
        self.latent_range = LatentRange()
        width, groups, count = config.width, config.norm_groups, config.layers_per_block
        self.first = nn.Linear(config.latent_size, width)
        self.ways_in = nn.ModuleList(ResidualBlock(width, width, groups) for _ in range(count))
        self.middle = nn.Sequential(*(ResidualBlock(width, width, groups) for _ in range(2)))
        self.ways_out = nn.ModuleList(ResidualBlock(2 * width, width, groups) for _ in range(count + 1))
        self.last = nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), nn.Linear(width, config.latent_size))

    def forward(self, units: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """Unit identity latents of unit latents; see :class:`LatentRange`."""
        features = self.first(units)
        skipped = [features]
        for block in self.ways_in:
            features = block(features)
            skipped.append(features)
        features = self.middle(features)
        for block in self.ways_out:
            features = block(torch.cat([features, skipped.pop()], dim=1))
        return self.last(features)

    def training_loss(
        self,
        mean_latent: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Mean squared error in unit latents; nothing is drawn."""
        return (self(self.latent_range.to_unit(condition)) - self.latent_range.to_unit(mean_latent)).square().mean()

    def sample(
        self,
        condition: Float[Tensor, "batch latent"],
        *,
        noise: Float[Tensor, "draw batch latent"] | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        draws: int | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """Identity latents of latents; noise, generator, steps and draws change nothing."""
        return self.latent_range.from_unit(self(self.latent_range.to_unit(condition)))


class ResidualBlock(nn.Module):
    """Twice norm, SiLU and a linear map, beside the input, which a linear map brings to another width."""

    def __init__(self, channels_in: int, channels_out: int, groups: int):
        super().__init__()
        self.norm_1 = nn.GroupNorm(groups, channels_in)
        self.linear_1 = nn.Linear(channels_in, channels_out)
        self.norm_2 = nn.GroupNorm(groups, channels_out)
        self.linear_2 = nn.Linear(channels_out, channels_out)
        self.shortcut = nn.Identity() if channels_in == channels_out else nn.Linear(channels_in, channels_out)

    def forward(self, features: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch out"]:
        """The features, changed."""
        inner = self.linear_1(silu(self.norm_1(features)))
        return self.shortcut(features) + self.linear_2(silu(self.norm_2(inner)))
