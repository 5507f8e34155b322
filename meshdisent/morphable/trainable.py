"""What every model can do that the loop trains and a file keeps, whether it is about scans or about pictures.

The loop knows a model's players, its phases and where its batches come from, and nothing else.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from meshdisent.morphable.tensor_file import FORMAT_VERSION, halved, write_tensors

#: The classes of models that are not morphable; those that are stand in :mod:`meshdisent.morphable.contract`.
OTHER_MODELS = {"latentface": ("meshdisent.latentface.latentface", "LatentFace")}


@runtime_checkable
class TrainingData(Protocol):
    """Data on disk or in memory, split into train, val and test."""

    @property
    def path(self) -> Any:
        """Where it lies; None in memory."""

    @property
    def data_hash(self) -> str:
        """Some digits that change with the content."""

    def rows(self, split: str) -> Int[np.ndarray, " row"]:
        """Rows of a split."""


@runtime_checkable
class TrainingBatch(Protocol):
    """What a step is given."""

    @property
    def device(self) -> torch.device:
        """Where it lies."""

    @property
    def count(self) -> int:
        """Scans or pictures in it."""

    @property
    def nbytes(self) -> int:
        """Bytes of these."""

    @property
    def described(self) -> str:
        """What they are, in words: "32 scans of 1,200 vertices"."""

    def first(self, count: int) -> Any:
        """The first few alone."""


@runtime_checkable
class BatchSupply(Protocol):
    """An endless supply of training batches, whose order never depends on how they are read."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches that see all training data once."""

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def accompany(self, companions: Any, first: int) -> None:
        """Let batches carry what a phase asks for; batch ``first`` is the first of the phase, whose epochs count."""

    def next(self) -> Any:
        """The next batch."""

    def state(self) -> dict[str, Any]:
        """What decides all batches to come."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where :meth:`state` was taken."""


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
    companions : What its batches carry, in the words of the model's :class:`BatchSupply`; None: nothing more.
    steps, epochs : How long it is, whichever is given; the last phase goes on until the training ends.
    has_constant_rate : Whether it leaves the schedule of the recipe alone; warming up is part of the schedule.
    is_measured : Whether there is something to validate before the last phase; a discriminator alone makes no faces.
    """

    name: str
    players: list[Player]
    look: Callable[[Any, torch.Generator], Any] | None = None
    companions: Any = None
    steps: int | None = None
    epochs: int | None = None
    has_constant_rate: bool = False
    is_measured: bool = False


@dataclass(kw_only=True)
class ModelCard:
    """What a model file tells about how the model came to be. Plain values only; written as JSON."""

    recipe: dict[str, Any] = field(default_factory=dict)
    data_hash: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


class Trainable(nn.Module, ABC):
    """A model that a recipe describes and a model file keeps.

    Attributes
    ----------
    card : How the model was made.
    """

    name: ClassVar[str]
    #: The dataclass that configures the class; recipes fill it.
    config_class: ClassVar[type]
    #: Whether the loop trains it, through ``for_training`` and ``players``; otherwise ``fit`` computes it at once.
    trainable: ClassVar[bool] = True
    #: Whether several processes may share a batch: its objective's mean over equal parts is that of the whole.
    shares_batches: ClassVar[bool] = False
    #: Names of buffers or submodules that a model file leaves out because only training needs them.
    training_only: ClassVar[tuple[str, ...]] = ()
    #: Validation figures that a recipe may watch; the first one unless it says.
    watchable: ClassVar[tuple[str, ...]]
    #: What it is trained on, in the plural.
    noun: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.card = ModelCard()

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor of the model's floating type, on its device."""

    @abstractmethod
    def config_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values, enough to build the model again."""

    @classmethod
    @abstractmethod
    def from_file(cls, tensors: dict[str, Tensor], head: dict[str, str], where: str) -> "Trainable":
        """Build the model from the tensors and the texts of a file; what is only needed in training may be absent.

        Anything wrong may be raised as it comes; whoever opens the file says which file it was.
        """

    @classmethod
    @abstractmethod
    def open_data(cls, path: str | os.PathLike) -> Any:
        """Open a file of the data that such a model is trained on."""

    @abstractmethod
    def batches(self, data: Any, training: Any, dtype: torch.dtype) -> BatchSupply:
        """Batches of the training split, as the ``training`` section of a recipe wants them, on the model's device."""

    @abstractmethod
    def measure(self, data: Any, split: str = "val", limit: int | None = None) -> dict[str, Any]:
        """Figures on data that the model was not trained on; empty if the split is."""

    @classmethod
    @abstractmethod
    def in_words(cls, figures: dict[str, Any]) -> str:
        """What :meth:`measure` found, as a line."""

    @classmethod
    @abstractmethod
    def next_command(cls, run: str, data: str) -> str:
        """What a person will want to do with a trained model; run and data are quoted for a shell."""

    @abstractmethod
    def calibrate(self, data: Any) -> None:
        """Measure on the training data what the model keeps beside its weights."""

    @abstractmethod
    def check_same_data(self, head: dict[str, str], data: Any, where: str) -> None:
        """Refuse to resume a run whose data had another form; ``head`` is that of its checkpoint."""

    @classmethod
    def for_training(cls, config: Any, data: Any) -> "Trainable":
        """An untrained model for some data; weights are drawn from torch's own generator, which the caller seeds."""
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

    def watched(self, figures: dict[str, Any], watch: str) -> float | None:
        """The figure that decides which weights are best; smaller is better, None where it is not defined."""
        return figures.get(watch)

    def other_tensors(self, where: str) -> dict[str, Tensor]:
        """What a model file holds beside the state."""
        return {}

    def form_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds so that it alone tells what data it belongs to."""
        return {}

    def form(self) -> dict[str, str]:
        """The same in the head of files: hashes and the like."""
        return {}

    def save(self, path: str | os.PathLike, overwrite: bool = False, half: bool = False) -> None:
        """Write a self-contained model file: weights, configuration, card and all else; nothing in it can run.

        ``half`` writes the large arrays in half precision: half the file. On ICT-300 the faces of a linear model then
        differ by 0.0014 mm on average, and by 0.018 mm at the worst vertex of 300 scans.

        Raises
        ------
        ModelFileError : If half precision cannot hold a number, or an expression's name or code cannot be kept.
        """
        left_out = tuple(f"{name}." for name in self.training_only) + self.training_only
        state = {f"state/{k}": v for k, v in self.state_dict().items() if not k.startswith(left_out)}
        if half:
            state = halved(state, self.spared_size, str(path))
        metadata = self.metadata("meshdisent.model") | ({"precision": "float16"} if half else {})
        write_tensors(path, state | self.form_tensors() | self.other_tensors(str(path)), metadata, overwrite)

    @property
    def spared_size(self) -> int:
        """Tensors of at most so many numbers are not halved."""
        return 0

    def metadata(self, kind: str) -> dict[str, str]:
        """The JSON values that stand in the head of a model file or checkpoint."""
        from meshdisent import __version__

        return {
            "format": kind,
            "format_version": str(FORMAT_VERSION),
            "class": self.name,
            "config": json.dumps(self.config_dict(), sort_keys=True),
            "card": json.dumps(vars(self.card), sort_keys=True),
            **self.form(),
            "version": __version__,
        }
