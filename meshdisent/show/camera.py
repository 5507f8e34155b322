"""Where a picture is taken from. One camera serves a whole sheet, so that faces keep their scale.

The world is y up, z towards the viewer; the picture has its origin at the top left, x to the right, y down.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from meshdisent.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A perspective camera that looks at a focal point.

    Attributes
    ----------
    focal_point : The point in the middle of the picture, mm.
    distance : From the camera to the focal point, mm.
    azimuth : Degrees around the y axis; 0 is the front, positive values show the subject's left side (x > 0).
    elevation : Degrees above the horizontal plane.
    field_of_view : Degrees from the lower to the upper edge of the picture. The default is a portrait lens: much
        wider and noses grow.
    """

    focal_point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float = 900.0
    azimuth: float = 0.0
    elevation: float = 0.0
    field_of_view: float = 18.0

    def __post_init__(self) -> None:
        numbers = (*self.focal_point, self.distance, self.azimuth, self.elevation, self.field_of_view)
        if not np.isfinite(numbers).all() or self.distance <= 0 or not 0 < self.field_of_view < 170:
            raise UsageError(
                f"Camera got distance {self.distance}, field_of_view {self.field_of_view}, focal_point "
                f"{self.focal_point}; wanted finite numbers, a distance above 0 mm and a field of view between 0 and "
                "170 degrees. Camera.facing(vertices) makes a camera that fits."
            )

    @classmethod
    def facing(
        cls,
        vertices: Float[np.ndarray, "vertex 3"],
        *,
        size: tuple[int, int] = (480, 560),
        azimuth: float = 0.0,
        elevation: float = 0.0,
        margin: float = 0.06,
    ) -> "Camera":
        """Give the camera that just shows all vertices, with a margin, in a picture of the given size.

        Parameters
        ----------
        vertices : (V, 3) A template, or the vertices of several scans stacked, mm.
        size : Width and height of the pictures to come, pixels.
        azimuth, elevation : Degrees; see the attributes.
        margin : Empty share of the picture at each side.

        Raises
        ------
        UsageError : If there is no finite vertex to look at.

        Examples
        --------
        >>> camera = Camera.facing(np.array([[-70.0, -100.0, 0.0], [70.0, 100.0, 0.0]]))
        >>> camera.focal_point
        (0.0, 0.0, 0.0)
        """
        vertices = np.asarray(vertices, np.float64).reshape(-1, 3)
        vertices = vertices[np.isfinite(vertices).all(1)]
        if not len(vertices):
            raise UsageError("Camera.facing got no finite vertex; wanted at least one. Pass the template's vertices.")
        focal_point = (vertices.min(0) + vertices.max(0)) / 2
        camera = cls(focal_point=_point(focal_point), azimuth=azimuth, elevation=elevation)
        reach = np.tan(np.radians(camera.field_of_view / 2)) * (1 - 2 * margin)
        for _ in range(4):  # a turned or deep head is not centered by its bounding box: shift, fit, repeat
            seen = (vertices - focal_point) @ camera.rotation.T
            distance = _fitting_distance(seen, reach, size[0] / size[1])
            shift = _middle(seen[:, :2] / (distance - seen[:, 2:])) * distance
            focal_point = focal_point + shift @ camera.rotation[:2]
        seen = (vertices - focal_point) @ camera.rotation.T
        distance = _fitting_distance(seen, reach, size[0] / size[1])
        return replace(camera, focal_point=_point(focal_point), distance=float(distance))

    def turned(self, azimuth: float, elevation: float = 0.0) -> "Camera":
        """Give the same camera, moved around its focal point by so many degrees."""
        return replace(self, azimuth=self.azimuth + azimuth, elevation=self.elevation + elevation)

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """Rows: the world directions of right, up and backward (from the focal point to the camera)."""
        azimuth, elevation = np.radians(self.azimuth), np.radians(self.elevation)
        right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
        backward = np.array(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        )
        return np.stack([right, np.cross(backward, right), backward])

    @property
    def position(self) -> Float[np.ndarray, " 3"]:
        """Where the camera stands, mm."""
        return np.asarray(self.focal_point) + self.distance * self.rotation[2]

    def view(self, vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 3"]:
        """Give the vertices in the camera's frame: right, up, backward, mm; what is visible has a negative third."""
        return (np.asarray(vertices, np.float64) - self.position) @ self.rotation.T

    def project(
        self, vertices: Float[np.ndarray, "vertex 3"], size: tuple[int, int]
    ) -> tuple[Float[np.ndarray, "vertex 2"], Float[np.ndarray, " vertex"]]:
        """Give picture positions (pixels, y down) and the distance along the viewing direction (mm).

        Vertices behind the camera have a distance below zero and no sensible position.
        """
        seen = self.view(vertices)
        depth = -seen[:, 2]
        width, height = size
        scale = height / 2 / np.tan(np.radians(self.field_of_view / 2))
        positions = seen[:, :2] * np.array([scale, -scale]) / np.where(depth > 0, depth, 1.0)[:, None]
        return positions + np.array([width / 2, height / 2]), depth

    def rays(
        self, x: Float[np.ndarray, " pixel"], y: Float[np.ndarray, " pixel"], size: tuple[int, int]
    ) -> Float[np.ndarray, "3 pixel"]:
        """Give the directions, in the camera's frame, in which picture positions lie; float32, channels first."""
        width, height = size
        scale = height / 2 / np.tan(np.radians(self.field_of_view / 2))
        return np.stack([(x - width / 2) / scale, (height / 2 - y) / scale, np.full_like(x, -1)]).astype(np.float32)


def _fitting_distance(seen: np.ndarray, reach: float, aspect: float) -> float:
    """Smallest distance from which every point lies within the reach (tangent of half the usable angle)."""
    needed = np.maximum(np.abs(seen[:, 0]) / (reach * aspect), np.abs(seen[:, 1]) / reach) + seen[:, 2]
    return float(max(needed.max(), 1e-3))


def _middle(points: np.ndarray) -> np.ndarray:
    return (points.min(0) + points.max(0)) / 2


def _point(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
