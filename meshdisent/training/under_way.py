"""Training that is under way: its steps, what is measured and kept now and then, and when it ends.

Several processes take the same steps, each on its part of every batch: all of them count, the first one measures,
writes and speaks.
"""

from dataclasses import asdict
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from meshdisent.errors import MeshdisentError
from meshdisent.morphable.trainable import BatchSupply, Trainable, TrainingData
from meshdisent.nn import processes
from meshdisent.training.checkpoint import (
    Checkpoint,
    check_same_run,
    load_optimizer,
    optimizer_tensors,
    read_checkpoint,
    save_checkpoint,
)
from meshdisent.training.counters import PATIENCE_WITH_NAN, Counters
from meshdisent.training.memory import check_room, out_of_memory
from meshdisent.training.plan import Plan
from meshdisent.training.progress import LiveLine, StopRequest
from meshdisent.training.recipe import Recipe, write_recipe
from meshdisent.training.run_folder import RunFolder
from meshdisent.training.step import Stepper, StepReport


class Loop:
    """Training that is under way."""

    def __init__(
        self,
        model: Trainable,
        data: TrainingData,
        recipe: Recipe,
        folder: RunFolder | None,
        batches: BatchSupply,
        plan: Plan,
        line: LiveLine,
    ):
        assert recipe.training is not None
        self.model, self.data, self.recipe, self.config = model, data, recipe, recipe.training
        self.folder, self.batches, self.plan, self.line = folder, batches, plan, line
        self.writes = folder is not None and processes.number() == 0
        # On the CPU whatever the device, so that a seed means the same noise everywhere.
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.counters = Counters()
        self.best: dict[str, Tensor] = {}
        self.log: list[dict[str, Any]] = []
        self._session = perf_counter(), 0.0
        self._saved_at = 0.0
        self._asked: int | None = None  # the signal that any of the processes got
        self._fits = False  # looked at before the first step of a phase
        self.enter_phase(plan.number_at(0))

    # ---------------------------------------------------------------- one after the other

    def begin(self) -> None:
        """Start at step 0."""
        begin_run(self.folder if self.writes else None, self.recipe)
        if len(self.data.rows("val")) == 0:
            unused = " Early stopping is off." if self.config.patience is not None else ""
            kept = " The last weights are kept, since there are no best ones." if self.config.keep_best else ""
            self.warn(f"The dataset has no validation scans, so no figures are shown while training.{unused}{kept}")
        for caution in self.model.cautions():
            self.warn(caution)
        self._session = perf_counter(), 0.0
        if self.config.keep_best and len(self.data.rows("val")):
            self.validate()  # a model with a linear start is good already: training must not end with a worse one
        self.save()

    def run(self, stop: StopRequest) -> str:
        """Train until something ends it, and say what."""
        self.model.train()
        self.agree(stop)
        while (reason := self.reason_to_stop()) is None:
            self.take_step()
            self.agree(stop)
            if self.is_validation_due():
                self.validate()
            if self.counters.seconds - self._saved_at >= 60 * self.config.checkpoint_minutes:
                self.save()
        if reason != "interrupted" and (self.counters.validated_step < self.counters.step or not self.log):
            self.validate()
        self.save()
        return reason

    def agree(self, stop: StopRequest) -> None:
        """Let all processes see the same clock and the same signals, so that they decide alike."""
        try:
            self.counters.seconds, asked = processes.largest(self.counters.seconds, float(stop.number or 0))
        except processes.ProcessLost as error:
            raise self._lost(error) from error
        if asked:
            self._asked = stop.number = int(asked)

    def reason_to_stop(self) -> str | None:
        """Why training ends now, if it does."""
        config, counters = self.config, self.counters
        if self._asked is not None:
            return "interrupted"
        if self.plan.last_step is not None and counters.step >= self.plan.last_step:
            return "steps"
        if config.minutes is not None and counters.seconds >= 60 * config.minutes:
            return "minutes"
        if config.patience is not None and counters.stale >= config.patience:
            return "patience"
        return None

    def take_step(self) -> None:
        """Draw batches, let the players move, take note of what was seen."""
        counters, config = self.counters, self.config
        batches = [self.batches.next() for _ in range(config.accumulation)]
        if not self._fits:
            check_room(self.model, config, self.phase, batches[0])
            self._fits = True
        rate = self.plan.rate_at(config, counters.step, counters.seconds)
        try:
            report = self.stepper.take(batches, self.generator, rate)
        except processes.ProcessLost as error:
            raise self._lost(error) from error
        except (RuntimeError, MemoryError) as error:
            said = out_of_memory(error, batches[0], self._kept())
            if said is None:
                raise
            raise said from error
        started, before = self._session
        counters.seconds = before + perf_counter() - started
        for message in counters.take_note(report):
            self.warn(message)
        if counters.skipped_in_row >= PATIENCE_WITH_NAN:
            raise self._failure(report)
        self.line.show(counters.step, counters.seconds, report.terms, counters.figures)
        due = self.plan.number_at(counters.step)
        if due != self.phase:
            self.enter_phase(due)
            self.line.say(f"After step {counters.step:,}: {self.plan.phases[due].name} begins.")

    def enter_phase(self, number: int) -> None:
        """Go on with the players and companions of a phase, with new optimizers."""
        phase = self.plan.phases[number]
        self.phase, self._fits = number, False
        self.stepper = Stepper(self.model, self.config, phase)
        self.batches.accompany(phase.companions, self.plan.starts[number] * self.config.accumulation)

    def is_validation_due(self) -> bool:
        """Whether the validation scans are to be measured after this step."""
        config, counters = self.config, self.counters
        by_steps = config.validate_steps is not None and counters.step % config.validate_steps == 0
        waited = counters.seconds - counters.validated_seconds
        return by_steps or (config.validate_minutes is not None and waited >= 60 * config.validate_minutes)

    def validate(self) -> None:
        """Measure the validation scans, keep the best model, write a row of the log.

        Before the last phase there is nothing to measure: a discriminator alone makes no faces.
        """
        counters, config = self.counters, self.config
        is_measured = self.plan.is_measured(self.phase)
        counters.figures = processes.first_says(
            lambda: self.model.measure(self.data, limit=config.validate_scans) if is_measured else {}
        )
        self.model.train()
        watched = self.model.watched(counters.figures, config.watch or "")
        if watched is not None and (counters.best is None or watched < counters.best):
            counters.best, counters.stale = watched, 0
            if config.keep_best and processes.number() == 0:
                self.best = {k: v.detach().cpu().clone() for k, v in self.model.state_dict().items()}
        elif watched is not None:
            counters.stale += 1
        means = counters.means()
        self.log.append(
            {
                "step": counters.step,
                "seconds": round(counters.seconds, 3),
                "terms": means,
                "figures": counters.figures,
                "skipped": counters.skipped,
                "warnings": counters.warnings,
            }
        )
        if self.writes and self.folder is not None:
            self.folder.write_log(self.log)
        counters.start_row()
        counters.validated_step, counters.validated_seconds = counters.step, counters.seconds
        counters.log_rows = len(self.log)
        self.line.show(counters.step, counters.seconds, means, counters.figures, now=True)

    def keep_best(self) -> None:
        """Put the best weights that validation saw back into the model, where the recipe wants them."""
        if self.best:
            self.model.load_state_dict(self.best)
        processes.as_first(list(self.model.state_dict().values()))

    # ---------------------------------------------------------------- stopping and going on

    def save(self) -> None:
        """Write a checkpoint; not in the middle of a row of bad steps, so that the last one is good."""
        self._saved_at = self.counters.seconds
        if not self.writes or self.folder is None or self.counters.skipped_in_row:
            return
        content = Checkpoint(
            model=self.model.state_dict(),
            best=self.best,
            optimizers={name: optimizer_tensors(o) for name, o in self.stepper.optimizers.items()},
            random={"generator": self.generator.get_state(), "batches": self.batches.state()},
            counters=asdict(self.counters),
            recipe=self.recipe.plain(),
            data_hash=self.data.data_hash,
            threads=torch.get_num_threads(),
            processes=processes.count(),
        )
        save_checkpoint(self.folder, self.model, content)

    def resume(self) -> None:
        """Continue from the folder's newest whole checkpoint."""
        assert self.folder is not None
        checkpoint, head, complaint = read_checkpoint(self.folder)
        check_same_run(self.model, checkpoint, head, self.recipe, self.data, str(self.folder.path))
        if complaint:
            self.warn(f"{complaint} Going on from the checkpoint before it.")
        self.model.load_state_dict(checkpoint.model)
        self.counters = Counters(**checkpoint.counters)
        self.batches.restore(checkpoint.random["batches"])
        self.enter_phase(self.plan.number_at(self.counters.step))
        for name, optimizer in self.stepper.optimizers.items():
            load_optimizer(optimizer, checkpoint.optimizers.get(name, {}))
        self.generator.set_state(checkpoint.random["generator"])
        self.best = checkpoint.best
        self.log = self.folder.read_log()[: self.counters.log_rows]
        self._session = perf_counter(), self.counters.seconds
        self._saved_at = self.counters.seconds
        if self.writes:
            write_recipe(self.recipe, self.folder.recipe, overwrite=True)
        if checkpoint.processes != processes.count():
            self.warn(
                f"The run was made by {checkpoint.processes} processes and goes on with {processes.count()}: the same "
                "batches, cut otherwise, so it will not be the same bit for bit."
            )
        if checkpoint.threads != torch.get_num_threads():
            self.warn(
                f"The run was made with {checkpoint.threads} threads and goes on with {torch.get_num_threads()}: "
                "sums are rounded differently, so it will not be the same bit for bit."
            )
        self.line.say(f"Going on from step {self.counters.step:,}.")

    def farewell(self) -> str:
        """What to say when training was interrupted."""
        where = f"Stopped after step {self.counters.step:,}. "
        if self.folder is None:
            return where + "Nothing is kept, since the run has no folder."
        return where + f"Everything is kept in {self.folder.path}; go on with the same command and --resume."

    def _lost(self, error: processes.ProcessLost) -> processes.ProcessLost:
        return processes.ProcessLost(f"{error}{self._kept()} Go on with the same command and --resume.")

    def _kept(self) -> str:
        return f" The last good checkpoint is in {self.folder.path}." if self.folder is not None else ""

    def _failure(self, report: StepReport) -> MeshdisentError:
        return MeshdisentError(
            f"Training stopped at step {self.counters.step:,}: {PATIENCE_WITH_NAN} steps in a row were skipped, since "
            f"{', '.join(report.skipped)} was not finite.{self._kept()} Lower training.learning_rate or set "
            "training.gradient_clip=1, and look at the scans with `meshdisent inspect`."
        )

    def warn(self, message: str) -> None:
        """Say something that matters, and keep it for the next row of the log."""
        self.counters.warnings.append(message)
        self.line.say(f"Warning: {message}")


def begin_run(folder: RunFolder | None, recipe: Recipe) -> None:
    """Make the folder this run's: what an earlier one left is removed now that this one could be built."""
    if folder is not None:
        folder.clear()
        write_recipe(recipe, folder.recipe)
