"""``fit``: raw scans and landmark files to codes, faces, pictures and numbers; failures are told and drawn."""

import json

import numpy as np
import pytest
import torch

from meshdisent.cli.fit_inputs import known_points
from meshdisent.cli.main import main
from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.linear import LinearConfig, LinearModel
from meshdisent.morphable.model_file import load_morphable


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    LinearModel.fit(
        synthetic_dataset(subjects=14, seed=5, vertex_count=1200), LinearConfig(identity_size=8, expression_size=5)
    ).save(path)
    return path


@pytest.fixture(scope="module")
def linear(model):
    return load_morphable(str(model))


@pytest.fixture(scope="module")
def face(linear):
    with torch.no_grad():
        return linear.decode(linear.prior().sample(1, torch.Generator().manual_seed(1)))[0].double().numpy()


@pytest.fixture(scope="module")
def scan(face, linear, tmp_path_factory):
    """The upper half of a head in centimeters, beside the origin."""
    upper = linear.topology.faces[(face[linear.topology.faces, 1] > np.median(face[:, 1])).all(axis=1)]
    path = tmp_path_factory.mktemp("scan") / "anna.obj"
    used, faces = np.unique(upper, return_inverse=True)
    Mesh((face[used] + [20.0, 10.0, 0.0]) / 10, faces.reshape(-1, 3)).write(path)
    return path


def landmark_file(path, points):
    path.write_text(json.dumps({name: list(map(float, place)) for name, place in points.items()}))
    return path


def run(model, *inputs, out, more=()):
    return main(["fit", str(model), *map(str, inputs), "--out", str(out), *map(str, more)])


def test_a_scan_becomes_a_face_with_codes_pictures_and_numbers(model, linear, face, scan, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(model, scan, out=out, more=["--unit", "cm", "--samples", 2, "--trade-off"]) == 0
    said = capsys.readouterr().out
    assert "residual" in said
    assert "prior |u|^2" in said
    names = {"anna.ply", "anna-model-frame.ply", "anna-codes.json", "anna-residuals.png", "anna-uncertainty.png"}
    assert {path.name for path in out.iterdir()} == {*names, "anna-samples", "fit.json"}
    placed = Mesh.read(out / "anna.ply")
    assert np.linalg.norm(10 * placed.vertices - face - [20.0, 10.0, 0.0], axis=1).mean() < 6.0
    assert (placed.vertex_attributes["radius_90_mm"] > placed.vertex_attributes["deviation_mm"]).all()
    codes = json.loads((out / "anna-codes.json").read_text())
    told = json.loads((out / "fit.json").read_text())["anna"]
    at_home = Mesh.read(out / "anna-model-frame.ply")
    with torch.no_grad():
        decoded = linear.decode(
            type(linear.encode(torch.zeros(1, 1200, 3)))(*(torch.tensor([codes[k]]) for k in codes))
        )
    np.testing.assert_allclose(at_home.vertices, decoded[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(
        at_home.vertices @ np.array(told["rotation"]) + told["translation_mm"], 10 * placed.vertices, atol=1e-3
    )
    assert len(told["trade_off"]) == 5
    assert told["residuals"]["unit"] == "mm"
    assert len(list((out / "anna-samples").iterdir())) == 2
    assert run(model, scan, out=out) == 2


def test_landmarks_in_space_go_by_the_numbers_of_vertices_or_by_names(model, linear, face, tmp_path, capsys):
    rows = list(range(0, 1200, 25))
    shift = np.array([5.0, 0.0, 100.0])
    by_number = landmark_file(tmp_path / "numbers.json", {str(row): face[row] + shift for row in rows})
    assert run(model, by_number, out=tmp_path / "first", more=["--noise", 0.5, "--no-pictures", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["numbers"]["noise"] == 0.5
    assert "first: 1 fit with mesh and codes, and fit.json\n" in captured.err
    found = Mesh.read(tmp_path / "first" / "numbers.ply").vertices
    assert np.linalg.norm(found - face - shift, axis=1).mean() < 1.0
    named = landmark_file(tmp_path / "named.json", {f"p{row}": face[row] + shift for row in rows})
    assert run(model, named, out=tmp_path / "no") == 3
    assert "share no name; wanted the same names" in capsys.readouterr().err
    with pytest.raises(DataError, match="nothing says which vertex of the model that is"):
        known_points({"p1": face[0]}, None, named)
    template = landmark_file(tmp_path / "template.json", {f"p{row}": linear.topology.template[row] for row in rows})
    more = ["--noise", 0.5, "--no-pictures", "--template-landmarks", template]
    assert run(model, named, out=tmp_path / "second", more=more) == 0
    np.testing.assert_allclose(Mesh.read(tmp_path / "second" / "named.ply").vertices, found, atol=1e-4)


def test_landmarks_of_a_picture_want_its_camera(model, face, tmp_path, capsys):
    front = np.argsort(-face[:, 2])[:400:8]
    seen = (face - face.mean(axis=0)) * [1, -1, -1] + [0, 0, 800.0]
    pixels = 1000 * seen[front, :2] / seen[front, 2:] + 199.5
    path = landmark_file(tmp_path / "shown.json", {str(row): place for row, place in zip(front, pixels, strict=True)})
    assert run(model, path, out=tmp_path / "no") == 2
    assert "give its --focal and --picture-size" in capsys.readouterr().err
    camera = ["--focal", 1000, "--picture-size", 400, 400, "--noise", 0.3]
    assert run(model, path, out=tmp_path / "out", more=camera) == 0
    assert json.loads((tmp_path / "out" / "fit.json").read_text())["shown"]["residuals"]["unit"] == "pixels"
    far = landmark_file(
        tmp_path / "far.json", {str(row): place + 5000 for row, place in zip(front, pixels, strict=True)}
    )
    assert run(model, far, out=tmp_path / "far", more=camera) == 3
    assert "The camera sees none of the 50 landmarks" in capsys.readouterr().err


def test_landmarks_of_a_scan_bring_it_where_it_is(model, face, linear, scan, tmp_path):
    rows = np.flatnonzero(face[:, 1] > np.median(face[:, 1]))[::40]
    folder = tmp_path / "landmarks"
    folder.mkdir()
    landmark_file(folder / "anna.json", {str(row): (face[row] + [20.0, 10.0, 0.0]) / 10 for row in rows})
    more = ["--unit", "cm", "--landmarks", folder, "--no-pictures"]
    assert run(model, scan, out=tmp_path / "out", more=more) == 0
    found = 10 * Mesh.read(tmp_path / "out" / "anna.ply").vertices
    assert np.linalg.norm(found - face - [20.0, 10.0, 0.0], axis=1).mean() < 6.0


def test_what_cannot_be_fitted_is_told_drawn_and_left_out(model, scan, face, linear, tmp_path, capsys):
    wall = np.stack([*np.meshgrid(np.linspace(-40, 40, 60), np.linspace(-40, 40, 60)), np.zeros((60, 60))], -1)
    Mesh(wall.reshape(-1, 3)).write(tmp_path / "wall.ply")
    assert run(model, tmp_path / "wall.ply", scan, out=tmp_path / "out", more=["--unit", "cm"]) == 3
    assert "wall.ply: The fit failed" in capsys.readouterr().err
    assert (tmp_path / "out" / "refused-wall-residuals.png").is_file()
    assert list(json.loads((tmp_path / "out" / "fit.json").read_text())) == ["anna"]


@pytest.mark.parametrize(
    ("inputs", "more", "said"),
    [
        (["a.ply", "b.json"], [], "fit got landmarks and scan; wanted one or more INPUTs of one kind"),
        (["a.docx"], [], "a.docx is neither a scan"),
        (["a.ply"], ["--focal", "900"], "--focal and --picture-size are for landmarks of a picture"),
        (["a.json"], ["--any-pose"], "--landmarks and --any-pose are for scans"),
        (["a.ply"], ["--template-landmarks", "t.json"], "names the points of --landmarks, which are not given"),
        (["a.ply"], ["--samples", "-1"], "--samples is -1; wanted 0 or more"),
    ],
)
def test_arguments_that_cannot_work_together_are_told(model, inputs, more, said, tmp_path, capsys):
    assert run(model, *inputs, out=tmp_path / "out", more=more) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_landmark_file_is_not_for_several_scans(model, scan, tmp_path, capsys):
    path = landmark_file(tmp_path / "points.json", {"1": [0.0, 0.0, 0.0]})
    assert run(model, scan, scan, out=tmp_path / "out", more=["--landmarks", path]) == 2
    assert not (tmp_path / "out").exists()
    assert "and there are several scans; give a folder of files" in capsys.readouterr().err
