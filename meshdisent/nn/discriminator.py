r"""The identity discriminator of FED: do two faces belong to the same person? (FED, fig. 2 and eq. 6).

.. math:: D(X, Y) = \ln\operatorname{softmax} g(\max_v h([x_v, y_v]\,A)), \qquad A = I + t([X, Y])

The two faces lie side by side, six numbers a vertex, so order and correspondence matter. A smaller network of the same
form gives the input transform A (the T-Net of PointNet, Qi et al. 2017). With ``regularized``, batch norm follows each
layer but the last of every stack and dropout stands in the head; with ``plain`` there is neither. The published program
pre-trains with both and in five of six settings goes on without, where the same weights mean another function.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import RecipeError
from meshdisent.nn.point_features import PointFeatures
from meshdisent.nn.pointnet import published_features_state


@dataclass(frozen=True, kw_only=True)
class DiscriminatorNetworkConfig:
    """Widths of a discriminator; the defaults are the published ones.

    Parameters
    ----------
    channels : Of the layers that all vertices share, also in the transform.
    hidden : Of the layers after the maximum, two, also in the transform.
    """

    channels: tuple[int, ...] = (64, 128, 1024)
    hidden: tuple[int, ...] = (512, 256)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if not self.channels or len(self.hidden) != 2 or min(*self.channels, *self.hidden) < 1:
            raise RecipeError(
                f"The discriminator has channels {list(self.channels)} and hidden widths {list(self.hidden)}; wanted "
                "positive widths, two of them hidden. Set channels to [64, 128, 1024] and hidden to [512, 256]."
            )


class IdentityDiscriminator(nn.Module):
    """Whether the two faces of a pair belong to one person.

    Examples
    --------
    >>> network = DiscriminatorNetworkConfig(channels=(8, 16), hidden=(8, 4))
    >>> discriminator = IdentityDiscriminator(network)
    >>> discriminator.plain(torch.randn(2, 30, 6)).shape
    torch.Size([2, 2])
    """

    def __init__(self, config: DiscriminatorNetworkConfig):
        super().__init__()
        self.transform = PairTransform(config)
        self.features = PointFeatures(6, config.channels)
        self.head = Head(config.channels[-1], config.hidden, 2)

    def plain(self, pairs: Float[Tensor, "batch vertex 6"]) -> Float[Tensor, "batch 2"]:
        """Logits without batch norm and dropout; class 1 is the same person."""
        return self.head.plain(self.features.plain(pairs @ self.transform.plain(pairs)))

    def regularized(
        self, pairs: Float[Tensor, "batch vertex 6"], keep: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch 2"]:
        """Logits with batch norm, and dropout where ``keep`` is 0; of the others 1 / the share that is kept."""
        return self.head(self.features(pairs @ self.transform(pairs)), keep)


class PairTransform(nn.Module):
    """The (6, 6) matrix that the points of a pair are multiplied by."""

    def __init__(self, config: DiscriminatorNetworkConfig):
        super().__init__()
        self.features = PointFeatures(6, config.channels)
        self.head = Head(config.channels[-1], config.hidden, 36)

    def forward(self, pairs: Float[Tensor, "batch vertex 6"]) -> Float[Tensor, "batch 6 6"]:
        """With batch norm."""
        return _near_identity(self.head(self.features(pairs), None))

    def plain(self, pairs: Float[Tensor, "batch vertex 6"]) -> Float[Tensor, "batch 6 6"]:
        """Without batch norm."""
        return _near_identity(self.head.plain(self.features.plain(pairs)))


class Head(nn.Module):
    """Three linear layers with ReLU between them, from the feature of a pair.

    Parameters
    ----------
    width_in, hidden, width_out : Of the layers.
    """

    def __init__(self, width_in: int, hidden: Sequence[int], width_out: int):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise((width_in, *hidden, width_out))])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for width in hidden])

    def forward(
        self, feature: Float[Tensor, "batch feature"], keep: Float[Tensor, "batch hidden"] | None
    ) -> Float[Tensor, "batch out"]:
        """With batch norm; what the second layer gives is multiplied by ``keep`` before its norm, as published."""
        first, second, last = self.linears
        hidden = nn.functional.relu(self.norms[0](first(feature)))
        hidden = second(hidden) if keep is None else second(hidden) * keep
        return last(nn.functional.relu(self.norms[1](hidden)))

    def plain(self, feature: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch out"]:
        """Without batch norm and dropout."""
        first, second, last = self.linears
        return last(nn.functional.relu(second(nn.functional.relu(first(feature)))))


def published_discriminator_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate FED's published discriminator: ``feature_network.stn`` is our transform."""
    inside, above = "feature_network.", "feature_network.stn."
    parts = {
        "transform.": {k.removeprefix(above): v for k, v in state.items() if k.startswith(above)},
        "": {k.removeprefix(inside): v for k, v in state.items() if not k.startswith(above)},
    }
    ours: dict[str, Tensor] = {}
    for prefix, part in parts.items():
        ours |= published_features_state(part, f"{prefix}features.")
        for number in range(3):
            ours |= _renamed(part, f"fc{number + 1}.", f"{prefix}head.linears.{number}.")
        for number in range(2):
            ours |= _renamed(part, f"bn{number + 4}.", f"{prefix}head.norms.{number}.")
    return ours


def _renamed(state: Mapping[str, Tensor], theirs: str, own: str) -> dict[str, Tensor]:
    return {own + name.removeprefix(theirs): value for name, value in state.items() if name.startswith(theirs)}


def _near_identity(numbers: Float[Tensor, "batch 36"]) -> Float[Tensor, "batch 6 6"]:
    matrix = numbers.unflatten(1, (6, 6))
    return matrix + torch.eye(6, dtype=matrix.dtype, device=matrix.device)
