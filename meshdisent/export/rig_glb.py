"""A rig as a GLB: the face with its morph targets, eyeballs and the dark of a mouth behind the openings, an animation.

Eyeballs and mouth (:mod:`meshdisent.mesh.openings`) follow lids and lips, so they have the same targets. They are a
second part with a material of its own; rows of the first part stay those of the model's vertices.
"""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from meshdisent.export.gltf import Clip, Part, write_glb
from meshdisent.export.rig import Rig
from meshdisent.export.weights import WeightTrack
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.openings import behind, find_openings, joined

CLIP_NAME = "expressions"


def write_rig(
    path: str | os.PathLike, rig: Rig, track: WeightTrack | None = None, has_eyes: bool = True, overwrite: bool = False
) -> Path:
    """Write a rig, with an animation if weights over time are given; gives the path.

    Parameters
    ----------
    has_eyes : Put eyeballs and the dark of a mouth behind the openings, where the face has them.
    """
    clips = [] if track is None else [Clip(name=CLIP_NAME, seconds=track.seconds, weights=track.weights)]
    return write_glb(path, rig_parts(rig, has_eyes), rig.names, clips, overwrite)


def rig_parts(rig: Rig, has_eyes: bool = True) -> list[Part]:
    """The skin, and what lies behind its openings."""
    skin = Part(vertices=rig.neutral, faces=unfolded(rig.neutral, rig.faces), displacements=rig.displacements)
    openings = find_openings(rig.neutral, rig.faces) if has_eyes else None
    if openings is None:
        return [skin]
    rest = joined(behind(rig.neutral, openings))
    moved = [joined(behind(rig.neutral + target, openings)).vertices - rest.vertices for target in rig.displacements]
    inside = Part(vertices=rest.vertices, faces=rest.faces, colors=rest.colors, displacements=np.stack(moved))
    return [skin, inside]


def unfolded(vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> Int[np.ndarray, "face 3"]:
    """Wind faces that lie folded over like the surface around them: their corners are the same, in another order.

    Decimation leaves a few, on which programs that light both sides show dark lines.
    """
    across, normals = face_normals(vertices, faces), vertex_normals(vertices, faces)
    agrees = np.einsum("fcd,fd->fc", normals[faces], across) >= 0  # (F, 3)
    return np.where(agrees.any(axis=1)[:, None], faces, faces[:, ::-1])
