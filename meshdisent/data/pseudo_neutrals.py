r"""Each subject's face at rest, estimated from the subject's scans without knowing which one is neutral.

Most of a face is at rest in most scans of a person, so the neutral position of a vertex is where the scans are
densest, not where their mean is. WSDF (section III, Neutral Bank) derives the mean; the geometric median and the mode
are robust against the few scans that move a vertex. On ICT-300 (20 expressions a subject, scanner noise 0.08 mm) the
mean is 0.44 mm from the true neutral, the median 0.18, the mode 0.09.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy import sparse

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.mesh.topology import Topology

#: With fewer scans of a subject a mode is where a few of them happen to meet, and the median is taken instead. On
#: ICT-300, mm from the truth, mode and median: 10 scans 0.52 and 0.27, 12 scans 0.26 and 0.24, 14 scans 0.15 and 0.21.
FEWEST_FOR_MODE = 14
#: Of a subject with more scans, so many, evenly spaced, decide (memory grows with their square).
MOST_FOR_MODE = 64


def mean_neutral(scans: Float[np.ndarray, "scan vertex 3"], topology: Topology) -> Float[np.ndarray, "vertex 3"]:
    """The mean of a subject's scans, in mm (WSDF, section III)."""
    return scans.mean(axis=0, dtype=np.float64)


def median_neutral(scans: Float[np.ndarray, "scan vertex 3"], topology: Topology) -> Float[np.ndarray, "vertex 3"]:
    r"""The geometric median of each vertex, in mm: :math:`\arg\min_m \sum_i \lVert x_i - m \rVert` (Weiszfeld 1937)."""
    points = scans.astype(np.float64)
    median = np.median(points, axis=0)
    for _ in range(30):
        weights = 1.0 / np.maximum(np.linalg.norm(points - median, axis=2, keepdims=True), 1e-4)
        median = (points * weights).sum(axis=0) / weights.sum(axis=0)
    return median


def mode_neutral(
    scans: Float[np.ndarray, "scan vertex 3"], topology: Topology, kernel_mm: float = 0.3, rings: int = 4
) -> Float[np.ndarray, "vertex 3"]:
    """The densest position of each vertex among a subject's scans, in mm.

    Squared distances between two scans are averaged over the neighbors within ``rings`` edges, so that a neighborhood
    decides together which scans agree; the scan with the highest density wins, and those near it are averaged. Below
    ``FEWEST_FOR_MODE`` scans the geometric median is taken.

    Parameters
    ----------
    scans : (N, V, 3) Scans of one subject, in mm.
    kernel_mm : Standard deviation of the Gaussian kernel.
    """
    if len(scans) < FEWEST_FOR_MODE:
        return median_neutral(scans, topology)
    return _mode(scans, _neighborhood_mean(topology, rings), kernel_mm)


PSEUDO_NEUTRALS: dict[str, Callable[..., Float[np.ndarray, "vertex 3"]]] = {
    "mean": mean_neutral,
    "median": median_neutral,
    "mode": mode_neutral,
}


def pseudo_neutrals(scans: ScanDataset, method: str = "mode") -> Float[np.ndarray, "subject vertex 3"]:
    """The estimated neutral of every subject that has training scans, in mm; NaN rows for the others.

    Parameters
    ----------
    method : A key of :data:`PSEUDO_NEUTRALS`, or ``known`` for the neutrals that the dataset itself knows.

    Raises
    ------
    DataError : If ``known`` is asked for and a training subject has no neutral.
    """
    rows = scans.rows("train")
    result = np.full((len(scans.subjects), scans.topology.vertex_count, 3), np.nan)
    present = np.unique(scans.subject[rows])
    if method == "known":
        neutrals, known = scans.neutrals()
        missing = [scans.subjects[s] for s in present if not known[s]]
        if missing:
            raise DataError(
                f"{len(missing)} training subjects have no known neutral (first: {missing[0]}); supervision by "
                "neutrals needs one for each. Train with neutrals estimated from subject labels (mode), or name the "
                "neutral scans when preparing."
            )
        result[present] = neutrals[present]
        return result
    average = _neighborhood_mean(scans.topology, 4) if method == "mode" else None
    for subject in present:
        own = scans.vertices(rows[scans.subject[rows] == subject])
        if average is not None and len(own) >= FEWEST_FOR_MODE:
            result[subject] = _mode(own, average, 0.3)
        else:
            result[subject] = PSEUDO_NEUTRALS[method](own, scans.topology)
    return result


def _mode(
    scans: Float[np.ndarray, "scan vertex 3"], average: sparse.csr_array, kernel_mm: float
) -> Float[np.ndarray, "vertex 3"]:
    if len(scans) > MOST_FOR_MODE:
        scans = scans[np.linspace(0, len(scans) - 1, MOST_FOR_MODE).round().astype(np.int64)]
    points = scans.astype(np.float32)
    count, vertex_count = points.shape[:2]
    square = np.square(points[:, None] - points[None]).sum(axis=3).reshape(count * count, vertex_count)
    square = (average @ square.T).T.reshape(count, count, vertex_count)  # (N, N, V)
    kernel = np.exp(-square / (2 * kernel_mm**2))
    densest = kernel.sum(axis=1).argmax(axis=0)  # (V,)
    weights = kernel[densest, :, np.arange(vertex_count)].T[:, :, None].astype(np.float64)  # (N, V, 1)
    return (points * weights).sum(axis=0) / weights.sum(axis=0)


def _neighborhood_mean(topology: Topology, rings: int) -> sparse.csr_array:
    """Sparse map that averages a field over each vertex and its neighbors within some edges."""
    reach = sparse.csr_array(topology.rings(rings).astype(np.float32) + sparse.eye_array(topology.vertex_count))
    reach.data[:] = 1.0
    return sparse.csr_array(sparse.diags_array(1.0 / reach.sum(axis=1)) @ reach).astype(np.float32)
