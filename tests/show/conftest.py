"""Small meshes that the picture tests share."""

import numpy as np
import pytest


def ball(rings: int = 24, columns: int = 36, radius: float = 80.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed ball with a nose: vertices (V, 3) in mm, faces (F, 3) counter-clockwise from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)
    polar, around = (grid.ravel() for grid in np.meshgrid(polar, around, indexing="ij"))
    directions = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], axis=1)
    directions = np.concatenate([directions, [[0, 1, 0], [0, -1, 0]]])
    nose = 25 * np.exp(-(directions[:, :2] ** 2).sum(1) / 0.03) * (directions[:, 2] > 0)
    vertices = directions * (radius + nose)[:, None]
    faces = []
    for i in range(rings - 2):
        for k in range(columns):
            a, b = i * columns + k, i * columns + (k + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    top, bottom, last = len(vertices) - 2, len(vertices) - 1, (rings - 2) * columns
    for k in range(columns):
        faces += [(top, k, (k + 1) % columns), (bottom, last + (k + 1) % columns, last + k)]
    return vertices, np.array(faces)


@pytest.fixture(scope="session")
def head() -> tuple[np.ndarray, np.ndarray]:
    return ball()


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(7)
