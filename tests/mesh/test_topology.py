"""Topology: what is computed from the faces, the two hashes, and the check of a scan."""

import numpy as np
import pytest

from meshdisent.errors import MeshError, TopologyError
from meshdisent.mesh.topology import Topology


@pytest.fixture
def pair():
    """Two triangles that share the edge 1-2, and vertex 4 alone."""
    template = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [5, 5, 5]])
    return Topology(template, np.array([[0, 1, 2], [2, 1, 3]]), regions={"right": np.array([1, 3])})


def test_edges_are_listed_once_sorted(pair):
    assert pair.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]


def test_border_is_where_an_edge_has_one_face(shapes):
    assert Topology(*shapes.sphere(1)).is_border.sum() == 0
    flat = Topology(*shapes.grid(3, 3))
    assert np.flatnonzero(~flat.is_border).tolist() == [5, 6, 9, 10]
    holed = Topology(*shapes.grid(5, 5, hole=True))
    assert holed.is_border.reshape(6, 6)[2:4, 2:4].all()
    assert holed.is_border.sum() == 20 + 4


def test_adjacency_is_symmetric_and_counts_no_one_as_its_own_neighbor(pair):
    expected = np.zeros((5, 5))
    for a, b in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]:
        expected[a, b] = expected[b, a] = 1
    assert np.array_equal(pair.adjacency.toarray(), expected)


def test_an_isolated_vertex_is_a_component_of_its_own(pair, shapes):
    assert pair.components.tolist() == [0, 0, 0, 0, 1]
    several = Topology(*shapes.together(shapes.sphere(0), shapes.grid(2, 2), shapes.triangle(), isolated=2))
    assert np.bincount(several.components).tolist() == [12, 9, 3, 1, 1]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_rings_reach_exactly_so_many_edges_far(shapes, count):
    topology = Topology(*shapes.drawn(5))
    distance = np.where(np.eye(topology.vertex_count), 0, np.where(topology.adjacency.toarray(), 1, 99))
    for middle in range(topology.vertex_count):  # Floyd and Warshall
        distance = np.minimum(distance, distance[:, [middle]] + distance[[middle]])
    reach = topology.rings(count)
    assert reach.dtype == bool
    assert np.array_equal(reach.toarray(), distance <= count)


def test_rings_refuse_a_negative_count(pair):
    with pytest.raises(TopologyError, match="within -1 edges; wanted 0 or more"):
        pair.rings(-1)


def test_counts(pair):
    assert (pair.vertex_count, pair.face_count) == (5, 2)
    assert pair.template.dtype == np.float64
    assert pair.faces.dtype == np.int64
    assert pair.regions["right"].tolist() == [1, 3]


def test_topology_hash_looks_at_faces_and_count_alone(pair):
    faces, moved = pair.faces, pair.template + 1
    assert Topology(moved, faces).topology_hash == pair.topology_hash
    assert Topology(moved, faces[::-1]).topology_hash == pair.topology_hash
    assert Topology(moved, faces[:, [1, 2, 0]].astype(np.int32)).topology_hash == pair.topology_hash
    assert Topology(moved, faces[:, ::-1]).topology_hash != pair.topology_hash  # turned inside out
    assert Topology(moved, faces[:1]).topology_hash != pair.topology_hash
    assert Topology(moved[:4], faces).topology_hash != pair.topology_hash
    assert Topology(moved, np.array([[0, 1, 2], [2, 1, 4]])).topology_hash != pair.topology_hash


def test_template_hash_adds_positions_and_order_of_faces(pair):
    faces = pair.faces
    assert Topology(pair.template * (1 + 1e-12), faces).template_hash == pair.template_hash  # below float32
    minus_zero = np.where(pair.template == 0, -0.0, pair.template)
    assert Topology(minus_zero, faces).template_hash == pair.template_hash
    assert Topology(pair.template + 1e-3, faces).template_hash != pair.template_hash
    assert Topology(pair.template, faces[::-1]).template_hash != pair.template_hash


def test_hashes_never_change_between_versions(pair):
    assert pair.topology_hash == "5f8abc3f00f800bf"
    assert pair.template_hash == "99a432441a3cc1ab"


def test_check_accepts_the_same_faces_in_any_order(pair):
    pair.check(5, pair.faces, "scan")
    pair.check(5, pair.faces[::-1][:, [2, 0, 1]], "scan")
    pair.check(5, None, "a point list")


def test_check_names_both_counts_and_the_way_out(pair):
    with pytest.raises(TopologyError) as error:
        pair.check(6, None, "anna/smile.ply")
    assert str(error.value) == (
        f"anna/smile.ply has 6 vertices; topology {pair.topology_hash} has 5. "
        "Register the scan to the template first, or leave it out."
    )


def test_check_of_another_count_names_the_scan_s_own_hash_where_its_faces_are_known(pair):
    other = Topology(np.zeros((6, 3)), pair.faces[:1])
    with pytest.raises(TopologyError) as error:
        pair.check(6, other.faces, "anna/smile.ply")
    assert str(error.value) == (
        f"anna/smile.ply has 6 vertices; topology {pair.topology_hash} has 5. Its own topology is "
        f"{other.topology_hash}. Register the scan to the template first, or leave it out."
    )


def test_check_names_both_hashes(pair):
    other = Topology(pair.template, pair.faces[:1])
    with pytest.raises(TopologyError) as error:
        pair.check(5, other.faces, "anna/smile.ply")
    assert str(error.value) == (
        f"anna/smile.ply has the 5 vertices of the topology but other faces: 1 with hash {other.topology_hash}; "
        f"wanted 2 with hash {pair.topology_hash}. Register the scan to the template first, or leave it out."
    )


@pytest.mark.parametrize(
    ("template", "faces", "regions", "message"),
    [
        ([[0, 0, 0], [1, 0, np.nan]], [[0, 1, 1]], {}, "not finite, at vertex 1"),
        ([[0, 0, 0], [1, 0, 0]], [[0, 1, 2]], {}, "The faces of the topology name vertex 2; wanted 0 to 1"),
        ([[0, 0, 0], [1, 0, 0]], [[0, -1, 1]], {}, "name vertex -1; wanted 0 to 1"),
        ([[0, 0, 0]], [[0, 0, 0]], {"jaw": [3]}, "The region 'jaw' of the topology name"),
    ],
)
def test_impossible_topologies_are_refused(template, faces, regions, message):
    regions = {name: np.array(members) for name, members in regions.items()}
    with pytest.raises(MeshError, match=message):
        Topology(np.array(template, dtype=float), np.array(faces), regions)


def test_a_topology_without_faces_is_possible():
    points = Topology(np.zeros((3, 3)), np.zeros((0, 3), dtype=np.int64))
    assert len(points.edges) == 0
    assert points.components.tolist() == [0, 1, 2]
    assert points.rings(2).toarray().tolist() == np.eye(3, dtype=bool).tolist()
