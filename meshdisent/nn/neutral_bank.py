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
        if not 0 <= beta <= 1:
            raise RecipeError(f"The bank's beta is {beta}; wanted 0 to 1, the share of an entry that stays. Set 0.99.")
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
        own = self.entries[subject]
        is_finite = vertices.isfinite().all(dim=2).all(dim=1)
        step = torch.where(is_finite[:, None, None], vertices - own, 0.0)
        scans_of_subject = torch.bincount(subject, minlength=len(self.entries))[subject]
        share = (1 - self.beta) / scans_of_subject.to(step.dtype)
        self.entries.index_add_(0, subject, step * share[:, None, None])
