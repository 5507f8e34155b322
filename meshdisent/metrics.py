r"""How good a disentangled face model is, in millimeters: pure functions of arrays, as the WSDF paper defines them.

With :math:`d_v(X, Y) = \lVert X_v - Y_v \rVert` the distance of vertex :math:`v` in two scans:

============  =====================================================================================  ==========
name          what is measured                                                                       one number
============  =====================================================================================  ==========
E_avd         mean :math:`d_v` between a scan and its reconstruction (eq. 9)                         a scan
E_id          spread of a subject's neutralized scans about their mean (eq. 10)                      a subject
E_exp         spread of an expression decoded on no one in particular, about its mean (IV.C)         a label
E_neu         mean :math:`d_v` between a neutralized scan and the subject's true neutral (eq. 11)    a scan
E_tra         mean :math:`d_v` between a transferred expression and the truth                        a pair
leak          how often the nearest code is of the same subject or expression                        all
============  =====================================================================================  ==========

The paper writes E_id as "std" of :math:`d_v`. The published code takes the standard deviation over all scans and
vertices together (:func:`spread_a`), which is 0 when every vertex is equally far off; :func:`spread_b`, the root of the
mean square, is not. :func:`spread_drl` and :func:`spread_per_vertex` are other readings, to compare with other work.

Every function takes ``vertices``, a mask (V,) that restricts it to some vertices, such as those of
:func:`moving_vertices`.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

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


def spread_a(
    faces: Float[np.ndarray, "scan vertex 3"], group: Int[np.ndarray, " scan"], vertices: Mask = None
) -> tuple[Int[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    r"""Standard deviation of the distances to the group's mean, over scans and vertices together, mm (WSDF, eq. 10).

    .. math:: a_g = \mathrm{std}_{n \in g, v}\, \lVert X_{n,v} - \overline{X}_{g,v} \rVert

    As published; E_id of neutralized scans grouped by subject, E_exp of :meth:`expression_only` faces grouped by label.

    Returns
    -------
    groups : Their labels, increasing; scans with a negative label are left out.
    spread : mm; 0 for a group of one scan.

    Examples
    --------
    >>> two = np.array([[[1.0, 0, 0], [0, 0, 0]], [[-1, 0, 0], [0, 0, 0]]])
    >>> spread_a(two, np.array([7, 7]))
    (array([7]), array([0.5]))
    """
    return _by_group(faces, group, vertices, lambda own: _distance_to_mean(own).std())


def spread_b(
    faces: Float[np.ndarray, "scan vertex 3"], group: Int[np.ndarray, " scan"], vertices: Mask = None
) -> tuple[Int[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    r"""Root of the mean squared distance to the group's mean, over scans and vertices, mm (ours).

    .. math:: b_g = \sqrt{\mathrm{mean}_{n \in g, v}\, \lVert X_{n,v} - \overline{X}_{g,v} \rVert^2}

    A spread that is the same everywhere cannot hide from it. Returns what :func:`spread_a` returns.

    Examples
    --------
    >>> two = np.array([[[1.0, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, -1, 0]]])
    >>> spread_a(two, np.array([7, 7]))[1].item(), spread_b(two, np.array([7, 7]))[1].item()
    (0.0, 1.0)
    """
    return _by_group(faces, group, vertices, lambda own: np.sqrt(np.square(_distance_to_mean(own)).mean()))


def spread_drl(
    faces: Float[np.ndarray, "scan vertex 3"], group: Int[np.ndarray, " scan"], vertices: Mask = None
) -> tuple[Int[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    r"""Mean over vertices of the length of the per-coordinate standard deviation, mm (DRL, Jiang et al. 2019).

    .. math:: \mathrm{mean}_v \lVert (\mathrm{std}_n x, \mathrm{std}_n y, \mathrm{std}_n z)_v \rVert

    The published code computes it and reports :func:`spread_a`. Returns what :func:`spread_a` returns.

    Examples
    --------
    >>> two = np.array([[[3.0, 0, 0], [0, 0, 0]], [[-3, 0, 0], [0, 0, 0]]])
    >>> spread_drl(two, np.array([0, 0]))[1].item()
    1.5
    """
    return _by_group(faces, group, vertices, lambda own: np.linalg.norm(own.std(axis=0), axis=1).mean())


def spread_per_vertex(
    faces: Float[np.ndarray, "scan vertex 3"], group: Int[np.ndarray, " scan"], vertices: Mask = None
) -> tuple[Int[np.ndarray, " group"], Float[np.ndarray, " group"]]:
    r"""Mean over vertices of the standard deviation over scans of the distance to the group's mean, mm.

    .. math:: \mathrm{mean}_v\, \mathrm{std}_n\, \lVert X_{n,v} - \overline{X}_{g,v} \rVert

    Another reading of WSDF, eq. 10, which nobody reports. Returns what :func:`spread_a` returns.

    Examples
    --------
    >>> three = np.array([[[2.0, 0, 0]], [[-1, 0, 0]], [[-1, 0, 0]]])
    >>> round(spread_per_vertex(three, np.array([0, 0, 0]))[1].item(), 4)
    0.4714
    """
    return _by_group(faces, group, vertices, lambda own: _distance_to_mean(own).std(axis=0).mean())


def _by_group(
    faces: np.ndarray, group: np.ndarray, vertices: Mask, measure: Callable[[np.ndarray], float]
) -> tuple[np.ndarray, np.ndarray]:
    """One number for each group of scans."""
    groups = np.unique(group[group >= 0])
    chosen = slice(None) if vertices is None else vertices
    values = [measure(faces[group == label][:, chosen].astype(np.float64)) for label in groups]
    return groups, np.array(values, dtype=np.float64)


def _distance_to_mean(faces: Float[np.ndarray, "scan vertex 3"]) -> Float[np.ndarray, "scan vertex"]:
    return np.linalg.norm(faces - faces.mean(axis=0), axis=2)


def _chosen(values: Float[np.ndarray, " vertex"], vertices: Mask) -> np.ndarray:
    return values if vertices is None else values[vertices]


def leak(
    codes: Float[np.ndarray, "scan code"],
    training_std: Float[np.ndarray, " code"],
    labels: Int[np.ndarray, " scan"],
) -> dict[str, float | None]:
    """How often the scan with the nearest code has the same label, beside chance (ours).

    Distances are Euclidean, of codes divided by their standard deviation over the training scans. A standard deviation
    below 1e-6 of the largest counts as that much (as 1 if all are 0), so an entry that never changed in training does
    not divide by zero. Of neighbors equally near, the one of the lowest row counts.

    Parameters
    ----------
    codes : (N, D) Of the test scans, of one factor.
    training_std : (D,)
    labels : (N,) Of the other factor: who (for expression codes), or which expression (for identity codes). Scans with
        a negative label are left out.

    Returns
    -------
    ``rate`` and ``chance``, 0 to 1; chance is the rate of a neighbor drawn at random. Both None below two scans.

    Examples
    --------
    >>> leak(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([1.0]), np.array([0, 0, 1, 1]))
    {'rate': 1.0, 'chance': 0.3333333333333333}
    """
    codes, labels = codes[labels >= 0], labels[labels >= 0]
    if len(labels) < 2:
        return {"rate": None, "chance": None}
    floor = 1e-6 * training_std.max(initial=0.0) or 1.0
    neighbor = _nearest_other(codes / np.maximum(training_std.astype(np.float64), floor))
    same_label = np.unique(labels, return_counts=True)[1]
    chance = (same_label * (same_label - 1)).sum() / (len(labels) * (len(labels) - 1))
    return {"rate": float((labels[neighbor] == labels).mean()), "chance": float(chance)}


def _nearest_other(codes: Float[np.ndarray, "scan code"], block: int = 1024) -> Int[np.ndarray, " scan"]:
    """Row of the nearest other code; a block of rows at a time, so memory grows with N and not with its square."""
    codes = codes - codes.mean(axis=0)  # the expansion below loses digits far from the origin
    square = np.square(codes).sum(axis=1)
    nearest = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), block):
        rows = np.arange(start, min(start + block, len(codes)))
        distance = square - 2 * codes[rows] @ codes.T  # the row's own square changes no order
        distance[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = distance.argmin(axis=1)
    return nearest


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
