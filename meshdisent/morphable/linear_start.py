"""A frozen linear model inside a network: the network learns only what linear algebra cannot say.

A network from noise needs hours for what a linear path gives in seconds, and on a few hundred people it over-fits on
the way. With a linear start the codes and scans of an untrained model are those of :mod:`meshdisent.morphable.linear`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearConfig, LinearModel


@dataclass(frozen=True, kw_only=True)
class LinearStartConfig:
    """Whether there is a linear start, and from which linear model.

    Parameters
    ----------
    neutrals, mirrored : As in :class:`~meshdisent.morphable.linear.LinearConfig`; ``off`` for no linear start.
    log_variance : Of the untrained posteriors: small, so that codes carry the scan from the first step on.
    networks_change : What the networks add to: ``everything``, or the ``expression`` alone. Then identity codes and
        neutrals stay those of linear algebra, which a few hundred people are too few to improve, and the networks learn
        how an expression depends on the person and on its own strength.
    """

    neutrals: Literal["off", "mode", "median", "mean"] = "off"
    mirrored: bool = False
    log_variance: float = -4.0
    networks_change: Literal["everything", "expression"] = "everything"

    @property
    def is_on(self) -> bool:
        """Whether there is one."""
        return self.neutrals != "off"


class LinearStart(nn.Module):
    """The linear paths, as buffers: no gradient moves them. Lengths in mm."""

    center: Tensor
    encoder: Tensor
    offset: Tensor
    rest: Tensor
    basis: Tensor

    def __init__(
        self, center: Tensor, encoder: Tensor, offset: Tensor, rest: Tensor, basis: Tensor, identity_size: int
    ):
        super().__init__()
        self.identity_size = identity_size
        self.register_buffer("center", center)
        self.register_buffer("encoder", encoder)
        self.register_buffer("offset", offset)
        self.register_buffer("rest", rest)
        self.register_buffer("basis", basis)

    @classmethod
    def of(
        cls, scans: ScanDataset, identity_size: int, expression_size: int, config: LinearStartConfig
    ) -> "LinearStart":
        """Fit the linear model and take its paths; its codes have unit variance, as the prior wants them."""
        if config.neutrals == "off":
            raise DataError("A linear start was asked for with neutrals off; wanted mode, median or mean.")
        linear = LinearModel.fit(
            scans,
            LinearConfig(
                identity_size=identity_size,
                expression_size=expression_size,
                neutrals=config.neutrals,
                mirrored=config.mirrored,
            ),
        )
        if (linear.identity_size, linear.expression_size) != (identity_size, expression_size):
            raise DataError(
                f"The training scans span {linear.identity_size} identity and {linear.expression_size} expression "
                f"directions; the recipe wants {identity_size} and {expression_size} code entries. "
                "Set config.identity_size and config.expression_size to at most these, or add subjects."
            )
        basis = torch.cat([linear.identity_basis, linear.expression_basis])
        return cls(linear.center, linear.encoder, linear.offset, linear.rest, basis, identity_size)

    @classmethod
    def empty(cls, vertex_count: int, identity_size: int, expression_size: int) -> "LinearStart":
        """The right shapes, to be filled from a file."""
        flat, size = 3 * vertex_count, identity_size + expression_size
        zeros = torch.zeros
        return cls(zeros(flat), zeros(flat, size), zeros(size), zeros(flat), zeros(size, flat), identity_size)

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Linear codes of scans in mm."""
        codes = (vertices.flatten(start_dim=1) - self.center) @ self.encoder + self.offset
        return Codes(codes[:, : self.identity_size], codes[:, self.identity_size :])

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Linear scans in mm."""
        return (self.rest + torch.cat(codes, dim=1) @ self.basis).unflatten(1, (-1, 3))
