"""Scans on another topology: the identity onto itself, small errors on smooth surfaces, refusals with numbers."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError, TopologyError, UsageError
from meshdisent.mesh.resampling import map_of_registration, read_map, resampling_map, save_map
from meshdisent.mesh.template_fit import LandmarkPairs, brought_onto, on_border, read_landmarks
from meshdisent.mesh.topology import Topology

RADIUS = 80.0


def egg(shapes, subdivisions):
    """A closed surface without symmetry, so that only one motion brings it onto itself."""
    vertices, faces = shapes.sphere(subdivisions)
    return Topology(bent(vertices), faces)


def bent(directions):
    x, y, z = directions.T
    radius = RADIUS * (1 + 0.25 * y + 0.2 * x * z + 0.15 * np.sin(2 * x + y))
    return radius[:, None] * directions


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_onto_itself_it_is_the_identity(shapes, seed):
    vertices, faces = shapes.drawn(seed)
    topology = Topology(10 * vertices, faces)
    found = resampling_map(topology, topology, leave_out=True)
    used = np.unique(faces)
    scans = topology.template + np.random.default_rng(seed).normal(size=(3, *vertices.shape))
    assert found.coverage.worst_mm < (1e-6 if len(used) == len(vertices) else np.inf)
    if len(used) == len(vertices):
        np.testing.assert_allclose(found.apply(scans), scans, atol=1e-6)
        assert found.target is topology
    else:  # a vertex without a face lies on no surface, and is what is left out
        np.testing.assert_allclose(found.apply(scans), scans[:, used], atol=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10)
def test_weights_are_shares_and_a_linear_field_is_carried_exactly(shapes, seed):
    source, target = egg(shapes, 2), egg(shapes, 3)
    found = resampling_map(source, target)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, atol=1e-12)
    assert found.weights.min() >= 0
    assert (found.matrix != 0).sum(axis=1).max() <= 3
    draw = np.random.default_rng(seed)
    matrix, shift = draw.normal(size=(3, 3)), draw.normal(size=3)
    carried = found.apply((source.template @ matrix + shift)[None])[0]
    feet = found.apply(source.template[None])[0]
    np.testing.assert_allclose(carried, feet @ matrix + shift, atol=1e-9)


def test_there_and_back_differs_by_the_sagitta_of_an_edge(shapes):
    coarse, fine = egg(shapes, 3), egg(shapes, 4)
    there, back = resampling_map(coarse, fine), resampling_map(fine, coarse)
    edge = np.linalg.norm(np.diff(coarse.template[coarse.edges], axis=1), axis=2).max()
    bound = edge**2 / (8 * 0.5 * RADIUS)  # the height of an arc over its chord, for the sharpest curve of the egg
    random = np.random.default_rng(3)
    waves = 2 * np.sin(coarse.template / 40 @ random.normal(size=(3, 3)))
    scans = (coarse.template + np.stack([0 * waves, waves]))[:, :]
    again = back.apply(there.apply(scans))
    assert np.linalg.norm(again - scans, axis=2).max() < bound
    assert np.linalg.norm(again - scans, axis=2).mean() < bound / 5


def test_an_offset_gives_the_target_template_back(shapes):
    source, target = egg(shapes, 2), egg(shapes, 4)
    plain, kept = resampling_map(source, target), resampling_map(source, target, with_offset=True)
    plain_mm, kept_mm = (
        np.linalg.norm(found.apply(source.template[None])[0] - target.template, axis=1).mean()
        for found in (plain, kept)
    )
    assert plain_mm > 0.5
    assert kept_mm < 0.3 * plain_mm
    scan = source.template * [1.5, 0.7, 1.0]
    moved = np.linalg.norm(kept.apply(scan[None])[0] - plain.apply(scan[None])[0], axis=1)
    np.testing.assert_allclose(moved, np.abs(kept.offset), atol=1e-9)


@pytest.mark.parametrize("degrees", [0, 15])
def test_another_frame_is_found_and_scans_end_in_the_target_frame(shapes, degrees):
    source, other = egg(shapes, 3), egg(shapes, 2)
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    target = Topology(other.template @ turn + [3.0, 120.0, -40.0], other.faces)
    found = resampling_map(source, target)
    assert found.coverage.worst_mm < 1.0
    scan = source.template * [1.1, 0.9, 1.0]
    apart = found.apply(scan[None])[0] - ((other.template * [1.1, 0.9, 1.0]) @ turn + [3.0, 120.0, -40.0])
    assert np.linalg.norm(apart, axis=1).max() < 1.5
    assert found.motion.scale == 1.0, "the size of people stays"


def test_templates_in_one_frame_are_not_moved(shapes):
    found = resampling_map(egg(shapes, 2), egg(shapes, 3))
    assert not found.motion.translation.any()
    np.testing.assert_array_equal(found.motion.rotation, np.eye(3))


def test_landmarks_carry_one_face_to_another_of_a_different_shape(shapes):
    source, other = egg(shapes, 4), egg(shapes, 3)
    stretched = other.template * [1.3, 0.8, 1.1] + 20 * np.sin(other.template / 60)
    target = Topology(stretched, other.faces)
    with pytest.raises(DataError, match=r"The templates are two different faces: .* Give corresponding points"):
        resampling_map(source, target, leave_out=True)
    every = np.arange(0, len(stretched), 9)
    pairs = LandmarkPairs(other.template[every], stretched[every])
    found = resampling_map(source, target, landmarks=pairs, tolerance_mm=5.0)
    feet = found.matrix @ source.template
    assert np.linalg.norm(feet - other.template, axis=1).mean() < 1.0, "each vertex is where it corresponds"


def test_a_landmark_lands_on_its_partner(shapes):
    source, target = egg(shapes, 2), egg(shapes, 3)
    pairs = LandmarkPairs(source.template[:8] + 2.0, target.template[:8])
    placed, is_moved = brought_onto(source, target, pairs)
    assert is_moved
    np.testing.assert_allclose(placed[:8], pairs.source, atol=1e-6)


def test_what_the_source_does_not_cover_is_refused_or_left_out(shapes):
    vertices, faces = shapes.grid(12, 12, bumps=0.1)
    whole = Topology(10 * vertices, faces, {"low": np.arange(13), "high": np.arange(100, 169)})
    is_low = (whole.template[whole.faces][:, :, 1] <= 60).all(axis=1)
    half = Topology(whole.template[:91], whole.faces[is_low])
    with pytest.raises(DataError) as caught:
        resampling_map(half, whole)
    said = str(caught.value)
    assert "78 of 169 vertices of the target (46%) have no place on the source's surface within 3 mm" in said
    assert re.search(r"95 % below 60\.\d, worst 60\.\d\)", said)
    assert "--landmarks" in said
    assert "--leave-out" in said
    found = resampling_map(half, whole, leave_out=True)
    np.testing.assert_array_equal(found.target.template, half.template)
    assert found.target.topology_hash == half.topology_hash
    assert {name: members.tolist() for name, members in found.target.regions.items()} == {
        "low": list(range(13)),
        "high": [],
    }
    assert (found.coverage.uncovered, found.coverage.vertices, found.coverage.worst_mm) == (78, 169, 0.0)


def test_the_other_side_of_a_thin_sheet_is_not_covered(shapes):
    vertices, faces = shapes.grid(6, 6, bumps=0.2)
    front, back = Topology(10 * vertices, faces), Topology(10 * vertices - [0, 0, 1.0], faces[:, ::-1])
    with pytest.raises(DataError, match="49 of 49 vertices"):
        resampling_map(front, back)


def test_lips_that_touch_are_not_each_other(shapes):
    vertices, faces = shapes.grid(6, 6)
    low, count = 10 * vertices, len(vertices)

    def mouth(gap):
        """A sheet that faces up and one that faces down, above it or, where lips press, below it."""
        return Topology(
            np.concatenate([low, low + np.array([0, 0, gap])]), np.concatenate([faces, faces[:, ::-1] + count])
        )

    found = resampling_map(mouth(1.0), mouth(0.2), tolerance_mm=6.0)
    assert found.coverage.uncovered == 0
    assert (found.corners[:count] < count).all()
    assert (found.corners[count:] >= count).all(), "though the other sheet is nearer"


def test_points_on_the_border_are_told_from_those_inside(shapes):
    topology = Topology(*shapes.grid(1, 2))
    face = np.zeros(5, np.int64)
    weights = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0.3, 0.3, 0.4], [0, 0, 1.0]])
    corners = topology.faces[0]
    assert (topology.is_border[corners]).all()
    assert on_border(topology, face, weights)[[0, 1, 3, 4]].tolist() == [True, True, False, True]


def test_other_units_and_bad_tolerances_are_refused(shapes):
    source = egg(shapes, 2)
    meters = Topology(source.template / 1000, source.faces)
    with pytest.raises(DataError, match=r"is 176 mm across and the target template 0\.176"):
        resampling_map(source, meters)
    with pytest.raises(DataError, match="The tolerance is 0 mm"):
        resampling_map(source, source, tolerance_mm=0.0)


# Saved maps


@pytest.mark.parametrize("with_offset", [False, True])
def test_a_replayed_map_gives_what_the_computed_one_gives(shapes, tmp_path, with_offset):
    source, other = egg(shapes, 2), egg(shapes, 3)
    target = Topology(other.template + 9.0, other.faces, {"nose": np.arange(4)})
    found = resampling_map(source, target, with_offset=with_offset)
    save_map(found, tmp_path / "map.npz")
    again = read_map(tmp_path / "map.npz")
    scans = source.template + np.random.default_rng(0).normal(size=(2, source.vertex_count, 3))
    np.testing.assert_array_equal(again.apply(scans), found.apply(scans))
    assert (again.source.topology_hash, again.target.template_hash) == (source.topology_hash, target.template_hash)
    assert again.coverage == found.coverage
    assert again.target.regions["nose"].tolist() == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="exists already"):
        save_map(found, tmp_path / "map.npz")
    save_map(found, tmp_path / "second.npz")
    assert (tmp_path / "second.npz").read_bytes() == (tmp_path / "map.npz").read_bytes()


def test_a_map_is_for_its_own_topology(shapes):
    found = resampling_map(egg(shapes, 2), egg(shapes, 1), tolerance_mm=20.0)
    with pytest.raises(TopologyError, match=r"x\.h5 has topology \w{16} \(42 vertices\); the map was made for \w{16}"):
        found.check(egg(shapes, 1), "x.h5")
    with pytest.raises(TopologyError, match="scans of 42 vertices; wanted 162"):
        found.apply(egg(shapes, 1).template[None])
    assert found.apply(np.zeros((0, 162, 3))).shape == (0, 42, 3)


def test_damaged_and_foreign_files_are_named(shapes, tmp_path):
    path = tmp_path / "map.npz"
    found = resampling_map(egg(shapes, 1), egg(shapes, 1))
    save_map(found, path)
    content = path.read_bytes()
    for damage in (b"", b"not an archive", content[: len(content) // 2], content[:1000] + b"\0" + content[1001:]):
        path.write_bytes(damage)
        with pytest.raises(DataError, match=r"map\.npz is (no map|damaged|an archive)"):
            read_map(path)
    with pytest.raises(DataError, match="is absent; wanted a map"):
        read_map(tmp_path / "none.npz")
    np.savez(path, format=np.array("other"))
    with pytest.raises(DataError, match="another kind"):
        read_map(path)
    np.savez(path, format=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="is no map or is damaged"):
        read_map(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": np.array(2)}, "later meshdisent"),
        ({"corners": np.zeros((42, 3), np.int64) + 42}, "a vertex that the 42"),
        ({"weights": np.full((42, 3), 0.5)}, "do not sum to one"),
        ({"corners": np.zeros((9, 3), np.int64)}, "mixes 9 vertices for the 42"),
        ({"hashes": np.array(["a" * 16, "b" * 16])}, "not those of its hashes"),
        ({"weights": None}, "is damaged"),
    ],
)
def test_maps_that_cannot_be_are_refused(shapes, tmp_path, change, message):
    path = tmp_path / "map.npz"
    save_map(resampling_map(egg(shapes, 1), egg(shapes, 1)), path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files} | change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(DataError, match=message):
        read_map(path)


# Landmarks


def test_landmarks_are_vertices_or_points(shapes, tmp_path):
    source, target, file = egg(shapes, 2), egg(shapes, 3), tmp_path / "pairs.csv"
    file.write_text("source, target\n0,1\n5,7\n9,20\n30,31\n\n")
    pairs = read_landmarks(file, source, target)
    np.testing.assert_array_equal(pairs.source, source.template[[0, 5, 9, 30]])
    np.testing.assert_array_equal(pairs.target, target.template[[1, 7, 20, 31]])
    rows = np.hstack([pairs.source, pairs.target])
    lines = "\n".join(",".join(map(repr, row)) for row in rows.tolist())
    file.write_text(f"source_x,source_y,source_z,target_x,target_y,target_z\n{lines}\n")
    again = read_landmarks(file, source, target)
    np.testing.assert_array_equal(again.target, pairs.target)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as a table"),
        ("", "cannot be read as a table"),
        ("a,b\n1,2\n", r"has the columns a,b; wanted source,target"),
        ("source,target\n1,2,3\n", "has the columns source,target"),
        ("source,target\n1,2\n3\n", "cannot be read"),
        ("source,target\nnose,2\n", "cannot be read as a table of landmarks .could not convert"),
        ("source,target\n0,0\n1,1\n2,2\n3,42\n", "names vertex 42 of the target, which has 0 to 41"),
        ("source,target\n0.5,0\n1,1\n2,2\n3,4\n", "names vertex 0.5 of the source, which has 0 to 161"),
        ("source,target\n0,0\n1,1\n2,2\n", "The 3 landmarks on the source template are fewer than 4"),
        ("source,target\n1,0\n1,1\n1,2\n1,4\n", "all in one plane"),
    ],
)
def test_tables_of_landmarks_that_cannot_be_are_refused(shapes, tmp_path, content, message):
    if content is not None:
        (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_landmarks(tmp_path / "pairs.csv", egg(shapes, 2), egg(shapes, 1))


def test_a_registration_that_is_no_registration_of_the_target_is_refused(shapes):
    vertices, faces = shapes.sphere(2)
    source = Topology(80 * vertices, faces)
    target = Topology(80 * shapes.sphere(1)[0], shapes.sphere(1)[1])
    with pytest.raises(TopologyError, match="162 vertices and its topology 42"):
        map_of_registration(source, target, source.template)


def test_a_map_of_a_registration_says_what_it_does_not_cover(shapes):
    vertices, faces = shapes.sphere(3)
    whole = Topology(80 * vertices, faces)
    kept = faces[(vertices[:, 2] > 0)[faces].all(axis=1)]
    used, numbered = np.unique(kept, return_inverse=True)
    front = Topology(80 * vertices[used], numbered.reshape(-1, 3))
    found = map_of_registration(front, whole, whole.template)
    on_front = vertices[:, 2] > 1e-9
    rows = np.searchsorted(used, np.flatnonzero(on_front))  # where vertices of the whole stand among the front's
    np.testing.assert_allclose(found.apply(front.template[None])[0][on_front], front.template[rows], atol=1e-6)
    np.testing.assert_allclose(found.motion.translation, 0.0, atol=1e-6)
    # All behind, and of the ring between, which has no face of the front beside it, what is too far from the rim.
    assert (vertices[:, 2] < -0.01).sum() <= found.coverage.uncovered <= (~on_front).sum()
    behind = Topology(front.template - [0.0, 0.0, 300.0], front.faces)
    with pytest.raises(DataError, match="covers 0% of the target's vertices; wanted a quarter"):
        map_of_registration(behind, whole, whole.template)
