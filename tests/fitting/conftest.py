"""Heads that a small linear model knows, and scans of parts of them; small pictures lie beside."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import face_normals
from meshdisent.morphable.linear import LinearConfig, LinearModel

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def heads():
    return synthetic_dataset(subjects=14, seed=5, vertex_count=1200)


@pytest.fixture(scope="session")
def linear(heads):
    return LinearModel.fit(heads, LinearConfig(identity_size=8, expression_size=5))


@pytest.fixture(scope="session")
def people(linear):
    """Faces that the model itself draws, (8, V, 3)."""
    with torch.no_grad():
        return linear.decode(linear.prior().sample(8, torch.Generator().manual_seed(3))).double().numpy()


@pytest.fixture(scope="session")
def motion():
    turn = Rotation.from_rotvec(np.radians([5.0, -12.0, 4.0])).as_matrix()
    return Similarity(1.0, turn, np.array([30.0, -20.0, 15.0]))


@pytest.fixture(scope="session")
def scan_of():
    """Points on part of a face, with noise."""

    def draw(vertices, faces, share=0.35, noise_mm=0.5, count=1500, seed=0):
        random = np.random.default_rng(seed)
        normals, middles = face_normals(vertices, faces), vertices[faces].mean(axis=1)
        area = np.linalg.norm(normals, axis=1)
        nose = middles[middles[:, 2].argmax()]
        order = np.argsort(np.linalg.norm(middles - nose, axis=1))
        part = faces[order[np.cumsum(area[order]) <= share * area.sum()]]
        area = np.linalg.norm(face_normals(vertices, part), axis=1)
        chosen = part[random.choice(len(part), count, p=area / area.sum())]
        points = np.einsum("nk,nkd->nd", random.dirichlet([1.0, 1.0, 1.0], count), vertices[chosen])
        return points + noise_mm * random.normal(size=points.shape)

    return draw
