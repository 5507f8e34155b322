"""Numbered files, and the sheet of all targets."""

import re

import numpy as np
import pytest
from PIL import Image

from meshdisent.errors import UsageError
from meshdisent.export.rig_sheet import write_rig_sheet
from meshdisent.export.sequence import write_sequence
from meshdisent.mesh.mesh import Mesh


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_files_are_numbered_and_hold_the_frames(rig, tmp_path, kind):
    frames = rig.pose(np.array([[0.0, 0, 0], [1, 0, 0]]))
    files = write_sequence(tmp_path / "frames", frames, rig.faces, kind)
    assert [path.name for path in files] == [f"frame-0000.{kind}", f"frame-0001.{kind}"]
    for path, wanted in zip(files, frames, strict=True):
        assert np.array_equal(Mesh.read(path).vertices, wanted)
        assert np.array_equal(Mesh.read(path).faces, rig.faces)
    with pytest.raises(UsageError, match="exists"):
        write_sequence(tmp_path / "frames", frames, rig.faces, kind)


def test_a_sheet_has_the_face_at_rest_and_every_target(rig, tmp_path):
    svg = write_rig_sheet(tmp_path / "targets.svg", rig, "rig & targets").read_text()
    assert re.findall(r'text-anchor="middle">([^<]*)<', svg) == ["neutral", "first", "second", "both"]
    assert svg.count("data:image/png;base64,") == 4
    assert "rig &amp; targets" in svg
    png = np.asarray(Image.open(write_rig_sheet(tmp_path / "targets.png", rig)))
    dark = (png < 200).any(axis=(0, 2))
    assert dark[: png.shape[1] // 4].any()
    assert dark[-png.shape[1] // 4 :].any()
    with pytest.raises(UsageError, match=r"the ending '.jpg'; wanted .png or .svg"):
        write_rig_sheet(tmp_path / "targets.jpg", rig)
