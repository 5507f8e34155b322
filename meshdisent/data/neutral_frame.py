"""FED's alignment of BU-3DFE: neutral scans to their mean, then all others to their subject's neutral.

Expressions move the jaw and the cheeks, so an expressive scan is aligned by the few vertices that they do not move; a
neutral one by all.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.faces_file import blocks
from meshdisent.data.faces_writer import DatasetWriter, Transforms
from meshdisent.data.labels import Labels
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity, align


def check_neutrals(subjects: Sequence[str], expressions: Sequence[str | None], neutral: str) -> None:
    """Raise :class:`DataError` if a subject has no neutral scan."""
    at_rest = {name for name, expression in zip(subjects, expressions, strict=True) if expression == neutral}
    without = [name for name in dict.fromkeys(subjects) if name not in at_rest]
    if without:
        raise DataError(
            f"{len(without)} of {len(set(subjects))} subjects have no scan called {neutral!r}, the first {without[0]}; "
            "wanted one of each for --align neutral-first. Leave these subjects out, or use --align rigid."
        )


def to_neutral_frame(
    writer: DatasetWriter,
    anchors: Float[np.ndarray, "scan anchor 3"] | None,
    labels: Labels,
    training: Int[np.ndarray, " row"],
) -> tuple[Transforms, Float[np.ndarray, "vertex 3"]]:
    """Align the written scans rigidly in two steps, as published.

    First each neutral by all of its vertices to the mean of the training neutrals as they lie in the files; then each
    other scan by its anchors to those of its subject's aligned neutral.

    Parameters
    ----------
    writer : Holds the scans; they are replaced by the aligned ones.
    anchors : Points of each scan that do not move with expressions, mm; None: all its vertices.
    labels : Whose scans they are, and which is the neutral.
    training : Rows whose neutrals make the mean.

    Returns
    -------
    What was done to each scan, and the mean of the training neutrals.

    Raises
    ------
    DataError : If a subject has no neutral, or there is none for training.
    """
    names = [labels.subjects[k] for k in labels.subject]
    is_neutral = np.isin(np.arange(len(labels)), labels.neutral_row)
    check_neutrals(names, ["neutral" if flag else None for flag in is_neutral], "neutral")
    usable = np.intersect1d(training, labels.neutral_row)
    if not len(usable):
        raise DataError(
            "No subject of the training split has a neutral scan; wanted some, whose mean is the frame of all others. "
            "Use another --split-by, or --align rigid."
        )
    mean = writer.read(usable).mean(axis=0, dtype=np.float64)
    motions = {int(row): align(writer.read(np.array([row]))[0].astype(np.float64), mean) for row in labels.neutral_row}
    fixed = {int(row): motions[int(row)].apply(_anchors_of(writer, anchors, int(row))) for row in labels.neutral_row}
    for row in np.flatnonzero(~is_neutral):
        neutral = int(labels.neutral_row[labels.subject[row]])
        motions[int(row)] = align(_anchors_of(writer, anchors, int(row)), fixed[neutral])
    return _moved(writer, motions), mean


def _anchors_of(writer: DatasetWriter, anchors: np.ndarray | None, row: int) -> np.ndarray:
    return (writer.read(np.array([row]))[0] if anchors is None else anchors[row]).astype(np.float64)


def _moved(writer: DatasetWriter, motions: dict[int, Similarity]) -> Transforms:
    """Move every scan, and write down how."""
    transforms = Transforms.identity(len(writer))
    for block in blocks(len(writer), writer.topology.vertex_count):
        vertices = writer.read(block).astype(np.float64)
        for k, row in enumerate(block.tolist()):
            motion = motions[row]
            vertices[k] = motion.apply(vertices[k])
            transforms.rotation[row], transforms.translation[row] = motion.rotation, motion.translation
        writer.rewrite(int(block[0]), vertices)
    return transforms
