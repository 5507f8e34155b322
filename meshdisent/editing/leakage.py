r"""How much of the other person came along with an expression: two measures of identity leakage.

By codes: with :math:`z_r, z_t, z_s` the identity codes of a result, of the person it should be and of the one who made
the expression, each entry divided by its deviation over the training scans,

.. math:: \text{share} = \frac{\langle z_r - z_t, z_s - z_t \rangle}{\lVert z_s - z_t \rVert^2}

is 0 where the result is the person and 1 where it is the other; the result counts as the other's where it is nearer to
them. It is a model's judgment, and best asked of another model than the one that made the results. By lengths: results
that should be the same face, of one person with one expression that different people made, differ by so many mm.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.editing.scans import as_scans, encode, need_split
from meshdisent.errors import UsageError
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import MorphableModel


def identity_leak(judge: MorphableModel, results: Any, targets: Any, sources: Any) -> dict[str, Any]:
    """Where results lie between the person they should be and the one who made the expression.

    Parameters
    ----------
    judge : Its encoder tells people apart.
    results : Transferred faces.
    targets, sources : Scans of the two people of each result; one of either serves for all.

    Returns
    -------
    ``share``, the mean over results (0 the person, 1 the other; None where both are the same to the judge), ``nearer``,
    the share of results that are nearer to the other, and ``results``, the share of each.

    Raises
    ------
    UsageError : If the scans do not match in number.

    Examples
    --------
    >>> anna, ben = scans.vertices()[:1], scans.vertices()[3:4]
    >>> identity_leak(model, ben, anna, ben)["share"]
    1.0
    """
    need_split(judge, "tell people apart")
    made = as_scans(judge, results, "the result")
    people = [as_scans(judge, scans, f"the {name} scan") for name, scans in (("target", targets), ("source", sources))]
    if any(len(scans) not in (1, len(made)) for scans in people):
        raise UsageError(
            f"{len(made)} results were given with {len(people[0])} targets and {len(people[1])} sources; wanted one "
            "of each for all, or one for each result."
        )
    scale = judge.prior().standard_deviations().identity.double().cpu().numpy()
    scale = np.maximum(scale, 1e-6 * scale.max())
    result, target, source = (encode(judge, scans).identity.double().cpu().numpy() / scale for scans in (made, *people))
    apart = source - target
    length = np.square(apart).sum(axis=1)
    share = ((result - target) * apart).sum(axis=1) / np.where(length > 0, length, np.nan)
    is_nearer = np.linalg.norm(result - source, axis=1) < np.linalg.norm(result - target, axis=1)
    known = np.isfinite(share)
    return {
        "share": float(share[known].mean()) if known.any() else None,
        "nearer": float(is_nearer[known].mean()) if known.any() else None,
        "results": [float(value) if np.isfinite(value) else None for value in share],
    }


def spread_over_sources(
    results: Float[np.ndarray, "result vertex 3"], same: Int[np.ndarray, " result"]
) -> float | None:
    """Mean distance in mm between results that should be one face: of one person with one expression, of many makers.

    People also perform differently, so the truth has a spread, too; compare with that of true faces.

    Parameters
    ----------
    results : (R, V, 3) mm.
    same : (R,) Equal numbers where results should be the same.

    Examples
    --------
    >>> spread_over_sources(np.array([[[0.0, 0, 0]], [[0, 3, 4]], [[9, 9, 9]]]), np.array([0, 0, 1]))
    5.0
    """
    apart = []
    for number in np.unique(same):
        rows = np.flatnonzero(same == number)
        apart += [vertex_distance(results[a], results[b]).mean() for k, a in enumerate(rows) for b in rows[k + 1 :]]
    return float(np.mean(apart)) if apart else None
