"""The command ``export``: what it writes, what it prints, and what it refuses."""

import json

import pytest
import torch

from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.linear import LinearModel


@pytest.fixture(scope="module")
def folder(shapes, tmp_path_factory):
    """A linear model with two named expressions, its scans, and a scan file."""
    import numpy as np

    folder = tmp_path_factory.mktemp("export")
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(3)
    people, made = random.normal(0, 2, (5, 162, 3)), random.normal(0, 1, (3, 162, 3))
    made[0] = 0.0
    scans = ScanDataset.from_arrays(
        (80 * vertices + people[:, None] + made).reshape(15, 162, 3),
        faces,
        [name for name in ("anna", "ben", "cleo", "dan", "eva") for _ in range(3)],
        ["neutral", "smile", "frown"] * 5,
        split=["train"] * 15,
    )
    scans.save(folder / "faces.h5")
    model = LinearModel.fit(scans)
    model.named_expressions = {"jawOpen": torch.ones(model.expression_size), "pout": -torch.ones(model.expression_size)}
    model.save(folder / "model.safetensors")
    return folder


def run(folder, *words) -> int:
    words = [str(word).replace("DATA", str(folder / "faces.h5")) for word in words]
    return main(["export", str(folder / "model.safetensors"), *words])


def test_a_rig_with_the_names_that_the_model_has(folder, tmp_path, capsys):
    out, numbers = tmp_path / "face.glb", tmp_path / "face.json"
    assert run(folder, "DATA:anna/smile", "--out", out, "--json", numbers) == 0
    said = capsys.readouterr().out
    assert f"{out}: 162 vertices, 2 morph targets, an animation of 2.0 s" in said
    assert "in meters, y up" in said
    assert "at half weight" in said
    found = json.loads(numbers.read_text())
    assert found["targets"] == ["jawOpen", "pout"]
    assert found["format"] == "glb"
    assert found["errors"]["together"]["worst_mm"] < 1e-3  # the model is linear
    assert out.read_bytes()[:4] == b"glTF"


def test_expressions_come_from_names_scans_and_datasets(folder, tmp_path, capsys):
    assert run(folder, "--out", tmp_path / "a.glb", "--expressions", "pout", "DATA", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["targets"] == ["pout", "smile", "frown"]
    assert run(folder, "--out", tmp_path / "b.glb", "--expressions", "DATA:ben/frown", "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["targets"] == ["ben-frown"]


def test_directions_and_arkit(folder, tmp_path, capsys):
    assert run(folder, "--out", tmp_path / "d.svg", "--targets", "directions", "--count", 1) == 0
    assert "2 targets of leading directions" in capsys.readouterr().out
    assert "direction-1-minus" in (tmp_path / "d.svg").read_text()
    assert run(folder, "--out", tmp_path / "a.glb", "--targets", "arkit") == 0
    assert "1 of the 52 shapes of ARKit; without eyeBlinkLeft" in capsys.readouterr().out


def test_a_file_of_weights_drives_a_sequence_of_meshes(folder, tmp_path, capsys):
    weights = tmp_path / "w.csv"
    weights.write_text("JawOpen,TongueOut\n0,0\n1,0\n0.5,0\n")
    out = tmp_path / "frames"
    assert run(folder, "DATA:anna/smile", "--out", out, "--format", "obj", "--animation", weights) == 0
    said = capsys.readouterr()
    assert "3 meshes (obj) over 0.1 s" in said.out
    assert "no target for TongueOut" in said.err
    rest, full, half = (Mesh.read(path).vertices for path in sorted(out.iterdir()))
    assert abs(full - rest).max() > 0.5
    assert half == pytest.approx((rest + full) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--out", "face"],
            2,
            "does not say what to write; wanted a file .glb, .png or .svg, or a folder",
        ),
        (["--out", "face.glb", "--format", "ply"], 2, "means glb, and --format is ply; leave one out"),
        (["--out", "face.fbx", "--format", "glb"], 2, "wants the ending .glb"),
        (["--out", "face.glb", "--expressions", "puot"], 2, "Did you mean 'pout'"),
        (["--out", "face.glb", "--expressions", "pout", "pout"], 2, "gives 'pout' twice"),
        (["--out", "face.glb", "--expressions", "pout", "--targets", "arkit"], 2, "--targets is arkit; leave one out"),
        (["--out", "face.glb", "--facekit", "clone"], 2, "add --targets arkit, or leave it out"),
        (["--out", "face.glb", "--targets", "arkit", "--facekit", "clone"], 3, "wanted a clone of ICT-FaceKit"),
        (["--out", "face.png", "--animation", "w.csv"], 2, "a sheet of targets, which plays nothing"),
        (["--out", "face.glb", "--animation", "gone.csv"], 3, "gone.csv cannot be read"),
        (["--out", "face.glb", "--keep-detail"], 2, "The mean of all subjects has no detail to keep"),
        (["gone.ply", "--out", "face.glb"], 3, "gone.ply"),
    ],
)
def test_what_cannot_be_is_one_line_with_its_exit_code(folder, tmp_path, capsys, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    assert run(folder, *words) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unless_asked(folder, tmp_path, capsys):
    out = tmp_path / "face.glb"
    out.write_text("mine")
    assert run(folder, "--out", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert run(folder, "--out", out, "--overwrite", "--no-eyes") == 0
