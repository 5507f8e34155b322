"""One step of training: every player in turn minimizes the weighted sum of its terms.

A player whose loss or gradient is not finite does not move in that step: its parameters, its optimizer and the buffers
that were written on its behalf (such as a neutral bank) stay as they were.
"""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from meshdisent.morphable.trainable import Phase, Player, Trainable, TrainingBatch
from meshdisent.nn import processes
from meshdisent.training.recipe import TrainingConfig

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step saw.

    Attributes
    ----------
    terms : Unweighted terms, and under ``total`` their weighted sum; with several players as ``PLAYER.TERM``.
    skipped : Names of what was not finite; empty if every player moved.
    gradients : Norm of each player's gradient before it is clipped.
    """

    terms: dict[str, float]
    skipped: tuple[str, ...]
    gradients: dict[str, float] = field(default_factory=dict)


def learning_rate(config: TrainingConfig, step: int, fraction: float, epoch: int = 0) -> float:
    """Learning rate of a step: a linear rise over the first steps, then what the schedule says.

    Parameters
    ----------
    step, epoch : Steps and epochs that are done, in this phase.
    fraction : How much of the whole training is done, 0 to 1.

    Examples
    --------
    >>> config = TrainingConfig(steps=100, learning_rate=0.5, schedule="cosine", warmup_steps=4)
    >>> [round(learning_rate(config, step, step / 100), 3) for step in (0, 3, 50, 100)]
    [0.125, 0.499, 0.25, 0.0]
    >>> config = TrainingConfig(epochs=300, learning_rate=1.0, schedule="decay", decay=0.5, decay_epochs=50)
    >>> [learning_rate(config, 0, 0.0, epoch) for epoch in (0, 49, 50, 149)]
    [1.0, 1.0, 0.5, 0.25]
    """
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * min(fraction, 1.0)))
    if config.schedule == "decay":
        rate *= config.decay ** (epoch // config.decay_epochs)
    return rate * min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else rate


class Stepper:
    """Takes steps: holds players, an optimizer for each, and room to undo what an objective wrote.

    Parameters
    ----------
    model : Its ``players`` say what is minimized, unless a phase is given.
    config : Optimizer, clipping and precision.
    phase : Whose players, and what they look at.
    """

    def __init__(self, model: Trainable, config: TrainingConfig, phase: Phase | None = None):
        self.config = config
        self.players: list[Player] = model.players() if phase is None else phase.players
        self._look = None if phase is None else phase.look
        self.parameters = {p.name: [w for w in p.parameters() if w.requires_grad] for p in self.players}
        # Fused: 9 ms instead of 30 for the 5 million weights of WSDF on one core, and as repeatable.
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            player.name: OPTIMIZERS[config.optimizer](
                self.parameters[player.name],
                lr=config.learning_rate,
                betas=config.betas,
                weight_decay=config.weight_decay if player.weight_decay is None else player.weight_decay,
                fused=True,
            )
            for player in self.players
        }
        self._model = model
        stored = model.state_dict().keys()
        self._before = {name: b.detach().clone() for name, b in model.named_buffers() if name in stored}

    def take(self, batches: Sequence[TrainingBatch], generator: torch.Generator, rate: float) -> StepReport:
        """Let every player move once, on the gradient averaged over ``batches``.

        ``rate`` is for players without a learning rate of their own; the others' is multiplied alike.
        """
        self._remember()
        seen = self._see(batches, generator)
        terms: dict[str, float] = {}
        gradients: dict[str, float] = {}
        skipped: list[str] = []
        for player in self.players:
            found = self._move(player, seen, generator, rate)
            prefix = f"{player.name}." if len(self.players) > 1 else ""
            terms |= {prefix + name: value for name, value in found.items() if name != "gradient"}
            gradients[player.name] = found["gradient"]
            if not _may_move(found):
                skipped += [prefix + name for name, value in found.items() if not math.isfinite(value)]
        return StepReport(terms=terms, skipped=tuple(skipped), gradients=gradients)

    def measure(self, batches: Sequence[TrainingBatch], generator: torch.Generator) -> Tensor:
        """The sum of all players' losses, with the graph that a step follows back; nobody moves."""
        seen = self._see(batches, generator)
        losses = [self._losses(player, *pair, generator)[1] for player in self.players for pair in seen]
        return torch.stack(losses).sum()

    def _see(self, batches: Sequence[TrainingBatch], generator: torch.Generator) -> list[tuple[TrainingBatch, Any]]:
        """Each batch, and what the phase makes of it for all players."""
        seen: list[tuple[TrainingBatch, Any]] = []
        for batch in batches:
            with self._precision(batch):
                seen.append((batch, batch if self._look is None else self._look(batch, generator)))
        return seen

    def _losses(
        self, player: Player, batch: TrainingBatch, looked: Any, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        """A player's terms and their weighted sum."""
        with self._precision(batch):
            terms = player.objective(looked, generator)
            return terms, torch.stack([w * terms[name] for name, w in player.weights.items() if w != 0]).sum()

    def _move(
        self, player: Player, seen: Sequence[tuple[TrainingBatch, Any]], generator: torch.Generator, rate: float
    ) -> dict[str, float]:
        """Terms, ``total`` and the norm of the ``gradient`` of one player, who moves if all that counts is finite."""
        optimizer, parameters = self.optimizers[player.name], self.parameters[player.name]
        optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for batch, looked in seen:
            terms, total = self._losses(player, batch, looked, generator)
            # Only into its own parameters: what another player has is not this one's to move.
            (total / len(seen)).backward(inputs=parameters)
            for name, value in (terms | {"total": total}).items():
                sums[name] = sums.get(name, 0) + value.detach().double() / len(seen)
        gradients = [p.grad for p in parameters if p.grad is not None]
        losses = torch.stack(list(sums.values()))
        processes.mean(gradients)
        processes.mean([losses])
        norm = torch.nn.utils.get_total_norm(gradients)
        # One transfer from the device for everything that is looked at.
        values = torch.cat([losses, norm.double()[None]]).tolist()
        found = dict(zip([*sums, "gradient"], values, strict=True))
        if _may_move(found):
            if self.config.gradient_clip is not None:
                torch.nn.utils.clip_grads_with_norm_(parameters, self.config.gradient_clip, norm)
            for group in optimizer.param_groups:
                group["lr"] = self._rate_of(player, rate)
            optimizer.step()
            self._remember(player)
        else:
            self._restore(player)
        return found

    def _rate_of(self, player: Player, rate: float) -> float:
        if player.learning_rate is None:
            return rate
        return player.learning_rate * (rate / self.config.learning_rate)

    def _precision(self, batch: TrainingBatch) -> AbstractContextManager:
        if self.config.precision == "bfloat16":
            return torch.autocast(batch.device.type, torch.bfloat16)
        return nullcontext()

    @torch.no_grad()
    def _remember(self, player: Player | None = None) -> None:
        """Copy what a model file or checkpoint would hold besides parameters. A bank of 210 subjects takes 0.3 ms."""
        for name, buffer in self._buffers_of(player):
            self._before[name].copy_(buffer)

    @torch.no_grad()
    def _restore(self, player: Player) -> None:
        for name, buffer in self._buffers_of(player):
            buffer.copy_(self._before[name])

    def _buffers_of(self, player: Player | None) -> Iterable[tuple[str, Tensor]]:
        """Stored buffers by name: those that a player writes, or all."""
        own = None if player is None or player.buffers is None else {id(buffer) for buffer in player.buffers()}
        for name, buffer in self._model.named_buffers():
            if name in self._before and (own is None or id(buffer) in own):
                yield name, buffer


def _may_move(seen: dict[str, float]) -> bool:
    """A term that is only reported may be anything; what is minimized, and its gradient, must be finite."""
    return math.isfinite(seen["total"]) and math.isfinite(seen["gradient"])
