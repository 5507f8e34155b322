"""Which frames of a sequence teach the identity: their mean latent is the target, one of them the condition.

Frames are drawn sparsely over the whole sequence, so that the expression differs and the mean keeps what stays: the
person (LatentFace, section 3.2; published: 16 frames). The texture's and the shape's identity model are shown the same
frames: draw once, and use the frames for both.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.errors import DataError, RecipeError

#: How many frames of a sequence the published mean is taken of.
PUBLISHED_FRAMES = 16


def draw_frames(frame_count: int, wanted: int, generator: torch.Generator, sequence: str) -> Int[Tensor, " frame"]:
    """Draw frames of a sequence at random, each at most once; the first is as good as any to be the condition.

    A sequence with fewer frames than wanted is drawn from with replacement, so that its mean is of as many latents as
    any other's.

    Parameters
    ----------
    frame_count : Frames that the sequence has.
    wanted : Frames to draw.
    generator : Where chance comes from.
    sequence : Its name, for the message.

    Raises
    ------
    DataError : If the sequence has one frame or none: its mean would be the latent itself.
    RecipeError : If fewer than two frames are wanted.

    Examples
    --------
    >>> draw_frames(100, 4, torch.Generator().manual_seed(0), "anna/talk").unique().shape
    torch.Size([4])
    """
    if wanted < 2:
        raise RecipeError(f"{wanted} frames of a sequence are wanted; wanted at least 2. Set the frames to 16.")
    if frame_count < 2:
        raise DataError(
            f"Sequence {sequence} has {frame_count} frame(s); wanted at least 2, because the mean of one frame says "
            "nothing about what changes. Leave the sequence out, or give more frames of it."
        )
    if frame_count >= wanted:
        return torch.randperm(frame_count, generator=generator, device=generator.device)[:wanted]
    return torch.randint(frame_count, (wanted,), generator=generator, device=generator.device)


def mean_and_condition(
    latents: Float[Tensor, "all latent"], frames: Int[Tensor, " frame"]
) -> tuple[Float[Tensor, " latent"], Float[Tensor, " latent"]]:
    """The mean latent of the drawn frames of a sequence, and the latent of the first that was drawn.

    Examples
    --------
    >>> mean, condition = mean_and_condition(torch.tensor([[1.0], [2.0], [6.0]]), torch.tensor([2, 1]))
    >>> mean.item(), condition.item()
    (4.0, 6.0)
    """
    drawn = latents[frames.to(latents.device)]  # (F, L)
    return drawn.mean(dim=0), drawn[0]
