"""Brings scans that were written as they are into one frame: generalized Procrustes alignment, undoable."""

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.faces_file import blocks
from meshdisent.data.faces_writer import DatasetWriter, Transforms
from meshdisent.mesh.alignment import Similarity, align, generalized_procrustes

_MEAN_SCANS = 1000  # the mean shape of so many, evenly spread, is as good as that of all, and fits into memory


def to_common_frame(
    writer: DatasetWriter,
    anchors: Float[np.ndarray, "scan anchor 3"] | None,
    template_anchors: Float[np.ndarray, "anchor 3"],
    with_scale: bool,
    training: Int[np.ndarray, " row"],
    to_template_size: bool,
) -> tuple[Transforms, Float[np.ndarray, "anchor 3"]]:
    """Align the written scans to the mean of the training scans, which is turned to lie as the template does.

    Parameters
    ----------
    writer : Holds the scans; they are replaced by the aligned ones.
    anchors : Points of each scan that alignment looks at, mm; None: all its vertices.
    template_anchors : The same points of the template.
    with_scale : Bring scans to the size of the mean too.
    training : Rows that the mean is made from; all where there is none.
    to_template_size : With scale, give the mean the size of the template; else it keeps the mean size of the scans.

    Returns
    -------
    What was done to each scan, and the anchors of the mean shape.
    """
    rows = training if len(training) else np.arange(len(writer))
    rows = np.unique(rows[np.linspace(0, len(rows) - 1, min(_MEAN_SCANS, len(rows))).astype(np.int64)])
    sample = (writer.read(rows) if anchors is None else anchors[rows]).astype(np.float64)
    mean = generalized_procrustes(sample, with_scale)[0]
    mean = align(mean, template_anchors, with_scale and to_template_size).apply(mean)
    transforms = Transforms.identity(len(writer))
    for block in blocks(len(writer), writer.topology.vertex_count):
        vertices = writer.read(block).astype(np.float64)
        points = vertices if anchors is None else anchors[block]
        for k, row in enumerate(block):
            motion = align(points[k].astype(np.float64), mean, with_scale)
            vertices[k] = motion.apply(vertices[k])
            _store(transforms, int(row), motion)
        writer.rewrite(int(block[0]), vertices)
    return transforms, mean


def _store(transforms: Transforms, row: int, motion: Similarity) -> None:
    transforms.scale[row], transforms.rotation[row], transforms.translation[row] = (
        motion.scale,
        motion.rotation,
        motion.translation,
    )
