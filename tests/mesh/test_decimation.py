"""Decimation: exact counts, one linear map, and a surface that keeps its shape, its pieces and its holes."""

import warnings

import numpy as np
import pytest

from meshdisent.errors import MeshError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.decimation import decimate, decimate_barycentric, decimate_by_selection
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.rings import half_edges
from meshdisent.mesh.topology import edges_of, is_border_vertex
from meshdisent.mesh.turned_faces import is_turned, turn_back

BOTH = pytest.mark.parametrize("reduce", [decimate_by_selection, decimate_barycentric])


def euler_characteristic(faces):
    return len(np.unique(faces)) - len(edges_of(faces, int(faces.max()) + 1)[0]) + len(faces)


def border_loops(faces):
    """Number of loops of border edges, each border vertex having exactly one edge in and one out."""
    edges = half_edges(faces, int(faces.max()) + 1)
    leaving = edges.tail[edges.opposite < 0], edges.head[edges.opposite < 0]
    following = dict(zip(*(side.tolist() for side in leaving), strict=True))
    assert len(following) == len(leaving[0])
    loops, left = 0, set(following)
    while left:
        at, loops = next(iter(left)), loops + 1
        while at in left:
            left.remove(at)
            at = following[at]
    return loops


def assert_clean_manifold(faces, count):
    assert np.array_equal(np.unique(faces), np.arange(count))
    assert edges_of(faces, count)[1].max() <= 2
    assert len(half_edges(faces, count).tail) == 3 * len(faces)  # none refused: oriented alike, none degenerate
    assert len(np.unique(np.sort(faces, axis=1), axis=0)) == len(faces)


@pytest.mark.parametrize("name", ["grid", "holed", "sphere", "torus"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.2, 0.08])
def test_the_surface_keeps_its_kind(shapes, name, share):
    mesh = {
        "grid": lambda: shapes.grid(12, 15, bumps=0.2),
        "holed": lambda: shapes.grid(13, 13, hole=True, bumps=0.2),
        "sphere": lambda: shapes.sphere(2),
        "torus": lambda: shapes.torus(16, 12),
    }[name]()
    vertices, faces = shapes.shuffled(mesh, 3)
    count = round(share * len(vertices))
    result = decimate(vertices, faces, count)
    assert_clean_manifold(result.faces, count)
    assert euler_characteristic(result.faces) == euler_characteristic(faces)
    assert border_loops(result.faces) == border_loops(faces)
    assert (np.diff(result.kept) > 0).all()
    small_border = is_border_vertex(result.faces, count)
    assert is_border_vertex(faces, len(vertices))[result.kept[small_border]].all()


@pytest.mark.parametrize("count", range(4, 36))
def test_any_count_is_met_exactly(shapes, count):
    vertices, faces = shapes.grid(5, 5)
    assert len(decimate(vertices, faces, count).kept) == count


@BOTH
def test_a_flat_sheet_loses_nothing(shapes, reduce):
    vertices, faces = shapes.grid(8, 11)
    result = reduce(vertices, faces, 20)
    small = result.map @ vertices
    area = face_normals(small, result.faces)
    np.testing.assert_allclose(area[:, :2], 0, atol=1e-9)
    assert (area[:, 2] > 0).all()
    np.testing.assert_allclose(area[:, 2].sum() / 2, 88.0, atol=1e-9)
    np.testing.assert_allclose(closest_points(vertices, small, result.faces)[2], 0, atol=1e-9)


def test_selection_gathers(shapes):
    vertices, faces = shapes.sphere(2)
    result = decimate(vertices, faces, 50)
    scans = np.random.default_rng(0).normal(size=(2, 3, 162, 3)).astype(np.float32)
    small = result.apply(scans)
    assert small.dtype == np.float32
    assert np.array_equal(small, scans[:, :, result.kept])
    assert np.array_equal(result.map @ vertices, vertices[result.kept])
    assert np.array_equal(result.map.toarray(), np.eye(162)[result.kept])


def test_barycentric_points_lie_on_the_surface(shapes):
    vertices, faces = shapes.grid(10, 10, bumps=0.3)
    result = decimate_barycentric(vertices, faces, 40)
    assert result.kept is None
    assert result.map.data.min() > 0
    np.testing.assert_allclose(result.map.sum(axis=1), 1.0, atol=1e-12)
    assert np.diff(result.map.indptr).max() <= 3
    np.testing.assert_allclose(closest_points(result.map @ vertices, vertices, faces)[2], 0, atol=1e-9)
    scans = np.random.default_rng(0).normal(size=(4, 121, 3))
    np.testing.assert_allclose(result.apply(scans), np.stack([result.map @ scan for scan in scans]), atol=1e-12)
    assert result.apply(scans.astype(np.float32)).dtype == np.float32
    assert np.array_equal(result.faces, decimate(vertices, faces, 40).faces)


def test_a_point_does_not_jump_to_the_other_side_of_a_thin_sheet(shapes):
    vertices, faces = shapes.sphere(3)
    vertices = vertices * [1.0, 1.0, 0.02] + 0.004 * np.random.default_rng(0).normal(size=vertices.shape)
    result = decimate_barycentric(vertices, faces, 90)
    kept, normals = decimate(vertices, faces, 90).kept, vertex_normals(vertices, faces)
    assert (((result.map @ normals) * normals[kept]).sum(axis=1) > 0).all()


@BOTH
def test_twice_is_the_same(shapes, reduce):
    vertices, faces = shapes.drawn(11)
    first, second = (reduce(vertices, faces, 20) for _ in range(2))
    assert np.array_equal(first.faces, second.faces)
    assert (first.map != second.map).nnz == 0


def test_the_unit_does_not_matter(shapes):
    vertices, faces = shapes.grid(12, 12, bumps=0.3)
    for scale in (1 / 1024, 1024.0):
        assert np.array_equal(decimate(vertices * scale, faces, 60).kept, decimate(vertices, faces, 60).kept)


def test_no_face_is_turned(shapes):
    for seed in (0, 1, 2, 3, 18, 35):  # the last two take more than one pass
        vertices, faces = shapes.shuffled(shapes.grid(14, 14, hole=True, bumps=0.25, seed=seed), seed)
        for count in (120, 60, 40):
            result = decimate(vertices, faces, count)
            normals = vertex_normals(vertices, faces)
            assert not is_turned(vertices[result.kept], result.faces, normals[result.kept]).any()


def test_unused_vertices_go_first(shapes):
    vertices, faces = shapes.together(shapes.grid(4, 4), isolated=3)
    assert decimate(vertices, faces, 25).kept.tolist() == list(range(25))
    with pytest.warns(UserWarning, match="ended at 25 vertices; 27 were asked for"):
        result = decimate(vertices, faces, 27)
    assert result.kept.tolist() == list(range(25))
    assert np.array_equal(result.faces, faces)


@BOTH
def test_asking_for_all_changes_nothing(shapes, reduce):
    vertices, faces = shapes.together(shapes.grid(2, 2), isolated=2)
    for count in (11, 500):
        result = reduce(vertices, faces, count)
        assert result.kept.tolist() == list(range(11))
        assert np.array_equal(result.faces, faces)


def test_small_pieces_survive_while_there_is_room(shapes):
    vertices, faces = shapes.together(shapes.sphere(2), shapes.tetrahedron(), shapes.triangle())
    result = decimate(vertices, faces, 11)
    assert len(result.kept) == 11
    assert np.isin(result.kept, np.arange(162, 166)).sum() == 4
    assert np.isin(result.kept, np.arange(166, 169)).sum() == 3


def test_the_smallest_pieces_go_whole_where_there_is_no_room(shapes):
    small = shapes.sphere(0)
    vertices, faces = shapes.together(shapes.sphere(2), (small[0] * 0.1, small[1]), shapes.triangle())
    result = decimate(vertices, faces, 9)
    assert len(result.kept) == 9
    assert (result.kept < 162).sum() == 6  # the sphere and the triangle (0.5) are larger than the small sphere
    assert (result.kept >= 174).sum() == 3


def test_a_surface_that_cannot_shrink_further_says_so(shapes):
    vertices, faces = shapes.torus(8, 8)
    with pytest.warns(UserWarning, match="were asked for. The surface has no other collapse without a tear"):
        result = decimate(vertices, faces, 4)
    assert 7 <= len(result.kept) <= 12  # no torus has fewer than seven vertices
    assert euler_characteristic(result.faces) == 0


@pytest.mark.parametrize("count", [2, 0, -1])
def test_too_few_vertices_are_refused(shapes, count):
    with pytest.raises(MeshError, match=f"Decimation to {count} vertices .* wanted 3 vertices or more"):
        decimate(*shapes.sphere(0), count)


def test_a_template_without_triangles_is_refused():
    points, degenerate = np.random.default_rng(0).normal(size=(9, 3)), np.array([[0, 1, 1], [2, 2, 2]])
    for faces in (degenerate, degenerate[:0]):
        with pytest.raises(MeshError, match="with 0 proper triangles"):
            decimate(points, faces, 5)


def test_degenerate_and_repeated_faces_disappear(shapes):
    vertices, faces = shapes.grid(6, 6)
    spoiled = np.concatenate([faces, faces[:5], faces[:3, [1, 2, 0]], [[0, 0, 1], [4, 4, 4]]])
    assert np.array_equal(decimate(vertices, spoiled, 30).faces, decimate(vertices, faces, 30).faces)


def test_what_is_no_manifold_is_decimated_too(shapes):
    vertices, faces = shapes.grid(8, 8, bumps=0.1)
    vertices = np.concatenate([vertices, [[4.0, 4.0, 3.0]]])
    faces = np.concatenate([faces, [[40, 41, 81]]])  # a fin on an inner edge
    result = decimate(vertices, faces, 30)
    assert len(result.kept) == 30
    assert (result.faces != result.faces[:, [1, 2, 0]]).all()


def test_a_turned_face_is_turned_back_by_another_vertex_of_its_group():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [1, 2, 0], [1, -1, 0], [1, 1.5, 0]])
    normals = np.tile([0.0, 0, 1], (5, 1))
    corners, members = np.array([[0, 1, 2]]), [np.array([0]), np.array([1]), np.array([3, 4, 2])]
    assert is_turned(vertices, np.array([[0, 1, 3]]), normals).tolist() == [True]
    chosen, same = turn_back(vertices, normals, np.array([0, 1, 3]), corners, members)
    assert chosen.tolist() == [0, 1, 4]
    assert np.array_equal(same, corners)


def test_a_turned_face_is_turned_back_by_swapping_an_edge():
    # A kite whose long diagonal runs outside of it: 3 is a dent, so face (0, 1, 3) looks down.
    vertices = np.array([[0.0, 0, 0], [4, 0, 0], [2, 4, 0], [2, 1, 0]])
    normals = np.tile([0.0, 0, 1], (4, 1))
    corners = np.array([[0, 1, 2], [1, 0, 3]])
    assert is_turned(vertices, corners, normals).tolist() == [False, True]
    members = [np.array([vertex]) for vertex in range(4)]
    chosen, swapped = turn_back(vertices, normals, np.arange(4), corners, members)
    assert chosen.tolist() == [0, 1, 2, 3]
    assert not is_turned(vertices, swapped, normals).any()
    assert sorted(map(sorted, swapped.tolist())) == [[0, 2, 3], [1, 2, 3]]


def test_a_face_without_area_counts_as_turned():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]])
    assert is_turned(vertices, np.array([[0, 1, 2]]), np.tile([0.0, 0, 1], (3, 1))).tolist() == [True]


@pytest.fixture(scope="module")
def ict_face(shared):
    """The face part of the ICT template, mm: 9,409 vertices."""
    import importlib.util

    source = importlib.util.spec_from_file_location("unpack", shared / "data" / "ict-facekit" / "unpack.py")
    unpack = importlib.util.module_from_spec(source)
    source.loader.exec_module(unpack)
    lines = [line for line in unpack.template_text().splitlines() if line.startswith("v ")]
    centimeters = np.array([line.split()[1:] for line in lines[:9409]], dtype=np.float64)
    with np.load(shared / "protocol" / "ict_topology.npz") as topology:
        return centimeters * 10.0, topology["full_faces"].astype(np.int64)


@pytest.mark.parametrize(
    ("reduce", "mean", "rms", "largest"),
    [(decimate_by_selection, 0.19, 0.26, 1.5), (decimate_barycentric, 0.205, 0.26, 1.3)],
)
def test_errors_on_the_ict_face_are_those_of_the_documentation(ict_face, reduce, mean, rms, largest):
    vertices, faces = ict_face
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = reduce(vertices, faces, 1200)
    small = result.map @ vertices
    error_mm = closest_points(vertices, small, result.faces)[2]
    assert error_mm.mean() < mean
    assert np.sqrt((error_mm**2).mean()) < rms
    assert error_mm.max() < largest
    assert_clean_manifold(result.faces, 1200)
    assert not is_turned(small, result.faces, result.map @ vertex_normals(vertices, faces)).any()
