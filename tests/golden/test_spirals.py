"""The published order of spirals and rings, on four levels of a hierarchy and on a tiny mesh."""

import re

import numpy as np

from meshdisent.mesh.rings import one_ring_order
from meshdisent.mesh.spirals import spirals


def test_spirals_and_rings_are_the_published_ones(golden):
    file, levels = golden("spirals"), golden("hierarchy")
    meshes = {f"L{k}": (levels[f"L{k}.vertices"], levels[f"L{k}.faces"].astype(np.int64)) for k in range(4)}
    meshes["tiny"] = file["tiny.vertices"], file["tiny.faces"].astype(np.int64)
    ours = {}
    for name, (vertices, faces) in meshes.items():
        ring, is_border = one_ring_order(faces, len(vertices))
        ours[f"{name}.one_ring_order"] = np.pad(ring, [(0, 0), (0, 16 - ring.shape[1])], constant_values=-1)
        if name != "tiny":
            ours[f"{name}.is_border"] = is_border
        for key in file:
            setting = re.fullmatch(rf"{name}\.len(\d+)_dil(\d+)", key)
            if setting:
                ours[key] = spirals(vertices, faces, int(setting[1]), int(setting[2]))
    assert len(ours) == 3 * 6 + 3 + 5
    file.check(ours)
