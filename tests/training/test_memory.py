"""A step that cannot fit into memory is refused before it is taken, and says what it needs."""

import copy

import pytest
import torch

from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.training import memory
from meshdisent.training.batches import Batches
from meshdisent.training.loop import Loop, build, run_recipe
from meshdisent.training.memory import bytes_of_step, check_room, free_bytes, out_of_memory
from meshdisent.training.recipe import SamplerConfig
from meshdisent.training.step import Stepper

CPU = torch.device("cpu")


@pytest.fixture
def settings(recipe):
    return recipe(steps=3, sampler=SamplerConfig(anchors=4, partners=1))


@pytest.fixture
def batch(scans, settings):
    with Batches(scans, settings.training.sampler, CPU, torch.float32) as batches:
        return batches.next()


def test_what_a_step_keeps_grows_with_the_batch_and_changes_nothing(scans, settings, batch):
    model = build(settings, scans)
    before = copy.deepcopy(model.state_dict())
    whole = bytes_of_step(model, settings.training, 0, batch)
    half = bytes_of_step(model, settings.training, 0, batch.first(4))
    weights = 3 * sum(p.numel() * 4 for p in model.parameters())
    assert whole - weights == pytest.approx(2 * (half - weights), rel=0.01)
    # The scans, centered, are kept for the encoder's first product; the decoded ones for the error.
    assert whole - weights > 2 * batch.vertices.nbytes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_estimate_is_that_of_all_players(scans, settings, batch):
    """What is saved for the sum of the players' losses, found by another way: tensors that autograd holds."""
    model = build(settings, scans)
    loss = Stepper(model, settings.training).measure([batch], torch.Generator())
    held, seen, stack = {}, set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for name in dir(node):
            value = getattr(node, name) if name.startswith("_saved") else None
            if isinstance(value, torch.Tensor):
                held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        stack += [following for following, _ in node.next_functions]
    own = {value.untyped_storage().data_ptr() for value in (*model.parameters(), *model.buffers())}
    kept = sum(size for place, size in held.items() if place not in own)
    weights = 3 * sum(p.numel() * 4 for p in model.parameters())
    assert bytes_of_step(model, settings.training, 0, batch) - weights == pytest.approx(kept, rel=0.05)


def test_too_large_a_batch_is_refused_with_what_it_needs(scans, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10_000)
    with pytest.raises(
        UsageError, match=r"step on 8 scans of \d+ vertices needs at least [0-9.]+ GB, and .*training.accumulation"
    ):
        run_recipe(settings, scans, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def test_what_fits_is_not_measured(scans, settings, batch, monkeypatch):
    monkeypatch.setattr(memory, "bytes_of_step", lambda *given: pytest.fail("not in doubt"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**12)
    check_room(build(settings, scans), settings.training, 0, batch)
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    check_room(build(settings, scans), settings.training, 0, batch)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no"),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes."),
    ],
)
def test_an_allocation_that_fails_in_a_step_keeps_the_checkpoint(scans, settings, tmp_path, monkeypatch, error):
    take = Loop.take_step

    def fails_third(self):
        if self.counters.step == 2:
            monkeypatch.setattr(self.stepper, "take", lambda *given: (_ for _ in ()).throw(error))
        take(self)

    monkeypatch.setattr(Loop, "take_step", fails_third)
    with pytest.raises(MeshdisentError, match=r"Memory ran out .* 8 scans .*last good checkpoint is in .*accumulation"):
        run_recipe(settings, scans, tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def test_other_errors_stay_what_they_are(batch):
    assert out_of_memory(RuntimeError("shapes cannot be multiplied"), batch, "") is None


def test_the_system_says_what_is_free(monkeypatch, tmp_path):
    found = free_bytes(CPU)
    if found is None:
        pytest.skip("this system does not say how much memory is free")
    assert 10**6 < found < 10**14
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.current").write_text("2000")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_bytes(CPU) == 3000
    (tmp_path / "memory.max").write_text("max")
    assert free_bytes(CPU) > 3000
