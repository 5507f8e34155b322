"""A small dataset with everything that a file can hold, and small trees of scans as people keep them."""

from pathlib import Path

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.mesh.mesh import Mesh

EXPRESSIONS = ("neutral", "smile", "frown", "blink")


@pytest.fixture(scope="session")
def sheet() -> Mesh:
    """A bent sheet of 7 x 6 vertices, about 100 mm across, without any symmetry."""
    rows, columns = np.mgrid[:7, :6]
    x, y = columns.ravel() * 18.0, rows.ravel() * 15.0
    vertices = np.stack([x + 0.02 * y**1.5, y, 20 * np.sin(x / 40) + 0.1 * y], axis=1)
    corner = (6 * rows[:-1, :-1] + columns[:-1, :-1]).ravel()
    first, second = np.stack([corner, corner + 1, corner + 7], 1), np.stack([corner, corner + 7, corner + 6], 1)
    return Mesh(vertices, np.concatenate([first, second]))


@pytest.fixture(scope="session")
def people(sheet):
    """Scans (N, V, 3), subject names and expression names: 5 subjects x 4 expressions; the neutral is the middle."""
    rng = np.random.default_rng(5)
    moves = {name: rng.normal(size=sheet.vertices.shape) * (name != "neutral") * 2.0 for name in EXPRESSIONS}
    vertices, subjects, expressions = [], [], []
    for k in range(5):
        shape = sheet.vertices + rng.normal(size=sheet.vertices.shape)
        for name in EXPRESSIONS:
            vertices.append(shape + moves[name] * rng.uniform(0.8, 1.2))
            subjects.append(f"person {k}")
            expressions.append(name)
    return np.array(vertices), subjects, expressions


@pytest.fixture
def dataset(sheet, people) -> ScanDataset:
    """Five subjects, two of them with a true neutral, all splits in use, one scan without a label, frames, a region."""
    vertices, subjects, expressions = people
    return ScanDataset.from_arrays(
        vertices,
        sheet.faces,
        subjects,
        [*expressions[:-1], None],
        template=sheet.vertices,
        regions={"brow": np.arange(30, 42), "nose": np.array([14, 15, 20])},
        frame=[-1] * 18 + [7, 8],
        split=["train"] * 10 + ["dropped"] * 2 + ["val"] * 4 + ["test"] * 4,
        truth={"person 1": vertices[4] + 0.5, "person 4": vertices[16] - 0.5},
        attributes={"device": "scanner", "rate": 30.0},
    )


@pytest.fixture
def tree(tmp_path, sheet, people) -> Path:
    """The scans as SUBJECT/EXPRESSION.ply in a folder whose name has a space and letters beyond ASCII."""
    folder = tmp_path / "Gesichter für später"
    for vertices, subject, expression in zip(*people, strict=True):
        path = folder / subject / f"{expression}.ply"
        sheet.with_vertices(vertices.astype(np.float32).astype(np.float64)).write(path)
    return folder
