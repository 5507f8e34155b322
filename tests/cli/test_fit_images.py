"""``fit`` of photographs: folders of meshes, pictures and numbers."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from meshdisent.cli import fit
from meshdisent.cli.fit_images import main
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh

sys.path.insert(0, str(Path(__file__).parents[1] / "fitting"))
from small_photos import picture


@pytest.fixture
def folder(tmp_path):
    """Two photographs of a person with landmarks."""
    for k, yaw in enumerate((12.0, 0.0)):
        photo = picture(yaw=yaw)[0]
        Image.fromarray(photo.pixels).save(tmp_path / f"shot {k}.png")
        places = {name: place.tolist() for name, place in photo.landmarks.items()}
        (tmp_path / f"shot {k}.json").write_text(json.dumps(places))
    return tmp_path


def _main(*arguments):
    return main(["wsdf-ict", *map(str, arguments)])


def test_photographs_of_a_person_become_meshes_pictures_and_numbers(folder, capsys):
    shots = [folder / "shot 0.png", folder / "shot 1.png"]
    out = folder / "out"
    assert _main(*shots, "--landmarks", folder, "--same-subject", "--field-of-view", 14, "--out", out) == 0
    said = capsys.readouterr()
    assert "2 fits" in said.out
    assert "guessed" not in said.err
    report = json.loads((out / "fit.json").read_text())
    assert list(report) == ["shot 0", "shot 1"]
    assert report["shot 0"]["evidence"]["landmark_pixels"] < 2
    assert not report["shot 0"]["camera"]["field_of_view_is_guessed"]
    codes = [json.loads((out / name / "codes.json").read_text()) for name in report]
    assert codes[0]["identity"] == codes[1]["identity"]
    assert codes[0]["expression"] != codes[1]["expression"]
    mesh = Mesh.read(out / "shot 0" / "face.obj")
    assert mesh.vertex_count == 1200
    assert 0.1 < mesh.vertex_attributes["red"].mean() < 0.95
    shown = trimesh.load(out / "shot 0" / "face.glb", force="mesh", process=False)
    np.testing.assert_allclose(shown.vertices * 1000, mesh.vertices, atol=0.01)
    content = (out / "shot 0" / "face.glb").read_bytes()
    assert b'"metallicFactor":0.0' in content
    assert b"COLOR_0" in content
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 600
    for name in ("photo", "fitted", "overlay", "residual", "shape", "turned"):
        assert (out / "shot 1" / f"{name}.png").is_file()


def test_a_wall_is_left_out_with_its_picture_and_the_face_is_kept(folder, capsys):
    v, u = np.mgrid[0:96, 0:96]
    Image.fromarray(np.stack([u, v, u + v], -1).astype(np.uint8)).save(folder / "wall.png")
    out = folder / "out"
    with pytest.raises(DataError, match=r"wall\.png: no face explains it.* The best try: .*out-misfit\.png"):
        _main(folder / "wall.png", "--out", out)
    with Image.open(folder / "out-misfit.png") as best_try:
        assert best_try.size == (5 * 256, 256)
    assert not out.exists()


def test_every_format_of_photographs_is_known_by_its_ending(folder):
    shot = folder / "shot 1.PPM"
    with Image.open(folder / "shot 1.png") as photo:
        photo.save(shot)
    out, points = folder / "out", folder / "shot 1.json"
    options = ["--landmarks", str(points), "--field-of-view", "14", "--out", str(out)]
    assert fit.main(["wsdf-ict", str(shot), *options]) == 0
    assert json.loads((out / "fit.json").read_text())["shot 1"]["evidence"]["landmark_pixels"] < 2


def test_a_detector_gives_the_landmarks(folder, monkeypatch, capsys):
    from meshdisent.data.images import face_detection

    asked = []
    places = {name: np.array(place) for name, place in json.loads((folder / "shot 0.json").read_text()).items()}
    monkeypatch.setattr(face_detection, "largest_face", lambda photo, file, where: asked.append((photo.shape, where)))
    monkeypatch.setattr(face_detection, "named_points", lambda face: places)
    shot, out = folder / "shot 0.png", folder / "out"
    assert _main(shot, "--detector", "face.task", "--field-of-view", 14, "--out", out) == 0
    assert asked == [((128, 128, 3), str(shot))]
    assert "doubtful" not in capsys.readouterr().err
    assert json.loads((out / "fit.json").read_text())["shot 0"]["evidence"]["landmark_pixels"] < 2
    with pytest.raises(UsageError, match="--landmarks and --detector both say where points of the face are"):
        _main(shot, "--detector", "face.task", "--landmarks", folder, "--out", folder / "other")


def test_arguments_that_do_not_go_together_are_refused(folder):
    shots = [folder / "shot 0.png", folder / "shot 1.png"]
    with pytest.raises(UsageError, match=r"is one file, and there are several photographs"):
        _main(*shots, "--landmarks", folder / "shot 0.json", "--out", folder / "out")
    (folder / "shot 1.json").unlink()
    with pytest.raises(DataError, match=r"has 0 files called shot 1; wanted one for shot 1\.png"):
        _main(shots[1], "--landmarks", folder, "--out", folder / "out")
    (folder / "space.json").write_text(json.dumps({"a": [1, 2, 3]}))
    with pytest.raises(DataError, match="holds points in space; wanted two coordinates"):
        _main(shots[0], "--landmarks", folder / "space.json", "--out", folder / "out")
    with pytest.raises(DataError, match="has points of a picture, with two coordinates; wanted points in space"):
        _main(shots[0], "--template-landmarks", folder / "shot 0.json", "--out", folder / "out")
    (folder / "far.json").write_text(json.dumps({"nose": [0, 0, 900]}))
    with pytest.raises(DataError, match=r"far\.json: 'nose' is \d+ mm from the template"):
        _main(shots[0], "--template-landmarks", folder / "far.json", "--out", folder / "out")
    with pytest.raises(DataError, match=r"No photograph could be used\. The first: .*absent"):
        _main(folder / "absent.png", "--out", folder / "out")
    (folder / "full").mkdir()
    (folder / "full" / "x").touch()
    with pytest.raises(UsageError, match="exists already"):
        _main(shots[0], "--out", folder / "full")
