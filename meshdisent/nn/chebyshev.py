r"""Chebyshev convolutions on a mesh, and the encoder and decoder made of them (CoMA, Ranjan et al. 2018).

.. math:: y = \sum_{k<K} T_k(\hat L)\, x\, W_k + b, \qquad \hat L = \tfrac{2}{\lambda_{max}} L - I,
    \quad T_k = 2 \hat L T_{k-1} - T_{k-2}

with :math:`L` the symmetrically normalized Laplacian of the edges and :math:`\lambda_{max} = 2` (Defferrard et al.
2016). The layer is torch-geometric's. It gathers and scatters along edges, which on 1,200 vertices takes 4 to 5 times
as long as sparse products over all scans of a batch at once (16 scans, 16 channels in and out: 40 against 9 ms).
"""

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.errors import RecipeError, TopologyError
from meshdisent.mesh.hierarchy import Hierarchy
from meshdisent.mesh.topology import Topology

#: The largest eigenvalue that the Laplacian is scaled by: the bound for any graph, as published.
LARGEST_EIGENVALUE = 2.0


@dataclass(frozen=True, kw_only=True)
class ChebyshevEncoderConfig:
    """Widths of a Chebyshev encoder; the defaults are the published ones.

    Parameters
    ----------
    channels : Output channels of each stage; after each, the vertices of the next level are kept.
    order : K of the module's first lines: a convolution reaches ``order - 1`` edges far.

    Raises
    ------
    RecipeError : If there is no stage, or a number is not positive.
    """

    channels: tuple[int, ...] = (16, 16, 16, 32)
    order: int = 6

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels or min(self.channels) < 1 or self.order < 1:
            raise RecipeError(
                f"The Chebyshev encoder has channels {list(self.channels)} and order {self.order}; wanted one or more "
                "positive widths and a positive order. Set channels to [16, 16, 16, 32] and order to 6."
            )


def graph_edges(hierarchy: Hierarchy) -> tuple[Int[Tensor, "2 _"], ...]:
    """The edges of each level of a hierarchy, in both directions.

    Examples
    --------
    >>> from meshdisent.mesh.hierarchy import Level
    >>> triangle = Level(np.eye(3), np.array([[0, 1, 2]]))
    >>> graph_edges(Hierarchy((triangle,), ()))[0].tolist()
    [[0, 0, 1, 1, 2, 2], [1, 2, 2, 0, 0, 1]]
    """
    found = []
    for level in hierarchy.levels:
        edges = Topology(level.vertices, level.faces).edges
        found.append(torch.from_numpy(np.concatenate([edges, edges[:, ::-1]]).T.copy()))
    return tuple(found)


class ChebyshevConv(nn.Module):
    """Chebyshev convolution of torch-geometric over the fixed edges of one level.

    Parameters
    ----------
    channels_in, channels_out : Features per vertex before and after.
    order : K of the module's first lines.
    edges : (2, E) Both directions of each edge. Kept in the state, so that a model file is self-contained.
    bias : Whether each channel has a bias.
    """

    edges: Tensor

    def __init__(self, channels_in: int, channels_out: int, order: int, edges: Int[Tensor, "2 _"], bias: bool = True):
        super().__init__()
        from torch_geometric.nn import ChebConv  # seconds to import

        self.conv = ChebConv(channels_in, channels_out, order, normalization="sym", bias=bias)
        with torch.no_grad():
            # Each of the K terms is drawn as if it were alone: nine layers of sums of six begin at ten times the scans.
            for term in self.conv.lins:
                term.weight *= order**-0.5
        self.register_buffer("edges", edges.clone())

    def forward(self, features: Float[Tensor, "batch vertex channel"]) -> Float[Tensor, "batch vertex out"]:
        """Convolve."""
        result: Tensor = self.conv(features, self.edges, lambda_max=LARGEST_EIGENVALUE)
        return result


class ChebyshevTrunk(nn.Module):
    """Convolution, ReLU and pooling, stage by stage; then all features of a scan in a row.

    Parameters
    ----------
    config : Widths.
    edges : For each stage, (2, E) the edges of the level that it convolves on.
    kept : For each stage, the vertices of its level that the next one has.

    Raises
    ------
    TopologyError : If levels and stages are not as many, or do not fit each other.
    """

    def __init__(
        self, config: ChebyshevEncoderConfig, edges: tuple[Int[Tensor, "2 _"], ...], kept: tuple[Int[Tensor, " _"], ...]
    ):
        super().__init__()
        _check_levels(config, edges, kept)
        widths = (3, *config.channels)
        self.convs = nn.ModuleList(
            ChebyshevConv(before, after, config.order, along)
            for before, after, along in zip(widths[:-1], widths[1:], edges, strict=True)
        )
        for stage, rows in enumerate(kept):
            self.register_buffer(f"kept_{stage}", rows.clone())
        self.width = len(kept[-1]) * config.channels[-1]

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, "batch feature"]:
        """Features of standardized scans, vertex outer, channel inner."""
        features = vertices
        for stage, conv in enumerate(self.convs):
            features = conv(features).relu().index_select(1, self.get_buffer(f"kept_{stage}"))
        return features.flatten(start_dim=1)


class ChebyshevEncoder(nn.Module):
    """Posterior of one code from standardized scans: to be used like
    :class:`~meshdisent.nn.spiral.SpiralEncoder`.

    Parameters
    ----------
    config : Widths.
    latent_size : Entries of the code.
    edges, kept : As for :class:`ChebyshevTrunk`.
    """

    def __init__(
        self,
        config: ChebyshevEncoderConfig,
        latent_size: int,
        edges: tuple[Int[Tensor, "2 _"], ...],
        kept: tuple[Int[Tensor, " _"], ...],
    ):
        super().__init__()
        self.config = config
        self.latent_size = latent_size
        self.trunk = ChebyshevTrunk(config, edges, kept)
        self.head = nn.Linear(self.trunk.width, 2 * latent_size)

    def forward(
        self, vertices: Float[Tensor, "batch vertex 3"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and log-variance of the codes of standardized scans."""
        mean, log_variance = self.head(self.trunk(vertices)).chunk(2, dim=1)
        return mean, log_variance

    @torch.no_grad()
    def silence(self, log_variance: float) -> None:
        """Let the mean be zero whatever is shown, with one log-variance for all entries."""
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.bias[self.latent_size :] = log_variance


class Unpool(nn.Module):
    """Features of a level from those of the next coarser one: three weights for each vertex, which sum to one.

    Parameters
    ----------
    corners : (V, 3) Vertices of the coarser level.
    weights : (V, 3) Barycentric weights of the closest point on it.

    Examples
    --------
    >>> unpool = Unpool(torch.tensor([[0, 1, 1]]), torch.tensor([[0.5, 0.5, 0.0]]))
    >>> unpool(torch.tensor([[[2.0], [4.0]]])).tolist()
    [[[3.0]]]
    """

    corners: Tensor
    weights: Tensor

    def __init__(self, corners: Int[Tensor, "vertex 3"], weights: Float[Tensor, "vertex 3"]):
        super().__init__()
        self.register_buffer("corners", corners.clone())
        self.register_buffer("weights", weights.clone())

    @classmethod
    def of(cls, up: sparse.csr_array) -> "Unpool":
        """From one of the matrices of :attr:`Hierarchy.up`, which has at most three entries a row."""
        rows = np.repeat(np.arange(up.shape[0]), np.diff(up.indptr))
        place = np.arange(up.nnz) - up.indptr[rows]
        corners, weights = np.zeros((up.shape[0], 3), np.int64), np.zeros((up.shape[0], 3), np.float32)
        corners[rows, place], weights[rows, place] = up.indices, up.data
        return cls(torch.from_numpy(corners), torch.from_numpy(weights))

    def forward(self, features: Float[Tensor, "batch coarse channel"]) -> Float[Tensor, "batch vertex channel"]:
        """Interpolate."""
        found = features.index_select(1, self.corners.flatten()).unflatten(1, self.corners.shape)  # (B, V, 3, C)
        return (found * self.weights[..., None]).sum(dim=2)


class ChebyshevDecoder(nn.Module):
    """Standardized scans from codes: a linear layer with ReLU, then unpooling, convolution and ReLU level by level.

    As in the published program, a last convolution without bias gives the coordinates; the table in the paper has one
    convolution less.

    Parameters
    ----------
    config : Widths of the encoder, walked backwards.
    latent_size : Entries of the code.
    edges : As for :class:`ChebyshevTrunk`, finest level first.
    ups : For each of them, from the next coarser level to it.
    """

    def __init__(
        self,
        config: ChebyshevEncoderConfig,
        latent_size: int,
        edges: tuple[Int[Tensor, "2 _"], ...],
        ups: tuple[Unpool, ...],
    ):
        super().__init__()
        coarsest = int(ups[-1].corners.max()) + 1
        self.shape = coarsest, config.channels[-1]
        self.fill = nn.Linear(latent_size, coarsest * config.channels[-1])
        widths = (config.channels[-1], *config.channels[::-1])
        self.ups = nn.ModuleList(ups[::-1])
        self.convs = nn.ModuleList(
            ChebyshevConv(before, after, config.order, along)
            for before, after, along in zip(widths[:-1], widths[1:], edges[::-1], strict=True)
        )
        self.last = ChebyshevConv(widths[-1], 3, config.order, edges[0], bias=False)

    def forward(self, codes: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch vertex 3"]:
        """Standardized scans."""
        features = self.fill(codes).relu().unflatten(1, self.shape)
        for up, conv in zip(self.ups, self.convs, strict=True):
            features = conv(up(features)).relu()
        result: Tensor = self.last(features)
        return result


def _check_levels(config: ChebyshevEncoderConfig, edges: tuple[Tensor, ...], kept: tuple[Tensor, ...]) -> None:
    """Refuse levels that the encoder cannot use, before a convolution fails with an index out of range."""
    if not len(config.channels) == len(edges) == len(kept):
        raise TopologyError(
            f"The Chebyshev encoder has {len(config.channels)} stages and got edges of {len(edges)} levels and "
            f"{len(kept)} poolings; wanted as many of each. Give one level of the hierarchy for each of its channels."
        )
    for level, (rows, along) in enumerate(zip(kept[:-1], edges[1:], strict=True)):
        if along.numel() and int(along.max()) >= len(rows):
            raise TopologyError(
                f"Pooling {level} keeps {len(rows)} vertices; the edges of the next level name vertex "
                f"{int(along.max())}. Take edges and kept vertices from one and the same hierarchy."
            )
