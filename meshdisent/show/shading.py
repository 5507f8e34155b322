"""The look of every picture: one material and three lights, the same numbers in both renderers.

The model is the plain one of graphics hardware: color times (ambient + sum of lights times the cosine to the smooth
normal), plus a faint, wide highlight. Lights are fixed to the camera, so a turned face is lit like a frontal one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SKIN = (0.93, 0.80, 0.725)
CLAY = (0.80, 0.84, 0.89)
BACKGROUND = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A directional light: the direction from the scene to the lamp in the camera's frame, and its color."""

    direction: tuple[float, float, float]
    color: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Material:
    """How strongly a surface answers to light; ``shininess`` is the exponent of the highlight."""

    ambient: float
    diffuse: float
    specular: float
    shininess: float


# A warm key from the upper left of the picture, a cool fill from the right, and a weak bounce from below that keeps
# chin and neck readable on white paper.
LIGHTS = (
    Light(direction=(-0.5, 0.6, 0.8), color=(0.66, 0.63, 0.60)),
    Light(direction=(0.9, 0.1, 0.5), color=(0.19, 0.20, 0.22)),
    Light(direction=(0.0, -0.6, 0.6), color=(0.08, 0.08, 0.08)),
)
MATTE = Material(ambient=0.30, diffuse=1.0, specular=0.06, shininess=14.0)
# Colors that carry numbers must be found again in the color bar: more ambient light, no highlight.
CHART = Material(ambient=0.62, diffuse=0.62, specular=0.0, shininess=12.0)


def vertex_normals(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "vertex 3"]:
    """Give unit normals, the mean of the adjacent faces' weighted by area; zero for a vertex of no face."""
    corners = vertices[faces]  # (F, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    at = faces.ravel()
    total = np.stack([np.bincount(at, np.repeat(normals[:, k], 3), len(vertices)) for k in range(3)], axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(length > 0, length, 1.0)


def shade(
    normals: Float[np.ndarray, "3 point"],
    rays: Float[np.ndarray, "3 point"],
    colors: Float[np.ndarray, "3 paint"],
    material: Material,
) -> Float[np.ndarray, "3 point"]:
    """Give the color of lit points, 0 to 1. Channels come first.

    This is what VTK's shader computes for directional lights, written out. What turns away from a light gets none of
    it, an inside neither.

    Parameters
    ----------
    normals : (3, P) Unit normals in the camera's frame.
    rays : (3, P) Unit directions from the camera to the points, in the camera's frame.
    colors : (3, P) Or (3, 1) for one color everywhere.
    material : How the surface answers.
    """
    diffuse = np.full_like(normals, material.ambient)
    highlight = np.zeros_like(normals)
    for light in LIGHTS:
        direction = (np.asarray(light.direction) / np.linalg.norm(light.direction)).astype(normals.dtype)
        lamp = np.asarray(light.color, normals.dtype)
        cosine = np.maximum(direction @ normals, 0)
        _add(diffuse, lamp * material.diffuse, cosine)
        if material.specular:
            # The mirrored direction is 2 cosine normal - direction; its product with the way back to the eye:
            glance = direction @ rays - 2 * cosine * (normals * rays).sum(0)
            glance = np.where(cosine > 0, np.maximum(glance, 0), 0) ** np.float32(material.shininess)
            _add(highlight, lamp * material.specular, glance)
    diffuse *= colors
    diffuse += highlight
    return np.minimum(diffuse, 1, out=diffuse)


def _add(total: np.ndarray, lamp: np.ndarray, amount: np.ndarray) -> None:
    for channel, strength in zip(total, lamp, strict=True):
        channel += strength * amount


def unit(vectors: Float[np.ndarray, "3 point"]) -> Float[np.ndarray, "3 point"]:
    """Give vectors of length one; zero stays zero."""
    square = vectors[0] ** 2 + vectors[1] ** 2 + vectors[2] ** 2
    return vectors / np.sqrt(np.maximum(square, 1e-24))
