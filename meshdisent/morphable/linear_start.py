"""A frozen model of linear algebra inside a network: the network learns only what linear algebra cannot say.

A network from noise needs hours for what a linear path gives in seconds, and on a few hundred people it over-fits on
the way. With a linear start the codes and scans of an untrained model are those of :mod:`meshdisent.morphable.linear`,
or better ones: displacements may be carried from the mean face to each person by local maps, and the regression from
scans to codes may learn from people that nobody scanned.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearConfig, LinearParts, ridge, solve
from meshdisent.morphable.principal import principal_directions
from meshdisent.nn.deformation_transfer import DeformationTransfer
from meshdisent.nn.synthetic_people import SyntheticPeople

#: Scans of synthetic people that the regression to codes learns from, and the bytes that they may take.
_SHOWN, _SHOWN_BYTES = 6000, 2**29
#: Training scans that are carried to the mean face at once.
_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class LinearStartConfig:
    """Whether there is a linear start, and from which linear model.

    Parameters
    ----------
    neutrals, mirrored : As in :class:`~meshdisent.morphable.linear.LinearConfig`; ``off`` for no linear start.
    expressions : ``added``: an expression displaces everybody alike. ``carried``: its displacement is carried from the
        mean face to each person by local maps (:mod:`meshdisent.nn.deformation_transfer`).
    learned_from : What the regression from scans to codes is solved on: the training ``scans``, or scans of synthetic
        ``people`` (:mod:`meshdisent.nn.synthetic_people`).
    log_variance : Of the untrained posteriors: small, so that codes carry the scan from the first step on.
    networks_change : What the networks add to: ``everything``; ``codes_and_expressions``, where the neutral of an
        identity code stays that of linear algebra; or the ``expression`` alone, where identity codes stay so too, and
        the networks learn how an expression depends on the person and on its own strength.
    """

    neutrals: Literal["off", "mode", "median", "mean"] = "off"
    mirrored: bool = False
    expressions: Literal["added", "carried"] = "added"
    learned_from: Literal["scans", "people"] = "scans"
    log_variance: float = -4.0
    networks_change: Literal["everything", "codes_and_expressions", "expression"] = "everything"

    @property
    def is_on(self) -> bool:
        """Whether there is one."""
        return self.neutrals != "off"


class Shown(NamedTuple):
    """Scans to learn from, and the codes that each should get."""

    scans: Float[Tensor, "scan coordinate"]  # mm
    codes: Float[Tensor, "scan code"]


class Sight(NamedTuple):
    """Unit-free principal coordinates of scans: ``(scan - center) @ directions.T``."""

    center: Float[Tensor, " coordinate"]  # mm
    directions: Float[Tensor, "component coordinate"]  # per mm


class LinearStart(nn.Module):
    """The linear paths, as buffers: no gradient moves them. Lengths in mm.

    Parameters
    ----------
    parts : Bases and encoder.
    topology : Of the scans; local maps need its faces.
    expressions : As in :class:`LinearStartConfig`.
    """

    center: Tensor
    encoder: Tensor
    offset: Tensor
    rest: Tensor
    basis: Tensor

    def __init__(self, parts: LinearParts, topology: Topology, expressions: Literal["added", "carried"]):
        super().__init__()
        self.identity_size = len(parts.identity_basis)
        self.register_buffer("center", parts.center.float())
        self.register_buffer("encoder", parts.encoder.float())
        self.register_buffer("offset", parts.offset.float())
        self.register_buffer("rest", parts.rest.float())
        self.register_buffer("basis", torch.cat([parts.identity_basis, parts.expression_basis]).float())
        self.transfer: DeformationTransfer | None = None
        if expressions == "carried":
            rest = self.rest.unflatten(0, (-1, 3))
            self.transfer = DeformationTransfer(rest, self.basis[: self.identity_size], topology)

    @classmethod
    def of(
        cls,
        scans: ScanDataset,
        neutrals: Float[np.ndarray, "subject vertex 3"],
        sizes: tuple[int, int],
        config: LinearStartConfig,
        people: SyntheticPeople | None = None,
    ) -> "LinearStart":
        """Solve for the linear paths; codes have unit variance, as the prior wants them.

        Parameters
        ----------
        neutrals : (S, V, 3) Pseudo-neutrals of the subjects, in mm.
        sizes : Entries of the identity and the expression code.
        people : Needed where expressions are carried.
        """
        if config.neutrals == "off":
            raise DataError("A linear start was asked for with neutrals off; wanted mode, median or mean.")
        linear = LinearConfig(
            identity_size=sizes[0], expression_size=sizes[1], neutrals=config.neutrals, mirrored=config.mirrored
        )
        parts = solve(scans, neutrals, linear)
        if config.expressions == "carried":
            if people is None:
                raise DataError("Carried expressions need synthetic people; wanted config.people.")
            found = principal_directions(displacements_at_the_mean(scans, neutrals, people), sizes[1])
            parts = parts._replace(expression_basis=(found.directions * found.deviations[:, None]).double())
        spanned = len(parts.identity_basis), len(parts.expression_basis)
        if spanned != sizes:
            raise DataError(
                f"The training scans span {spanned[0]} identity and {spanned[1]} expression directions; the recipe "
                f"wants {sizes[0]} and {sizes[1]} code entries. Set config.identity_size and config.expression_size to "
                "at most these, or add subjects."
            )
        return cls(parts, scans.topology, config.expressions)

    @classmethod
    def from_state(
        cls, state: dict[str, Tensor], identity_size: int, topology: Topology, expressions: Literal["added", "carried"]
    ) -> "LinearStart":
        """Build it from the buffers in a file."""
        basis = state["basis"]
        bases = basis[:identity_size], basis[identity_size:]
        return cls(
            LinearParts(state["rest"], *bases, state["center"], state["encoder"], state["offset"]),
            topology,
            expressions,
        )

    def learn(self, shown: Shown, sight: Sight, ridge_weight: float = 1e-4) -> None:
        """Solve the regression from scans to codes anew, on other scans than the training ones."""
        coordinates = (shown.scans - sight.center) @ sight.directions.T
        weights, offset = ridge(coordinates.double(), shown.codes.double(), ridge_weight)
        self.center.copy_(sight.center)
        self.encoder.copy_(sight.directions.T.double() @ weights)
        self.offset.copy_(offset)

    def encode(self, vertices: Float[Tensor, "batch vertex 3"]) -> Codes:
        """Linear codes of scans in mm."""
        codes = (vertices.flatten(start_dim=1) - self.center) @ self.encoder + self.offset
        return Codes(codes[:, : self.identity_size], codes[:, self.identity_size :])

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Faces at rest, in mm."""
        return (self.rest + identity @ self.basis[: self.identity_size]).unflatten(1, (-1, 3))

    def displacement(
        self, codes: Codes, added: Float[Tensor, "batch vertex 3"] | None = None
    ) -> Float[Tensor, "batch vertex 3"]:
        """How far expressions move faces, in mm; ``added`` is what else moves the mean face, and is carried alike."""
        moved = (codes.expression @ self.basis[self.identity_size :]).unflatten(1, (-1, 3))
        moved = moved if added is None else moved + added
        return moved if self.transfer is None else self.transfer(codes.identity, moved)

    def decode(self, codes: Codes) -> Float[Tensor, "batch vertex 3"]:
        """Scans in mm."""
        return self.neutral(codes.identity) + self.displacement(codes)


def displacements_at_the_mean(
    scans: ScanDataset, neutrals: Float[np.ndarray, "subject vertex 3"], people: SyntheticPeople
) -> Float[Tensor, "scan coordinate"]:
    """What the training scans show beside their subjects at rest, carried to the mean face; in mm."""
    rows = scans.rows("train")
    blocks = []
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        at_rest = torch.from_numpy(neutrals[scans.subject[part]]).float()
        blocks.append(people.at_the_mean(torch.from_numpy(scans.vertices(part)), at_rest).flatten(start_dim=1))
    return torch.cat(blocks)


def show_people(start: LinearStart, displacements: Float[Tensor, "scan coordinate"], people: SyntheticPeople) -> Shown:
    """Scans of synthetic people, each with the displacement of a training scan, and the codes that say both best."""
    count = min(_SHOWN, _SHOWN_BYTES // (4 * displacements.shape[1]))
    generator = torch.Generator().manual_seed(0)
    identity_basis, expression_basis = start.basis.split([start.identity_size, len(start.basis) - start.identity_size])
    scans, codes = [], []
    for begin in range(0, count, _BLOCK):
        size = min(_BLOCK, count - begin)
        drawn = people.draw(size, generator)
        moved = displacements[torch.randint(len(displacements), (size,), generator=generator)]
        scans.append(people.carry(moved.unflatten(1, (-1, 3)), drawn).flatten(start_dim=1))
        identity = (drawn.neutral.flatten(start_dim=1) - start.rest) @ identity_basis.T / _squares(identity_basis)
        codes.append(torch.cat([identity, moved @ expression_basis.T / _squares(expression_basis)], dim=1))
    return Shown(torch.cat(scans), torch.cat(codes))


def see(scans: Float[Tensor, "scan coordinate"], components: int) -> Sight:
    """The principal coordinates of scans in mm, scaled to unit variance."""
    center = scans.mean(dim=0)
    found = principal_directions(scans - center, components, rounds=1)
    return Sight(center, found.directions / found.deviations[:, None])


def _squares(basis: Float[Tensor, "code coordinate"]) -> Float[Tensor, " code"]:
    return basis.square().sum(dim=1)
