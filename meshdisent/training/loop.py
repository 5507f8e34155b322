"""One loop for everything that is trained.

The loop knows a model's players, the sampler and the clock, and nothing else. Each step draws a batch and lets every
player move once; now and then the validation scans are measured in mm, and a checkpoint is written from which the run
continues bit for bit on the same machine. Started by ``torchrun``, several processes take each step together.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from meshdisent.errors import DataError, RecipeError, UsageError
from meshdisent.morphable.trainable import ModelCard, Trainable, TrainingData
from meshdisent.nn import processes
from meshdisent.training.machine import device_of, threads
from meshdisent.training.plan import Plan
from meshdisent.training.progress import Interrupted, LiveLine, stop_on_signals
from meshdisent.training.recipe import Recipe, model_class
from meshdisent.training.run_folder import RunFolder, open_run
from meshdisent.training.step import DTYPES
from meshdisent.training.under_way import Loop, begin_run


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A trained model and how it went.

    Attributes
    ----------
    model : Of the class that the recipe names.
    figures : Validation figures of the model that is given back; empty without validation scans.
    stopped_because : "steps", "minutes", "patience", or "closed form" where nothing had to be trained.
    """

    model: Any
    steps: int
    seconds: float
    figures: dict[str, Any]
    stopped_because: str


def run_recipe(
    recipe: Recipe,
    data: TrainingData,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool = True,
    notes: dict[str, Any] | None = None,
) -> TrainingResult:
    """Make the model that a recipe describes, by training or, for a linear model, in closed form.

    Parameters
    ----------
    recipe, data : What to make, from what: scans, or pictures for a model of pictures.
    out : Folder of the run; nothing is written without it.
    resume, overwrite : Continue the run in that folder, or replace it.
    device : "cpu", "cuda" or "cuda:1".
    progress : Show the live line; messages are shown in any case.
    notes : What else the model's card should tell, such as the command.

    Raises
    ------
    UsageError, RecipeError, DataError, TopologyError, ModelFileError : Each naming what to mend.
    Interrupted : After Ctrl-C or SIGTERM, with a checkpoint written.
    """
    with _joined_run(out, device, resume=resume, overwrite=overwrite) as folder:
        started = perf_counter()
        model = build(recipe, data)
        if recipe.training is not None:
            return _train(model, data, recipe, folder, resume, device, progress, notes or {})
        result = TrainingResult(
            model=model, steps=0, seconds=perf_counter() - started, figures={}, stopped_because="closed form"
        )
        begin_run(folder if processes.number() == 0 else None, recipe)
        return _finish(result, data, recipe, folder, notes or {})


def train(
    model: Trainable,
    data: TrainingData,
    recipe: Recipe,
    out: str | os.PathLike | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "cpu",
    progress: bool = True,
    notes: dict[str, Any] | None = None,
) -> TrainingResult:
    """Train a model that exists already; :func:`run_recipe` builds it too and explains the arguments."""
    if recipe.training is None:
        raise RecipeError(f"The recipe of {recipe.model} has no training section; wanted steps or minutes in it.")
    with _joined_run(out, device, resume=resume, overwrite=overwrite) as folder:
        return _train(model, data, recipe, folder, resume, device, progress, notes or {})


@contextmanager
def _joined_run(
    out: str | os.PathLike | None, device: str, *, resume: bool, overwrite: bool
) -> Iterator[RunFolder | None]:
    """The folder of a run, held by the first process; the others read a checkpoint from it, and write nothing."""
    device_of(device)
    with processes.joined(device):
        if processes.number() == 0:
            with open_run(out, resume=resume, overwrite=overwrite) as folder:
                processes.wait()
                yield folder
                processes.wait()
        else:
            processes.wait()
            yield None if out is None else RunFolder(Path(out))
            processes.wait()


def build(recipe: Recipe, data: TrainingData) -> Trainable:
    """The untrained model of a recipe, or the finished one where it is computed in closed form.

    The same seed gives the same weights; torch's own generator is left as it was.
    """
    if len(data.rows("train")) == 0:
        raise DataError(
            f"{data.path or 'The dataset'} has no training scans. Prepare it with a training split "
            "(meshdisent prepare --split-by)."
        )
    kind = model_class(recipe.model, "The recipe")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return kind.for_training(recipe.config, data) if kind.trainable else kind.fit(data, recipe.config)


def _train(
    model: Trainable,
    data: TrainingData,
    recipe: Recipe,
    folder: RunFolder | None,
    resume: bool,
    device: str,
    progress: bool,
    notes: dict[str, Any],
) -> TrainingResult:
    config = recipe.training
    assert config is not None
    if processes.count() > 1 and not model.shares_batches:
        raise UsageError(
            f"{recipe.model} is trained by one process: parts of a batch would not see what its terms need of the "
            "whole. Start it without torchrun."
        )
    model.to(device_of(processes.own_device(device)))
    if config.precision == "float64":
        model.double()
    with (
        threads(config.threads),
        model.batches(data, config, DTYPES[config.precision]) as batches,
    ):
        plan = Plan.of(model.phases(), config, batches.steps_per_epoch)
        with (
            LiveLine(
                steps=plan.last_step, minutes=config.minutes, shown=progress, speaks=processes.number() == 0
            ) as line,
            stop_on_signals() as stop,
        ):
            loop = Loop(model, data, recipe, folder, batches, plan, line)
            loop.resume() if resume and folder is not None and folder.has_checkpoint() else loop.begin()
            processes.as_first(list(model.state_dict().values()))
            reason = loop.run(stop)
            if reason == "interrupted":
                assert stop.number is not None
                raise Interrupted(loop.farewell(), stop.number)
            loop.keep_best()
            steps, seconds = loop.counters.step, loop.counters.seconds
    if config.precision == "float64":
        model.float()  # what users load
    result = TrainingResult(model=model, steps=steps, seconds=seconds, figures={}, stopped_because=reason)
    return _finish(result, data, recipe, folder, notes)


def _finish(
    result: TrainingResult, data: TrainingData, recipe: Recipe, folder: RunFolder | None, notes: dict[str, Any]
) -> TrainingResult:
    """Calibrate the model, measure it on all validation scans, fill its card and write it; the first process does."""
    model = result.model.eval()
    if processes.number() > 0:
        return result
    if recipe.training is not None:
        model.calibrate(data)
    figures = model.measure(data)
    how = {"steps": result.steps, "seconds": round(result.seconds, 1), "stopped_because": result.stopped_because}
    model.card = ModelCard(
        recipe=recipe.plain(), data_hash=data.data_hash, metrics=figures, notes=model.card.notes | how | notes
    )
    if folder is not None:
        model.save(folder.model, overwrite=True)
    return replace(result, figures=figures)
