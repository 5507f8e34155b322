"""Chebyshev layers against the polynomial itself, and the encoder's and decoder's settings."""

import numpy as np
import pytest
import torch

from meshdisent.errors import RecipeError, TopologyError
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.nn.chebyshev import (
    ChebyshevConv,
    ChebyshevDecoder,
    ChebyshevEncoder,
    ChebyshevEncoderConfig,
    Unpool,
    graph_edges,
)

CONFIG = ChebyshevEncoderConfig(channels=(4, 6), order=4)


@pytest.fixture(scope="module")
def levels(shapes):
    """A sphere of 162 vertices, decimated twice."""
    return hierarchy(*shapes.sphere(2), (4, 4))


@pytest.fixture
def kept(levels):
    return tuple(torch.from_numpy(rows) for rows in levels.kept)


@pytest.fixture
def encoder(levels, kept):
    torch.manual_seed(3)
    return ChebyshevEncoder(CONFIG, 5, graph_edges(levels)[:2], kept)


def scans(count=3):
    return torch.randn(count, 162, 3, generator=torch.Generator().manual_seed(7))


def dense_laplacian(edges, count):
    """The scaled symmetric Laplacian, with a row of zeros for a vertex without a neighbor."""
    adjacency = np.zeros((count, count))
    adjacency[edges[0], edges[1]] = 1.0
    degree = adjacency.sum(axis=1)
    root = np.divide(1.0, np.sqrt(degree), out=np.zeros(count), where=degree > 0)
    return -root[:, None] * adjacency * root


@pytest.mark.parametrize("order", [1, 2, 6])
def test_the_convolution_is_the_chebyshev_polynomial_of_the_laplacian(levels, order):
    edges = graph_edges(levels)[1]
    count = len(levels.kept[0])
    torch.manual_seed(0)
    conv = ChebyshevConv(3, 5, order, edges).double()
    with torch.no_grad():
        conv.conv.bias.copy_(torch.arange(5.0))
    features = torch.randn(2, count, 3, dtype=torch.float64)
    laplacian = dense_laplacian(edges.numpy(), count)
    values, axes = np.linalg.eigh(laplacian)
    wanted = np.tile(np.arange(5.0), (2, count, 1))
    for k, term in enumerate(conv.conv.lins):
        polynomial = axes @ np.diag(np.cos(k * np.arccos(np.clip(values, -1, 1)))) @ axes.T  # T_k(cos t) = cos(k t)
        wanted += polynomial @ features.numpy() @ term.weight.detach().numpy().T
    np.testing.assert_allclose(conv(features).detach().numpy(), wanted, atol=1e-10)


def test_a_vertex_without_a_face_sees_only_itself():
    conv = ChebyshevConv(2, 3, 4, torch.tensor([[0, 1], [1, 0]]))
    one, two = torch.ones(1, 3, 2), torch.ones(1, 3, 2)
    two[0, :2] = 5.0
    assert torch.equal(conv(one)[0, 2], conv(two)[0, 2])
    assert conv(one).isfinite().all()


def test_untrained_convolutions_keep_the_size_of_features(levels):
    edges = graph_edges(levels)[0]
    torch.manual_seed(0)
    features = torch.randn(4, 162, 16)
    with torch.no_grad():
        for _ in range(8):
            features = ChebyshevConv(16, 16, 6, edges)(features)
    assert 0.02 < float(features.std()) < 2.0


def test_edges_are_those_of_each_level_in_both_directions(levels):
    for level, edges in zip(levels.levels, graph_edges(levels), strict=True):
        pairs = set(map(tuple, edges.T.tolist()))
        assert len(pairs) == edges.shape[1]
        corners = np.concatenate([level.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
        assert pairs == set(map(tuple, corners)) | set(map(tuple, corners[:, ::-1]))


def test_the_encoder_gives_means_and_log_variances_that_depend_on_every_vertex_kept(encoder):
    shown = scans().requires_grad_()
    mean, log_variance = encoder(shown)
    assert mean.shape == log_variance.shape == (3, 5)
    (mean.sum() + log_variance.square().sum()).backward()
    assert all((weight.grad != 0).any() for weight in encoder.parameters())
    assert (shown.grad.abs().sum(dim=2) > 0).float().mean() > 0.9, "convolutions reach beyond the vertices kept"


def test_a_silenced_encoder_says_nothing_with_the_given_variance(encoder):
    encoder.silence(-4.0)
    mean, log_variance = encoder(scans())
    assert torch.equal(mean, torch.zeros(3, 5))
    assert torch.equal(log_variance, torch.full((3, 5), -4.0))


def test_scans_do_not_see_each_other(encoder):
    together = encoder(scans())[0]
    alone = torch.cat([encoder(scan[None])[0] for scan in scans()])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_unpooling_is_the_matrix_of_the_hierarchy(levels):
    for up in levels.up:
        features = torch.randn(2, up.shape[1], 4, generator=torch.Generator().manual_seed(1))
        wanted = np.stack([up @ scan for scan in features.double().numpy()])
        found = Unpool.of(up)(features)
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)
        torch.testing.assert_close(Unpool.of(up)(torch.ones_like(features)), torch.ones(2, up.shape[0], 4))


def test_the_decoder_walks_the_encoder_backwards_and_ends_without_bias(levels):
    torch.manual_seed(3)
    decoder = ChebyshevDecoder(CONFIG, 5, graph_edges(levels)[:2], tuple(Unpool.of(up) for up in levels.up))
    widths = [(conv.conv.in_channels, conv.conv.out_channels) for conv in (*decoder.convs, decoder.last)]
    assert widths == [(6, 6), (6, 4), (4, 3)]
    codes = torch.randn(2, 5, requires_grad=True)
    faces = decoder(codes)
    assert faces.shape == (2, 162, 3)
    faces.square().sum().backward()
    assert decoder.last.conv.bias is None
    assert all((weight.grad != 0).any() for weight in decoder.parameters())
    # A ReLU at the end would leave no coordinate below zero.
    assert (faces < 0).any()
    assert (faces > 0).any()


def test_levels_that_do_not_fit_are_refused(levels, kept):
    edges = graph_edges(levels)
    with pytest.raises(TopologyError, match=r"2 stages and got edges of 3 levels and 2 poolings.*one level"):
        ChebyshevEncoder(CONFIG, 5, edges, kept)
    with pytest.raises(TopologyError, match=r"Pooling 0 keeps 41 vertices; .* next level name vertex 161"):
        ChebyshevEncoder(CONFIG, 5, (edges[0], edges[0]), kept)


@pytest.mark.parametrize("wrong", [{"channels": ()}, {"channels": (4, 0)}, {"order": 0}])
def test_impossible_widths_are_refused(wrong):
    with pytest.raises(RecipeError, match=r"wanted one or more positive widths.*Set channels to \[16, 16, 16, 32\]"):
        ChebyshevEncoderConfig(**wrong)
