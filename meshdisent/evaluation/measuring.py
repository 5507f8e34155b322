"""One method on one task: every figure, the errors that pictures are made of, and the draws that comparisons need."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from meshdisent.evaluation.measures import Draws, Spreads, repeated
from meshdisent.evaluation.methods import Method, MethodCodes
from meshdisent.evaluation.task import Task
from meshdisent.metrics import leak

#: Scans that go through a method at once.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of one method, and what was measured on the way.

    Attributes
    ----------
    figures : See the first lines of :mod:`meshdisent.evaluation.protocol`.
    draws : Means of figures in each draw of people, by the path to the figure.
    codes : (N, C) Codes of the measured scans.
    avd, neu : (N,) Errors of each scan in mm; ``neu`` is NaN where the neutral is unknown.
    error_map, neutral_map : (V,) Mean error of each vertex, mm.
    """

    figures: dict[str, Any]
    draws: dict[tuple[str, ...], Draws]
    codes: MethodCodes
    avd: Float[np.ndarray, " scan"] | None
    neu: Float[np.ndarray, " scan"] | None
    error_map: Float[np.ndarray, " vertex"] | None
    neutral_map: Float[np.ndarray, " vertex"] | None


def measure(method: Method, task: Task) -> Measured:
    """Measure a method on a task; what the method cannot do is None."""
    avd, neu, kept = task.errors(), task.errors(), task.errors()
    codes: list[MethodCodes] = []
    for start in range(0, len(task.rows), BLOCK):
        block = task.rows[start : start + BLOCK]
        shown, subject = task.scans.vertices(block), task.scans.subject[block]
        codes.append(method.encode(shown))
        decoded, neutral = method.decode(codes[-1]), method.neutral(codes[-1])
        detail = method.detail(shown, decoded)
        avd.add(task.placed(decoded, shown), shown, subject)
        is_known = np.array([int(s) in task.neutrals for s in subject])
        truth = np.stack([task.neutrals.get(int(s), shown[0]) for s in subject])
        neu.add(task.placed(neutral, truth), truth, subject, is_known)
        if detail is not None and neutral is not None:
            kept.add(task.placed(detail + neutral, truth), truth, subject, is_known)
    all_codes = np.concatenate(codes)
    identity, expression = _identity_spread(method, all_codes, task), _expression_spread(method, all_codes, task)
    transfer, transfer_draws = _transfer(method, task)
    figures: dict[str, Any] = {
        "E_avd": avd.summary(),
        "E_id": identity and identity.summary(),
        "E_exp": expression and expression.summary(),
        "E_neu": neu.summary(),
        "E_neu_kept": kept.summary(),
        "E_tra": transfer,
        "leak": _leak(method, all_codes, task),
    }
    if figures["E_exp"] is not None:
        figures["E_exp"]["truth"] = task.truth_spread
    draws: dict[tuple[str, ...], Draws] = {
        ("E_avd",): avd.draws(), ("E_neu",): neu.draws(), ("E_neu_kept",): kept.draws(), **transfer_draws
    }  # fmt: skip
    for name, spreads in (("E_id", identity), ("E_exp", expression)):
        draws |= {(name, kind): values for kind, values in (spreads.draws() if spreads else {}).items()}
    return Measured(
        figures=figures,
        draws={path: values for path, values in draws.items() if values is not None},
        codes=all_codes,
        avd=avd.per_scan(),
        neu=neu.per_scan(),
        error_map=avd.per_vertex(),
        neutral_map=neu.per_vertex(),
    )


def _identity_spread(method: Method, codes: MethodCodes, task: Task) -> Spreads | None:
    """Spread of each subject's neutralized scans; where faces are placed, each on the subject's true neutral."""

    def placed(codes: MethodCodes, subject: int) -> np.ndarray | None:
        faces = method.neutral(codes)
        if faces is None or task.placing == "none":
            return faces
        truth = task.neutrals[subject]
        return task.placed(faces, np.broadcast_to(truth, faces.shape))

    group = task.subject
    if task.placing != "none":
        group = np.where(np.isin(group, list(task.neutrals)), group, -1)
    return _spread(placed, codes, group, task)


def _expression_spread(method: Method, codes: MethodCodes, task: Task) -> Spreads | None:
    return _spread(lambda codes, label: method.expression_only(codes), codes, task.expression, task)


def _spread(
    decode: Callable[[MethodCodes, int], np.ndarray | None], codes: MethodCodes, group: np.ndarray, task: Task
) -> Spreads | None:
    """Both variants of a spread, decoded a group at a time; None if the method cannot."""
    spreads = task.spreads()
    for label in repeated(group):
        faces = decode(codes[group == label], int(label))
        if faces is None:
            return None
        spreads.add(faces, task.subject[group == label])
    return spreads


def _transfer(method: Method, task: Task) -> tuple[dict[str, Any] | None, dict[tuple[str, ...], Draws]]:
    """E_tra: what transfer gives against the truth; ``kept`` adds what the method cannot say of the shown scan."""
    if task.transfer is None:
        return None, {}
    pairs, scans = task.transfer, task.scans
    plain, kept = task.errors(), task.errors()
    for start in range(0, len(pairs.identity), BLOCK):
        part = slice(start, start + BLOCK)
        shown, truth, subject = (
            scans.vertices(pairs.identity[part]),
            pairs.truth[part],
            scans.subject[pairs.identity[part]],
        )
        first, second = method.encode(shown), method.encode(scans.vertices(pairs.expression[part]))
        moved, detail = method.transfer(first, second), method.detail(shown, method.decode(first))
        plain.add(task.placed(moved, truth), truth, subject)
        if moved is not None and detail is not None:
            kept.add(task.placed(detail + moved, truth), truth, subject)
    if not plain.count:
        return None, {}
    draws: dict[tuple[str, ...], Draws] = {("E_tra", "plain"): plain.draws(), ("E_tra", "kept"): kept.draws()}
    return {"plain": plain.summary(), "kept": kept.summary()}, draws


def _leak(method: Method, codes: MethodCodes, task: Task) -> dict[str, Any] | None:
    factors = method.factors(codes)
    if factors is None:
        return None
    return {
        "subject_from_expression": leak(factors.expression, factors.expression_std, task.subject),
        "expression_from_identity": leak(factors.identity, factors.identity_std, task.expression),
    }
