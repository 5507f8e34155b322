"""The layout ``multiface``: text or binary meshes, in the frame of the head or of the rig."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import MultifaceLayout
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, UsageError

PERSON = "m--20180227--0000--6795937--GHS"
NEUTRAL, SMILE = "E001_Neutral_Eyes_Open", "E010_Smile_Mouth_Closed"
TURN = np.array([[0.0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 700]])


@pytest.fixture
def small(plant):
    for expression, numbers in ((SMILE, (3, 6, 12)), (NEUTRAL, (9, 10))):
        folder = f"{PERSON}/tracked_mesh/{expression}"
        for number in numbers:
            plant(f"{folder}/{number:06d}.obj")
            np.savetxt(plant.raw / folder / f"{number:06d}_transform.txt", TURN)
            name = f"{folder}/{number:06d}"
            plant(f"{name}.bin", vertices=plant.vertices[f"{name}.obj"])
    plant.strays(f"{PERSON}/tracked_mesh/{SMILE}", "000003.obj")
    (plant.raw / PERSON / "frame_list.txt").write_text("3\n")
    return plant


def layout(plant, **options):
    return MultifaceLayout(raw=(plant.raw,), **options)


def test_frames_by_their_numbers(small, shown):
    listing = layout(small).find()
    assert shown(listing) == [f"6795937/{NEUTRAL}/9", f"6795937/{NEUTRAL}/10"] + [
        f"6795937/{SMILE}/{k}" for k in (3, 6, 12)
    ]
    assert listing.remarks == ("1 subjects are there; the published data have 13",)
    assert all(record.source.endswith(".obj") for record in listing.records)
    assert shown(layout(small, every=2).find()) == [f"6795937/{NEUTRAL}/9", f"6795937/{SMILE}/3", f"6795937/{SMILE}/12"]


def test_text_and_binary_give_the_same_dataset(small, tmp_path):
    faces = small.raw / PERSON / "tracked_mesh" / SMILE / "000003.obj"
    prepare(layout(small), tmp_path / "text.h5", align="none")
    prepare(layout(small, faces=faces), tmp_path / "binary.h5", align="none")
    text, binary = ScanDataset.open(tmp_path / "text.h5"), ScanDataset.open(tmp_path / "binary.h5")
    assert np.allclose(text.vertices(), binary.vertices(), atol=1e-4)
    assert text.names() == binary.names()
    assert text.names(text.neutral_row) == [f"6795937/{NEUTRAL}/9"]
    expected = small.vertices[f"{PERSON}/tracked_mesh/{SMILE}/000006.obj"]
    assert np.allclose(text.vertices(np.array([text.scan(f"6795937/{SMILE}/6")]))[0], expected, atol=1e-4)


def test_the_head_moves_to_the_rig(small):
    option = layout(small, pose="rig")
    record = option.find().records[0]
    found = option.read([record], 0)[0].vertices
    expected = small.vertices[f"{PERSON}/tracked_mesh/{NEUTRAL}/000009.obj"]
    assert np.allclose(found, np.stack([5 - expected[:, 1], 6 + expected[:, 0], 700 + expected[:, 2]], axis=1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "has no 000009_transform.txt beside it, which --pose rig needs"),
        ("1 0 0 0\n", r"has the shape (4,); wanted 3 rows of 4 finite numbers"),
        ("1 0 0 nan\n" * 3, r"has the shape (3, 4); wanted 3 rows of 4 finite numbers"),
        ("a b c d\n" * 3, "is no table of numbers"),
    ],
)
def test_a_pose_that_cannot_be_used(small, content, reason):
    path = small.raw / PERSON / "tracked_mesh" / NEUTRAL / "000009_transform.txt"
    path.unlink()
    if content is not None:
        path.write_text(content)
    option = layout(small, pose="rig")
    assert reason in option.read(option.find().records[:1], 0)[0].reason


def test_binary_files_alone_need_triangles(small, tmp_path):
    faces = tmp_path / "faces.obj"
    path = small.raw / PERSON / "tracked_mesh"
    (path / SMILE / "000003.obj").rename(faces)
    for text in path.rglob("*.obj"):
        text.unlink()
    with pytest.raises(DataError, match=r"holds 5 binary meshes and no .obj; wanted the triangles too.* --faces FILE"):
        layout(small).find()
    (path / SMILE / "000006.bin").write_bytes(bytes(42 * 12 - 4))
    (path / SMILE / "000012.bin").write_bytes(np.full(42 * 3, np.nan, "<f4").tobytes())
    result = prepare(layout(small, faces=faces), tmp_path / "faces.h5")
    assert [r.reason for r in result.rejected] == [
        f"has 500 bytes; wanted 504: three float32 a vertex of {faces}",
        "has coordinates that are not finite",
    ]


def test_arguments(tmp_path):
    with pytest.raises(UsageError, match="got every 0; wanted at least 1"):
        MultifaceLayout(raw=(tmp_path,), every=0)
