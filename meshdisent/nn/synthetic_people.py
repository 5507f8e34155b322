r"""People that nobody scanned, doing what training subjects did, so that networks do not learn a few hundred by heart.

Faces at rest are drawn from a Gaussian: the principal directions of the bank's entries :math:`n_k`, and beyond them,
where a few hundred subjects say nothing, smooth random fields as large as what unseen people have there:

.. math:: n' = \bar n + \sum_i z_i b_i + \sum_m \sigma_m\,\epsilon_m \phi_m, \qquad
    X' = n' + M(n')\,M(n_k)^{-1} (X - n_k)

with :math:`\phi_m` the smooth modes of the mesh (eigenvectors of its Laplacian) and :math:`M` the local maps of
:mod:`meshdisent.nn.deformation_transfer`. The sizes :math:`\sigma_m` are measured by leaving subjects out of the
principal directions. Subject labels are all that is needed (ours; Luthi et al. 2018 build such Gaussians for shapes).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import sparse
from torch import Tensor, nn

from meshdisent.errors import RecipeError
from meshdisent.mesh.topology import Topology
from meshdisent.nn import processes
from meshdisent.nn.deformation_transfer import DeformationTransfer

#: Principal directions that local maps follow; those beyond change a face by less than a tenth of a millimeter.
_CARRIED = 150
#: Smooth modes of the mesh, at most.
_MODES = 300
#: Up to this many vertices all modes are computed and the smoothest taken; it costs about a second.
_DENSE = 2000
#: Subjects are left out in so many groups to see what the principal directions of the others do not say of them.
_FOLDS = 6


class NewPeople(NamedTuple):
    """Some people: coefficients of the principal directions, and faces at rest in mm."""

    coefficients: Float[Tensor, "batch direction"]
    neutral: Float[Tensor, "batch vertex 3"]


class SyntheticPeople(nn.Module):
    """Draws people and carries scans over to them; nothing in it is trained, and no file holds it.

    Parameters
    ----------
    neutrals : (S, V, 3) A face at rest for each training subject, in mm; mirror images may be among them, as many and
        in the same order behind the subjects.
    topology : Theirs.
    mirrored : Whether the second half are mirror images of the first.
    has_tail : Add the smooth fields.

    Raises
    ------
    RecipeError : With fewer than four subjects, whose spread says nothing about people.

    Examples
    --------
    >>> people = SyntheticPeople(scans.neutrals()[0][:4], scans.topology)
    >>> drawn = people.draw(2, torch.Generator().manual_seed(0))
    >>> tuple(drawn.coefficients.shape), tuple(drawn.neutral.shape)
    ((2, 3), (2, 162, 3))
    """

    mean: Tensor
    basis: Tensor
    tail: Tensor
    square: Tensor

    def __init__(
        self,
        neutrals: Float[np.ndarray, "face vertex 3"],
        topology: Topology,
        mirrored: bool = False,
        has_tail: bool = True,
    ):
        super().__init__()
        subjects = len(neutrals) // (2 if mirrored else 1)
        if subjects < 4:
            raise RecipeError(
                f"Synthetic people were asked for, but there are {subjects} training subjects; wanted at least 4, "
                "better a hundred. Set config.people.share to 0, config.linear_start.expressions to added and "
                "config.linear_start.learned_from to scans."
            )
        flat = neutrals.reshape(len(neutrals), -1)
        mean, basis = _principal(flat)
        modes = smooth_modes(topology, min(_MODES, topology.vertex_count // 4)) if has_tail else np.zeros((0, 1))
        sizes = _sizes_beyond(flat, subjects, modes) if has_tail else np.zeros(0)
        for name, value in (("mean", mean), ("basis", basis), ("tail", modes * sizes[:, None])):
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)), persistent=False)
        self.transfer = DeformationTransfer(self.mean.unflatten(0, (-1, 3)), self.basis[:_CARRIED], topology)
        self.register_buffer("square", self.basis.square().sum(dim=1), persistent=False)

    def draw(self, count: int, generator: torch.Generator) -> NewPeople:
        """People of the Gaussian."""
        coefficients = torch.randn(count, len(self.basis), generator=generator, device=generator.device)
        noise = torch.randn(count, 3, len(self.tail), generator=generator, device=generator.device)
        coefficients, noise = coefficients.to(self.mean), noise.to(self.mean)
        neutral = (self.mean + coefficients @ self.basis).unflatten(1, (-1, 3))
        if len(self.tail):
            neutral = neutral + (noise @ self.tail).transpose(1, 2)
        return NewPeople(coefficients, neutral)

    def at_the_mean(
        self, shown: Float[Tensor, "batch vertex 3"], at_rest: Float[Tensor, "batch vertex 3"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Displacements of scans from their subjects' faces at rest, carried to the mean face; in mm."""
        carried = self.basis[:_CARRIED]
        own = (at_rest.flatten(start_dim=1) - self.mean) @ carried.T / self.square[:_CARRIED]
        return self.transfer.undo(own, shown - at_rest)

    def carry(
        self, displacement: Float[Tensor, "batch vertex 3"], people: NewPeople
    ) -> Float[Tensor, "batch vertex 3"]:
        """Scans of the people, in mm, each with one displacement of the mean face."""
        return people.neutral + self.transfer(people.coefficients[:, :_CARRIED], displacement)

    def replace(
        self,
        shown: Float[Tensor, "batch vertex 3"],
        at_rest: Float[Tensor, "batch vertex 3"],
        share: float,
        generator: torch.Generator,
        group: int = 1,
    ) -> tuple[Float[Tensor, "batch vertex 3"], Float[Tensor, "batch vertex 3"], Bool[Tensor, " batch"]]:
        """Scans and faces at rest with about ``share`` of them carried over to new people; True for those that were.

        Each ``group`` scans in a row go to one person.
        """
        count = len(shown) * processes.count()
        drawn = self.draw(-(-count // group), generator)
        people = NewPeople(*(processes.part(value.repeat_interleave(group, dim=0)[:count]) for value in drawn))
        chosen = (
            processes.part(torch.rand(count, generator=generator, device=generator.device)).to(shown.device) < share
        )
        scans = self.carry(self.at_the_mean(shown, at_rest), people)
        where = chosen[:, None, None]
        return torch.where(where, scans, shown), torch.where(where, people.neutral, at_rest), chosen


def smooth_modes(topology: Topology, count: int) -> Float[np.ndarray, "mode vertex"]:
    """The smoothest fields on a mesh: orthonormal eigenvectors of its graph Laplacian, the constant one first.

    Examples
    --------
    >>> modes = smooth_modes(model.topology, 3)
    >>> bool(np.allclose(modes @ modes.T, np.eye(3)))
    True
    """
    degree = np.asarray(topology.adjacency.sum(axis=1)).ravel().astype(np.float64)
    laplacian = sparse.diags_array(degree) - topology.adjacency.astype(np.float64)
    if topology.vertex_count <= _DENSE:
        return np.linalg.eigh(laplacian.toarray())[1][:, :count].T
    start = np.random.default_rng(0).standard_normal(topology.vertex_count)
    values, vectors = sparse.linalg.eigsh(laplacian.tocsc(), k=count, sigma=-1e-3, which="LM", v0=start)
    return vectors[:, np.argsort(values)].T


def _principal(flat: Float[np.ndarray, "face coordinate"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean, and directions scaled so that coefficients have unit variance over the faces."""
    mean = flat.mean(axis=0)
    rows = flat - mean
    # Through the products of the faces with each other: a few hundred squared, where faces have thousands of entries.
    squares, columns = np.linalg.eigh(rows @ rows.T / len(rows))
    spanned = squares > 1e-8 * squares[-1]
    directions = (rows.T @ columns[:, spanned]).T[::-1] / len(rows) ** 0.5  # as long as the deviation along them
    return mean, directions


def _sizes_beyond(
    flat: Float[np.ndarray, "face coordinate"], subjects: int, modes: Float[np.ndarray, "mode vertex"]
) -> Float[np.ndarray, " mode"]:
    """Root mean square, in mm, of each mode in what the other subjects' directions do not say of those left out."""
    group = np.arange(len(flat)) % subjects % _FOLDS  # a subject's mirror image is left out with it
    squares = []
    for fold in np.unique(group):
        mean, basis = _principal(flat[group != fold])
        rest = flat[group == fold] - mean
        unit = basis / np.linalg.norm(basis, axis=1, keepdims=True)
        beyond = (rest - rest @ unit.T @ unit).reshape(len(rest), -1, 3)
        squares.append(np.square(modes @ beyond).mean(axis=(0, 2)))
    return np.sqrt(np.mean(squares, axis=0))
