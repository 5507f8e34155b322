"""Scans that the viewer offers: by subject, expression and frame, out of a dataset and of files.

Nothing here knows of a browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from meshdisent.data.dataset import SPLITS, ScanDataset
from meshdisent.errors import DataError

Vertices = Float[np.ndarray, "vertex 3"]
#: What a scan shows whose expression is unknown.
UNKNOWN_EXPRESSION = "?"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which scan is shown: names of subject and expression, and which of the scans that have both, from 0."""

    subject: str
    expression: str
    take: int = 0


class ScanChoices:
    """The scans of one or several datasets of one topology, in the order of subject, expression and frame.

    Parameters
    ----------
    datasets : Their scans are offered one after the other; a subject's name that was there already gets a star.

    Examples
    --------
    >>> choices = ScanChoices([scans])
    >>> choices.first
    Place(subject='anna', expression='neutral', take=0)
    >>> choices.step(choices.first, -1)
    Place(subject='finn', expression='frown', take=0)
    """

    def __init__(self, datasets: Sequence[ScanDataset]):
        if not sum(map(len, datasets)):
            raise DataError("There is no scan to choose from; wanted at least one.")
        self._subjects: dict[str, tuple[ScanDataset, int]] = {}
        for scans in datasets:
            for number in np.unique(scans.subject):
                name = scans.subjects[number]
                while name in self._subjects:
                    name += "*"
                self._subjects[name] = (scans, int(number))

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of all subjects who have a scan."""
        return tuple(self._subjects)

    @property
    def first(self) -> Place:
        """The first scan."""
        subject = self.subjects[0]
        return Place(subject=subject, expression=self.expressions(subject)[0])

    def expressions(self, subject: str) -> tuple[str, ...]:
        """What the subject's scans show: the one at rest first, then as in the table of the dataset."""
        scans, number = self._known(subject)
        shown = np.unique(scans.expression[scans.subject == number])
        rest = scans.expression[scans.neutral_row[number]] if scans.neutral_row[number] >= 0 else -2
        ordered = sorted(shown.tolist(), key=lambda k: (k != rest, k < 0, k))
        return tuple(scans.expressions[k] if k >= 0 else UNKNOWN_EXPRESSION for k in ordered)

    def count(self, subject: str, expression: str) -> int:
        """How many scans show that subject with that expression."""
        return len(self._rows(subject, expression))

    def frames(self, subject: str, expression: str) -> list[int]:
        """Frame number of each of these scans, -1 where there is none."""
        return self._known(subject)[0].frame[self._rows(subject, expression)].tolist()

    def vertices(self, place: Place) -> Float[np.ndarray, "vertex 3"]:
        """The scan, mm."""
        return self._known(place.subject)[0].vertices(np.array([self._row(place)]))[0]

    def neutral(self, subject: str) -> Float[np.ndarray, "vertex 3"] | None:
        """The subject at rest, mm: the true neutral, else the scan of it; None where neither is known."""
        scans, number = self._known(subject)
        if scans.truth is not None and np.isfinite(scans.truth[number]).all():
            return scans.truth[number]
        row = scans.neutral_row[number]
        return scans.vertices(np.array([row]))[0] if row >= 0 else None

    def displacement_mm(self, place: Place) -> Float[np.ndarray, " vertex"] | None:
        """How far each vertex is from the subject at rest; None where that is not known."""
        neutral = self.neutral(place.subject)
        return None if neutral is None else np.linalg.norm(self.vertices(place) - neutral, axis=1)

    def labels(self, place: Place) -> dict[str, str]:
        """What is known of the scan, as text: subject, expression, frame, split, set, row."""
        scans, _ = self._known(place.subject)
        row = self._row(place)
        found = {"subject": place.subject, "expression": place.expression}
        if scans.frame[row] >= 0:
            found["frame"] = str(scans.frame[row])
        found["split"] = SPLITS[scans.split[row]]
        if scans.sets:
            found["set"] = scans.sets[scans.set_of_scan[row]]
        return found | {"row": f"{row} of {len(scans)}"}

    def step(self, place: Place, steps: int) -> Place:
        """The scan that is so many further on, backwards if negative; after the last comes the first."""
        while steps:
            direction = 1 if steps > 0 else -1
            place = self._beside(place, direction)
            steps -= direction
        return place

    def _beside(self, place: Place, direction: int) -> Place:
        expressions = self.expressions(place.subject)
        take, at = place.take + direction, expressions.index(place.expression)
        if 0 <= take < self.count(place.subject, place.expression):
            return Place(subject=place.subject, expression=place.expression, take=take)
        subject = place.subject
        at += direction
        if not 0 <= at < len(expressions):
            subject = self.subjects[(self.subjects.index(subject) + direction) % len(self.subjects)]
            expressions = self.expressions(subject)
            at = 0 if direction > 0 else len(expressions) - 1
        last = self.count(subject, expressions[at]) - 1
        return Place(subject=subject, expression=expressions[at], take=0 if direction > 0 else last)

    def _rows(self, subject: str, expression: str) -> np.ndarray:
        scans, number = self._known(subject)
        known = scans.expressions.index(expression) if expression in scans.expressions else -1
        if known < 0 and expression != UNKNOWN_EXPRESSION:
            raise DataError(f"There is no expression {expression!r}; {subject!r} shows {self.expressions(subject)}.")
        rows = np.flatnonzero((scans.subject == number) & (scans.expression == known))
        return rows[np.argsort(scans.frame[rows], kind="stable")]

    def _row(self, place: Place) -> int:
        rows = self._rows(place.subject, place.expression)
        if not 0 <= place.take < len(rows):
            raise DataError(
                f"{place.subject}/{place.expression} has {len(rows)} scans; number {place.take} is none of them."
            )
        return int(rows[place.take])

    def _known(self, subject: str) -> tuple[ScanDataset, int]:
        if subject not in self._subjects:
            raise DataError(f"There is no subject {subject!r}; {len(self._subjects)} have scans.")
        return self._subjects[subject]
