"""What the benchmarks do with ICT-300: prepare, train, evaluate. Each step goes on where it was stopped."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from meshdisent import __version__
from meshdisent.cli.main import main
from meshdisent.errors import RecipeError, UsageError
from meshdisent.files import writing
from meshdisent.training.recipe import Recipe, TrainingConfig, differences, read_recipe
from meshdisent.training.run_folder import RunFolder
from meshdisent.training.typed_yaml import read_yaml

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "benchmarks" / "records"
TABLE = ROOT / "docs" / "accuracy-table.md"


def command(*arguments: object) -> None:
    """One command of meshdisent in this process; ends the program with the command's exit code if it fails."""
    if code := main([str(argument) for argument in arguments]):
        sys.exit(code)


def prepared(raw: Path, out: Path) -> Path:
    """OUT/faces.h5, made from the raw scans if it is not there."""
    data = out / "faces.h5"
    if not data.exists():
        command("prepare", "folder", raw, "--split-by", raw / "split.json", "--out", data)
    return data


def transfer_pairs(raw: Path) -> Path:
    """The table of true transfers beside the raw scans, looked for before hours of work that need it at their end."""
    pairs = raw.with_name(raw.name + "-transfer") / "pairs.csv"
    if not pairs.is_file():
        raise UsageError(f"{pairs} is absent; wanted the true transfers beside {raw}. Make both with ict_faces.py RAW.")
    return pairs


def changed_keys(earlier: dict[str, Any], recipe: Recipe) -> list[str]:
    """Keys in which an earlier resolved recipe differs from one of today, those aside that decide nothing.

    A key that recipes did not have then counts as its default, so a new option makes no result outdated.
    """
    try:
        values = Recipe.from_plain(earlier, "the earlier recipe").plain()
    except RecipeError as error:
        return [str(error)]
    free = {"description"} | {f"training.{name}" for name in TrainingConfig.FREE_ON_RESUME}
    return [key for key in differences(values, recipe.plain()) if key not in free]


def is_begun(recipe: Recipe, run: Path) -> bool:
    """Whether a folder holds a run of this recipe, finished or not."""
    file = RunFolder(run).recipe
    return file.is_file() and not changed_keys(read_yaml(file), recipe)


def is_trained(recipe: Recipe, run: Path) -> bool:
    """Whether a folder holds the finished model of this recipe."""
    return is_begun(recipe, run) and RunFolder(run).model.is_file()


def train(name: str, settings: tuple[str, ...], run: Path, data: Path, code: dict[str, Any]) -> None:
    """Make a recipe's model in a folder: go on with a run that was stopped, replace one of another recipe."""
    recipe = read_recipe(name, settings)
    if is_trained(recipe, run):
        return
    goes_on = is_begun(recipe, run) and RunFolder(run).has_checkpoint()
    earlier = sessions(run) if goes_on else []
    write_json(_sessions_file(run), [*earlier, {"utc": now(), **code}])
    chosen = ["--set", *settings] if settings else []
    command("train", name, "--data", data, "--out", run, "--resume" if goes_on else "--overwrite", *chosen)


def sessions(run: Path) -> list[dict[str, Any]]:
    """When, and with which code, a run was begun and gone on with."""
    file = _sessions_file(run)
    return json.loads(file.read_text()) if file.is_file() else []


def minutes_done(run: Path) -> float:
    """Minutes of training in a run's newest checkpoint; 0 if there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(RunFolder(run).checkpoint, framework="np") as file:
            return json.loads((file.metadata() or {})["counters"])["seconds"] / 60
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0.0


def evaluated(model: Path, target: Path, data: Path, pairs: Path, ridge: tuple[str, ...] = ("mode",)) -> dict[str, Any]:
    """The figures of a model file on the test people, kept in a file until the model is a newer one."""
    if not target.exists() or target.stat().st_mtime < model.stat().st_mtime:
        given = ("--data", data, "--transfer", pairs, "--ridge", *ridge)
        command("evaluate", model, *given, "--json", target, "--overwrite", "--no-report")
    return json.loads(target.read_text())


def now() -> str:
    """Date and time of day, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_state() -> dict[str, Any]:
    """The commit of this checkout and whether the tree differs from it, results aside; None outside of git."""
    tables = ("docs/*-table.md", "docs/*-table-*.md")
    results = [f":(exclude){place}" for place in (RECORDS.relative_to(ROOT), *tables)]
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", *results)
    return {"commit": commit, "is_dirty": None if changes is None else bool(changes)}


def provenance(code: dict[str, Any]) -> dict[str, Any]:
    """What a record tells about how it was made: when, with which code, on how large a machine."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = {"meshdisent": __version__, "torch": torch.__version__}
    return {"utc": now(), **code, **versions, "machine": f"{cores} CPU core{'s' if cores != 1 else ''}"}


def write_json(path: Path, values: Any) -> None:
    """Write plain values, whole or not at all."""
    with writing(path, overwrite=True) as aside:
        aside.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _sessions_file(run: Path) -> Path:
    return run.with_name(run.name + ".sessions.json")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
