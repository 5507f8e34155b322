"""The whole way: a raw, noisy scan of another mesh is registered, encoded, neutralized, rigged, seen in a browser."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from meshdisent.cli.main import main
from meshdisent.editing import express, neutralize, sample
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.model_file import load_morphable

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[2] / "docs" / "scripts" / "rig.html"


@pytest.fixture(scope="module")
def person():
    """Someone who does not exist, at rest and with a smile."""
    model = load_morphable("wsdf-ict")
    rest = sample(model, 1, seed=5, expression="neutral", spread=0.7)[0]
    return model, rest, express(model, rest, "mouthSmile_L", strength=0.8)[0]


def raw_scan(face: Mesh) -> Mesh:
    """Another tessellation of a face, with noise of 0.3 mm and a hole in the cheek."""
    finer = trimesh.Trimesh(face.vertices, face.faces, process=False).subdivide()
    random = np.random.default_rng(0)
    vertices = np.asarray(finer.vertices) + random.normal(0, 0.3, finer.vertices.shape)
    order = random.permutation(len(vertices))
    place = np.argsort(order)
    hole = vertices[np.argmin(np.linalg.norm(vertices - [45, -25, 85], axis=1))]
    kept = np.linalg.norm(np.asarray(finer.triangles).mean(axis=1) - hole, axis=1) > 8
    return Mesh(vertices[order], place[np.asarray(finer.faces)[kept]])


def test_a_raw_scan_becomes_a_rig_that_a_browser_moves(person, page, serve, screenshot, gltf_report, tmp_path):
    model, rest, smile = person
    raw_scan(smile).write(tmp_path / "raw.ply")
    registered, rig = tmp_path / "registered", tmp_path / "face.glb"
    assert main(["register", str(tmp_path / "raw.ply"), "--topology", "wsdf-ict", "--prior", "wsdf-ict",
                 "--out", str(registered)]) == 0  # fmt: skip
    scan = Mesh.read(registered / "raw.ply")
    assert np.linalg.norm(scan.vertices - smile.vertices, axis=1).mean() < 1.5
    neutral = neutralize(model, scan)[0]
    assert np.linalg.norm(neutral.vertices - rest.vertices, axis=1).mean() < 2.0
    assert main(["export", "wsdf-ict", str(registered / "raw.ply"), "--out", str(rig), "--targets", "arkit"]) == 0
    assert gltf_report(rig)["issues"]["messages"] == []

    shutil.copy(PAGE, tmp_path)
    page.goto(f"{serve(tmp_path)}/rig.html")
    page.wait_for_function("window.face !== undefined")
    assert len(page.evaluate("face.names")) == 51
    before = screenshot(page.locator("canvas")).astype(int)
    page.evaluate("face.setWeight('jawOpen', 1); face.draw()")
    after = screenshot(page.locator("canvas"))
    Image.fromarray(after).save(tmp_path / "jaw.png")
    face = before[(before < 250).any(axis=2)]
    assert face.mean() > 90  # not black
    changed = np.abs(after - before).max(axis=2) > 24
    assert 0.01 < changed.mean() < 0.4
