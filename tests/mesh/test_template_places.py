"""Places on another template: the closest triangle that looks the same way, as an exhaustive search finds it."""

import numpy as np

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.template_places import closest_places, mixed


def test_turned_away_vertices_get_the_closest_triangle_that_looks_their_way():
    source, target = SyntheticHead(1500).topology, SyntheticHead(1200).topology
    placed = target.template + np.random.default_rng(3).normal(0.0, 2.0, target.template.shape)
    found = closest_places(source, target, placed)
    own, normals = vertex_normals(placed, target.faces), vertex_normals(source.template, source.faces)
    face, weights, _ = closest_points(placed, source.template, source.faces)
    turned = np.flatnonzero((mixed(normals, source.faces[face], weights) * own).sum(axis=1) < 0)
    assert len(turned) > 20
    for vertex in turned:
        alike = np.flatnonzero(((normals @ own[vertex])[source.faces] > 0).all(axis=1))
        nearest = closest_points(placed[vertex : vertex + 1], source.template, source.faces[alike])
        assert found.distance[vertex] == nearest[2][0]
        assert found.face[vertex] == alike[nearest[0][0]]
    rest = np.setdiff1d(np.arange(len(placed)), turned)
    assert np.array_equal(found.face[rest], face[rest])
