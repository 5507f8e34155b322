r"""Who it is, read from what the model calls identity: the nearest entry of a gallery (FED, section IV, recognition).

A gallery holds one entry for each person: the identity code, or the identity face, of the neutral scan. Probes are the
other scans. Rank 1: the nearest entry is the right person's.
"""

import numpy as np
from jaxtyping import Bool, Float, Int


def recognized_by_code(
    probes: Float[np.ndarray, "probe code"],
    probe_subject: Int[np.ndarray, " probe"],
    gallery: Float[np.ndarray, "entry code"],
    gallery_subject: Int[np.ndarray, " entry"],
) -> Bool[np.ndarray, " probe"]:
    r"""Whether the gallery code with the largest cosine is the probe's subject (FED, published evaluation).

    .. math:: \hat s(z) = \arg\max_g \frac{\langle z, z_g \rangle}{\lVert z \rVert \lVert z_g \rVert}

    No unit. The published code counts the neutral scans among the probes, and draws codes instead of taking means; who
    wants the first passes them. Of entries equally near, the first counts. A code of length 0 has no direction and is
    recognized as the first entry.

    Examples
    --------
    >>> recognized_by_code(
    ...     np.array([[2.0, 0.1], [3.0, 1.0]]), np.array([5, 8]), np.array([[1.0, 0], [0, 1]]), np.array([5, 8])
    ... ).tolist()
    [True, False]
    """
    cosine = _unit(probes) @ _unit(gallery).T
    return gallery_subject[cosine.argmax(axis=1)] == probe_subject


def recognized_by_face(
    probes: Float[np.ndarray, "probe vertex 3"],
    probe_subject: Int[np.ndarray, " probe"],
    gallery: Float[np.ndarray, "entry vertex 3"],
    gallery_subject: Int[np.ndarray, " entry"],
) -> Bool[np.ndarray, " probe"]:
    r"""Whether the gallery's identity face at the least distance is the probe's subject (FED, published evaluation).

    .. math:: \hat s(X) = \arg\min_g \sum_v \lVert X_v - X^g_v \rVert

    No unit; faces in mm. Of entries equally near, the first counts.

    Examples
    --------
    >>> faces = np.array([[[0.0, 0, 0], [0, 0, 0]], [[3, 0, 0], [0, 4, 0]]])
    >>> recognized_by_face(faces + 0.5, np.array([1, 1]), faces, np.array([0, 1])).tolist()
    [False, True]
    """
    return gallery_subject[_face_distances(probes, gallery).argmin(axis=1)] == probe_subject


def chance_of_rank_one(probe_subject: Int[np.ndarray, " probe"], gallery_subject: Int[np.ndarray, " entry"]) -> float:
    """How often an entry drawn at random is the right person's, 0 to 1.

    Examples
    --------
    >>> chance_of_rank_one(np.array([0, 1, 9]), np.array([0, 1]))
    0.3333333333333333
    """
    return float((probe_subject[:, None] == gallery_subject[None]).mean())


def drawn_spread(
    faces: Float[np.ndarray, "scan vertex 3"],
    subject: Int[np.ndarray, " scan"],
    seed: int = 0,
    draws: int = 100,
) -> Float[np.ndarray, " draw"]:
    r"""How much identity faces of different people differ, in mm: FED's control of E_dis.

    One predicted identity of each subject is drawn; the figure of a draw is the spread of these faces about their mean,
    in the sense of E_dis (:func:`~meshdisent.metrics.spread_a`):

    .. math:: \mathrm{std}_{s, v}\, \lVert X^{id}_{s,v} - \overline{X^{id}}_v \rVert

    A model that gives everybody the same face has an E_dis of 0, and of this too. The published program prints it, the
    paper does not define it; drawing one face for each subject is our reading.

    Returns
    -------
    (draws,) mm.

    Examples
    --------
    >>> two = np.array([[[1.0, 0, 0], [0, 0, 0]], [[-1, 0, 0], [0, 0, 0]]])
    >>> drawn_spread(two, np.array([0, 1]), draws=2).tolist()
    [0.5, 0.5]
    """
    random = np.random.default_rng(seed)
    labels = np.unique(subject)
    own = [np.flatnonzero(subject == label) for label in labels]
    found = np.empty(draws)
    for k in range(draws):
        chosen = faces[[rows[random.integers(len(rows))] for rows in own]].astype(np.float64)
        offset = chosen - chosen.mean(axis=0)
        found[k] = np.sqrt(np.einsum("svc,svc->sv", offset, offset)).std()
    return found


def _unit(codes: np.ndarray) -> np.ndarray:
    codes = codes.astype(np.float64)
    length = np.linalg.norm(codes, axis=1, keepdims=True)
    return np.divide(codes, length, out=np.zeros_like(codes), where=length > 0)


def _face_distances(probes: np.ndarray, gallery: np.ndarray, block: int = 16) -> Float[np.ndarray, "probe entry"]:
    """Sum of vertex distances of every pair; a block of probes and one entry at a time, which stays in the cache."""
    center = gallery.mean(axis=0)
    # (3, ., V): one coordinate after the other, so that no axis of length 3 is summed over.
    sides = [np.ascontiguousarray(np.moveaxis(faces - center, 2, 0), np.float32) for faces in (probes, gallery)]
    found = np.empty((len(probes), len(gallery)))
    for start in range(0, len(probes), block):
        part = sides[0][:, start : start + block]
        for entry in range(len(gallery)):
            square = np.zeros(part.shape[1:], np.float32)
            for axis in range(3):
                offset = part[axis] - sides[1][axis, entry]
                offset *= offset
                square += offset
            np.sqrt(square, out=square)
            found[start : start + block, entry] = square.sum(axis=1, dtype=np.float64)
    return found
