"""Codes laid out on a plane, so that an eye sees what clusters (t-SNE, van der Maaten and Hinton 2008)."""

import numpy as np
from jaxtyping import Float

PERPLEXITY = 30.0
#: Fewer codes make no picture.
FEWEST = 5


def embedded(codes: Float[np.ndarray, "scan code"], seed: int = 0) -> Float[np.ndarray, "scan 2"] | None:
    """Places on a plane for standardized codes; no unit, and distances between clusters mean nothing.

    None with fewer than five codes, or where all are equal.
    """
    from sklearn.manifold import TSNE

    if len(codes) < FEWEST or codes.shape[1] == 0 or not np.ptp(codes, axis=0).any():
        return None
    scale = codes.std(axis=0)
    standard = (codes - codes.mean(axis=0)) / np.maximum(scale, 1e-6 * scale.max())
    perplexity = min(PERPLEXITY, (len(codes) - 1) / 3)
    # PCA as the start needs two entries; one is spread by chance.
    start = "pca" if codes.shape[1] > 1 else "random"
    layout = TSNE(perplexity=perplexity, init=start, random_state=seed, learning_rate="auto")
    return layout.fit_transform(standard.astype(np.float32)).astype(np.float64)
