"""What anybody can do without a network: printed next to every model, because a model has to beat it."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.evaluation.methods import Method, MethodCodes, Scans
from meshdisent.morphable.linear import ridge
from meshdisent.morphable.principal import PrincipalDirections, principal_directions

#: Principal coordinates that the ridge regression looks at.
COMPONENTS = 300
RIDGE_WEIGHT = 1e-4


class InputItself(Method):
    """The scan as its own neutral; needs nothing."""

    name = "input"
    description: ClassVar[str] = "the scan itself, unchanged"

    def encode(self, scans: Scans) -> MethodCodes:
        """The scan."""
        return scans.reshape(len(scans), -1)

    def neutral(self, codes: MethodCodes) -> Scans | None:
        """The scan."""
        return codes.reshape(len(codes), -1, 3)

    def transfer(self, identity: MethodCodes, expression: MethodCodes) -> Scans | None:
        """The first scan, unchanged."""
        return self.neutral(identity)

    def detail(self, scans: Scans, decoded: Scans | None) -> Scans | None:
        """Nothing is lacking."""
        return np.zeros_like(scans)


class MeanFace(Method):
    """The mean training scan, whatever is shown."""

    name = "mean face"
    description: ClassVar[str] = "the mean training scan, for everything"

    def __init__(self, mean: Float[np.ndarray, "vertex 3"]):
        self.mean = mean

    def encode(self, scans: Scans) -> MethodCodes:
        """Nothing."""
        return np.zeros((len(scans), 0), np.float32)

    def decode(self, codes: MethodCodes) -> Scans | None:
        """The mean face."""
        return np.repeat(self.mean[None], len(codes), axis=0)

    def neutral(self, codes: MethodCodes) -> Scans | None:
        """The mean face."""
        return self.decode(codes)

    def transfer(self, identity: MethodCodes, expression: MethodCodes) -> Scans | None:
        """The mean face."""
        return self.decode(identity)

    def detail(self, scans: Scans, decoded: Scans | None) -> Scans | None:
        """Not defined: the mean face with everything kept that it lacks is the scan."""
        return None


class PrincipalComponents(Method):
    """The best linear reconstruction with so many numbers; it separates nothing."""

    description: ClassVar[str] = "principal components of the training scans, as many as the model has code entries"

    def __init__(self, mean: Float[np.ndarray, "vertex 3"], directions: Float[np.ndarray, "component coordinate"]):
        self.name = f"PCA {len(directions)}"
        self.mean = mean.reshape(-1)
        self.directions = directions

    def encode(self, scans: Scans) -> MethodCodes:
        """Principal coordinates, mm."""
        return (scans.reshape(len(scans), -1) - self.mean) @ self.directions.T

    def decode(self, codes: MethodCodes) -> Scans | None:
        """Reconstructions, mm."""
        return (self.mean + codes @ self.directions).reshape(len(codes), -1, 3)


class RidgeNeutral(Method):
    """Ridge regression from principal coordinates of a scan to the subject's pseudo-neutral, without any code between.

    Expressions are transferred by adding what the second scan shows beyond its own predicted neutral.
    """

    description: ClassVar[str] = (
        "ridge regression from principal coordinates to the subject's pseudo-neutral, full rank"
    )

    def __init__(
        self,
        kind: str,
        mean: Float[np.ndarray, "vertex 3"],
        weights: Float[np.ndarray, "component coordinate"],
        whiten: Float[np.ndarray, "coordinate component"],
        rest: Float[np.ndarray, " coordinate"],
    ):
        self.name = f"ridge to {kind}"
        self.mean = mean.reshape(-1)
        self.weights, self.whiten, self.rest = weights, whiten, rest

    def encode(self, scans: Scans) -> MethodCodes:
        """The scan; its neutral is predicted when it is asked for."""
        return scans.reshape(len(scans), -1)

    def neutral(self, codes: MethodCodes) -> Scans | None:
        """Predicted neutrals, mm."""
        return self._predicted(codes)

    def transfer(self, identity: MethodCodes, expression: MethodCodes) -> Scans | None:
        """The first's predicted neutral with the second's displacement added."""
        second = self._predicted(expression)
        return self._predicted(identity) + expression.reshape(second.shape) - second

    def _predicted(self, scans: MethodCodes) -> Scans:
        return (self.rest + (scans - self.mean) @ self.whiten @ self.weights).reshape(len(scans), -1, 3)


def baselines(
    scans: ScanDataset, code_counts: Sequence[int], kinds: tuple[str, ...] = ("mode",)
) -> tuple[list[Method], list[str]]:
    """The methods that a model is printed next to, and what had to be left out and why.

    Parameters
    ----------
    code_counts : Entries of both codes of each model; principal components get as many, a row for each number.
    kinds : Pseudo-neutrals that the ridge regression is trained on, one row each.
    """
    found: list[Method] = [InputItself()]
    rows = scans.rows("train")
    if len(rows) < 2:
        return found, ["no training scans: the mean face, PCA and ridge are left out"]
    shown = torch.from_numpy(scans.vertices(rows)).flatten(start_dim=1)
    center = shown.mean(dim=0)
    mean = center.numpy().reshape(-1, 3)
    principal = principal_directions(shown - center, max(COMPONENTS, *code_counts))
    found.append(MeanFace(mean))
    for count in sorted(set(code_counts) - {0}):
        found.append(PrincipalComponents(mean, principal.directions[:count].numpy()))
    for kind in kinds:
        found.append(_ridge(kind, scans, rows, shown - center, mean, principal))
    return found, []


def _ridge(
    kind: str,
    scans: ScanDataset,
    rows: np.ndarray,
    centered: torch.Tensor,
    mean: Float[np.ndarray, "vertex 3"],
    principal: PrincipalDirections,
) -> RidgeNeutral:
    neutrals = torch.from_numpy(pseudo_neutrals(scans, kind)).flatten(start_dim=1)
    directions, deviations = principal.directions[:COMPONENTS], principal.deviations[:COMPONENTS]
    whiten = (directions / deviations[:, None]).T
    # Only the few coordinates are taken in double precision: all scans would be twice as large as the training split.
    weights, rest = ridge((centered @ whiten).double(), neutrals[scans.subject[rows]], RIDGE_WEIGHT)
    return RidgeNeutral(kind, mean, weights.float().numpy(), whiten.numpy(), rest.float().numpy())
