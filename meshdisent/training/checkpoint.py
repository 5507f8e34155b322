"""Everything that a run needs to continue as if it had never stopped, in one safetensors file.

    state/...      the whole model, also what only training needs, such as a neutral bank
    optimizer/...  the optimizers' moments, by player, parameter and name
    best/...       the model with the best validation figure so far, where the recipe keeps it
    arrays/...     state of the noise generator and the sampler, rows that are drawn but not yet trained on
    topology/...   as in a model file, so that a checkpoint alone tells which scans it belongs to

Counters, the recipe and the data's hash stand in the head as JSON. Nothing in the file can run.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshdisent.errors import DataError, ModelFileError, RecipeError
from meshdisent.morphable.tensor_file import FORMAT_VERSION, read_tensors, write_tensors
from meshdisent.morphable.trainable import Trainable, TrainingData
from meshdisent.training.recipe import Recipe, TrainingConfig, differences
from meshdisent.training.run_folder import RunFolder

KIND = "meshdisent.checkpoint"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes
    ----------
    model, best : State dicts; ``best`` is empty where none is kept.
    optimizers : State of each player's optimizer by name, ``"3/exp_avg"`` and the like.
    random : State of generator and batches: nested dicts and lists of arrays and plain values.
    counters : Steps, seconds and whatever else the loop counts; plain values.
    recipe, data_hash, threads, processes : What must be the same when training goes on.
    """

    model: dict[str, Tensor]
    best: dict[str, Tensor]
    optimizers: dict[str, dict[str, Tensor]]
    random: dict[str, Any]
    counters: dict[str, Any]
    recipe: dict[str, Any]
    data_hash: str
    threads: int
    processes: int = 1


def save_checkpoint(folder: RunFolder, model: Trainable, content: Checkpoint) -> None:
    """Write a checkpoint and keep the one before it; at any moment at least one of them is whole.

    Raises
    ------
    MeshdisentError : If the disk is full; the checkpoints on it stay as they are.
    """
    arrays: dict[str, Tensor] = {}
    tensors = {f"state/{k}": v for k, v in content.model.items()}
    tensors |= {f"best/{k}": v for k, v in content.best.items()}
    for player, state in content.optimizers.items():
        tensors |= {f"optimizer/{player}/{k}": v for k, v in state.items()}
    head = {
        "counters": content.counters,
        "recipe": content.recipe,
        "data_hash": content.data_hash,
        "threads": content.threads,
        "processes": content.processes,
        "random": _without_arrays(content.random, arrays),
    }
    tensors |= arrays | model.form_tensors()
    metadata = model.metadata(KIND) | {k: json.dumps(v) for k, v in head.items()}
    fresh = folder.checkpoint.with_name(f"checkpoint.new{folder.checkpoint.suffix}")
    write_tensors(fresh, tensors, metadata, overwrite=True)
    if folder.checkpoint.is_file():
        os.replace(folder.checkpoint, folder.previous)
    os.replace(fresh, folder.checkpoint)


def read_checkpoint(folder: RunFolder) -> tuple[Checkpoint, dict[str, str], str]:
    """The newest checkpoint that is whole, the head of its file, and what was wrong with a newer one ("" if nothing).

    Raises
    ------
    ModelFileError : If no checkpoint is whole.
    """
    complaints: list[str] = []
    for path in (folder.checkpoint, folder.previous):
        if not path.is_file():
            continue
        try:
            return *_read(path), " ".join(complaints)
        except ModelFileError as error:
            complaints.append(str(error))
    raise ModelFileError(
        f"{folder.path} has no checkpoint that is whole: {' '.join(complaints)} Start the run again with --overwrite."
    )


def check_same_run(
    model: Trainable, checkpoint: Checkpoint, head: dict[str, str], recipe: Recipe, data: TrainingData, where: str
) -> None:
    """Refuse to continue a run with data of another form, with other data or another recipe.

    Raises
    ------
    TopologyError, DataError, RecipeError : Naming both sides of what differs.
    """
    model.check_same_data(head, data, where)
    if checkpoint.data_hash != data.data_hash:
        raise DataError(
            f"{where} was trained on data with hash {checkpoint.data_hash}; {data.path or 'the dataset'} has "
            f"{data.data_hash}. Resume with the same file, or start again with --overwrite."
        )
    old, new = _with_defaults(checkpoint.recipe), recipe.plain()
    differing = [key for key in differences(old, new) if key not in free_keys(recipe.training)]
    if differing:
        shown = "; ".join(f"{key} was {_at(old, key)!r}, is {_at(new, key)!r}" for key in differing[:4])
        raise RecipeError(
            f"{where} was started with another recipe: {shown}"
            f"{f'; and {len(differing) - 4} more' if len(differing) > 4 else ''}. "
            "Resume with the recipe.yaml that lies in the folder, or start again with --overwrite."
        )


def free_keys(training: TrainingConfig | None) -> set[str]:
    """Keys that may change when a run is resumed, since they do not decide where the weights go.

    With a learning rate that does not depend on the end, a run may also be made longer or shorter.
    """
    free = {"description"} | {f"training.{name}" for name in TrainingConfig.FREE_ON_RESUME}
    if training is not None and training.schedule != "cosine":
        free |= {"training.steps", "training.minutes", "training.epochs"}
    return free


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """State of an optimizer as tensors by name; its settings come from the recipe."""
    state = optimizer.state_dict()["state"]
    return {f"{index}/{name}": value for index, entries in state.items() for name, value in entries.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of :func:`optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _read(path: Path) -> tuple[Checkpoint, dict[str, str]]:
    tensors, head = read_tensors(path)
    if head.get("format") != KIND or head.get("format_version") != str(FORMAT_VERSION):
        raise ModelFileError(f"{path} is no checkpoint of this version of meshdisent.")
    optimizers: dict[str, dict[str, Tensor]] = {}
    for key, value in _below("optimizer/", tensors).items():
        player, _, name = key.partition("/")
        optimizers.setdefault(player, {})[name] = value
    try:
        return Checkpoint(
            model=_below("state/", tensors),
            best=_below("best/", tensors),
            optimizers=optimizers,
            random=_with_arrays(json.loads(head["random"]), tensors),
            counters=json.loads(head["counters"]),
            recipe=json.loads(head["recipe"]),
            data_hash=json.loads(head["data_hash"]),
            threads=json.loads(head["threads"]),
            processes=json.loads(head.get("processes", "1")),
        ), head
    except (KeyError, ValueError, TypeError) as error:
        raise ModelFileError(f"{path} is no whole checkpoint: {type(error).__name__} {error}.") from error


def _without_arrays(value: Any, arrays: dict[str, Tensor]) -> Any:
    """Plain values in which each array is replaced by its name in ``arrays``, which is filled."""
    if isinstance(value, dict):
        return {k: _without_arrays(v, arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(v, arrays) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    name = f"arrays/{len(arrays)}"
    if isinstance(value, Tensor):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.ndarray):
        # As bytes: not every reader of safetensors knows unsigned types, and the state of a Mersenne twister has one.
        arrays[name] = torch.from_numpy(np.frombuffer(value.tobytes(), np.uint8).copy())
        return {"array": name, "dtype": value.dtype.str, "shape": list(value.shape)}
    return value


def _with_arrays(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The reverse of :func:`_without_arrays`."""
    if isinstance(value, list):
        return [_with_arrays(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "array" not in value:
        return {k: _with_arrays(v, tensors) for k, v in value.items()}
    tensor = tensors[value["array"]]
    if "dtype" not in value:
        return tensor
    return np.frombuffer(tensor.numpy().tobytes(), np.dtype(value["dtype"])).reshape(value["shape"]).copy()


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe as it was written, with the keys that recipes did not have then at their defaults."""
    try:
        return Recipe.from_plain(values, "the checkpoint").plain()
    except RecipeError:
        return values  # compared as it is, so that the key that cannot be filled is named as a difference


def _at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
