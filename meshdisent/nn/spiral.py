r"""Spiral convolutions and the encoder made of them (SpiralNet++, Gong et al. 2019; WSDF, figure 1b).

A spiral lists a vertex and its neighbors in a fixed order, so that convolution is one linear map:

.. math:: y_v = W\,[x_{s_{v,1}}, \ldots, x_{s_{v,L}}] + b

with the features of the vertices on the spiral of :math:`v` side by side, spiral position outer, channel inner.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.errors import ModelFileError, RecipeError, TopologyError
from meshdisent.nn.spiral_block import spiral_block
from meshdisent.nn.spiral_parts import gather_spirals


@dataclass(frozen=True, kw_only=True)
class SpiralEncoderConfig:
    """Widths of a spiral encoder; the defaults are the published ones for CoMA.

    Parameters
    ----------
    channels : Output channels of the five stages; the last three are equal because inputs are added to outputs there.
    feature : Width of the layer between the flattened features and the code.

    Raises
    ------
    RecipeError : If there are not five widths, one is not positive, or the last three differ.
    """

    channels: tuple[int, ...] = (16, 32, 64, 64, 64)
    feature: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if len(self.channels) != 5 or min(self.channels) < 1 or len(set(self.channels[2:])) != 1:
            raise RecipeError(
                f"The encoder's channels are {list(self.channels)}; wanted five positive widths, the last three equal "
                "because each residual block adds its input to its output. Set channels like [16, 32, 64, 64, 64]."
            )
        if self.feature < 1:
            raise RecipeError(f"The encoder's feature width is {self.feature}; wanted at least 1. Set feature to 128.")


class SpiralConv(nn.Module):
    """Spiral convolution: one linear map over each spiral.

    Parameters
    ----------
    channels_in, channels_out : Features per vertex before and after.
    spirals : (V, L) Vertex indices, own vertex first. Kept in the state, so that a model file is self-contained.
    """

    spirals: Tensor

    def __init__(self, channels_in: int, channels_out: int, spirals: Int[Tensor, "vertex length"]):
        super().__init__()
        self.register_buffer("spirals", spirals.clone())
        self.linear = nn.Linear(channels_in * spirals.shape[1], channels_out)
        # As published: Kaiming uniform with gain sqrt(2), the bias as in any linear layer.
        nn.init.kaiming_uniform_(self.linear.weight)

    def forward(self, features: Float[Tensor, "batch vertex channel"]) -> Float[Tensor, "batch vertex out"]:
        """Convolve features of all vertices."""
        return self.linear(gather_spirals(features, self.spirals))


class SpiralBlock(nn.Module):
    """Convolution, instance norm, ELU. The norm takes the convolution's bias away again; it is there as published."""

    def __init__(self, channels_in: int, channels_out: int, spirals: Int[Tensor, "vertex length"]):
        super().__init__()
        self.conv = SpiralConv(channels_in, channels_out, spirals)

    def forward(
        self, features: Float[Tensor, "batch vertex channel"], kept: Int[Tensor, " coarse"] | None = None
    ) -> Float[Tensor, "batch _ out"]:
        """Convolve, normalize, take the vertices that are kept (None for all), activate."""
        linear = self.conv.linear
        return spiral_block(features, linear.weight, linear.bias, self.conv.spirals, kept)


class SpiralResidualBlock(nn.Module):
    """A block, then convolution and norm without activation, then the input is added; nothing follows the sum."""

    def __init__(self, channels: int, spirals: Int[Tensor, "vertex length"]):
        super().__init__()
        self.block = SpiralBlock(channels, channels, spirals)
        self.conv = SpiralConv(channels, channels, spirals)

    def forward(self, features: Float[Tensor, "batch vertex channel"]) -> Float[Tensor, "batch vertex channel"]:
        """Add a correction to the features."""
        linear = self.conv.linear
        correction = spiral_block(
            self.block(features), linear.weight, linear.bias, self.conv.spirals, has_activation=False
        )
        return correction + features


class Pool(nn.Module):
    """Keep the vertices that the decimation kept, unchanged.

    Parameters
    ----------
    kept : (V of the coarse level,) Index of each coarse vertex in the fine level.
    """

    kept: Tensor

    def __init__(self, kept: Int[Tensor, " coarse"]):
        super().__init__()
        self.register_buffer("kept", kept.clone())

    def forward(self, features: Float[Tensor, "batch vertex channel"]) -> Float[Tensor, "batch coarse channel"]:
        """Features of the kept vertices."""
        return features.index_select(1, self.kept)


class SpiralEncoder(nn.Module):
    """Posterior of one code from standardized scans: one of the two encoders of WSDF.

    Block, pool, block, pool, block, two residual blocks, then all features of a scan through two linear layers.

    Parameters
    ----------
    config : Widths.
    latent_size : Entries of the code, D.
    spirals : Three arrays (V_l, L_l), one a level.
    kept : Two arrays (V_1,) and (V_2,), see :class:`Pool`.

    Raises
    ------
    TopologyError : If the levels do not fit each other.
    """

    def __init__(
        self,
        config: SpiralEncoderConfig,
        latent_size: int,
        spirals: tuple[Int[Tensor, "_ _"], ...],
        kept: tuple[Int[Tensor, " _"], ...],
    ):
        super().__init__()
        _check_levels(spirals, kept)
        self.config = config
        self.latent_size = latent_size
        first, second, third, _, last = config.channels
        self.trunk = nn.Sequential(
            SpiralBlock(3, first, spirals[0]),
            Pool(kept[0]),
            SpiralBlock(first, second, spirals[1]),
            Pool(kept[1]),
            SpiralBlock(second, third, spirals[2]),
            SpiralResidualBlock(third, spirals[2]),
            SpiralResidualBlock(last, spirals[2]),
            nn.Flatten(start_dim=1),  # vertex outer, channel inner
            nn.Linear(len(spirals[2]) * last, config.feature),
        )
        self.head = nn.Linear(config.feature, 2 * latent_size)

    def forward(
        self, vertices: Float[Tensor, "batch vertex 3"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and log-variance of the codes of standardized scans."""
        first, first_pool, second, second_pool, *rest = self.trunk
        # ELU acts on each vertex alone, so that a block with a pool behind it may leave out what is not kept.
        features = second(first(vertices, first_pool.kept), second_pool.kept)
        for stage in rest:
            features = stage(features)
        mean, log_variance = self.head(nn.functional.elu(features)).chunk(2, dim=1)
        return mean, log_variance

    @torch.no_grad()
    def silence(self, log_variance: float) -> None:
        """Let the mean be zero whatever is shown, with one log-variance for all entries."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.bias[self.latent_size :] = log_variance


def _check_levels(spirals: tuple[Tensor, ...], kept: tuple[Tensor, ...]) -> None:
    """Refuse levels that the encoder cannot use, before a convolution fails with an index out of range."""
    if len(spirals) != 3 or len(kept) != 2:
        raise TopologyError(
            f"The encoder got spirals of {len(spirals)} levels and {len(kept)} poolings; wanted 3 and 2. "
            "Give the first three levels of the hierarchy."
        )
    counts = [len(order) for order in spirals]
    for level, (coarse, rows) in enumerate(zip(counts[1:], kept, strict=True)):
        if len(rows) != coarse or (len(rows) and int(rows.max()) >= counts[level]):
            raise TopologyError(
                f"Pooling {level} keeps {len(rows)} vertices of {counts[level]}, up to index "
                f"{int(rows.max()) if len(rows) else -1}; the spirals of the next level are for {coarse} vertices. "
                "Take spirals and kept vertices from one and the same hierarchy."
            )


#: Branch names of the published state dict.
PUBLISHED_BRANCHES = {"identity": "ind", "expression": "exp"}


def published_encoder_state(state: Mapping[str, Tensor], branch: str) -> dict[str, Tensor]:
    """Translate the published encoder's state dict into that of one :class:`SpiralEncoder`.

    ========================================  ===========================
    published                                 ours
    ========================================  ===========================
    ``backbone_ind.N.conv.layer.*``           ``trunk.N.conv.linear.*``
    ``backbone_ind.N.conv.indices``           ``trunk.N.conv.spirals``
    ``backbone_ind.N.block_0.conv.*``         ``trunk.N.block.conv.*``
    ``backbone_ind.N.block_1.conv.*``         ``trunk.N.conv.*``
    ``backbone_ind.N.sampling_matrix_*``      ``trunk.N.kept``
    ``backbone_ind.8.*``, ``head_ind.1.*``    ``trunk.8.*``, ``head.*``
    ========================================  ===========================

    Parameters
    ----------
    state : The published names and tensors of both branches.
    branch : "identity" (``ind``) or "expression" (``exp``).

    Raises
    ------
    ModelFileError : If a pooling matrix does not select vertices, or the branch is not there.
    """
    short = PUBLISHED_BRANCHES[branch]
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == f"head_{short}":
            ours[f"head.{rest.removeprefix('1.')}"] = value
        elif part == f"backbone_{short}" and "sampling_matrix" not in name:
            for theirs, own in (("block_0", "block"), ("block_1.", ""), ("layer", "linear"), ("indices", "spirals")):
                rest = rest.replace(theirs, own)
            ours[f"trunk.{rest}"] = value.long() if rest.endswith("spirals") else value
        elif part == f"backbone_{short}" and rest.endswith("_col"):
            stage = rest.partition(".")[0]
            ours[f"trunk.{stage}.kept"] = _kept(state, f"{part}.{stage}.sampling_matrix_")
    if not ours:
        raise ModelFileError(
            f"The encoder has no tensor named backbone_{short}.*; it holds {sorted(state)[:3]}... "
            "Give the encoder of a published WSDF model with two branches."
        )
    return ours


def _kept(state: Mapping[str, Tensor], prefix: str) -> Int[Tensor, " coarse"]:
    """The vertices that a published pooling matrix (compressed rows) selects."""
    starts, columns, values = (state[prefix + part] for part in ("crow", "col", "val"))
    one_each = len(columns) == len(starts) - 1 and bool((starts.diff() == 1).all())
    if not one_each or not bool((values == 1).all()):
        raise ModelFileError(
            f"The pooling matrix {prefix}* does not select one vertex a row; wanted rows with a single 1, as the "
            "published hierarchy makes them. The file is damaged or of another method."
        )
    return columns.long()


def published_encoder(state: Mapping[str, Tensor], branch: str) -> SpiralEncoder:
    """Build one branch of the published encoder, with widths, spirals and pooling read off its tensors."""
    ours = published_encoder_state(state, branch)
    widths = [ours[f"trunk.{stage}.conv.linear.weight"].shape[0] for stage in (0, 2, 4, 5, 6)]
    config = SpiralEncoderConfig(channels=tuple(widths), feature=ours["trunk.8.weight"].shape[0])
    spirals = tuple(ours[f"trunk.{stage}.conv.spirals"] for stage in (0, 2, 4))
    kept = (ours["trunk.1.kept"], ours["trunk.3.kept"])
    encoder = SpiralEncoder(config, ours["head.weight"].shape[0] // 2, spirals, kept)
    encoder.load_state_dict(ours)
    return encoder.to(ours["head.weight"].dtype)
