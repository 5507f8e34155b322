"""Phases and epochs counted in steps."""

from dataclasses import replace

import pytest

from meshdisent.errors import RecipeError
from meshdisent.morphable.trainable import Phase
from meshdisent.training.plan import Plan
from meshdisent.training.recipe import TrainingConfig

BEFORE = Phase(name="before", players=[], steps=3)
AFTER = Phase(name="after", players=[])


def test_a_single_phase_begins_at_once_and_ends_with_the_training():
    plan = Plan.of([AFTER], TrainingConfig(steps=7), batches_per_epoch=5)
    assert (plan.starts, plan.last_step, plan.number_at(0), plan.is_measured(0)) == ((0,), 7, 0, True)
    assert Plan.of([AFTER], TrainingConfig(minutes=1.0), 5).last_step is None


def test_phases_before_the_last_are_measured_where_they_say_so():
    for is_measured in (False, True):
        before = replace(BEFORE, is_measured=is_measured)
        plan = Plan.of([before, AFTER], TrainingConfig(steps=7), 5)
        assert (plan.is_measured(0), plan.is_measured(1)) == (is_measured, True)


def test_epochs_count_in_the_last_phase_and_steps_in_all():
    assert Plan.of([BEFORE, AFTER], TrainingConfig(epochs=4), 5).last_step == 23
    assert Plan.of([BEFORE, AFTER], TrainingConfig(steps=9), 5).last_step == 9
    assert Plan.of([BEFORE, AFTER], TrainingConfig(steps=9, epochs=4), 5).last_step == 9
    assert Plan.of([BEFORE, AFTER], TrainingConfig(steps=99, epochs=4), 5).last_step == 23


def test_steps_of_a_phase_stand_above_its_epochs_and_accumulated_batches_are_one_step():
    both = Phase(name="both", players=[], steps=3, epochs=10)
    assert Plan.of([both, AFTER], TrainingConfig(epochs=1), 6).starts == (0, 3)
    epochs = Phase(name="epochs", players=[], epochs=10)
    plan = Plan.of([epochs, AFTER], TrainingConfig(epochs=2, accumulation=4), batches_per_epoch=6)
    assert (plan.steps_per_epoch, plan.starts, plan.last_step) == (2, (0, 20), 24)


def test_the_schedule_begins_with_its_phase():
    before = Phase(name="before", players=[], steps=10, has_constant_rate=True)
    config = TrainingConfig(steps=30, learning_rate=1.0, schedule="cosine")
    plan = Plan.of([before, AFTER], config, 5)
    assert [round(plan.rate_at(config, step, 0.0), 6) for step in (0, 9, 10, 20, 30)] == [1.0, 1.0, 1.0, 0.5, 0.0]
    decay = TrainingConfig(steps=30, learning_rate=1.0, schedule="decay", decay=0.5, decay_epochs=2)
    plan = Plan.of([before, AFTER], decay, 5)
    assert [plan.rate_at(decay, step, 0.0) for step in (9, 19, 20, 29, 30)] == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_schedule_ends_with_its_phase():
    """Two phases of ten and twenty steps, both with a cosine: each falls to zero over its own length."""
    phases = [Phase(name="before", players=[], steps=10), Phase(name="training", players=[])]
    config = TrainingConfig(steps=30, learning_rate=1.0, schedule="cosine")
    plan = Plan.of(phases, config, batches_per_epoch=5)
    rates = [round(plan.rate_at(config, step, 0.0), 3) for step in (0, 5, 9, 10, 20, 30)]
    assert rates == [1.0, 0.5, 0.024, 1.0, 0.5, 0.0]
    by_time = TrainingConfig(minutes=1.0, learning_rate=1.0, schedule="cosine")
    plan = Plan.of(phases, by_time, batches_per_epoch=5)
    assert round(plan.rate_at(by_time, 5, 59.0), 3) == 0.5  # minutes end the last phase alone


def test_a_phase_without_steps_is_passed_over():
    plan = Plan.of([Phase(name="none", players=[], steps=0), AFTER], TrainingConfig(steps=2), 5)
    assert [plan.number_at(step) for step in (0, 1)] == [1, 1]


def test_a_training_that_ends_before_its_last_phase_is_refused():
    for config in (TrainingConfig(steps=3), TrainingConfig(steps=2, epochs=5)):
        with pytest.raises(RecipeError, match=r"training.steps is \d, but before alone takes 3.*so that after begins"):
            Plan.of([BEFORE, AFTER], config, 5)
