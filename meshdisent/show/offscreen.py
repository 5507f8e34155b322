"""The renderer of pyvista and VTK without a screen, and the question whether it works on this machine.

VTK can crash or hang where OpenGL libraries are missing, and no Python code survives that. So the question is asked in
a process of its own, once, with a time limit.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.show.camera import Camera
from meshdisent.show.shading import BACKGROUND, LIGHTS, Material, vertex_normals

if TYPE_CHECKING:
    from pyvista import Plotter

PROBE_SECONDS = 60.0


@cache
def can_render() -> bool:
    """Say whether VTK draws a triangle on this machine; asked once a process."""
    # The other process finds its modules where this one does, installed or not.
    code = f"import sys; sys.path[:] = {sys.path!r}; from meshdisent.show.offscreen import _probe; _probe()"
    return probe([sys.executable, "-c", code], PROBE_SECONDS)


def probe(command: list[str], seconds: float) -> bool:
    """Say whether a command ends within the time limit, without an error, with the line ``drawn``."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.split()[-1:] == [b"drawn"]


def render_offscreen(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    colors: Float[np.ndarray, "vertex 3"],
    camera: Camera,
    size: tuple[int, int],
    material: Material,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw a mesh with a color at each vertex; one sample a pixel. The caller smooths edges by drawing larger."""
    import pyvista

    mesh = pyvista.PolyData.from_regular_faces(np.asarray(vertices, np.float32), np.asarray(faces))
    mesh.point_data["color"] = np.round(colors * 255).astype(np.uint8)
    mesh.point_data.active_normals = vertex_normals(np.asarray(vertices, np.float64), faces).astype(np.float32)
    plotter = _plotter()
    plotter.window_size = list(size)
    plotter.remove_actor("mesh", render=False)
    plotter.remove_all_lights()
    for light in LIGHTS:
        direction = np.asarray(light.direction) @ camera.rotation
        lamp = pyvista.Light(
            position=tuple(direction), focal_point=(0, 0, 0), color=light.color, light_type="scene light"
        )
        lamp.positional = False
        plotter.add_light(lamp)
    actor = plotter.add_mesh(
        mesh, name="mesh", scalars="color", rgb=True, smooth_shading=False, render=False, reset_camera=False,
        ambient=material.ambient, diffuse=material.diffuse, specular=material.specular,
        specular_power=material.shininess,
    )  # fmt: skip
    actor.prop.interpolation = "Phong"  # smooth, and with our normals; smooth_shading would compute its own
    # An inside is not lit: mouths stay dark, and a sliver that decimation turned over does not show.
    actor.GetShaderProperty().AddFragmentShaderReplacement("gl_FrontFacing == false", False, "false", True)
    plotter.camera.position = tuple(camera.position)
    plotter.camera.focal_point = camera.focal_point
    plotter.camera.up = tuple(camera.rotation[1])
    plotter.camera.view_angle = camera.field_of_view
    plotter.reset_camera_clipping_range()
    plotter.render()  # screenshot alone would give the picture before
    return np.array(plotter.screenshot(return_img=True)[..., :3])


@cache
def _plotter() -> "Plotter":
    """One plotter for all pictures: a new one takes three times as long as a picture."""
    import pyvista

    with _egl():
        plotter = pyvista.Plotter(off_screen=True, lighting="none")
        plotter.background_color = BACKGROUND
        plotter.disable_anti_aliasing()
        plotter.render()
    return plotter


@contextmanager
def _egl() -> Iterator[None]:
    """Make VTK draw through EGL on Linux even where DISPLAY is set: the display may be a closed connection's."""
    name = "VTK_DEFAULT_OPENGL_WINDOW"
    before = os.environ.get(name)
    if sys.platform == "linux" and before is None:
        os.environ[name] = "vtkEGLRenderWindow"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def _probe() -> None:
    """Draw a red triangle, look whether it is there, say so. Runs in its own process."""
    from meshdisent.show.shading import CHART

    vertices = np.array([[-9.0, -9.0, 0.0], [9.0, -9.0, 0.0], [0.0, 9.0, 0.0]])
    colors = np.tile([1.0, 0.0, 0.0], (3, 1))
    camera = Camera(distance=60.0)
    picture = render_offscreen(vertices, np.array([[0, 1, 2]]), colors, camera, (64, 64), CHART)
    red, green, blue = picture[32, 32].astype(int)
    print("drawn" if red > 100 and green + blue < 40 and picture[1, 1].min() > 250 else f"wrong {picture[32, 32]}")
