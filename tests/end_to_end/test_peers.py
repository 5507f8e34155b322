"""What people would use instead, through the same commands as WSDF: train, evaluate, then edit or say why not."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent import CoMA, LinearModel, MultilinearModel, load
from meshdisent.cli.main import main

TINY = {
    "coma": [
        "config.code_size=4",
        "config.encoder.channels=[4, 8]",
        "config.factors=[4, 4]",
        "training.minutes=null",
        "training.steps=20",
    ],
    "linear": ["config.identity_size=3", "config.expression_size=2"],
    "multilinear": ["config.identity_size=3", "config.expression_size=2"],
}
CLASSES = {"coma": CoMA, "linear": LinearModel, "multilinear": MultilinearModel}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans, pairs of transfers, and a run of each model."""
    folder = tmp_path_factory.mktemp("peers of WSDF")
    small_faces.scans().save(folder / "faces.h5")
    small_faces.write_pairs(folder / "pairs", [(12, 0, 13, 1), (13, 1, 14, 2)])
    for name, settings in TINY.items():
        run = [str(folder / part) for part in ("faces.h5", name)]
        assert main(["train", name, "--data", run[0], "--out", run[1], "--set", *settings]) == 0
    return folder


def evaluated(work: Path, name: str) -> dict:
    target = work / f"{name}.json"
    data = ["--data", str(work / "faces.h5"), "--transfer", str(work / "pairs" / "pairs.csv")]
    assert main(["evaluate", str(work / name), *data, "--json", str(target), "--overwrite"]) == 0
    return json.loads(target.read_text())


@pytest.mark.parametrize("name", sorted(TINY))
def test_a_run_gives_a_model_that_opens_and_is_evaluated(work, name):
    model = load(work / name)
    assert type(model) is CLASSES[name]
    assert model.card.recipe["model"] == name
    figures = evaluated(work, name)
    assert 0 < figures["E_avd"]["mean"] < 5
    assert figures["baselines"]["mean face"]["E_avd"]["mean"] > 0


@pytest.mark.parametrize("name", ["linear", "multilinear"])
def test_models_that_separate_neutralize_better_than_the_input_itself(work, name, capsys):
    figures = evaluated(work, name)
    assert figures["E_neu"]["mean"] < figures["baselines"]["input"]["E_neu"]["mean"]
    assert figures["E_tra"]["kept"]["mean"] < figures["baselines"]["input"]["E_tra"]["kept"]["mean"]
    out = work / f"{name} at rest"
    assert main(["neutralize", str(work / name), str(work / "faces.h5:s13/smile"), "--out", str(out)]) == 0
    assert len(list(out.iterdir())) >= 1


def test_an_autoencoder_leaves_figures_empty_and_says_what_it_cannot_do(work, capsys):
    figures = evaluated(work, "coma")
    assert all(figures[name] is None for name in ("E_id", "E_exp", "E_neu", "E_neu_kept", "E_tra", "leak"))
    capsys.readouterr()
    scan = str(work / "faces.h5:s13/smile")
    assert main(["neutralize", str(work / "coma"), scan, "--out", str(work / "none")]) == 2
    said = capsys.readouterr().err
    assert "A coma model does not separate identity from expression, so it cannot neutralize." in said
    assert "Traceback" not in said
    assert not (work / "none").exists()
    assert main(["sample", str(work / "coma"), "--out", str(work / "drawn"), "--count", "2"]) == 0


def test_a_multilinear_model_without_expression_labels_is_refused_in_one_line(work, capsys):
    small_faces.scans(labels=False).save(work / "unlabeled.h5")
    command = ["train", "multilinear", "--data", str(work / "unlabeled.h5"), "--out", str(work / "unlabeled")]
    assert main(command) == 3
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "no expression labels on its 60 training scans" in said[0]
    assert not (work / "unlabeled" / "model.safetensors").exists()


def test_the_mirrored_basis_is_an_option_of_the_command(work):
    out = work / "mirrored"
    settings = ["config.identity_size=8", "config.expression_size=2", "config.mirrored=true"]
    assert main(["train", "linear", "--data", str(work / "faces.h5"), "--out", str(out), "--set", *settings]) == 0
    model = load(out)
    assert model.config.mirrored
    assert np.isfinite(model.identity_basis.numpy()).all()
    assert model.identity_size > load(work / "linear").identity_size
