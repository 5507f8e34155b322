"""The folder of a training run: what lies in it, and that only one process writes to it.

recipe.yaml              what was asked for, every default written out
checkpoint.safetensors   everything that is needed to continue, bit for bit; the one before it beside it
log.jsonl                one row for each validation
model.safetensors        the result, written at the end
curves.png, report.html  drawn from the log and the model by the command line
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshdisent.errors import UsageError
from meshdisent.files import remove_leftovers, writing

LOCK = ".lock"


class RunFolder:
    """Paths and log of one run; made by :func:`open_run`, which also locks the folder."""

    def __init__(self, path: Path):
        self.path = path
        self.recipe = path / "recipe.yaml"
        self.model = path / "model.safetensors"
        self.checkpoint = path / "checkpoint.safetensors"
        self.previous = path / "checkpoint.previous.safetensors"
        self.log = path / "log.jsonl"
        self.curves = path / "curves.png"
        self.report = path / "report.html"

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that a run may leave."""
        return self.recipe, self.model, self.checkpoint, self.previous, self.log, self.curves, self.report

    def is_begun(self, names: set[str]) -> bool:
        """Whether a run was killed here before its first checkpoint, so that the beginning is where it was."""
        own = {LOCK, self.recipe.name, self.log.name}
        return LOCK in names and all(name in own or ".partial" in name for name in names)

    def clear(self) -> None:
        """Remove the files of an earlier run, and nothing else."""
        for file in self.files:
            file.unlink(missing_ok=True)

    def write_log(self, rows: list[dict[str, Any]]) -> None:
        """Write all rows. The file is small, and whole at any time; appending could leave half a row."""
        with writing(self.log, overwrite=True) as aside:
            aside.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")

    def read_log(self) -> list[dict[str, Any]]:
        """Rows of the log; none if there is no log."""
        if not self.log.is_file():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def has_checkpoint(self) -> bool:
        """Whether there is something to resume from."""
        return self.checkpoint.is_file() or self.previous.is_file()


@contextmanager
def open_run(out: str | os.PathLike | None, *, resume: bool, overwrite: bool) -> Iterator[RunFolder | None]:
    """Hold a run folder for one process; without ``out`` nothing is written and None is given.

    Raises
    ------
    UsageError : If the folder has files and neither ``resume`` nor ``overwrite`` is given, if there is nothing to
        resume from, or if another process is writing to the folder.
    """
    if resume and overwrite:
        raise UsageError("--resume continues a run and --overwrite throws it away; give one of them.")
    if out is None:
        if resume:
            raise UsageError("A run was to be resumed, but its folder is not given; give it as --out RUN.")
        yield None
        return
    folder = RunFolder(Path(out))
    refuse_folder(folder, resume=resume, overwrite=overwrite)
    folder.path.mkdir(parents=True, exist_ok=True)
    with _locked(folder.path):
        refuse_folder(folder, resume=resume, overwrite=overwrite)  # once more, now that nobody else can change it
        _remove_leftovers(folder)
        try:
            yield folder
        except BaseException:
            _remove_if_unused(folder.path)
            raise


def refuse_folder(folder: RunFolder, *, resume: bool, overwrite: bool) -> None:
    """Raise :class:`UsageError` if a folder cannot take a new run, or has none to resume."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; wanted a folder for the run. Choose another name.")
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if resume:
        if not folder.has_checkpoint() and not folder.is_begun(names):
            raise UsageError(
                f"{path} holds no checkpoint to resume from. Leave --resume out to start a run there"
                f"{', and give --overwrite to replace what lies in it' if names else ''}."
            )
    elif names - {LOCK} and not overwrite:
        raise UsageError(
            f"{path} exists already and is not empty. Choose another name, continue it with --resume, "
            "or replace its run with --overwrite."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder. The system lets go of it when the process ends in any way, so none stays behind."""
    with open(path / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"{path} is being written by another training run (process {file.read().strip() or 'unknown'}). "
                "Wait for it, stop it, or choose another folder."
            ) from None
        except OSError:
            pass  # some network file systems have no locks; a run there is not refused for it
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _remove_leftovers(folder: RunFolder) -> None:
    """Half-written files of a killed process."""
    for file in folder.files:
        remove_leftovers(file)


def _remove_if_unused(path: Path) -> None:
    """A run that ended before it wrote anything leaves no empty folder behind."""
    if [entry.name for entry in path.iterdir()] == [LOCK]:
        (path / LOCK).unlink()
        path.rmdir()
