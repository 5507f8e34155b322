"""The choices of :class:`~meshdisent.morphable.fed.FED`: sizes, discriminator, losses."""

from dataclasses import dataclass, field
from typing import Any, Literal

from meshdisent.errors import RecipeError
from meshdisent.morphable.wsdf_config import HierarchyConfig
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.nn.spiral import SpiralEncoderConfig


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The identity discriminator, and how it is trained.

    Parameters
    ----------
    is_used : Whether there is one; without it the adversarial term vanishes, too (the paper's ablation).
    dropout : Share of the hidden numbers that is left out, where batch norm and dropout are used.
    is_regularized : Whether joint training has batch norm and dropout; published: for CoMA with known neutrals only.
        Pre-training always has them.
    learning_rate : Of joint training, without weight decay; the recipe's schedule applies.
    pretraining_epochs, pretraining_steps : How long it learns alone before; steps where given, 0 of both for none.
    pretraining_rate : Learning rate then, constant.
    """

    is_used: bool = True
    network: DiscriminatorNetworkConfig = field(default_factory=DiscriminatorNetworkConfig)
    dropout: float = 0.5
    is_regularized: bool = False
    learning_rate: float = 1e-4
    pretraining_epochs: int = 100
    pretraining_steps: int | None = None
    pretraining_rate: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise RecipeError(f"dropout is {self.dropout}; wanted 0 to below 1. Set config.discriminator.dropout.")
        if self.pretraining_epochs < 0 or (self.pretraining_steps or 0) < 0:
            raise RecipeError(
                f"pretraining_epochs is {self.pretraining_epochs} and pretraining_steps {self.pretraining_steps}; "
                "wanted 0 or more. Set them in config.discriminator."
            )
        if min(self.learning_rate, self.pretraining_rate) <= 0:
            raise RecipeError("A learning rate of the discriminator is not above 0. Set it in config.discriminator.")

    @property
    def is_pretrained(self) -> bool:
        """Whether it learns alone before joint training."""
        length = self.pretraining_epochs if self.pretraining_steps is None else self.pretraining_steps
        return self.is_used and length > 0


@dataclass(frozen=True, kw_only=True)
class BottleneckConfig:
    """The information bottleneck on the identity code (IB-VAE), published as an option for CoMA.

    Parameters
    ----------
    beta : Weight of what identity codes of scans not at rest say.
    scan_count : Training scans in the estimate; those of the dataset if not given (published: 18,424).
    """

    beta: float = 50.0
    scan_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class FEDLossConfig:
    """Weights of the terms, in unit coordinates; 0 leaves a term out. In brackets the number in the published code.

    Parameters
    ----------
    reconstruction : (1) Of faces; it multiplies ``neutral`` and ``expression``, too.
    kl_identity, kl_expression : (2, 3) Of the divergences.
    adversarial : (4) Of the discriminator's verdict on decoded neutrals.
    neutral : (6) Of decoded neutrals against known ones; above 0 it needs a known neutral of each training subject.
    expression : (6 on BU-3DFE) Of expression offsets against what the scan has beyond its known neutral.
    latent : (7) Of the identity code of a decoded neutral against the code that it was decoded from.
    roughness : (8) Of decoded neutrals' distance from smooth.
    divergence : ``sampled``, from the code that was drawn (published); or in closed form, with the ``bottleneck`` on
        the identity, each divided by the size of its code.
    kl_epochs : Both divergences fall linearly and would reach 0 after so many epochs (published for CoMA: 350).
    laplacian : Weights of neighbors: ``uniform`` (published) or ``cotangent`` (what the paper names).
    """

    reconstruction: float = 5000.0
    kl_identity: float = 3e-5
    kl_expression: float = 3e-5
    adversarial: float = 5e-4
    neutral: float = 0.0
    expression: float = 0.0
    latent: float = 1e-2
    roughness: float = 1e-2
    divergence: Literal["sampled", "bottleneck"] = "sampled"
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    kl_epochs: int | None = None
    laplacian: Literal["uniform", "cotangent"] = "uniform"

    def __post_init__(self) -> None:
        terms = ("kl_identity", "kl_expression", "adversarial", "neutral", "expression", "latent", "roughness")
        for name in terms:
            if getattr(self, name) < 0:
                raise RecipeError(f"loss.{name} is {getattr(self, name)}; wanted 0 or more. Set config.loss.{name}.")
        if self.reconstruction <= 0:
            raise RecipeError(f"loss.reconstruction is {self.reconstruction}; wanted more than 0.")
        if self.kl_epochs is not None and self.kl_epochs < 1:
            raise RecipeError(f"loss.kl_epochs is {self.kl_epochs}; wanted at least 1, or null for constant weights.")

    @property
    def needs_neutrals(self) -> bool:
        """Whether a term compares with known neutrals."""
        return bool(self.neutral or self.expression)


@dataclass(frozen=True, kw_only=True)
class FEDConfig:
    """Sizes and choices of FED; the defaults are the published ones for FaceScape without known neutrals.

    Parameters
    ----------
    encoders : ``point`` (published): one that gives both codes, of the widths ``encoder``. ``spiral``: WSDF's, two of
        the widths ``spiral``. ``chebyshev``: CoMA's, two of the widths ``chebyshev``. Both work on levels of
        ``hierarchy``.
    decoder : ``additive`` (published), or ``recoupled`` as in WSDF, with fused codes of ``fused_size``: the face at
        rest is then that of the zero expression code.
    hidden : Widths between code and vertices, of both decoders.
    start : Where the decoders begin: at ``random`` offsets of some tenths of a unit (published), or near the
        ``mean_face``.
    scale_mm : Millimeters of a unit, about the origin (published: 260 for CoMA, 156 for BU-3DFE, 573 for FaceScape). If
        not given: the largest distance of a training scan's vertex from the middle of the mean face, about that middle.
    """

    identity_size: int = 64
    expression_size: int = 64
    encoders: Literal["point", "spiral", "chebyshev"] = "point"
    encoder: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    spiral: SpiralEncoderConfig = field(default_factory=SpiralEncoderConfig)
    chebyshev: ChebyshevEncoderConfig = field(default_factory=ChebyshevEncoderConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)
    decoder: Literal["additive", "recoupled"] = "additive"
    hidden: tuple[int, ...] = (256,)
    fused_size: int = 64
    start: Literal["random", "mean_face"] = "random"
    scale_mm: float | None = None
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    loss: FEDLossConfig = field(default_factory=FEDLossConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in ("identity_size", "expression_size", "fused_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set config.{name}.")
        if self.scale_mm is not None and self.scale_mm <= 0:
            raise RecipeError(f"scale_mm is {self.scale_mm}; wanted millimeters above 0, or null to measure it.")

    @property
    def pair_widths(self) -> SpiralEncoderConfig | ChebyshevEncoderConfig:
        """Widths of the two encoders, where there are two."""
        return self.chebyshev if self.encoders == "chebyshev" else self.spiral

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> "FEDConfig":
        """Build the configuration from the plain values of :meth:`FED.config_dict`.

        Examples
        --------
        >>> from dataclasses import asdict
        >>> config = FEDConfig(identity_size=3, encoder=PointEncoderConfig(channels=(8, 16)))
        >>> FEDConfig.from_plain(asdict(config)) == config
        True
        """
        discriminator, loss = _tuples(values["discriminator"]), values["loss"]
        network = DiscriminatorNetworkConfig(**_tuples(discriminator["network"]))
        parts = {
            "encoder": PointEncoderConfig(**_tuples(values["encoder"])),
            **{name: kind(**_tuples(values[name])) for name, kind in _LATER.items() if name in values},
            "discriminator": DiscriminatorConfig(**{**discriminator, "network": network}),
            "loss": FEDLossConfig(**{**loss, "bottleneck": BottleneckConfig(**loss["bottleneck"])}),
        }
        return cls(**{**_tuples(values), **parts})


#: Sections that files from before they existed do not have.
_LATER: dict[str, Any] = {
    "spiral": SpiralEncoderConfig,
    "chebyshev": ChebyshevEncoderConfig,
    "hierarchy": HierarchyConfig,
}


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON lists as the tuples that they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
