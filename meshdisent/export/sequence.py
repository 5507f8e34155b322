"""Faces one after another as numbered OBJ or PLY files, for programs that import such a sequence.

A sequence is not bound to sums of targets, so it comes from the model itself: :func:`perform` decodes the sum of the
codes, which a rig only approaches. Shapes of one side move that side (:mod:`~meshdisent.export.sides`).
"""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from meshdisent.errors import UsageError
from meshdisent.export.rig import FaceMaker, read_subject
from meshdisent.export.targets import ExpressionCodes
from meshdisent.files import writing_folder
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import MorphableModel


@torch.no_grad()
def perform(
    model: MorphableModel,
    scan: Any,
    codes: ExpressionCodes,
    weights: Float[np.ndarray, "time target"],
    keep_detail: bool = False,
) -> Float[np.ndarray, "time vertex 3"]:
    """Faces of a subject whose expression code is the weighted sum of others, mm; parameters as of ``make_rig``.

    Examples
    --------
    >>> smile = {"smile": torch.ones(model.expression_size)}
    >>> perform(model, "mean", smile, np.array([[0.0], [0.5], [1.0]])).shape
    (3, 162, 3)
    """
    if not codes or weights.shape[1:] != (len(codes),) or not len(weights):
        raise UsageError(
            f"A sequence got weights of shape {weights.shape} for {len(codes)} expressions; wanted (T, {len(codes)}), "
            "at least one of each."
        )
    person, detail = read_subject(model, scan, keep_detail)
    shown = FaceMaker.of(model, person, codes).faces(torch.from_numpy(weights).to(person)) + detail
    return shown.double().cpu().numpy()


def write_sequence(
    folder: str | os.PathLike,
    frames: Float[np.ndarray, "time vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    file_format: Literal["obj", "ply"] = "ply",
    overwrite: bool = False,
) -> list[Path]:
    """Write ``frame-0000.ply``, ``frame-0001.ply``, ... into a folder that appears whole; gives their paths."""
    names = [f"frame-{number:04d}.{file_format}" for number in range(len(frames))]
    with writing_folder(folder, overwrite) as aside:
        for name, vertices in zip(names, frames, strict=True):
            Mesh(vertices, faces).write(aside / name)
    return [Path(folder) / name for name in names]
