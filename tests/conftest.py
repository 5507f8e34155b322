"""Fixtures that many tests share."""

import importlib.util
from pathlib import Path
from types import ModuleType

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


@pytest.fixture(scope="session")
def shapes() -> ModuleType:
    """Small meshes: grids, spheres, several components. See ``shapes.py`` beside this file."""
    spec = importlib.util.spec_from_file_location("shapes", Path(__file__).with_name("shapes.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
