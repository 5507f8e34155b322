"""What every method of an evaluation is measured on, and what these scans do not allow to measure."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.labels import split_index
from meshdisent.errors import DataError
from meshdisent.evaluation.measures import Errors, Spreads, repeated
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.metrics import Resampling, rigidly_aligned

#: How predictions are brought onto the truth before distances are taken: not at all, or by rotation and translation.
Placing = Literal["none", "rigid"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The scans, what is known of them, and how figures are taken; the same for every method.

    Attributes
    ----------
    rows : (N,) Scans that are measured.
    moving : (V,) Vertices of the second mean; None where no model says which.
    neutrals : The known ones among the subjects of ``rows``, (V, 3) mm by subject.
    truth_spread : Spread of the true displacements of each expression.
    resampling : The people of ``rows``, drawn again.
    seed : Of everything that is drawn.
    """

    scans: ScanDataset
    rows: Int[np.ndarray, " scan"]
    moving: Bool[np.ndarray, " vertex"] | None
    neutrals: dict[int, Float[np.ndarray, "vertex 3"]]
    transfer: TransferPairs | None
    placing: Placing
    truth_spread: dict[str, Any] | None
    resampling: Resampling
    seed: int
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        scans: ScanDataset,
        rows: Int[np.ndarray, " scan"],
        moving: Bool[np.ndarray, " vertex"],
        transfer: TransferPairs | None = None,
        placing: Placing = "none",
        seed: int = 0,
    ) -> "Task":
        """Look up what is known, and note what is not."""
        found, known = scans.neutrals()
        subjects = np.unique(scans.subject[rows])
        neutrals = {int(s): found[s] for s in subjects if known[s]}
        mask = moving if moving.any() else None
        notes = left_out(scans, rows, len(neutrals), transfer, placing)
        if mask is None:
            notes.append("the model does not say which vertices expressions move: those columns are left out")
        everyone = subjects if transfer is None else np.union1d(subjects, scans.subject[transfer.identity])
        resampling = Resampling(everyone, seed)
        return cls(
            scans=scans,
            rows=rows,
            moving=mask,
            neutrals=neutrals,
            transfer=transfer,
            placing=placing,
            truth_spread=_true_spread(scans, rows, neutrals, Spreads(mask, resampling)),
            resampling=resampling,
            seed=seed,
            notes=notes,
        )

    @property
    def subject(self) -> Int[np.ndarray, " scan"]:
        """(N,) Who is seen in each measured scan."""
        return self.scans.subject[self.rows]

    @property
    def expression(self) -> Int[np.ndarray, " scan"]:
        """(N,) What each measured scan shows; -1 where it is unknown."""
        return self.scans.expression[self.rows]

    def errors(self) -> Errors:
        """Distances, none measured yet."""
        return Errors(self.scans.topology.vertex_count, self.moving, self.resampling)

    def spreads(self) -> Spreads:
        """Spreads, none measured yet."""
        return Spreads(self.moving, self.resampling)

    def placed(self, found: np.ndarray | None, truth: np.ndarray) -> Float[np.ndarray, "scan vertex 3"] | None:
        """Predictions where they are compared with the truth; None stays None."""
        return found if found is None or self.placing == "none" else rigidly_aligned(found, truth)


def measured_rows(scans: ScanDataset, split: str) -> Int[np.ndarray, " scan"]:
    """The rows of a split, or :class:`DataError` if there are none."""
    rows = scans.rows(split)
    if len(rows) == 0:
        raise DataError(
            f"{scans.path or 'The dataset'} has no scans in its {split} split. Choose another with --split, or prepare "
            "the scans with --split-by."
        )
    return rows


def left_out(
    scans: ScanDataset, rows: np.ndarray, known: int, transfer: TransferPairs | None, placing: Placing = "none"
) -> list[str]:
    """What the scans do not allow to measure, or make easier than it should be."""
    subjects, sizes = np.unique(scans.subject[rows], return_counts=True)
    notes = []
    if known == 0:
        notes.append("no subject has a known neutral: E_neu and the true spread are not defined")
    elif known < len(subjects):
        notes.append(
            f"{len(subjects) - known} of {len(subjects)} subjects have no known neutral: E_neu and the true spread are "
            "measured on the others"
        )
    if placing == "rigid":
        rest = " (E_id leaves subjects without a known neutral out)" if known < len(subjects) else ""
        notes.append(
            f"predictions are brought onto the truth by rotation and translation before they are measured{rest}"
        )
    unlabeled = int((scans.expression[rows] < 0).sum())
    if unlabeled:
        notes.append(f"{unlabeled} of {len(rows)} scans have no expression label: E_exp and the leak leave them out")
    if (sizes == 1).any():
        notes.append(f"{(sizes == 1).sum()} of {len(subjects)} subjects have a single scan: E_id leaves them out")
    if len(subjects) == 1:
        notes.append("there is one subject: intervals over subjects are not defined")
    is_training = scans.split == split_index("train")
    if transfer is not None and is_training[transfer.identity].any():
        count = is_training[transfer.identity].sum()
        notes.append(f"{count} of {len(transfer.identity)} transfer pairs show a training scan as the person")
    if is_training[rows].all():
        notes.append("these are the training scans: the figures say how well they are remembered")
    return notes


def _true_spread(
    scans: ScanDataset, rows: np.ndarray, neutrals: dict[int, np.ndarray], spreads: Spreads
) -> dict[str, Any] | None:
    """Spread of the true displacements of each expression: below it, less is not better."""
    usable = rows[np.isin(scans.subject[rows], list(neutrals)) & (scans.expression[rows] >= 0)]
    for label in repeated(scans.expression[usable]):
        own = usable[scans.expression[usable] == label]
        rest = np.stack([neutrals[int(s)] for s in scans.subject[own]])
        spreads.add(scans.vertices(own) - rest, scans.subject[own])
    return spreads.summary()
