"""Where training stands, and the signs that it goes wrong."""

import math
from dataclasses import dataclass, field
from typing import Any

from meshdisent.training.step import StepReport

#: Steps in a row without a finite loss and gradient after which training gives up.
PATIENCE_WITH_NAN = 10
#: A KL term that stays below this for so many steps says that the codes carry nothing.
COLLAPSED_KL, COLLAPSED_STEPS = 0.01, 100
#: A term of this name says how often another network is deceived; below this share for so many steps, it has won.
FOOLED_TERM, LEAST_FOOLED, WON_STEPS = "fooled", 0.02, 200
#: A gradient that is so many times as large as the last ones were has exploded; the first ones only say what is usual.
EXPLODED, GRADIENTS_BEFORE = 100.0, 20
_KEPT = 0.95  # of what is usual, after each further gradient


@dataclass(kw_only=True)
class Counters:
    """Where training stands; plain values that a checkpoint keeps as JSON.

    Attributes
    ----------
    seconds : Time spent training, that before a resume included.
    skipped, skipped_in_row : Steps without a finite loss and gradient.
    low_kl, never_fooled : For each KL term, and each that says how often a discriminator is deceived, for how many
        steps it has been near zero.
    usual_gradient, gradients, exploding : Of each player: the logarithm of the norm of its gradient, over the last
        steps; how many were seen; who has one that is far larger now.
    sums, counted : Of each term since the last row of the log, over so many steps.
    best, stale : Best value of the watched figure in mm, and validations since.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_row: int = 0
    low_kl: dict[str, int] = field(default_factory=dict)
    never_fooled: dict[str, int] = field(default_factory=dict)
    usual_gradient: dict[str, float] = field(default_factory=dict)
    gradients: dict[str, int] = field(default_factory=dict)
    exploding: list[str] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    stale: int = 0
    validated_step: int = 0
    validated_seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    log_rows: int = 0
    warnings: list[str] = field(default_factory=list)

    def take_note(self, report: StepReport) -> list[str]:
        """Count a step and what it saw; gives the warnings that it is worth."""
        self.step += 1
        for name, value in report.terms.items():
            if math.isfinite(value):
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.counted[name] = self.counted.get(name, 0) + 1
        return (
            self._count_skipped(report)
            + self._count_collapsed(report)
            + self._count_never_fooled(report)
            + self._count_exploded(report)
        )

    def means(self) -> dict[str, float]:
        """Mean of each term since the last row of the log."""
        return {name: value / self.counted[name] for name, value in self.sums.items()}

    def start_row(self) -> None:
        """Forget what stands in the last row of the log."""
        self.sums, self.counted, self.warnings = {}, {}, []

    def _count_skipped(self, report: StepReport) -> list[str]:
        """Steps that did not move are counted, and said once for each row of them."""
        if not report.skipped:
            self.skipped_in_row = 0
            return []
        self.skipped += 1
        self.skipped_in_row += 1
        if self.skipped_in_row > 1:
            return []
        return [f"Step {self.step:,} was skipped, since {', '.join(report.skipped)} was not finite."]

    def _count_collapsed(self, report: StepReport) -> list[str]:
        """Codes whose divergence from the prior stays near zero carry nothing."""
        warnings = []
        for name, value in report.terms.items():
            if not name.rpartition(".")[2].startswith("kl"):
                continue
            if _is_low_since(self.low_kl, name, value < COLLAPSED_KL, COLLAPSED_STEPS):
                warnings.append(
                    f"{name} has been below {COLLAPSED_KL} for {COLLAPSED_STEPS} steps: these codes say next to "
                    "nothing about a scan. Lower the weight of that term in the recipe."
                )
        return warnings

    def _count_never_fooled(self, report: StepReport) -> list[str]:
        """A discriminator that is never deceived teaches nothing any more: its verdict is as sure whatever changes."""
        warnings = []
        for name, value in report.terms.items():
            if name.rpartition(".")[2] != FOOLED_TERM:
                continue
            if _is_low_since(self.never_fooled, name, value < LEAST_FOOLED, WON_STEPS):
                warnings.append(
                    f"The discriminator has won: {name} has been below {LEAST_FOOLED:.0%} for {WON_STEPS} steps, so it "
                    "teaches next to nothing. Lower its learning rate, pre-train it for fewer steps, or raise the "
                    "weight of the adversarial term."
                )
        return warnings

    def _count_exploded(self, report: StepReport) -> list[str]:
        """Gradients far beyond the last ones, said once for each row of them."""
        warnings = []
        for player, norm in report.gradients.items():
            if not math.isfinite(norm) or norm <= 0:
                continue
            size, seen = math.log(norm), self.gradients.get(player, 0)
            usual = self.usual_gradient.get(player, size)
            is_exploding = seen >= GRADIENTS_BEFORE and size > usual + math.log(EXPLODED)
            if is_exploding and player not in self.exploding:
                times = math.exp(min(size - usual, 700.0))
                warnings.append(
                    f"Step {self.step:,}: the gradient of {player} is {times:,.0f} times as large as usual. If that "
                    "happens again, lower the learning rate or set training.gradient_clip=1."
                )
            others = [name for name in self.exploding if name != player]
            self.exploding = [*others, player] if is_exploding else others
            # What is usual follows slowly, and one explosion does not become it.
            size = min(size, usual + math.log(EXPLODED))
            self.usual_gradient[player] = _KEPT * usual + (1 - _KEPT) * size
            self.gradients[player] = seen + 1
        return warnings


def _is_low_since(counts: dict[str, int], name: str, is_low: bool, steps: int) -> bool:
    """Count the steps for which a term has been low without a break; True at the last of so many."""
    counts[name] = counts.get(name, 0) + 1 if is_low else 0
    return counts[name] == steps
