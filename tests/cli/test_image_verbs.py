"""``render``, ``prepare-images`` and ``image``: from nothing to a mesh of a face."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from meshdisent.cli.main import main
from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.mesh.mesh import Mesh

sys.path.insert(0, str(Path(__file__).parents[1] / "latentface"))
sys.path.insert(0, str(Path(__file__).parents[1] / "data" / "images"))
import fake_landmarker
from tiny_faces import tiny_config, tiny_images, tiny_recipe

from meshdisent.training.loop import run_recipe

pytest.importorskip("diffusers", reason="needs the extra image (diffusers)")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "run"
    run_recipe(tiny_recipe(), tiny_images(), path, progress=False)
    return path


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "Zoë 1.png")
    return tmp_path / "Zoë 1.png"


def test_rendered_faces_are_trained_on_and_looked_at(tmp_path, capsys):
    faces = tmp_path / "images.h5"
    small = ["--people", "3", "--sequences", "1", "--frames", "2", "--size", "32"]
    assert main(["render", "--out", str(faces), *small]) == 0
    assert "6 pictures of 3 people (4 train, 2 test), 32 pixels" in capsys.readouterr().out
    assert main(["render", "--out", str(faces), *small]) == 2
    recipe = tmp_path / "tiny.yaml"
    import yaml

    recipe.write_text(yaml.safe_dump(tiny_recipe().plain()))
    arguments = ["train", str(recipe), "--data", str(faces), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--dry-run"]) == 0
    assert "4 train, 2 test pictures" in capsys.readouterr().out
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "latentface, 8 steps" in out
    assert f"next: meshdisent image {tmp_path / 'run'}" in out
    assert (tmp_path / "run" / "curves.png").is_file()


def test_a_photograph_becomes_pictures_numbers_and_a_mesh(model, photo, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["image", str(model), str(photo), "--out", str(out), "--box", "10", "5", "60", "55"]) == 0
    folder = out / "Zoë 1"
    names = {file.name for file in folder.iterdir()}
    wanted = {"photo.png", "depth.png", "albedo.png", "normals.png", "frontal.png", "identity.png", "sheet.png"}
    assert wanted | {"face.obj", "face.mtl", "face.png", "face.glb", "face.json"} <= names
    mesh = Mesh.read(folder / "face.obj")
    assert mesh.vertex_count == 28 * 28  # two pixels of border are left out on each side
    assert np.ptp(mesh.vertices[:, 0]) == pytest.approx(152, abs=25)  # mm: 28 of 32 pixels of 175 mm
    normals = np.cross(*(mesh.vertices[mesh.faces[:, k]] - mesh.vertices[mesh.faces[:, 0]] for k in (1, 2)))
    assert (normals[:, 2] > 0).mean() > 0.95  # it looks at the viewer
    glb = trimesh.load(folder / "face.glb", force="mesh", process=False)
    assert np.allclose(glb.vertices, mesh.vertices / 1000, atol=1e-6)
    numbers = json.loads((folder / "face.json").read_text())
    assert len(numbers["codes"]["texture_identity"]) == 8
    assert abs(np.linalg.norm(numbers["light"]["direction"]) - 1) < 1e-5
    capsys.readouterr()


def test_without_a_box_the_picture_is_the_face_and_that_is_said(model, photo, tmp_path, capsys):
    assert main(["image", str(model), str(photo), "--out", str(tmp_path / "out")]) == 0
    assert "each picture is taken as the face itself" in capsys.readouterr().err


def test_what_cannot_be_used_is_named_and_the_others_are_written(model, photo, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["image", str(model), str(photo), str(broken), "--out", str(out)]) == 3
    said = capsys.readouterr()
    assert "left out:" in said.err
    assert "broken.jpg" in said.err
    assert [file.name for file in out.iterdir()] == ["Zoë 1"]
    assert main(["image", str(model), str(broken), "--out", str(tmp_path / "none")]) == 3
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (("0", "0", "9", "9"), "the face is 9 x 9 pixels"),
        (("100", "0", "140", "40"), "lies outside the image"),
    ],
)
def test_a_box_that_cannot_be_is_refused(model, photo, tmp_path, capsys, box, message):
    assert main(["image", str(model), str(photo), "--out", str(tmp_path / "out"), "--box", *box]) == 3
    assert message in capsys.readouterr().err


def test_wrong_models_and_detectors_are_told(model, photo, tmp_path, capsys):
    assert main(["image", "wsdf-ict", str(photo), "--out", str(tmp_path / "out")]) == 3
    assert "is a WSDF, a model of scans; wanted a LatentFace" in capsys.readouterr().err
    assert main(["sample", str(model), "--out", str(tmp_path / "out")]) == 3
    assert "a model of pictures; wanted a morphable model" in capsys.readouterr().err
    arguments = ["image", str(model), str(photo), "--out", str(tmp_path / "out"), "--detector", "task"]
    assert main([*arguments, "--box", "1", "1", "40", "40"]) == 2
    assert "give one of them" in capsys.readouterr().err
    assert main(["image", str(model), "--out", str(tmp_path / "out")]) == 2
    assert "No photograph is named" in capsys.readouterr().err


def test_a_detector_cuts_the_face_out(model, tmp_path, monkeypatch):
    file = fake_landmarker.install(monkeypatch, tmp_path)
    pixels = np.zeros((120, 160, 3), np.uint8)
    pixels[40:100, 70:130] = 255
    Image.fromarray(pixels).save(tmp_path / "small.png")
    arguments = ["image", str(model), str(tmp_path / "small.png"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--detector", str(file)]) == 0
    with Image.open(tmp_path / "out" / "small" / "photo.png") as photo:
        bright = np.asarray(photo)[..., 0] > 127
    assert bright[16, 16]
    assert not bright[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert bright.mean() == pytest.approx(1 / 1.21**2, abs=0.06)


def test_a_model_without_stage_two_shows_no_identity(photo, tmp_path):
    images = tiny_images()
    run_recipe(tiny_recipe(tiny_config("none")), images, tmp_path / "run", progress=False)
    assert main(["image", str(tmp_path / "run"), str(photo), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "Zoë 1" / "identity.png").exists()
    assert "codes" not in json.loads((tmp_path / "out" / "Zoë 1" / "face.json").read_text())


def test_photographs_are_prepared(photo, tmp_path, capsys):
    raw = tmp_path / "raw" / "zoë"
    raw.mkdir(parents=True)
    photo.rename(raw / "1.png")
    (raw / "2.jpg").write_bytes(b"no picture")
    out = tmp_path / "images.h5"
    assert main(["prepare-images", "folder", str(tmp_path / "raw"), "--out", str(out), "--size", "16"]) == 0
    said = capsys.readouterr().out
    assert "1 images of 1 subjects" in said
    assert "rejected: 1 images" in said
    assert ImageDataset.open(out).pixels().shape == (1, 16, 16, 3)
    assert main(["prepare-images", "celebb", str(tmp_path / "raw"), "--out", str(tmp_path / "x.h5")]) == 2
    assert "celeba" in capsys.readouterr().err


def test_a_face_in_a_photograph_becomes_a_scan_of_a_topology(model, photo, tmp_path, capsys, monkeypatch):
    """The depth is that of a synthetic head, which a network of this size has not learned."""
    from dataclasses import replace

    import torch

    from meshdisent.data.synthetic import SyntheticHead
    from meshdisent.latentface import face_views
    from meshdisent.render.camera import Camera
    from meshdisent.render.heads import in_camera_frame
    from meshdisent.render.rasterizer import rasterize

    head = SyntheticHead(1200)
    someone = head.neutral(0.5 * np.random.default_rng(3).standard_normal(head.identity_size))
    seen = rasterize(
        in_camera_frame(torch.from_numpy(someone[None])),
        torch.from_numpy(head.topology.faces),
        Camera.of_field_of_view(32),
    )
    depth = torch.where(seen.is_seen, seen.depth, 1.1)
    look = face_views.look
    monkeypatch.setattr(face_views, "look", lambda *a, **k: replace(look(*a, **k), depth=depth.float()))
    template = tmp_path / "template.ply"
    Mesh(head.topology.template, head.topology.faces).write(template)
    command = ["image", str(model), str(photo), "--topology", str(template)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "scan.ply" in capsys.readouterr().out
    scan = Mesh.read(tmp_path / "out" / "Zoë 1" / "scan.ply")
    assert np.array_equal(scan.faces, head.topology.faces)
    front = head.topology.template[:, 2] > head.topology.template[:, 2].mean()
    assert np.linalg.norm(scan.vertices - someone, axis=1)[front].mean() < 4.0
    assert json.loads((tmp_path / "out" / "Zoë 1" / "scan.json").read_text())["residual_mm"]["median"] < 1.0
    depth[:] = 1.0 + 0.1 * torch.rand(depth.shape)
    assert main([*command, "--out", str(tmp_path / "noise")]) == 3
    assert "no scan.ply" in capsys.readouterr().err
    assert not (tmp_path / "noise" / "Zoë 1" / "scan.ply").exists()
    assert main(["image", str(model), str(photo), "--prior", "wsdf-ict", "--out", str(tmp_path / "x")]) == 2
    assert main([*command, "--prior", "wsdf-ict", "--out", str(tmp_path / "x")]) == 3
    assert "topology" in capsys.readouterr().err
