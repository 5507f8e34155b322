"""Where training stands, and the signs that it goes wrong."""

import math
from dataclasses import dataclass, field
from typing import Any

from meshdisent.training.step import StepReport

#: Steps in a row without a finite loss and gradient after which training gives up.
PATIENCE_WITH_NAN = 10
#: A KL term that stays below this for so many steps says that the codes carry nothing.
COLLAPSED_KL, COLLAPSED_STEPS = 0.01, 100


@dataclass(kw_only=True)
class Counters:
    """Where training stands; plain values that a checkpoint keeps as JSON.

    Attributes
    ----------
    seconds : Time spent training, that before a resume included.
    skipped, skipped_in_row : Steps without a finite loss and gradient.
    low_kl : For each KL term, for how many steps it has been near zero.
    sums, counted : Of each term since the last row of the log, over so many steps.
    best, stale : Best value of the watched figure in mm, and validations since.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    skipped_in_row: int = 0
    low_kl: dict[str, int] = field(default_factory=dict)
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
        return self._count_skipped(report) + self._count_collapsed(report)

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
            self.low_kl[name] = self.low_kl.get(name, 0) + 1 if value < COLLAPSED_KL else 0
            if self.low_kl[name] == COLLAPSED_STEPS:
                warnings.append(
                    f"{name} has been below {COLLAPSED_KL} for {COLLAPSED_STEPS} steps: these codes say next to "
                    "nothing about a scan. Lower the weight of that term in the recipe."
                )
        return warnings
