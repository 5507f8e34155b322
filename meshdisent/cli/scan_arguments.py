"""Scans on the command line: a mesh file, or ``faces.h5:SUBJECT/EXPRESSION`` (``/FRAME``)."""

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from meshdisent.errors import MeshdisentError

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.morphable.contract import MorphableModel


class NamedScan(NamedTuple):
    """A scan in mm, and a name that can be part of a file name."""

    name: str
    vertices: Float[np.ndarray, "vertex 3"]


def read_scan(text: str, model: "MorphableModel") -> NamedScan:
    """Read one scan and check it against the model's topology.

    Raises
    ------
    MeshError, DataError : If the file cannot be read, or the dataset has no such scan.
    TopologyError : If the scan does not fit the model.
    """
    from meshdisent.editing import as_scans

    found = re.fullmatch(r"(.+\.(?:h5|hdf5)):(.+)", text)
    if found is None:
        from pathlib import Path

        from meshdisent.mesh.mesh import Mesh

        return NamedScan(Path(text).stem, as_scans(model, Mesh.read(text), text)[0])
    scans = _dataset(found[1])
    vertices = scans.vertices(np.array([scans.scan(found[2])]))[0]
    return NamedScan(found[2].replace("/", "-"), as_scans(model, vertices, text)[0])


def read_scans(texts: tuple[str, ...], model: "MorphableModel") -> tuple[list[NamedScan], int]:
    """Read several scans; one that cannot be used is named on stderr and counted, and the rest goes on.

    Raises
    ------
    MeshdisentError : The first reason, if no scan can be used.
    """
    scans: list[NamedScan] = []
    reasons: list[MeshdisentError] = []
    for text in texts:
        try:
            scans.append(read_scan(text, model))
        except MeshdisentError as error:
            reasons.append(error)
    if not scans:
        raise reasons[0]
    for reason in reasons:
        print(f"meshdisent: left out: {' '.join(str(reason).split())}", file=sys.stderr)
    return _with_different_names(scans), len(reasons)


def _with_different_names(scans: list[NamedScan]) -> list[NamedScan]:
    """Number the scans whose names stand twice, so that no result covers another."""
    names = [scan.name for scan in scans]
    return [
        scan
        if names.count(scan.name) == 1
        else NamedScan(f"{scan.name}-{names[: k + 1].count(scan.name)}", scan.vertices)
        for k, scan in enumerate(scans)
    ]


_OPEN: dict[str, "ScanDataset"] = {}


def _dataset(path: str) -> "ScanDataset":
    from meshdisent.data.dataset import ScanDataset

    if path not in _OPEN:
        _OPEN[path] = ScanDataset.open(path)
    return _OPEN[path]
