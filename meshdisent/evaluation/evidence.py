"""What a doubter asks further of a method: who is recognized, what the codes tell that they should not, shape quality.

``recognition`` {identity_code, identity_face: {rate, chance, low, high, with_neutrals}}; ``support_vectors`` A with
same_scans; ``probes`` {expression_from_identity, subject_from_expression, expression_from_expression: {linear: A,
network: A}}, with A = {accuracy, chance, low, high, scans, unconverged}; ``spread_of_people`` {mean, std} mm;
``factors`` {disentanglement, completeness, informativeness, sap, mig}; ``generalization`` {entries, E_avd, scans};
``compactness`` {entries, variance_mm2, share, entries_for_95}; ``specificity`` {mean, std, median, samples}.

What is not defined is None.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from meshdisent.evaluation.methods import Factors, Method, MethodCodes, ModelMethod
from meshdisent.evaluation.probes import PROBES, accuracy, held_out_answers
from meshdisent.evaluation.recognition import expression_groups, recognition, spread_of_people, support_vector_accuracy
from meshdisent.evaluation.shape_quality import compact, generalization, modes, specific
from meshdisent.evaluation.task import Task
from meshdisent.metrics import dci, mig, sap

#: What is read from which code, what is held out, and by which probes. The last should succeed: it shows what is there.
READINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "expression_from_identity": ("identity", "expression", ("linear", "network")),
    "subject_from_expression": ("expression", "subject", ("linear", "network")),
    "expression_from_expression": ("expression", "expression", ("linear",)),
}


def gather_evidence(
    method: Method, codes: MethodCodes, task: Task, progress: Callable[[str], None] = lambda message: None
) -> tuple[dict[str, Any], list[str]]:
    """Ask everything of one method.

    Parameters
    ----------
    codes : (N, C) Of the measured scans, as :func:`~meshdisent.evaluation.measuring.measure` gives them.
    progress : Called with a line for each part.

    Returns
    -------
    evidence : See the module's first lines.
    notes : What was left out or did not converge, and why.
    """
    factors = method.factors(codes)
    progress(f"{method.name}: recognition")
    found: dict[str, Any] = {
        "recognition": recognition(method, codes, task),
        "support_vectors": support_vector_accuracy(method, codes, task),
        "spread_of_people": spread_of_people(method, codes, task),
    }
    progress(f"{method.name}: probes")
    found["probes"] = None if factors is None else _probes(factors, task)
    progress(f"{method.name}: factors and shapes")
    found["factors"] = None if factors is None else _factors(factors, task)
    found |= dict.fromkeys(("generalization", "compactness", "specificity"))
    if isinstance(method, ModelMethod):
        own = modes(method.model)
        found |= {
            "generalization": generalization(method.model, own, task),
            "compactness": compact(own),
            "specificity": specific(method.model, task),
        }
    return found, _notes(method.name, found, factors is not None)


def _probes(factors: Factors, task: Task) -> dict[str, Any]:
    labels = {"expression": task.expression, "subject": task.subject}
    groups = {"expression": task.subject, "subject": expression_groups(task)}
    found: dict[str, Any] = {}
    for reading, (code, label, kinds) in READINGS.items():
        values = getattr(factors, code)
        found[reading] = {}
        for kind in kinds:
            answers = held_out_answers(values, labels[label], groups[label], PROBES[kind], task.seed)
            found[reading][kind] = accuracy(answers, task.subject, task.resampling)
    return found


def _factors(factors: Factors, task: Task) -> dict[str, float | None] | None:
    """DCI, SAP and MIG of both codes side by side, for who it is and what the face does."""
    known = task.expression >= 0
    if not known.any():
        return None
    codes = np.concatenate([factors.identity, factors.expression], axis=1)[known].astype(np.float64)
    labels = np.stack([task.subject, task.expression], axis=1)[known]
    scores = dci(codes, labels, task.seed)
    return {
        "disentanglement": scores.disentanglement,
        "completeness": scores.completeness,
        "informativeness": scores.informativeness,
        "sap": sap(codes, labels),
        "mig": mig(codes, labels),
    }


def _notes(name: str, found: dict[str, Any], is_split: bool) -> list[str]:
    notes = []
    if not is_split:
        notes.append(f"{name} has no two codes: recognition by code, probes and DCI, SAP, MIG are not defined for it")
    if found["recognition"] is None:
        notes.append(
            "recognition needs the neutral scans of two measured subjects, and other scans of them: it is not defined"
        )
    undefined = [reading for reading, own in (found["probes"] or {}).items() if not any(own.values())]
    if undefined:
        names = ", ".join(reading.replace("_", " ") for reading in undefined)
        notes.append(f"{name}: too few labels in common for the probes of {names}; they are not defined")
    for reading, own in (found["probes"] or {}).items():
        for kind, answers in own.items():
            if answers and answers["unconverged"]:
                notes.append(
                    f"{name}: {answers['unconverged']} fits of the {kind} probe of {reading.replace('_', ' ')} had not "
                    "converged; it may read a little more"
                )
    if found["factors"] is None and is_split:
        notes.append(f"{name}: without expression labels DCI, SAP and MIG are not defined")
    if found["specificity"] is None and found["generalization"] is not None:
        notes.append("specificity needs the training scans, which this dataset does not have: it is not defined")
    return notes
