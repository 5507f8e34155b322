"""Distances between scans that correspond vertex by vertex, in mm: the errors of reconstruction, neutral and transfer.

Every function takes ``vertices``, a mask (V,) that restricts it to some vertices, such as those of
:func:`moving_vertices`.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.mesh.alignment import align

Mask = Bool[np.ndarray, " vertex"] | None


def vertex_distance(
    first: Float[np.ndarray, "*scans vertex 3"], second: Float[np.ndarray, "*scans vertex 3"]
) -> Float[np.ndarray, "*scans vertex"]:
    r"""Distance of each vertex in two meshes, :math:`\lVert X_v - Y_v \rVert`, mm, in float64.

    Examples
    --------
    >>> vertex_distance(np.array([[0.0, 0, 0]]), np.array([[3.0, 4, 0]])).tolist()
    [5.0]
    """
    difference = first.astype(np.float64) - second
    return np.sqrt(np.einsum("...c,...c->...", difference, difference))


def e_avd(
    reconstructed: Float[np.ndarray, "scan vertex 3"],
    scans: Float[np.ndarray, "scan vertex 3"],
    vertices: Mask = None,
) -> Float[np.ndarray, " scan"]:
    r"""Average vertex distance of each scan to its reconstruction, mm (WSDF, eq. 9).

    .. math:: E_{avd} = \frac{1}{V} \sum_v \lVert X_v - X^r_v \rVert

    Examples
    --------
    >>> e_avd(np.zeros((1, 2, 3)), np.array([[[3.0, 4, 0], [0, 0, 1]]])).tolist()
    [3.0]
    """
    pairs = zip(reconstructed, scans, strict=True)
    # One scan at a time: a large test split in float64 would not fit beside itself.
    return np.array([_chosen(vertex_distance(a, b), vertices).mean() for a, b in pairs], dtype=np.float64)


def e_neu(
    neutralized: Float[np.ndarray, "scan vertex 3"],
    neutrals: Float[np.ndarray, "subject vertex 3"],
    subject: Int[np.ndarray, " scan"],
    vertices: Mask = None,
) -> Float[np.ndarray, " scan"]:
    r"""Average vertex distance of each neutralized scan to its subject's true neutral, mm (WSDF, eq. 11).

    .. math:: E_{neu} = \frac{1}{V} \sum_v \lVert X^{neu}_v - X^n_v \rVert

    Examples
    --------
    >>> e_neu(np.zeros((2, 1, 3)), np.array([[[2.0, 0, 0]]]), np.array([0, 0])).tolist()
    [2.0, 2.0]
    """
    truth = (neutrals[row] for row in subject)
    pairs = zip(neutralized, truth, strict=True)
    return np.array([_chosen(vertex_distance(a, b), vertices).mean() for a, b in pairs], dtype=np.float64)


def e_tra(
    transferred: Float[np.ndarray, "pair vertex 3"],
    truth: Float[np.ndarray, "pair vertex 3"],
    vertices: Mask = None,
) -> Float[np.ndarray, " pair"]:
    r"""Average vertex distance of transferred expressions to the true faces, mm (ours; needs generated faces).

    .. math:: E_{tra} = \frac{1}{V} \sum_v \lVert X^t_v - X_v \rVert

    with :math:`X` the first person truly showing the second's expression.

    Examples
    --------
    >>> e_tra(np.zeros((1, 2, 3)), np.array([[[1.0, 0, 0], [0, 3, 0]]])).tolist()
    [2.0]
    """
    return e_avd(transferred, truth, vertices)


def rigidly_aligned(
    found: Float[np.ndarray, "scan vertex 3"], truth: Float[np.ndarray, "scan vertex 3"]
) -> Float[np.ndarray, "scan vertex 3"]:
    r"""Bring each face onto its truth by a rotation and a translation, size kept, mm (FED's evaluation on BU-3DFE).

    .. math:: X R + t, \quad (R, t) = \arg\min \sum_v \lVert X_v R + t - Y_v \rVert^2, \quad \det R = 1

    Scans whose truth is not finite are given back as they are.

    Raises
    ------
    DataError : If the points of a face do not fix a rotation.

    Examples
    --------
    >>> corners = np.array([[[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]])
    >>> rigidly_aligned(corners + 5.0, corners).round(9).tolist() == corners.tolist()
    True
    """
    pairs = zip(found, truth, strict=True)
    moved = [align(a, b).apply(a) if np.isfinite(b).all() else a.astype(np.float64) for a, b in pairs]
    return np.stack(moved) if moved else found.astype(np.float64)


def moving_vertices(
    displacement: Float[np.ndarray, "*scans vertex"], fraction: float = 0.3
) -> Bool[np.ndarray, " vertex"]:
    """Mark the vertices that expressions move most (ours: a whole head dilutes the figures).

    Parameters
    ----------
    displacement : (V,) or (N, V) Distance of each vertex from the subject's neutral, mm; averaged over scans.
    fraction : Share of the vertices to mark: exactly ``round(fraction * V)``, the lower index first among equals.

    Examples
    --------
    >>> moving_vertices(np.array([0.0, 3.0, 1.0, 3.0, 0.0, 2.0, 0.0]), fraction=0.3).tolist()
    [False, True, False, True, False, False, False]
    """
    mean = displacement.reshape(-1, displacement.shape[-1]).mean(axis=0, dtype=np.float64)
    is_moving = np.zeros(len(mean), dtype=bool)
    is_moving[np.argsort(-mean, kind="stable")[: round(fraction * len(mean))]] = True
    return is_moving


def summary(
    values: Float[np.ndarray, " one"], moving: Float[np.ndarray, " other"] | None = None
) -> dict[str, float | None]:
    """Mean, standard deviation and median of a metric, and its mean over the moving vertices, mm.

    What there is nothing to measure from is None.

    Examples
    --------
    >>> summary(np.array([1.0, 2.0, 6.0]), moving=np.array([4.0, 6.0]))
    {'mean': 3.0, 'std': 2.160246899469287, 'median': 2.0, 'moving': 5.0}
    >>> summary(np.array([]))
    {'mean': None, 'std': None, 'median': None, 'moving': None}
    """
    mean_moving = float(moving.mean()) if moving is not None and len(moving) else None
    if len(values) == 0:
        return {"mean": None, "std": None, "median": None, "moving": mean_moving}
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "median": float(np.median(values)),
        "moving": mean_moving,
    }


def _chosen(values: Float[np.ndarray, " vertex"], vertices: Mask) -> np.ndarray:
    return values if vertices is None else values[vertices]
