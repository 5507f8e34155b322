"""Several processes that take one step together: what one process with the whole batch would do."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.sampling import IdentityAwareSampler, UniformSampler
from meshdisent.errors import DataError
from meshdisent.morphable.model_file import load

PUBLISHED = {
    "loss": {"pairing": "published", "compactness": 0.01},
    "encoder": {"channels": [4, 8, 8, 8, 8], "feature": 16},
    "bank": {"start": "mode"},
    "mixing": 0.5,
}
OURS = {
    "encoders": "principal",
    "principal": {"components": 30, "hidden": [12]},
    "bank": {"start": "mode"},
    "loss": {"space": "millimeters", "displacement": 1.0, "consistency": 1.0},
    "linear_start": {
        "neutrals": "mode",
        "expressions": "carried",
        "learned_from": "scans",
        "networks_change": "codes_and_expressions",
    },
    "people": {"share": 1.0},
}


@pytest.fixture(scope="module")
def faces(shapes, tmp_path_factory):
    """Six subjects, four expressions on a sphere of 162 vertices, as a file."""
    vertices, triangles = shapes.sphere(2)
    random = np.random.default_rng(0)
    bumps = np.exp(-8 * ((vertices[:, None] - vertices[None, ::9]) ** 2).sum(2))
    who = random.normal(size=(6, bumps.shape[1])) * 3
    what = random.normal(size=(4, bumps.shape[1])) * 2 * np.array([0, 1, 1, 1])[:, None]
    height = (who[:, None] + what[None]) @ bumps.T
    scans = ScanDataset.from_arrays(
        (50 * vertices + height[..., None] * vertices).reshape(-1, *vertices.shape),
        triangles,
        [f"s{s}" for s in range(6) for _ in range(4)],
        ["neutral", "a", "b", "c"] * 6,
        template=50 * vertices,
        split=["train"] * 20 + ["val"] * 4,
    )
    path = tmp_path_factory.mktemp("faces") / "faces.h5"
    scans.save(path)
    return path


def recipe_file(folder, config, **training):
    sizes = {"identity_size": 4, "expression_size": 4, "fused_size": 8, "hidden": [16]}
    settings = {
        "steps": 50,
        "learning_rate": 1e-3,
        "precision": "float64",
        "sampler": {"anchors": 4, "partners": 3},
        "validate_minutes": None,
        "validate_steps": 10,
    }
    path = folder / "recipe.yaml"
    content = {"model": "wsdf", "seed": 2, "config": sizes | config, "training": settings | training}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def command(processes, recipe, faces, out, *more):
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"]
    return [*start, "meshdisent", "train", str(recipe), "--data", str(faces), "--out", str(out), *more]


def run(*arguments, **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, **options)


@pytest.mark.parametrize("config", [PUBLISHED, OURS], ids=["published", "ours"])
def test_two_processes_take_the_steps_of_one(config, faces, tmp_path):
    """Every term to 1e-6, decoded vertices to 1e-3 mm, the bank to the last digits, after 50 steps in float64."""
    recipe = recipe_file(tmp_path, config)
    logs, faces_of, banks = [], [], []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = run(processes, recipe, faces, out)
        assert done.returncode == 0, done.stderr
        logs.append([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()])
        model = load(out)
        scans = torch.from_numpy(ScanDataset.open(faces).vertices())
        faces_of.append(model.decode(model.encode(scans)).detach().numpy())
        banks.append(load_file(out / "checkpoint.safetensors")["state/bank.entries"])
        assert done.stdout.count("model.safetensors: wsdf") == 1
    assert len(logs[0]) == len(logs[1]) == 5
    for one, two in zip(*logs, strict=True):
        for name, value in one["terms"].items():
            assert two["terms"][name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
        assert two["figures"]["E_avd"] == pytest.approx(one["figures"]["E_avd"], abs=1e-4)
    assert len(logs[0][-1]["terms"]) >= 6
    np.testing.assert_allclose(faces_of[1], faces_of[0], atol=1e-3)
    np.testing.assert_allclose(banks[1], banks[0], atol=1e-6)


def test_a_killed_process_ends_the_job_with_one_message_and_a_checkpoint_to_go_on_from(faces, tmp_path):
    recipe = recipe_file(tmp_path, PUBLISHED, steps=2000, checkpoint_minutes=0.0, validate_steps=None)
    out = tmp_path / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHELASTIC_ERROR_FILE": ""}
    job = subprocess.Popen(
        command(2, recipe, faces, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    wait_for((out / "checkpoint.previous.safetensors").is_file)
    workers = subprocess.run(["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True).stdout.split()
    assert len(workers) == 2
    os.kill(int(workers[1]), signal.SIGKILL)
    _, said = job.communicate(timeout=120)
    assert job.returncode != 0
    assert said.count("meshdisent: error: One of the 2 processes of this training has ended") == 1, said
    assert f"The last good checkpoint is in {out}" in said
    shorter = ("--resume", "--set", "training.steps=60")
    recipe_file(tmp_path, PUBLISHED, steps=2000, checkpoint_minutes=5.0, validate_steps=None)
    done = run(2, recipe, faces, out, *shorter)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Going on from step \d+", done.stderr)
    assert done.stderr.count("Going on from") == 1
    assert load(out).card.notes["steps"] >= 60


def test_what_several_processes_cannot_train_is_refused_once(faces, tmp_path):
    done = run(2, "fed", faces, tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("fed is trained by one process") == 1, done.stderr


def wait_for(is_there, seconds=90):
    end = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def test_batches_are_cut_into_equal_parts():
    """An epoch leaves out what is beyond the last multiple, and every scan has its turn over the epochs."""
    sampler = UniformSampler(11, batch_size=4, seed=0, multiple=2)
    assert sampler.steps_per_epoch == 3
    seen = set()
    for _ in range(10):
        batches = [sampler.next_batch() for _ in range(3)]
        assert [len(batch) for batch in batches] == [4, 4, 2]
        assert len(set(np.concatenate(batches).tolist())) == 10
        seen |= set(np.concatenate(batches).tolist())
    assert seen == set(range(11))
    by_identity = IdentityAwareSampler(np.arange(11) // 3, anchors=4, partners=1, multiple=4)
    assert [len(by_identity.next_batch()) for _ in range(2)] == [8, 8]
    with pytest.raises(DataError, match="4 anchors; wanted a multiple of 3, the number of processes"):
        UniformSampler(11, batch_size=4, multiple=3)
