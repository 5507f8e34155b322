r"""The multilinear model: subject and expression as two modes of one tensor of labeled scans (Vlasic et al. 2005).

.. math:: X = \bar X + \left(\sum_{ij} a_i\, b_j\, C_{ij}\right) D, \qquad a = (1, z_{id}), \quad b = (1, z_{exp})

with :math:`D` principal directions of the vertex mode and :math:`C` a small core (FaceWarehouse, Cao et al. 2014, keeps
all vertices instead). An expression moves each subject differently, which the linear model cannot say; but it has to be
told what each scan shows, and knows only those expressions. See :mod:`meshdisent.morphable.cell_tensor` for the fit.

A scan is encoded as the most likely codes, with the Gaussians of the training codes as priors:

.. math:: \min_z\; \frac{1}{\sigma^2} \lVert x - \sum_{ij} a_i b_j C_{ij} \rVert^2
    + w\,(\lVert z_{id} \rVert^2 + (z_{exp} - \mu)^T \Sigma^{-1} (z_{exp} - \mu))

by Gauss-Newton steps in both codes at once. Solving for one while the other stays, in turn, as the papers do, has not
arrived after 200 sweeps on ICT-300 (128 scans, 2.1 s); 9 steps have (0.3 s), and from any start at the same codes.
"""

import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.cell_tensor import TOLERANCE_MM, Cells, Filled, complete, gather_cells, with_one
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.principal import principal_directions

if TYPE_CHECKING:
    from meshdisent.training.recipe import Recipe

#: Encoding ends when no code entry moves by more (they have unit variance), or after so many steps.
SMALL_MOVE, MOST_STEPS = 1e-3, 50


@dataclass(frozen=True, kw_only=True)
class MultilinearConfig:
    """Sizes and choices of a multilinear model.

    Parameters
    ----------
    identity_size, expression_size : Entries of the codes, at most; one less than there are subjects, and expressions.
    components : Principal directions of the vertex mode, at most.
    prior_weight : Weight of the priors on codes in encoding; 1 is what the training scans suggest.
    rounds : How often empty cells are filled in anew, at most.
    """

    identity_size: int = 32
    expression_size: int = 32
    components: int = 300
    prior_weight: float = 1.0
    rounds: int = 100

    def __post_init__(self) -> None:
        for name in ("identity_size", "expression_size", "components", "rounds"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} is {getattr(self, name)}; wanted at least 1. Set it in the recipe.")
        if self.prior_weight <= 0:
            raise RecipeError(f"prior_weight is {self.prior_weight}; wanted above 0, or codes may be anything.")


class MultilinearParts(NamedTuple):
    """Everything that a multilinear model knows; lengths in mm."""

    center: Float[Tensor, " coordinate"]
    directions: Float[Tensor, "component coordinate"]  # orthonormal
    core: Float[Tensor, "identity1 expression1 component"]
    noise: Float[Tensor, ""]  # variance of a coordinate that codes do not explain, mm^2
    usual: Float[Tensor, " expression"]  # mean expression code of the training cells
    precision: Float[Tensor, "expression expression"]  # inverse covariance of them


class MultilinearModel(MorphableModel):
    """A multilinear morphable model; see the module's first lines, and :class:`MultilinearConfig` for the choices.

    Examples
    --------
    >>> model = MultilinearModel.fit(scans, MultilinearConfig(identity_size=3, expression_size=2))
    >>> codes = model.encode(torch.from_numpy(scans.vertices(scans.rows("test"))))
    >>> tuple(codes.identity.shape), tuple(model.decode(codes).shape)
    ((6, 3), (6, 162, 3))
    """

    name: ClassVar[str] = "multilinear"
    trainable: ClassVar[bool] = False
    config_class: ClassVar[type] = MultilinearConfig

    center: Tensor
    directions: Tensor
    core: Tensor
    noise: Tensor
    usual: Tensor
    precision: Tensor

    def __init__(self, config: MultilinearConfig, topology: Topology, parts: MultilinearParts):
        identity, expression, components = parts.core.shape
        super().__init__(topology, identity - 1, expression - 1)
        self.config = config
        flat, size = 3 * topology.vertex_count, self.expression_size
        shapes = ((flat,), (components, flat), parts.core.shape, (), (size,), (size, size))
        for name, value, shape in zip(MultilinearParts._fields, parts, shapes, strict=True):
            if value.shape != shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}; wanted {shape}")
            self.register_buffer(name, value.float())

    @classmethod
    def fit(cls, scans: ScanDataset, recipe: "Recipe | MultilinearConfig | None" = None) -> "MultilinearModel":
        """Decompose the training scans mode by mode; seconds. Cells without a scan are filled in.

        The card's notes tell how many cells there are, how many were empty, and how filling in ended.

        Raises
        ------
        DataError : If the scans have no expression labels, or too few of them; see :func:`gather_cells`.
        """
        config = recipe if isinstance(recipe, MultilinearConfig) else getattr(recipe, "config", None)
        config = MultilinearConfig() if config is None else config
        if not isinstance(config, MultilinearConfig):
            raise RecipeError(
                f"MultilinearModel.fit got a {type(config).__name__}; wanted a recipe whose model is multilinear."
            )
        cells = gather_cells(scans)
        parts, filled = solve(cells, config)
        model = cls(config, scans.topology, parts)
        at_rest = parts.center + filled.tensor[:, cells.rest] @ parts.directions
        neutrals, known = scans.neutrals()
        neutrals[~known] = at_rest.mean(dim=0).unflatten(0, (-1, 3)).float().numpy()
        model.calibrate(scans, neutrals)
        model.card.data_hash = scans.data_hash
        model.card.notes["cells"] = _told(cells, filled)
        return model

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm, the most likely ones; every scan by itself, so a batch changes nothing.

        Gradients are those of the minimum (implicit function theorem), not of the way there.
        """
        seen = (vertices.flatten(start_dim=1) - self.center) @ self.directions.T
        solver = _Solver(self)
        codes = solver.refine(solver.solve(seen.detach().double()), seen.double()).to(vertices.dtype)
        return Codes(*codes.split(solver.sizes, dim=1))

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        self.check_codes(codes)
        arms = torch.einsum("bj,ijk->bik", with_one(codes.expression), self.core)
        coordinates = torch.einsum("bi,bik->bk", with_one(codes.identity), arms)
        return (self.center + coordinates @ self.directions).unflatten(1, (-1, 3))

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm: the weights of the neutral are the zero code."""
        self.check_code("identity", identity)
        return self.decode(Codes(identity, identity.new_zeros(len(identity), self.expression_size)))

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Expressions on the mean subject, in mm."""
        self.check_code("expression", expression)
        return self.decode(Codes(expression.new_zeros(len(expression), self.identity_size), expression))

    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self.config)

    @classmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "MultilinearModel":
        """Build the model from a file's parts."""
        parts = MultilinearParts(**{name: state[name] for name in MultilinearParts._fields})
        model = cls(MultilinearConfig(**config), topology, parts)
        model.load_state_dict(state)
        return model


def solve(cells: Cells, config: MultilinearConfig) -> tuple[MultilinearParts, Filled]:
    """Decompose cells: the vertex mode first, so that everything after it is small."""
    center = cells.faces.mean(dim=0)
    directions = principal_directions(cells.faces - center, config.components).directions
    coordinates = ((cells.faces - center) @ directions.T).double()
    tensor = coordinates.new_zeros(*cells.shape, len(directions))
    known = torch.zeros(cells.shape, dtype=torch.bool)
    tensor[cells.subject, cells.expression] = coordinates
    known[cells.subject, cells.expression] = True
    sizes = config.identity_size, config.expression_size
    filled = complete(tensor, known, cells.rest, sizes, cells.faces.shape[1] // 3, config.rounds)
    if filled.change_mm >= TOLERANCE_MM:
        warnings.warn(
            f"Filling in {int((~known).sum())} of {known.numel()} cells still moves them by {filled.change_mm:.3f} mm "
            f"after {filled.rounds} rounds. Raise config.rounds, or leave out subjects with few scans.",
            stacklevel=3,
        )
    codes = filled.factors.expression
    usual = codes.mean(dim=0)
    covariance = (codes - usual).T @ (codes - usual) / len(codes)
    covariance += 1e-6 * torch.eye(len(usual), dtype=codes.dtype)
    precision = torch.linalg.inv(covariance)
    core = filled.factors.core
    return MultilinearParts(center.double(), directions.double(), core, filled.noise, usual, precision), filled


def _told(cells: Cells, filled: Filled) -> dict[str, Any]:
    """What the card says of the cells."""
    subjects, expressions = cells.shape
    return {
        "subjects": subjects,
        "expressions": expressions,
        "empty": subjects * expressions - len(cells.faces),
        "scans": cells.scan_count,
        "scans without label, left out": cells.unlabeled,
        "rounds of filling in": filled.rounds,
        "last change, mm": round(filled.change_mm, 4),
    }


class _Solver:
    """Most likely codes for the vertex coordinates of some scans, in double precision.

    Both codes stand side by side in one row, (B, I + E).
    """

    def __init__(self, model: MultilinearModel):
        self.sizes = [model.identity_size, model.expression_size]
        self.core = model.core.double()
        usual, precision = model.usual.double(), model.precision.double()
        self.start = torch.cat([usual.new_zeros(self.sizes[0]), usual])
        unit = torch.eye(self.sizes[0], dtype=usual.dtype, device=usual.device)
        self.prior = model.noise.double() * model.config.prior_weight * torch.block_diag(unit, precision)

    @torch.no_grad()
    def solve(self, seen: Float[Tensor, "batch component"]) -> Float[Tensor, "batch code"]:
        """Gauss-Newton steps from the usual face on; a step that would make a scan's fit worse is halved."""
        codes = self.start.expand(len(seen), -1)
        for _ in range(MOST_STEPS):
            slopes, left = self._linearized(codes, seen)
            step = torch.linalg.solve(slopes @ slopes.transpose(1, 2) + self.prior, self._pull(codes, slopes, left))
            before = self._cost(codes, left) * (1 + 1e-12)  # a difference that is rounding is none
            for _ in range(10):
                worse = self._cost(codes + step, self._linearized(codes + step, seen)[1]) > before
                if not worse.any():
                    break
                step = torch.where(worse[:, None], step / 2, step)
            codes = codes + step
            if not len(step) or float(step.abs().max()) < SMALL_MOVE:
                break
        return codes

    def refine(
        self, codes: Float[Tensor, "batch code"], seen: Float[Tensor, "batch component"]
    ) -> Float[Tensor, "batch code"]:
        """One step of Newton's method: all digits, and the gradient of the minimum with respect to the scan."""
        with torch.no_grad():
            slopes, left = self._linearized(codes, seen)
            rough = slopes @ slopes.transpose(1, 2) + self.prior
            cross = torch.einsum("bk,ijk->bij", left, self.core[1:, 1:])
            curvature = rough.clone()
            curvature[:, : self.sizes[0], self.sizes[0] :] -= cross
            curvature[:, self.sizes[0] :, : self.sizes[0]] -= cross.transpose(1, 2)
            # Far from every training scan the true curvature may bend the wrong way; there Gauss-Newton's has to do.
            bends = torch.linalg.cholesky_ex(curvature).info != 0
            curvature = torch.where(bends[:, None, None], rough, curvature)
            shown = seen - left  # what the codes decode to, without a gradient
        left = seen - shown
        return codes + torch.linalg.solve(curvature, self._pull(codes, slopes, left))

    def _linearized(self, codes: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """(B, I + E, K) How the coordinates move with each code entry, and (B, K) what they lack of those seen."""
        identity, expression = codes.split(self.sizes, dim=1)
        of_identity = torch.einsum("bj,ijk->bik", with_one(expression), self.core)
        of_expression = torch.einsum("bi,ijk->bjk", with_one(identity), self.core)
        left = seen - torch.einsum("bi,bik->bk", with_one(identity), of_identity)
        return torch.cat([of_identity[:, 1:], of_expression[:, 1:]], dim=1), left

    def _pull(self, codes: Tensor, slopes: Tensor, left: Tensor) -> Float[Tensor, "batch code"]:
        """Half the negative gradient of the cost."""
        return torch.einsum("bck,bk->bc", slopes, left) - (codes - self.start) @ self.prior

    def _cost(self, codes: Tensor, left: Tensor) -> Float[Tensor, " batch"]:
        apart = codes - self.start
        return left.square().sum(dim=1) + ((apart @ self.prior) * apart).sum(dim=1)
