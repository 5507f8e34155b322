"""Pairs of scans with the true result of an expression transfer, from a table of names.

``pairs.csv`` has the columns ``truth,identity,expression``: a mesh beside the table, and two scans of the dataset. The
mesh is the first scan's subject truly doing what the second scan shows, in mm, in the place of the first scan's file,
with the vertices that the dataset has or those before decimation.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.dataset import FullResolution, ScanDataset
from meshdisent.errors import DataError
from meshdisent.mesh.mesh import Mesh

COLUMNS = ("truth", "identity", "expression")


@dataclass(frozen=True, eq=False)
class TransferPairs:
    """Rows of the dataset and the true faces, in mm.

    Attributes
    ----------
    identity, expression : (P,) Rows of the scans that give the subject and the expression.
    truth : (P, V, 3)
    """

    identity: Int[np.ndarray, " pair"]
    expression: Int[np.ndarray, " pair"]
    truth: Float[np.ndarray, "pair vertex 3"]

    @classmethod
    def read(cls, path: str | os.PathLike, scans: ScanDataset) -> "TransferPairs":
        """Read the table and its meshes.

        Raises
        ------
        DataError : If the table lacks a column, is empty, or names a scan that the dataset does not have.
        MeshError : If a mesh cannot be read.
        TopologyError : If a mesh is of another topology.
        """
        path = Path(path)
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                table = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"{path} could not be read as a table: {error}. Give a CSV with {','.join(COLUMNS)}."
            ) from error
        _check_table(table, path)
        full = scans.full_resolution()
        truth = [_read_truth(path.parent / row["truth"], scans, full) for row in table]
        identity, expression = (
            np.array([_find(scans, row[column], f"{path}, row {number}") for number, row in enumerate(table, start=1)])
            for column in COLUMNS[1:]
        )
        return cls(identity, expression, _aligned(np.stack(truth), scans, identity).astype(np.float32))


def _check_table(table: list[dict[str, str]], path: Path) -> None:
    """Refuse a table that is empty, or in which a cell is missing."""
    missing = [column for column in COLUMNS if not table or column not in table[0]]
    if missing:
        raise DataError(
            f"{path} has no {' and no '.join(missing)} in its first row; wanted a CSV with the columns "
            f"{','.join(COLUMNS)} and at least one row."
        )
    for number, row in enumerate(table, start=1):
        empty = [column for column in COLUMNS if not row[column]]
        if empty:
            raise DataError(f"{path} has no {' and no '.join(empty)} in row {number}; wanted a name in every column.")


def _find(scans: ScanDataset, name: str, where: str) -> int:
    try:
        return scans.scan(name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def _read_truth(path: Path, scans: ScanDataset, full: FullResolution | None) -> Float[np.ndarray, "vertex 3"]:
    """A true face on the topology of the scans; one of the resolution before decimation goes the way that they went."""
    mesh = Mesh.read(path)
    if full is not None and len(mesh.vertices) == full.map.shape[1] != scans.topology.vertex_count:
        return full.map @ mesh.vertices
    scans.topology.check(len(mesh.vertices), mesh.faces if len(mesh.faces) else None, str(path))
    return mesh.vertices


def _aligned(
    truth: Float[np.ndarray, "pair vertex 3"], scans: ScanDataset, identity: Int[np.ndarray, " pair"]
) -> Float[np.ndarray, "pair vertex 3"]:
    """Move the true faces as preparation moved the scans of the people whom they show."""
    if scans.transforms is None:
        return truth
    scale, rotation, translation = (values[identity] for values in scans.transforms)
    return scale[:, None, None] * truth @ rotation + translation[:, None]
