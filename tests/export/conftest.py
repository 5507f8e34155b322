"""A small model that is not linear in the expression, so that its rigs are inexact, and its rig."""

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.export.rig import Rig, make_rig
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearModel


class BentModel(LinearModel):
    """A linear model whose expressions also have a quadratic part: 0.5 mm along x for the square of the first entry."""

    def decode(self, codes: Codes) -> torch.Tensor:
        bend = 0.5 * codes.expression[:, :1, None].square() * torch.tensor([1.0, 0.0, 0.0])
        return super().decode(codes) + bend


@pytest.fixture(scope="session")
def ball(shapes):
    vertices, faces = shapes.sphere(2)
    return 80 * vertices, faces


@pytest.fixture(scope="session")
def scans(ball) -> ScanDataset:
    """Five people with a face at rest and three expressions, on a sphere of 162 vertices."""
    vertices, faces = ball
    random = np.random.default_rng(3)
    people, faces_made = random.normal(0, 2, (5, 162, 3)), random.normal(0, 1, (4, 162, 3))
    faces_made[0] = 0.0
    return ScanDataset.from_arrays(
        (vertices + people[:, None] + faces_made).reshape(20, 162, 3),
        faces,
        [f"person {number}" for number in range(5) for _ in range(4)],
        ["neutral", "smile", "frown", "pout"] * 5,
        split=["train"] * 20,
    )


@pytest.fixture(scope="session")
def linear(scans) -> LinearModel:
    return LinearModel.fit(scans)


@pytest.fixture
def bent(linear) -> BentModel:
    model = LinearModel.from_parts(linear.config_dict(), linear.topology, dict(linear.state_dict()))
    model.__class__ = BentModel
    size = model.expression_size
    model.named_expressions = {"first": torch.eye(size)[0] * 2, "second": torch.eye(size)[1], "both": torch.ones(size)}
    return model.eval()


@pytest.fixture
def rig(bent) -> Rig:
    return make_rig(bent, "mean", bent.named_expressions)
