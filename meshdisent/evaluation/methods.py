"""Anything that can be measured: a morphable model, or what people would use instead of one.

A method turns scans into codes, and codes into what the metrics look at. What a method cannot do is None, and the
metric that needs it is then not defined for it.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from meshdisent.morphable.contract import Codes, MorphableModel

Scans = Float[np.ndarray, "scan vertex 3"]
MethodCodes = Float[np.ndarray, "scan code"]


class Method(ABC):
    """One row of an evaluation. Arrays are float32, vertices in mm."""

    name: str
    #: One line for tables: what it is and what it was told.
    description: ClassVar[str] = ""

    @abstractmethod
    def encode(self, scans: Scans) -> MethodCodes:
        """What is remembered of each scan."""

    def decode(self, codes: MethodCodes) -> Scans | None:
        """Reconstructions."""
        return None

    def neutral(self, codes: MethodCodes) -> Scans | None:
        """The subjects at rest."""
        return None

    def expression_only(self, codes: MethodCodes) -> Scans | None:
        """The expressions on no one in particular."""
        return None

    def transfer(self, identity: MethodCodes, expression: MethodCodes) -> Scans | None:
        """The first scans' subjects with the second scans' expressions."""
        return None

    def detail(self, scans: Scans, decoded: Scans | None) -> Scans | None:
        """What the reconstructions lack of the scans, mm: added to a changed face, it keeps the detail."""
        return None if decoded is None else scans - decoded

    def factors(self, codes: MethodCodes) -> "Factors | None":
        """Identity and expression codes with their standard deviations in training, if there are such."""
        return None


class Factors(NamedTuple):
    """Codes of both factors, and the standard deviation of each entry over the training scans."""

    identity: MethodCodes
    expression: MethodCodes
    identity_std: Float[np.ndarray, " code"]
    expression_std: Float[np.ndarray, " code"]


class ModelMethod(Method):
    """A morphable model as a method. Its codes are both factors side by side."""

    def __init__(self, model: MorphableModel, name: str | None = None):
        self.model = model.eval()
        self.name = name or model.name
        self.is_split = model.identity_size > 0 and model.expression_size > 0

    @torch.no_grad()
    def encode(self, scans: Scans) -> MethodCodes:
        """Both codes."""
        return self._out(torch.cat(self.model.encode(self._in(scans)), dim=1))

    @torch.no_grad()
    def decode(self, codes: MethodCodes) -> Scans | None:
        """Reconstructions, in mm."""
        return self._out(self.model.decode(self._codes(codes)))

    @torch.no_grad()
    def neutral(self, codes: MethodCodes) -> Scans | None:
        """Faces at rest, in mm."""
        return self._out(self.model.neutral(self._codes(codes).identity)) if self.is_split else None

    @torch.no_grad()
    def expression_only(self, codes: MethodCodes) -> Scans | None:
        """Expressions on no one in particular, in mm."""
        return self._out(self.model.expression_only(self._codes(codes).expression)) if self.is_split else None

    @torch.no_grad()
    def transfer(self, identity: MethodCodes, expression: MethodCodes) -> Scans | None:
        """Identity code of the first, expression code of the second, decoded."""
        if not self.is_split:
            return None
        codes = Codes(self._codes(identity).identity, self._codes(expression).expression)
        return self._out(self.model.decode(codes))

    def factors(self, codes: MethodCodes) -> Factors | None:
        """Both codes and their spread in training."""
        if not self.is_split:
            return None
        size = self.model.identity_size
        spread = self.model.prior().standard_deviations()
        return Factors(codes[:, :size], codes[:, size:], self._out(spread.identity[0]), self._out(spread.expression[0]))

    def _codes(self, codes: MethodCodes) -> Codes:
        both = self._in(codes)
        return Codes(both[:, : self.model.identity_size], both[:, self.model.identity_size :])

    def _in(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.model.identity_mean)

    def _out(self, values: torch.Tensor) -> np.ndarray:
        return values.float().cpu().numpy()
