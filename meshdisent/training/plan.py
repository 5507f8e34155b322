"""When a training is in which of its phases, and when it is over: epochs and phases counted in steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from meshdisent.errors import RecipeError
from meshdisent.morphable.trainable import Phase
from meshdisent.training.progress import fraction_done
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import learning_rate


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The phases of a training with the step at which each begins.

    Attributes
    ----------
    starts : Steps that are done when a phase begins, ascending, the first 0.
    last_step : Steps after which training ends, None where only minutes end it.
    steps_per_epoch : Steps that see every training scan once; accumulated batches count as one step.
    """

    phases: tuple[Phase, ...]
    starts: tuple[int, ...]
    last_step: int | None
    steps_per_epoch: int

    @classmethod
    def of(cls, phases: Sequence[Phase], config: TrainingConfig, batches_per_epoch: int) -> "Plan":
        """Count phases in steps.

        Raises
        ------
        RecipeError : If training would end before its last phase begins.

        Examples
        --------
        >>> phases = [Phase(name="before", players=[], epochs=2), Phase(name="training", players=[])]
        >>> plan = Plan.of(phases, TrainingConfig(epochs=10), batches_per_epoch=5)
        >>> plan.starts, plan.last_step, [plan.number_at(step) for step in (0, 9, 10)]
        ((0, 10), 60, [0, 0, 1])
        """
        per_epoch = max(1, -(-batches_per_epoch // config.accumulation))
        starts = [0]
        for phase in phases[:-1]:
            length = phase.steps if phase.steps is not None else (phase.epochs or 0) * per_epoch
            starts.append(starts[-1] + length)
        ends = [config.steps] if config.steps is not None else []
        ends += [starts[-1] + config.epochs * per_epoch] if config.epochs is not None else []
        last_step = min(ends, default=None)
        if last_step is not None and last_step <= starts[-1] > 0:
            raise RecipeError(
                f"training.steps is {config.steps}, but {phases[-2].name} alone takes {starts[-1]}; wanted more, so "
                f"that {phases[-1].name} begins. Raise training.steps or shorten {phases[-2].name}."
            )
        return cls(phases=tuple(phases), starts=tuple(starts), last_step=last_step, steps_per_epoch=per_epoch)

    def number_at(self, step: int) -> int:
        """Which phase the step after ``step`` steps is in; phases without a step are passed over."""
        return max(number for number, start in enumerate(self.starts) if start <= step)

    def rate_at(self, config: TrainingConfig, step: int, seconds: float) -> float:
        """Learning rate of the step after ``step`` steps; a schedule begins and ends with the phase."""
        number = self.number_at(step)
        if self.phases[number].has_constant_rate:
            return config.learning_rate
        start, is_last = self.starts[number], number == len(self.phases) - 1
        end = self.last_step if is_last else self.starts[number + 1]
        length = None if end is None else end - start
        done = step - start
        fraction = fraction_done(length, config.minutes if is_last else None, done, seconds)
        return learning_rate(config, done, fraction, done // self.steps_per_epoch)

    def is_measured(self, number: int) -> bool:
        """Whether there is something to validate in that phase."""
        return self.phases[number].is_measured or number == len(self.phases) - 1
