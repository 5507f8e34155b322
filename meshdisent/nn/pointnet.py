r"""The point encoder of FED: both posteriors from one feature of a scan (PointNet, Qi et al. 2017; FED, fig. 2).

.. math:: f = \max_v h(x_v), \qquad (\mu_{id}, \ln\sigma^2_{id}, \mu_{exp}, \ln\sigma^2_{exp}) = A f + b

Shared layers with batch norm on every point, the maximum over the points, four linear heads. No transform of the
input, and no order of the points: the encoder does not know the topology.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import RecipeError
from meshdisent.nn.normalization import UnitCoordinates
from meshdisent.nn.point_features import PointFeatures

IdentityGaussian = tuple[Float[Tensor, "batch identity"], Float[Tensor, "batch identity"]]
ExpressionGaussian = tuple[Float[Tensor, "batch expression"], Float[Tensor, "batch expression"]]

#: Our names of the published heads; the published "sigma" is a log-variance.
_HEADS = {
    "identity_mean": "fc_id_mu",
    "identity_log_variance": "fc_id_sigma",
    "expression_mean": "fc_exp_mu",
    "expression_log_variance": "fc_exp_sigma",
}


@dataclass(frozen=True, kw_only=True)
class PointEncoderConfig:
    """Widths of a point encoder; the defaults are the published ones.

    Parameters
    ----------
    channels : Of the shared layers; the last is the width of the feature.
    """

    channels: tuple[int, ...] = (64, 64, 64, 128, 1024)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels or min(self.channels) < 1:
            raise RecipeError(
                f"The point encoder's channels are {list(self.channels)}; wanted positive widths. "
                "Set channels like [64, 64, 64, 128, 1024]."
            )


class PointEncoder(nn.Module):
    """Posteriors of both codes from scans in unit coordinates.

    Parameters
    ----------
    config : Widths.
    identity_size, expression_size : Entries of the codes.

    Examples
    --------
    >>> encoder = PointEncoder(PointEncoderConfig(channels=(8, 16)), identity_size=3, expression_size=2)
    >>> (identity, _), (expression, _) = encoder(torch.randn(5, 20, 3))
    >>> identity.shape, expression.shape
    (torch.Size([5, 3]), torch.Size([5, 2]))
    """

    def __init__(self, config: PointEncoderConfig, identity_size: int, expression_size: int):
        super().__init__()
        self.features = PointFeatures(3, config.channels)
        width = config.channels[-1]
        self.identity_mean = nn.Linear(width, identity_size)
        self.identity_log_variance = nn.Linear(width, identity_size)
        self.expression_mean = nn.Linear(width, expression_size)
        self.expression_log_variance = nn.Linear(width, expression_size)

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> tuple[IdentityGaussian, ExpressionGaussian]:
        """Means and log-variances of the identity codes, then of the expression codes."""
        feature = self.features(vertices)
        return (
            (self.identity_mean(feature), self.identity_log_variance(feature)),
            (self.expression_mean(feature), self.expression_log_variance(feature)),
        )


class PointScanEncoder(nn.Module):
    """A point encoder that is shown scans in mm.

    Parameters
    ----------
    coordinates : To the unit of the encoder.
    encoder : Gives both posteriors.
    """

    def __init__(self, coordinates: UnitCoordinates, encoder: PointEncoder):
        super().__init__()
        self.coordinates = coordinates
        self.encoder = encoder

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> tuple[IdentityGaussian, ExpressionGaussian]:
        """Means and log-variances of the identity codes, then of the expression codes."""
        return self.encoder(self.coordinates(vertices))

    @torch.no_grad()
    def silence(self, log_variance: float) -> None:
        """Let the means be zero whatever is shown, with one log-variance for all entries."""
        for name in _HEADS:
            head = getattr(self.encoder, name)
            nn.init.zeros_(head.weight)
            nn.init.constant_(head.bias, log_variance if name.endswith("log_variance") else 0.0)


def published_point_encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the encoder's part of FED's published state dict; a convolution over single points is a linear map."""
    ours = published_features_state(state, "features.")
    for own, theirs in _HEADS.items():
        ours |= {f"{own}.{kind}": state[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    return ours


def published_features_state(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Translate ``conv1``, ``bn1``, ``conv2`` ... into the state of :class:`PointFeatures` under ``prefix``."""
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        layer, _, kind = name.partition(".")
        if layer.startswith("conv"):
            number = int(layer.removeprefix("conv"))
            ours[f"{prefix}linears.{number - 1}.{kind}"] = value.squeeze(-1) if kind == "weight" else value
            norm = {k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"bn{number}.")}
            ours |= {f"{prefix}norms.{number - 1}.{k}": v for k, v in norm.items()}
    return ours
