"""Drawing frames of a sequence, and what they teach."""

import pytest
import torch

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface.sequence_frames import PUBLISHED_FRAMES, draw_frames, mean_and_condition


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_frames_of_a_long_sequence_are_drawn_once_each_from_all_of_it():
    seen = set()
    for seed in range(40):
        frames = draw_frames(40, PUBLISHED_FRAMES, seeded(seed), "anna/talk").tolist()
        assert len(set(frames)) == len(frames) == 16
        seen |= set(frames)
    assert seen == set(range(40))


def test_a_sequence_of_just_enough_frames_gives_all_of_them():
    frames = draw_frames(16, 16, seeded(), "anna/talk")
    assert sorted(frames.tolist()) == list(range(16))
    assert frames.tolist() != list(range(16))


def test_a_short_sequence_is_drawn_from_with_replacement():
    frames = draw_frames(3, 16, seeded(), "anna/talk")
    assert len(frames) == 16
    assert set(frames.tolist()) == {0, 1, 2}


def test_every_frame_may_be_the_condition():
    assert {draw_frames(5, 2, seeded(seed), "anna/talk")[0].item() for seed in range(60)} == set(range(5))


@pytest.mark.parametrize("count", [5, 100])
def test_the_seed_alone_decides(count):
    before = torch.get_rng_state()
    first, again = (draw_frames(count, 16, seeded(3), "anna/talk") for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw_frames(count, 16, seeded(4), "anna/talk"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [0, 1])
def test_a_sequence_of_one_frame_is_refused_by_name(count):
    with pytest.raises(DataError, match=rf"Sequence anna/talk has {count} frame\(s\); wanted at least 2.*Leave"):
        draw_frames(count, 16, seeded(), "anna/talk")


def test_a_mean_of_one_frame_is_refused():
    with pytest.raises(RecipeError, match="1 frames of a sequence are wanted; wanted at least 2"):
        draw_frames(30, 1, seeded(), "anna/talk")


def test_mean_and_condition_are_of_the_drawn_frames():
    latents = torch.arange(12.0).reshape(6, 2)
    mean, condition = mean_and_condition(latents, torch.tensor([4, 0, 4, 1]))
    assert mean.tolist() == [(8 + 0 + 8 + 2) / 4, (9 + 1 + 9 + 3) / 4]
    assert condition.tolist() == [8, 9]
