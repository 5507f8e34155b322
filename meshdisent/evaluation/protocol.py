"""One model, one dataset, all numbers: the same measurements for a model and for what it has to beat.

Figures are in mm. ``S`` below is mean, standard deviation and median over scans, subjects or labels, the mean over the
vertices that expressions move, and ``low`` and ``high``, both ends of the mean's 95 % bootstrap interval over subjects;
what is not defined is None:

``E_avd`` S, ``E_id`` {a: S, b: S}, ``E_exp`` {a: S, b: S, truth: {a: S, b: S}}, ``E_neu`` S, ``E_neu_kept`` S,
``E_tra`` {plain: S, kept: S}, ``leak`` {subject_from_expression, expression_from_identity: {rate, chance}}, and
``evidence``, where it was asked for, as :mod:`meshdisent.evaluation.evidence` gives it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation.baselines import baselines
from meshdisent.evaluation.evidence import gather_evidence
from meshdisent.evaluation.measures import Draws
from meshdisent.evaluation.measuring import Measured, measure
from meshdisent.evaluation.methods import MethodCodes, ModelMethod
from meshdisent.evaluation.references import NAMES as REFERENCES
from meshdisent.evaluation.references import references
from meshdisent.evaluation.task import Placing, Task, measured_rows
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.morphable.contract import MorphableModel, refuse_other_topology

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
    codes : (N, I + E) Codes of the measured scans, identity first.
    draws : Means of figures in each bootstrap draw of people, by the path to the figure.
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
    codes: MethodCodes
    draws: dict[tuple[str, ...], Draws] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, measured: Measured, others: Mapping[str, dict[str, Any]], task: Task, notes: list[str]
    ) -> "Evaluation":
        """Put what was measured of a model beside the figures of the baselines."""
        figures = measured.figures | {
            "baselines": dict(others),
            "scans": len(task.rows),
            "subjects": len(np.unique(task.subject)),
        }
        return cls(
            name=name,
            figures=figures,
            verdicts=verdicts(figures),
            notes=notes,
            rows=task.rows,
            avd=measured.avd,
            neu=measured.neu,
            error_map=measured.error_map,
            neutral_map=measured.neutral_map,
            codes=measured.codes,
            draws=measured.draws,
        )


def evaluate(
    model: MorphableModel,
    scans: ScanDataset,
    split: str = "test",
    transfer: TransferPairs | None = None,
    name: str | None = None,
    ridge_kinds: tuple[str, ...] = ("mode",),
    progress: Progress = lambda message: None,
    *,
    rows: Int[np.ndarray, " scan"] | None = None,
    placing: Placing = "none",
    with_evidence: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Measure a model on a split, beside the baselines.

    Parameters
    ----------
    transfer : Pairs with the true face, for E_tra.
    ridge_kinds : Pseudo-neutrals for the ridge regressions (mean, median, mode).
    progress : Called with a line for each method.
    rows : (N,) Scans to measure, at least one, instead of those of a split.
    placing : ``rigid`` brings predictions onto the truth by rotation and translation first, as FED does on BU-3DFE.
    with_evidence : Ask further what the codes tell (:mod:`meshdisent.evaluation.evidence`); a minute or so.
    seed : Of the bootstrap draws, and of everything that the evidence draws.

    Raises
    ------
    DataError : If the split is empty.
    TopologyError : If the dataset is of another topology than the model.
    """
    refuse_other_topology(model, scans.topology, str(scans.path or "the dataset"))
    rows = measured_rows(scans, split) if rows is None else rows
    task = Task.of(scans, rows, model.moving.cpu().numpy(), transfer, placing, seed)
    progress(name or model.name)
    method = ModelMethod(model, name)
    measured = measure(method, task)
    measured.figures["evidence"] = None
    why: list[str] = []
    if with_evidence:
        measured.figures["evidence"], why = gather_evidence(method, measured.codes, task, progress)
    code_count = model.identity_size + model.expression_size
    others, notes = measured_baselines(task, [code_count], ridge_kinds, progress, with_evidence)
    found = {key: one.figures for key, one in others.items()} | references(task)
    return Evaluation.of(name or model.name, measured, found, task, notes + task.notes + why)


def measured_baselines(
    task: Task,
    code_counts: list[int],
    ridge_kinds: tuple[str, ...],
    progress: Progress,
    with_evidence: bool = False,
) -> tuple[dict[str, Measured], list[str]]:
    """Measure what needs no network, by name, and say what had to be left out; codes are not kept."""
    methods, notes = baselines(task.scans, code_counts, ridge_kinds)
    found = {}
    for method in methods:
        progress(method.name)
        measured = measure(method, task)
        measured.figures["evidence"] = None
        if with_evidence:
            # What it cannot do is no news for a baseline, so its notes are not.
            measured.figures["evidence"], _ = gather_evidence(method, measured.codes, task)
        found[method.name] = replace(measured, codes=measured.codes[:, :0].copy())
    return found, notes


#: Figures on which less is better, as the path to a mean.
LESS_IS_BETTER: tuple[tuple[str, ...], ...] = (
    ("E_avd",),
    ("E_id", "b"),
    ("E_neu",),
    ("E_neu_kept",),
    ("E_tra", "plain"),
    ("E_tra", "kept"),
)
#: Differences that no table prints decide nothing.
_DECIMALS = 3


def verdicts(figures: dict[str, Any]) -> list[str]:
    """One line for each baseline that beats the model, figure by figure."""
    lines = []
    for path in LESS_IS_BETTER:
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
