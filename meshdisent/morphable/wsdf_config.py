"""The choices of :class:`~meshdisent.morphable.wsdf.WSDF`: sizes, levels, bank, losses, and what is our own."""

from dataclasses import dataclass, field
from typing import Any, Literal

from meshdisent.errors import RecipeError
from meshdisent.morphable.linear_start import LinearStartConfig
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.nn.principal_encoder import PrincipalEncoderConfig
from meshdisent.nn.spiral import SpiralEncoderConfig


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """Levels and spirals that the encoders convolve on; published: four decimations by 4, spirals of 9."""

    factors: tuple[float, ...] = (4.0, 4.0, 4.0, 4.0)
    length: int = 9
    dilation: int = 1
    method: Literal["ours", "published"] = "ours"


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """The Neutral Bank.

    Parameters
    ----------
    start : Where entries begin: the mean training scan for every subject (published), or each subject's own ``mean``,
        ``median`` or ``mode`` over the raw scans.
    beta : How much of an entry stays when it is updated with reconstructions; 1 keeps the start for good.
    components : Keep entries by so many principal coordinates of the training scans instead of whole faces, for data
        with very many subjects: 1 KB each for 256, not 12 bytes a vertex.
    confidence_shift : s in max(0, 1 - exp(s - n)) for n training scans; the paper writes 1, its code has 5.
    """

    start: Literal["mean_scan", "mean", "median", "mode"] = "mean_scan"
    beta: float = 0.99
    confidence_shift: float = 5.0
    components: int | None = None

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 1:
            raise RecipeError(f"bank.components is {self.components}; wanted at least 1, such as 256, or null.")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights of the terms, and the space they are measured in.

    Parameters
    ----------
    space : ``standardized``: sums over coordinates divided by their standard deviation, and the hinge over the sum of
        mm^2 (published; weights depend on the number of vertices). ``millimeters``: means over vertices, in mm^2 each.
    displacement : Ours, none in the paper; see :func:`~meshdisent.losses.wsdf.displacement`.
    consistency : Ours, none in the paper; see :func:`~meshdisent.losses.wsdf.consistency`. Needs people.share 1, where
        each ``group`` scans in a row are of one synthetic person.
    jacobian_lower, jacobian_upper : Slopes of the hinge, in the unit of ``space``.
    pairing : Which identity code meets which expression code in the hinge: that of the ``same_scan``, or the mixture of
        the published code (:func:`~meshdisent.losses.wsdf.published_pairing`).
    group : Scans of one subject in a batch; the first ``1 / group`` of the batch are the anchors.
    """

    space: Literal["standardized", "millimeters"] = "standardized"
    reconstruction: float = 1.0
    kl: float = 1.0
    neutral: float = 10.0
    jacobian: float = 10.0
    compactness: float = 10.0
    displacement: float = 0.0
    consistency: float = 0.0
    jacobian_lower: float = 0.0
    jacobian_upper: float = 5000.0
    pairing: Literal["same_scan", "published"] = "same_scan"
    group: int = 4

    def __post_init__(self) -> None:
        if self.jacobian_lower >= self.jacobian_upper:
            raise RecipeError(
                f"jacobian_lower is {self.jacobian_lower} and jacobian_upper {self.jacobian_upper}; "
                "wanted lower < upper. Set loss.jacobian_lower and loss.jacobian_upper."
            )
        if self.group < 1:
            raise RecipeError(f"group is {self.group}; wanted at least 1, the scans of a subject in a batch.")


@dataclass(frozen=True, kw_only=True)
class PeopleConfig:
    """People that nobody scanned (:mod:`meshdisent.nn.synthetic_people`); published: none.

    Parameters
    ----------
    share : Of each batch, how much is carried over to synthetic people.
    tail : Whether they differ in smooth fields, too, beyond the principal directions of the training subjects.
    """

    share: float = 0.0
    tail: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise RecipeError(f"people.share is {self.share}; wanted 0 to 1, how much of a batch is synthetic.")


@dataclass(frozen=True, kw_only=True)
class WSDFConfig:
    """Sizes and choices of WSDF; the defaults are the published ones for CoMA with larger codes.

    Parameters
    ----------
    encoders : ``spiral``: two spiral encoders (published), configured by ``encoder`` and ``hierarchy``. ``chebyshev``:
        two of CoMA's, configured by ``chebyshev`` and ``hierarchy``. ``point``: FED's, which gives both codes and does
        not know the topology. ``principal``: one that looks at principal coordinates.
    decoder : ``recoupled`` (published): both codes fused, then one generator. ``additive`` (FED's): one generator a
        code, added up; ``fused_size`` and ``exact_recoupler`` say nothing then.
    mixing : Share of each batch that is replaced by mixtures of two subjects (:mod:`meshdisent.nn.mixing`).
    """

    identity_size: int = 32
    expression_size: int = 32
    fused_size: int = 64
    hidden: tuple[int, ...] = (256, 256, 256)
    decoder: Literal["recoupled", "additive"] = "recoupled"
    exact_recoupler: bool = False
    encoders: Literal["spiral", "chebyshev", "point", "principal"] = "spiral"
    encoder: SpiralEncoderConfig = field(default_factory=SpiralEncoderConfig)
    chebyshev: ChebyshevEncoderConfig = field(default_factory=ChebyshevEncoderConfig)
    point: PointEncoderConfig = field(default_factory=PointEncoderConfig)
    principal: PrincipalEncoderConfig = field(default_factory=PrincipalEncoderConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)
    bank: BankConfig = field(default_factory=BankConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    linear_start: LinearStartConfig = field(default_factory=LinearStartConfig)
    people: PeopleConfig = field(default_factory=PeopleConfig)
    mixing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mixing <= 1 or (self.mixing > 0 and self.bank.start == "mean_scan"):
            raise RecipeError(
                f"mixing is {self.mixing} with a bank that starts from {self.bank.start}; wanted a share from 0 to 1, "
                "and entries that know the subjects. Set config.bank.start to mode, or config.mixing to 0."
            )
        if self.mixing and self.people.share:
            raise RecipeError("mixing and people.share are both set; wanted one of them. Set config.mixing to 0.")
        if self.needs_people and not self.linear_start.is_on:
            raise RecipeError(
                "Synthetic people stand on a linear start, which is off. Set config.linear_start.neutrals to mode; or "
                "config.people.share to 0, config.linear_start.expressions to added and learned_from to scans."
            )
        if self.people.share and self.bank.start == "mean_scan":
            raise RecipeError(
                f"people.share is {self.people.share} with a bank that starts from mean_scan; wanted entries that know "
                "the subjects, whose expressions are carried over. Set config.bank.start to mode, or people.share to 0."
            )
        if self.loss.consistency and self.people.share < 1:
            raise RecipeError(
                f"loss.consistency is {self.loss.consistency} with people.share {self.people.share}; wanted a share "
                "of 1, since only synthetic people are known to come in groups. Set config.loss.consistency to 0."
            )
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in ("identity_size", "expression_size", "fused_size"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set config.{name}.")
        if len(self.hierarchy.factors) < 2:
            raise RecipeError("hierarchy.factors has fewer than 2 entries; the encoders pool twice.")
        if self.encoders == "chebyshev" and len(self.hierarchy.factors) < len(self.chebyshev.channels):
            raise RecipeError(
                f"hierarchy.factors has {len(self.hierarchy.factors)} entries and chebyshev.channels "
                f"{len(self.chebyshev.channels)}; wanted a level for each stage. Set both to as many."
            )

    @property
    def pair_widths(self) -> SpiralEncoderConfig | ChebyshevEncoderConfig:
        """Widths of the two encoders, where there are two."""
        return self.chebyshev if self.encoders == "chebyshev" else self.encoder

    @property
    def needs_people(self) -> bool:
        """Whether anything asks for synthetic people."""
        start = self.linear_start
        return self.people.share > 0 or start.learned_from == "people" or start.expressions == "carried"

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> "WSDFConfig":
        """Build the configuration from the plain values of :meth:`WSDF.config_dict`."""
        nested = {
            "encoder": SpiralEncoderConfig,
            "chebyshev": ChebyshevEncoderConfig,
            "point": PointEncoderConfig,
            "principal": PrincipalEncoderConfig,
            "people": PeopleConfig,
            "hierarchy": HierarchyConfig,
            "bank": BankConfig,
            "loss": LossConfig,
            "linear_start": LinearStartConfig,
        }
        plain = _tuples({k: v for k, v in values.items() if k not in nested})
        return cls(**plain, **{k: kind(**_tuples(values[k])) for k, kind in nested.items() if k in values})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON lists as the tuples that they were."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
