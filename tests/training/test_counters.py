"""Signs that a training goes wrong."""

import math

from meshdisent.training.counters import COLLAPSED_STEPS, Counters
from meshdisent.training.step import StepReport


def report(skipped=(), **terms):
    return StepReport(terms=terms, skipped=skipped)


def test_means_are_over_the_finite_values_since_the_last_row():
    counters = Counters()
    for value in (1.0, math.inf, 3.0):
        counters.take_note(report(a=value, b=2.0))
    assert counters.means() == {"a": 2.0, "b": 2.0}
    counters.start_row()
    counters.take_note(report(a=5.0))
    assert counters.means() == {"a": 5.0}
    assert counters.step == 4


def test_only_a_term_that_stays_low_has_collapsed():
    counters = Counters()
    low, high = report(kl_identity=0.009, kl_expression=1.0), report(kl_identity=0.011, kl_expression=1.0)
    warnings = [counters.take_note(low) for _ in range(COLLAPSED_STEPS - 1)] + [counters.take_note(high)]
    assert not any(warnings)
    said = [counters.take_note(low) for _ in range(3 * COLLAPSED_STEPS)]
    assert [step for step, warning in enumerate(said, start=1) if warning] == [COLLAPSED_STEPS]
    assert said[COLLAPSED_STEPS - 1][0].startswith("kl_identity has been below 0.01 for 100 steps")


def test_other_terms_may_be_zero():
    counters = Counters()
    assert not any(counters.take_note(report(jacobian=0.0, reconstruction=0.0)) for _ in range(2 * COLLAPSED_STEPS))


def test_skipped_steps_are_said_once_in_a_row():
    counters = Counters()
    bad, good = report(skipped=("total", "gradient"), total=math.nan), report(total=1.0)
    said = [counters.take_note(r) for r in (bad, bad, good, bad)]
    assert [len(s) for s in said] == [1, 0, 0, 1]
    assert said[3] == ["Step 4 was skipped, since total, gradient was not finite."]
    assert (counters.skipped, counters.skipped_in_row) == (3, 1)
