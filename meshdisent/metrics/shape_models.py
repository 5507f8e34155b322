r"""What a model of shapes is worth as such: generalization, specificity, compactness (Davies 2002; Styner et al. 2003).

Generalization, the error on held-out scans with the leading M modes, is :func:`~meshdisent.metrics.e_avd` of those
reconstructions; the modes of a model are in :mod:`meshdisent.evaluation.shape_quality`.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from meshdisent.errors import DataError
from meshdisent.metrics.distances import vertex_distance


def specificity(
    samples: Float[np.ndarray, "sample vertex 3"], training: Iterable[np.ndarray]
) -> Float[np.ndarray, " sample"]:
    r"""Distance of each sampled face to the nearest training scan, mm (Styner et al. 2003, section 2.3).

    .. math:: S_j = \frac{1}{V} \sum_v \lVert Y_{j,v} - X_{n(j),v} \rVert, \quad
              n(j) = \arg\min_n \sum_v \lVert Y_{j,v} - X_{n,v} \rVert^2

    A model that draws faces far from all that it has seen is not specific. The nearest scan is that of least squares,
    which one matrix product finds; its distance is a mean over vertices, to read beside E_avd.

    Parameters
    ----------
    samples : (M, V, 3) mm.
    training : Blocks (N, V, 3) of training scans, mm; one at a time is held in memory.

    Raises
    ------
    DataError : If there is no training scan.

    Examples
    --------
    >>> specificity(np.array([[[0.0, 0, 0]]]), [np.array([[[3.0, 4, 0]], [[9, 9, 9]]]), np.array([[[6.0, 0, 0]]])])
    array([5.])
    """
    center = samples.mean(axis=0, dtype=np.float64)
    flat = (samples - center).reshape(len(samples), -1).astype(np.float32)
    square = np.full(len(samples), np.inf)
    nearest = np.full(samples.shape, np.nan, np.float32)
    for block in training:
        other = (block - center).reshape(len(block), -1).astype(np.float32)
        # The sample's own square changes no order.
        distance = np.square(other).sum(axis=1, dtype=np.float64) - 2.0 * (flat @ other.T)
        chosen = distance.argmin(axis=1)
        least = distance[np.arange(len(samples)), chosen]
        closer = least < square
        square[closer], nearest[closer] = least[closer], block[chosen[closer]]
    if not np.isfinite(square).all():
        raise DataError("Specificity got no training scan; wanted those that the model was trained on.")
    return np.array([vertex_distance(a, b).mean() for a, b in zip(nearest, samples, strict=True)])


def compactness(variances: Float[np.ndarray, " mode"]) -> Float[np.ndarray, " mode"]:
    r"""Variance that the leading modes hold together, in the unit of ``variances`` (Davies 2002, section 3.3).

    .. math:: C(M) = \sum_{m \le M} \lambda_m

    Parameters
    ----------
    variances : (n,) :math:`\lambda_m` of each mode, in any order, mm^2.

    Returns
    -------
    (n,) Cumulative, the largest mode first; divided by its last entry it is the share of the whole.

    Examples
    --------
    >>> compactness(np.array([1.0, 4.0, 3.0])).tolist()
    [4.0, 7.0, 8.0]
    """
    return np.cumsum(np.sort(variances)[::-1])
