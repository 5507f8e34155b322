"""The main job through the command line: raw files to a report, on heads small enough for a minute."""

import json
from pathlib import Path

import pytest

from meshdisent import load
from meshdisent.cli.main import main
from meshdisent.data.synthetic import write_synthetic_folder
from meshdisent.mesh.mesh import Mesh

TINY = [
    "config.identity_size=3",
    "config.expression_size=3",
    "config.encoder.channels=[4, 4, 8, 8, 8]",
    "config.encoder.feature=8",
    "config.fused_size=8",
    "config.hidden=[16]",
    "config.linear_start.mirrored=false",
    "training.steps=6",
    "training.minutes=null",
    "training.validate_steps=3",
]
EXPRESSIONS = ("neutral", "smile", "anger", "jaw_left")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name that holds raw scans, one of them broken."""
    folder = tmp_path_factory.mktemp("main job")
    write_synthetic_folder(folder / "raw", 9, 0, 1200, expressions=EXPRESSIONS)
    (folder / "raw" / "person_000" / "anger.ply").write_bytes(b"ply\nformat ascii 1.0\n")
    return folder


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(work: Path) -> Path:
    """The folder after prepare and train."""
    assert run("prepare", "folder", work / "raw", "--out", work / "faces.h5") == 0
    assert run("train", "wsdf-quick", "--data", work / "faces.h5", "--out", work / "run", "--set", *TINY) == 0
    return work


def test_a_broken_scan_is_listed_and_the_rest_is_prepared(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = (trained / "faces.rejected.csv").read_text().splitlines()
    assert len(listed) == 2
    assert "anger.ply" in listed[1]
    assert run("inspect", trained / "faces.h5", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["scans"] == 35


def test_training_leaves_a_model_its_recipe_and_its_curves(trained: Path) -> None:
    for name in ("model.safetensors", "recipe.yaml", "log.jsonl", "curves.png", "checkpoint.safetensors"):
        assert (trained / "run" / name).stat().st_size > 0, name
    model = load(trained / "run")
    assert (model.identity_size, model.expression_size, model.topology.vertex_count) == (3, 3, 1200)
    assert int(model.moving.sum()) == 360


def test_evaluation_prints_the_model_beside_the_baselines(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = trained / "figures.json"
    assert run("evaluate", trained / "run", "--data", trained / "faces.h5", "--json", target) == 0
    figures = json.loads(target.read_text())
    assert {"input", "mean face", "PCA 6", "ridge to mode"} <= set(figures["baselines"])
    assert 0 < figures["E_avd"]["mean"] < 20
    assert "ridge to mode" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "count"),
    [
        (("neutralize", "run", "faces.h5:person_007/smile", "raw/person_008/anger.ply"), 2),
        (
            (
                "transfer",
                "run",
                "--identity",
                "faces.h5:person_007/neutral",
                "--expression",
                "faces.h5:person_008/smile",
            ),
            1,
        ),
        (("interpolate", "run", "faces.h5:person_007/smile", "faces.h5:person_008/anger", "--steps", "4"), 4),
        (("sample", "run", "--count", "3"), 3),
    ],
)
def test_every_verb_writes_meshes_and_a_sheet(
    trained: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...], count: int
) -> None:
    monkeypatch.chdir(trained)
    assert run(*verb, "--out", verb[0]) == 0
    meshes = sorted((trained / verb[0]).glob("*.ply"))
    assert len(meshes) == count
    assert (trained / verb[0] / "sheet.png").stat().st_size > 1000
    assert Mesh.read(meshes[0]).vertices.shape == (1200, 3)
    assert run(*verb, "--out", verb[0]) == 2, "an output that exists is refused"


def test_the_quickstart_goes_from_nothing_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "quick start"
    assert run("quickstart", "--out", out, "--subjects", 9, "--vertices", 1200, "--set", *TINY) == 0
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") >= 6
    assert "person_" in page
    assert (out / "run" / "model.safetensors").is_file()
    for folder, count in (("neutralize", 6), ("transfer", 6), ("interpolate", 12), ("sample", 12)):
        assert len(list((out / folder).glob("*.ply"))) == count, folder
    assert "report.html" in capsys.readouterr().out
    assert run("quickstart", "--out", out) == 2
