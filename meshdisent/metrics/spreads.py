"""Spreads within groups of scans, in mm: of a subject's neutralized scans, or of one expression on different people.

The paper writes E_id as "std" of the distances. The published code takes the standard deviation over all scans and
vertices together (:func:`spread_a`), which is 0 when every vertex is equally far off; :func:`spread_b`, the root of the
mean square, is not. :func:`spread_drl` and :func:`spread_per_vertex` are other readings, to compare with other work.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from meshdisent.metrics.distances import Mask


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
    return _by_group(faces, group, vertices, lambda own: distance_to_mean(own).std())


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
    return _by_group(faces, group, vertices, lambda own: np.sqrt(np.square(distance_to_mean(own)).mean()))


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
    return _by_group(faces, group, vertices, lambda own: distance_to_mean(own).std(axis=0).mean())


def _by_group(
    faces: np.ndarray, group: np.ndarray, vertices: Mask, measure: Callable[[np.ndarray], float]
) -> tuple[np.ndarray, np.ndarray]:
    """One number for each group of scans."""
    groups = np.unique(group[group >= 0])
    chosen = slice(None) if vertices is None else vertices
    values = [measure(faces[group == label][:, chosen].astype(np.float64)) for label in groups]
    return groups, np.array(values, dtype=np.float64)


def distance_to_mean(faces: Float[np.ndarray, "scan vertex 3"]) -> Float[np.ndarray, "scan vertex"]:
    """Distance of each vertex of each scan to the mean of all of them, mm."""
    return np.linalg.norm(faces - faces.mean(axis=0), axis=2)
