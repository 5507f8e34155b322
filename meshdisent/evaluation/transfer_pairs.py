"""Pairs of scans with the true result of an expression transfer, from a table of names.

``pairs.csv`` has the columns ``truth,identity,expression``: a mesh beside the table, and two scans of the dataset. The mesh
is the first scan's subject truly doing what the second scan shows.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.dataset import ScanDataset
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
    def read(cls, path: str | os.PathLike, scans: ScanDataset) -> Self:
        """Read the table and its meshes.

        Raises
        ------
        DataError : If the table lacks a column, is empty, or names a scan that the dataset does not have.
        TopologyError : If a mesh is of another topology.
        """
        path = Path(path)
        try:
            with open(path, newline="", encoding="utf-8-sig") as file:
                table = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path} could not be read as a table: {error}. Give a CSV with {','.join(COLUMNS)}.") from error
        missing = [column for column in COLUMNS if not table or not table[0].get(column)]
        if missing:
            raise DataError(
                f"{path} has no {' and no '.join(missing)} in its first row; wanted a CSV with the columns "
                f"{','.join(COLUMNS)} and at least one row."
            )
        truth = [_read_truth(path.parent / row["truth"], scans) for row in table]
        rows = [[scans.scan(row[column] or "") for row in table] for column in COLUMNS[1:]]
        return cls(np.array(rows[0]), np.array(rows[1]), np.stack(truth).astype(np.float32))


def _read_truth(path: Path, scans: ScanDataset) -> Float[np.ndarray, "vertex 3"]:
    mesh = Mesh.read(path)
    full = scans.full_resolution()
    if full is not None and len(mesh.vertices) == full.map.shape[1] != scans.topology.vertex_count:
        return full.map @ mesh.vertices
    scans.topology.check(len(mesh.vertices), mesh.faces if len(mesh.faces) else None, str(path))
    return mesh.vertices
