"""Tensors under names, with text in the head, in one inert file: what model files and checkpoints are made of.

The format is safetensors, so nothing in a file can run. The head holds a digest of all names, values and texts:
safetensors notices a file that is too short, but not one with a flipped bit.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from meshdisent.errors import ModelFileError
from meshdisent.files import writing
from meshdisent.mesh.topology import Topology

FORMAT_VERSION = 1


def write_tensors(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], overwrite: bool
) -> None:
    """Write tensors and the texts of the head, to which the digest is added; whole or not at all.

    Raises
    ------
    UsageError : If the file exists and ``overwrite`` is false.
    MeshdisentError : If the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Copies: safetensors refuses tensors that share memory, such as the spirals of two encoders.
    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    head = {**metadata, "digest": _digest(own, metadata)}
    with writing(path, overwrite) as aside:
        try:
            save_file(own, aside, metadata=head)
        except SafetensorError as error:
            # A full disk comes as a text; as what it is, it gets the same message as everywhere.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        _sort_texts(aside)


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file and the texts of its head, without the digest.

    Raises
    ------
    ModelFileError : If the file is no safetensors, or its content does not have the digest in its head.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            head = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} could not be read as safetensors ({error}). It is damaged or no model file; copy it again."
        ) from error
    written = head.pop("digest", None)
    # Files of other programs have none; whoever opens one of ours sees from its format that it is foreign.
    if written is not None and written != _digest(tensors, head):
        raise ModelFileError(
            f"{path} is damaged: its content does not have the digest in its head. Copy it again, or make it again."
        )
    return tensors, head


def halved(tensors: Mapping[str, Tensor], spared: int, where: str) -> dict[str, Tensor]:
    """The same tensors, floating ones of more than ``spared`` numbers in half precision.

    A model spares what is no larger than one scan: means are positions, which half precision moves by 0.03 mm at
    100 mm, while bases and weights lose 0.05 % of a few mm; and so little makes no file smaller.

    Raises
    ------
    ModelFileError : If a number is too large for half precision.

    Examples
    --------
    >>> {name: value.dtype for name, value in halved({"basis": torch.ones(9), "mean": torch.ones(3)}, 3, "it").items()}
    {'basis': torch.float16, 'mean': torch.float32}
    """
    result = {}
    for name, value in tensors.items():
        is_large = value.is_floating_point() and value.numel() > spared
        result[name] = value.half() if is_large else value
        if is_large and not torch.isfinite(result[name]).all():
            raise ModelFileError(
                f"{where}: {name} has the number {float(value.abs().max()):.4g}; half precision holds at most 65504. "
                "Save the model without half."
            )
    return result


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, those of half precision as float32."""
    return {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}


def topology_tensors(topology: Topology) -> dict[str, Tensor]:
    """A topology as tensors under ``topology/``."""
    regions = {f"topology/regions/{name}": torch.from_numpy(rows) for name, rows in topology.regions.items()}
    return {
        "topology/template": torch.from_numpy(np.asarray(topology.template, np.float64)),
        "topology/faces": torch.from_numpy(np.asarray(topology.faces, np.int64)),
        **regions,
    }


def topology_from_tensors(tensors: Mapping[str, Tensor]) -> Topology:
    """The topology that :func:`topology_tensors` wrote."""
    prefix = "topology/regions/"
    return Topology(
        template=tensors["topology/template"].double().numpy(),
        faces=tensors["topology/faces"].numpy(),
        regions={k.removeprefix(prefix): v.numpy() for k, v in tensors.items() if k.startswith(prefix)},
    )


def _sort_texts(path: Path) -> None:
    """Put the texts in alphabetical order: safetensors takes any order, so equal models would differ in bytes."""
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        head = json.loads(file.read(length))
        head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        if len(text) == length:
            file.seek(8)
            file.write(text)


def _digest(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """Hash of all names, values and texts, in the order of the names."""
    digest = hashlib.sha256(repr(sorted(texts.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        # A clone, where a single number was spread with a stride of 0: that counts as contiguous, and has no bytes.
        flat = value.contiguous().view(-1)
        flat = flat if flat.stride(0) == 1 else flat.clone(memory_format=torch.contiguous_format)
        digest.update(flat.view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()
