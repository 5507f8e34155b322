"""A dataset on another topology, by a map that was found once on the two templates."""

import json
import os
import sys

import numpy as np
from jaxtyping import Float32
from tqdm import tqdm

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.faces_file import blocks
from meshdisent.data.faces_writer import DatasetWriter, Transforms
from meshdisent.mesh.resampling import ResamplingMap


def save_resampled(
    scans: ScanDataset,
    found: ResamplingMap,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Write all scans on the target topology of a map as a faces.h5.

    Labels, splits, sets and attributes stay, true neutrals are resampled too, and the motion into the target's frame
    joins the stored transforms. The record of an earlier decimation goes away, since it led to the topology before.

    Parameters
    ----------
    scans : Of the map's source topology.
    found : See :func:`meshdisent.mesh.resampling.resampling_map`.
    path, overwrite : The file to appear, and whether it may replace another.
    progress : Show a bar on standard error.

    Raises
    ------
    TopologyError : If the scans are of another topology than the map's source.
    UsageError : If ``path`` exists and ``overwrite`` is false.

    Examples
    --------
    >>> from meshdisent.mesh.resampling import resampling_map
    >>> save_resampled(scans, resampling_map(scans.topology, scans.topology), folder / "same.h5")
    >>> again = ScanDataset.open(folder / "same.h5")
    >>> again.names() == scans.names(), bool(np.allclose(again.vertices(), scans.vertices(), atol=1e-4))
    (True, True)
    """
    found.check(scans.topology, scans.path or "the dataset")
    is_moved = not (np.array_equal(found.motion.rotation, np.eye(3)) and not found.motion.translation.any())
    transforms = scans.transforms
    if is_moved:
        transforms = (transforms or Transforms.identity(len(scans))).followed_by(found.motion)
    about = {"from": scans.topology.topology_hash, **found.coverage._asdict()}
    attributes = {**scans.attributes, "resampled": json.dumps(about)}
    with DatasetWriter(path, found.target, attributes, overwrite) as writer:
        bar = tqdm(total=len(scans), unit=" scans", desc="resample", file=sys.stderr, disable=not progress)
        with bar:
            for rows in blocks(len(scans), max(scans.topology.vertex_count, found.target.vertex_count)):
                writer.append(found.apply(scans.vertices(rows)))
                bar.update(len(rows))
        writer.finish(scans.labels, _truth(scans, found), transforms)


def _truth(scans: ScanDataset, found: ResamplingMap) -> Float32[np.ndarray, "subject vertex 3"] | None:
    if scans.truth is None:
        return None
    is_known = ~np.isnan(scans.truth[:, 0, 0])
    truth = np.full((len(scans.subjects), found.target.vertex_count, 3), np.nan, np.float32)
    truth[is_known] = found.apply(scans.truth[is_known])
    return truth
