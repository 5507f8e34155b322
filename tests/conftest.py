"""Fixtures that many tests share."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of papers' reference data beside the checkout; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (the reference data beside the checkout), which is absent")
    return SHARED


@pytest.fixture(scope="session")
def golden_wsdf(shared: Path) -> Path:
    """Arrays computed by the published WSDF code."""
    return shared / "golden" / "wsdf"
