"""A run that was stopped, in whatever way, continues as if it had not been."""

import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from tiny_autoencoder import TinyAutoencoder, tiny_scans

from meshdisent.errors import DataError, MeshdisentError, ModelFileError, RecipeError, TopologyError, UsageError
from meshdisent.morphable.tensor_file import read_tensors
from meshdisent.training import batches as batches_module
from meshdisent.training.checkpoint import read_checkpoint
from meshdisent.training.loop import run_recipe
from meshdisent.training.progress import Interrupted
from meshdisent.training.recipe import SamplerConfig, write_recipe
from meshdisent.training.run_folder import LOCK, RunFolder, open_run

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import tiny_autoencoder
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import read_recipe
torch.set_num_threads(1)
tiny_autoencoder.register()
print("ready", flush=True)
folder = sys.argv[3]
resume = sys.argv[4] == "resume"
run_recipe(read_recipe(sys.argv[2]), tiny_autoencoder.tiny_scans(), folder, resume=resume, progress=False)
"""


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's model file."""
    return read_tensors(folder / "model.safetensors")[0]


def assert_same_run(one: Path, two: Path) -> None:
    """Every parameter, buffer, moment, random state and count of two folders is equal, bit for bit; times are not."""
    first, second = (read_checkpoint(RunFolder(path))[0] for path in (one, two))
    same(first.model, second.model)
    same(first.best, second.best)
    assert first.optimizers.keys() == second.optimizers.keys() == {"faces", "critic"}
    for player in first.optimizers:
        assert len(first.optimizers[player]) == 3 * (4 if player == "faces" else 2), "step and both moments of each"
        same(first.optimizers[player], second.optimizers[player])
    assert torch.equal(first.random["generator"], second.random["generator"])
    assert repr(first.random["batches"]) == repr(second.random["batches"])
    timeless = [{k: v for k, v in c.counters.items() if "seconds" not in k} for c in (first, second)]
    assert timeless[0] == timeless[1]
    rows = [[json.loads(x) for x in (path / "log.jsonl").read_text().splitlines()] for path in (one, two)]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]
    same(weights(one), weights(two))


@pytest.fixture
def stop_at(monkeypatch):
    """Send this process a signal in the middle of a step, once."""
    reconstruct = TinyAutoencoder.reconstruct

    def arrange(number: int, call: int) -> None:
        waiting = [call]

        def interrupted(self, batch, generator):
            if waiting == [self.calls + 1]:
                waiting.clear()
                os.kill(os.getpid(), number)
            return reconstruct(self, batch, generator)

        monkeypatch.setattr(TinyAutoencoder, "reconstruct", interrupted)

    return arrange


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("memory", [2.0, 0.0])
def test_ten_steps_a_signal_and_ten_more_equal_twenty(scans, recipe, tmp_path, stop_at, number, code, memory):
    settings = recipe(
        steps=20, validate_steps=4, keep_best=True, schedule="cosine", warmup_steps=3, accumulation=2,
        memory_gigabytes=memory,
    )  # fmt: skip
    straight = run_recipe(settings, scans, tmp_path / "straight", progress=False)
    before = signal.getsignal(number)
    stop_at(number, 19)  # two calls a step: in the tenth
    with pytest.raises(Interrupted, match=r"after step 10.*--resume") as caught:
        run_recipe(settings, scans, tmp_path / "stopped", progress=False)
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    resumed = run_recipe(settings, scans, tmp_path / "stopped", resume=True, progress=False)
    assert (resumed.steps, resumed.figures) == (straight.steps, straight.figures)
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")


def test_reading_ahead_does_not_change_the_batches(scans, recipe):
    """Scans read by a thread from the file, or held in memory: the same rows and vertices, in the same order."""
    config = recipe().training.sampler
    arguments = (scans, config, torch.device("cpu"), torch.float32)
    with batches_module.Batches(*arguments) as held, batches_module.Batches(*arguments, memory_limit=0.0) as read:
        for _ in range(25):
            a, b = held.next(), read.next()
            assert torch.equal(a.rows, b.rows)
            assert torch.equal(a.vertices, b.vertices)
            assert torch.equal(a.vertices, torch.from_numpy(scans.vertices(a.rows.numpy())))
            assert a.subject.tolist() == scans.subject[a.rows].tolist()
            assert a.expression.tolist() == scans.expression[a.rows].tolist()
        assert set(scans.split[a.rows]) == {0}


def run_for(seconds: float, recipe_path: Path, folder: Path) -> bool:
    """Start or resume a run in a process of its own and kill it after a while; returns whether it had ended itself."""
    how = "resume" if folder.is_dir() else "start"
    arguments = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(recipe_path), str(folder), how]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise AssertionError(process.communicate()[1])
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, errors
    return True


def test_a_run_killed_at_a_random_moment_ends_as_if_it_had_not_been(scans, recipe, tmp_path):
    settings = recipe(steps=120, validate_steps=7, keep_best=True, checkpoint_minutes=0.0)
    write_recipe(settings, tmp_path / "recipe.yaml")
    run_recipe(settings, scans, tmp_path / "straight", progress=False)
    assert not run_for(random.Random().uniform(0.02, 0.5), tmp_path / "recipe.yaml", tmp_path / "killed")
    run_recipe(settings, scans, tmp_path / "killed", resume=(tmp_path / "killed").is_dir(), progress=False)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")
    names = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("straight", "killed")]
    assert names[0] == names[1], "nothing half-written stays behind"


@pytest.mark.slow
def test_fifty_kills(scans, recipe, tmp_path):
    settings = recipe(steps=4000, validate_steps=100, keep_best=True, checkpoint_minutes=0.0)
    write_recipe(settings, tmp_path / "recipe.yaml")
    run_recipe(settings, scans, tmp_path / "straight", progress=False)
    moments = random.Random(1)
    for _ in range(50):
        assert not run_for(moments.uniform(0.0, 1.0), tmp_path / "recipe.yaml", tmp_path / "killed")
    run_recipe(settings, scans, tmp_path / "killed", resume=True, progress=False)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")


@pytest.fixture
def run(scans, recipe, tmp_path):
    """A finished run of 4 steps; gives its folder and its recipe."""
    settings = recipe(steps=4)
    run_recipe(settings, scans, tmp_path / "run", progress=False)
    return tmp_path / "run", settings


def test_a_finished_run_can_be_resumed_and_gives_the_same_model(scans, run):
    folder, settings = run
    before = weights(folder)
    result = run_recipe(settings, scans, folder, resume=True, progress=False)
    assert result.steps == 4
    same(before, weights(folder))


def test_a_run_may_be_made_longer_unless_its_rate_depends_on_the_end(scans, recipe, tmp_path):
    run_recipe(recipe(steps=4), scans, tmp_path / "a", progress=False)
    run_recipe(recipe(steps=9), scans, tmp_path / "a", resume=True, progress=False)
    run_recipe(recipe(steps=9, validate_minutes=None), scans, tmp_path / "b", progress=False)
    same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    run_recipe(recipe(steps=4, schedule="cosine"), scans, tmp_path / "c", progress=False)
    with pytest.raises(RecipeError, match=r"training\.steps was 4, is 9\."):
        run_recipe(recipe(steps=9, schedule="cosine"), scans, tmp_path / "c", resume=True, progress=False)


def test_another_recipe_is_refused_with_the_keys_that_differ(scans, recipe, run):
    folder, settings = run
    other = dataclasses.replace(settings, config=dataclasses.replace(settings.config, beta=0.5), seed=9)
    with pytest.raises(RecipeError, match=r"another recipe: config\.beta was 0\.9, is 0\.5; seed was 1, is 9\. Resume"):
        run_recipe(other, scans, folder, resume=True, progress=False)


def test_other_scans_and_another_topology_are_refused_with_both_hashes(recipe, scans, run):
    folder, settings = run
    other = tiny_scans(seed=1)
    with pytest.raises(DataError, match=f"hash {scans.data_hash}; the dataset has {other.data_hash}"):
        run_recipe(settings, other, folder, resume=True, progress=False)
    other = tiny_scans(vertices=31)
    hashes = f"{scans.topology.topology_hash}; the dataset has {other.topology.topology_hash}"
    with pytest.raises(TopologyError, match=hashes):
        run_recipe(settings, other, folder, resume=True, progress=False)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "foreign", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_it(scans, recipe, tmp_path, capsys, damage):
    settings = recipe(steps=8, checkpoint_minutes=0.0, validate_steps=4)
    run_recipe(settings, scans, tmp_path / "whole", progress=False)
    run_recipe(settings, scans, tmp_path / "run", progress=False)
    spoil(RunFolder(tmp_path / "run").checkpoint, damage)
    # What is written at the end stands in for the step that was lost; the one before is of the same step.
    run_recipe(settings, scans, tmp_path / "run", resume=True, progress=False)
    assert_same_run_but_warnings(tmp_path / "whole", tmp_path / "run")
    assert ("Going on from the checkpoint before it" in capsys.readouterr().err) == (damage != "gone")


def assert_same_run_but_warnings(one: Path, two: Path) -> None:
    first, second = (read_checkpoint(RunFolder(path))[0] for path in (one, two))
    same(first.model, second.model)
    for player in first.optimizers:
        same(first.optimizers[player], second.optimizers[player])


def spoil(path: Path, damage: str) -> None:
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[-1000] ^= 1
        path.write_bytes(content)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        path.write_bytes((path.parent / "model.safetensors").read_bytes())
    else:
        path.unlink()


def test_two_damaged_checkpoints_are_an_error_that_names_both(scans, run):
    folder, settings = run
    spoil(RunFolder(folder).checkpoint, "flip")
    spoil(RunFolder(folder).previous, "cut")
    with pytest.raises(ModelFileError, match=r"no checkpoint that is whole: .*digest.*previous.*--overwrite"):
        run_recipe(settings, scans, folder, resume=True, progress=False)
    assert (folder / "model.safetensors").is_file(), "what is there is left alone"


def test_resuming_where_there_is_nothing_is_refused(scans, recipe, tmp_path):
    with pytest.raises(UsageError, match="holds no checkpoint to resume from"):
        run_recipe(recipe(), scans, tmp_path / "absent", resume=True, progress=False)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(UsageError, match="folder is not given"):
        run_recipe(recipe(), scans, resume=True, progress=False)
    with pytest.raises(UsageError, match="give one of them"):
        run_recipe(recipe(), scans, tmp_path / "run", resume=True, overwrite=True, progress=False)


@pytest.mark.parametrize(
    "left", [[], ["recipe.yaml"], [".recipe.x1.partial.yaml"], ["recipe.yaml", ".checkpoint.x1.partial.safetensors"]]
)
def test_a_run_killed_before_its_first_checkpoint_starts_at_the_beginning(scans, recipe, tmp_path, left):
    (tmp_path / "run").mkdir()
    for name in (LOCK, *left):
        (tmp_path / "run" / name).write_text("1")
    assert run_recipe(recipe(steps=2), scans, tmp_path / "run", resume=True, progress=False).steps == 2
    assert not list((tmp_path / "run").glob("*.partial*"))


def test_what_was_not_a_run_is_not_taken_for_one_that_was_killed(scans, recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("mine")
    with pytest.raises(UsageError, match="holds no checkpoint to resume from"):
        run_recipe(recipe(steps=2), scans, tmp_path / "run", resume=True, progress=False)
    assert (tmp_path / "run" / "recipe.yaml").read_text() == "mine"


def test_a_folder_with_files_is_refused_or_its_run_replaced(scans, recipe, run):
    folder, _ = run
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already and is not empty"):
        run_recipe(recipe(seed=5), scans, folder, progress=False)
    before = weights(folder)
    run_recipe(recipe(seed=5), scans, folder, overwrite=True, progress=False)
    assert not torch.equal(weights(folder)["state/encoder.weight"], before["state/encoder.weight"])
    assert (folder / "notes.txt").read_text() == "mine"
    with pytest.raises(UsageError, match="is a file"):
        run_recipe(recipe(), scans, folder / "notes.txt", progress=False)


def test_overwriting_keeps_the_old_run_until_the_new_one_could_be_built(recipe, run):
    folder, _ = run
    with pytest.raises(DataError):
        run_recipe(recipe(), tiny_scans(split=["val"] * 24), folder, overwrite=True, progress=False)
    assert (folder / "model.safetensors").is_file()


def test_a_second_run_into_a_folder_is_refused_and_a_stale_lock_is_not(scans, recipe, tmp_path):
    folder = tmp_path / "run"
    with open_run(folder, resume=False, overwrite=False):
        for how in ({"overwrite": True}, {"resume": True}, {}):
            with pytest.raises(UsageError, match=f"another training run \\(process {os.getpid()}\\)"):
                run_recipe(recipe(), scans, folder, progress=False, **how)
    assert (folder / LOCK).is_file()
    run_recipe(recipe(steps=1), scans, folder, progress=False)


def test_a_full_disk_ends_training_with_one_line_and_the_checkpoints_kept(scans, recipe, tmp_path, monkeypatch):
    """The error is the one that safetensors raises on a full disk, as seen on a file system of 1 MB."""
    import safetensors.torch

    folder = tmp_path / "run"
    save, count = safetensors.torch.save_file, []

    def full(tensors, path, metadata=None):
        count.append(1)
        if len(count) == 4:
            Path(path).write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(MeshdisentError, match="The disk is full; free some space") as caught:
        run_recipe(recipe(steps=9, checkpoint_minutes=0.0), scans, folder, progress=False)
    assert caught.value.exit_code == 3
    kept = sorted(p.name for p in folder.iterdir())
    assert kept == [LOCK, "checkpoint.previous.safetensors", "checkpoint.safetensors", "recipe.yaml"]
    run_recipe(recipe(steps=9, checkpoint_minutes=0.0), scans, folder, resume=True, progress=False)
    run_recipe(recipe(steps=9), scans, tmp_path / "straight", progress=False)
    same(weights(folder), weights(tmp_path / "straight"))


def test_another_number_of_threads_is_said_when_resuming(scans, recipe, tmp_path, capsys):
    run_recipe(recipe(steps=2, threads=1), scans, tmp_path / "run", progress=False)
    run_recipe(recipe(steps=2, threads=2), scans, tmp_path / "run", resume=True, progress=False)
    assert "made with 1 threads and goes on with 2" in capsys.readouterr().err


def test_the_best_weights_of_before_the_stop_are_not_forgotten(scans, recipe, tmp_path, stop_at, monkeypatch):
    """The figure gets worse from step 5 on, so that validation, long before the stop, stays the best."""
    coming = itertools.chain([3.0, 1.0], itertools.count(2.0))
    monkeypatch.setattr(TinyAutoencoder, "measure", lambda model, scans, limit=None: {"E_avd": next(coming)})
    settings = recipe(steps=20, validate_steps=5, keep_best=True)
    stop_at(signal.SIGTERM, 14)
    with pytest.raises(Interrupted):
        run_recipe(settings, scans, tmp_path / "run", progress=False)
    result = run_recipe(settings, scans, tmp_path / "run", resume=True, progress=False)
    five = run_recipe(recipe(steps=5), scans, progress=False)
    assert torch.equal(result.model.encoder.weight, five.model.encoder.weight)


def test_rows_of_the_log_after_the_checkpoint_are_written_anew(scans, recipe, tmp_path, stop_at):
    """Killed after a validation and before the next checkpoint: the row is in the log, the step is not in the file."""
    settings = recipe(steps=9, validate_steps=2)
    run_recipe(settings, scans, tmp_path / "straight", progress=False)
    stop_at(signal.SIGTERM, 5)
    with pytest.raises(Interrupted):
        run_recipe(settings, scans, tmp_path / "killed", progress=False)
    with open(tmp_path / "killed" / "log.jsonl", "a") as log:
        log.write('{"step": 6, "seconds": 1.0}\n')
    run_recipe(settings, scans, tmp_path / "killed", resume=True, progress=False)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")


def test_what_a_killed_process_left_half_written_is_removed(scans, run):
    folder, settings = run
    for name in (".checkpoint.new.x1.partial.safetensors", ".log.x2.partial.jsonl", ".notes.x3.partial.txt"):
        (folder / name).write_text("half")
    run_recipe(settings, scans, folder, resume=True, progress=False)
    assert [p.name for p in folder.glob(".*.partial.*")] == [".notes.x3.partial.txt"], "only what is ours"


def test_a_uniform_sampler_resumes_too(scans, recipe, tmp_path, stop_at):
    settings = recipe(steps=13, sampler=SamplerConfig(kind="uniform", anchors=2, partners=2))
    run_recipe(settings, scans, tmp_path / "straight", progress=False)
    stop_at(signal.SIGTERM, 5)
    with pytest.raises(Interrupted):
        run_recipe(settings, scans, tmp_path / "stopped", progress=False)
    run_recipe(settings, scans, tmp_path / "stopped", resume=True, progress=False)
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")


def test_a_second_signal_does_not_wait(scans, recipe, tmp_path):
    """Asked once more after a second, training ends in the middle of its step; the checkpoint before it is whole."""
    from meshdisent.training.progress import StopRequest

    request = StopRequest()
    request(signal.SIGINT, None)
    request(signal.SIGINT, None)
    time.sleep(1.05)
    with pytest.raises(KeyboardInterrupt):
        request(signal.SIGINT, None)
    assert request.number == signal.SIGINT
