"""The neutral bank against the truth: estimates of a face at rest from a person's scans, where the truth is known."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import PSEUDO_NEUTRALS
from meshdisent.evaluation.measures import Errors
from meshdisent.metrics import Resampling

#: So many people, evenly spaced among those whose neutral is known.
PEOPLE = 24


@dataclass(frozen=True, kw_only=True)
class NeutralEstimates:
    """Errors of each kind of estimate.

    Attributes
    ----------
    figures : S in mm over people, by the kind: ``mean`` (the paper's closed form), ``median``, ``mode`` (ours).
    maps : (V,) Mean error of each vertex, mm, by the kind.
    people : How many people.
    scans_each : Fewest and most scans of a person that the estimates saw.
    """

    figures: dict[str, Any]
    maps: dict[str, Float[np.ndarray, " vertex"]]
    people: int
    scans_each: tuple[int, int]


def neutral_estimates(
    scans: ScanDataset, moving: np.ndarray | None, split: str = "train", seed: int = 0
) -> NeutralEstimates | None:
    """Measure what training holds networks to; None without a person of several scans whose neutral is known.

    The estimates see the scans of the split and who is seen, nothing else: a neutral scan among them is not marked.
    """
    rows = scans.rows(split)
    neutrals, known = scans.neutrals()
    subjects, sizes = np.unique(scans.subject[rows], return_counts=True)
    usable = subjects[known[subjects] & (sizes > 1)]
    if len(usable) == 0:
        return None
    chosen = usable[np.unique(np.linspace(0, len(usable) - 1, min(PEOPLE, len(usable))).round().astype(np.int64))]
    resampling = Resampling(chosen, seed)
    errors = {kind: Errors(scans.topology.vertex_count, moving, resampling) for kind in PSEUDO_NEUTRALS}
    for subject in chosen:
        own = scans.vertices(rows[scans.subject[rows] == subject])
        for kind, estimate in PSEUDO_NEUTRALS.items():
            found = estimate(own, scans.topology)
            errors[kind].add(found[None], neutrals[subject][None], np.array([subject]))
    seen = sizes[np.isin(subjects, chosen)]
    maps = {kind: one.per_vertex() for kind, one in errors.items()}
    return NeutralEstimates(
        figures={kind: one.summary() for kind, one in errors.items()},
        maps={kind: found for kind, found in maps.items() if found is not None},
        people=len(chosen),
        scans_each=(int(seen.min()), int(seen.max())),
    )
