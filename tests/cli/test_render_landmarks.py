"""``render --model``: where the points come from by which paint goes from the synthetic head to the model."""

import json
import lzma

import numpy as np
import pytest

from meshdisent.cli.render import Arguments, _pairs
from meshdisent.data.ict_facekit import PARTS, read_generic
from meshdisent.data.known_faces import known_landmarks
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import DataError
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def face(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    packed = shared / "data" / "ict-facekit" / "generic_neutral_mesh.obj.xz"
    (folder / "generic_neutral_mesh.obj").write_bytes(lzma.decompress(packed.read_bytes()))
    generic, count = read_generic(folder), PARTS["face"][1]
    return Topology(generic.vertices[:count], generic.faces[(generic.faces < count).all(axis=1)])


def given(tmp_path, landmarks=None):
    return Arguments(out=tmp_path / "images.h5", model="somebody", landmarks=landmarks)


def test_a_topology_that_knows_its_landmarks_needs_none(face, tmp_path):
    pairs = _pairs(given(tmp_path), face)
    head = SyntheticHead(4000)
    own = head.landmarks.points(head.topology.template)
    theirs = known_landmarks(face).points(face.template)
    assert 60 < len(pairs.source) <= 68  # lips that meet are one point
    names = {tuple(point): name for name, point in theirs.items()}
    for source, target in zip(pairs.source, pairs.target, strict=True):
        assert np.array_equal(source, own[names[tuple(target)]])


def test_the_synthetic_head_itself_and_what_nobody_knows_have_no_pairs(shapes, tmp_path):
    assert _pairs(given(tmp_path), SyntheticHead(4000).topology) is None
    vertices, faces = shapes.sphere(2)
    assert _pairs(given(tmp_path), Topology(80 * vertices, faces)) is None


def test_a_file_may_hold_the_points_of_the_model_alone_or_pairs(face, tmp_path):
    rows = known_landmarks(face).rows
    names = ["tip of the nose", "jaw 9", "right corner of the mouth", "left brow 3", "inner corner of the left eye"]
    (tmp_path / "marks.json").write_text(json.dumps({name: rows[name] for name in names}))
    pairs = _pairs(given(tmp_path, tmp_path / "marks.json"), face)
    expected = face.template[[rows[name] for name in names]]
    assert sorted(pairs.target.tolist()) == sorted(expected.tolist())
    (tmp_path / "pairs.csv").write_text("source,target\n" + "".join(f"{k},{rows[n]}\n" for k, n in enumerate(names)))
    table = _pairs(given(tmp_path, tmp_path / "pairs.csv"), face)
    assert np.array_equal(table.source, SyntheticHead(4000).topology.template[:5])
    (tmp_path / "marks.json").write_text(json.dumps({"nose tip": 5, "jaw 9": 7, "jaw 8": 9, "jaw 7": 11}))
    with pytest.raises(DataError, match=r"names the landmark .nose tip.*Did you mean .tip of the nose"):
        _pairs(given(tmp_path, tmp_path / "marks.json"), face)
