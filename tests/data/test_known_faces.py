"""Which topologies are recognized, where their landmarks are, and which regions follow from them."""

import json

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.ict_facekit import PARTS, read_generic
from meshdisent.data.known_faces import find_landmarks, known_faces, known_landmarks, known_regions, need_landmarks
from meshdisent.data.layouts.folder import FolderLayout
from meshdisent.data.preparation import prepare
from meshdisent.data.synthetic import SyntheticHead, write_synthetic_folder
from meshdisent.data.way_back import way_back
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.face_regions import REGIONS, UNIONS, face_regions
from meshdisent.mesh.landmark_files import IBUG_68
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def head():
    return SyntheticHead(1200)


@pytest.fixture(scope="module")
def generic(shared, tmp_path_factory):
    """The generic face of ICT-FaceKit in mm."""
    import lzma

    folder = tmp_path_factory.mktemp("clone")
    text = lzma.decompress((shared / "data" / "ict-facekit" / "generic_neutral_mesh.obj.xz").read_bytes())
    (folder / "generic_neutral_mesh.obj").write_bytes(text)
    return read_generic(folder)


def ict(generic, part):
    count = PARTS[part][1]
    return Topology(generic.vertices[:count], generic.faces[(generic.faces < count).all(axis=1)])


def apart(topology, face):
    found = known_landmarks(topology)
    assert found.names == IBUG_68
    return np.linalg.norm(found.positions(topology.template) - face.points, axis=1)


@pytest.mark.parametrize("part", ["full", "face", "narrow_face"])
def test_icts_heads_have_its_documented_vertices(generic, shared, part):
    found = known_landmarks(ict(generic, part))
    documented = json.loads((shared / "data" / "ict-facekit" / "vertex_indices.json").read_text())
    assert found.vertices.tolist() == documented["idx_to_landmark_verts"]
    assert found.source == f"ICT-FaceKit, {part}"


@pytest.mark.parametrize(("count", "worst_mm"), [(5000, 0.3), (1200, 1.5)])
def test_a_decimated_face_is_recognized_by_its_template(generic, count, worst_mm):
    face = ict(generic, "face")
    small = decimate(face.template, face.faces, count)
    assert apart(Topology(small.map @ face.template, small.faces), known_faces()[0]).max() < worst_mm


def test_ict_300_is_known_whoever_its_template_shows(shared):
    parts = np.load(shared / "protocol" / "ict_topology.npz")
    stretched = np.random.default_rng(0).normal(size=(1200, 3))
    found = known_landmarks(Topology(stretched, parts["faces"]))
    assert found.names == IBUG_68
    assert "wsdf-ict" in found.source
    whole = known_faces()[0].vertices
    is_kept = np.isin(whole, parts["kept"])
    assert is_kept.sum() > 5
    assert np.array_equal(parts["kept"][found.vertices[is_kept]], whole[is_kept])


PAIRS = {
    "outer corner of the right eye": "outer corner of the left eye",
    "right corner of the mouth": "left corner of the mouth",
    "jaw 2": "jaw 16",
    "right brow 1": "left brow 5",
    "upper lid of the right eye 1": "upper lid of the left eye 2",
    "lower lid of the right eye 2": "lower lid of the left eye 1",
    "upper lip 1": "upper lip 5",
    "lower lip 5": "lower lip 1",
}


def test_points_of_the_synthetic_head_lie_where_their_names_say(head):
    points, mirror = head.landmarks.points(head.topology.template), head.mirror
    nose = head.topology.template[:, 2].argmax()
    assert points["tip of the nose"] == pytest.approx(head.topology.template[nose], abs=4)
    for right, left in PAIRS.items():
        assert points[right][0] < 0 < points[left][0]
        assert mirror[head.landmarks.rows[right]] == head.landmarks.rows[left]
    heights = [points[name][1] for name in ("right brow 3", "upper lid of the right eye 1", "bridge of the nose 3",
                                            "tip of the nose", "upper lip 3", "lower lip 3", "jaw 9")]  # fmt: skip
    assert heights == sorted(heights, reverse=True)
    jaw = np.array([points[f"jaw {k}"] for k in range(1, 18)])
    assert (np.diff(jaw[:, 0]) > -3).all()
    assert jaw[:, 1].argmin() == 8


def test_the_synthetic_head_is_recognized(head):
    found = known_landmarks(head.topology)
    gap = found.positions(head.topology.template) - head.landmarks.positions(head.topology.template)
    spacing = np.linalg.norm(np.diff(head.topology.template[head.topology.edges], axis=1), axis=2).mean()
    assert np.linalg.norm(gap, axis=1).mean() < spacing


def test_people_on_the_synthetic_heads_mesh_are_recognized_by_it_whatever_they_look_like(head):
    """As a dataset of them is, whose template is their mean."""
    person = head.neutral(np.random.default_rng(0).normal(size=head.identity_size))
    found = known_landmarks(Topology(person + 3.0, head.topology.faces))
    assert found.rows == head.landmarks.rows


def test_the_packaged_points_are_those_of_the_formulas(head):
    fine = SyntheticHead(6000)
    packaged = known_faces()[1]
    assert fine.landmarks.positions(fine.topology.template) == pytest.approx(packaged.points, abs=1e-3)


def test_what_nobody_knows_has_no_landmarks(head, shapes, tmp_path):
    vertices, faces = shapes.sphere(3)
    ball = Topology(80 * vertices, faces)
    assert known_landmarks(ball) is None
    assert known_regions(ball) == {}
    person = head.neutral(np.random.default_rng(0).normal(size=head.identity_size))
    assert known_landmarks(Topology(person + 3.0, head.topology.faces[1:])) is None
    with pytest.raises(DataError, match=r"ball.ply is no topology whose landmarks are known .*ball.landmarks.json"):
        need_landmarks(ball, tmp_path / "ball.ply")


def test_a_file_beside_the_topology_comes_first(head, tmp_path):
    Mesh(head.topology.template, head.topology.faces).write(tmp_path / "head.ply")
    (tmp_path / "head.landmarks.json").write_text('{"wart": 5}')
    assert find_landmarks(head.topology, tmp_path / "head.ply").rows == {"wart": 5}
    assert set(known_regions(head.topology, tmp_path / "head.ply")) == set(head.topology.regions)


def test_regions_cut_the_head_into_parts(generic):
    full = ict(generic, "full")
    found = known_regions(full)
    skin = np.concatenate([found[name] for name in REGIONS])
    assert np.array_equal(np.sort(skin), np.arange(PARTS["head_and_neck"][1]))
    for name, parts in UNIONS.items():
        assert np.array_equal(found[name], np.sort(np.concatenate([found[part] for part in parts])))
    rows = known_landmarks(full).rows
    for region, names in {
        "nose": ["tip of the nose", "base of the nose 3", "bridge of the nose 2"],
        "mouth": ["upper lip 3", "lower lip 3", "right corner of the mouth", "inner lips 3"],
        "eyes": ["outer corner of the left eye", "lower lid of the right eye 1"],
        "brows": ["right brow 3", "left brow 2"],
        "jaw": ["jaw 9", "jaw 6", "jaw 13"],
    }.items():
        assert {rows[name] for name in names} <= set(found[region].tolist()), region
    bridge, forehead = rows["bridge of the nose 1"], found["forehead"]
    assert {bridge, *forehead.tolist()} <= set(found["stable"].tolist())
    assert rows["tip of the nose"] not in found["stable"]


def test_a_mask_has_no_ears_and_keeps_its_own_names(head):
    found = known_regions(head.topology)
    assert not {"ears", "neck", "scalp"} & set(found)
    assert np.array_equal(found["nose"], head.topology.regions["nose"])
    assert {"forehead", "cheeks", "front"} <= set(found)


def test_regions_turn_with_the_head(head):
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", [25, 40, -10], degrees=True).as_matrix()
    vertices, marks = head.topology.template, head.landmarks
    first = face_regions(vertices, marks.points(vertices))
    second = face_regions(0.1 * vertices @ turn + 9, marks.points(0.1 * vertices @ turn + 9))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_regions_need_all_points(head):
    points = head.landmarks.points(head.topology.template)
    del points["jaw 4"]
    with pytest.raises(DataError, match="all 68 landmarks; 1 are missing, the first 'jaw 4'"):
        face_regions(head.topology.template, points)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_synthetic_folder(folder / "heads", subjects=3, expressions=("neutral", "smile"))
    # Its template is then the average head, not a person, so that the topology is recognized.
    head = SyntheticHead(1200)
    Mesh(head.topology.template, head.topology.faces).write(folder / "average.ply")
    return folder


def cropped(raw, out, **settings):
    given = {"topology": raw / "average.ply", "align": "none", "drop": 0.0} | settings
    prepare(FolderLayout(raw=(raw / "heads",)), out, **given)
    return ScanDataset.open(out)


@pytest.mark.parametrize("vertices", [None, 400])
def test_a_cropped_dataset_goes_back_onto_the_whole_head(raw, tmp_path, vertices):
    head = SyntheticHead(1200)
    scans = cropped(raw, tmp_path / "front.h5", crop="front", vertices=vertices)
    back = way_back(scans)
    inside = known_regions(head.topology)["front"]
    assert set(back.rows.tolist()) <= set(inside.tolist())
    assert scans.topology.vertex_count == (vertices or len(inside))
    assert back.full.topology_hash == head.topology.topology_hash
    whole = Mesh.read(raw / "heads" / "person_001" / "smile.ply").vertices
    part = scans.vertices(np.array([scans.scan("person_001/smile")]))[0]
    assert part == pytest.approx(whole[back.rows], abs=1e-4)
    found = np.linalg.norm(back.put_back(part) - whole, axis=1)
    assert found[back.rows].max() < 1e-4
    beside = np.linalg.norm(head.topology.template - whole, axis=1).mean()
    assert found.mean() < 0.3 * beside


def test_landmarks_come_through_a_decimation(raw, tmp_path):
    scans = cropped(raw, tmp_path / "small.h5", vertices=500)
    found = find_landmarks(scans.topology, tmp_path / "small.h5")
    points = SyntheticHead(1200).landmarks.points(SyntheticHead(1200).topology.template)
    gap = [np.linalg.norm(place - points[name]) for name, place in found.points(scans.topology.template).items()]
    assert len(gap) > 60
    assert np.mean(gap) < 2.5


def test_whole_scans_need_no_way_back(raw, tmp_path):
    with pytest.raises(DataError, match="was neither cropped nor decimated; its scans are whole already"):
        way_back(cropped(raw, tmp_path / "whole.h5"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop": "nosse"}, "--crop nosse was asked for and the template has no region of that.*Did you mean 'nose'"),
        ({"crop": "nose", "vertices": 1100}, r"--vertices 1100 was asked for and the template has \d+; wanted 4 to"),
    ],
)  # fmt: skip
def test_a_crop_that_cannot_be_is_refused(raw, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        cropped(raw, tmp_path / "x.h5", **settings)


def test_scans_align_by_a_region_that_only_the_landmarks_say(raw, tmp_path):
    scans = cropped(raw, tmp_path / "aligned.h5", align="rigid", stable="forehead")
    assert scans.transforms is not None
