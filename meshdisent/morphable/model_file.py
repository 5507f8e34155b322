"""Model files: found by zoo name, file or run folder, and opened as a model that is ready to use."""

import importlib
import json
import os
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor

from meshdisent.errors import MeshdisentError, ModelFileError
from meshdisent.morphable import contract
from meshdisent.morphable.contract import ModelCard, MorphableModel
from meshdisent.morphable.named_expressions import expressions_from_tensors
from meshdisent.morphable.tensor_file import FORMAT_VERSION, read_tensors, topology_from_tensors, whole


def load(path_or_name: str | os.PathLike, device: str | torch.device = "cpu") -> MorphableModel:
    """Open a model by zoo name, file or run folder, ready to use.

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


def build_model(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> MorphableModel:
    """The model that a file's tensors and metadata describe (model files and checkpoints alike)."""
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise ModelFileError(
            f"{path} has format version {version or 'unknown'}; this program reads version {FORMAT_VERSION}. "
            "Install a newer meshdisent, or train the model again."
        )
    name = metadata.get("class", "")
    if name not in contract.MODELS:
        raise ModelFileError(
            f"{path} holds a model of class {name!r}; known are {', '.join(sorted(contract.MODELS))}. "
            "Install the meshdisent that wrote it."
        )
    module, class_name = contract.MODELS[name]
    kind: type[MorphableModel] = getattr(importlib.import_module(module), class_name)
    try:
        topology = topology_from_tensors(tensors)
        state = whole({k.removeprefix("state/"): v for k, v in tensors.items() if k.startswith("state/")})
        model = kind.from_parts(json.loads(metadata["config"]), topology, state)
        model.card = ModelCard(**json.loads(metadata.get("card", "{}")))
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, MeshdisentError) as error:
        raise ModelFileError(
            f"{path} is not a whole {class_name} model ({type(error).__name__}: {shorten(str(error), 300)}). "
            "Copy the file again, or train the model again."
        ) from error
    if topology.template_hash != metadata.get("template_hash"):
        raise ModelFileError(
            f"{path} holds a template with hash {topology.template_hash} but says {metadata.get('template_hash')}. "
            "The file was altered or damaged: copy it again."
        )
    model.named_expressions = expressions_from_tensors(tensors, model.expression_size, str(path))
    examples = tensors.get(contract.EXAMPLES_KEY)
    if examples is not None and (examples.shape[1:] != (model.expression_size,) or not len(examples)):
        raise ModelFileError(
            f"{path} has expression examples of shape {tuple(examples.shape)}; wanted (N, {model.expression_size}). "
            "Copy the file again, or train the model again."
        )
    model.expression_examples = examples
    return model


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
