"""What every morphable model can do.

A morphable model turns a scan into an identity code and an expression code, and codes into a scan. ``editing``,
``evaluation`` and the command line are written against this class and nothing else, so a linear model and a deep
one are used alike. Vertices are in millimeters on both sides: normalization is the model's own business.
"""

import json
import os
from abc import abstractmethod
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshdisent.errors import ModelFileError, RecipeError, TopologyError, UsageError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.calibration import blocks_of, expression_mask, gaussian
from meshdisent.morphable.named_expressions import expression_tensors, expressions_from_tensors
from meshdisent.morphable.tensor_file import topology_from_tensors, topology_tensors, whole
from meshdisent.morphable.trainable import BatchSupply, Trainable

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

    @property
    def device(self) -> torch.device:
        """Where the scans lie."""
        return self.vertices.device

    @property
    def count(self) -> int:
        """Scans in the batch."""
        return len(self.vertices)

    @property
    def nbytes(self) -> int:
        """Bytes of these scans."""
        return self.vertices.nbytes

    @property
    def described(self) -> str:
        """What is in the batch, in words."""
        return f"{len(self.vertices):,} scans of {self.vertices.shape[1]:,} vertices"

    def first(self, count: int) -> "Batch":
        """The first few scans alone."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        cut: dict[str, Any] = {name: value[:count] for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **cut)


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


class MorphableModel(Trainable):
    """A model of registered scans of one topology (see the module's first lines).

    Attributes
    ----------
    topology : The topology of all scans that go in and come out.
    moving : (V,) True for the 30 % of vertices that expressions move most on the training scans.
    expression_examples : (N, E) Expression codes of some training scans, for drawing new ones; kept in the model file.
    named_expressions : (E,) expression codes under names, such as the shapes of ARKit; kept in the model file.
    """

    watchable: ClassVar[tuple[str, ...]] = ("E_avd", "E_neu", "E_neu_kept", "E_id", "E_dis", "sum")
    noun: ClassVar[str] = "scans"

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

    @property
    def like(self) -> Tensor:
        """A tensor of the model's floating type, on its device."""
        return self.identity_mean

    @classmethod
    def open_data(cls, path: str | os.PathLike) -> "ScanDataset":
        """Open prepared scans, a ``faces.h5``."""
        from meshdisent.data.dataset import ScanDataset

        return ScanDataset.open(path)

    def batches(self, data: "ScanDataset", training: Any, dtype: torch.dtype) -> BatchSupply:
        """Batches of training scans; see :class:`~meshdisent.training.batches.Batches`."""
        from meshdisent.training.batches import Batches

        return Batches(data, training.sampler, self.like.device, dtype, 1e9 * training.memory_gigabytes)

    def measure(self, data: "ScanDataset", split: str = "val", limit: int | None = None) -> dict[str, Any]:
        """Figures in mm; see :func:`~meshdisent.training.validation.validate`."""
        from meshdisent.training.validation import validate

        return validate(self, data, split, limit)

    @classmethod
    def in_words(cls, figures: dict[str, Any]) -> str:
        """Validation figures as one line."""
        measured = figures["measured"]
        shown = ", ".join(f"{name} {v:.3f} mm" for name, v in figures.items() if isinstance(v, float))
        neutrals = " (neutrals: medians of each subject's scans)" if measured["neutrals"] == "medians" else ""
        return f"on {measured['scans']} validation scans of {measured['subjects']} subjects: {shown}{neutrals}"

    @classmethod
    def next_command(cls, run: str, data: str) -> str:
        """The evaluation on the test scans."""
        return f"meshdisent evaluate {run} --data {data}"

    def watched(self, figures: dict[str, Any], watch: str) -> float | None:
        """The figure that decides which weights are best, in mm; ``sum`` adds all that are defined."""
        if watch != "sum":
            return super().watched(figures, watch)
        defined = [figures[name] for name in ("E_avd", "E_neu", "E_id") if figures.get(name) is not None]
        return sum(defined) if defined else None

    def check_same_data(self, head: dict[str, str], data: "ScanDataset", where: str) -> None:
        """Raise :class:`TopologyError` unless scans have the topology that a checkpoint names."""
        if head.get("topology_hash") != data.topology.topology_hash:
            raise TopologyError(
                f"{where} was trained on topology {head.get('topology_hash')}; {data.path or 'the dataset'} has "
                f"{data.topology.topology_hash}. Resume with the same faces.h5, or start again with --overwrite."
            )

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
        identity, shown = (self.like.new_empty(len(rows), n) for n in (self.identity_size, self.expression_size))
        done = 0
        for batch in blocks_of(scans, rows, self.like):
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

    @classmethod
    def from_file(cls: type[Kind], tensors: dict[str, Tensor], head: dict[str, str], where: str) -> Kind:
        """Build the model from a model file or a checkpoint."""
        topology = topology_from_tensors(tensors)
        state = whole({k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")})
        model = cls.from_parts(json.loads(head["config"]), topology, state)
        assert isinstance(model, cls)
        if topology.template_hash != head.get("template_hash"):
            raise ModelFileError(
                f"{where} holds a template with hash {topology.template_hash} but says {head.get('template_hash')}. "
                "The file was altered or damaged: copy it again."
            )
        model.named_expressions = expressions_from_tensors(tensors, model.expression_size, where)
        examples = tensors.get(EXAMPLES_KEY)
        if examples is not None and (examples.shape[1:] != (model.expression_size,) or not len(examples)):
            raise ModelFileError(
                f"{where} has expression examples of shape {tuple(examples.shape)}; wanted (N, "
                f"{model.expression_size}). Copy the file again, or train the model again."
            )
        model.expression_examples = examples
        return model

    def other_tensors(self, where: str) -> dict[str, Tensor]:
        """Named expressions and examples of expression codes."""
        named = expression_tensors(self.named_expressions, self.expression_size, where)
        return named if self.expression_examples is None else named | {EXAMPLES_KEY: self.expression_examples}

    def form_tensors(self) -> dict[str, Tensor]:
        """The topology."""
        return topology_tensors(self.topology)

    def form(self) -> dict[str, str]:
        """Hashes of the topology and of the template."""
        return {"topology_hash": self.topology.topology_hash, "template_hash": self.topology.template_hash}

    @property
    def spared_size(self) -> int:
        """What is no larger than one scan is not halved."""
        return 3 * self.topology.vertex_count


def refuse_other_topology(model: MorphableModel, topology: Topology, where: str) -> None:
    """Raise :class:`TopologyError`, with both hashes, unless a dataset has the model's topology."""
    if topology.topology_hash != model.topology.topology_hash:
        raise TopologyError(
            f"{where} has topology {topology.topology_hash} ({topology.vertex_count} vertices, {len(topology.faces)} "
            f"faces); the model wants {model.topology.topology_hash} ({model.topology.vertex_count} vertices, "
            f"{len(model.topology.faces)} faces). Prepare the scans with the topology that the model was trained on."
        )
