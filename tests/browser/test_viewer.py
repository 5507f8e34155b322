"""The viewer in a real browser: controls move the face, and the picture says so."""

import json
import time

import numpy as np
import pytest

from meshdisent import load
from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.mesh.landmark_files import read_landmark_file
from meshdisent.show.viewer import ModelPage
from meshdisent.show.viewer_data import DataPage
from meshdisent.show.viewer_server import serving

pytestmark = pytest.mark.browser

#: Mean difference of two pictures of the same face, 0 to 255; changes that are asked for are ten times as big.
STILL = 0.02


@pytest.fixture(scope="module")
def people():
    return synthetic_dataset(subjects=3, expressions=("neutral", "smile", "mouth_stretch"), vertex_count=1200)


@pytest.fixture
def look(page, screenshot, need):
    """``look(make_page)`` opens what is served, 1280 x 800, and gives a function that takes a picture of the face."""
    need("viser")
    opened = []

    def open_page(make):
        context = serving("127.0.0.1", 0)
        server = context.__enter__()
        made = make(server)
        opened.append((context, made.worker))
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{server.get_port()}/?fixedDpr=0.5")
        page.get_by_text("meshdisent", exact=True).wait_for()
        page.wait_for_selector("canvas")

        def picture():
            """The canvas, once two pictures in a row are equal."""
            before = None
            for _ in range(60):
                now = screenshot(page.locator("canvas").first).astype(float)[160:, :900]
                if before is not None and np.abs(now - before).mean() < STILL / 4 and now.std() > 5:
                    return now
                before = now
                time.sleep(0.3)
            raise AssertionError("the picture did not come to rest")

        return made, picture

    yield open_page
    for context, worker in opened:
        worker.stop()
        context.__exit__(None, None, None)


def control(page, label: str):
    """The input that stands beside a label."""
    return page.locator(f"xpath=//label[normalize-space()='{label}']/following::input[1]")


def drag(page, label: str, pixels: int) -> None:
    """Drag the thumb of a slider."""
    thumb = page.locator(f"xpath=//label[normalize-space()='{label}']/following::*[@role='slider'][1]")
    box = thumb.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + pixels, y, steps=12)
    page.mouse.up()


def until(condition, seconds: float = 60.0) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def change(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).mean())


def test_a_dragged_slider_moves_the_face_and_reset_moves_it_back(page, look):
    shown, picture = look(lambda server: ModelPage(server, load("wsdf-ict"), "wsdf-ict"))
    mean = picture()
    drag(page, "identity 1", 50)
    until(lambda: shown.state.sliders("identity")[0] > 1)
    wide = picture()
    assert change(mean, wide) > 10 * STILL
    assert shown.state.is_at_rest
    page.get_by_role("button", name="expression").click()
    until(lambda: not shown.state.is_at_rest)
    assert change(picture(), wide) > 10 * STILL
    page.get_by_role("button", name="neutralize").click()
    until(lambda: shown.state.is_at_rest)
    assert change(picture(), wide) < STILL
    page.get_by_role("button", name="reset").click()
    until(lambda: not shown.state.sliders("identity").any().item() or abs(shown.state.sliders("identity")[0]) < 1e-3)
    assert change(picture(), mean) < STILL
    assert float(control(page, "identity 1").input_value()) == 0


def test_shapes_codes_meshes_and_points_come_out_of_the_page(page, look, tmp_path):
    shown, picture = look(lambda server: ModelPage(server, load("wsdf-ict"), "wsdf-ict"))
    mean = picture()
    page.get_by_role("tab", name="Shapes").click()
    control(page, "shape").click()
    page.get_by_role("option", name="jawOpen").click()
    until(lambda: page.get_by_text("No shape is on.").count() == 1)
    drag(page, "strength", 60)
    until(lambda: shown.state.strengths.get("jawOpen", 0) > 0.3)
    assert change(picture(), mean) > 10 * STILL

    page.get_by_role("tab", name="Files").click()
    with page.expect_download() as code:
        page.get_by_role("button", name="Save code (.json)").click()
    saved = json.loads(code.value.path().read_text())
    assert saved["expression"] == [float(str(x)) for x in shown.state.codes.expression[0].numpy()]
    page.get_by_role("button", name="reset").click()
    until(lambda: shown.state.is_at_rest)
    page.locator("input[type=file]").set_input_files(code.value.path())
    until(lambda: not shown.state.is_at_rest)
    assert shown.state.to_json() == json.dumps(saved)

    page.get_by_role("tab", name="Points").click()
    page.get_by_role("checkbox").last.check(force=True)
    time.sleep(0.5)
    page.mouse.click(470, 360)
    page.get_by_text("point 1", exact=True).wait_for()
    with page.expect_download() as landmarks:
        page.get_by_role("button", name="Save landmarks").click()
    landmarks.value.save_as(tmp_path / "landmarks.json")
    point = read_landmark_file(tmp_path / "landmarks.json")["point 1"]
    assert np.abs(shown.state.vertices() - point).max(axis=1).min() < 1e-3
    assert point[2] > shown.state.vertices()[:, 2].mean()  # of the front of the face


def test_scans_are_blended_and_their_errors_colored(page, look, people):
    from meshdisent import LinearModel

    model = LinearModel.fit(people)
    shown, picture = look(lambda server: ModelPage(server, model, "linear", [people]))
    page.get_by_role("tab", name="Scans").click()
    page.get_by_role("button", name="first scan").click()
    until(lambda: not shown.state.is_at_rest)
    first = picture()
    page.get_by_role("button", name="second scan").click()
    second = picture()
    assert change(first, second) > 10 * STILL
    control(page, "error to").click()
    page.get_by_role("option", name="first scan").click()
    page.get_by_text("Distance, mean").wait_for()
    colored = picture()
    assert np.abs(colored - first).mean(axis=(0, 1)).max() > 5  # skin has become a map
    assert colored[..., 2].min() < first[..., 2].min() + 60


def test_a_dataset_is_paged_through_by_scan(page, look, people):
    shown, picture = look(lambda server: DataPage(server, people))
    neutral = picture()
    page.get_by_role("button", name="next").click()
    until(lambda: shown._picker.place.expression != "neutral")
    until(lambda: control(page, "expression").input_value() == shown._picker.place.expression)
    assert change(picture(), neutral) > 10 * STILL
    page.get_by_role("button", name="previous").click()
    until(lambda: shown._picker.place.expression == "neutral")
    assert change(picture(), neutral) < STILL
