"""What holds for the geometry of any template: pieces, holes, lone vertices, in any order."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.mesh.decimation import decimate_barycentric, decimate_by_selection
from meshdisent.mesh.hierarchy import hierarchy
from meshdisent.mesh.rings import one_ring_order
from meshdisent.mesh.spiral_hierarchy import spiral_hierarchy
from meshdisent.mesh.topology import Topology, edges_of

SEEDS = st.integers(0, 100_000)


def smaller(reduce, mesh, share):
    """Decimate; a surface may end above what was asked for, and says so."""
    count = max(3, int(share * len(mesh[0])))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return reduce(*mesh, count), count, said


def renumbered(mesh, seed):
    vertices, faces = mesh
    new_of_old = np.random.default_rng(seed).permutation(len(vertices))
    return (vertices[np.argsort(new_of_old)], new_of_old[faces]), new_of_old


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_all_that_is_computed_follows_the_vertices_to_new_numbers(shapes, seed):
    mesh = shapes.drawn(seed)
    other, new = renumbered(mesh, seed)
    one, two = Topology(*mesh), Topology(*other)
    assert np.array_equal(two.is_border[new], one.is_border)
    assert (two.adjacency[new][:, new] != one.adjacency).nnz == 0
    assert (two.rings(2)[new][:, new] != one.rings(2)).nnz == 0
    assert {tuple(sorted(edge)) for edge in new[one.edges].tolist()} == set(map(tuple, two.edges.tolist()))
    pairs = np.stack([one.components, two.components[new]], axis=1)
    assert len(np.unique(pairs, axis=0)) == one.components.max() + 1 == two.components.max() + 1
    ring, renumbered_ring = (one_ring_order(topology.faces, topology.vertex_count)[0] for topology in (one, two))
    assert np.array_equal(np.where(ring >= 0, new[ring], -1), renumbered_ring[new])


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_faces_is_no_part_of_the_topology(shapes, seed):
    vertices, faces = shapes.drawn(seed)
    draw = np.random.default_rng(seed)
    turned = np.take_along_axis(faces, (draw.integers(3, size=(len(faces), 1)) + np.arange(3)) % 3, axis=1)
    topology = Topology(vertices, faces)
    topology.check(len(vertices), draw.permutation(turned), "the same scan")
    assert Topology(vertices, draw.permutation(turned)).topology_hash == topology.topology_hash


@pytest.mark.parametrize("reduce", [decimate_by_selection, decimate_barycentric])
@given(seed=SEEDS, share=st.floats(0.05, 0.95))
@settings(max_examples=20, deadline=None)
def test_decimation_is_one_linear_map(shapes, reduce, seed, share):
    mesh = shapes.drawn(seed)
    result, _, _ = smaller(reduce, mesh, share)
    np.testing.assert_allclose(result.map.sum(axis=1), 1.0, atol=1e-12)
    draw = np.random.default_rng(seed)
    scans, turn, shift = draw.normal(size=(2, len(mesh[0]), 3)), draw.normal(size=(3, 3)), draw.normal(size=3)
    np.testing.assert_allclose(result.apply(scans @ turn + shift), result.apply(scans) @ turn + shift, atol=1e-9)
    one, other = result.apply(scans)
    np.testing.assert_allclose(result.apply(0.3 * scans[0] + 0.7 * scans[1]), 0.3 * one + 0.7 * other, atol=1e-9)


@given(seed=SEEDS, share=st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_decimation_gives_the_count_or_says_why_not(shapes, seed, share):
    mesh = shapes.drawn(seed)
    result, wanted, said = smaller(decimate_by_selection, mesh, share)
    assert (len(result.kept) == wanted) == (not said)
    assert np.array_equal(np.unique(result.faces), np.arange(len(result.kept)))
    assert edges_of(result.faces, len(result.kept))[1].max() <= 2
    before, after = Topology(*mesh), Topology(mesh[0][result.kept], result.faces)
    pieces = before.components[result.kept]
    # Pieces stay whole or go whole, and none melts into another.
    assert len(np.unique(np.stack([pieces, after.components], axis=1), axis=0)) == len(np.unique(pieces))
    assert after.components.max() + 1 == len(np.unique(pieces))
    for piece in np.unique(pieces):
        old = before.faces[before.components[before.faces[:, 0]] == piece]
        new = after.faces[pieces[after.faces[:, 0]] == piece]
        assert euler_characteristic(old) == euler_characteristic(new)


def euler_characteristic(faces):
    return len(np.unique(faces)) - len(edges_of(faces, int(faces.max()) + 1)[0]) + len(faces)


@given(seed=SEEDS, factor=st.integers(2, 6))
@settings(max_examples=20, deadline=None)
def test_hierarchies_go_down_and_up(shapes, seed, factor):
    levels = hierarchy(*shapes.drawn(seed), (factor,) * 3)
    counts = [len(level.vertices) for level in levels.levels]
    assert all(3 <= below < above for above, below in pairwise(counts))
    for up, kept in zip(levels.up, levels.kept, strict=True):
        np.testing.assert_allclose(up.sum(axis=1), 1.0, atol=1e-12)
        np.testing.assert_allclose(up[kept].toarray(), np.eye(len(kept)), atol=1e-9)


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_the_pre_computation_is_the_same_from_the_file(shapes, seed, tmp_path_factory):
    topology = Topology(*shapes.drawn(seed))
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESHDISENT_CACHE", str(folder))
        first, second = spiral_hierarchy(topology, (3, 3)), spiral_hierarchy(topology, (3, 3))
    for one, other in zip(first.spirals, second.spirals, strict=True):
        assert np.array_equal(one, other)
    for level, order in zip(second.hierarchy.levels, second.spirals, strict=True):
        assert order.max() < len(level.vertices)
        assert np.array_equal(order[:, 0], np.arange(len(level.vertices)))
