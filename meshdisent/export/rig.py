r"""A linear rig of a subject: the face at rest and what each morph target adds to it.

.. math:: R(w) = N(z_{id}) + \sum_k w_k d_k, \qquad d_k = D(z_{id}, z_k) - N(z_{id})

with :math:`D` the model's decoder and :math:`N` its face at rest, so that every target alone is exactly the model's.
Programs that play rigs know nothing else than this sum. What they lose against the model is the difference to
:math:`D(z_{id}, \sum_k w_k z_k)`, measured here at half weight and where several targets meet; it is zero for a model
that is linear in the expression.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.editing import as_scans, encode_scans
from meshdisent.errors import UsageError
from meshdisent.export.sides import Sides
from meshdisent.export.targets import ExpressionCodes
from meshdisent.morphable.arkit_names import shown_weights
from meshdisent.morphable.contract import Codes, MorphableModel

#: Random combinations that are measured, how many targets meet in one, and vertices decoded at once.
COMBINATIONS, MEETING, BLOCK = 100, (2, 3), 64


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Distance between rig and model over the vertices of some faces, mm.

    Attributes
    ----------
    mean_mm, worst_mm : Mean over all faces and vertices, and the largest of one vertex.
    motion_mm : Mean distance of the model's vertices from rest: what the error compares to.
    worst : The targets of the face with the largest error.
    """

    mean_mm: float
    worst_mm: float
    motion_mm: float
    worst: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RigErrors:
    """How far the rig is from the model: each target alone, at half weight, and 2 or 3 at once at full weight.

    ``mouthClose`` of ARKit is measured with ``jawOpen``, without which it is no face; alone is alone.
    """

    alone: Gap
    half: Gap
    together: Gap

    def as_numbers(self) -> dict[str, dict[str, Any]]:
        """One dictionary for JSON."""
        return {name: vars(gap) | {"worst": list(gap.worst)} for name, gap in vars(self).items()}

    def in_words(self) -> str:
        """Three lines of a table."""
        rows = {"each target alone": self.alone, "at half weight": self.half, "2 or 3 at once": self.together}
        head = f"{'rig against model, mm':24} {'mean':>8} {'worst':>8} {'motion':>8}"
        lines = [
            f"{name:24} {gap.mean_mm:8.3f} {gap.worst_mm:8.3f} {gap.motion_mm:8.3f}  ({' + '.join(gap.worst)})"
            for name, gap in rows.items()
        ]
        return "\n".join([head, *lines])


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A face at rest and its morph targets.

    Attributes
    ----------
    neutral : (V, 3) mm.
    faces : (F, 3)
    names : Of the K targets.
    displacements : (K, V, 3) What each adds at full weight, mm.
    errors : Against the model.
    """

    neutral: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    names: tuple[str, ...]
    displacements: Float[np.ndarray, "target vertex 3"]
    errors: RigErrors

    def face(self, weights: Mapping[str, float]) -> Float[np.ndarray, "vertex 3"]:
        """The face of some weights by name, mm; all others are 0.

        Raises
        ------
        UsageError : If there is no target of a name.
        """
        row = np.zeros(len(self.names))
        for name, weight in weights.items():
            if name not in self.names:
                raise UsageError(f"The rig has no target {name!r}; it has {len(self.names)}: {', '.join(self.names)}.")
            row[self.names.index(name)] = weight
        return self.pose(row[None])[0]

    def pose(self, weights: Float[np.ndarray, "time target"]) -> Float[np.ndarray, "time vertex 3"]:
        """Faces of some weights, mm."""
        return self.neutral + np.tensordot(weights, self.displacements, axes=1)


@torch.no_grad()
def make_rig(model: MorphableModel, scan: Any, codes: ExpressionCodes, keep_detail: bool = False, seed: int = 0) -> Rig:
    """Make the rig of a subject.

    Parameters
    ----------
    scan : The subject, with any expression; ``"mean"`` for the mean of all subjects.
    codes : (E,) Expression code of each target; see :mod:`meshdisent.export.targets`. Left and right of one shape, by
        their names, move their own side only (:mod:`meshdisent.export.sides`).
    keep_detail : Keep on the face at rest what the codes cannot say of the scan.
    seed : Of the combinations that are measured.

    Raises
    ------
    UsageError : If there is no target, or the model has no expression of its own, or detail is to be kept of no scan.

    Examples
    --------
    >>> rig = make_rig(model, "mean", {"smile": torch.ones(model.expression_size)})
    >>> rig.names, rig.displacements.shape, rig.errors.half.worst_mm < 1e-3
    (('smile',), (1, 162, 3), True)
    """
    if not codes:
        raise UsageError("A rig got no target; wanted at least one expression code.")
    person, detail = read_subject(model, scan, keep_detail)
    rest = model.neutral(person)[0]
    maker = FaceMaker.of(model, person, codes)
    displacements = maker.faces(torch.eye(len(codes)).to(rest)) - rest
    return Rig(
        neutral=(rest + detail).double().cpu().numpy(),
        faces=model.topology.faces,
        names=tuple(codes),
        displacements=displacements.double().cpu().numpy(),
        errors=_measure(maker, tuple(codes), displacements, seed),
    )


@torch.no_grad()
def read_subject(
    model: MorphableModel, scan: Any, keep_detail: bool = False
) -> tuple[Float[Tensor, "1 identity"], Float[Tensor, "vertex 3"]]:
    """The identity code of a scan (or of ``"mean"``), and what is added to each of its faces, mm; raises as above."""
    if model.identity_size == 0 or model.expression_size == 0:
        raise UsageError(f"A {model.name} model does not separate identity from expression, so it has no rig.")
    nothing = torch.zeros(model.topology.vertex_count, 3).to(model.like)
    if isinstance(scan, str) and scan == "mean":
        if keep_detail:
            raise UsageError("The mean of all subjects has no detail to keep; name a scan, or leave --keep-detail out.")
        return model.prior().identity_mean[None], nothing
    seen = as_scans(model, scan)
    if len(seen) != 1:
        raise UsageError(f"{len(seen)} scans were given for one rig; wanted one. Make a rig for each.")
    codes = encode_scans(model, seen[0])
    return codes.identity, torch.from_numpy(seen[0]).to(model.like) - model.decode(codes)[0] if keep_detail else nothing


def decode_blocks(
    model: MorphableModel, person: Float[Tensor, "1 identity"], codes: Float[Tensor, "face expression"]
) -> Float[Tensor, "face vertex 3"]:
    """Faces of one person, mm, some at a time."""
    blocks = codes.split(BLOCK)
    return torch.cat([model.decode(Codes(person.expand(len(block), -1), block)) for block in blocks])


@dataclass(frozen=True, eq=False)
class FaceMaker:
    """One person's faces by the model itself, for weights of expressions.

    Attributes
    ----------
    model, person : The model and (1, I) an identity code.
    table : (K, E) Expression codes; weights add them up.
    sides : Which of them are sides of one shape; see :mod:`~meshdisent.export.sides`.
    """

    model: MorphableModel
    person: Float[Tensor, "1 identity"]
    table: Float[Tensor, "target expression"]
    sides: Sides | None

    @classmethod
    def of(cls, model: MorphableModel, person: Float[Tensor, "1 identity"], codes: ExpressionCodes) -> "FaceMaker":
        """Of codes by their names."""
        table = torch.stack([code.to(person) for code in codes.values()])
        return cls(model, person, table, Sides.of(tuple(codes), model.topology, table))

    def faces(self, weights: Float[Tensor, "time target"]) -> Float[Tensor, "time vertex 3"]:
        """Faces, mm."""
        if self.sides is None:
            return decode_blocks(self.model, self.person, weights @ self.table)
        sides = (self.sides.of_left(weights), self.sides.of_right(weights))
        return self.sides.join(*(decode_blocks(self.model, self.person, side @ self.table) for side in sides))


def _measure(maker: FaceMaker, names: tuple[str, ...], displacements: Tensor, seed: int) -> RigErrors:
    table = maker.table
    each = torch.eye(len(names)).to(table)
    shown = torch.from_numpy(shown_weights(names)).to(table)
    random = np.random.default_rng(seed)
    meetings = torch.zeros(COMBINATIONS, len(names)).to(table)
    for row in meetings:
        count = min(int(random.choice(MEETING)), len(names))
        chosen = torch.from_numpy(random.choice(len(names), count, replace=False)).to(row.device)
        row.copy_(shown[chosen].amax(dim=0))
    rest = maker.model.neutral(maker.person)[0]

    def gap(weights: Tensor) -> Gap:
        rig = (weights @ displacements.flatten(1)).unflatten(1, (-1, 3))
        truth = maker.faces(weights) - rest
        error = (rig - truth).norm(dim=2)
        worst = int(error.amax(dim=1).argmax())
        return Gap(
            mean_mm=float(error.mean()),
            worst_mm=float(error.max()),
            motion_mm=float(truth.norm(dim=2).mean()),
            worst=tuple(name for name, weight in zip(names, weights[worst], strict=True) if weight),
        )

    return RigErrors(alone=gap(each), half=gap(shown / 2), together=gap(meetings))
