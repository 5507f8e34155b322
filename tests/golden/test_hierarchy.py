"""The published decimation of a small template."""

import numpy as np
import scipy.sparse as sparse

from meshdisent.mesh.published_hierarchy import published_hierarchy, published_up
from meshdisent.mesh.quadrics import vertex_quadrics
from meshdisent.mesh.topology import edges_of


def test_hierarchy_is_the_published_one(golden):
    file = golden("hierarchy")
    vertices, faces = file["L0.vertices"], file["L0.faces"].astype(np.int64)
    result = published_hierarchy(vertices, faces, (4, 4, 4))
    ours = {"L0.vertex_quadrics": vertex_quadrics(vertices, faces)}
    for number, level in enumerate(result.levels):
        edges, face_counts = edges_of(level.faces, len(level.vertices))
        # Listed by column, then row: each edge both ways, with the number of its faces.
        ends, counts = np.concatenate([edges, edges[:, ::-1]]), np.concatenate([face_counts, face_counts])
        order = np.lexsort([ends[:, 0], ends[:, 1]])
        if number:
            ours |= {f"L{number}.vertices": level.vertices, f"L{number}.faces": level.faces}
        ours[f"L{number}.adj_row"], ours[f"L{number}.adj_col"] = ends[order].T
        ours[f"L{number}.adj_val"] = counts[order]
    for step, kept in enumerate(result.kept):
        shape = (len(kept), len(result.levels[step].vertices))
        ours |= {f"D{step}.kept": kept, f"D{step}.row": np.arange(len(kept)), f"D{step}.col": kept}
        ours |= {f"D{step}.val": np.ones(len(kept)), f"D{step}.shape": shape}
        up = published_up(result.levels[step], result.levels[step + 1])
        row, column = file[f"U{step}.row"], file[f"U{step}.col"]
        published = sparse.coo_array((file[f"U{step}.val"], (row, column)), shape=file[f"U{step}.shape"])
        # Single precision; the zeros that are stored depend on which of two faces at an edge was named.
        np.testing.assert_allclose(up.toarray(), published.toarray(), atol=1e-6)
    file.check(ours)
