"""Some of the scans of a dataset as a file of their own: to see what fewer expressions or fewer people would give."""

import dataclasses
import os

import numpy as np
from jaxtyping import Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.faces_file import blocks
from meshdisent.data.faces_writer import DatasetWriter, Transforms
from meshdisent.data.labels import UNKNOWN, Labels
from meshdisent.errors import DataError


def save_subset(
    scans: ScanDataset, rows: Int[np.ndarray, " row"], path: str | os.PathLike, overwrite: bool = False
) -> None:
    """Write the scans in ``rows``, in that order, as a faces.h5.

    The tables of subjects and expressions stay whole, so their numbers mean the same in both files; true neutrals stay
    too, a subject's neutral scan only if it is among the rows.

    Parameters
    ----------
    scans : Where they are taken from.
    rows : (R,) Rows of ``scans``, each at most once.
    path, overwrite : The file to appear, and whether it may replace another.

    Raises
    ------
    DataError : If there is no row, one does not exist, or one stands twice.
    UsageError : If ``path`` exists and ``overwrite`` is false.

    Examples
    --------
    >>> save_subset(scans, scans.rows("test"), folder / "test.h5")
    >>> small = ScanDataset.open(folder / "test.h5")
    >>> small.names()[:2], small.subjects == scans.subjects
    (['eva/neutral', 'eva/smile'], True)
    """
    if len(rows) == 0 or len(np.unique(rows)) < len(rows):
        raise DataError(f"A subset of {len(rows)} rows was asked for; wanted at least one, and each at most once.")
    with DatasetWriter(path, scans.topology, scans.attributes, overwrite) as writer:
        for block in blocks(len(rows), scans.topology.vertex_count):
            writer.append(scans.vertices(rows[block]))
        transforms = None if scans.transforms is None else Transforms(*(values[rows] for values in scans.transforms))
        writer.finish(take_labels(scans.labels, rows), scans.truth, transforms, scans.full_resolution())


def take_labels(labels: Labels, rows: Int[np.ndarray, " row"]) -> Labels:
    """Labels of some rows; a neutral that is not among them becomes unknown.

    Examples
    --------
    >>> labels = Labels.from_names(["anna", "anna", "ben"], ["neutral", "smile", "neutral"])
    >>> take_labels(labels, np.array([1, 2])).neutral_row.tolist()
    [-1, 1]
    """
    place = np.full(len(labels) + 1, UNKNOWN, np.int64)  # one more: -1 stays -1
    place[rows] = np.arange(len(rows))
    return dataclasses.replace(
        labels,
        **{name: getattr(labels, name)[rows] for name in ("subject", "expression", "frame", "split")},
        neutral_row=place[labels.neutral_row],
        set_of_scan=None if labels.set_of_scan is None else labels.set_of_scan[rows],
    )
