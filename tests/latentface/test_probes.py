"""The expression probe: what it learns, on what its epoch is chosen, what it refuses."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface.probes import (
    LabeledFeatures,
    ProbeConfig,
    ProbeHead,
    _batches,
    _held_out,
    probe_expressions,
    probe_expressions_published,
)

QUICK = ProbeConfig(epochs=8, batch_size=16, learning_rate=0.02)


def blobs(count, seed, noise=0.4, dtype=torch.float32):
    """Three classes in eight dimensions."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centers = torch.eye(3, 8)
    features = centers[labels] + noise * torch.randn(count, 8, generator=random)
    return LabeledFeatures(features=features.to(dtype), labels=labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_classes_that_lie_apart_are_told(dtype):
    result = probe_expressions(blobs(120, 0, 0.1, dtype), blobs(60, 1, 0.1, dtype), config=QUICK)
    assert result.accuracy > 0.95
    assert result.confusion.sum() == 60
    assert result.accuracy == np.trace(result.confusion) / 60
    assert result.score == pytest.approx(0.67 * result.macro_f1 + 0.33 * result.accuracy)
    assert result.chosen_on == "validation"


def test_the_published_protocol_reports_its_best_epoch_on_the_test():
    train, test = blobs(60, 0, 0.9), blobs(60, 1, 0.9)
    result = probe_expressions_published(train, test, QUICK)
    assert result.chosen_on == "test"
    assert result.accuracy == max(result.accuracies)
    assert result.epoch == 1 + result.accuracies.index(result.accuracy)
    assert len(result.accuracies) == QUICK.epochs


def test_the_test_images_do_not_choose_the_epoch():
    train, validation = blobs(60, 0, 0.9), blobs(60, 3, 0.9)
    # With the same training, chosen on the same images, only what is measured differs.
    first = probe_expressions(train, blobs(60, 1, 0.9), validation, QUICK)
    second = probe_expressions(train, blobs(60, 2, 0.9), validation, QUICK)
    assert (first.epoch, first.accuracies) == (second.epoch, second.accuracies)
    assert first.epoch == 1 + first.accuracies.index(max(first.accuracies))
    assert probe_expressions(train, validation, validation, QUICK).accuracy == max(first.accuracies)


def test_the_seed_decides_everything_and_the_global_one_nothing():
    train, test = blobs(60, 0, 0.9), blobs(60, 1, 0.9)
    torch.manual_seed(1)
    first = probe_expressions(train, test, config=QUICK)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = probe_expressions(train, test, config=QUICK)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.accuracies == again.accuracies
    assert np.array_equal(first.confusion, again.confusion)
    other = probe_expressions(train, test, config=ProbeConfig(epochs=8, batch_size=16, learning_rate=0.02, seed=5))
    assert other.accuracies != first.accuracies


def test_each_class_gives_its_share_to_the_choice():
    labels = torch.tensor([0] * 40 + [1] * 10 + [2])
    kept, held = _held_out(labels, ProbeConfig())
    assert sorted([*kept.tolist(), *held.tolist()]) == list(range(51))
    assert torch.bincount(labels[held], minlength=3).tolist() == [4, 1, 0]


def test_an_epoch_has_each_image_once_and_no_batch_of_one():
    train = LabeledFeatures(features=torch.arange(9.0)[:, None], labels=torch.arange(9))
    parts = list(_batches(train, 4, torch.Generator().manual_seed(0)))
    assert [len(labels) for _, labels in parts] == [4, 5]
    labels = torch.cat([labels for _, labels in parts])
    assert sorted(labels.tolist()) == list(range(9))
    assert labels.tolist() != list(range(9))
    assert torch.equal(torch.cat([features for features, _ in parts])[:, 0].long(), labels)


def test_mirror_images_come_up_half_the_time():
    count = 2000
    train = LabeledFeatures(
        features=torch.zeros(count, 1), labels=torch.arange(count) % 2, mirrored=torch.ones(count, 1)
    )
    drawn = torch.cat([features for features, _ in _batches(train, 100, torch.Generator().manual_seed(0))])
    assert 0.45 < float(drawn.mean()) < 0.55


def test_the_head_is_batch_norm_and_a_map_without_bias():
    head = ProbeHead(4, 3, torch.Generator().manual_seed(0))
    assert {name: tuple(value.shape) for name, value in head.named_parameters()} == {
        "norm.weight": (4,), "norm.bias": (4,), "linear.weight": (3, 4),
    }  # fmt: skip
    assert float(head.linear.weight.detach().abs().max()) <= 0.5
    assert torch.equal(ProbeHead(4, 3, torch.Generator().manual_seed(0)).linear.weight, head.linear.weight)


def test_what_cannot_be_probed_is_told():
    good = blobs(12, 0)
    one = LabeledFeatures(features=good.features, labels=torch.zeros(12, dtype=torch.int64))
    with pytest.raises(DataError, match=r"are of one class"):
        probe_expressions(one, good)
    with pytest.raises(DataError, match=r"are of one class"):
        probe_expressions_published(one, good)
    empty = LabeledFeatures(features=torch.zeros(0, 8), labels=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(DataError, match=r"The test features are \(0, 8\) with 0 labels"):
        probe_expressions(good, empty)
    with pytest.raises(DataError, match=r"The validation features are \(0, 8\)"):
        probe_expressions(good, good, empty)
    with pytest.raises(DataError, match=r"The test features are \(12, 7\)"):
        probe_expressions(good, LabeledFeatures(features=good.features[:, 1:], labels=good.labels))
    with pytest.raises(DataError, match=r"A test label is -1"):
        probe_expressions(good, LabeledFeatures(features=good.features, labels=good.labels - 1))
    with pytest.raises(DataError, match=r"The test features have a value that is not finite"):
        probe_expressions(good, LabeledFeatures(features=good.features / 0, labels=good.labels))
    with pytest.raises(DataError, match=r"The mirrored features are \(11, 8\)"):
        probe_expressions_published(
            LabeledFeatures(features=good.features, labels=good.labels, mirrored=good.features[1:]), good
        )
    with pytest.raises(DataError, match=r"Every class has one training image"):
        probe_expressions(blobs(3, 0), good)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"validation_share": 1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(RecipeError, match=r"Correct the config"):
        ProbeConfig(**wrong)
