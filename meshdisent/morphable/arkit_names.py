"""The 52 face shapes of ARKit by Apple's names, made of the named expressions of a model that knows ICT-FaceKit's.

Apple counts sides with words and from the person's own left (``eyeBlinkLeft``), ICT-FaceKit with letters
(``eyeBlink_L``). Two shapes of ARKit have one name for both sides; ICT-FaceKit has a shape for each, whose codes add
up. ``tongueOut`` has none: the topology has no tongue that moves.

Source: Apple, ARKit, ``ARFaceAnchor.BlendShapeLocation``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

#: In Apple's order, by part of the face.
ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft",
    "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft", "browDownRight", "browInnerUp",
    "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft",
    "noseSneerRight", "tongueOut",
)  # fmt: skip
_BOTH_SIDES = ("browInnerUp", "cheekPuff")
#: A shape that is no face of its own, and the one it belongs to: it closes the lips of an open jaw.
COMPANIONS = {"mouthClose": "jawOpen"}


def ict_names(name: str) -> tuple[str, ...]:
    """The shapes of ICT-FaceKit that together are one of ARKit's.

    Examples
    --------
    >>> ict_names("eyeBlinkLeft"), ict_names("cheekPuff"), ict_names("jawLeft")
    (('eyeBlink_L',), ('cheekPuff_L', 'cheekPuff_R'), ('jawLeft',))
    """
    if name in _BOTH_SIDES:
        return f"{name}_L", f"{name}_R"
    if name.startswith(("jaw", "mouthLeft", "mouthRight")):  # these move to a side, as a whole
        return (name,)
    for side in ("Left", "Right"):
        if name.endswith(side):
            return (f"{name.removesuffix(side)}_{side[0]}",)
    return (name,)


def shown_weights(names: Sequence[str]) -> Float[np.ndarray, "target target"]:
    """For each of some shapes the weights with which it is looked at: it alone, or with its companion.

    Examples
    --------
    >>> shown_weights(["jawOpen", "mouthClose"]).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    weights = np.eye(len(names))
    for name, companion in COMPANIONS.items():
        if name in names and companion in names:
            weights[list(names).index(name), list(names).index(companion)] = 1.0
    return weights


def arkit_codes(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Expression codes under Apple's names, in Apple's order, of those that a model has under ICT-FaceKit's.

    Examples
    --------
    >>> codes = arkit_codes({"cheekPuff_L": torch.ones(2), "cheekPuff_R": torch.ones(2), "jawOpen": torch.zeros(2)})
    >>> list(codes), codes["cheekPuff"].tolist()
    (['jawOpen', 'cheekPuff'], [2.0, 2.0])
    """
    return {
        name: torch.stack([named[part] for part in ict_names(name)]).sum(dim=0)
        for name in ARKIT_NAMES
        if all(part in named for part in ict_names(name))
    }
