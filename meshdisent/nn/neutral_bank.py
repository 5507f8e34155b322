r"""The Neutral Bank: a running estimate of each subject's face at rest (WSDF, eq. 3).

.. math:: B_k \leftarrow B_k + (1 - \beta)\,(\overline{X}_k - B_k)

with :math:`\overline{X}_k` the mean of the batch's reconstructions of subject :math:`k`, once per subject and step.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.errors import RecipeError


def confidence(count: Int[Tensor, " subject"], shift: float = 5.0) -> Float[Tensor, " subject"]:
    r"""How far a bank entry may be trusted, from the number of training scans of its subject (WSDF, eq. 6).

    .. math:: \alpha = \max(0, 1 - e^{s - n})

    The published code shifts by 5, so subjects with five scans or fewer have no neutral loss; the paper says 1.

    Examples
    --------
    >>> confidence(torch.tensor([4, 5, 6])).tolist()
    [0.0, 0.0, 0.6321205588285577]
    """
    return (1 - torch.exp(shift - count.double())).clamp(min=0)


class NeutralBank(nn.Module):
    """One scan in mm for each training subject, outside the gradient.

    Parameters
    ----------
    subject_count : Number of training subjects, S.
    start : (V, 3) The entry of every subject at first, in the paper the mean training scan; or (S, V, 3), one each.
    beta : How much of an entry stays in an update; 1 freezes the bank.

    Raises
    ------
    RecipeError : If beta is not between 0 and 1.
    """

    entries: Tensor

    def __init__(self, subject_count: int, start: Float[Tensor, "*subject vertex 3"], beta: float = 0.99):
        super().__init__()
        _check_beta(beta)
        self.beta = beta
        self.register_buffer("entries", start.detach().expand(subject_count, *start.shape[-2:]).clone())

    def forward(self, subject: Int[Tensor, " batch"]) -> Float[Tensor, "batch vertex 3"]:
        """Entries of some subjects, in mm."""
        return self.entries[subject]

    @torch.no_grad()
    def update(self, subject: Int[Tensor, " batch"], vertices: Float[Tensor, "batch vertex 3"]) -> None:
        """Move the entries of a batch's subjects towards the mean of their scans, in mm.

        A scan with a coordinate that is not finite counts as the old entry, so it cannot spoil the bank.
        """
        step, share = _towards(self(subject), subject, vertices, len(self.entries), self.beta)
        self.entries.index_add_(0, subject, step * share[:, None, None])


class PrincipalBank(nn.Module):
    r"""The same bank, with entries kept by their coordinates along principal directions: K numbers a subject (ours).

    .. math:: B_k = \bar{X} + D^T c_k, \qquad c_k \leftarrow c_k + (1 - \beta)\,D(\overline{X}_k - B_k)

    A face of 25,000 vertices takes 300 KB, 256 coordinates 1 KB. What the directions D do not span is lost; as the bank
    is linear, it is what the full bank would hold, projected.

    Parameters
    ----------
    subject_count : Number of training subjects, S.
    start : (V, 3) or (S, V, 3) mm, as for :class:`NeutralBank`; what the directions do not span of it is lost.
    center : (V, 3) mm.
    directions : (K, 3V) Orthonormal.
    """

    coordinates: Tensor
    center: Tensor
    directions: Tensor

    def __init__(
        self,
        subject_count: int,
        start: Float[Tensor, "*subject vertex 3"],
        center: Float[Tensor, "vertex 3"],
        directions: Float[Tensor, "component coordinate"],
        beta: float = 0.99,
    ):
        super().__init__()
        _check_beta(beta)
        self.beta = beta
        found = (start - center).flatten(start_dim=-2).detach() @ directions.T
        self.register_buffer("coordinates", found.expand(subject_count, len(directions)).clone())
        self.register_buffer("center", center.detach().clone())
        self.register_buffer("directions", directions.detach().clone())

    @classmethod
    def of_coordinates(
        cls,
        coordinates: Float[Tensor, "subject component"],
        center: Float[Tensor, "vertex 3"],
        directions: Float[Tensor, "component coordinate"],
        beta: float,
    ) -> "PrincipalBank":
        """The bank that a file keeps."""
        bank = cls(len(coordinates), center, center, directions, beta)
        bank.coordinates.copy_(coordinates)
        return bank

    @property
    def entries(self) -> Float[Tensor, "subject vertex 3"]:
        """All entries as faces, in mm."""
        return self(torch.arange(len(self.coordinates), device=self.coordinates.device))

    def forward(self, subject: Int[Tensor, " batch"]) -> Float[Tensor, "batch vertex 3"]:
        """Entries of some subjects, in mm."""
        return self.center + (self.coordinates[subject] @ self.directions).unflatten(1, (-1, 3))

    @torch.no_grad()
    def update(self, subject: Int[Tensor, " batch"], vertices: Float[Tensor, "batch vertex 3"]) -> None:
        """Move entries towards the mean of their scans; see :meth:`NeutralBank.update`."""
        step, share = _towards(self(subject), subject, vertices, len(self.coordinates), self.beta)
        self.coordinates.index_add_(0, subject, (step.flatten(start_dim=1) @ self.directions.T) * share[:, None])


def _towards(
    own: Tensor, subject: Tensor, vertices: Tensor, subject_count: int, beta: float
) -> tuple[Float[Tensor, "batch vertex 3"], Float[Tensor, " batch"]]:
    """From entries to scans, and how much of that each scan of a batch may move its entry."""
    is_finite = vertices.isfinite().all(dim=2).all(dim=1)
    step = torch.where(is_finite[:, None, None], vertices - own, 0.0)
    scans_of_subject = torch.bincount(subject, minlength=subject_count)[subject]
    return step, (1 - beta) / scans_of_subject.to(step.dtype)


def _check_beta(beta: float) -> None:
    if not 0 <= beta <= 1:
        raise RecipeError(f"The bank's beta is {beta}; wanted 0 to 1, the share of an entry that stays. Set 0.99.")
