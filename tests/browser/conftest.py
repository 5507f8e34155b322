"""A headless browser, a server for what it opens, and the Khronos validator: fixtures of everything marked ``browser``.

``make browser-tools`` brings what pip and npm can; Chromium comes from the system (``apt-get install chromium``).
Where something is missing a test is skipped and says what; with ``MESHDISENT_BROWSER=required``, as the continuous
build sets it, it fails instead.
"""

import functools
import http.server
import importlib
import io
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

HERE = Path(__file__).parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
#: WebGL is drawn in software, and nothing but the page goes over the network.
CHROMIUM_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--force-color-profile=srgb", "--hide-scrollbars",
]  # fmt: skip


def missing(what: str):
    """Skip the test, or fail it where the browser is required."""
    if os.environ.get("MESHDISENT_BROWSER") == "required":
        pytest.fail(f"{what}, and MESHDISENT_BROWSER=required wants it", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def need():
    """``need("viser")`` gives a module; without it the test is skipped, or fails where the browser is required."""

    def find(name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            return missing(f"needs the Python package of {name} (make browser-tools), which is absent")

    return find


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """The folder of three.js and the validator."""
    folder = HERE / "node_modules"
    if not (folder / "three").is_dir() or not (folder / "gltf-validator").is_dir():
        missing("needs tests/browser/node_modules (make browser-tools), which is absent")
    return folder


@pytest.fixture(scope="module")
def chromium(need):
    """One headless Chromium for all tests."""
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if program is None:
        missing(f"needs a browser ({', '.join(CHROMIUM_NAMES)}; Debian: apt-get install chromium), which is absent")
    with need("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong on a page; whatever is left in it fails the test."""
    return []


@pytest.fixture
def page(chromium, complaints):
    """An empty page of 800 x 600 pixels that may ask this machine only; errors of its scripts fail the test."""
    context = chromium.new_context(viewport={"width": 800, "height": 600}, device_scale_factor=1)
    context.set_default_timeout(60_000)  # software WebGL on a busy machine

    def ask(route):
        if route.request.url.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:")):
            return route.continue_()
        complaints.append(f"a request left this machine: {route.request.url}")
        return route.abort()

    context.route("**/*", ask)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(f"{error}"))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    yield page
    context.close()
    assert not [text for text in complaints if "favicon" not in text]


@pytest.fixture
def serve(node_modules):
    """``serve(folder)`` gives the address of a folder on 127.0.0.1; ``node_modules`` lies at its root, too."""
    servers = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            if path.startswith("/node_modules/"):
                return str(HERE / path.partition("?")[0].lstrip("/"))
            return super().translate_path(path)

        def do_GET(self):
            if self.path == "/favicon.ico":
                self.send_response(204)
                return self.end_headers()
            return super().do_GET()

        def log_message(self, *words):
            pass

    def start(folder: Path) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def screenshot():
    """``screenshot(page)``, or of a part of it (a locator), gives (H, W, 3) uint8."""
    from PIL import Image

    def take(shown) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB"))

    return take


@pytest.fixture(scope="module")
def gltf_report(node_modules):
    """``gltf_report(path)`` gives what the Khronos validator says about a GLB."""
    node = shutil.which("node") or missing("needs Node.js (Debian: apt-get install nodejs), which is absent")
    script = (
        "const v = require('gltf-validator'), fs = require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[1])), {maxIssues: 100})"
        ".then(r => console.log(JSON.stringify(r)));"
    )

    def validate(path: Path) -> dict:
        done = subprocess.run([node, "-e", script, str(path)], cwd=HERE, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return validate
