"""``meshdisent train RECIPE --data faces.h5 --out RUN``: train a model from a recipe."""

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing, writing
from meshdisent.training.recipe import Recipe, model_class, read_recipe
from meshdisent.training.run_folder import RunFolder, refuse_folder

if TYPE_CHECKING:
    from meshdisent.morphable.trainable import TrainingData
    from meshdisent.training.loop import TrainingResult


NO_FIGURES = "no validation split, so no figures; what is held out for the test waits for the evaluation"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a model from a recipe: a YAML file, or a name that `meshdisent models` lists.

    For example: meshdisent train wsdf --data faces.h5 --out run --set training.minutes=10

    Ctrl-C and SIGTERM end the step and write a checkpoint; the same command with --resume goes on from there.
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """What to train, on what, and how."""
    data: Annotated[Path, tyro.conf.arg(metavar="FACES.H5")]
    """The scans, made by `meshdisent prepare`; or the pictures, made by `meshdisent prepare-images`."""
    out: Annotated[Path, tyro.conf.arg(metavar="RUN")]
    """Folder for the model, its recipe, the log, the curves and the checkpoints."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE", help_behavior_hint="(optional)")] = ()
    """Change keys of the recipe, such as training.steps=200."""
    device: Annotated[str, tyro.conf.arg(metavar="cpu|cuda")] = "cpu"
    """Where to compute; cuda:1 is the second one."""
    resume: bool = False
    """Continue the run in the folder, bit for bit."""
    overwrite: bool = False
    """Replace the run in the folder."""
    dry_run: bool = False
    """Only say what would be done."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Write the figures as one JSON object to this file too; with - to standard output, instead of the text."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(
        Arguments, args=gather_settings(arguments), prog="meshdisent train", config=(tyro.conf.FlagCreatePairsOff,)
    )
    recipe = read_recipe(given.recipe, given.set)
    if given.json not in (None, "-"):
        refuse_existing(given.json, given.overwrite or given.resume)
    refuse_folder(RunFolder(given.out), resume=given.resume, overwrite=given.overwrite)
    data = model_class(recipe.model, given.recipe).open_data(given.data)
    if given.dry_run:
        print(plan(recipe, data, given))
        return 0
    return _train(recipe, data, given, "meshdisent train " + shlex.join(arguments))


def _train(recipe: Recipe, data: "TrainingData", given: Arguments, command: str) -> int:
    from meshdisent.training.loop import run_recipe
    from meshdisent.training.progress import Interrupted

    folder = RunFolder(given.out)
    try:
        result = run_recipe(
            recipe,
            data,
            given.out,
            resume=given.resume,
            overwrite=given.overwrite,
            device=given.device,
            notes={"command": command},
        )
    except Interrupted as stop:
        if leads():
            draw_curves(folder)
            print(f"meshdisent: {stop}", file=sys.stderr)
        return stop.exit_code
    if not leads():
        return 0
    draw_curves(folder)
    write_report(result, folder, data, given)
    numbers = json.dumps(to_json(result, folder), indent=2)
    if given.json == "-":
        print(numbers)
        return 0
    if given.json is not None:
        with writing(given.json, given.overwrite or given.resume) as aside:
            aside.write_text(numbers + "\n", encoding="utf-8")
    print(text(result, folder, given.data))
    return 0


def leads() -> bool:
    """Whether this process writes and speaks: the first of several that torchrun has started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def gather_settings(arguments: list[str]) -> list[str]:
    """Let ``--set`` take one or several settings and stand several times; a parser would keep the last one only.

    Examples
    --------
    >>> gather_settings(["wsdf", "--set", "a=1", "b=2", "--resume", "--set=c=3"])
    ['wsdf', '--resume', '--set', 'a=1', 'b=2', 'c=3']
    """
    others: list[str] = []
    settings: list[str] = []
    inside = False
    for argument in arguments:
        if argument == "--set" or argument.startswith("--set="):
            inside = True
            settings += [argument.removeprefix("--set=")] if argument != "--set" else []
        elif inside and "=" in argument and not argument.startswith("-"):
            settings.append(argument)
        elif inside and not settings:
            raise UsageError(f"--set {argument}: wanted KEY=VALUE, such as --set training.steps=200.")
        else:
            inside = False
            others.append(argument)
    if inside and not settings:
        raise UsageError("--set has nothing behind it; wanted KEY=VALUE, such as --set training.steps=200.")
    return others + (["--set", *settings] if settings else [])


def draw_curves(folder: RunFolder) -> None:
    """Draw the log of a run, if it has a row."""
    from meshdisent.show.curves import training_curves
    from meshdisent.show.pictures import write_png

    rows = folder.read_log()
    if rows:
        write_png(folder.curves, training_curves(rows, title=folder.path.name), overwrite=True)


def write_report(result: "TrainingResult", folder: RunFolder, data: "TrainingData", given: Arguments) -> None:
    """Lay the run out as a page."""
    from meshdisent.show.training_report import training_report

    summary = text(result, folder, given.data).splitlines()[:2]
    report = training_report(result.model, data, folder.read_log(), folder.path.name, summary)
    report.write(folder.report, overwrite=True)


def to_json(result: "TrainingResult", folder: RunFolder) -> dict[str, Any]:
    """What the command reports, as plain values."""
    return {
        "model": str(folder.model),
        "steps": result.steps,
        "seconds": round(result.seconds, 1),
        "stopped_because": result.stopped_because,
        "figures": result.figures,
    }


def text(result: "TrainingResult", folder: RunFolder, data: Path) -> str:
    """What a person wants to read at the end."""
    took = f"{result.seconds / 60:.1f} min" if result.seconds >= 90 else f"{result.seconds:.1f} s"
    how = {
        "closed form": f"computed in {took}",
        "steps": f"{result.steps:,} steps in {took}",
        "minutes": f"{result.steps:,} steps in {took}, all the time that the recipe gives",
        "patience": f"{result.steps:,} steps in {took}, then validation got no better",
    }[result.stopped_because]
    return "\n".join(
        [
            f"{folder.model}: {result.model.name}, {how}",
            result.model.in_words(result.figures) if result.figures else NO_FIGURES,
            f"next: {result.model.next_command(shlex.quote(str(folder.path)), shlex.quote(str(data)))}",
            f"a page with curves and faces: {folder.report}",
        ]
    )


def plan(recipe: Recipe, data: "TrainingData", given: Arguments) -> str:
    """What would be done, and the whole recipe."""
    import yaml

    from meshdisent.training.loop import build

    noun = model_class(recipe.model, given.recipe).noun
    counts = {split: len(data.rows(split)) for split in ("train", "val", "test")}
    lines = [f"data: {given.data}, " + ", ".join(f"{n} {split}" for split, n in counts.items() if n) + f" {noun}"]
    if recipe.training is not None:
        weights = sum(p.numel() for p in build(recipe, data).parameters())
        config = recipe.training
        ends = [f"{config.steps:,} steps"] if config.steps is not None else []
        ends += [f"{config.epochs:,} epochs"] if config.epochs is not None else []
        ends += [f"{config.minutes:g} minutes"] if config.minutes is not None else []
        batch = config.sampler.batch_size * config.accumulation
        lines.append(f"model: {recipe.model}, {weights:,} weights, on {given.device}")
        lines.append(f"training: at most {batch} {noun} a step, until {' or '.join(ends)}")
    else:
        lines.append(f"model: {recipe.model}, computed at once")
    lines.append(f"result: {given.out}{' (goes on)' if given.resume else ''}; nothing is written in a dry run")
    return "\n".join([*lines, "", yaml.safe_dump(recipe.plain(), sort_keys=False, allow_unicode=True).rstrip()])
