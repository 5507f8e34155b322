"""How a FED begins: what a dataset must have for it, its mean face and its unit."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.resting import subjects_without_neutral
from meshdisent.errors import DataError, RecipeError
from meshdisent.morphable.fed_config import FEDConfig
from meshdisent.nn.normalization import UnitCoordinates


def check_scans(config: FEDConfig, scans: ScanDataset) -> None:
    """Raise unless a dataset has what a configuration asks for."""
    where, rows = scans.path or "The dataset", scans.rows("train")
    if config.discriminator.is_used and len(np.unique(scans.subject[rows])) < 2:
        raise DataError(
            f"{where} has {len(np.unique(scans.subject[rows]))} training subject; a discriminator that tells people "
            "apart wants two or more. Prepare scans of more people, or set config.discriminator.is_used to false."
        )
    unknown = subjects_without_neutral(scans) if config.loss.needs_neutrals else []
    if unknown:
        raise RecipeError(
            f"config.loss.neutral is {config.loss.neutral} and config.loss.expression {config.loss.expression}, but "
            f"{where} does not tell how {len(unknown)} of its training subjects look at rest "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}). Set both to 0 and config.loss.roughness "
            "above it, or prepare a neutral scan of each subject."
        )


def spread_about(
    mean: Float[Tensor, "vertex 3"], scans: ScanDataset, coordinates: UnitCoordinates
) -> Float[Tensor, ""]:
    """Root mean square distance of the training scans' coordinates from a face, both in unit coordinates."""
    rows, total = scans.rows("train"), 0.0
    for block in scans.in_blocks(rows):
        total += float((coordinates(torch.from_numpy(block)) - mean).square().sum(dtype=torch.float64))
    return torch.tensor((total / (len(rows) * mean.numel())) ** 0.5 or 1.0, dtype=torch.float32)


def measure(scans: ScanDataset, scale_mm: float | None) -> tuple[UnitCoordinates, Float[Tensor, "vertex 3"]]:
    """The unit of a dataset, and the mean of its training scans in it (V, 3).

    Parameters
    ----------
    scale_mm : See :class:`FEDConfig`.
    """
    rows = scans.rows("train")
    total = np.zeros((scans.topology.vertex_count, 3))
    for block in scans.in_blocks(rows):
        total += block.sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    origin = np.zeros(3) if scale_mm is not None else mean.mean(axis=0)
    scale = scale_mm
    if scale is None:
        scale = max(float(np.linalg.norm(block - origin, axis=2).max()) for block in scans.in_blocks(rows))
    coordinates = UnitCoordinates(torch.from_numpy(origin).float(), torch.tensor(scale, dtype=torch.float32))
    return coordinates, torch.from_numpy((mean - origin) / scale).float()
