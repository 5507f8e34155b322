r"""CoMA: a convolutional autoencoder of meshes that separates nothing (Ranjan et al. 2018).

.. math:: z = E(\hat X), \quad \hat X^r = D(z), \quad L = \frac{1}{3V} \sum_v \lvert \hat X^r_v - \hat X_v \rvert_1

on standardized coordinates, with Chebyshev convolutions on levels that decimation gives. What a network without
disentanglement reaches with so many numbers. Its one code stands where others have the identity code; there is no
expression code, and what needs both is not defined.

Departures from the published program: the code is signed (there a ReLU follows the encoder's last layer, so an entry
may die for good), and recipes train with AdamW and a cosine schedule instead of momentum that decays by 1 % an epoch.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError, UsageError
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Batch, Codes, MorphableModel
from meshdisent.morphable.trainable import Player
from meshdisent.nn.chebyshev import ChebyshevDecoder, ChebyshevEncoderConfig, ChebyshevTrunk, Unpool, graph_edges
from meshdisent.nn.normalization import Normalization


@dataclass(frozen=True, kw_only=True)
class CoMAConfig:
    """Sizes of CoMA.

    Parameters
    ----------
    code_size : Entries of the code; published: 8.
    encoder : Channels and order of the convolutions; the decoder walks them backwards.
    factors : How much smaller each level is than the one before, one for each of ``encoder.channels``.
    """

    code_size: int = 64
    encoder: ChebyshevEncoderConfig = field(default_factory=ChebyshevEncoderConfig)
    factors: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        if self.code_size < 1:
            raise RecipeError(f"code_size is {self.code_size}; wanted at least 1. Set config.code_size.")
        if len(self.factors) != len(self.encoder.channels) or not all(factor > 1 for factor in self.factors):
            raise RecipeError(
                f"factors is {list(self.factors)} with channels {list(self.encoder.channels)}; wanted a number above 1 "
                "for each channel. Set config.factors and config.encoder.channels."
            )


class Levels(NamedTuple):
    """What the convolutions need of a hierarchy, finest level first: edges, vertices kept, and the way back up."""

    edges: tuple[Int[Tensor, "2 _"], ...]
    kept: tuple[Int[Tensor, " _"], ...]
    ups: tuple[Unpool, ...]


class CoMA(MorphableModel):
    """A mesh autoencoder whose one code holds person and expression alike; see the module's first lines.

    Examples
    --------
    >>> from meshdisent.training.recipe import read_recipe
    >>> small = ["config.code_size=4", "config.encoder.channels=[4, 8]", "config.factors=[4, 4]"]
    >>> model = CoMA.fit(scans, read_recipe("coma", [*small, "training.minutes=null", "training.steps=2"]))
    >>> codes = model.encode(torch.from_numpy(scans.vertices(scans.rows("test"))))
    >>> tuple(codes.identity.shape), tuple(codes.expression.shape)
    ((6, 4), (6, 0))
    """

    name: ClassVar[str] = "coma"
    shares_batches: ClassVar[bool] = True
    trainable: ClassVar[bool] = True
    config_class: ClassVar[type] = CoMAConfig

    def __init__(
        self,
        config: CoMAConfig,
        topology: Topology,
        levels: Levels,
        normalization: Normalization,
    ):
        super().__init__(topology, config.code_size, 0)
        self.config = config
        self.normalization = normalization
        self.trunk = ChebyshevTrunk(config.encoder, levels.edges, levels.kept)
        self.head = nn.Linear(self.trunk.width, config.code_size)
        self.decoder = ChebyshevDecoder(config.encoder, config.code_size, levels.edges, levels.ups)

    # Building

    @classmethod
    def for_training(cls, config: CoMAConfig, scans: ScanDataset) -> "CoMA":
        """An untrained model with normalization from the training scans and levels from the template."""
        normalization = Normalization.of_blocks(lambda: scans.in_blocks(scans.rows("train")))
        return cls(config, scans.topology, build_levels(config, scans.topology), normalization)

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "CoMA":
        """Build the model from a file's parts."""
        encoder = ChebyshevEncoderConfig(**{**config["encoder"], "channels": tuple(config["encoder"]["channels"])})
        filled = CoMAConfig(code_size=config["code_size"], encoder=encoder, factors=tuple(config["factors"]))
        stages = range(len(encoder.channels))
        ups = [Unpool(state[f"decoder.ups.{s}.corners"], state[f"decoder.ups.{s}.weights"]) for s in reversed(stages)]
        levels = Levels(
            tuple(state[f"trunk.convs.{stage}.edges"] for stage in stages),
            tuple(state[f"trunk.kept_{stage}"] for stage in stages),
            tuple(ups),
        )
        normalization = Normalization(state["normalization.mean"], state["normalization.deviation"])
        model = cls(filled, topology, levels, normalization)
        model.load_state_dict(state)
        return model

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    # The contract

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm; the expression code has no entries."""
        code = self.head(self.trunk(self.normalization(vertices)))
        return Codes(code, code.new_zeros(code.shape[0], 0))

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        self.check_codes(codes)
        return self.normalization.undo(self.decoder(codes.identity))

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Not defined: raises :class:`UsageError`."""
        raise UsageError(_NOT_DEFINED.format("a face at rest"))

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Not defined: raises :class:`UsageError`."""
        raise UsageError(_NOT_DEFINED.format("an expression alone"))

    # Training

    def players(self) -> list[Player]:
        """One player: all weights, one loss."""
        return [
            Player(
                name="coma",
                parameters=self.parameters,
                objective=self.objective,
                weights={"reconstruction": 1.0},
            )
        ]

    def objective(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The mean absolute difference in standardized coordinates; draws nothing."""
        inputs = self.normalization(batch.vertices)
        return {"reconstruction": nn.functional.l1_loss(self.decoder(self.head(self.trunk(inputs))), inputs)}


_NOT_DEFINED = (
    "A coma model does not separate identity from expression, so {} is not defined for it. "
    "Take a model that does: linear, multilinear, wsdf."
)


def build_levels(config: CoMAConfig, topology: Topology) -> Levels:
    """Decimate the template as often as the configuration says.

    Raises
    ------
    RecipeError : If the template is too small for so many levels.
    """
    found = hierarchy(topology.template, topology.faces, config.factors)
    if len(found.kept) < len(config.factors):
        raise RecipeError(
            f"config.factors asks for {len(config.factors)} decimations, but the template of {topology.vertex_count} "
            f"vertices allows {len(found.kept)}. Shorten config.factors and config.encoder.channels alike."
        )
    edges = graph_edges(found)[: len(config.factors)]  # nothing is convolved on the coarsest level
    kept = tuple(torch.from_numpy(rows) for rows in found.kept)
    return Levels(edges, kept, tuple(Unpool.of(up) for up in found.up))
