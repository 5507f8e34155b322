"""meshdisent train, as it is called: what is printed, what is left, and the exit codes."""

import errno
import json
import os
import shlex
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from meshdisent.cli.main import main
from meshdisent.cli.train import gather_settings
from meshdisent.errors import UsageError
from meshdisent.morphable import contract
from meshdisent.morphable.model_file import load

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
import tiny_autoencoder


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    monkeypatch.setattr(contract, "MODELS", dict(contract.MODELS))
    tiny_autoencoder.register()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A recipe and a dataset in an empty folder, which is the working folder; gives the command's arguments."""
    monkeypatch.chdir(tmp_path)
    recipe = {
        "model": "tiny",
        "training": {"steps": 6, "validate_steps": 3, "learning_rate": 1e-3, "sampler": {"anchors": 3, "partners": 1}},
    }
    Path("my recipe.yaml").write_text(yaml.safe_dump(recipe))
    tiny_autoencoder.tiny_scans().save("faces.h5")
    return ["train", "my recipe.yaml", "--data", "faces.h5", "--out", "run"]


def test_training_leaves_a_model_a_log_curves_and_a_summary(job, capsys):
    assert main([*job, "--set", "seed=7", "training.steps=9"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("run/model.safetensors: tiny, 9 steps in ")
    assert out[1].startswith("on 4 validation scans of 1 subjects: E_avd ")
    assert out[2] == "next: meshdisent evaluate run --data faces.h5"
    model = load("run")
    assert (model.card.recipe["seed"], model.card.notes["steps"]) == (7, 9)
    assert model.card.notes["command"] == f"meshdisent {shlex.join(job)} --set seed=7 training.steps=9"
    assert f"E_avd {model.card.metrics['E_avd']:.3f} mm" in out[1]
    assert [json.loads(line)["step"] for line in Path("run/log.jsonl").read_text().splitlines()] == [3, 6, 9]
    assert Path("run/curves.png").read_bytes().startswith(b"\x89PNG")
    assert yaml.safe_load(Path("run/recipe.yaml").read_text())["training"]["steps"] == 9


def test_json_goes_to_standard_output_or_a_file(job, capsys):
    assert main([*job, "--json", "-"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["figures"] == load("run").card.metrics
    assert (numbers["steps"], numbers["stopped_because"]) == (6, "steps")
    assert main([*job, "--resume", "--json", "figures.json"]) == 0
    assert json.loads(Path("figures.json").read_text())["figures"] == numbers["figures"]
    assert main([*job, "--resume", "--json", "figures.json"]) == 0
    Path("other.json").write_text("mine")
    assert main([*job[:-1], "other", "--json", "other.json"]) == 2
    assert not Path("other").exists(), "refused before the training, not after"


def test_a_model_in_closed_form_has_no_curves(job, capsys):
    Path("mean.yaml").write_text("model: tiny_mean\n")
    assert main(["train", "mean.yaml", "--data", "faces.h5", "--out", "mean"]) == 0
    assert "tiny_mean, computed in " in capsys.readouterr().out
    scans = tiny_autoencoder.tiny_scans()
    assert np.allclose(load("mean").mean, scans.vertices(scans.rows("train")).mean(0), atol=1e-5)
    assert sorted(p.name for p in Path("mean").iterdir()) == [
        ".lock",
        "model.safetensors",
        "recipe.yaml",
        "report.html",
    ]


def test_a_dry_run_tells_the_plan_and_writes_nothing(job, capsys):
    assert main([*job, "--dry-run", "--set", "training.accumulation=2"]) == 0
    out = capsys.readouterr().out
    assert "data: faces.h5, 20 train, 4 val scans" in out
    model = tiny_autoencoder.TinyAutoencoder(tiny_autoencoder.TinyConfig(), tiny_autoencoder.tiny_scans().topology, 6)
    assert f"model: tiny, {sum(p.numel() for p in model.parameters()):,} weights, on cpu" in out
    assert "training: at most 12 scans a step, until 6 steps" in out
    assert yaml.safe_load(out.partition("\n\n")[2])["training"]["accumulation"] == 2
    assert not Path("run").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_with_its_code_and_resume_finishes(job, capsys, monkeypatch, number, code):
    judge = tiny_autoencoder.TinyAutoencoder.judge
    calls = []

    def interrupted(self, batch, generator):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return judge(self, batch, generator)

    monkeypatch.setattr(tiny_autoencoder.TinyAutoencoder, "judge", interrupted)
    assert main(job) == code
    said = capsys.readouterr().err
    assert "Stopped after step 4. Everything is kept in run; go on with the same command and --resume." in said
    assert Path("run/curves.png").is_file()
    assert main([*job, "--resume"]) == 0
    assert "Going on from step 4." in capsys.readouterr().err
    assert len(calls) == 6
    assert load("run").card.notes["steps"] == 6


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({1: "wsfd-quick"}, 2, "wsfd-quick is neither a file nor a recipe of the zoo"),
        ({3: "absent.h5"}, 3, "absent.h5"),
        ({3: "my recipe.yaml"}, 3, "my recipe.yaml"),
        ({6: "--set=training.stps=3"}, 2, "unknown key 'training.stps'. Did you mean 'training.steps'?"),
        ({6: "--set"}, 2, "--set has nothing behind it"),
        ({6: "--resume"}, 2, "run holds no checkpoint to resume from"),
        ({6: "--device=tpu"}, 2, "The device is 'tpu'; this machine has cpu"),
        ({5: "faces.h5"}, 2, "faces.h5 is a file; wanted a folder for the run"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(job, capsys, change, code, message):
    arguments = [change.get(k, a) for k, a in enumerate([*job, change.get(6, "--overwrite")])]
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(Path().glob("run/*")), "not even an empty run"


def test_a_run_that_exists_is_refused_with_code_2(job, capsys):
    assert main(job) == 0
    capsys.readouterr()
    assert main(job) == 2
    assert "run exists already and is not empty" in capsys.readouterr().err
    assert main([*job, "--overwrite", "--set", "seed=3"]) == 0
    assert load("run").card.recipe["seed"] == 3


def test_losing_all_steps_ends_with_code_3(job, capsys):
    assert main([*job, "--set", "config.broken=[1, 1000]", "training.steps=50"]) == 3
    assert "10 steps in a row were skipped" in capsys.readouterr().err


def test_settings_are_gathered_wherever_they_stand():
    assert gather_settings(["a", "--set", "x=1", "--json", "-", "--set", "y=2", "z=3"]) == [
        *("a", "--json", "-"),
        *("--set", "x=1", "y=2", "z=3"),
    ]
    with pytest.raises(UsageError, match=r"--set training\.steps: wanted KEY=VALUE"):
        gather_settings(["--set", "training.steps", "200"])


def test_help_has_an_example_and_needs_no_torch(capsys):
    assert main(["train", "--help"]) == 0
    assert "For example: meshdisent train wsdf --data faces.h5 --out run" in capsys.readouterr().out


def test_scans_on_a_read_only_disk_are_trained_on_and_left_alone(job, tmp_path, monkeypatch):
    """Modes do not bind root, so what counts is that only reading is asked for and nothing appears beside them."""
    import h5py

    disk = tmp_path / "disk"
    disk.mkdir()
    Path("faces.h5").rename(disk / "faces.h5")
    before = (disk / "faces.h5").read_bytes()
    (disk / "faces.h5").chmod(0o444)
    disk.chmod(0o555)
    opened, modes = h5py.File.__init__, []

    def noting(file, name, mode="r", **more):
        modes.append(mode)
        opened(file, name, mode, **more)

    monkeypatch.setattr(h5py.File, "__init__", noting)
    job[3] = str(disk / "faces.h5")
    assert main([*job, "--set", "training.memory_gigabytes=0"]) == 0
    assert main(["inspect", job[3]]) == 0
    disk.chmod(0o755)
    assert set(modes) == {"r"}
    assert [file.name for file in disk.iterdir()] == ["faces.h5"]
    assert (disk / "faces.h5").read_bytes() == before


def test_a_read_only_disk_for_the_run_is_one_clear_line(job, monkeypatch, capsys):
    def refuse(path, *args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(job) == 3
    assert "run could not be written: Read-only file system" in capsys.readouterr().err
