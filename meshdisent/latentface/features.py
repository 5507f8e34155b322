r"""What the probes of LatentFace read: latent vectors of an image side by side.

A face has four latents: :math:`z_t, z_s` of texture and shape, and the identity parts :math:`i_t, i_s` that the
representation diffusion draws from them; :math:`z - i` is what the expression adds. The longer paper and its code give
the probes z as well; the ICASSP paper gives them the offsets alone, or the identities alone.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Latents = Float[Tensor, "batch latent"]


class FaceLatents(NamedTuple):
    """Latents of a batch of images, (B, D) each: texture and shape, and the identity part of each."""

    texture: Latents
    texture_identity: Latents
    shape: Latents
    shape_identity: Latents


def expression_features(
    texture: Latents, texture_identity: Latents, shape: Latents, shape_identity: Latents
) -> Float[Tensor, "batch features"]:
    r"""What the expression probe reads, :math:`[z_t - i_t, z_t, z_s - i_s, z_s]`: (B, 4 D).

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> expression_features(3 * one, one, 7 * one, 2 * one).tolist()
    [[2.0, 3.0, 5.0, 7.0]]
    """
    return torch.cat([texture - texture_identity, texture, shape - shape_identity, shape], dim=1)


def offset_features(
    texture: Latents, texture_identity: Latents, shape: Latents, shape_identity: Latents
) -> Float[Tensor, "batch features"]:
    r"""The offsets alone (ICASSP paper), :math:`[z_t - i_t, z_s - i_s]`: (B, 2 D)."""
    return torch.cat([texture - texture_identity, shape - shape_identity], dim=1)


def identity_features(face: FaceLatents) -> Float[Tensor, "batch features"]:
    r"""The identities alone (ICASSP paper, threshold protocol), :math:`[i_t, i_s]`: (B, 2 D)."""
    return torch.cat([face.texture_identity, face.shape_identity], dim=1)


def view_features(face: FaceLatents) -> Float[Tensor, "batch features"]:
    r"""What verification reads of one view, :math:`[i_t, z_t, i_s, z_s]`: (B, 4 D).

    Examples
    --------
    >>> one = torch.ones(1, 1)
    >>> view_features(FaceLatents(3 * one, one, 7 * one, 2 * one)).tolist()
    [[1.0, 3.0, 2.0, 7.0]]
    """
    return torch.cat([face.texture_identity, face.texture, face.shape_identity, face.shape], dim=1)


def verification_features(image: FaceLatents, mirror: FaceLatents) -> Float[Tensor, "batch features"]:
    """What verification reads of an image: its own features, then those of its mirror image, (B, 8 D)."""
    return torch.cat([view_features(image), view_features(mirror)], dim=1)
