r"""Scans as a tensor subject x expression x vertex, its factors mode by mode, and what to do where cells are empty.

.. math:: T_{sek} \approx \sum_{ij} a_{si}\, b_{ej}\, C_{ijk}, \qquad a_s = (1, z_s), \quad b_e = (1, z_e)

Factors are principal directions of one mode at a time (higher-order SVD: Tucker 1966; De Lathauwer et al. 2000), the
core is then a least-squares fit. Both modes are affine, which the papers' are not: the constant entry stands for the
mean subject and for the face at rest, so codes zero are a face, and the code of no expression is exactly zero.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.morphable.principal import principal_directions

#: Filling in has converged when it moves the empty cells by less, root mean square over their vertices.
TOLERANCE_MM = 0.01
#: Smallest variance of a coordinate that is taken for noise, as a share of that of the cells.
_EXACT = 1e-9


class Cells(NamedTuple):
    """The mean training scan of each subject and expression of whom there is one, in mm.

    ``rest`` is the expression at rest. ``scan_count`` scans were averaged, ``unlabeled`` have no expression label.
    """

    faces: Float[Tensor, "cell coordinate"]
    subject: Int[Tensor, " cell"]
    expression: Int[Tensor, " cell"]
    rest: int
    scan_count: int
    unlabeled: int

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and expressions."""
        return int(self.subject.max()) + 1, int(self.expression.max()) + 1


def gather_cells(scans: ScanDataset) -> Cells:
    """Average the training scans of each cell; a true neutral stands in where a subject has no scan at rest.

    Subjects and expressions are numbered anew, without those that have no labeled training scan.

    Raises
    ------
    DataError : If scans have no expression labels, there are fewer than two subjects or expressions, or it is not known
        which expression is the face at rest.
    """
    rows = scans.rows("train")
    labeled = rows[scans.expression[rows] >= 0]
    subjects, subject = np.unique(scans.subject[labeled], return_inverse=True)
    expressions, expression = np.unique(scans.expression[labeled], return_inverse=True)
    rest = np.flatnonzero(expressions == _rest(scans, subjects))
    _refuse_other_than_cells(scans, len(subjects), len(expressions), bool(len(rest)))
    cell_of_scan = subject * len(expressions) + expression
    cells, first = np.unique(cell_of_scan, return_index=True)
    faces = [scans.vertices(labeled[cell_of_scan == cell]).mean(axis=0, dtype=np.float64) for cell in cells]
    who, what = subject[first].tolist(), expression[first].tolist()
    for number in np.setdiff1d(np.arange(len(subjects)), subject[expression == rest[0]]):
        truth = None if scans.truth is None else scans.truth[subjects[number]]
        if truth is not None and np.isfinite(truth).all():
            faces.append(truth)
            who.append(int(number))
            what.append(int(rest[0]))
    shown = torch.from_numpy(np.stack([face.astype(np.float32).reshape(-1) for face in faces]))
    return Cells(
        shown, torch.tensor(who), torch.tensor(what), int(rest[0]), len(labeled), unlabeled=len(rows) - len(labeled)
    )


def _refuse_other_than_cells(scans: ScanDataset, subjects: int, expressions: int, has_rest: bool) -> None:
    """Raise :class:`DataError` where labels do not make a tensor."""
    where = scans.path or "The dataset"
    if expressions == 0:
        raise DataError(
            f"{where} has no expression labels on its {len(scans.rows('train'))} training scans; a multilinear model "
            "needs to know what each scan shows. Prepare the scans with expression names, or train with subject labels "
            "alone (linear, wsdf)."
        )
    if not has_rest:
        raise DataError(
            f"{where} does not say which of its {expressions} expressions is the face at rest in the training "
            "scans; a multilinear model needs one. Name it when preparing (--neutral NAME)."
        )
    if subjects < 2 or expressions < 2:
        raise DataError(
            f"{where} has {subjects} subjects and {expressions} expressions with labeled training scans; "
            "a multilinear model wants at least 2 of each."
        )


def _rest(scans: ScanDataset, subjects: Int[np.ndarray, " subject"]) -> int:
    """The expression that most subjects show at rest, -1 if none is known."""
    neutral = scans.neutral_row[subjects]
    labels = scans.expression[neutral[neutral >= 0]]
    labels = labels[labels >= 0]
    return int(np.bincount(labels).argmax()) if len(labels) else -1


class Factors(NamedTuple):
    """Codes of subjects and expressions, of unit mean square, and the core that joins them (see the first lines)."""

    identity: Float[Tensor, "subject identity"]
    expression: Float[Tensor, "row expression"]
    core: Float[Tensor, "identity1 expression1 component"]

    def cells(self) -> Float[Tensor, "subject row component"]:
        """The tensor that the factors stand for."""
        return torch.einsum("si,ej,ijk->sek", with_one(self.identity), with_one(self.expression), self.core)


def with_one(codes: Float[Tensor, "row code"]) -> Float[Tensor, "row code1"]:
    """Codes behind a constant entry.

    Examples
    --------
    >>> with_one(torch.tensor([[3.0, 4.0]])).tolist()
    [[1.0, 3.0, 4.0]]
    """
    return torch.cat([torch.ones_like(codes[:, :1]), codes], dim=1)


def factorize(tensor: Float[Tensor, "subject row component"], rest: int, sizes: tuple[int, int]) -> Factors:
    """Factors of a full tensor by one decomposition a mode, and the core by least squares.

    Codes are fewer than ``sizes`` asks for where the mode spans fewer directions: at most one less than there are
    subjects, and one less than there are expressions. Matrices are as large as the smaller side of each unfolding.
    """
    identity = _scores((tensor - tensor.mean(dim=0)).flatten(start_dim=1), sizes[0])
    moved = (tensor - tensor[:, rest : rest + 1]).transpose(0, 1)  # (E, S, K), zero at rest
    expression = _scores(moved.flatten(start_dim=1), sizes[1])
    ends = [torch.linalg.pinv(with_one(codes)) for codes in (identity, expression)]
    core = torch.einsum("is,sek,je->ijk", ends[0], tensor, ends[1])
    return Factors(identity, expression, core)


def _scores(rows: Float[Tensor, "row column"], count: int) -> Float[Tensor, "row code"]:
    """Coordinates of rows along their principal directions about the origin, of unit mean square."""
    found = principal_directions(rows, count)
    return rows @ found.directions.T / found.deviations


class Filled(NamedTuple):
    """A completed tensor with its factors, and how filling in ended.

    ``noise`` is the variance of a coordinate that the factors do not explain, over the cells that were seen.
    """

    factors: Factors
    tensor: Float[Tensor, "subject row component"]
    noise: Float[Tensor, ""]
    rounds: int
    change_mm: float


def complete(
    tensor: Float[Tensor, "subject row component"],
    known: Bool[Tensor, "subject row"],
    rest: int,
    sizes: tuple[int, int],
    vertex_count: int,
    rounds: int,
) -> Filled:
    """Factorize a tensor of which some cells are empty, which the model itself fills in (expectation-maximization).

    Empty cells begin as the mean of their expression plus what the subject's seen scans differ from theirs. In each
    round the tensor is factorized; each subject's code is then estimated from the seen cells alone, with a standard
    normal prior, and predicts the empty ones. Ends when these move by less than :data:`TOLERANCE_MM`, or after
    ``rounds``.
    """
    filled = torch.where(known[..., None], tensor, _additive(tensor, known))
    change = 0.0
    done = 0
    while True:
        factors = factorize(filled, rest, sizes)
        left = (filled - factors.cells())[known]
        noise = left.square().mean().clamp(min=_EXACT * filled.var())
        if known.all() or done == rounds or (done and change < TOLERANCE_MM):
            return Filled(factors, filled, noise, done, change)
        predicted = _predicted(filled, known, factors, noise)
        moved = torch.where(known[..., None], 0.0, predicted - filled)
        change = float((moved[~known].square().sum(dim=1).mean() / vertex_count).sqrt())
        filled = filled + moved
        done += 1


def _additive(tensor: Tensor, known: Tensor) -> Tensor:
    """Each cell as its expression's mean over the subjects seen in it, plus the subject's mean difference from that."""
    seen = known[..., None].to(tensor.dtype)
    expression = (tensor * seen).sum(dim=0) / seen.sum(dim=0)  # (E, K)
    subject = ((tensor - expression) * seen).sum(dim=1) / seen.sum(dim=1)  # (S, K)
    return expression + subject[:, None]


def _predicted(filled: Tensor, known: Tensor, factors: Factors, noise: Tensor) -> Tensor:
    """Cells as the codes predict them that the seen cells of each subject suggest, and what these lack on average.

    Few codes cannot say all of a person; without that mean, cells that were left out of ICT-300 are filled 1.4 mm off.
    """
    arms = torch.einsum("ej,ijk->iek", with_one(factors.expression), factors.core)  # (I + 1, E, K)
    predicted = filled.clone()
    prior = noise * torch.eye(len(arms) - 1, dtype=filled.dtype)
    for number in torch.nonzero(~known.all(dim=1)).flatten().tolist():
        seen = arms[:, known[number]].flatten(start_dim=1)  # (I + 1, seen K)
        target = filled[number, known[number]].flatten() - seen[0]
        code = torch.linalg.solve(seen[1:] @ seen[1:].T + prior, seen[1:] @ target)
        said = arms[0] + torch.einsum("i,iek->ek", code, arms[1:])
        predicted[number] = said + (filled[number] - said)[known[number]].mean(dim=0)
    return predicted
