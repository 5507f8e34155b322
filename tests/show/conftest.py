"""Small meshes that the picture tests share."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def head(shapes) -> tuple[np.ndarray, np.ndarray]:
    return shapes.ball()


@pytest.fixture
def noise() -> np.random.Generator:
    return np.random.default_rng(7)
