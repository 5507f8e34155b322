"""GLB files, byte by byte, and as trimesh and pygltflib read them."""

import io
import json
import struct

import numpy as np
import pytest
import trimesh

from meshdisent.errors import UsageError
from meshdisent.export.gltf import Clip, Part, encode_glb, write_glb
from meshdisent.export.rig_glb import rig_parts, unfolded, write_rig
from meshdisent.export.weights import each_in_turn

TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}


def opened(content: bytes) -> tuple[dict, bytes]:
    """The JSON and the buffer of a GLB."""
    magic, version, length = struct.unpack("<4sII", content[:12])
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack("<I4s", content[12:20])
    assert (kind, size % 4) == (b"JSON", 0)
    rest = content[20 + size :]
    assert struct.unpack("<I4s", rest[:8]) == (len(rest) - 8, b"BIN\0")
    return json.loads(content[20 : 20 + size]), rest[8:]


def values(head: dict, buffer: bytes, number: int) -> np.ndarray:
    accessor = head["accessors"][number]
    view = head["bufferViews"][accessor["bufferView"]]
    kind = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}[accessor["componentType"]]
    raw = buffer[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.frombuffer(raw, kind).reshape(accessor["count"], TYPES[accessor["type"]])


def test_positions_targets_and_names_come_back_exactly_in_meters(rig, tmp_path):
    path = write_rig(tmp_path / "face.glb", rig, each_in_turn(rig.names))
    head, buffer = opened(path.read_bytes())
    (mesh,) = head["meshes"]
    (skin,) = mesh["primitives"]  # a ball has no eyes
    assert mesh["extras"]["targetNames"] == list(rig.names)
    assert mesh["weights"] == [0, 0, 0]
    assert np.array_equal(values(head, buffer, skin["attributes"]["POSITION"]), (rig.neutral / 1000).astype(np.float32))
    assert np.array_equal(values(head, buffer, skin["indices"]).reshape(-1, 3), rig.faces)
    for target, wanted in zip(skin["targets"], rig.displacements, strict=True):
        assert np.array_equal(values(head, buffer, target["POSITION"]), (wanted / 1000).astype(np.float32))
    for number in (skin["attributes"]["POSITION"], skin["targets"][1]["POSITION"]):
        shown = values(head, buffer, number)
        assert head["accessors"][number]["min"] == shown.min(axis=0).tolist()
        assert head["accessors"][number]["max"] == shown.max(axis=0).tolist()


def test_normals_with_a_target_are_those_of_the_moved_face(rig):
    head, buffer = opened(encode_glb("face", rig_parts(rig), rig.names))
    skin = head["meshes"][0]["primitives"][0]
    rest, turned = (values(head, buffer, k) for k in (skin["attributes"]["NORMAL"], skin["targets"][0]["NORMAL"]))
    moved = trimesh.Trimesh(rig.neutral + rig.displacements[0], rig.faces, process=False)
    directions = np.cross(*(moved.triangles[:, k] - moved.triangles[:, 0] for k in (1, 2)))
    wanted = np.zeros_like(rig.neutral)
    for corner in range(3):
        np.add.at(wanted, rig.faces[:, corner], directions)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(rest + turned, wanted, atol=1e-5)


def test_the_animation_shows_each_target_in_turn(rig):
    track = each_in_turn(rig.names)
    head, buffer = opened(
        encode_glb("face", rig_parts(rig), rig.names, [Clip(name="a", seconds=track.seconds, weights=track.weights)])
    )
    (clip,) = head["animations"]
    (sampler,) = clip["samplers"]
    assert clip["channels"] == [{"sampler": 0, "target": {"node": 0, "path": "weights"}}]
    assert values(head, buffer, sampler["input"]).ravel().tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert values(head, buffer, sampler["output"]).reshape(-1, 3)[1::2].tolist() == np.eye(3).tolist()
    assert head["accessors"][sampler["input"]]["max"] == [3.0]


def test_the_material_is_matte_and_colors_are_light(ball):
    vertices, faces = ball
    still = np.zeros((0, *vertices.shape))
    half = Part(vertices=vertices, faces=faces, displacements=still, color=(0.5, 1.0, 0.0))
    painted = Part(vertices=vertices, faces=faces, displacements=still, colors=np.full(vertices.shape, 0.5))
    head, buffer = opened(encode_glb("two", [half, painted]))
    surfaces = [material["pbrMetallicRoughness"] for material in head["materials"]]
    assert all(surface["metallicFactor"] == 0 for surface in surfaces)
    np.testing.assert_allclose(surfaces[0]["baseColorFactor"], [0.214, 1, 0, 1], atol=1e-3)  # of 0.5 in sRGB
    colors = values(head, buffer, head["meshes"][0]["primitives"][1]["attributes"]["COLOR_0"])
    np.testing.assert_allclose(colors, 0.214, atol=1e-3)
    assert "baseColorFactor" not in surfaces[1]


def test_trimesh_reads_the_face_and_pygltflib_the_names(rig, tmp_path):
    path = write_rig(tmp_path / "face.glb", rig)
    mesh = trimesh.load(io.BytesIO(path.read_bytes()), file_type="glb", force="mesh", process=False)
    assert np.array_equal(np.asarray(mesh.vertices, np.float32), (rig.neutral / 1000).astype(np.float32))
    pygltflib = pytest.importorskip("pygltflib", reason="needs pygltflib (pip install 'meshdisent[browser]')")
    read = pygltflib.GLTF2().load(path)
    assert read.meshes[0].extras["targetNames"] == list(rig.names)
    assert len(read.meshes[0].primitives[0].targets) == 3
    assert read.materials[0].pbrMetallicRoughness.metallicFactor == 0


def test_eyes_and_mouth_follow_lids_and_lips_with_the_same_targets():
    from meshdisent.export.rig import make_rig
    from meshdisent.morphable.model_file import load_morphable

    model = load_morphable("wsdf-ict")
    rig = make_rig(model, "mean", {name: model.named_expressions[name] for name in ("jawOpen", "browDown_L")})
    skin, inside = rig_parts(rig)
    assert np.array_equal(skin.vertices, rig.neutral)
    assert inside.displacements.shape == (2, *inside.vertices.shape)
    count = len(inside.vertices) // 3  # two eyes and a mouth
    jaw = np.linalg.norm(inside.displacements[0], axis=1)
    assert jaw[2 * count :].max() > 10
    assert jaw[: 2 * count].max() < 3
    (alone,) = rig_parts(rig, has_eyes=False)
    assert np.array_equal(alone.displacements, rig.displacements)


def test_a_face_that_is_folded_over_is_wound_like_its_neighbors(ball):
    vertices, faces = ball
    assert np.array_equal(unfolded(vertices, faces), faces)
    folded = faces.copy()
    folded[17] = folded[17, ::-1]
    mended = unfolded(vertices, folded)
    assert np.array_equal(np.delete(mended, 17, axis=0), np.delete(faces, 17, axis=0))
    assert mended[17].tolist() == faces[17].tolist()


def test_what_does_not_fit_together_is_refused(ball, rig, tmp_path):
    vertices, faces = ball
    part = Part(vertices=vertices, faces=faces, displacements=np.zeros((2, *vertices.shape)))
    with pytest.raises(UsageError, match=r"parts with \[2\] morph targets and 1 names"):
        encode_glb("face", [part], ["smile"])
    with pytest.raises(UsageError, match="several morph targets of the name 'smile'"):
        encode_glb("face", [part], ["smile", "smile"])
    track = {"seconds": np.array([0.0, 0.0]), "weights": np.zeros((2, 2))}
    with pytest.raises(UsageError, match="times that do not rise"):
        encode_glb("face", [part], ["smile", "frown"], [Clip(name="a", **track)])
    with pytest.raises(UsageError, match=r"weights of shape \(2, 3\) at 2 times; wanted \(2, 2\)"):
        encode_glb("face", [part], ["smile", "frown"], [Clip(name="a", **(track | {"weights": np.zeros((2, 3))}))])
    write_glb(tmp_path / "face.glb", [part], ["smile", "frown"])
    with pytest.raises(UsageError, match="exists"):
        write_glb(tmp_path / "face.glb", [part], ["smile", "frown"])
