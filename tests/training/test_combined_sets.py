"""Training on several sets: a balanced run resumes exactly, and one from before there was a balance goes on."""

import dataclasses

import numpy as np
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.training.batches import Batches
from meshdisent.training.checkpoint import check_same_run, read_checkpoint
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import SamplerConfig
from meshdisent.training.run_folder import RunFolder


def in_two_sets(scans: ScanDataset) -> ScanDataset:
    """The same scans, those of the first two subjects as a set of their own."""
    numbers = (scans.subject > 1).astype(np.int64)
    labels = dataclasses.replace(scans.labels, sets=("few", "many"), set_of_scan=numbers)
    return ScanDataset(scans.topology, labels, scans.vertices(), truth=scans.truth)


def test_a_balance_draws_as_often_from_either_set(scans):
    both = in_two_sets(scans)
    training = both.set_of_scan[both.rows("train")]
    assert 0 < np.mean(training) != 0.5
    config = SamplerConfig(kind="uniform", anchors=len(training), partners=0, balance=1.0)
    with Batches(both, config, torch.device("cpu"), torch.float32) as batches:
        rows = batches.next().rows.numpy()
    assert len(rows) == len(training)
    assert abs(both.set_of_scan[rows].mean() - 0.5) <= 0.5 / len(rows)


def test_a_balanced_run_resumes_as_if_it_had_not_been_stopped(scans, recipe, tmp_path):
    both = in_two_sets(scans)
    sampler = SamplerConfig(anchors=3, partners=1, balance=0.7)
    run_recipe(recipe(steps=14, sampler=sampler), both, tmp_path / "straight", progress=False)
    run_recipe(recipe(steps=5, sampler=sampler), both, tmp_path / "stopped", progress=False)
    run_recipe(recipe(steps=14, sampler=sampler), both, tmp_path / "stopped", resume=True, progress=False)
    first, second = (read_checkpoint(RunFolder(tmp_path / name))[0] for name in ("straight", "stopped"))
    for name, value in first.model.items():
        assert torch.equal(value, second.model[name]), name
    assert repr(first.random["batches"]) == repr(second.random["batches"])


def test_a_run_from_before_there_was_a_balance_goes_on(scans, recipe, tmp_path):
    result = run_recipe(recipe(steps=3), scans, tmp_path / "run", progress=False)
    checkpoint, head, _ = read_checkpoint(RunFolder(tmp_path / "run"))
    del checkpoint.recipe["training"]["sampler"]["balance"]
    check_same_run(result.model, checkpoint, head, recipe(steps=3), scans, "run")
