r"""Standardized scans: unit-free numbers that networks work with, and back to mm.

.. math:: \hat X = (X - \mu) / \sigma
"""

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import DataError


class Normalization(nn.Module):
    """Mean and standard deviation over the training scans, for each coordinate or one for all.

    Parameters
    ----------
    mean : (V, 3) mm.
    deviation : (V, 3) or (1, 1) mm.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Float[Tensor, "vertex 3"], deviation: Float[Tensor, "_ _"]):
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("deviation", deviation.clone())

    @classmethod
    def of(
        cls, scans: Float[np.ndarray, "scan vertex 3"], space: Literal["standardized", "millimeters"] = "standardized"
    ) -> "Normalization":
        """Measure on scans in mm: every coordinate by itself (published), or one deviation that keeps shapes.

        A coordinate that never changes gets a thousandth of the mean deviation; the published code divides by zero.
        """
        return cls.of_blocks(lambda: [scans], space)

    @classmethod
    def of_blocks(
        cls,
        blocks: Callable[[], Iterable[Float[np.ndarray, "_ vertex 3"]]],
        space: Literal["standardized", "millimeters"] = "standardized",
    ) -> "Normalization":
        """The same from scans that come in blocks, twice: for the mean, then for the deviation from it."""
        count, total = 0, np.zeros(())
        for block in blocks():
            count, total = count + len(block), total + block.sum(axis=0, dtype=np.float64)
        if count < 2:
            raise DataError(f"Normalization got {count} training scans; wanted at least 2. Add scans to the split.")
        mean = total / count
        squares = sum((np.square(block - mean).sum(axis=0) for block in blocks()), start=np.zeros(()))
        deviation = np.sqrt(squares / (count - 1))
        whole = float(np.sqrt((deviation**2).mean()))
        if whole == 0:
            raise DataError("All training scans are the same; wanted scans that differ. Look at the dataset (inspect).")
        deviation = np.full((1, 1), whole) if space == "millimeters" else np.maximum(deviation, 1e-3 * whole)
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(deviation).float())

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, "batch vertex 3"]:
        """Standardized scans from scans in mm."""
        return (vertices - self.mean) / self.deviation

    def undo(self, standardized: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm from standardized ones."""
        return standardized * self.deviation + self.mean


class UnitCoordinates(nn.Module):
    r"""Scans about an origin, in units of one length: shapes and their order of coordinates stay as they are (FED).

    .. math:: u = (x - o) / s

    Parameters
    ----------
    origin : (3,) mm.
    scale : Millimeters of a unit.

    Examples
    --------
    >>> coordinates = UnitCoordinates(torch.tensor([0.0, 0.0, 10.0]), torch.tensor(100.0))
    >>> coordinates(torch.tensor([[[50.0, 0.0, 10.0]]])).tolist()
    [[[0.5, 0.0, 0.0]]]
    """

    origin: Tensor
    scale: Tensor

    def __init__(self, origin: Float[Tensor, "3"], scale: Float[Tensor, ""]):
        super().__init__()
        self.register_buffer("origin", origin.clone())
        self.register_buffer("scale", scale.clone())

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, "batch vertex 3"]:
        """Unit coordinates from scans in mm."""
        return (vertices - self.origin) / self.scale

    def undo(self, units: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm from unit coordinates."""
        return units * self.scale + self.origin
