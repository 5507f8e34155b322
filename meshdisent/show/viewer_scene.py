"""The face in the browser: skin, eyes, colors, points, camera and light. Written against viser's scene.

The page measures in decimeters from the middle of the face, because lights and clipping planes of the browser are made
for scenes of about that size; y is up and the face looks along z, as in files.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.openings import DARK, IRIS, WHITE, eye_in_parts, find_openings, mouth_behind
from meshdisent.mesh.topology import Topology
from meshdisent.show.colored_glb import colored_glb
from meshdisent.show.viewer_pick import hit_vertex

if TYPE_CHECKING:
    import viser

    from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.openings import Painted

_PER_MM = 0.01
#: Warmer than on paper, where the light has no color of a sky.
_SKIN = (0.94, 0.755, 0.655)
#: Vertical field of view, radians: that of a portrait lens.
_VIEW = 0.45
#: Direction from the face to the lamp, color, strength: a warm key from the upper left, a cool fill, light from below.
_LAMPS = (
    ("key", (-0.5, 0.6, 0.9), (255, 244, 232), 2.2),
    ("fill", (0.9, 0.15, 0.6), (225, 235, 255), 0.55),
    ("bounce", (0.0, -0.7, 0.6), (255, 240, 230), 0.25),
    ("behind", (0.3, 0.5, -1.0), (255, 255, 255), 0.6),
)
_POINT = (214, 40, 57)
#: How far points are drawn above the skin, so that no triangle cuts them.
_LIFT_MM = 1.0


class FaceScene:
    """One face of a topology, shown to every browser that looks at the server.

    Parameters
    ----------
    server : Of viser.
    topology : Of all faces that will be drawn.
    middle : (V, 3) A usual face, mm: it says where the camera stands and where eyes and mouth are.
    """

    def __init__(self, server: "viser.ViserServer", topology: Topology, middle: Float[np.ndarray, "vertex 3"]):
        self._server, self._faces = server, topology.faces
        self._rims = find_openings(middle, topology.faces)
        low, high = middle.min(axis=0), middle.max(axis=0)
        self._center = (low + high) / 2
        self._vertices = middle
        self._pick: Callable[[int], None] | None = None
        self._colored: list[viser.GlbHandle] = []
        self._newest = 0
        self._labels: list[viser.LabelHandle] = []
        self._light()
        self._stand(*((high - low) * _PER_MM).tolist())
        self._skin = self._part("skin", middle, topology.faces, _SKIN, "double")
        self._behind = {
            name: self._part(name, points, faces, color, "front")
            for name, (points, faces, color) in self._behind_openings(middle).items()
        }

    def draw(self, vertices: Float[np.ndarray, "vertex 3"], colors: Float[np.ndarray, "vertex 3"] | None) -> None:
        """Show a face in mm, in skin color or with a color (sRGB, 0 to 1) at each vertex."""
        self._vertices = vertices
        with self._server.atomic():
            for name, (points, _, _) in self._behind_openings(vertices).items():
                self._behind[name].vertices = self._placed(points)
            self._skin.visible = colors is None
            if colors is None:
                self._skin.vertices = self._placed(vertices)
                for one in self._colored:
                    one.visible = False
            else:
                self._paint(vertices, colors)

    def settle(self) -> None:
        """Take away what was only there until the newest colors had arrived."""
        for number, one in enumerate(self._colored):
            one.visible = one.visible and number == self._newest

    def mark(self, vertex_of: Mapping[str, int]) -> None:
        """Show named vertices of the face."""
        rows = np.array(list(vertex_of.values()), dtype=np.int64)
        normals = vertex_normals(self._vertices, self._faces)[rows]
        placed = self._placed(self._vertices[rows] + _LIFT_MM * normals)
        with self._server.atomic():
            while len(self._labels) > len(placed):
                self._labels.pop().remove()
            for number, (name, place) in enumerate(zip(vertex_of, placed, strict=True)):
                if number == len(self._labels):
                    path = f"/points/{number}"
                    label = self._server.scene.add_label(path, name, font_screen_scale=0.8, anchor="bottom-left")
                    self._labels.append(label)
                self._labels[number].text, self._labels[number].position = name, place
            colors = np.tile(np.array(_POINT, np.uint8), (len(placed), 1))
            self._server.scene.add_point_cloud(
                "/dots", placed, colors, point_size=0.035, point_shape="circle", visible=len(placed) > 0
            )

    def pick(self, found: Callable[[int], None] | None) -> None:
        """Call ``found`` with the vertex next to each click on the face from now on; None ends that."""
        # Clicks on the scene: those on a node come with a yellow outline of it.
        if self._pick is None and found is not None:
            self._server.scene.on_click()(self._clicked)
        if self._pick is not None and found is None:
            self._server.scene.remove_click_callback(self._clicked)
        self._pick = found

    async def _clicked(self, event: "viser.SceneClickEvent") -> None:
        origin = np.array(event.ray_origin) / _PER_MM + self._center
        vertex = hit_vertex(self._vertices, self._faces, origin, np.array(event.ray_direction))
        if vertex is not None and self._pick is not None:
            self._pick(vertex)

    def _paint(self, vertices: np.ndarray, colors: np.ndarray) -> None:
        """Show colors in one of two nodes in turn: a browser drops a node's old colors before it has the new ones."""
        data = colored_glb(self._placed(vertices), self._faces, colors)
        self._newest = 1 - self._newest if self._colored else 0
        if len(self._colored) <= self._newest:
            handle = self._server.scene.add_glb(
                f"/colored/{self._newest}", data, cast_shadow=False, receive_shadow=False
            )
            self._colored.append(handle)
        else:
            self._colored[self._newest].glb_data = data
            self._colored[self._newest].visible = True

    def _behind_openings(
        self, vertices: np.ndarray
    ) -> dict[str, tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
        """What lies behind eyelids and lips: points, faces, color."""
        if self._rims is None:
            return {}
        left, right = (eye_in_parts(vertices[rim]) for rim in self._rims[:2])
        mouth = mouth_behind(vertices[self._rims.mouth])
        return {
            "whites": (*_together(left.white, right.white), WHITE),
            "irises": (*_together(left.iris, right.iris), IRIS),
            "mouth": (mouth.vertices, mouth.faces, DARK),
        }

    def _part(
        self, name: str, points: np.ndarray, faces: np.ndarray, color: tuple[float, float, float], side: str
    ) -> "viser.MeshHandle":
        return self._server.scene.add_mesh_simple(
            f"/{name}",
            self._placed(points),
            faces,
            color=color,
            side="double" if side == "double" else "front",
            cast_shadow=False,
            receive_shadow=False,
        )

    def _placed(self, points: np.ndarray) -> Float[np.ndarray, "point 3"]:
        return ((points - self._center) * _PER_MM).astype(np.float32)

    def _stand(self, width: float, height: float, depth: float) -> None:
        """Put the camera in front of the face, a little to the side, where a nose has a shape."""
        self._server.scene.set_up_direction("+y")
        away = depth / 2 + 1.2 * max(height, width) / 2 / np.tan(_VIEW / 2)
        camera = self._server.initial_camera
        camera.position = (0.2 * away, 0.04 * away, 0.98 * away)
        camera.look_at = (0.0, 0.0, 0.0)
        camera.fov = _VIEW

    def _light(self) -> None:
        scene = self._server.scene
        scene.configure_default_lights(enabled=False)
        scene.configure_environment_map(hdri=None)
        scene.add_light_ambient("/lamps/ambient", intensity=0.85)
        for name, direction, color, strength in _LAMPS:
            place = tuple(10.0 * x for x in direction)
            scene.add_light_directional(f"/lamps/{name}", color=color, intensity=strength, position=place)


def _together(one: "Painted", other: "Painted") -> tuple[Float[np.ndarray, "point 3"], Int[np.ndarray, "face 3"]]:
    return np.concatenate([one.vertices, other.vertices]), np.concatenate([one.faces, other.faces + len(one.vertices)])
