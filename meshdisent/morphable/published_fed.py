"""Models as FED's published program saves them: read without running anything in them, given back as a FED.

The file is the state dict of encoder and decoders alone (``VAE-ID_DIS_model_<epochs>.pt``). The mean face that it was
trained with lies beside it as an array; template, faces and unit are in neither, so they are asked for. Widths are read
off the tensors. The training scans are not there, so the prior is the standard normal one and no vertex counts as
moving, until :meth:`~meshdisent.morphable.contract.MorphableModel.calibrate` is shown some.

Examples
--------
Once, then it is a model like any other::

    model = load_published_fed("VAE-ID_DIS_model_300.pt", "template_mm.ply", np.load("mean_face.npy"), scale_mm=260)
    model.save("fed-coma.safetensors")
"""

import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.errors import MeshdisentError, ModelFileError, TopologyError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.fed import FED
from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig
from meshdisent.morphable.published import read_saved, topology_of
from meshdisent.nn.additive import published_additive_state
from meshdisent.nn.normalization import UnitCoordinates
from meshdisent.nn.pointnet import PointEncoderConfig, published_point_encoder_state

#: A file of more bytes is refused unread: FaceScape's full 26,317 vertices make 165 MB.
MOST_BYTES = 2**30

#: What coordinates were divided by, in mm: unit coordinates times this are millimeters.
PUBLISHED_SCALES = {"coma": 260.0, "bu3dfe": 156.0, "facescape": 573.0}

_WANTED = "Wanted the state dict of a VAE that FED's published program saves."


def load_published_fed(
    path: str | os.PathLike,
    template: Mesh | str | os.PathLike,
    mean_face: Float[np.ndarray, "*one vertex 3"],
    scale_mm: float,
    faces: Int[np.ndarray, "face 3"] | None = None,
) -> FED:
    """Open a published FED model.

    Parameters
    ----------
    path : The state dict.
    template : A mesh of the topology that it was trained on, in mm; or a mesh file of it in mm, or a FLAME model.
    mean_face : (V, 3) or (1, V, 3) The mean training scan in the units of the published program.
    scale_mm : Millimeters of such a unit; see :data:`PUBLISHED_SCALES`.
    faces : Triangles, where the template has none.

    Raises
    ------
    ModelFileError : If the file is damaged, holds anything but tensors, or lacks some of them.
    TopologyError : If the template or the mean face has another vertex count, or the template is not in mm.
    """
    state = read_state(path)
    mean = torch.from_numpy(np.asarray(mean_face, np.float64).reshape(-1, 3))
    try:
        config = published_fed_config(state, scale_mm)
        vertex_count = len(state["fc2_id.weight"]) // 3
        if len(mean) != vertex_count:
            raise TopologyError(
                f"The mean face has {len(mean)} vertices; {path} was trained on {vertex_count}. "
                "Give the mean face that the published program wrote beside the model."
            )
        topology = topology_of(template, faces, mean * scale_mm, str(path))
        coordinates = UnitCoordinates(torch.zeros(3), torch.tensor(scale_mm, dtype=torch.float32))
        model = FED(config, topology, coordinates, mean.float())
        own = {f"encoder.{k}": v for k, v in published_point_encoder_state(state).items()}
        own |= {f"decoder.{k}": v for k, v in published_additive_state(state).items()}
        kept = {k: v for k, v in model.state_dict().items() if not k.startswith(("encoder.", "decoder."))}
        model.load_state_dict(kept | own)
    except TopologyError:
        raise
    except (MeshdisentError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise ModelFileError(
            f"{path} is not a whole published model ({type(error).__name__}: {shorten(str(error), 300)}). {_WANTED}"
        ) from error
    return model.eval()


def read_state(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a state dict by their published names; nothing in the file is run.

    Raises
    ------
    ModelFileError : If the file is too large or damaged, or holds anything but named tensors.
    """
    try:
        size = Path(path).stat().st_size
        if size > MOST_BYTES:
            raise ModelFileError(f"{path} has {size} bytes; wanted at most {MOST_BYTES}. Refused unread.")
        content = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} could not be read ({error}). {_WANTED}") from error
    state = read_saved(content, str(path), _WANTED)
    if not isinstance(state, dict):
        raise ModelFileError(f"{path} is no dict of named tensors. {_WANTED}")
    for name, value in state.items():
        # A view may claim more numbers than the file holds.
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_contiguous():
            raise ModelFileError(f"{path}: {name} is no plain tensor. {_WANTED}")
    return dict(state)


def published_fed_config(state: Mapping[str, Tensor], scale_mm: float) -> FEDConfig:
    """Read the widths off a published state dict; how it was trained is not in it."""
    stages = sorted(int(name.removeprefix("conv").partition(".")[0]) for name in state if name.startswith("conv"))
    channels = [state[f"conv{stage}.weight"].shape[0] for stage in dict.fromkeys(stages)]
    return FEDConfig(
        identity_size=state["fc_id_mu.weight"].shape[0],
        expression_size=state["fc_exp_mu.weight"].shape[0],
        encoder=PointEncoderConfig(channels=tuple(channels)),
        hidden=(state["fc1_id.weight"].shape[0],),
        scale_mm=scale_mm,
        discriminator=DiscriminatorConfig(is_used=False),
    )
