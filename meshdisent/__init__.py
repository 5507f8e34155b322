"""Disentangled morphable models of registered 3D faces: who it is and what the face does, told apart.

The names below are the whole public list; each is imported when it is first asked for, so that ``import meshdisent``
stays quick. What is not here may change from one version to the next.

Examples
--------
>>> import meshdisent
>>> sorted(meshdisent.__all__)
['CoMA', 'FED', 'LatentFace', 'LinearModel', 'Mesh', 'MultilinearModel', 'ScanDataset', 'WSDF', '__version__', 'load']
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.latentface.latentface import LatentFace
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.morphable.coma import CoMA
    from meshdisent.morphable.fed import FED
    from meshdisent.morphable.linear import LinearModel
    from meshdisent.morphable.model_file import load
    from meshdisent.morphable.multilinear import MultilinearModel
    from meshdisent.morphable.wsdf import WSDF

__version__ = "0.1.0"

__all__ = [
    "FED",
    "WSDF",
    "CoMA",
    "LatentFace",
    "LinearModel",
    "Mesh",
    "MultilinearModel",
    "ScanDataset",
    "__version__",
    "load",
]

_HOMES = {
    "WSDF": "meshdisent.morphable.wsdf",
    "FED": "meshdisent.morphable.fed",
    "CoMA": "meshdisent.morphable.coma",
    "LatentFace": "meshdisent.latentface.latentface",
    "LinearModel": "meshdisent.morphable.linear",
    "Mesh": "meshdisent.mesh.mesh",
    "MultilinearModel": "meshdisent.morphable.multilinear",
    "ScanDataset": "meshdisent.data.dataset",
    "load": "meshdisent.morphable.model_file",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(
            f"module 'meshdisent' has no attribute {name!r}; its public names are {', '.join(__all__)}"
        )
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value  # asked for once, found at once from then on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
