"""What finds the identity in a latent: the interface, and the range of numbers that its networks work in.

A latent is the code of one image, of texture or of shape, and depends on the expression, too. An identity model is
shown one latent and gives the identity latent: the mean latent that many frames of that person would have
(LatentFace, section 3.2). What is left, latent minus identity latent, is the expression.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import DataError, RecipeError


class LatentRange(nn.Module):
    r"""The affine map between latents and unit latents, in which the range that was seen is [-1, 1].

    .. math:: u = (z - c) / s

    Latents are at least 0 and have no upper limit, while the published sampler cuts its results to [-1, 1]: it can
    neither give nor be taught an entry above 1. With the range of the training latents nothing seen in training is
    cut, and no sample is negative, as no latent is. Until :meth:`fit`, the map changes nothing, as published.

    Examples
    --------
    >>> seen = LatentRange()
    >>> seen.fit(torch.tensor([[0.0, 5.0], [1.0, 2.0]]))
    >>> seen.to_unit(torch.tensor([0.0, 2.5, 5.0])).tolist()
    [-1.0, 0.0, 1.0]
    """

    center: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, latents: Float[Tensor, "batch latent"]) -> None:
        """Take the least and the largest entry of the training latents as the ends of the range.

        Raises
        ------
        DataError : If there are none, they are all equal, or an entry is no number.
        """
        low, high = (float(end) for end in latents.aminmax()) if latents.numel() else (0.0, 0.0)
        if not (torch.isfinite(latents).all() and low < high):
            raise DataError(
                f"The {len(latents)} latents lie between {low:g} and {high:g}; wanted finite numbers that differ. "
                "Train the networks that encode images first, or longer."
            )
        self.center.fill_((low + high) / 2)
        self.scale.fill_((high - low) / 2)

    def to_unit(self, latents: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Unit latents of latents."""
        return (latents - self.center) / self.scale

    def from_unit(self, units: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Latents of unit latents."""
        return units * self.scale + self.center


class IdentityModel(nn.Module, ABC):
    """From one latent to the identity latent. Training and applications know nothing else of it.

    Attributes
    ----------
    latent_size : Entries of a latent.
    latent_range : In what range the training latents lie; fit it before training.
    """

    latent_size: int
    latent_range: LatentRange

    @abstractmethod
    def training_loss(
        self,
        mean_latent: Float[Tensor, "batch latent"],
        condition: Float[Tensor, "batch latent"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """How far it is from the mean latents of sequences, shown a latent of each; what is drawn is drawn from it."""

    @abstractmethod
    def sample(
        self,
        condition: Float[Tensor, "batch latent"],
        *,
        noise: Float[Tensor, "draw batch latent"] | None = None,
        generator: torch.Generator | None = None,
        steps: int | None = None,
        draws: int | None = None,
    ) -> Float[Tensor, "batch latent"]:
        """Identity latents of latents; a model without chance disregards noise, generator, steps and draws."""


def check_norm_groups(width: int, norm_groups: int) -> None:
    """Refuse norms on one pixel that would wipe out what they are shown.

    Raises
    ------
    RecipeError : If a group would not have 2 channels or more, all groups equally many.
    """
    if norm_groups < 1 or width < 2 * norm_groups or width % norm_groups:
        raise RecipeError(
            f"width is {width} and norm_groups {norm_groups}; wanted a width that is 2, 3, ... times the groups: "
            "one channel alone on one pixel is 0 after the norm, whatever is shown. Set them to 128 and 32."
        )
