"""The bytes of a colored mesh, read back by another program."""

import io

import numpy as np
import trimesh

from meshdisent.show.colored_glb import colored_glb


def test_another_program_reads_vertices_faces_and_colors(shapes):
    vertices, faces = shapes.ball()
    colors = np.random.default_rng(0).uniform(size=vertices.shape)
    data = colored_glb(vertices, faces, colors)
    (mesh,) = trimesh.load(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    np.testing.assert_allclose(mesh.vertices, vertices, rtol=1e-6, atol=1e-5)
    assert np.array_equal(mesh.faces, faces)
    linear = np.where(colors > 0.04045, ((colors + 0.055) / 1.055) ** 2.4, colors / 12.92)
    np.testing.assert_allclose(attribute(data, 2, len(vertices)), linear, atol=1e-6)


def attribute(data: bytes, number: int, count: int) -> np.ndarray:
    """Positions, normals or colors as they lie in the file."""
    binary = data[20 + int.from_bytes(data[12:16], "little") + 8 :]
    return np.frombuffer(binary, "<f4", 3 * count, 12 * count * number).reshape(-1, 3)


def test_normals_point_outwards_and_lone_vertices_have_one(shapes):
    vertices, faces = shapes.ball()
    lone = np.concatenate([vertices, [[0.0, 0, 0]]])
    data = colored_glb(lone, faces, np.ones_like(lone))
    normals = attribute(data, 1, len(lone))
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    outward = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    assert (normals[:-1] * outward).sum(1).min() > 0.7
    assert len(data) == int.from_bytes(data[8:12], "little")
