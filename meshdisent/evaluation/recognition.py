"""Recognizing people by what a method calls identity: rank 1 by code and by face, FED's spread and support vectors."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from meshdisent.evaluation.measures import ends
from meshdisent.evaluation.measuring import BLOCK
from meshdisent.evaluation.methods import Method, MethodCodes
from meshdisent.evaluation.probes import accuracy, accuracy_on_the_same, held_out_answers, support_vectors
from meshdisent.evaluation.task import Task
from meshdisent.metrics import chance_of_rank_one, drawn_spread, recognized_by_code, recognized_by_face

#: About so many faces are drawn from for the spread of people.
DRAWN_FROM = 600


def recognition(method: Method, codes: MethodCodes, task: Task) -> dict[str, Any] | None:
    """Rank-1 recognition of the measured scans in a gallery of their subjects' neutral scans.

    Returns
    -------
    ``identity_code`` (cosine) and ``identity_face`` (distance), each None or: ``rate`` and ``chance``, 0 to 1;
    ``low`` and ``high``, its interval; ``with_neutrals``, the rate with the gallery's own scans among the probes, as
    FED's program counts codes. None if fewer than two of the subjects have a neutral scan among the measured ones, or
    there is no other scan of them.
    """
    gallery = _gallery(task)
    is_probe = np.isin(task.subject, task.subject[gallery])
    is_gallery = np.zeros(len(task.rows), bool)
    is_gallery[gallery] = True
    if len(gallery) < 2 or not (is_probe & ~is_gallery).any():
        return None
    probes = np.flatnonzero(is_probe)
    factors = method.factors(codes)
    found: dict[str, Any] = {"identity_code": None, "identity_face": None}
    if factors is not None:
        entries, entry_subject = factors.identity[gallery], task.subject[gallery]
        right = recognized_by_code(factors.identity[probes], task.subject[probes], entries, entry_subject)
        found["identity_code"] = _rate(right, probes, is_gallery, gallery, task)
    right_face = _by_face(method, codes, probes, gallery, task)
    if right_face is not None:
        found["identity_face"] = _rate(right_face, probes, is_gallery, gallery, task)
    return found


def _gallery(task: Task) -> Int[np.ndarray, " entry"]:
    """Places of the neutral scans among the measured ones."""
    neutral = task.scans.neutral_row[np.unique(task.subject)]
    return np.flatnonzero(np.isin(task.rows, neutral[neutral >= 0]))


def _by_face(
    method: Method, codes: MethodCodes, probes: np.ndarray, gallery: np.ndarray, task: Task
) -> Bool[np.ndarray, " probe"] | None:
    entries = method.neutral(codes[gallery])
    if entries is None:
        return None
    right = []
    for start in range(0, len(probes), BLOCK):
        block = probes[start : start + BLOCK]
        faces = method.neutral(codes[block])
        assert faces is not None
        right.append(recognized_by_face(faces, task.subject[block], entries, task.subject[gallery]))
    return np.concatenate(right)


def _rate(
    right: np.ndarray, probes: np.ndarray, is_gallery: np.ndarray, gallery: np.ndarray, task: Task
) -> dict[str, Any]:
    others = ~is_gallery[probes]
    subject = task.subject[probes]
    return {
        "rate": float(right[others].mean()),
        "chance": chance_of_rank_one(subject[others], task.subject[gallery]),
        **ends(task.resampling.means(right[others].astype(np.float64), subject[others])),
        "with_neutrals": float(right.mean()),
    }


def spread_of_people(method: Method, codes: MethodCodes, task: Task) -> dict[str, float] | None:
    """FED's random-draw spread, mm: mean and standard deviation over 100 draws of one identity face a subject.

    At most about 600 faces are drawn from, as many of each subject, evenly spaced. None with a single subject.
    """
    subjects = np.unique(task.subject)
    if len(subjects) < 2:
        return None
    each = max(2, DRAWN_FROM // len(subjects))
    chosen = []
    for subject in subjects:
        own = np.flatnonzero(task.subject == subject)
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(np.int64))])
    places = np.concatenate(chosen)
    blocks = [method.neutral(codes[places[k : k + BLOCK]]) for k in range(0, len(places), BLOCK)]
    if blocks[0] is None:
        return None
    draws = drawn_spread(np.concatenate([b for b in blocks if b is not None]), task.subject[places], task.seed)
    return {"mean": float(draws.mean()), "std": float(draws.std())}


def support_vector_accuracy(method: Method, codes: MethodCodes, task: Task) -> dict[str, Any] | None:
    """Accuracy of support vectors that tell people by identity codes; whole expressions are held out where labeled.

    Returns
    -------
    As :func:`~meshdisent.evaluation.probes.accuracy`, and ``same_scans``: the accuracy on the scans that they were
    fitted on, as published.
    """
    factors = method.factors(codes)
    if factors is None:
        return None
    answers = held_out_answers(factors.identity, task.subject, expression_groups(task), support_vectors, task.seed)
    found = accuracy(answers, task.subject, task.resampling)
    return found and found | {"same_scans": accuracy_on_the_same(factors.identity, task.subject, support_vectors)}


def expression_groups(task: Task) -> Int[np.ndarray, " scan"]:
    """What is held out together when people are told: the expression, or each scan where expressions are unknown."""
    return task.expression if (task.expression >= 0).any() else np.arange(len(task.rows))
