"""``meshdisent inspect``: what is printed for people, and for programs."""

import json

import numpy as np
import pytest

from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset


@pytest.fixture
def faces(tmp_path, shapes):
    """A dataset of 4 subjects x 3 expressions in meters, with a region."""
    vertices, triangles = shapes.grid(5, 6)
    rng = np.random.default_rng(0)
    scans = 0.02 * vertices + 0.001 * rng.normal(size=(12, 42, 3))
    names = [(subject, expression) for subject in "abcd" for expression in ("neutral", "smile", "frown")]
    subjects, expressions = zip(*names, strict=True)
    splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    path = tmp_path / "faces.h5"
    ScanDataset.from_arrays(
        scans, triangles, subjects, expressions, split=splits, regions={"nose": np.array([1, 2])}
    ).save(path)
    return path


def test_text(faces, capsys):
    assert main(["inspect", str(faces)]) == 0
    said = capsys.readouterr().out
    assert "12 of 4 subjects, 3 expressions" in said
    assert "train      6 scans of 2 subjects" in said
    assert "42 vertices, 60 faces, 1 pieces" in said
    assert "regions      nose (2)" in said
    assert "landmarks    not known on this topology; a file NAME.landmarks.json beside this one gives them" in said
    assert "WARNING: the template is 0.1" in said
    assert "it looks like meters, prepare again with --unit m" in said
    assert said.rstrip().endswith("warnings")


def test_json(faces, tmp_path, capsys):
    assert main(["inspect", str(faces), "--json", "-"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["scans"] == 12
    assert numbers["data_hash"] == ScanDataset.open(faces).data_hash
    assert any("meters" in warning for warning in numbers["warnings"])
    target = tmp_path / "found.json"
    assert main(["inspect", str(faces), "--json", str(target)]) == 0
    assert json.loads(target.read_text()) == numbers
    assert "scans" in capsys.readouterr().out
    assert main(["inspect", str(faces), "--json", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["inspect", str(faces), "--json", str(target), "--overwrite"]) == 0


def test_a_damaged_file(faces, capsys):
    content = faces.read_bytes()
    faces.unlink()
    faces.write_bytes(content[:-500])
    assert main(["inspect", str(faces)]) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is damaged or cut short" in said


def test_absent_and_missing_arguments(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none.h5")]) == 3
    assert "none.h5 is absent" in capsys.readouterr().err
    assert main(["inspect"]) == 2


def test_a_file_beside_the_dataset_names_its_landmarks(faces, tmp_path, capsys):
    (tmp_path / "faces.landmarks.json").write_text('{"tip of the nose": 2, "chin": 5}')
    assert main(["inspect", str(faces), "--landmarks", "--json", str(tmp_path / "marks.json")]) == 0
    said = capsys.readouterr().out
    assert f"landmarks    2 ({tmp_path / 'faces.landmarks.json'})" in said
    assert "    tip of the nose                       2  " in said
    found = json.loads((tmp_path / "marks.json").read_text())["landmarks"]["points"]
    template = ScanDataset.open(faces).topology.template
    assert found["chin"]["vertex"] == 5
    assert found["chin"]["point"] == pytest.approx(template[5].tolist(), abs=1e-3)
    assert main(["inspect", str(faces), "--json", "-"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["landmarks"]["vertices"] == {"tip of the nose": 2, "chin": 5}


def test_a_template_mesh_lists_what_is_known_of_it(tmp_path, capsys):
    from meshdisent.data.synthetic import SyntheticHead
    from meshdisent.mesh.mesh import Mesh

    topology = SyntheticHead(1200).topology
    Mesh(topology.template, topology.faces).write(tmp_path / "head.ply")
    assert main(["inspect", str(tmp_path / "head.ply")]) == 0
    said = capsys.readouterr().out
    assert f"1200 vertices, {topology.face_count} faces, topology {topology.topology_hash}" in said
    assert "landmarks    68 (synthetic head" in said
    assert "forehead (" in said
    assert "jaw 9" not in said
    Mesh(3.0 * topology.template, topology.faces[1:]).write(tmp_path / "large.ply")
    assert main(["inspect", str(tmp_path / "large.ply"), "--landmarks"]) == 3
    assert "large.ply is no topology whose landmarks are known" in capsys.readouterr().err
