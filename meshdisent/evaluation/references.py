"""What is known without any model, to read figures against; no method competes with it.

``subject's mean scan`` : a subject's neutral as the mean of all of its measured scans. It looks at many scans of a
person where a model looks at one.
``true neutral`` : an expression transfer that only takes the first person's expression off.
``true displacement`` : the second person's true displacement added to the first person's true neutral. What is left is
what only a model that is not additive can get.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.measures import Errors, Moving
from meshdisent.evaluation.transfer_pairs import TransferPairs

NAMES = ("subject's mean scan", "true neutral", "true displacement")
UNDEFINED: dict[str, Any] = dict.fromkeys(("E_avd", "E_id", "E_exp", "E_neu", "E_neu_kept", "E_tra", "leak"))


def references(
    scans: ScanDataset,
    rows: Int[np.ndarray, " scan"],
    neutrals: dict[int, Float[np.ndarray, "vertex 3"]],
    transfer: TransferPairs | None,
    moving: Moving,
) -> dict[str, dict[str, Any]]:
    """Figures of the rows that the scans allow, by name.

    Parameters
    ----------
    rows : Scans that are measured.
    neutrals : Those that are known, by subject, mm.
    """
    found: dict[str, dict[str, Any]] = {}
    mean_scans = Errors(scans.topology.vertex_count, moving)
    for subject, truth in neutrals.items():
        own = rows[scans.subject[rows] == subject]
        mean = scans.vertices(own).mean(axis=0, dtype=np.float64)
        # As often as the subject has scans, so that the mean over scans is that of every other row.
        for _ in own:
            mean_scans.add(mean[None], truth[None])
    if neutrals:
        found[NAMES[0]] = {**UNDEFINED, "E_neu": mean_scans.summary()}
    if transfer is not None:
        found.update(_transfers(scans, transfer, moving))
    return found


def _transfers(scans: ScanDataset, pairs: TransferPairs, moving: Moving) -> dict[str, dict[str, Any]]:
    neutrals, known = scans.neutrals()
    first, second = scans.subject[pairs.identity], scans.subject[pairs.expression]
    if not (known[first] & known[second]).all():
        return {}
    rest, added = (Errors(scans.topology.vertex_count, moving) for _ in range(2))
    for k in range(len(first)):
        pair, truth = slice(k, k + 1), pairs.truth[k : k + 1]
        displacement = scans.vertices(pairs.expression[pair]) - neutrals[second[pair]]
        rest.add(neutrals[first[pair]], truth)
        added.add(neutrals[first[pair]] + displacement, truth)
    return {
        name: {**UNDEFINED, "E_tra": {"plain": errors.summary(), "kept": None}}
        for name, errors in ((NAMES[1], rest), (NAMES[2], added))
    }
