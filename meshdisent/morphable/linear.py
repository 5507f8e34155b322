r"""The classical morphable model from subject labels alone: what a network must beat, and the start it can be given.

.. math:: X = \bar n + z_{id} B_{id} + z_{exp} B_{exp}, \qquad X^n = \bar n + z_{id} B_{id}

Identity basis: principal directions of the subjects' pseudo-neutrals about their mean (Blanz and Vetter 1999).
Expression basis: principal directions of scan minus pseudo-neutral about zero, so that no expression is the zero code.
Codes have unit variance on the training scans. Encoding is linear too, see :data:`ENCODERS`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.errors import RecipeError
from meshdisent.mesh.symmetry import mirror_map
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.principal import principal_directions

if TYPE_CHECKING:
    from meshdisent.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """Sizes and choices of a linear model.

    Parameters
    ----------
    neutrals : Where a subject's face at rest comes from: estimated from the subject's scans (``mode``, ``median``,
        ``mean``: subject labels alone), or ``known`` (neutral labels).
    mirrored : Add every subject's mirror image to the identity basis; the template must be roughly symmetric in x.
    encoder : ``ridge`` predicts codes from principal coordinates of the scan; ``least_squares`` fits both bases to it.
    components : Principal coordinates that ``ridge`` looks at, at most.
    ridge_weight : Weight of the squared coefficients in ``ridge``, beside a mean over scans of unit-variance inputs.
    prior_weight : Weight of the squared codes in ``least_squares``, in mm^2 summed over the vertices.
    """

    identity_size: int = 32
    expression_size: int = 32
    neutrals: Literal["mode", "median", "mean", "known"] = "mode"
    mirrored: bool = False
    encoder: Literal["ridge", "least_squares"] = "ridge"
    components: int = 300
    ridge_weight: float = 1e-4
    prior_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("identity_size", "expression_size", "components"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set it in the recipe.")
        if self.ridge_weight <= 0 or self.prior_weight < 0:
            raise RecipeError(
                f"ridge_weight is {self.ridge_weight} and prior_weight {self.prior_weight}; wanted above 0, at least 0."
            )


class LinearParts(NamedTuple):
    """Everything that a linear model knows, in mm; flat scans are (3V,), float64."""

    rest: Float[Tensor, " coordinate"]  # the mean neutral
    identity_basis: Float[Tensor, "identity coordinate"]
    expression_basis: Float[Tensor, "expression coordinate"]
    center: Float[Tensor, " coordinate"]  # taken from a scan before encoding
    encoder: Float[Tensor, "coordinate code"]
    offset: Float[Tensor, " code"]  # codes of the center


class LinearModel(MorphableModel):
    """A linear morphable model; see the module's first lines, and :class:`LinearConfig` for the choices.

    Examples
    --------
    >>> model = LinearModel.fit(scans)
    >>> codes = model.encode(torch.from_numpy(scans.vertices(scans.rows("test"))))
    >>> tuple(codes.identity.shape)
    (6, 3)
    """

    name: ClassVar[str] = "linear"
    trainable: ClassVar[bool] = False
    config_class: ClassVar[type] = LinearConfig

    rest: Tensor
    identity_basis: Tensor
    expression_basis: Tensor
    center: Tensor
    encoder: Tensor
    offset: Tensor

    def __init__(self, config: LinearConfig, topology: Topology, parts: LinearParts):
        super().__init__(topology, len(parts.identity_basis), len(parts.expression_basis))
        self.config = config
        flat, size = 3 * topology.vertex_count, self.identity_size + self.expression_size
        bases = (self.identity_size, flat), (self.expression_size, flat)
        shapes = ((flat,), *bases, (flat,), (flat, size), (size,))
        for name, value, shape in zip(LinearParts._fields, parts, shapes, strict=True):
            if value.shape != shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted {shape}")
            self.register_buffer(name, value.float())

    @classmethod
    def fit(cls, scans: ScanDataset, recipe: "Recipe | LinearConfig | None" = None) -> "LinearModel":
        """Solve for the bases and the encoder on the training scans; 6,000 scans of 1,200 vertices take seconds.

        Codes are fewer than asked for where the scans span fewer directions.
        """
        config = recipe if isinstance(recipe, LinearConfig) else getattr(recipe, "config", None) or LinearConfig()
        if not isinstance(config, LinearConfig):
            raise RecipeError(f"LinearModel.fit got a {type(config).__name__}; wanted a recipe whose model is linear.")
        neutrals = pseudo_neutrals(scans, config.neutrals)
        model = cls(config, scans.topology, solve(scans, neutrals, config))
        model.calibrate(scans, neutrals)
        model.card.data_hash = scans.data_hash
        return model

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm."""
        codes = (vertices.flatten(start_dim=1) - self.center) @ self.encoder + self.offset
        return Codes(codes[:, : self.identity_size], codes[:, self.identity_size :])

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        self.check_codes(codes)
        flat = self.rest + codes.identity @ self.identity_basis + codes.expression @ self.expression_basis
        return flat.unflatten(1, (-1, 3))

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm: no expression is the zero code."""
        self.check_code("identity", identity)
        return (self.rest + identity @ self.identity_basis).unflatten(1, (-1, 3))

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Expressions on the mean neutral, in mm."""
        self.check_code("expression", expression)
        return (self.rest + expression @ self.expression_basis).unflatten(1, (-1, 3))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "LinearModel":
        """Build the model from a file's parts."""
        model = cls(LinearConfig(**config), topology, LinearParts(**{k: state[k] for k in LinearParts._fields}))
        model.load_state_dict(state)
        return model


def solve(scans: ScanDataset, neutrals: Float[np.ndarray, "subject vertex 3"], config: LinearConfig) -> LinearParts:
    """Bases and encoder from the training scans and one neutral for each of their subjects, all in mm."""
    rows = scans.rows("train")
    subject = scans.subject[rows]
    # float32 scans: their noise is far above its rounding, and the large products run twice as fast.
    shown = torch.from_numpy(scans.vertices(rows)).flatten(start_dim=1)  # (N, 3V)
    at_rest = torch.from_numpy(neutrals).flatten(start_dim=1)  # (S, 3V) float64
    own = at_rest[np.unique(subject)]
    people = own
    if config.mirrored:
        images = mirrored_faces(neutrals[np.unique(subject)], scans.topology)
        people = torch.cat([own, torch.from_numpy(images).flatten(start_dim=1)])
    rest = people.mean(dim=0)
    identity = principal_directions(people - rest, config.identity_size)
    moved = shown - at_rest[subject].float()
    expression = principal_directions(moved, config.expression_size)
    directions = (identity.directions, expression.directions.double())
    spread = (identity.deviations.clamp(min=1e-9), expression.deviations.double().clamp(min=1e-9))
    wanted = torch.cat(
        [
            ((at_rest - rest) @ directions[0].T / spread[0])[subject],
            in_double(moved, directions[1].T) / spread[1],
        ],
        dim=1,
    )  # (N, I + E): the codes that each training scan should get
    bases = [d * s[:, None] for d, s in zip(directions, spread, strict=True)]
    center, encoder, offset = ENCODERS[config.encoder](shown, wanted, rest, torch.cat(bases), config)
    return LinearParts(rest, bases[0], bases[1], center, encoder, offset)


Encoding = tuple[Tensor, Tensor, Tensor]


def ridge_encoder(shown: Tensor, wanted: Tensor, rest: Tensor, basis: Tensor, config: LinearConfig) -> Encoding:
    r"""Ridge regression from whitened principal coordinates of a scan to its codes.

    .. math:: W = (A^T A / N + w I)^{-1} A^T (C - \bar C) / N
    """
    center = shown.mean(dim=0)
    principal = principal_directions(shown - center, config.components)
    whiten = (principal.directions / principal.deviations[:, None]).T.double()  # (3V, K)
    weights, offset = ridge(in_double(shown - center, whiten), wanted, config.ridge_weight)
    return center.double(), whiten @ weights, offset


def least_squares_encoder(shown: Tensor, wanted: Tensor, rest: Tensor, basis: Tensor, config: LinearConfig) -> Encoding:
    r"""Both bases fitted to the scan at once, with a penalty on large codes.

    .. math:: z = \arg\min_z \lVert X - \bar n - z B \rVert^2 + w \lVert z \rVert^2
    """
    gram = basis @ basis.T + config.prior_weight * torch.eye(len(basis), dtype=basis.dtype)
    return rest, torch.linalg.solve(gram, basis).T, torch.zeros(len(basis), dtype=basis.dtype)


ENCODERS: dict[str, Callable[..., Encoding]] = {"ridge": ridge_encoder, "least_squares": least_squares_encoder}


def in_double(
    rows: Float[Tensor, "scan coordinate"], columns: Float[Tensor, "coordinate component"]
) -> Float[Tensor, "scan component"]:
    """Rows times columns in double precision, a block at a time: all rows at once would be twice as large as scans."""
    return torch.cat([block.double() @ columns for block in rows.split(512)])


def ridge(
    inputs: Float[Tensor, "scan input"], targets: Float[Tensor, "scan target"], weight: float
) -> tuple[Float[Tensor, "input target"], Float[Tensor, " target"]]:
    """Coefficients and offset of a ridge regression from centered inputs."""
    mean = targets.mean(dim=0)
    gram = inputs.T @ inputs / len(inputs) + weight * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    return torch.linalg.solve(gram, inputs.T @ (targets - mean) / len(inputs)), mean


def mirrored_faces(
    neutrals: Float[np.ndarray, "subject vertex 3"], topology: Topology
) -> Float[np.ndarray, "subject vertex 3"]:
    """Faces at rest as a mirror shows them, in mm, to be added to the others.

    Raises
    ------
    RecipeError : If the mean face is far from symmetric in x, so that mirror images would be nobody's.
    """
    # The template may be one asymmetric person; the mean over subjects is nearly symmetric.
    mirror = mirror_map(Topology(template=neutrals.mean(axis=0), faces=topology.faces))
    if mirror.residual.mean() > 5.0:
        raise RecipeError(
            f"mirrored subjects were asked for, but the mean face is {mirror.residual.mean():.1f} mm from its mirror "
            "image in x on average; wanted at most 5. Set mirrored to false, or turn the scans so that left is +x."
        )
    return mirror.apply(neutrals)
