"""Where the vertices of one template lie on another: closest points that look the same way, and whether they count."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.template_fit import on_border
from meshdisent.mesh.topology import Topology

TOLERANCE_MM = 3.0


class Places(NamedTuple):
    """Where each vertex of the target lies on the source: a triangle, weights, mm from it, the normal there.

    ``is_covered`` is false beyond the border, farther away than the tolerance, and on a side that looks the other way.
    """

    face: Int[np.ndarray, " vertex"]
    weights: Float[np.ndarray, "vertex 3"]
    distance: Float[np.ndarray, " vertex"]
    normals: Float[np.ndarray, "vertex 3"]
    is_covered: Bool[np.ndarray, " vertex"]


def closest_places(
    source: Topology, target: Topology, placed: Float[np.ndarray, "vertex 3"], tolerance_mm: float = TOLERANCE_MM
) -> Places:
    """The closest points of the source that look the same way, for the target's vertices where they are ``placed``."""
    face, weights, distance, normals, is_turned = _closest_alike(placed, target, source)
    is_beyond = on_border(source, face, weights) & (distance > tolerance_mm / 4)
    return Places(face, weights, distance, normals, (distance <= tolerance_mm) & ~is_turned & ~is_beyond)


def _closest_alike(placed: Float[np.ndarray, "vertex 3"], target: Topology, source: Topology) -> tuple[np.ndarray, ...]:
    """Closest points that look the same way: lips that touch, and both sides of a lid, are not each other.

    Returns
    -------
    Face, weights, distance and normal of each vertex's place, and whether none was found that looks the same way.
    """
    own, normals = vertex_normals(placed, target.faces), vertex_normals(source.template, source.faces)
    face, weights, distance = closest_points(placed, source.template, source.faces)
    corners = source.template[source.faces]
    center = corners.mean(axis=1)
    radius = np.linalg.norm(corners - center[:, None], axis=2).max(axis=1)
    for vertex in np.flatnonzero((mixed(normals, source.faces[face], weights) * own).sum(axis=1) < 0):
        alike = np.flatnonzero(((normals @ own[vertex])[source.faces] > 0).all(axis=1))
        if len(alike):
            away = np.linalg.norm(center[alike] - placed[vertex], axis=1)
            alike = alike[away - radius[alike] <= away.min() * (1 + 1e-9)]  # no other triangle can be closer
            found = closest_points(placed[vertex : vertex + 1], source.template, source.faces[alike])
            face[vertex], weights[vertex], distance[vertex] = alike[found[0][0]], found[1][0], found[2][0]
    there = unit(mixed(normals, source.faces[face], weights))
    return face, weights, distance, there, (there * own).sum(axis=1) < 0


def mixed(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "vertex 3"]:
    """Values of three corners each, mixed by weights."""
    return np.einsum("vk,vkd->vd", weights, values[corners])


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length one; a zero stays."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
