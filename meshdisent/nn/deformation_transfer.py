r"""Displacements carried from the mean face to a person, and back (Sumner and Popovic 2004, to first order).

A wider face smiles wider. With :math:`M_v(z)` the local map of vertex :math:`v` from the mean face to the face of the
identity code :math:`z` (:mod:`meshdisent.mesh.local_maps`), a displacement :math:`g` of the mean face becomes

.. math:: d_v = M_v(z)\,g_v, \qquad M_v(z) = I + \sum_i z_i\,\partial_i M_v

so decoding is bilinear in both codes with a core tensor that nobody has to learn.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.mesh.local_maps import map_derivatives
from meshdisent.mesh.topology import Topology


class DeformationTransfer(nn.Module):
    """Carries displacements between the mean face and the faces of identity codes.

    Parameters
    ----------
    rest : (V, 3) The mean face, in mm.
    basis : (I, 3V) How each entry of the identity code moves it, in mm.
    topology : Of these faces; its template does not matter.
    smoothing_mm : Over which distance local maps are averaged.

    Examples
    --------
    >>> transfer = DeformationTransfer(model.rest.unflatten(0, (-1, 3)), model.identity_basis, model.topology)
    >>> identity, smile = torch.tensor([[1.0, -0.5, 2.0]]), torch.ones(1, 162, 3)
    >>> carried = transfer(identity, smile)
    >>> bool((carried == smile).all()), bool(torch.allclose(transfer.undo(identity, carried), smile, atol=1e-5))
    (False, True)
    """

    growth: Tensor

    def __init__(
        self,
        rest: Float[Tensor, "vertex 3"],
        basis: Float[Tensor, "identity coordinate"],
        topology: Topology,
        smoothing_mm: float = 15.0,
    ):
        super().__init__()
        mean = Topology(template=rest.double().cpu().numpy(), faces=topology.faces)
        directions = basis.double().cpu().numpy().reshape(len(basis), -1, 3)
        derivatives = map_derivatives(mean, directions, smoothing_mm).reshape(len(basis), -1)
        # Follows from rest and basis: computed in a tenth of a second where both are read, and not stored with them.
        self.register_buffer("growth", torch.from_numpy(derivatives.astype(np.float32)).to(basis), persistent=False)

    def maps(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3 3"]:
        """Local maps from the mean face to the faces of some codes, less the identity."""
        return (identity @ self.growth).unflatten(1, (-1, 3, 3))

    def forward(
        self, identity: Float[Tensor, "batch identity"], displacement: Float[Tensor, "batch vertex 3"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Displacements of the mean face, carried to the faces of some codes; in mm."""
        return displacement + _times(self.maps(identity), displacement)

    def undo(
        self, identity: Float[Tensor, "batch identity"], displacement: Float[Tensor, "batch vertex 3"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Displacements seen on the faces of some codes, carried back to the mean face; in mm."""
        a, b, c = (self.maps(identity) + torch.eye(3).to(displacement)).unbind(dim=-1)  # columns of each map
        # Cramer's rule: a thousand small systems at once, where a general solver takes twenty times as long.
        rows = torch.stack([b.cross(c, dim=-1), c.cross(a, dim=-1), a.cross(b, dim=-1)], dim=-2)
        determinant = (a * rows[..., 0, :]).sum(dim=-1, keepdim=True)
        # Nobody's face is a fifth of the mean one anywhere; what extreme codes say there must not blow up.
        return _times(rows, displacement) / determinant.clamp(min=0.2)


def _times(
    maps: Float[Tensor, "batch vertex 3 3"], displacement: Float[Tensor, "batch vertex 3"]
) -> Float[Tensor, "batch vertex 3"]:
    # Sums of products, since a batch of small matrix products is several times slower on a CPU.
    return (maps * displacement[:, :, None, :]).sum(dim=-1)
