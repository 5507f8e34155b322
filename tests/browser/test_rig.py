"""Rigs as others see them: the Khronos validator, and three.js in a browser on the page of the documentation."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meshdisent.export.rig import make_rig
from meshdisent.export.rig_glb import write_rig
from meshdisent.export.targets import apple_codes
from meshdisent.export.weights import each_in_turn
from meshdisent.morphable.model_file import load_morphable

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[2] / "docs" / "scripts" / "rig.html"
NAMES = ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page and a rig of the model that comes along."""
    folder = tmp_path_factory.mktemp("rig")
    model = load_morphable("wsdf-ict")
    codes = apple_codes(model)
    rig = make_rig(model, "mean", {name: codes[name] for name in NAMES})
    write_rig(folder / "face.glb", rig, each_in_turn(NAMES))
    shutil.copy(PAGE, folder)
    return folder


@pytest.fixture
def shown(page, serve, folder):
    """The page, with the rig loaded and drawn."""
    page.goto(f"{serve(folder)}/rig.html")
    page.wait_for_function("window.face !== undefined")
    return page


def picture(shown, screenshot, **weights) -> np.ndarray:
    """A picture with some weights, all others at rest."""
    shown.evaluate("face.names.forEach(name => face.setWeight(name, 0))")
    for name, weight in weights.items():
        shown.evaluate("([name, weight]) => face.setWeight(name, weight)", [name, weight])
    shown.evaluate("face.draw()")
    return screenshot(shown.locator("canvas")).astype(int)


def test_the_khronos_validator_has_nothing_to_say(gltf_report, folder):
    report = gltf_report(folder / "face.glb")
    assert report["issues"]["messages"] == []
    assert report["issues"]["numErrors"] == report["issues"]["numWarnings"] == 0
    assert report["info"]["hasMorphTargets"] is True
    assert report["info"]["animationCount"] == 1


def test_a_face_of_skin_stands_on_white(shown, screenshot, tmp_path):
    assert shown.evaluate("face.names") == list(NAMES)
    seen = picture(shown, screenshot)
    Image.fromarray(seen.astype(np.uint8)).save(tmp_path / "face.png")
    assert seen[2, 2].tolist() == [255, 255, 255]
    is_face = (seen < 250).any(axis=2)
    assert 0.1 < is_face.mean() < 0.6
    red, green, blue = seen[is_face].mean(axis=0)
    assert 120 < blue < green < red < 250
    middle = seen[:, seen.shape[1] // 2]  # from the forehead to the neck
    assert (middle.sum(axis=1) > 90).all()  # nothing is black


def test_a_target_moves_its_part_of_the_face_and_left_is_the_persons_own(shown, screenshot):
    rest = picture(shown, screenshot)
    is_face = (rest < 250).any(axis=2)
    top, bottom = np.flatnonzero(is_face.any(axis=1))[[0, -1]]
    left, right = np.flatnonzero(is_face.any(axis=0))[[0, -1]]
    place = {}
    for name in NAMES:
        changed = np.argwhere(np.abs(picture(shown, screenshot, **{name: 1.0}) - rest).max(axis=2) > 24)
        assert len(changed) > 100
        row, column = np.median(changed, axis=0)
        place[name] = (row - top) / (bottom - top), (column - left) / (right - left)
    assert np.array_equal(picture(shown, screenshot), rest)
    assert place["browInnerUp"][0] < 0.4
    assert place["eyeBlinkRight"][0] < 0.45
    assert place["mouthSmileLeft"][0] > 0.45
    assert place["jawOpen"][0] > 0.55
    # In a picture the person's left is on the right.
    assert place["mouthSmileLeft"][1] > place["eyeBlinkRight"][1]


def test_the_animation_plays_each_target_in_turn(shown):
    weights = shown.evaluate(
        """() => {
            document.getElementById("play").click();
            face.mixer.setTime(1.5);
            return face.meshes.map(mesh => [...mesh.morphTargetInfluences]);
        }"""
    )
    assert len(weights) == 2  # skin, and what lies behind its openings
    for own in weights:
        assert own == pytest.approx([0, 1, 0, 0])
