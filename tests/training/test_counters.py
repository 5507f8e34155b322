"""Signs that a training goes wrong."""

import json
import math

from meshdisent.training.counters import COLLAPSED_STEPS, EXPLODED, WON_STEPS, Counters
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


def test_a_discriminator_that_is_never_deceived_has_won_and_that_is_said_once():
    counters = Counters()
    deceived, never = report(**{"faces.fooled": 0.5}), report(**{"faces.fooled": 0.0})
    assert not any(counters.take_note(deceived) for _ in range(3 * WON_STEPS))
    assert not any(counters.take_note(never) for _ in range(WON_STEPS - 1))
    counters.take_note(deceived)
    said = [counters.take_note(never) for _ in range(3 * WON_STEPS)]
    assert [step for step, warning in enumerate(said, start=1) if warning] == [WON_STEPS]
    assert said[WON_STEPS - 1][0].startswith("The discriminator has won: faces.fooled has been below 2% for 200 steps")


def of_norm(norm):
    return StepReport(terms={}, skipped=(), gradients={"faces": norm, "judge": 1.0})


def test_a_gradient_far_beyond_the_last_ones_has_exploded_and_that_is_said_once_in_a_row():
    counters = Counters()
    early = [counters.take_note(of_norm(norm)) for norm in [1e6, *[2.0] * 200]]
    assert not any(early), "the first gradients only say what is usual, and they may shrink"
    assert not counters.take_note(of_norm(1.5 * EXPLODED)), "as large as that happens"
    said = [counters.take_note(of_norm(norm)) for norm in (2e4, 3e4, 2.0, math.inf, 2e4)]
    assert [len(warnings) for warnings in said] == [1, 0, 0, 0, 1]
    assert said[0][0].startswith("Step 203: the gradient of faces is ")
    times = float(said[0][0].split("is ")[1].split(" times")[0].replace(",", ""))
    assert 5e3 < times < 1e4


def test_counters_survive_a_checkpoint_as_they_are():
    counters = Counters()
    for norm in (0.1, 0.3, 7.0):
        counters.take_note(of_norm(norm))
    assert Counters(**json.loads(json.dumps(vars(counters)))) == counters
