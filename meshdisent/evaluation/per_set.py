"""The figures of a model for each of the datasets that were combined: who gains, and who pays for it."""

from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.measuring import measure
from meshdisent.evaluation.methods import ModelMethod
from meshdisent.evaluation.task import Placing, Task, measured_rows
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.morphable.contract import MorphableModel, refuse_other_topology


def figures_per_set(
    model: MorphableModel,
    scans: ScanDataset,
    split: str = "test",
    transfer: TransferPairs | None = None,
    placing: Placing = "none",
    seed: int = 0,
) -> dict[str, dict[str, Any] | None]:
    """Measure a model on each set of a split alone.

    Parameters
    ----------
    transfer : Pairs with the true face; each counts for the set of the person shown.
    placing, seed : As in :func:`meshdisent.evaluation.protocol.evaluate`.

    Returns
    -------
    By the name of the set: the model's figures with ``scans`` and ``subjects``; None for a set without scans in the
    split. Empty where the scans are of one set.

    Raises
    ------
    DataError : If the split is empty.
    TopologyError : If the dataset is of another topology than the model.

    Examples
    --------
    >>> figures_per_set(model, scans)
    {}
    """
    refuse_other_topology(model, scans.topology, str(scans.path or "the dataset"))
    rows = measured_rows(scans, split)
    method, moving = ModelMethod(model), model.moving.cpu().numpy()
    found: dict[str, dict[str, Any] | None] = {}
    for number, name in enumerate(scans.sets):
        own = rows[scans.set_of_scan[rows] == number]
        if len(own) == 0:
            found[name] = None
            continue
        task = Task.of(scans, own, moving, _pairs_of(scans, transfer, number), placing, seed)
        counts = {"scans": len(own), "subjects": len(np.unique(scans.subject[own]))}
        found[name] = measure(method, task).figures | counts
    return found


def _pairs_of(scans: ScanDataset, transfer: TransferPairs | None, number: int) -> TransferPairs | None:
    if transfer is None:
        return None
    is_own = scans.set_of_scan[transfer.identity] == number
    if not is_own.any():
        return None
    return TransferPairs(transfer.identity[is_own], transfer.expression[is_own], transfer.truth[is_own])
