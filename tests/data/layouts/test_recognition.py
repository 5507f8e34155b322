"""A layout pointed at the wrong folder says which one it looks like."""

import pytest

from meshdisent.data.layouts import LAYOUTS
from meshdisent.data.layouts.coma import SUBJECTS
from meshdisent.data.layouts.recognition import find_scans, recognize
from meshdisent.errors import DataError

TREES = {
    "coma": [f"{SUBJECTS[0]}/bareteeth/bareteeth.{k:06d}.ply" for k in range(1, 40)],
    "facescape": ["1/models_reg/1_neutral.obj", "1/models_reg/2_smile.obj", "2/models_reg/1_neutral.obj"],
    "bu3dfe": ["F0001/F0001_NE00WH_F3D.wrl", "F0001/F0001_AN01WH_F3D.wrl"],
    "d3dfacs": ["Joe/1+2/1+2.001.ply", "Joe/1+2/1+2.002.ply"],
    "multiface": ["m--20180227--0000--6795937--GHS/tracked_mesh/E001_Neutral_Eyes_Open/000009.obj"],
    "facewarehouse": ["Tester_1/TrainingPose/pose_0.obj", "Tester_1/Blendshape/shape.bs"],
    "ict": ["FaceXModel/generic_neutral_mesh.obj", "FaceXModel/identity000.obj"],
}


@pytest.fixture(params=TREES)
def tree(request, tmp_path):
    folder = tmp_path / "down load" / "ümlaut"
    for name in TREES[request.param]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / ".hidden").mkdir()
    return request.param, folder


def test_every_data_set_has_a_tree_here():
    assert set(TREES) == set(LAYOUTS) - {"folder"}


def test_a_tree_is_recognized_from_above_too(tree):
    name, folder = tree
    assert recognize([folder]) == name
    assert recognize([folder.parent]) == name


def test_every_other_layout_says_what_it_looks_like(tree):
    name, folder = tree
    for other, layout in LAYOUTS.items():
        if other in (name, "folder"):
            continue
        with pytest.raises(DataError, match=rf"looks like the layout {name}: meshdisent prepare {name}\."):
            find_scans(layout(raw=(folder,)))


def test_the_layout_folder_does_not_give_wrong_names(tree):
    name, folder = tree
    layout = LAYOUTS["folder"](raw=(folder,))
    if name in ("coma", "d3dfacs"):
        assert find_scans(layout).records[0].expression == TREES[name][0].split("/")[1]
    else:
        with pytest.raises(DataError, match=rf"meshdisent prepare {name}\."):
            find_scans(layout)


def test_what_is_like_nothing_is_called_nothing(tmp_path):
    (tmp_path / "anna").mkdir()
    (tmp_path / "anna" / "smile.ply").touch()
    assert recognize([tmp_path, tmp_path / "absent"]) is None
    assert find_scans(LAYOUTS["folder"](raw=(tmp_path,))).records[0].subject == "anna"
    with pytest.raises(DataError) as caught:
        find_scans(LAYOUTS["coma"](raw=(tmp_path,)))
    assert "looks like" not in str(caught.value)
