"""Networks as LatentFace's published program saves them: read without running anything in them.

The file is a dict of seven state dicts: netD, netA, netL, netV, netC of the first stage, and netEA, netED, the
diffusion of texture and of shape. Sizes are read off the tensors. What no tensor tells is as published: 16 groups in
the first group norm, and for the diffusion 32 groups, heads of 8 channels, the noise schedule, latents in their own
range, and the sampling rule of the version of ``diffusers`` that the program needs.

Examples
--------
Identity and expression of the texture of images in [-1, 1]::

    networks = load_published_latentface("diffusion_64.pth")
    code, albedo = networks.texture(image)
    identity = networks.identity_texture.sample(code, generator=torch.Generator().manual_seed(0))
    expression = code - identity
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TypeVar

from torch import Tensor, nn

from meshdisent.errors import MeshdisentError, ModelFileError
from meshdisent.latentface.diffusion import DiffusionConfig, RepresentationDiffusion
from meshdisent.latentface.networks import (
    ConfidenceNetwork,
    MapNetwork,
    NetworkConfig,
    NumberEncoder,
    light_network,
    shape_network,
    texture_network,
    view_network,
)
from meshdisent.morphable.published import read_saved

#: A file of more bytes is refused unread; the published one has about 250 MB at 128 pixels.
MOST_BYTES = 2**30

#: Groups of the first group norm in the published networks, whatever their width.
PUBLISHED_NORM_GROUPS = 16

#: Beginnings of published names of parameters, and ours.
_MAP_NAMES = {"network1.": "encoder.layers.", "network2.": "decoder.layers."}
_NUMBER_NAMES = {"network.": "layers."}
_RENAMED = {
    "netD": _MAP_NAMES,
    "netA": _MAP_NAMES,
    "netL": _NUMBER_NAMES,
    "netV": _NUMBER_NAMES,
    "netC": {"network.": "trunk.", "out_net1.": "pixel_head.", "out_net2.": "feature_head."},
    "netEA": {"": "denoiser.unet."},
    "netED": {"": "denoiser.unet."},
}

#: Names of the attention's maps in diffusers 0.14, and now.
_ATTENTION_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}

_Network = TypeVar("_Network", bound=nn.Module)

_WANTED = f"Wanted the dict of state dicts {', '.join(_RENAMED)} that LatentFace's published program saves."


@dataclass(frozen=True, kw_only=True)
class PublishedLatentFace:
    """The networks of a published file, ready to use; in brackets their published names.

    Parameters
    ----------
    config : Sizes of the first five.
    shape, texture : From an image to code and map (netD, netA).
    light, view : From an image to a few numbers (netL, netV).
    confidence : From an image to two maps (netC).
    identity_texture, identity_shape : From a code to the identity's (netEA, netED).
    """

    config: NetworkConfig
    shape: MapNetwork
    texture: MapNetwork
    light: NumberEncoder
    view: NumberEncoder
    confidence: ConfidenceNetwork
    identity_texture: RepresentationDiffusion
    identity_shape: RepresentationDiffusion


def load_published_latentface(path: str | os.PathLike) -> PublishedLatentFace:
    """Open a published file.

    Raises
    ------
    ModelFileError : If the file is damaged, holds anything but the tensors of the seven networks, or lacks some.
    UsageError : If the package ``diffusers`` is missing.
    """
    parts = _read(Path(path))
    missing = [name for name in _RENAMED if name not in parts]
    foreign = sorted(str(name) for name in parts if name not in _RENAMED)
    if missing or foreign:
        found = f"lacks {', '.join(missing)}" if missing else f"holds also {shorten(', '.join(foreign), 100)}"
        raise ModelFileError(f"{path} {found}. {_WANTED}")
    try:
        config = published_network_config(parts)
        texture, shape = (published_diffusion_config(parts[name]) for name in ("netEA", "netED"))
    except (MeshdisentError, KeyError, IndexError, ValueError) as error:
        raise ModelFileError(
            f"{path} is not a whole published model ({type(error).__name__}: {shorten(str(error), 300)}). {_WANTED}"
        ) from error
    if not texture.latent_size == shape.latent_size == config.code_size:
        raise ModelFileError(
            f"{path} has codes of {config.code_size} entries, netEA for {texture.latent_size} and netED for "
            f"{shape.latent_size}; wanted equal sizes. The networks are not of one model."
        )

    def filled(name: str, network: _Network) -> _Network:
        return _filled(network, published_state(name, parts[name]), f"{path}, {name}")

    return PublishedLatentFace(
        config=config,
        shape=filled("netD", shape_network(config)),
        texture=filled("netA", texture_network(config)),
        light=filled("netL", light_network(config)),
        view=filled("netV", view_network(config)),
        confidence=filled("netC", ConfidenceNetwork(config)),
        identity_texture=filled("netEA", RepresentationDiffusion(texture)),
        identity_shape=filled("netED", RepresentationDiffusion(shape)),
    )


def published_state(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the published state dict of the network ``name`` (netD, netEA ...) into the state of ours."""
    ours = {}
    for key, value in state.items():
        renamed = key
        for theirs, own in _ATTENTION_NAMES.items():
            renamed = renamed.replace(theirs, own)
        for theirs, own in _RENAMED[name].items():
            if renamed.startswith(theirs):
                renamed = own + renamed.removeprefix(theirs)
                break
        ours[renamed] = value
    return ours


def published_network_config(parts: Mapping[str, Mapping[str, Tensor]]) -> NetworkConfig:
    """Read the sizes of the five networks of the first stage off their tensors.

    Raises
    ------
    ModelFileError : If the number of layers is that of no published image size.
    KeyError, IndexError : If a tensor that tells a size is missing, or is no convolution's.
    """
    shape, confidence = parts["netD"], parts["netC"]
    convolutions = sum(name.startswith("network1.") and value.ndim == 4 for name, value in shape.items())
    image_sizes = {5: 64, 6: 128}
    if convolutions not in image_sizes:
        raise ModelFileError(f"netD encodes with {convolutions} convolutions; wanted 5 (64 pixels) or 6 (128 pixels)")
    return NetworkConfig(
        image_size=image_sizes[convolutions],
        width=shape["network1.0.weight"].shape[0],
        code_size=shape["network2.0.weight"].shape[0],
        number_width=parts["netL"]["network.0.weight"].shape[0],
        confidence_width=confidence["network.0.weight"].shape[0],
        confidence_code_size=confidence[f"network.{2 * convolutions + 3}.weight"].shape[0],
        norm_groups=PUBLISHED_NORM_GROUPS,
    )


def published_diffusion_config(state: Mapping[str, Tensor]) -> DiffusionConfig:
    """Read the sizes of a diffusion network off its tensors; how it was trained is not in it.

    Raises
    ------
    KeyError, IndexError : If a tensor that tells a size is missing, or has no size.
    RecipeError : If the sizes cannot be.
    """
    blocks = {name.split(".")[3] for name in state if name.startswith("down_blocks.0.resnets.")}
    return DiffusionConfig(
        latent_size=state["conv_out.bias"].shape[0],
        width=state["conv_in.bias"].shape[0],
        layers_per_block=len(blocks),
        rule="published",
        snr_cap=None,
    )


def _read(path: Path) -> dict[str, dict[str, Tensor]]:
    """The named dicts of tensors; nothing else may be in the file."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelFileError(f"{path} has {size} bytes; wanted at most {MOST_BYTES}. Refused unread.")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} could not be read ({error}). {_WANTED}") from error
    parts = read_saved(content, str(path), _WANTED)
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise ModelFileError(f"{path} is no dict of state dicts. {_WANTED}")
    for part, state in parts.items():
        for name, value in state.items():
            # A view may claim more numbers than the file holds; torch itself refuses a plain tensor that does.
            if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_contiguous():
                raise ModelFileError(f"{path}: {part}.{name} is no plain tensor. {_WANTED}")
            if not value.is_floating_point() or not bool(value.isfinite().all()):
                raise ModelFileError(f"{path}: {part}.{name} is not made of finite numbers. Get the file again.")
    return parts


def _filled(network: _Network, state: Mapping[str, Tensor], where: str) -> _Network:
    """The network with these parameters, all of them and no others."""
    own = {name: value for name, value in network.state_dict().items() if not name.startswith("latent_range.")}
    for what, names in (("lacks", own.keys() - state.keys()), ("holds also", state.keys() - own.keys())):
        if names:
            raise ModelFileError(f"{where} {what} {shorten(', '.join(sorted(names)), 200)}. {_WANTED}")
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise ModelFileError(
                f"{where}: {name} has shape {tuple(state[name].shape)}; wanted {tuple(value.shape)}. {_WANTED}"
            )
    network.load_state_dict(dict(state), strict=False)  # all but the range of latents, which is not published
    return network.eval()
