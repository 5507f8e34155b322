"""The viewer's server and pages as a browser meets them: over its socket, without a browser."""

import asyncio
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.errors import MeshdisentError, UsageError
from meshdisent.show.viewer_server import free_port, is_own_page, serving

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def viser():
    return pytest.importorskip("viser", reason="needs viser (pip install 'meshdisent[viewer]'), which is absent")


@contextmanager
def taken():
    """A port that is in use."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        yield other.getsockname()[1]


def test_a_port_in_use_is_left_and_the_next_is_said(capsys):
    with taken() as port:
        found = free_port(HOST, port)
        assert port < found < port + 50
        assert capsys.readouterr().err == f"Port {port} is in use; {found} is taken instead.\n"
        assert free_port(HOST, 0) == 0


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        (HOST, 70000, "--port is 70000"),
        (HOST, -1, "--port is -1"),
        ("no.such.host.invalid", 8080, "No server can be had at no.such.host.invalid"),
        ("192.0.2.1", 8080, "No server can be had at 192.0.2.1"),
    ],
)
def test_a_place_where_no_server_can_be_is_refused(host, port, says):
    with pytest.raises(UsageError, match=says):
        free_port(host, port)


@pytest.mark.parametrize(
    ("origin", "asked", "host", "expected"),
    [
        (None, "127.0.0.1:8080", HOST, True),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", HOST, True),
        ("http://[::1]:9", "x", HOST, True),
        ("null", "127.0.0.1:8080", HOST, False),
        ("http://evil.example:8080", "evil.example:8080", HOST, False),  # a name that was bound to this machine
        ("http://127.0.0.1.evil.example", "127.0.0.1:8080", HOST, False),
        ("http://[", "127.0.0.1:8080", HOST, False),
        ("http://lab:8080", "lab:8080", "0.0.0.0", True),
        ("http://evil.example", "lab:8080", "0.0.0.0", False),
    ],
)
def test_only_pages_of_the_viewer_are_its_own(origin, asked, host, expected):
    assert is_own_page(origin, asked, host) is expected


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(MeshdisentError, match=r'pip install "meshdisent\[viewer\]"'), serving(HOST, 0):
        pass


def messages(port: int, seconds: float, origin: str | None = None) -> tuple[int, int | None]:
    """How many windows of messages a page gets in some time, and the code with which it is sent away."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async def listen():
        got, end = 0, time.monotonic() + seconds
        async with connect(f"ws://{HOST}:{port}", subprotocols=["viser-v1.1.1"], origin=origin, max_size=None) as page:
            try:
                while (left := end - time.monotonic()) > 0:
                    await asyncio.wait_for(page.recv(), left)
                    got += 1
            except TimeoutError:
                pass
            except ConnectionClosed as closed:
                return got, closed.rcvd.code
        return got, None

    return asyncio.run(listen())


def test_a_page_of_another_place_is_sent_away_before_it_sees_anything(viser):
    with serving(HOST, 0) as server:
        port = server.get_port()
        assert messages(port, 3.0, "https://news.example") == (0, 1008)
        got, closed = messages(port, 0.5, f"http://localhost:{port}")
        assert got > 0
        assert closed is None


def test_nothing_but_the_page_is_served_and_nothing_is_shared(viser, capfd):
    with serving(HOST, 0) as server:
        address = f"http://{HOST}:{server.get_port()}"
        assert b"<html" in urllib.request.urlopen(address).read()
        for path in ("/../_viser.py", "/%2e%2e/_viser.py", "/..%5c_viser.py", "//etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + path)
        assert server.request_share_url() is None
    assert "viser" not in capfd.readouterr().out


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


def test_a_dragged_slider_is_drawn_thirty_times_a_second_and_never_queues(viser, scans):
    """Faces of 5,000 vertices; the decoder is timed apart (docs/viewer.md)."""
    from meshdisent.data.synthetic import synthetic_dataset
    from meshdisent.morphable.linear import LinearModel
    from meshdisent.show.viewer import ModelPage

    heads = synthetic_dataset(subjects=4, expressions=("neutral", "smile"), vertex_count=5000)
    with serving(HOST, 0) as server:
        page = ModelPage(server, LinearModel.fit(heads), "linear")
        drawn, draw = [], page._scene.draw
        page._scene.draw = lambda *face: (draw(*face), drawn.append(time.perf_counter()))
        stop = threading.Event()

        def drag():
            value = 0.0
            while not stop.wait(0.002):
                value += 0.001
                page.worker.post("slider", lambda value=value: page.state.move("identity", 0, value))

        hand = threading.Thread(target=drag)
        hand.start()
        got, _ = messages(server.get_port(), 2.0)
        stop.set()
        hand.join()
        page.worker.stop()
        rate = len(drawn) / (drawn[-1] - drawn[0])
        # On a quiet core about 400 faces are drawn and 60 windows sent a second; a busy machine may have a tenth of it.
        assert rate > 30
        assert got > 30


def test_a_click_names_the_vertex_under_it_while_points_are_picked(viser, scans):
    from meshdisent.show.viewer import ModelPage

    with serving(HOST, 0) as server:
        page = ModelPage(server, small_faces.linear(scans), "linear")
        until(lambda: page._code.value)
        page._points._switch(True)
        vertex = int(page.state.vertices()[:, 2].argmax())
        spot = (page.state.vertices()[vertex] - page._scene._center) / 100

        def click(direction):
            event = SimpleNamespace(ray_origin=(spot[0], spot[1], spot[2] + 5), ray_direction=direction)
            asyncio.run_coroutine_threadsafe(page._scene._clicked(event), server.get_event_loop()).result(5)

        click((0.0, 1.0, 0.0))  # past the face
        click((0.0, 0.0, -1.0))
        until(lambda: page._points.picked.vertex_of)
        page._points._switch(False)
        click((0.0, 0.0, -1.0))
        page.worker.stop()
        assert page._points.picked.vertex_of == {"point 1": vertex}


def test_controls_that_the_program_moves_ask_for_nothing(viser, scans):
    from meshdisent.show.viewer import ModelPage

    with serving(HOST, 0) as server:
        page = ModelPage(server, small_faces.linear(scans), "linear", [scans])
        until(lambda: page._code.value)
        before = page.state.to_json()
        page._sliders["identity"][0].value = 2.0
        page._share.value = 0.5
        time.sleep(0.3)
        page.worker.stop()
        assert page.state.to_json() == before


def test_a_picked_scan_is_drawn_and_its_error_measured(viser, scans):
    from meshdisent.show.viewer import ModelPage

    with serving(HOST, 0) as server:
        page = ModelPage(server, small_faces.linear(scans), "linear", [scans])
        page._panel.post("show", lambda: page._show_end(1.0))
        page._against.value = "second scan"
        page._panel.post("error", lambda: page._choose_error("second scan"))
        until(lambda: "Distance" in page._bar.content)
        page.worker.stop()
        place = page._second.place
        scan = page._choices.vertices(place)
        errors = page.state.errors_mm(scan)
        assert f"mean {errors.mean():.2f} mm" in page._bar.content
        np.testing.assert_allclose(page.state.codes.identity, page.state.encode(scan).identity)
        assert page._bar.visible


def test_a_dataset_shows_labels_and_the_way_from_rest(viser, scans):
    from meshdisent.show.viewer_data import DataPage

    with serving(HOST, 0) as server:
        page = DataPage(server, scans)
        page._panel.post("turn", lambda: page._turn(1))
        until(lambda: "smile" in page._labels.content)
        page._colored.value = True
        page._panel.post("color", lambda: None)
        until(lambda: "From rest" in page._bar.content)
        page.worker.stop()
        moved = np.linalg.norm(scans.vertices(np.array([1]))[0] - scans.truth[0], axis=1)
        assert f"mean {moved.mean():.2f} mm" in page._bar.content
        assert page._picker._subject.value == "s00"
        assert page._picker._expression.value == "smile"


def test_a_subject_without_a_known_rest_is_said_to_be_so(viser):
    from meshdisent.show.viewer_data import DataPage

    with serving(HOST, 0) as server:
        page = DataPage(server, small_faces.scans(labels=False, truth=False))
        page._colored.value = True
        page._panel.post("color", lambda: None)
        until(lambda: "is not known" in page._bar.content)
        page.worker.stop()


def test_a_picked_point_is_drawn_named_and_follows_the_face(viser, scans):
    from meshdisent.show.viewer import ModelPage

    with serving(HOST, 0) as server:
        page = ModelPage(server, small_faces.linear(scans), "linear")
        until(lambda: page._code.value)
        page._points._hit(7)
        until(lambda: page._scene._labels)
        before = np.array(page._scene._labels[0].position)
        page._panel.post("move", lambda: page.state.move("identity", 0, 2.0))
        until(lambda: not np.allclose(page._scene._labels[0].position, before))
        page.worker.stop()
        assert page._points.picked.vertex_of == {"point 1": 7}
        assert "vertex 7" in page._points._table.content
        shown = (page.state.vertices()[7] - page._scene._center) / 100
        assert np.linalg.norm(page._scene._labels[0].position - shown) == pytest.approx(0.01, rel=1e-3)  # 1 mm above


def until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
