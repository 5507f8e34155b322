"""The look of every picture: one material and three lights, the same numbers in both renderers.

The model is the plain one of graphics hardware: color times (ambient + sum of lights times the cosine to the smooth
normal), plus a faint, wide highlight. Lights are fixed to the camera, so a turned face is lit like a frontal one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SKIN = (0.86, 0.72, 0.64)
CLAY = (0.72, 0.77, 0.83)
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


# Key from the upper left of the picture, slightly warm; a cool fill from the right; a rim light from above and
# behind that separates forehead and cheek from the background.
LIGHTS = (
    Light(direction=(-0.45, 0.55, 0.85), color=(0.62, 0.60, 0.57)),
    Light(direction=(0.85, 0.10, 0.60), color=(0.20, 0.22, 0.25)),
    Light(direction=(0.25, 0.80, -0.40), color=(0.25, 0.25, 0.26)),
)
MATTE = Material(ambient=0.34, diffuse=1.0, specular=0.05, shininess=12.0)
# Colors that carry numbers must be found again in the color bar: more ambient light, no highlight.
CHART = Material(ambient=0.62, diffuse=0.52, specular=0.0, shininess=12.0)


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
    normals: Float[np.ndarray, "point 3"],
    positions: Float[np.ndarray, "point 3"],
    colors: Float[np.ndarray, "point 3"],
    material: Material,
) -> Float[np.ndarray, "point 3"]:
    """Give the color of lit points, 0 to 1; unit normals and positions are in the camera's frame.

    This is what VTK's default shader computes for directional lights, written out.
    """
    diffuse = np.full_like(colors, material.ambient)
    highlight = np.zeros_like(colors)
    to_eye = -positions / np.linalg.norm(positions, axis=1, keepdims=True)
    for light in LIGHTS:
        direction = np.asarray(light.direction, colors.dtype) / np.linalg.norm(light.direction).astype(colors.dtype)
        lamp = np.asarray(light.color, colors.dtype)
        cosine = normals @ direction
        diffuse += material.diffuse * np.maximum(cosine, 0)[:, None] * lamp
        if material.specular:
            mirrored = 2 * cosine[:, None] * normals - direction
            glance = np.maximum(np.einsum("pk,pk->p", mirrored, to_eye), 0) * (cosine > 0)
            highlight += material.specular * (glance**material.shininess)[:, None] * lamp
    return np.clip(colors * diffuse + highlight, 0, 1)
