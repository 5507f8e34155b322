"""The page of the data sets and the scripts beside it know every layout and every published split."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from meshdisent.cli import prepare as command
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import LAYOUTS
from meshdisent.data.preparation import prepare
from meshdisent.mesh.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
SCRIPTS = ("coma", "facescape", "bu3dfe", "d3dfacs", "multiface", "facewarehouse")
FILES = {
    "coma": [
        f"FaceTalk_{who}_TA/{name}/{name}.{k:06d}.ply"
        for who in ("170725_00137", "170728_03272")
        for name in ("bareteeth", "eyebrow")
        for k in range(30)
    ],
    "facescape": [f"{who}/models_reg/{name}.obj" for who in (1, 2, 3) for name in ("1_neutral", "2_smile")],
    "bu3dfe": [f"{who}_{code}WH_F3D.wrl" for who in ("F0001", "F0020", "M0004") for code in ("NE00", "AN01", "SU04")],
    "d3dfacs": [f"{who}/{name}/{name}.{k:03d}.ply" for who in ("Joe", "Jim", "Ann") for name in "19" for k in range(8)],
    "multiface": [
        f"m--20180227--0000--{who}--GHS/tracked_mesh/{name}/{k:06d}.obj"
        for who in ("1", "2", "3")
        for name in ("E001_Neutral_Eyes_Open", "E002_Swallow")
        for k in range(11)
    ],
    "facewarehouse": [f"Tester_{who}/TrainingPose/pose_{k}.obj" for who in (1, 2, 145) for k in range(3)],
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_page_names_every_layout_and_its_splits(name):
    assert f"| `{name}` |" in PAGE
    for how, split in LAYOUTS[name].splits.items():
        assert f"`{how}:NAME`" in PAGE if split.argument else f"`{how}`" in PAGE


def test_every_command_of_page_and_scripts_is_one_that_parses():
    texts = [PAGE, *((ROOT / "data_prep" / f"{name}.py").read_text(encoding="utf-8") for name in SCRIPTS)]
    lines = [line.strip() for text in texts for line in re.findall(r"^ *meshdisent prepare .*$", text, re.MULTILINE)]
    parsed = [shlex.split(line)[2:] for line in lines if "LAYOUT" not in line]
    assert {words[0] for words in parsed} == set(LAYOUTS) - {"folder"}
    for words in parsed:
        layout, steps = command._parse(words[0], words[1:])
        how = steps.split_by.partition(":")[0]
        assert how == "subjects" or how in layout.splits


@pytest.fixture
def raw(request, tmp_path, shapes):
    """A tiny tree of one data set; names of the neutral come first, and everyone has one."""
    vertices, faces = shapes.grid(70 if request.param in ("facescape", "facewarehouse") else 5, 75, bumps=0.3)
    factor = {"coma": 0.002, "d3dfacs": 0.002, "facewarehouse": 0.02}.get(request.param, 2.0)
    for k, name in enumerate(FILES[request.param]):
        path = tmp_path / "RAW" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = vertices * factor * [1, 1 + 0.01 * (k % 7), 1 + 0.02 * (k % 5)]
        if path.suffix == ".wrl":
            points = ", ".join(" ".join(map(str, row)) for row in shape)
            corners = ", ".join(f"{a}, {b}, {c}, -1" for a, b, c in faces)
            fields = f"coord Coordinate {{ point [{points}] }} coordIndex [{corners}]"
            path.write_text(f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ {fields} }} }}")
        else:
            Mesh(shape, faces).write(path)
    Mesh(vertices * factor, faces).write(tmp_path / "template.ply")
    return request.param, tmp_path / "RAW", tmp_path


@pytest.mark.parametrize("raw", SCRIPTS, indirect=True)
def test_a_script_makes_the_dataset_that_it_promises(raw, monkeypatch, capsys):
    name, folder, out = raw
    arguments = {
        "coma": [folder, out / "template.ply", out / "f.h5"],
        "d3dfacs": [folder, out / "template.ply", out / "f.h5"],
        "facescape": [out / "f.h5", folder],
    }.get(name, [folder, out / "f.h5"])
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "data_prep" / f"{name}.py"), run_name="__main__")
    scans = ScanDataset.open(out / "f.h5")
    said = capsys.readouterr().out
    kept = {"d3dfacs": 12, "multiface": 12}.get(name, len(FILES[name]))  # 2 of 8 frames, 2 of 11
    assert len(scans) == kept
    assert f"{kept} of {len(scans.subjects)} subjects" in said
    assert re.search(r"absent|are there; the published data have", said)
    assert scans.neutrals()[1].all()
    assert scans.attributes["layout"] == name


def test_what_a_layout_misses_is_printed(tmp_path, shapes, capsys):
    Mesh(*shapes.grid(5, 5, bumps=0.2)).write(tmp_path / "RAW" / "7" / "models_reg" / "1_neutral.obj")
    assert command.main(["facescape", str(tmp_path / "RAW"), "--out", str(tmp_path / "f.h5")]) == 0
    said = capsys.readouterr().out
    assert "note: 19 scans of subjects that are there are absent: 7/smile" in said
    assert "note: 846 of 847 subjects are absent: 1, 2, 3, 4, 5 and 841 more" in said
    result = prepare(LAYOUTS["facescape"](raw=(tmp_path / "RAW",)), tmp_path / "g.h5")
    assert len(result.remarks) == 2


@pytest.mark.parametrize("name", LAYOUTS)
def test_help_has_the_splits_and_an_example(name, capsys):
    with pytest.raises(SystemExit):
        command.main([name, "--help"])
    said = capsys.readouterr().out
    assert f"For example: meshdisent prepare {name} RAW --out faces.h5" in said
    assert all(how in said for how in LAYOUTS[name].splits)
