"""The dial between data and prior, as a table: the same input fitted with less and with more noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from meshdisent.errors import UsageError
from meshdisent.fitting.gauss_newton import State
from meshdisent.fitting.result import Fit

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


@runtime_checkable
class Fitter(Protocol):
    """What can be fitted again from an optimum with another noise."""

    def fit(self, state: State, noise: float | None = None, *, is_near: bool = False) -> Fit:
        """Go from a state to the optimum."""
        ...


@dataclass(frozen=True, kw_only=True)
class TradeOff:
    """One setting of the dial.

    Attributes
    ----------
    noise : In that unit, how far the input may lie from the face.
    median : Of the residuals, in their unit.
    prior_cost : Mean square of the whitened codes; 1 for a usual face, 0 for the mean face, more for a monster.
    deviation_mm : Expected error of a vertex, mean over the face, if the noise is right.
    """

    noise: float
    median: float
    prior_cost: float
    deviation_mm: float


def trade_off(fitter: Fitter, fit: Fit, factors: Sequence[float] = FACTORS) -> list[TradeOff]:
    """Fit again with so many times the noise of a fit.

    Raises
    ------
    UsageError : If a factor is not above 0.
    """
    if not factors or min(factors) <= 0:
        raise UsageError(f"The dial was asked for factors {tuple(factors)}; wanted some above 0, such as 0.5, 1, 2.")
    found = []
    for factor in factors:
        noise = factor * fit.noise
        again = fit if factor == 1 else fitter.fit(fit.state, noise, is_near=True)
        found.append(
            TradeOff(
                noise=noise,
                median=again.residuals.median,
                prior_cost=again.prior_cost,
                deviation_mm=float(again.deviation_mm.mean()),
            )
        )
    return found
