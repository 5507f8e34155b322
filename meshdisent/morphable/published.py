"""Models as WSDF's published program saves them: read without running anything in them, given back as a WSDF.

The file is a ZIP of ``param.pth`` (encoder, decoder, bank and normalization, each a dict of tensors) and
``config.yaml`` (the settings). The template and its faces are not in it, so they are asked for. The bank is left out,
as in every model file. The training scans are not there either, so the prior is the standard normal one and no vertex
counts as moving, until :meth:`~meshdisent.morphable.contract.MorphableModel.calibrate` is shown some.

Examples
--------
Once, then it is a model like any other::

    model = load_published("99-12400.zip", "flame_template_mm.ply")
    model.save("wsdf-coma.safetensors")
"""

import io
import os
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
import yaml
from jaxtyping import Int
from torch import Tensor

from meshdisent.errors import MeshdisentError, ModelFileError, TopologyError
from meshdisent.mesh.flame import read_template
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_beginning import encoders_from
from meshdisent.morphable.wsdf_config import BankConfig, HierarchyConfig, LossConfig, WSDFConfig
from meshdisent.nn.decoders import published_decoder_state
from meshdisent.nn.normalization import Normalization
from meshdisent.nn.spiral import SpiralEncoderConfig, published_encoder_state

#: Sizes that no honest file reaches: the largest published model has 26,317 vertices and 593 subjects, 300 MB.
MOST_BYTES = {"param.pth": 2 * 2**30, "config.yaml": 2**20}

#: What a dict of plain tensors needs to be written down. Anything else in a pickle is refused before it is read.
_TENSORS_ONLY = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"} | {
    f"torch {kind}Storage" for kind in ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte")
}

_WANTED = "Wanted the ZIP of param.pth and config.yaml that WSDF's published program saves."


def load_published(
    path: str | os.PathLike, template: Mesh | str | os.PathLike, faces: Int[np.ndarray, "face 3"] | None = None
) -> WSDF:
    """Open a published WSDF model.

    Parameters
    ----------
    path : The ZIP.
    template : The template that it was trained on, in mm; or a mesh file of it in mm, or a FLAME model.
    faces : Its triangles, where the template has none.

    Raises
    ------
    ModelFileError : If the file is damaged, holds anything but tensors and settings, or lacks some of them.
    TopologyError : If the template has another vertex count, or is not in mm.
    """
    weights, settings = _members(Path(path))
    parts = _tensors(weights, f"{path}, param.pth")
    try:
        config = published_config(yaml.safe_load(settings))
        state = published_state(parts)
        mean, deviation = state["normalization.mean"], state["normalization.deviation"]
        topology = topology_of(template, faces, mean, str(path))
        model = WSDF(config, topology, encoders_from(state, config), Normalization(mean, deviation))
        model.load_state_dict(state | {k: v for k, v in model.state_dict().items() if not k.startswith(_FROM_FILE)})
    except TopologyError:
        raise
    except (MeshdisentError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} is not a whole published model ({type(error).__name__}: {shorten(str(error), 300)}). {_WANTED}"
        ) from error
    _check_spirals(model, str(path))
    return model.eval()


_FROM_FILE = ("identity_encoder.", "expression_encoder.", "decoder.", "normalization.")


def published_state(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Translate the published ``Encoder``, ``Decoder`` and ``Norm`` into the state of a :class:`WSDF`."""
    branches = {branch: published_encoder_state(parts["Encoder"], branch) for branch in ("identity", "expression")}
    encoders = {f"{branch}_encoder.{k}": v for branch, state in branches.items() for k, v in state.items()}
    decoder = {f"decoder.{k}": v for k, v in published_decoder_state(parts["Decoder"]).items()}
    norm = {"normalization.mean": parts["Norm"]["mean"][0], "normalization.deviation": parts["Norm"]["std"][0]}
    return encoders | decoder | norm


def published_config(settings: Mapping[str, Any]) -> WSDFConfig:
    """Translate the published settings; what they leave out has the default of the published program."""
    model, loss = settings["model"], settings["loss"]
    weight = {term: float(value) for term, value in loss["weight"].items()}
    *channels, feature = (int(width) for width in model["Encoder"]["channels"])
    lower, upper = (float(limit) for limit in loss.get("gamma", (0, 5000)))
    return WSDFConfig(
        identity_size=int(model["num_ind"]),
        expression_size=int(model["num_exp"]),
        fused_size=int(model.get("num_vec", 64)),
        hidden=tuple(int(width) for width in model["Decoder"]["channels"]),
        encoder=SpiralEncoderConfig(channels=tuple(channels), feature=feature),
        hierarchy=HierarchyConfig(method="published"),
        bank=BankConfig(
            beta=float(model.get("NeuBank", {}).get("beta", 0.9)),
            confidence_shift=float(settings.get("train", {}).get("belief_min_count", 5)),
        ),
        loss=LossConfig(
            reconstruction=weight["rec"],
            kl=weight["kl"],
            neutral=weight["neu"],
            compactness=weight["mi"],
            jacobian=weight["jac"],
            jacobian_lower=lower,
            jacobian_upper=upper,
            pairing="published",
        ),
    )


def _members(path: Path) -> tuple[bytes, bytes]:
    """The two members of the ZIP, after a look at how large they say they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(archive, "param.pth", path), _member(archive, "config.yaml", path)
    # A foreign compression or a password is told in these ways too.
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelFileError(f"{path} could not be read as a ZIP ({error}). {_WANTED}") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    sizes = [member.file_size for member in archive.infolist() if member.filename == name]
    if len(sizes) != 1:
        raise ModelFileError(f"{path} holds {len(sizes)} files named {name}; wanted one. {_WANTED}")
    if sizes[0] > MOST_BYTES[name]:
        raise ModelFileError(
            f"{path}: {name} says it has {sizes[0]} bytes; wanted at most {MOST_BYTES[name]}. Refused unread."
        )
    return archive.read(name)  # never more than it said


def read_saved(content: bytes, where: str, wanted: str) -> Any:
    """What ``torch.save`` wrote, if it is made of tensors and dicts alone; nothing in the file is run.

    Raises
    ------
    ModelFileError : If the file is damaged, or names anything but tensors; ``wanted`` says what it should be.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _refuse_code(archive, where)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except ModelFileError:
        raise
    except Exception as error:  # a damaged pickle fails in whatever way its next byte says
        raise ModelFileError(f"{where} could not be read as tensors ({shorten(str(error), 300)}). {wanted}") from error


def _tensors(content: bytes, where: str) -> dict[str, dict[str, Tensor]]:
    """The named dicts of tensors in a file of ``torch.save``; nothing else may be in it."""
    parts = read_saved(content, where, _WANTED)
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise ModelFileError(f"{where} is no dict of named tensors. {_WANTED}")
    for part, state in parts.items():
        for name, value in state.items():
            # A view may claim more numbers than the file holds.
            if not isinstance(value, Tensor) or not value.is_contiguous():
                raise ModelFileError(f"{where}: {part}.{name} is no plain tensor. {_WANTED}")
    return parts


def _refuse_code(archive: zipfile.ZipFile, where: str) -> None:
    """Look through the pickle without running it: it may name nothing but tensors, and hold no more than it takes."""
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > MOST_BYTES["param.pth"]:
        raise ModelFileError(f"{where} says it unpacks to {unpacked} bytes; wanted at most {MOST_BYTES['param.pth']}.")
    pickles = [member for member in archive.infolist() if member.filename.endswith("data.pkl")]
    if len(pickles) != 1:
        raise ModelFileError(f"{where} holds {len(pickles)} pickles; wanted one, as torch.save writes.")
    for opcode, argument, _ in pickletools.genops(archive.read(pickles[0])):
        is_name = opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4")
        if is_name and argument not in _TENSORS_ONLY:
            raise ModelFileError(
                f"{where} names {str(argument or opcode.name).replace(' ', '.')}; wanted plain tensors only. "
                "Opening it could run a program, so it was refused unread. Get the file from where it was published."
            )


def topology_of(
    template: Mesh | str | os.PathLike, faces: Int[np.ndarray, "face 3"] | None, mean: Tensor, where: str
) -> Topology:
    """The template's topology, if it fits the mean training scan that the file holds (V, 3), in mm."""
    mesh = template if isinstance(template, Mesh) else read_template(template)
    if mesh.vertex_count != len(mean):
        raise TopologyError(
            f"The template has {mesh.vertex_count} vertices; {where} was trained on {len(mean)}. "
            "Give the template of that model."
        )
    topology = Topology(mesh.vertices, mesh.faces if faces is None else faces)
    if topology.face_count == 0:
        raise TopologyError(f"The template of {where} has no faces; wanted triangles. Give them as `faces`.")
    size, wanted = (float(np.ptp(v, axis=0).max()) for v in (mesh.vertices, mean.numpy()))
    if not 0.5 < size / wanted < 2.0:
        raise TopologyError(
            f"The template is {size:.3g} wide; the mean scan of {where} is {wanted:.3g} mm. Give the template in mm."
        )
    return topology


def _check_spirals(model: WSDF, where: str) -> None:
    for name, spirals in model.named_buffers():
        if name.endswith(".spirals") and (spirals.min() < 0 or spirals.max() >= len(spirals)):
            raise ModelFileError(f"{where}: the spirals in {name} point outside their level. The file is damaged.")
