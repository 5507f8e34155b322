"""New people from pairs of training subjects."""

import torch

from meshdisent.nn.mixing import Pairs, draw_pairs, mix_people


def test_a_scan_without_an_angle_stays_as_it_is_bit_for_bit() -> None:
    generator = torch.Generator().manual_seed(0)
    scans, rest = torch.randn(2, 4, 5, 3, generator=generator)
    rest = scans.clone()
    pairs = Pairs(torch.tensor([1, 2, 3, 0]), torch.zeros(4))
    mixed, neutrals = mix_people(scans, rest, torch.randn(5, 3, generator=generator), pairs)
    assert torch.equal(mixed, scans)
    assert torch.equal(neutrals, rest)


def test_the_expression_of_a_mixed_person_is_that_of_the_first() -> None:
    generator = torch.Generator().manual_seed(1)
    scans, rest = torch.randn(2, 6, 5, 3, generator=generator, dtype=torch.float64)
    pairs = Pairs(torch.tensor([3, 4, 5, 0, 1, 2]), torch.rand(6, generator=generator, dtype=torch.float64) + 0.1)
    mixed, neutrals = mix_people(scans, rest, rest.mean(dim=0), pairs)
    torch.testing.assert_close(mixed - neutrals, scans - rest)
    assert not torch.allclose(neutrals, rest)


def test_mixtures_of_a_gaussian_crowd_have_its_variance() -> None:
    generator = torch.Generator().manual_seed(2)
    people = 3.0 * torch.randn(4000, 2, 3, generator=generator, dtype=torch.float64)
    pairs = draw_pairs(torch.arange(4000), 1.0, generator)
    _, mixed = mix_people(people, people, people.mean(dim=0), pairs)
    assert pairs.is_mixed.float().mean() > 0.99
    torch.testing.assert_close(mixed.std(), people.std(), rtol=0.02, atol=0.0)


def test_nobody_is_mixed_with_itself_and_the_share_is_kept() -> None:
    subject = torch.arange(8).repeat_interleave(4)
    mixed = [draw_pairs(subject, 0.5, torch.Generator().manual_seed(seed)) for seed in range(200)]
    for pairs in mixed:
        assert not (pairs.is_mixed & (subject == subject[pairs.partner])).any()
        assert sorted(pairs.partner.tolist()) == list(range(32))
        assert ((pairs.angle >= 0) & (pairs.angle < torch.pi / 2)).all()
    share = torch.stack([pairs.is_mixed.float().mean() for pairs in mixed]).mean()
    assert 0.40 < share < 0.48, "half of those that meet another subject, 28 of 31"


def test_the_same_generator_draws_the_same_pairs() -> None:
    first, second = (draw_pairs(torch.arange(9), 0.7, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.partner, second.partner)
    assert torch.equal(first.angle, second.angle)
