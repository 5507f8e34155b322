import matplotlib
import numpy as np
import pytest

from meshdisent.errors import MeshError, UsageError
from meshdisent.show import offscreen, pictures
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import map_colors, render, renderer, write_png

SIZE = (90, 110)


@pytest.fixture(scope="module")
def pyvista_draws():
    if not offscreen.can_render():
        pytest.skip("needs OpenGL: pyvista cannot draw on this machine")


@pytest.mark.usefixtures("pyvista_draws")
@pytest.mark.parametrize("azimuth", [0.0, 50.0])
@pytest.mark.parametrize("is_chart", [False, True])
def test_both_renderers_draw_the_same_picture(head, azimuth, is_chart):
    vertices, faces = head
    camera = Camera.facing(vertices, size=(240, 280), azimuth=azimuth, elevation=10.0)
    values = vertices[:, 1] if is_chart else None
    first, second = (
        render(vertices, faces, size=(240, 280), camera=camera, values=values, backend=backend).astype(int)
        for backend in ("pyvista", "software")
    )
    difference = np.abs(first - second)
    assert difference.mean() < 0.5  # gray levels of 255; measured 0.15
    assert (difference.max(-1) > 12).mean() < 0.002  # single pixels at outlines


@pytest.mark.usefixtures("pyvista_draws")
def test_both_renderers_agree_on_an_open_mesh_seen_from_inside(head):
    vertices, faces = head
    faces = faces[vertices[faces][..., 2].mean(1) < 0]  # the back half: its inner side faces the camera
    first, second = (render(vertices, faces, size=SIZE, backend=name).astype(int) for name in ("pyvista", "software"))
    assert np.abs(first - second).mean() < 0.5
    assert first[55, 45].max() < 100  # an inside is dark


@pytest.mark.usefixtures("pyvista_draws")
def test_a_second_picture_is_not_the_first_one_again(head):
    vertices, faces = head
    camera = Camera.facing(vertices, size=SIZE)
    first = render(vertices, faces, size=SIZE, camera=camera, backend="pyvista")
    second = render(vertices * 0.5, faces, size=SIZE, camera=camera, backend="pyvista")
    third = render(vertices, faces, size=(50, 40), backend="pyvista")
    assert (first < 250).sum() > 3 * (second < 250).sum()
    assert third.shape == (40, 50, 3)
    assert (render(vertices, faces, size=SIZE, camera=camera, backend="pyvista") == first).all()


def test_the_size_is_width_and_height_and_corners_are_white(head):
    picture = render(*head, size=SIZE, backend="software")
    assert picture.shape == (110, 90, 3)
    assert picture.dtype == np.uint8
    assert (picture[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert picture[55, 45].min() > 100


def test_the_same_camera_keeps_the_scale(head):
    vertices, faces = head
    camera = Camera.facing(vertices, size=SIZE)
    widths = [
        np.ptp(np.nonzero((render(v, faces, size=SIZE, camera=camera, backend="software") < 255).any((0, 2)))[0])
        for v in (vertices, vertices * 0.5)
    ]
    assert widths[1] / widths[0] == pytest.approx(0.5, abs=0.06)


def test_vertices_of_no_face_do_not_move_the_default_camera(head):
    vertices, faces = head
    far = np.concatenate([vertices, [[0.0, 9000.0, 0.0]]])
    picture = render(far, faces, size=SIZE, backend="software")
    assert (picture == render(vertices, faces, size=SIZE, backend="software")).all()


def test_values_take_the_colors_of_the_map_between_the_limits():
    square = np.array([[-40.0, -40, 0], [40, -40, 0], [40, 40, 0], [-40, 40, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    for value, share in ((2.0, 0.0), (3.0, 0.5), (4.0, 1.0), (1.0, 0.0), (9.0, 1.0)):
        picture = render(
            square, faces, size=(20, 20), values=np.full(4, value), limits=(2.0, 4.0), colormap="viridis",
            backend="software",
        )  # fmt: skip
        wanted = np.array(matplotlib.colormaps["viridis"](share)[:3]) * 255
        np.testing.assert_allclose(picture[10, 10], wanted, atol=5)  # the light of charts changes colors by 2 %


def test_map_colors_gives_the_ends_of_the_map_at_the_limits():
    ends = map_colors(np.array([-1.0, 0.0, 2.0, 5.0]), (0.0, 2.0), "magma")
    magma = matplotlib.colormaps["magma"]
    np.testing.assert_allclose(ends, [magma(0.0)[:3], magma(0.0)[:3], magma(1.0)[:3], magma(1.0)[:3]])
    np.testing.assert_allclose(map_colors(np.array([3.0]), (3.0, 3.0), "magma"), [magma(0.0)[:3]])


def test_bad_meshes_are_refused_with_a_reason(head):
    vertices, faces = head
    with pytest.raises(MeshError, match="0 faces; wanted at least one face"):
        render(vertices, faces[:0])
    hole = vertices.copy()
    hole[[5, 9], 1] = np.nan
    with pytest.raises(MeshError, match=r"2 vertices with NaN.*first is vertex 5.*finite millimeters.*inspect"):
        render(hole, faces)
    with pytest.raises(MeshError, match=r"vertices 0 to \d+ of 100; wanted 0 to 99.*different topologies"):
        render(vertices[:100], faces)


def test_bad_values_and_names_are_refused_with_a_reason(head):
    vertices, faces = head
    count = len(vertices)
    with pytest.raises(UsageError, match=rf"shape \(7,\) for {count} vertices; wanted \({count},\).*one number"):
        render(vertices, faces, values=np.zeros(7))
    with pytest.raises(UsageError, match="1 values that are NaN or infinite, the first at vertex 0"):
        render(vertices, faces, values=np.where(np.arange(count) == 0, np.inf, 1.0))
    with pytest.raises(UsageError, match=r"colormap 'jot' is unknown.*viridis"):
        render(vertices, faces, values=np.zeros(count), colormap="jot")
    with pytest.raises(UsageError, match="lower one first"):
        render(vertices, faces, values=np.zeros(count), limits=(2.0, 1.0))
    with pytest.raises(UsageError, match="size is"):
        render(vertices, faces, size=(0, 10))


@pytest.fixture
def fresh_choice(monkeypatch):
    """No renderer chosen yet, and no message said."""
    monkeypatch.delenv(pictures.RENDERER_VARIABLE, raising=False)
    monkeypatch.setattr(pictures, "_SAID", set())
    return monkeypatch


def test_a_machine_without_opengl_gets_the_software_renderer_and_is_told_once(fresh_choice, capsys, head):
    fresh_choice.setattr(offscreen, "can_render", lambda: False)
    first = render(*head, size=SIZE)
    second = render(*head, size=SIZE)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("software renderer") == 1
    assert "MESHDISENT_RENDERER=software" in said.err
    assert (first == second).all()
    assert (first == render(*head, size=SIZE, backend="software")).all()


def test_a_machine_with_opengl_gets_pyvista_and_no_message(fresh_choice, capsys):
    fresh_choice.setattr(offscreen, "can_render", lambda: True)
    assert renderer() == "pyvista"
    assert capsys.readouterr().err == ""


def test_the_variable_decides_without_asking_the_machine(fresh_choice, capsys):
    fresh_choice.setattr(offscreen, "can_render", lambda: pytest.fail("was asked"))
    fresh_choice.setenv("MESHDISENT_RENDERER", "software")
    assert renderer() == "software"
    assert renderer("pyvista") == "pyvista"  # an argument is stronger
    assert capsys.readouterr().err == ""


def test_an_unknown_renderer_is_named_with_the_known_ones(fresh_choice):
    with pytest.raises(UsageError, match="backend is 'opengl'; wanted one of auto, pyvista, software"):
        renderer("opengl")
    fresh_choice.setenv("MESHDISENT_RENDERER", "vtk")
    with pytest.raises(UsageError, match="MESHDISENT_RENDERER is 'vtk'"):
        renderer()


def test_png_files_keep_every_pixel_and_are_not_overwritten(tmp_path, noise):
    from PIL import Image

    picture = noise.integers(0, 256, (20, 30, 3)).astype(np.uint8)
    path = tmp_path / "new folder" / "a.png"
    write_png(path, picture)
    assert (np.asarray(Image.open(path)) == picture).all()
    with pytest.raises(UsageError, match="exists already"):
        write_png(path, picture)
    write_png(path, picture[::-1].copy(), overwrite=True)
    assert (np.asarray(Image.open(path)) == picture[::-1]).all()
