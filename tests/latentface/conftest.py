"""Every test of LatentFace begins with the same random numbers."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20)


@pytest.fixture(scope="session")
def published_latentface() -> Path:
    """The tiny checkpoint in the published format; the test is skipped where it is absent."""
    path = Path(__file__).resolve().parents[3] / "shared" / "golden" / "latentface" / "published_dev.pth"
    if not path.is_file():
        pytest.skip("needs golden/latentface/published_dev.pth in ../shared (the reference data), which is absent")
    return path
