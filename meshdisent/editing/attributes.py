r"""Directions of the identity code that go with an attribute of people: age, weight, or one of two labels.

A linear probe w is fitted on one mean code for each person (ridge regression for numbers, logistic regression for two
labels) and scored on people held out. Moving along w itself would leave the region where codes lie; the direction is
the change of the code that goes with a change of what the probe says (Haufe et al. 2014, eq. 6, "On the interpretation
of weight vectors of linear models"),

.. math:: d = \frac{\Sigma w}{w^\top \Sigma w},

so one step raises the attribute by one unit, or the logit of the second label by one.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from meshdisent.editing.scans import as_scans, changed, encode, meshes, need_split
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes, MorphableModel

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

    from meshdisent.data.dataset import ScanDataset

FOLDS = 5
#: The score is called chance unless it is above that of so many shuffled tables, all but one in twenty.
SHUFFLES = 40
#: What a probe gets that always says the same; no direction is worth anything below it.
GUESS = {"number": 0.0, "label": 0.5}
FEWEST = 10  # people
_RIDGE = 1.0  # of standardized codes, beside a sum over people


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribute:
    """What a probe found.

    Attributes
    ----------
    kind : ``number`` or ``label``.
    labels : The two labels, first and second; empty for numbers.
    direction : (I,) Change of the identity code that raises the attribute by one unit (a label: the logit by one).
    score : On people held out: R^2 for numbers, balanced accuracy for labels.
    chance : What 95 % of shuffled tables stay below; at least what always saying the same gets.
    people : How many the probe was fitted on.
    """

    kind: Literal["number", "label"]
    labels: tuple[str, ...]
    direction: Float[np.ndarray, " identity"]
    score: float
    chance: float
    people: int

    @property
    def is_at_chance(self) -> bool:
        """Whether the probe knows no more than one of a shuffled table: the direction then means nothing."""
        return self.score <= self.chance

    def text(self) -> str:
        """The score in words, with a warning where it is at chance."""
        name = "R^2" if self.kind == "number" else f"balanced accuracy of {' against '.join(self.labels)}"
        about = f"{self.people} people; chance is below {self.chance:.2f}"
        said = f"{name} {self.score:.2f} on people held out ({about})"
        return f"WARNING: {said}: at chance, so the direction means nothing" if self.is_at_chance else said


def read_attribute_table(path: str | os.PathLike) -> dict[str, str]:
    """A CSV file with the columns ``subject`` and ``value`` (or ``label``): the second by the first.

    Raises
    ------
    DataError : If the file cannot be read, lacks a column, or names a subject twice with different values.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} could not be read as a table: {error}. Give a CSV with subject,value.") from error
    column = next((name for name in ("value", "label") if rows and name in rows[0]), None)
    if column is None or "subject" not in rows[0]:
        raise DataError(f"{path} lacks the columns subject and value (or label), or has no row; wanted one a person.")
    table: dict[str, str] = {}
    for row in rows:
        subject, value = (row["subject"] or "").strip(), (row[column] or "").strip()
        if table.setdefault(subject, value) != value:
            raise DataError(f"{path} says {table[subject]!r} and {value!r} of {subject!r}; wanted one value a person.")
    return {subject: value for subject, value in table.items() if value}


def find_attribute(
    model: MorphableModel, scans: "ScanDataset", table: Mapping[str, str | float], seed: int = 0
) -> Attribute:
    """Fit and score a probe of an attribute on the identity codes of a dataset's people.

    Parameters
    ----------
    scans : All scans of the people in the table are encoded, and averaged for each person.
    table : Value or label by subject. Values that are all numbers make a regression; else there must be two labels.
    seed : Deals people out to folds, and shuffles the tables that say what chance is.

    Raises
    ------
    DataError : If fewer than ten people of the dataset are in the table, or a label has fewer people than folds.
    """
    need_split(model, "say what goes with a person")
    subjects = [row for row, name in enumerate(scans.subjects) if name in table]
    if len(subjects) < FEWEST:
        raise DataError(
            f"{len(subjects)} people of the dataset are in the table of {len(table)}; wanted {FEWEST} or more. "
            f"Subjects are called {', '.join(map(repr, scans.subjects[:3]))} ..."
        )
    kind, labels, values = _values([table[scans.subjects[row]] for row in subjects])
    codes = np.stack([_mean_code(model, scans, row) for row in subjects])
    random = np.random.default_rng(seed)
    center, scale = codes.mean(axis=0), codes.std(axis=0)
    standard = (codes - center) / np.maximum(scale, 1e-6 * scale.max())
    score = _held_out(standard, values, kind, random)
    shuffled = [_held_out(standard, random.permutation(values), kind, random) for _ in range(SHUFFLES)]
    weights = np.ravel(_probe(kind).fit(standard, values).coef_)
    covariance = np.cov(standard.T)
    carried = covariance @ weights
    direction = carried / max(float(weights @ carried), 1e-12) * np.maximum(scale, 1e-6 * scale.max())
    return Attribute(
        kind=kind,
        labels=labels,
        direction=direction,
        score=score,
        chance=max(float(np.quantile(shuffled, 0.95)), GUESS[kind]),
        people=len(codes),
    )


def edit_attribute(
    model: MorphableModel, scans: Any, attribute: Attribute, amounts: Sequence[float | int], keep_detail: bool = True
) -> list[Mesh]:
    """Scans with an attribute raised by amounts: all amounts of the first scan, then of the next.

    Parameters
    ----------
    scans : One or several, with any expression, which stays.
    attribute : What :func:`find_attribute` gave for this model.
    amounts : In the attribute's unit; 0 gives the scan back where the detail is kept.
    keep_detail : Keep what the codes cannot say of the scans.

    Raises
    ------
    UsageError : If there is no amount, or the direction is of another model.
    """
    need_split(model, "edit an attribute")
    if not len(amounts) or not np.isfinite(amounts).all():
        raise UsageError(f"edit_attribute got the amounts {amounts}; wanted at least one, all of them finite.")
    if attribute.direction.shape != (model.identity_size,):
        raise UsageError(
            f"The attribute moves {len(attribute.direction)} entries of an identity code; this {model.name} model has "
            f"{model.identity_size}. Find it with the same model."
        )
    shown = as_scans(model, scans)
    step = torch.as_tensor(attribute.direction).to(model.like)
    repeated = np.repeat(shown, len(amounts), axis=0)
    shares = torch.as_tensor(list(amounts) * len(shown)).to(model.like)[:, None]

    def change(codes: Codes, rows: slice) -> Any:
        return model.decode(Codes(codes.identity + shares[rows] * step, codes.expression))

    return meshes(model, changed(model, repeated, change, keep_detail))


def _values(given: list[str | float]) -> tuple[Literal["number", "label"], tuple[str, ...], np.ndarray]:
    try:
        numbers = np.array([float(value) for value in given])
    except ValueError:
        labels = tuple(sorted({str(value) for value in given}))
        counts = [sum(str(value) == label for value in given) for label in labels]
        if len(labels) != 2 or min(counts) < FOLDS:
            shown = ", ".join(f"{label} ({count})" for label, count in list(zip(labels, counts, strict=True))[:6])
            raise DataError(
                f"The table has the labels {shown}; wanted two, each of {FOLDS} people or more, or numbers throughout."
            ) from None
        return "label", labels, np.array([labels.index(str(value)) for value in given])
    if not np.isfinite(numbers).all() or np.ptp(numbers) == 0:
        raise DataError("The values of the table are all the same, or not finite; wanted numbers that differ.")
    return "number", (), numbers


def _folds(groups: np.ndarray, random: np.random.Generator) -> Int[np.ndarray, " person"]:
    """A fold for each person, each label spread over all folds."""
    fold = np.empty(len(groups), np.int64)
    for group in np.unique(groups):
        rows = random.permutation(np.flatnonzero(groups == group))
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def _mean_code(model: MorphableModel, scans: "ScanDataset", subject: int) -> Float[np.ndarray, " identity"]:
    rows = np.flatnonzero(scans.subject == subject)
    return encode(model, scans.vertices(rows)).identity.double().mean(dim=0).cpu().numpy()


def _probe(kind: str) -> "BaseEstimator":
    from sklearn.linear_model import LogisticRegression, Ridge

    return Ridge(alpha=_RIDGE) if kind == "number" else LogisticRegression(class_weight="balanced", max_iter=1000)


def _held_out(codes: np.ndarray, values: np.ndarray, kind: str, random: np.random.Generator) -> float:
    """The score over all people, each asked about by the probe that did not see them."""
    from sklearn.metrics import balanced_accuracy_score, r2_score

    fold = _folds(values if kind == "label" else np.zeros(len(codes)), random)
    said = np.empty(len(values), np.float64)
    for k in range(FOLDS):
        train = fold != k
        said[~train] = _probe(kind).fit(codes[train], values[train]).predict(codes[~train])
    return float(r2_score(values, said) if kind == "number" else balanced_accuracy_score(values, said))
