"""One model, one dataset, all numbers: the same measurements for a model and for what it has to beat.

Figures are in mm. ``S`` below is mean, standard deviation and median over scans, subjects or labels, and the mean over
the vertices that expressions move; what is not defined is None:

``E_avd`` S, ``E_id`` {a: S, b: S}, ``E_exp`` {a: S, b: S, truth: {a: S, b: S}}, ``E_neu`` S, ``E_neu_kept`` S,
``E_tra`` {plain: S, kept: S}, ``leak`` {subject_from_expression, expression_from_identity: {rate, chance}}.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.labels import split_index
from meshdisent.errors import DataError
from meshdisent.evaluation.baselines import baselines
from meshdisent.evaluation.measures import Errors, Spreads, repeated
from meshdisent.evaluation.methods import Method, MethodCodes, ModelMethod
from meshdisent.evaluation.references import NAMES as REFERENCES
from meshdisent.evaluation.references import references
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.metrics import leak
from meshdisent.morphable.contract import MorphableModel, refuse_other_topology

#: Scans that go through a method at once.
BLOCK = 128
Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    name : Of the model.
    figures : See the module's first lines, with ``baselines``, ``scans`` and ``subjects``.
    verdicts : One line for each figure on which the model loses to a baseline.
    notes : What was left out, and why.
    rows : (N,) Rows of the scans that were measured.
    avd, neu : (N,) Errors of each scan in mm; ``neu`` is NaN where the neutral is unknown.
    error_map : (V,) Mean reconstruction error of each vertex, mm.
    neutral_map : (V,) Mean neutralization error of each vertex, mm; None without known neutrals.
    """

    name: str
    figures: dict[str, Any]
    verdicts: list[str]
    notes: list[str]
    rows: Int[np.ndarray, " scan"]
    avd: Float[np.ndarray, " scan"] | None
    neu: Float[np.ndarray, " scan"] | None
    error_map: Float[np.ndarray, " vertex"] | None
    neutral_map: Float[np.ndarray, " vertex"] | None


def evaluate(
    model: MorphableModel,
    scans: ScanDataset,
    split: str = "test",
    transfer: TransferPairs | None = None,
    name: str | None = None,
    ridge_kinds: tuple[str, ...] = ("mode",),
    progress: Progress = lambda message: None,
) -> Evaluation:
    """Measure a model on a split, beside the baselines.

    Parameters
    ----------
    transfer : Pairs with the true face, for E_tra.
    ridge_kinds : Pseudo-neutrals for the ridge regressions (mean, median, mode).
    progress : Called with a line for each method.

    Raises
    ------
    DataError : If the split is empty.
    TopologyError : If the dataset is of another topology than the model.
    """
    refuse_other_topology(model, scans.topology, str(scans.path or "the dataset"))
    rows = scans.rows(split)
    if len(rows) == 0:
        raise DataError(
            f"{scans.path or 'The dataset'} has no scans in its {split} split. Choose another with --split, or prepare "
            "the scans with --split-by."
        )
    task = _Task.of(scans, rows, model.moving.cpu().numpy(), transfer)
    progress(name or model.name)
    measured = _measure(ModelMethod(model, name), task)
    others, notes = baselines(scans, model.identity_size + model.expression_size, ridge_kinds)
    figures = measured.figures
    figures["baselines"] = {}
    for method in others:
        progress(method.name)
        figures["baselines"][method.name] = _measure(method, task).figures
    figures["baselines"].update(references(scans, rows, task.neutrals, transfer, task.moving))
    figures["scans"], figures["subjects"] = len(rows), len(np.unique(scans.subject[rows]))
    return Evaluation(
        name=name or model.name,
        figures=figures,
        verdicts=verdicts(figures),
        notes=notes + task.notes,
        rows=rows,
        avd=measured.avd,
        neu=measured.neu,
        error_map=measured.error_map,
        neutral_map=measured.neutral_map,
    )


#: Figures on which less is better, as the path to a mean.
_LESS_IS_BETTER = (("E_avd",), ("E_id", "b"), ("E_neu",), ("E_neu_kept",), ("E_tra", "plain"), ("E_tra", "kept"))
#: Differences that no table prints decide nothing.
_DECIMALS = 3


def verdicts(figures: dict[str, Any]) -> list[str]:
    """One line for each baseline that beats the model, figure by figure."""
    lines = []
    for path in _LESS_IS_BETTER:
        own = mean_of(figures, path)
        for name, other in figures["baselines"].items():
            theirs = mean_of(other, path)
            # A method that answers the same to everything has no spread: that is no achievement.
            if name in REFERENCES or (path[0] == "E_id" and name == "mean face"):
                continue
            if own is not None and theirs is not None and round(theirs, _DECIMALS) < round(own, _DECIMALS):
                figure = " ".join(path).replace("_kept", " kept")
                lines.append(f"loses to {name} on {figure}: {own:.3f} against {theirs:.3f} mm")
    return lines


def mean_of(figures: dict[str, Any], path: tuple[str, ...], key: str = "mean") -> float | None:
    """One number of the figures, None where it is not defined."""
    found: Any = figures
    for step in path:
        found = found.get(step) if found else None
    return found.get(key) if found else None


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What every method is measured on."""

    scans: ScanDataset
    rows: Int[np.ndarray, " scan"]
    moving: Bool[np.ndarray, " vertex"] | None
    neutrals: dict[int, Float[np.ndarray, "vertex 3"]]
    transfer: TransferPairs | None
    truth_spread: dict[str, Any] | None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        scans: ScanDataset,
        rows: Int[np.ndarray, " scan"],
        moving: Bool[np.ndarray, " vertex"],
        transfer: TransferPairs | None,
    ) -> "_Task":
        found, known = scans.neutrals()
        neutrals = {int(s): found[s] for s in np.unique(scans.subject[rows]) if known[s]}
        mask = moving if moving.any() else None
        notes = _left_out(scans, rows, len(neutrals), transfer)
        if mask is None:
            notes.append("the model does not say which vertices expressions move: those columns are left out")
        spread = _true_spread(scans, rows, neutrals, mask)
        return cls(
            scans=scans, rows=rows, moving=mask, neutrals=neutrals, transfer=transfer, truth_spread=spread, notes=notes
        )

    def errors(self) -> Errors:
        """Nothing measured yet."""
        return Errors(self.scans.topology.vertex_count, self.moving)


def _left_out(scans: ScanDataset, rows: np.ndarray, known: int, transfer: TransferPairs | None) -> list[str]:
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
    unlabeled = int((scans.expression[rows] < 0).sum())
    if unlabeled:
        notes.append(f"{unlabeled} of {len(rows)} scans have no expression label: E_exp and the leak leave them out")
    if (sizes == 1).any():
        notes.append(f"{(sizes == 1).sum()} of {len(subjects)} subjects have a single scan: E_id leaves them out")
    is_training = scans.split == split_index("train")
    if transfer is not None and is_training[transfer.identity].any():
        count = is_training[transfer.identity].sum()
        notes.append(f"{count} of {len(transfer.identity)} transfer pairs show a training scan as the person")
    if is_training[rows].all():
        notes.append("these are the training scans: the figures say how well they are remembered")
    return notes


@dataclass
class _Measured:
    """Figures of one method, and the errors that pictures are made of."""

    figures: dict[str, Any]
    avd: Float[np.ndarray, " scan"] | None
    neu: Float[np.ndarray, " scan"] | None
    error_map: Float[np.ndarray, " vertex"] | None
    neutral_map: Float[np.ndarray, " vertex"] | None


def _measure(method: Method, task: _Task) -> _Measured:
    scans, rows = task.scans, task.rows
    avd, neu, kept = task.errors(), task.errors(), task.errors()
    codes: list[MethodCodes] = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        shown = scans.vertices(block)
        codes.append(method.encode(shown))
        decoded, neutral = method.decode(codes[-1]), method.neutral(codes[-1])
        detail = method.detail(shown, decoded)
        avd.add(decoded, shown)
        is_known = np.array([int(s) in task.neutrals for s in scans.subject[block]])
        truth = np.stack([task.neutrals.get(int(s), shown[0]) for s in scans.subject[block]])
        neu.add(neutral, truth, is_known)
        if detail is not None and neutral is not None:
            kept.add(detail + neutral, truth, is_known)
    all_codes = np.concatenate(codes)
    figures: dict[str, Any] = {
        "E_avd": avd.summary(),
        "E_id": _spread(method.neutral, all_codes, scans.subject[rows], task),
        "E_exp": _spread(method.expression_only, all_codes, scans.expression[rows], task),
        "E_neu": neu.summary(),
        "E_neu_kept": kept.summary(),
        "E_tra": _transfer(method, task),
        "leak": _leak(method, all_codes, task),
    }
    if figures["E_exp"] is not None:
        figures["E_exp"]["truth"] = task.truth_spread
    return _Measured(figures, avd.per_scan(), neu.per_scan(), avd.per_vertex(), neu.per_vertex())


def _spread(
    decode: Callable[[MethodCodes], np.ndarray | None], codes: MethodCodes, group: np.ndarray, task: _Task
) -> dict[str, Any] | None:
    """Both variants of a spread, decoded a group at a time; None if the method cannot."""
    spreads = Spreads(task.moving)
    for label in repeated(group):
        faces = decode(codes[group == label])
        if faces is None:
            return None
        spreads.add(faces)
    return spreads.summary()


def _true_spread(
    scans: ScanDataset, rows: np.ndarray, neutrals: dict[int, np.ndarray], moving: np.ndarray | None
) -> dict[str, Any] | None:
    """Spread of the true displacements of each expression: below it, less is not better."""
    usable = rows[np.isin(scans.subject[rows], list(neutrals)) & (scans.expression[rows] >= 0)]
    spreads = Spreads(moving)
    for label in repeated(scans.expression[usable]):
        own = usable[scans.expression[usable] == label]
        rest = np.stack([neutrals[int(s)] for s in scans.subject[own]])
        spreads.add(scans.vertices(own) - rest)
    return spreads.summary()


def _transfer(method: Method, task: _Task) -> dict[str, Any] | None:
    """E_tra: what transfer gives against the truth; ``kept`` adds what the method cannot say of the shown scan."""
    if task.transfer is None:
        return None
    pairs, scans = task.transfer, task.scans
    plain, kept = task.errors(), task.errors()
    for start in range(0, len(pairs.identity), BLOCK):
        part = slice(start, start + BLOCK)
        shown = scans.vertices(pairs.identity[part])
        first, second = method.encode(shown), method.encode(scans.vertices(pairs.expression[part]))
        moved, detail = method.transfer(first, second), method.detail(shown, method.decode(first))
        plain.add(moved, pairs.truth[part])
        if moved is not None and detail is not None:
            kept.add(detail + moved, pairs.truth[part])
    return {"plain": plain.summary(), "kept": kept.summary()} if plain.count else None


def _leak(method: Method, codes: MethodCodes, task: _Task) -> dict[str, Any] | None:
    factors = method.factors(codes)
    if factors is None:
        return None
    subject, expression = task.scans.subject[task.rows], task.scans.expression[task.rows]
    return {
        "subject_from_expression": leak(factors.expression, factors.expression_std, subject),
        "expression_from_identity": leak(factors.identity, factors.identity_std, expression),
    }
