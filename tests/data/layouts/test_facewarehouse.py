"""The layout ``facewarehouse``: poses, and blend shapes whose sizes must fit their counts."""

import struct

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import FacewarehouseLayout
from meshdisent.data.layouts.facewarehouse import read_blendshapes
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, MeshError, UsageError

HUNDRED = 100.0


def pose(subject, number):
    return f"Tester_{subject}/TrainingPose/pose_{number}.obj"


@pytest.fixture
def small(plant):
    for subject in (2, 10, 141):
        plant(*(pose(subject, k) for k in (0, 2, 10)), unit_mm=HUNDRED)
    plant.strays("Tester_2/TrainingPose", "pose_0.obj")
    return plant


@pytest.fixture
def shapes(small):
    """Blend shapes of two people: the neutral and three shapes."""
    made = {}
    for subject in (2, 10):
        made[subject] = small.sheet.vertices + np.random.default_rng(subject).normal(size=(4, 42, 3))
        path = small.raw / f"Tester_{subject}" / "Blendshape" / "shape.bs"
        path.parent.mkdir()
        path.write_bytes(struct.pack("<3i", 3, 42, 60) + (made[subject] / HUNDRED).astype("<f4").tobytes())
    return made


def layout(plant, **options):
    return FacewarehouseLayout(raw=(plant.raw,), **options)


def test_poses_by_number_in_millimeters(small, shown, tmp_path):
    listing = layout(small).find()
    assert shown(listing) == [
        f"{subject}/{name}" for subject in (2, 10, 141) for name in ("neutral", "pose_2", "pose_10")
    ]
    assert listing.remarks == ("147 of 150 subjects are absent: 1, 3, 4, 5, 6 and 142 more",)
    prepare(layout(small), tmp_path / "faces.h5", align="none", split_by="140")
    scans = ScanDataset.open(tmp_path / "faces.h5")
    assert np.allclose(scans.vertices(np.array([scans.scan("10/pose_2")]))[0], small.vertices[pose(10, 2)], atol=1e-3)
    assert scans.names(scans.rows("test")) == ["141/neutral", "141/pose_2", "141/pose_10"]


def test_a_missing_pose_is_said(small):
    small(pose(2, 3), unit_mm=HUNDRED)
    assert "2 subjects have fewer scans than 4: 10 (3), 141 (3)" in layout(small).find().remarks


def test_blend_shapes_with_the_triangles_of_the_first_pose(small, shapes, shown, tmp_path):
    option = layout(small, scans="blendshapes")
    assert shown(option.find()) == [
        f"{s}/{name}" for s in (2, 10) for name in ("neutral", "shape_1", "shape_2", "shape_3")
    ]
    result = prepare(option, tmp_path / "faces.h5", align="none")
    assert (result.scans, result.neutrals) == (8, 2)
    scans = ScanDataset.open(tmp_path / "faces.h5")
    assert np.allclose(scans.vertices(), np.concatenate([shapes[2], shapes[10]]), atol=1e-3)
    assert np.array_equal(scans.topology.faces, small.sheet.faces)


def test_triangles_may_come_from_elsewhere(small, shapes, tmp_path):
    faces = tmp_path / "faces.obj"
    (small.raw / pose(2, 0)).rename(faces)
    option = layout(small, scans="blendshapes")
    found = option.read(option.find().records, 0)
    assert [str(mesh.reason).partition(";")[0] for mesh in found[:4]] == [
        f"{small.raw / pose(2, 0)} does not exist"
    ] * 4
    option = layout(small, scans="blendshapes", faces=faces)
    assert np.allclose(option.read(option.find().records, 0)[0].vertices, shapes[2][0], atol=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"begins with the counts \[0, 0, 0\] in 0 bytes"),
        (struct.pack("<3i", 46, -1, 60), r"begins with the counts \[46, -1, 60\]"),
        (struct.pack("<3i", 2**31 - 1, 2**31 - 1, 60), r"begins with the counts"),
        (struct.pack("<3i", 3, 42, 60) + bytes(4 * 42 * 12 - 1), r"has 2027 bytes; 4 shapes of 42 vertices take 2028"),
        (struct.pack("<3i", 3, 42, 60) + bytes(4 * 42 * 12 + 4), r"has 2032 bytes"),
    ],
)
def test_a_file_whose_size_is_not_that_of_its_counts_is_refused(tmp_path, content, message):
    path = tmp_path / "Tester_1" / "Blendshape" / "shape.bs"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(MeshError, match=message):
        read_blendshapes(str(path))
    with pytest.raises(DataError, match="none of 1 files can be read"):
        FacewarehouseLayout(raw=(tmp_path,), scans="blendshapes").find()


@pytest.mark.parametrize("corners", [0, 3, 4])
def test_faces_behind_the_shapes_are_allowed(tmp_path, corners):
    shapes = np.random.default_rng(0).normal(size=(4, 42, 3)).astype("<f4")
    path = tmp_path / f"shape-{corners}.bs"
    path.write_bytes(struct.pack("<3i", 3, 42, 60) + shapes.tobytes() + bytes(60 * 4 * corners))
    assert np.array_equal(read_blendshapes(str(path)), shapes)


def test_arguments(tmp_path):
    with pytest.raises(UsageError, match="wanted at least one of each"):
        FacewarehouseLayout(raw=(tmp_path,), subjects=0)
    with pytest.raises(MeshError, match="cannot be read: No such file"):
        read_blendshapes(str(tmp_path / "shape.bs"))
