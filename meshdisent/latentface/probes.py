"""What a linear classifier reads from frozen features: LatentFace's probe of expressions.

Batch normalization, then a linear map without bias, trained with cross entropy and Adam. The published protocol keeps
the epoch that is best on the very images it is then measured on; ours chooses it on other images. They are two
functions, and say in their result which they are.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.errors import DataError, RecipeError
from meshdisent.metrics.classification import Confusion, accuracy, confusion, expression_score, macro_f1


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How a probe is trained; the defaults are the published values for RAF-DB (batch 128 for the others)."""

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 1234
    validation_share: float = 0.1
    """Share of the training images of each class to choose the epoch on, where no others are given."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise RecipeError(
                f"The probe got {self.epochs} epochs and batches of {self.batch_size}; wanted at least 1, and at least "
                "2, since a batch of one has no variance. Correct the config."
            )
        if not self.learning_rate > 0 or not 0 < self.validation_share < 1:
            raise RecipeError(
                f"The probe got the learning rate {self.learning_rate} and the validation share "
                f"{self.validation_share}; wanted above 0, and between 0 and 1. Correct the config."
            )


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures:
    """Features of N images, their classes, and, to train with mirror images, the features of these.

    Attributes
    ----------
    features : (N, D)
    labels : (N,) From 0.
    mirrored : (N, D) In training one of the two is drawn, evenly, each time an image comes up.
    """

    features: Float[Tensor, "image feature"]
    labels: Int[Tensor, " label"]
    mirrored: Float[Tensor, "mirror feature"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[Tensor, " row"]) -> "LabeledFeatures":
        """Some of the images."""
        mirrored = None if self.mirrored is None else self.mirrored[rows]
        return LabeledFeatures(features=self.features[rows], labels=self.labels[rows], mirrored=mirrored)


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What the probe said of the test images.

    Attributes
    ----------
    accuracy, macro_f1, score : 0 to 1; score is 0.67 F1 + 0.33 accuracy, F1 over classes that occur or were said.
    confusion : (K, K) Counts, rows are true.
    epoch : The epoch that was kept, from 1.
    chosen_on : "validation", or "test" for the published protocol, whose figures are too good.
    accuracies : Accuracy after each epoch on what the epoch was chosen on.
    """

    accuracy: float
    macro_f1: float
    score: float
    confusion: Confusion
    epoch: int
    chosen_on: str
    accuracies: tuple[float, ...]


class ProbeHead(nn.Module):
    """Batch normalization and a linear map without bias: (B, D) -> (B, K) logits."""

    def __init__(self, feature_count: int, class_count: int, generator: torch.Generator | None = None):
        super().__init__()
        self.norm = nn.BatchNorm1d(feature_count)
        # Drawn as nn.Linear draws it, without touching the global random state.
        self.linear = nn.utils.skip_init(nn.Linear, feature_count, class_count, bias=False)
        bound = 1 / math.sqrt(feature_count)
        with torch.no_grad():
            self.linear.weight.uniform_(-bound, bound, generator=generator)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch label"]:
        """Logits of the classes."""
        return self.linear(self.norm(features))


def probe_expressions(
    train: LabeledFeatures,
    test: LabeledFeatures,
    validation: LabeledFeatures | None = None,
    config: ProbeConfig | None = None,
) -> ProbeResult:
    """Train a probe, keep the epoch that is best on validation images, and measure it once on the test images.

    Parameters
    ----------
    train, test : Features and classes of the two splits.
    validation : What the epoch is chosen on; a share of each class of the training images, drawn by seed, if not given.
    config : How it is trained.

    Raises
    ------
    DataError : If a split is empty, sizes differ, a value is not finite, or training has fewer than two classes.

    Examples
    --------
    >>> labels = torch.arange(40) % 2
    >>> easy = LabeledFeatures(features=torch.stack([labels * 2.0 - 1, torch.linspace(0, 1, 40)], 1), labels=labels)
    >>> probe_expressions(easy, easy, config=ProbeConfig(learning_rate=0.1, batch_size=8)).accuracy
    1.0
    """
    config = config or ProbeConfig()
    if validation is None:
        _check({"training": train, "test": test})
        kept, held = _held_out(train.labels, config)
        train, validation = train.take(kept), train.take(held)
    _check({"training": train, "validation": validation, "test": test})
    return _probe(train, validation, test, config, "validation")


def probe_expressions_published(
    train: LabeledFeatures, test: LabeledFeatures, config: ProbeConfig | None = None
) -> ProbeResult:
    """Do as published: keep the epoch that is best on the test images, and report that epoch.

    The figure is chosen on what it is measured on, so it is too good; use it to compare with the papers only.

    Raises
    ------
    DataError : As :func:`probe_expressions`.
    """
    _check({"training": train, "test": test})
    return _probe(train, test, test, config or ProbeConfig(), "test")


def train_on_batches(
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[Float[Tensor, "batch feature"], Int[Tensor, " batch"]]],
) -> list[float]:
    """Take one step of cross entropy for each batch; returns the losses before the steps."""
    head.train()
    losses = []
    for features, labels in batches:
        loss = nn.functional.cross_entropy(head(features), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _probe(
    train: LabeledFeatures, chooser: LabeledFeatures, test: LabeledFeatures, config: ProbeConfig, chosen_on: str
) -> ProbeResult:
    generator = torch.Generator().manual_seed(config.seed)
    class_count = 1 + int(max(part.labels.max() for part in (train, chooser, test)))
    head = ProbeHead(train.features.shape[1], class_count, generator).to(train.features)
    optimizer = torch.optim.Adam(head.parameters(), lr=config.learning_rate)
    accuracies: list[float] = []
    table = np.empty(0)
    for _ in range(config.epochs):
        train_on_batches(head, optimizer, _batches(train, config.batch_size, generator))
        accuracies.append(accuracy(_confusion(head, chooser, class_count)))
        if accuracies[-1] > max(accuracies[:-1], default=-1.0):
            table = _confusion(head, test, class_count)
    return ProbeResult(
        accuracy=accuracy(table),
        macro_f1=macro_f1(table),
        score=expression_score(table),
        confusion=table,
        epoch=1 + accuracies.index(max(accuracies)),
        chosen_on=chosen_on,
        accuracies=tuple(accuracies),
    )


def _batches(
    train: LabeledFeatures, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Float[Tensor, "batch feature"], Int[Tensor, " batch"]]]:
    """All images once, in a drawn order; a single one that is left over joins the batch before it."""
    order = torch.randperm(len(train), generator=generator)
    is_mirrored = torch.rand(len(train), generator=generator) < 0.5
    starts = list(range(0, len(train), batch_size))
    if len(starts) > 1 and len(train) - starts[-1] == 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], len(train)], strict=True):
        rows = order[start:stop].to(train.labels.device)
        features = train.features[rows]
        if train.mirrored is not None:
            chosen = is_mirrored[start:stop].to(features.device)[:, None]
            features = torch.where(chosen, train.mirrored[rows], features)
        yield features, train.labels[rows]


@torch.no_grad()
def _confusion(head: nn.Module, part: LabeledFeatures, class_count: int) -> Confusion:
    head.eval()
    said = head(part.features).argmax(dim=1)
    return confusion(part.labels.cpu().numpy(), said.cpu().numpy(), class_count)


def _held_out(labels: Int[Tensor, " image"], config: ProbeConfig) -> tuple[Int[Tensor, " kept"], Int[Tensor, " held"]]:
    """Rows to train on and rows to choose on: of each class its share, at least one and not all."""
    generator = torch.Generator().manual_seed(config.seed)
    is_held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        rows = torch.nonzero(labels.cpu() == label.cpu()).flatten()
        count = min(max(1, round(config.validation_share * len(rows))), len(rows) - 1)
        is_held[rows[torch.randperm(len(rows), generator=generator)[:count]]] = True
    if not is_held.any():
        raise DataError("Every class has one training image; wanted one more to choose the epoch on. Give validation.")
    kept, held = torch.nonzero(~is_held).flatten(), torch.nonzero(is_held).flatten()
    return kept.to(labels.device), held.to(labels.device)


def _check(parts: dict[str, LabeledFeatures]) -> None:
    size = parts["training"].features.shape[1]
    for name, part in parts.items():
        if len(part) == 0 or len(part.features) != len(part) or part.features.shape[1] != size:
            raise DataError(
                f"The {name} features are {tuple(part.features.shape)} with {len(part)} labels; wanted at least one "
                f"row, (N, {size}), and N labels. Check the split."
            )
        if int(part.labels.min()) < 0:
            raise DataError(
                f"A {name} label is {int(part.labels.min())}; wanted 0 or more. Leave unlabeled images out."
            )
        if not torch.isfinite(part.features).all():
            raise DataError(f"The {name} features have a value that is not finite; wanted finite numbers.")
    mirrored = parts["training"].mirrored
    if mirrored is not None and mirrored.shape != parts["training"].features.shape:
        raise DataError(
            f"The mirrored features are {tuple(mirrored.shape)}; wanted {tuple(parts['training'].features.shape)}."
        )
    if len(parts["training"]) < 2 or len(parts["training"].labels.unique()) < 2:
        raise DataError("The training images are of one class; wanted two or more, or there is nothing to tell apart.")
