"""``register``: raw scans of another mesh, in any place, to scans of a topology; failures are told, not returned."""

import json

import numpy as np
import pytest
import trimesh

from meshdisent.cli import register as register_module
from meshdisent.cli.main import main
from meshdisent.data.synthetic import SyntheticHead, synthetic_dataset
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import align
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.resampling import read_map
from meshdisent.morphable.linear import LinearModel
from meshdisent.morphable.shape_prior import shape_prior


@pytest.fixture(scope="module")
def head():
    return SyntheticHead(1200)


@pytest.fixture(scope="module")
def template(head, tmp_path_factory):
    path = tmp_path_factory.mktemp("template") / "template.ply"
    Mesh(head.topology.template, head.topology.faces).write(path)
    return path


def raw_scan(head, seed=1):
    """Somebody's face on another mesh: more vertices, in another order."""
    random = np.random.default_rng(seed)
    face = head.neutral(0.5 * random.standard_normal(head.identity_size))
    fine = trimesh.Trimesh(face, head.topology.faces, process=False).subdivide()
    order = random.permutation(len(fine.vertices))
    place = np.argsort(order)
    return face, np.asarray(fine.vertices)[order], place[np.asarray(fine.faces)]


def test_a_raw_scan_becomes_a_scan_of_the_topology(head, template, tmp_path, capsys):
    face, vertices, faces = raw_scan(head)
    shift = np.array([30.0, -20.0, 100.0])
    Mesh((vertices + shift) / 10, faces).write(tmp_path / "anna.obj")
    out = tmp_path / "out"
    command = ["register", str(tmp_path / "anna.obj"), "--topology", str(template), "--prior", "none"]
    command += ["--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "mm from the surface" in said.out
    assert "anna.obj: taken to be in cm, by its size; --unit says otherwise." in said.err
    assert sorted(file.name for file in out.iterdir()) == ["anna.ply", "anna.png", "registration.json"]
    found = Mesh.read(out / "anna.ply")
    assert np.array_equal(found.faces, head.topology.faces)
    # In the template's frame, so the place of the scan does not matter.
    assert np.linalg.norm(found.vertices - face, axis=1).mean() < 3.0
    report = json.loads((out / "registration.json").read_text())["anna"]
    assert report["residual_mm"]["median"] < 0.3
    assert (report["unit"], report["cut_share"], report["scale"]) == ("cm", 0.0, 1.0)
    assert np.abs(np.array(report["translation_mm"]) - shift).max() < 15
    assert main(command) == 2


def test_a_prior_that_knows_such_faces_brings_it_closer(head, template, tmp_path):
    face, vertices, faces = raw_scan(head, seed=2)
    Mesh(vertices, faces).write(tmp_path / "ben.ply")
    model = LinearModel.fit(synthetic_dataset(subjects=60, seed=5, vertex_count=1200))
    model.save(tmp_path / "model.safetensors")
    errors = {}
    for name, more in {"alone": ["--prior", "none"], "prior": ["--prior", str(tmp_path / "model.safetensors")]}.items():
        out = tmp_path / name
        assert main(["register", str(tmp_path / "ben.ply"), "--topology", str(template), "--out", str(out), *more]) == 0
        errors[name] = np.linalg.norm(Mesh.read(out / "ben.ply").vertices - face, axis=1).mean()
    assert errors["prior"] < errors["alone"]
    assert errors["prior"] < 1.5


def test_the_usual_prior_is_what_comes_along_for_the_face_or_the_model_itself(head, template, tmp_path, capsys):
    face, vertices, faces = raw_scan(head, seed=2)
    Mesh(vertices, faces).write(tmp_path / "ben.ply")
    model = LinearModel.fit(synthetic_dataset(subjects=40, seed=5, vertex_count=1500))
    model.save(tmp_path / "model.safetensors")
    ways = {
        "alone": [str(template), "--prior", "none"],
        "along": [str(template)],
        "carried": [str(template), "--prior", str(tmp_path / "model.safetensors")],
        "itself": [str(tmp_path / "model.safetensors")],
    }
    errors, said = {}, {}
    for name, more in ways.items():
        command = ["register", str(tmp_path / "ben.ply"), "--out", str(tmp_path / name), "--no-pictures"]
        assert main([*command, "--topology", *more]) == 0
        captured = capsys.readouterr()
        said[name] = captured.err
        assert captured.out.endswith(f"{name}: 1 scan (ply), registration.json\n")
        if name != "itself":
            errors[name] = np.linalg.norm(Mesh.read(tmp_path / name / "ben.ply").vertices - face, axis=1).mean()
    assert errors["along"] < 0.7 * errors["alone"]
    assert errors["carried"] < errors["alone"]
    assert "Likely faces" not in said["alone"] + said["carried"]
    assert "Likely faces are those of wsdf-synthetic; --prior says otherwise." in said["along"]
    assert "was carried over to" in said["carried"]
    assert f"Likely faces are those of {tmp_path / 'model.safetensors'}" in said["itself"]
    assert "carried over" not in said["itself"]


def test_a_prior_that_does_not_suit_is_told(head, tmp_path, capsys):
    """Somebody's ball as the template: a model that is named is refused, and nothing else is tried."""
    _, vertices, faces = raw_scan(head)
    Mesh(vertices, faces).write(tmp_path / "anna.ply")
    ball = trimesh.creation.icosphere(4, radius=90.0)
    Mesh(np.asarray(ball.vertices), np.asarray(ball.faces)).write(tmp_path / "ball.ply")
    command = ["register", str(tmp_path / "anna.ply"), "--topology", str(tmp_path / "ball.ply")]
    assert main([*command, "--prior", "wsdf-synthetic", "--out", str(tmp_path / "out")]) == 3
    assert "wsdf-synthetic cannot be carried over to" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_usual_prior_that_suits_the_template_bends_alone(head, template, tmp_path, capsys, monkeypatch):
    """What comes along for a recognized face, and cannot be carried to this mesh of it: said, and gone on without."""
    _, vertices, faces = raw_scan(head)
    Mesh(vertices, faces).write(tmp_path / "anna.ply")

    def refused(*_):
        raise DataError("wsdf-synthetic cannot be carried over.")

    command = ["register", str(tmp_path / "anna.ply"), "--topology", str(template), "--no-pictures", "--out"]
    assert main([*command, str(tmp_path / "none"), "--prior", "none"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(register_module, "prior_of", refused)
    assert main([*command, str(tmp_path / "out")]) == 0
    said = capsys.readouterr().err
    assert "wsdf-synthetic cannot be carried over. The template bends alone." in said
    assert "Likely faces" not in said
    alone, without = (Mesh.read(tmp_path / name / "anna.ply").vertices for name in ("none", "out"))
    assert np.array_equal(alone, without)


def test_what_is_no_face_is_told_and_not_written(head, template, tmp_path, capsys):
    _, vertices, faces = raw_scan(head)
    Mesh(vertices, faces).write(tmp_path / "anna.ply")
    box = trimesh.creation.box((150.0, 150.0, 150.0)).subdivide().subdivide().subdivide()
    Mesh(np.asarray(box.vertices), np.asarray(box.faces)).write(tmp_path / "box.ply")
    arguments = ["--topology", str(template), "--out", str(tmp_path / "out")]
    assert main(["register", str(tmp_path / "box.ply"), str(tmp_path / "anna.ply"), *arguments]) == 3
    said = capsys.readouterr()
    assert "left out:" in said.err
    assert "box.ply" in said.err
    written = ["anna.ply", "anna.png", "refused-box.png", "registration.json"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == written
    report = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert list(report) == ["anna", "refused"]
    assert "wanted" in report["refused"][0]
    out = tmp_path / "x"
    assert main(["register", str(tmp_path / "box.ply"), "--topology", str(template), "--out", str(out)]) == 3
    assert "has pictures of why" in capsys.readouterr().err
    assert sorted(file.name for file in out.iterdir()) == ["refused-box.png", "registration.json"]


def test_hair_that_leaves_a_scan_no_larger_than_a_face_is_cut_off_when_it_is_too_much(head, template, tmp_path, capsys):
    face, vertices, faces = raw_scan(head)
    ball = trimesh.creation.icosphere(5)
    hair = np.asarray(ball.vertices) * [88.0, 100.0, 75.0] + face.mean(axis=0) + [0.0, 25.0, -45.0]
    behind = (hair[:, 2] < face[:, 2].max() - 75)[np.asarray(ball.faces)].all(axis=1)
    both = np.concatenate([vertices, hair]), np.concatenate([faces, np.asarray(ball.faces)[behind] + len(vertices)])
    Mesh(*both).write(tmp_path / "anna.ply")
    command = ["register", str(tmp_path / "anna.ply"), "--topology", str(template), "--prior", "none", "--no-pictures"]
    assert main([*command, "--out", str(tmp_path / "whole"), "--keep-all"]) == 3
    assert "of the target lies on the template; wanted 80% or more" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "of it is no part of the template and was cut off" in capsys.readouterr().err
    found = Mesh.read(tmp_path / "out" / "anna.ply")
    assert np.linalg.norm(found.vertices - face, axis=1).mean() < 4.0
    report = json.loads((tmp_path / "out" / "registration.json").read_text())["anna"]
    assert 0.1 < report["cut_share"] < 0.9


def test_points_alone_are_enough_and_too_few_are_told(head, template, tmp_path, capsys):
    face, vertices, _ = raw_scan(head, seed=3)
    Mesh(vertices).write(tmp_path / "cloud.ply")
    command = ["register", str(tmp_path / "cloud.ply"), "--topology", str(template), "--rims", "none", "--no-pictures"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert np.linalg.norm(Mesh.read(tmp_path / "out" / "cloud.ply").vertices - face, axis=1).mean() < 3.5
    assert not (tmp_path / "out" / "cloud.png").exists()
    Mesh(vertices[:9]).write(tmp_path / "few.ply")
    capsys.readouterr()
    assert main(["register", str(tmp_path / "few.ply"), "--topology", str(template), "--out", str(tmp_path / "x")]) == 3
    assert "has 9 points and no faces; wanted more than 16" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_map_between_two_topologies_is_saved_and_replayed(head, template, tmp_path, capsys):
    """Templates are two people on two meshes; the map is found once, on them, and serves everybody's scans."""
    other, out, path = SyntheticHead(1500), tmp_path / "out", tmp_path / "map.npz"
    small = tmp_path / "small.ply"
    somebody = other.neutral(0.5 * np.random.default_rng(5).standard_normal(other.identity_size))
    Mesh(somebody, other.topology.faces).write(small)
    command = ["register", str(small), "--topology", str(template), "--save-map", str(path), "--no-pictures"]
    assert main([*command, "--out", str(out)]) == 0
    assert "next: meshdisent resample FACES.H5 --map" in capsys.readouterr().out
    made = read_map(path)
    assert made.source.topology_hash == other.topology.topology_hash
    assert made.target.topology_hash == head.topology.topology_hash
    identity = 0.5 * np.random.default_rng(6).standard_normal(head.identity_size)
    replayed = made.apply(other.neutral(identity)[None])[0]
    truth = head.neutral(identity)
    assert np.linalg.norm(align(replayed, truth).apply(replayed) - truth, axis=1).mean() < 3.0
    assert main([*command, "--out", str(tmp_path / "again")]) == 2
    both = ["register", str(small), str(small), "--topology", str(template), "--save-map", str(tmp_path / "m.npz")]
    capsys.readouterr()
    assert main([*both, "--out", str(tmp_path / "x")]) == 2
    assert "--save-map is of one topology, in mm and of its own size; 2 scans" in capsys.readouterr().err


def test_the_prior_of_a_linear_model_is_its_own():
    model = LinearModel.fit(synthetic_dataset(subjects=12, seed=0, vertex_count=1200))
    prior = shape_prior(model, drawn=300, modes=5)
    assert prior.basis.shape == (5, 1200, 3)
    assert np.allclose((prior.basis.reshape(5, -1) @ prior.basis.reshape(5, -1).T), np.eye(5), atol=1e-6)
    assert (np.diff(prior.deviations) <= 0).all()
    # Faces that are drawn anew lie around the mean as the deviations say.
    again = shape_prior(model, drawn=300, modes=5, seed=1)
    assert np.abs(again.mean - prior.mean).max() < 3.0
    assert again.deviations[0] == pytest.approx(prior.deviations[0], rel=0.2)
    assert np.array_equal(shape_prior(model, drawn=300, modes=5).mean, prior.mean)


def test_landmarks_give_the_pose(head, template, tmp_path, capsys):
    """A scan that lies on its side: the starts of a face that looks ahead do not find it, five landmarks do."""
    face, vertices, faces = raw_scan(head, seed=4)
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    Mesh(vertices @ turn / 1000, faces).write(tmp_path / "anna.ply")
    points = head.topology.template
    rows = {"nose": points[:, 2].argmax(), "chin": points[:, 1].argmin(), "top": points[:, 1].argmax()}
    rows |= {"left": points[:, 0].argmax(), "right": points[:, 0].argmin()}
    marks = tmp_path / "marks"
    marks.mkdir()
    right = json.dumps({name: points[row].tolist() for name, row in rows.items()})
    (marks / "template.json").write_text(right)
    on_scan = {name: (face[row] @ turn / 1000).tolist() for name, row in rows.items()}
    (marks / "anna.json").write_text(json.dumps(on_scan | {"ear": [0, 0, 0]}))
    command = ["register", str(tmp_path / "anna.ply"), "--topology", str(template), "--unit", "m"]
    both = ["--landmarks", str(marks), "--template-landmarks", str(marks / "template.json")]
    assert main([*command, *both, "--out", str(tmp_path / "out")]) == 0
    found = Mesh.read(tmp_path / "out" / "anna.ply").vertices
    assert np.linalg.norm(found - face, axis=1).mean() < 4.0
    capsys.readouterr()
    alone = ["--template-landmarks", str(marks / "template.json")]
    assert main([*command, *alone, "--out", str(tmp_path / "x")]) == 2
    assert "give both" in capsys.readouterr().err
    far = {name: (points[row] + 40).tolist() for name, row in rows.items()}
    (marks / "template.json").write_text(json.dumps(far))
    assert main([*command, *both, "--out", str(tmp_path / "x")]) == 3
    assert "mm from the template" in capsys.readouterr().err
    (marks / "anna.json").unlink()
    (marks / "template.json").write_text(right)
    assert main([*command, *both, "--out", str(tmp_path / "x")]) == 3
    assert "0 landmark files called anna" in capsys.readouterr().err


def test_a_topology_that_knows_its_landmarks_needs_no_table_of_them(head, template, tmp_path, capsys):
    face, vertices, faces = raw_scan(head, seed=5)
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    Mesh(vertices @ turn, faces).write(tmp_path / "anna.ply")
    names = ["tip of the nose", "jaw 9", "outer corner of the right eye", "outer corner of the left eye", "upper lip 3"]
    on_scan = {name: (face[head.landmarks.rows[name]] @ turn).tolist() for name in names}
    (tmp_path / "marks.json").write_text(json.dumps(on_scan))
    command = ["register", str(tmp_path / "anna.ply"), "--topology", str(template), "--landmarks"]
    assert main([*command, str(tmp_path / "marks.json"), "--out", str(tmp_path / "out")]) == 0
    found = Mesh.read(tmp_path / "out" / "anna.ply").vertices
    assert np.linalg.norm(found - face, axis=1).mean() < 4.0
    (tmp_path / "marks.json").write_text(json.dumps(on_scan | {"nose tip": [0.0, 0, 0]}))
    capsys.readouterr()
    assert main([*command, str(tmp_path / "marks.json"), "--out", str(tmp_path / "x")]) == 3
    assert "names the landmark 'nose tip'" in capsys.readouterr().err
    Mesh(2.0 * head.topology.template, head.topology.faces[1:]).write(tmp_path / "other.ply")
    (tmp_path / "marks.json").write_text(json.dumps(on_scan))
    command[3] = str(tmp_path / "other.ply")
    assert main([*command, str(tmp_path / "marks.json"), "--out", str(tmp_path / "x")]) == 3
    said = capsys.readouterr().err
    assert "other.ply is no topology whose landmarks are known" in said
    assert "--template-landmarks FILE, or once and for all in other.landmarks.json beside it" in said
