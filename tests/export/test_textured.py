"""Meshes with a picture on them, opened by others."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from meshdisent.errors import UsageError
from meshdisent.export.textured import write_textured_glb, write_textured_obj
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def square():
    corners = np.array([[0.0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    return Mesh(corners, faces, uv=corners[:, :2] / 100, face_uv=faces)


@pytest.fixture
def picture():
    colors = np.zeros((8, 8, 3), np.uint8)
    colors[:4] = [250, 10, 10]  # red above, blue below
    colors[4:] = [10, 10, 250]
    return colors


def test_an_obj_finds_its_picture_and_keeps_its_order(square, picture, tmp_path):
    files = write_textured_obj(square, picture, tmp_path / "my face.obj")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["my face.mtl", "my face.obj", "my face.png"]
    assert np.array_equal(Mesh.read(files[0]).vertices, square.vertices)
    assert "map_Kd my face.png" in files[1].read_text()
    opened = trimesh.load(files[0], process=False, force="mesh")
    assert np.array_equal(np.asarray(opened.visual.material.image.convert("RGB")), picture)
    # The upper edge of the square is red.
    colors = opened.visual.to_color().vertex_colors[:, :3]
    top = np.asarray(opened.vertices)[:, 1] > 50
    assert (colors[top, 0] > 200).all()
    assert (colors[~top, 2] > 200).all()


def test_a_glb_is_in_meters_matte_and_has_the_picture_inside(square, picture, tmp_path):
    path = write_textured_glb(square, picture, tmp_path / "face.glb")
    content = path.read_bytes()
    assert content[:4] == b"glTF"
    (length,) = struct.unpack("<I", content[12:16])
    head = json.loads(content[20 : 20 + length])
    assert head["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0
    opened = trimesh.load(io.BytesIO(content), file_type="glb", force="mesh", process=False)
    assert np.allclose(np.ptp(opened.vertices, axis=0), [0.1, 0.1, 0])
    image = opened.visual.material.baseColorTexture
    assert isinstance(image, Image.Image)
    assert np.array_equal(np.asarray(image.convert("RGB")), picture)


def test_nothing_is_overwritten_and_a_mesh_without_coordinates_is_refused(square, picture, tmp_path):
    write_textured_glb(square, picture, tmp_path / "face.glb")
    with pytest.raises(UsageError, match="exists"):
        write_textured_glb(square, picture, tmp_path / "face.glb")
    with pytest.raises(UsageError, match="no texture coordinates"):
        write_textured_obj(Mesh(square.vertices, square.faces), picture, tmp_path / "bare.obj")
    assert not (tmp_path / "bare.png").exists()
