"""What every morphable model can do.

A morphable model turns a scan into an identity code and an expression code, and codes into a scan. ``editing``,
``evaluation`` and the command line are written against this class and nothing else, so a linear model and a deep
one are used alike. Vertices are in millimeters on both sides: normalization is the model's own business.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meshdisent.errors import RecipeError, TopologyError, UsageError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.calibration import blocks_of, expression_mask, gaussian
from meshdisent.morphable.named_expressions import expression_tensors
from meshdisent.morphable.tensor_file import FORMAT_VERSION, halved, topology_tensors, write_tensors

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset

Kind = TypeVar("Kind", bound="MorphableModel")

#: The classes that :func:`~meshdisent.morphable.model_file.load` can build, found by name and imported when asked for.
MODELS = {
    "coma": ("meshdisent.morphable.coma", "CoMA"),
    "fed": ("meshdisent.morphable.fed", "FED"),
    "wsdf": ("meshdisent.morphable.wsdf", "WSDF"),
    "linear": ("meshdisent.morphable.linear", "LinearModel"),
    "multilinear": ("meshdisent.morphable.multilinear", "MultilinearModel"),
}


class Codes(NamedTuple):
    """An identity code and an expression code for each scan of a batch."""

    identity: Float[Tensor, "batch identity"]
    expression: Float[Tensor, "batch expression"]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Scans as a training step sees them. Vertices in mm; ``expression`` is -1 where the label is unknown.

    Attributes
    ----------
    epoch : Times that all training scans were seen in this phase, from 0.
    partner : Another training scan for each, see :class:`Companions`; ``is_same`` tells whether it is of that subject.
    neutral : The subject of each scan at rest.
    at_rest : Scans that show next to no expression.
    """

    vertices: Float[Tensor, "batch vertex 3"]
    subject: Int[Tensor, " batch"]
    expression: Int[Tensor, " batch"]
    rows: Int[Tensor, " batch"]
    epoch: int = 0
    partner: Float[Tensor, "batch vertex 3"] | None = None
    is_same: Bool[Tensor, " batch"] | None = None
    neutral: Float[Tensor, "batch vertex 3"] | None = None
    at_rest: Bool[Tensor, " batch"] | None = None


@dataclass(frozen=True, kw_only=True)
class Companions:
    """What a batch carries beside its scans, where a model asks for it.

    Parameters
    ----------
    partner : For each scan a training scan of the ``same_subject``, itself among them; or, by the flip of a fair
        ``coin``, that or one of any other subject.
    neutral, at_rest : Whether batches have these.
    """

    partner: Literal["none", "same_subject", "coin"] = "none"
    neutral: bool = False
    at_rest: bool = False


@dataclass(frozen=True, kw_only=True)
class Player:
    """A set of parameters and the objective that they minimize. WSDF has one, an adversarial model two."""

    name: str
    parameters: Callable[[], Iterable[nn.Parameter]]
    #: (batch, or what :attr:`Phase.look` saw of it; noise generator) -> unweighted terms by name. May update buffers
    #: that have no gradient, such as a bank.
    objective: Callable[[Any, torch.Generator], dict[str, Tensor]]
    #: Weight of each term in the sum that is minimized; a term without a weight is only reported.
    weights: dict[str, float]
    #: Those of the recipe where None; the schedule of the recipe multiplies either.
    learning_rate: float | None = None
    weight_decay: float | None = None
    #: What is written on behalf of this player, to be undone when it is skipped; None: everything.
    buffers: Callable[[], Iterable[Tensor]] | None = None


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a training, with players of its own. Each phase has optimizers of its own; the last one has no end.

    Parameters
    ----------
    players : In the order of each step.
    look : (batch, noise generator) -> what all players of a step are given instead of the batch; computed once.
    companions : What its batches carry.
    steps, epochs : How long it is, whichever is given; the last phase goes on until the training ends.
    has_constant_rate : Whether it leaves the schedule of the recipe alone; warming up is part of the schedule.
    """

    name: str
    players: list[Player]
    look: Callable[[Batch, torch.Generator], Any] | None = None
    companions: Companions = field(default_factory=Companions)
    steps: int | None = None
    epochs: int | None = None
    has_constant_rate: bool = False


#: Where a model file keeps the examples.
EXAMPLES_KEY = "prior/expression_examples"
#: How far from an example expressions are drawn, in deviations of the Gaussian; and how many examples are kept.
KERNEL, EXAMPLES = 0.3, 512


@dataclass(frozen=True, kw_only=True)
class CodePrior:
    """Where codes are likely: a Gaussian for each factor, measured on the training scans.

    Expressions come in clusters, between which a Gaussian sees faces that nobody makes. Where codes of training scans
    are at hand, expressions are drawn near one of them (a kernel density with the covariance of the Gaussian).
    """

    identity_mean: Float[Tensor, " identity"]
    identity_factor: Float[Tensor, "identity identity"]
    expression_mean: Float[Tensor, " expression"]
    expression_factor: Float[Tensor, "expression expression"]
    expression_examples: Float[Tensor, "example expression"] | None = None

    def sample(self, count: int, generator: torch.Generator) -> Codes:
        """Draw ``count`` pairs of codes; ``factor @ factor.T`` is the covariance."""
        identity = self.identity_mean + self._noise(count, self.identity_factor, generator)
        examples = self.expression_examples
        chosen = None if examples is None else torch.randint(len(examples), (count,), generator=generator)
        noise = self._noise(count, self.expression_factor, generator)
        if examples is None or chosen is None:
            return Codes(identity, self.expression_mean + noise)
        near = (1 - KERNEL**2) ** 0.5 * (examples[chosen.to(examples.device)] - self.expression_mean)
        return Codes(identity, self.expression_mean + near + KERNEL * noise)

    @staticmethod
    def _noise(count: int, factor: Float[Tensor, "code code"], generator: torch.Generator) -> Tensor:
        noise = torch.randn(count, len(factor), generator=generator, dtype=factor.dtype).to(factor.device)
        return noise @ factor.T

    def standard_deviations(self) -> Codes:
        """Standard deviation of each code entry over the training scans, (1, I) and (1, E)."""
        return Codes(self.identity_factor.norm(dim=1)[None], self.expression_factor.norm(dim=1)[None])


@dataclass(kw_only=True)
class ModelCard:
    """What a model file tells about how the model came to be. Plain values only; written as JSON."""

    recipe: dict[str, Any] = field(default_factory=dict)
    data_hash: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


class MorphableModel(nn.Module, ABC):
    """A model of registered scans of one topology (see the module's first lines).

    Attributes
    ----------
    topology : The topology of all scans that go in and come out.
    moving : (V,) True for the 30 % of vertices that expressions move most on the training scans.
    card : How the model was made.
    expression_examples : (N, E) Expression codes of some training scans, for drawing new ones; kept in the model file.
    named_expressions : (E,) expression codes under names, such as the shapes of ARKit; kept in the model file.
    """

    name: ClassVar[str]
    #: The dataclass that configures the class; recipes fill it.
    config_class: ClassVar[type]
    #: Whether the loop trains it, through ``for_training`` and ``players``; otherwise ``fit`` computes it at once.
    trainable: ClassVar[bool] = True
    #: Names of buffers or submodules that a model file leaves out because only training needs them.
    training_only: ClassVar[tuple[str, ...]] = ()

    moving: Tensor
    identity_mean: Tensor
    identity_factor: Tensor
    expression_mean: Tensor
    expression_factor: Tensor

    def __init__(self, topology: Topology, identity_size: int, expression_size: int):
        super().__init__()
        self.topology = topology
        self.identity_size = identity_size
        self.expression_size = expression_size
        self.card = ModelCard()
        self.named_expressions: dict[str, Tensor] = {}
        self.expression_examples: Tensor | None = None
        self.register_buffer("moving", torch.zeros(topology.vertex_count, dtype=torch.bool))
        for factor, size in (("identity", identity_size), ("expression", expression_size)):
            self.register_buffer(f"{factor}_mean", torch.zeros(size))
            self.register_buffer(f"{factor}_factor", torch.eye(size))

    @abstractmethod
    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Codes of scans in mm: the mean of the posterior, without noise."""

    @abstractmethod
    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm from codes."""

    @abstractmethod
    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """The face of an identity code at rest, in mm: the only definition of neutral."""

    @abstractmethod
    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """That expression on no one in particular, in mm (the published E_exp looks at these)."""

    @abstractmethod
    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values, enough for :meth:`from_parts`."""

    @classmethod
    @abstractmethod
    def from_parts(cls, config: dict[str, Any], topology: Topology, state: dict[str, Tensor]) -> "MorphableModel":
        """Build the model from what a file holds; ``state`` may lack what is only needed in training."""

    @classmethod
    def fit(cls: type[Kind], scans: "ScanDataset", recipe: Any = None) -> Kind:
        """Train on the training split of a dataset and return the model, ready to use.

        Parameters
        ----------
        recipe : A :class:`~meshdisent.training.recipe.Recipe`; if none is given, that of the zoo with the model's name
            (20 minutes).

        Raises
        ------
        RecipeError : If the recipe is of another model, naming both.
        """
        from meshdisent.training.loop import run_recipe
        from meshdisent.training.recipe import Recipe

        recipe = recipe or Recipe.default(cls.name)
        if recipe.model != cls.name:
            raise RecipeError(
                f"{cls.__name__}.fit got a recipe of the model {recipe.model}; wanted a recipe whose model is "
                f"{cls.name}."
            )
        result = run_recipe(recipe, scans).model
        assert isinstance(result, cls)
        return result

    @classmethod
    def for_training(cls, config: Any, scans: "ScanDataset") -> "MorphableModel":
        """An untrained model for a dataset; weights are drawn from torch's own generator, which the caller seeds."""
        raise NotImplementedError(f"{cls.__name__} is not trained by the loop; use fit")

    def players(self) -> list[Player]:
        """What the loop trains, in the order of each step."""
        raise NotImplementedError(f"{type(self).__name__} is not trained by the loop; use fit")

    def phases(self) -> list[Phase]:
        """The parts of a training one after the other; one that has all players, where a model says nothing else."""
        return [Phase(name="training", players=self.players())]

    def cautions(self) -> list[str]:
        """What a person should know before a training of this model begins, in whole sentences."""
        return []

    def prior(self) -> CodePrior:
        """Where codes are likely: for sampling, fitting and uncertainty."""
        return CodePrior(
            identity_mean=self.identity_mean,
            identity_factor=self.identity_factor,
            expression_mean=self.expression_mean,
            expression_factor=self.expression_factor,
            expression_examples=None if self.expression_examples is None else self._alike(self.expression_examples),
        )

    def _alike(self, codes: Tensor) -> Tensor:
        return codes.to(self.expression_mean)

    def check_scan(self, vertex_count: int, faces: np.ndarray | None, where: str) -> None:
        """Raise :class:`TopologyError` unless a scan fits this model's topology."""
        self.topology.check(vertex_count, faces, where)

    def check_codes(self, codes: Codes) -> None:
        """Raise :class:`UsageError` unless both codes are (batch, size) of this model; looks at shapes alone."""
        self.check_code("identity", codes.identity)
        self.check_code("expression", codes.expression)

    def check_code(self, factor: Literal["identity", "expression"], code: Tensor) -> None:
        """Raise :class:`UsageError` unless a code of one factor is (batch, size) of this model."""
        size = self.identity_size if factor == "identity" else self.expression_size
        if code.ndim != 2 or code.shape[1] != size:
            raise UsageError(
                f"The {factor} code has shape {tuple(code.shape)}; this {self.name} model wants (batch, {size}), a row "
                "of that many numbers for each face. Take codes from its own encode or prior; code[None] makes one row."
            )

    @torch.no_grad()
    def calibrate(self, scans: "ScanDataset", pseudo_neutrals: np.ndarray | None = None) -> None:
        """Measure on the training scans where codes lie and which vertices expressions move.

        ``pseudo_neutrals`` (S, V, 3) stand in for the subjects whose true neutral is unknown.
        """
        self.eval()
        rows = scans.rows("train")
        # Into memory that is there already: many small results between large ones would keep the heap from shrinking.
        identity, shown = (self._like().new_empty(len(rows), n) for n in (self.identity_size, self.expression_size))
        done = 0
        for batch in blocks_of(scans, rows, self._like()):
            codes = self.encode(batch)
            identity[done : done + len(batch)], shown[done : done + len(batch)] = codes.identity, codes.expression
            done += len(batch)
        for factor, values in (("identity", identity), ("expression", shown)):
            mean, spread = gaussian(values)
            getattr(self, f"{factor}_mean").copy_(mean)
            getattr(self, f"{factor}_factor").copy_(spread)
        some = torch.linspace(0, len(shown) - 1, min(EXAMPLES, len(shown))).round().long()
        self.expression_examples = shown[some.to(shown.device)].float().cpu()
        self.moving.copy_(torch.from_numpy(expression_mask(scans, pseudo_neutrals)))

    def _like(self) -> Tensor:
        """A tensor of the model's floating type, on its device."""
        return self.identity_mean

    def save(self, path: str | os.PathLike, overwrite: bool = False, half: bool = False) -> None:
        """Write a self-contained model file: weights, topology, configuration and card; nothing in it can run.

        ``half`` writes the large arrays in half precision: half the file. On ICT-300 the faces of a linear model then
        differ by 0.0014 mm on average, and by 0.018 mm at the worst vertex of 300 scans.

        Raises
        ------
        ModelFileError : If half precision cannot hold a number, or an expression's name or code cannot be kept.
        """
        left_out = tuple(f"{name}." for name in self.training_only) + self.training_only
        state = {f"state/{k}": v for k, v in self.state_dict().items() if not k.startswith(left_out)}
        if half:
            state = halved(state, 3 * self.topology.vertex_count, str(path))
        named = expression_tensors(self.named_expressions, self.expression_size, str(path))
        if self.expression_examples is not None:
            named[EXAMPLES_KEY] = self.expression_examples
        metadata = self.metadata("meshdisent.model") | ({"precision": "float16"} if half else {})
        write_tensors(path, state | topology_tensors(self.topology) | named, metadata, overwrite)

    def metadata(self, kind: str) -> dict[str, str]:
        """The JSON values that stand in the head of a model file or checkpoint."""
        from meshdisent import __version__

        return {
            "format": kind,
            "format_version": str(FORMAT_VERSION),
            "class": self.name,
            "config": json.dumps(self.config_dict(), sort_keys=True),
            "card": json.dumps(vars(self.card), sort_keys=True),
            "topology_hash": self.topology.topology_hash,
            "template_hash": self.topology.template_hash,
            "version": __version__,
        }


def refuse_other_topology(model: MorphableModel, topology: Topology, where: str) -> None:
    """Raise :class:`TopologyError`, with both hashes, unless a dataset has the model's topology."""
    if topology.topology_hash != model.topology.topology_hash:
        raise TopologyError(
            f"{where} has topology {topology.topology_hash} ({topology.vertex_count} vertices, {len(topology.faces)} "
            f"faces); the model wants {model.topology.topology_hash} ({model.topology.vertex_count} vertices, "
            f"{len(model.topology.faces)} faces). Prepare the scans with the topology that the model was trained on."
        )
