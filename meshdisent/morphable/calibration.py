"""What a model is told about its training scans once it is trained: where codes lie, and which vertices move."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.metrics import moving_vertices


def expression_mask(scans: ScanDataset, pseudo_neutrals: np.ndarray | None = None) -> Bool[np.ndarray, " vertex"]:
    """The 30 % of vertices that expressions move most on the training scans.

    Measured from true neutrals where they are known, else from ``pseudo_neutrals`` (S, V, 3), else from each subject's
    mean training scan.
    """
    rows = scans.rows("train")
    if len(rows) == 0:
        raise DataError(
            "The dataset has no training scans; the moving vertices are measured on them. "
            "Prepare it with a training split."
        )
    neutrals, known = scans.neutrals()
    total = np.zeros(scans.topology.vertex_count)
    for subject in np.unique(scans.subject[rows]):
        own = rows[scans.subject[rows] == subject]
        if known[subject]:
            rest = neutrals[subject]
        elif pseudo_neutrals is not None:
            rest = pseudo_neutrals[subject]
        else:
            rest = sum(block.sum(axis=0, dtype=np.float64) for block in scans.in_blocks(own)) / len(own)
        for block in scans.in_blocks(own):
            total += np.linalg.norm(block - rest, axis=2).sum(0)
    return moving_vertices(total / len(rows))


def blocks_of(scans: ScanDataset, rows: np.ndarray, like: Tensor) -> Iterator[Tensor]:
    """Vertices of some rows, a block at a time, as tensors of the type and on the device of ``like``."""
    if len(rows) == 0:
        raise DataError("The dataset has no training scans. Prepare it with a training split.")
    for block in scans.in_blocks(rows):
        yield torch.from_numpy(block).to(like)


def gaussian(values: Float[Tensor, "scan code"]) -> tuple[Tensor, Tensor]:
    """Mean and a lower factor of the covariance; a code that never changes keeps a tiny spread, not a failure."""
    mean = values.mean(0)
    centered = (values - mean).double()
    covariance = centered.T @ centered / max(len(values) - 1, 1)
    floor = 1e-12 + 1e-9 * covariance.diagonal().mean()
    factor = torch.linalg.cholesky(covariance + floor * torch.eye(len(mean), dtype=torch.float64, device=mean.device))
    return mean, factor.to(values)
