"""The tools of the browser tests themselves: WebGL draws, and nothing leaves the machine."""

import pytest

pytestmark = pytest.mark.browser

PAGE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<script type="importmap">{"imports": {"three": "/node_modules/three/build/three.module.js"}}</script>
<script type="module">
import * as THREE from "three";
const renderer = new THREE.WebGLRenderer({antialias: true, preserveDrawingBuffer: true});
renderer.setSize(400, 300);
document.body.append(renderer.domElement);
const scene = new THREE.Scene(), camera = new THREE.PerspectiveCamera(40, 4 / 3, 0.1, 10);
scene.background = new THREE.Color(1, 1, 1);
scene.add(new THREE.Mesh(new THREE.SphereGeometry(0.5), new THREE.MeshBasicMaterial({color: 0xff0000})));
camera.position.z = 2;
renderer.render(scene, camera);
window.isReady = true;
</script>"""


def test_webgl_draws_a_red_ball_on_white(page, serve, screenshot, tmp_path):
    (tmp_path / "ball.html").write_text(PAGE)
    page.goto(f"{serve(tmp_path)}/ball.html")
    page.wait_for_function("window.isReady === true")
    picture = screenshot(page.locator("canvas"))
    assert picture.shape == (300, 400, 3)
    assert picture[150, 200].tolist() == [255, 0, 0]
    assert picture[5, 5].tolist() == [255, 255, 255]


def test_a_page_that_asks_another_machine_is_cut_off_and_told_on(page, complaints):
    assert page.evaluate("fetch('http://192.0.2.1/').then(() => true, () => false)") is False
    assert complaints[0] == "a request left this machine: http://192.0.2.1/"
    complaints.clear()


def test_an_error_of_a_script_is_told(page, complaints):
    page.evaluate("console.error('a shader that does not compile')")
    assert complaints == ["a shader that does not compile"]
    complaints.clear()
