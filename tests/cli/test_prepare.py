"""``meshdisent prepare``: the lines people write, the exit codes, and what is said."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def raw(tmp_path, shapes):
    """RAW with 4 subjects x 3 expressions and split.json."""
    vertices, faces = shapes.grid(5, 6)
    rng = np.random.default_rng(0)
    for subject in ("anna", "ben", "carla", "dörte"):
        for expression in ("neutral", "smile", "2_frown"):
            scan = vertices * 20 + rng.normal(size=vertices.shape)
            Mesh(scan, faces).write(tmp_path / "RAW" / subject / f"{expression}.ply")
    split = {"train": ["anna", "dörte"], "val": ["ben"], "test": ["carla"]}
    (tmp_path / "RAW" / "split.json").write_text(json.dumps(split), encoding="utf-8")
    return tmp_path / "RAW"


def test_the_documented_line(raw, tmp_path, capsys):
    out = tmp_path / "faces.h5"
    assert main(["prepare", "folder", str(raw), "--split-by", str(raw / "split.json"), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert f"{out}: 12 scans of 4 subjects (6 train, 3 val, 3 test), 42 vertices" in said.out
    assert "neutral known of 4 of 4 subjects" in said.out
    assert "passed over: 1 other files (.json)" in said.out
    assert "scans/s" in said.err
    scans = ScanDataset.open(out)
    assert scans.subjects == ("anna", "ben", "carla", "dörte")
    assert scans.names(np.arange(3)) == ["anna/2_frown", "anna/neutral", "anna/smile"]


def test_several_folders_and_every_option(raw, tmp_path, capsys):
    out = tmp_path / "faces.h5"
    Mesh.read(raw / "anna" / "smile.ply").write(tmp_path / "MORE" / "emil" / "smile.obj")
    line = f"prepare folder {raw} {tmp_path / 'MORE'} --out {out} --vertices 30 --split-by frames --align rigid"
    line += " --drop 0.1 --seed 3 --workers 1 --unit mm --neutral smile --strict"
    assert main(line.split()) == 0
    scans = ScanDataset.open(out)
    assert scans.subjects == ("anna", "ben", "carla", "dörte", "emil")
    assert scans.topology.vertex_count == 30
    assert "30 vertices out of 42" in capsys.readouterr().out


def test_rejected_scans_are_counted_and_strict_fails(raw, tmp_path, capsys):
    (raw / "anna" / "smile.ply").write_bytes(b"")
    out = tmp_path / "faces.h5"
    assert main(["prepare", "folder", str(raw), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"rejected: 1 scans, listed in {tmp_path / 'faces.rejected.csv'}" in said
    assert str(raw / "anna" / "smile.ply") in said
    assert main(["prepare", "folder", str(raw), "--out", str(out), "--overwrite", "--strict"]) == 3
    assert "--strict: 1 scans were rejected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["foldr", "RAW"],
            2,
            "'foldr' is no layout; wanted one of folder, ict, coma, facescape, bu3dfe, d3dfacs, multiface, ",
        ),
        (["foldr", "RAW"], 2, "facewarehouse. Did you mean folder?"),
        (["folder", "RAW"], 2, "--out"),
        (["folder", "--out", "x.h5"], 2, "got no folder"),
        (["folder", "RAW", "--out", "x.h5", "--unit", "inch"], 2, "inch"),
        (["folder", "absent", "--out", "x.h5"], 3, "absent is absent; wanted a folder"),
        (["folder", "RAW", "--out", "x.h5", "--split-by", "absent.json"], 3, "absent.json cannot be read"),
        (["folder", "RAW", "--out", "RAW/split.json"], 2, "exists already"),
        (["folder", "RAW", "--out", "x.h5", "--topology", "RAW/split.json"], 3, "extension '.json'"),
        (["folder", "RAW", "--out", "x.h5", "--drop", "2"], 2, "--drop is 2.0"),
        (
            ["coma", "RAW", "--out", "x.h5"],
            3,
            "holds no scan (12 other files (.ply), 1 other files (.json)); wanted Fac",
        ),
        (["coma", "RAW", "--out", "x.h5", "--labels", "none"], 2, "invalid choice"),
        (["ict", "RAW", "--out", "x.h5"], 3, "wanted a clone of ICT-FaceKit"),
        (["ict", "RAW", "--out", "x.h5", "--subjects", "0"], 2, "at least one subject"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(raw, tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *arguments]) == code
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "x.h5").exists()


def test_help(capsys):
    assert main(["prepare", "--help"]) == 0
    said = capsys.readouterr().out
    assert "meshdisent prepare folder RAW --split-by RAW/split.json --out faces.h5" in said
    assert main(["prepare", "folder", "--help"]) == 0
    said = capsys.readouterr().out
    for option in (
        "--out",
        "--vertices",
        "--split-by",
        "--align",
        "--stable",
        "--drop",
        "--unit",
        "--topology",
        "--strict",
    ):
        assert option in said
    assert main(["prepare"]) == 2


@pytest.mark.parametrize("verb", [["prepare", "folder"], ["inspect"]])
def test_help_does_not_load_torch(verb):
    code = (
        "import sys\nfrom meshdisent.cli.main import main\n"
        f"main([*{verb!r}, '--help'])\n"
        "print(sorted({'torch', 'pyvista', 'trimesh', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_script_that_people_copy_does_the_same(raw, tmp_path):
    script = Path(__file__).parents[2] / "data_prep" / "folder.py"
    done = subprocess.run(
        [sys.executable, str(script), str(raw), str(tmp_path / "script.h5")], capture_output=True, text=True, check=True
    )
    assert "12 of 4 subjects" in done.stdout
    out = tmp_path / "command.h5"
    main(["prepare", "folder", str(raw), "--out", str(out), "--split-by", str(raw / "split.json")])
    assert out.read_bytes() == (tmp_path / "script.h5").read_bytes()
