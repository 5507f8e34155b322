"""Model files: found by zoo name, file or run folder, and opened as a model that is ready to use."""

import importlib
import json
import os
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from meshdisent.errors import MeshdisentError, ModelFileError, UsageError
from meshdisent.morphable import contract, trainable
from meshdisent.morphable.contract import MorphableModel
from meshdisent.morphable.tensor_file import FORMAT_VERSION, read_tensors
from meshdisent.morphable.trainable import ModelCard, Trainable


def load(path_or_name: str | os.PathLike, device: str | torch.device = "cpu") -> Any:
    """Open a model by zoo name, file or run folder, ready to use: a morphable model, or a LatentFace.

    Raises
    ------
    ModelFileError : If there is no such model, or the file is damaged, foreign or of a newer version.

    Examples
    --------
    >>> model = load(folder / "model.safetensors")
    >>> model.topology.vertex_count
    162
    """
    path = find_model(path_or_name)
    if _starts_with(path, b"PK"):
        raise ModelFileError(
            f"{path} is a ZIP, as the published programs of WSDF and FED save; wanted a meshdisent model file. Open it "
            "with its template (load_published in meshdisent.morphable.published, or load_published_fed in "
            "meshdisent.morphable.published_fed) and save the model."
        )
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != "meshdisent.model":
        raise ModelFileError(
            f"{path} says it is {metadata.get('format', 'nothing that we know')!r}; wanted a meshdisent model file. "
            "Give the model.safetensors of a training run, a run folder, or a name from `meshdisent models`."
        )
    return build_model(path, tensors, metadata).to(device).eval()


def load_morphable(path_or_name: str | os.PathLike, device: str | torch.device = "cpu") -> MorphableModel:
    """Open a model of scans; :func:`load` explains the rest.

    Raises
    ------
    ModelFileError : Also if it is a model of pictures.
    """
    model = load(path_or_name, device)
    if not isinstance(model, MorphableModel):
        raise ModelFileError(
            f"{path_or_name} is a {type(model).__name__}, a model of pictures; wanted a morphable model of scans, such "
            "as wsdf-ict. `meshdisent image` is the command for pictures."
        )
    return model


def build_model(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> Trainable:
    """The model that a file's tensors and metadata describe (model files and checkpoints alike)."""
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise ModelFileError(
            f"{path} has format version {version or 'unknown'}; this program reads version {FORMAT_VERSION}. "
            "Install a newer meshdisent, or train the model again."
        )
    name = metadata.get("class", "")
    if name not in known_models():
        raise ModelFileError(
            f"{path} holds a model of class {name!r}; known are {', '.join(sorted(known_models()))}. "
            "Install the meshdisent that wrote it."
        )
    module, class_name = known_models()[name]
    kind: type[Trainable] = getattr(importlib.import_module(module), class_name)
    try:
        model = kind.from_file(tensors, metadata, str(path))
        model.card = ModelCard(**json.loads(metadata.get("card", "{}")))
    except ModelFileError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, MeshdisentError) as error:
        if isinstance(error, UsageError) and isinstance(error.__cause__, (ImportError, RuntimeError)):
            raise  # a package is missing here; the file may be whole
        raise ModelFileError(
            f"{path} is not a whole {class_name} model ({type(error).__name__}: {shorten(str(error), 300)}). "
            "Copy the file again, or train the model again."
        ) from error
    return model


def known_models() -> dict[str, tuple[str, str]]:
    """Module and class of every model by its name in recipes and files."""
    return contract.MODELS | trainable.OTHER_MODELS


def find_model(path_or_name: str | os.PathLike) -> Path:
    """The file that a zoo name, a file or a run folder means."""
    from meshdisent.zoo_index import find_zoo_weights, zoo_names

    path = Path(path_or_name)
    if path.is_dir() and (path / "model.safetensors").is_file():
        return path / "model.safetensors"
    if path.is_file():
        return path
    weights = find_zoo_weights(str(path_or_name))
    if weights is not None:
        return weights
    what = "a folder without a model.safetensors" if path.is_dir() else "neither a file, a run folder nor a zoo model"
    raise ModelFileError(
        f"{path_or_name} is {what}. Models in the zoo: {', '.join(zoo_names(with_weights=True)) or 'none'}."
    )


def _starts_with(path: Path, beginning: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(beginning)) == beginning
