"""Arrays that the published WSDF code computed, and the check that none of them is left out.

``golden("recoupler")`` opens one file: the copy in ``arrays/`` where there is one, so that the test runs everywhere,
else the original in ``../shared``. A test reads its inputs from it, computes everything else, and hands all of it to
:meth:`Golden.check`, which fails for an array that is neither read, nor compared, nor exempt with a reason.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

COPIES = Path(__file__).parent / "arrays"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden" / "wsdf"
SHARED_FED = SHARED.parent / "fed"
SHARED_LATENTFACE = SHARED.parent / "latentface"


class Golden:
    """One file of published arrays. Reading an array marks it as an input; :meth:`check` compares the others."""

    def __init__(self, path: Path):
        with np.load(path, allow_pickle=False) as file:
            self._arrays: dict[str, np.ndarray] = {key: file[key] for key in file.files}
        self._read: set[str] = set()

    def __getitem__(self, key: str) -> np.ndarray:
        self._read.add(key)
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def peek(self, key: str) -> np.ndarray:
        """Look at an array without using it: it must still be compared, or exempt."""
        return self._arrays[key]

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """Read all arrays whose name begins with ``prefix``, by the rest of their name."""
        return {key.removeprefix(prefix): self[key] for key in self if key.startswith(prefix)}

    def check(
        self,
        ours: Mapping[str, Any],
        *,
        tolerance: float = 1e-10,
        loose: Mapping[str, float] | None = None,
        exempt: Mapping[str, str] | None = None,
    ) -> None:
        """Compare what we computed, and see that every array of the file is accounted for.

        Parameters
        ----------
        ours : Values by the name of the published array. Integers, booleans and text must be equal.
        tolerance : Largest difference, relative to the largest finite number of the published array.
        loose : Other tolerances, by name or pattern; single precision goes here.
        exempt : Reason by name or pattern, for arrays that are compared with nothing.
        """
        loose, exempt = loose or {}, exempt or {}
        problems = [f"{key}: we computed what the file does not have" for key in set(ours) - set(self)]
        for pattern in {*loose, *exempt}:
            if not any(fnmatchcase(key, pattern) for key in self):
                problems.append(f"{pattern}: listed, but the file has nothing of that name")
        for key, published in self._arrays.items():
            is_exempt = any(fnmatchcase(key, pattern) for pattern in exempt)
            if is_exempt and (key in self._read or key in ours):
                problems.append(f"{key}: exempt, yet used; take it off the list")
            elif key in ours:
                bounds = [bound for pattern, bound in loose.items() if fnmatchcase(key, pattern)]
                problems += _difference(key, ours[key], published, max(bounds, default=tolerance))
            elif not is_exempt and key not in self._read:
                problems.append(f"{key}: neither read, compared nor exempt")
        assert not problems, "\n".join(problems)


def _difference(key: str, ours: Any, published: np.ndarray, tolerance: float) -> list[str]:
    """What is wrong with one array, in words; nothing if it is the same."""
    ours = np.asarray(ours.detach() if hasattr(ours, "detach") else ours)
    if ours.shape != published.shape:
        return [f"{key}: shape {ours.shape}, published {published.shape}"]
    if published.dtype.kind != "f":
        return [] if np.array_equal(ours, published) else [f"{key}: {np.sum(ours != published)} entries differ"]
    finite = np.isfinite(published)
    if not np.array_equal(ours[~finite], published[~finite].astype(ours.dtype), equal_nan=True):
        return [f"{key}: not infinite or undefined at the same places"]
    scale = np.abs(published[finite]).max(initial=0.0)
    largest = np.abs(ours[finite].astype(np.float64) - published[finite]).max(initial=0.0)
    if not largest <= tolerance * scale:
        return [f"{key}: off by {largest:.3g}, allowed {tolerance:.3g} of {scale:.3g}"]
    return []


@pytest.fixture(scope="session")
def golden_path() -> Callable[[str], Path]:
    """Find a file of published data by its full name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        for folder in (COPIES, SHARED):
            if (folder / name).is_file():
                return folder / name
        pytest.skip(f"needs golden/wsdf/{name} in ../shared (the reference data beside the checkout), which is absent")

    return find


@pytest.fixture(scope="session")
def golden(golden_path: Callable[[str], Path]) -> Callable[[str], Golden]:
    """Open a file of published arrays by its name without ``.npz``."""
    return lambda name: Golden(golden_path(f"{name}.npz"))


@pytest.fixture(scope="session")
def golden_fed_path() -> Callable[[str], Path]:
    """Find a file of FED's published data by its full name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        for folder in (COPIES.parent / "arrays_fed", SHARED_FED):
            if (folder / name).is_file():
                return folder / name
        pytest.skip(f"needs golden/fed/{name} in ../shared (the reference data beside the checkout), which is absent")

    return find


@pytest.fixture(scope="session")
def golden_fed(golden_fed_path: Callable[[str], Path]) -> Callable[[str], Golden]:
    """Open a file of FED's published arrays by its name without ``.npz``."""
    return lambda name: Golden(golden_fed_path(f"{name}.npz"))


@pytest.fixture(scope="session")
def golden_latentface_path() -> Callable[[str], Path]:
    """Find a file of LatentFace's published data by its full name; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        if (SHARED_LATENTFACE / name).is_file():
            return SHARED_LATENTFACE / name
        pytest.skip(
            f"needs golden/latentface/{name} in ../shared (the reference data beside the checkout), absent here"
        )

    return find


@pytest.fixture(scope="session")
def golden_latentface(golden_latentface_path: Callable[[str], Path]) -> Callable[[str], Golden]:
    """Open a file of LatentFace's published arrays by its name without ``.npz``."""
    return lambda name: Golden(golden_latentface_path(f"{name}.npz"))


@pytest.fixture(scope="session")
def latentface_parameters() -> ModuleType:
    """The recipe of the parameters of LatentFace's networks. See ``latentface_parameters.py`` beside this file."""
    path = Path(__file__).with_name("latentface_parameters.py")
    spec = importlib.util.spec_from_file_location("latentface_parameters", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
