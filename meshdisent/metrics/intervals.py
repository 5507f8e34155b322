r"""How sure a figure is: bootstrap intervals over subjects (Efron 1979; percentile method, 95 %).

Scans of one person resemble each other, so it is people who are drawn again with replacement, each with all scans;
drawing scans would make the intervals too narrow. All figures of all models on the same people use the same draws, so
that differences between two models are differences on the same people (:func:`difference`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

#: Share of the draws that an interval holds.
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Resampling:
    """People drawn again with replacement, many times over.

    Attributes
    ----------
    subjects : (S,) Labels of those who can be drawn, increasing.
    seed : Of the draws; the same people and the same seed give the same draws.
    count : How often S people are drawn.

    Examples
    --------
    >>> draws = Resampling(np.array([3, 7]), count=4).means(np.array([1.0, 1.0, 4.0]), np.array([3, 3, 7]))
    >>> set(draws.tolist()) <= {1.0, 2.0, 4.0}
    True
    """

    subjects: Int[np.ndarray, " subject"]
    seed: int = 0
    count: int = 2000

    @cached_property
    def times(self) -> Float[np.ndarray, "draw subject"]:
        """How often each subject is in each draw."""
        size = len(self.subjects)
        counts = np.random.default_rng(self.seed).multinomial(size, np.full(size, 1.0 / size), size=self.count)
        return counts.astype(np.float64)

    def means(self, values: Float[np.ndarray, " one"], subject: Int[np.ndarray, " one"]) -> Float[np.ndarray, " draw"]:
        r"""Mean of a figure in each draw, in the figure's unit.

        .. math:: \bar x^{(r)} = \sum_s t^{(r)}_s \sum_{n \in s} x_n / \sum_s t^{(r)}_s N_s

        with :math:`t_s` how often a subject was drawn and :math:`N_s` its number of values; NaN where nobody with a
        value was drawn, and everywhere if fewer than two subjects have one: one person says nothing of others.
        """
        place = self.places(subject)
        if len(np.unique(place)) < 2:
            return np.full(self.count, np.nan)
        total = np.bincount(place, values, minlength=len(self.subjects))
        number = np.bincount(place, minlength=len(self.subjects)).astype(np.float64)
        return _ratio(self.times @ total, self.times @ number)

    def spreads(
        self,
        mean_distance: Float[np.ndarray, " scan"],
        mean_square: Float[np.ndarray, " scan"],
        subject: Int[np.ndarray, " scan"],
    ) -> tuple[Float[np.ndarray, " draw"], Float[np.ndarray, " draw"]]:
        r"""Variants a and b of one group's spread in each draw, where a group holds scans of many subjects (E_exp).

        .. math:: b^{(r)} = \sqrt{\sum_n t_n q_n / \sum_n t_n}, \quad
                  a^{(r)} = \sqrt{\sum_n t_n q_n / \sum_n t_n - (\sum_n t_n m_n / \sum_n t_n)^2}

        The center stays that of all scans of the group: about the mean of a draw, in which people repeat, spreads would
        be too small by a share of about one over their number.

        Parameters
        ----------
        mean_distance, mean_square : (N,) :math:`m_n` in mm and :math:`q_n` in mm^2: mean over vertices of the distance
            to the group's mean, and of its square.
        """
        weight = self.times[:, self.places(subject)]
        total = weight.sum(axis=1)
        square, plain = _ratio(weight @ mean_square, total), _ratio(weight @ mean_distance, total)
        return np.sqrt(np.maximum(square - plain**2, 0.0)), np.sqrt(square)

    def places(self, subject: Int[np.ndarray, " one"]) -> Int[np.ndarray, " one"]:
        """Where labels stand among ``subjects``."""
        return np.searchsorted(self.subjects, subject)


def interval(draws: Float[np.ndarray, " draw"], level: float = LEVEL) -> tuple[float, float] | None:
    """Both ends between which so many of the draws lie, in the unit of the figure.

    Draws in which the figure is not defined are left out; with fewer than half defined there is no interval (None).

    Examples
    --------
    >>> [round(end, 6) for end in interval(np.arange(1001.0))]
    [25.0, 975.0]
    >>> interval(np.full(10, np.nan)) is None
    True
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) == 0 or 2 * len(defined) < len(draws):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference(
    first: Float[np.ndarray, " draw"], second: Float[np.ndarray, " draw"], level: float = LEVEL
) -> tuple[float, float] | None:
    """Interval of ``first - second`` on the same people: one that leaves 0 out tells two models apart.

    Two intervals that overlap do not say that: people who are hard for one model are hard for the other too.

    Examples
    --------
    >>> hard = np.arange(100.0)
    >>> interval(hard)[1] > interval(hard + 0.5)[0], difference(hard, hard + 0.5)
    (True, (-0.5, -0.5))
    """
    return interval(first - second, level)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)
