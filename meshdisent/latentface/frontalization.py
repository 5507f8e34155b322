r"""Whether a frontal view still shows the same person: distance of embeddings (LatentFace, section on frontalization).

The papers use ArcFace; any face embedding may be given, and none is shipped.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import DataError
from meshdisent.latentface.feature_distance import cosine_distance, euclidean_distance

Images = Float[Tensor, "image 3 height width"]
#: (n, 3, S, S) images from 0 to 1 -> (n, D) embeddings.
Embedding = Callable[[Images], Float[Tensor, "image feature"]]


@dataclass(frozen=True, kw_only=True)
class FrontalizationDistance:
    """Distances between the embeddings of images and of their frontal views.

    Attributes
    ----------
    cosine : (N,) :math:`1 - \\cos(a, b)`, 0 to 2; the measure of the papers.
    euclidean : (N,) :math:`\\lVert a - b \\rVert`, in the unit of the embedding.
    """

    cosine: Float[Tensor, " image"]
    euclidean: Float[Tensor, " image"]

    @property
    def mean_cosine(self) -> float:
        """Mean over the images."""
        return float(self.cosine.mean())

    @property
    def mean_euclidean(self) -> float:
        """Mean over the images."""
        return float(self.euclidean.mean())


@torch.no_grad()
def frontalization_distance(
    embedding: Embedding, images: Images, frontalized: Float[Tensor, "view 3 height width"], batch_size: int = 64
) -> FrontalizationDistance:
    """How far the frontal view of each image lies from the image, as an embedding sees it.

    Parameters
    ----------
    embedding : Called without gradients on batches of images.
    images, frontalized : (N, 3, S, S) From 0 to 1, row by row of the same face.
    batch_size : Images at a time.

    Raises
    ------
    DataError : If there is no image, the counts differ, or an embedding has no length or is not finite.

    Examples
    --------
    >>> first = torch.tensor([1.0, 0, 0]).reshape(1, 3, 1, 1)
    >>> second = torch.tensor([0.0, 2, 0]).reshape(1, 3, 1, 1)
    >>> found = frontalization_distance(lambda image: image.flatten(1), first, second)
    >>> found.mean_cosine, round(found.mean_euclidean, 4)
    (1.0, 2.2361)
    """
    if len(images) == 0 or len(images) != len(frontalized):
        raise DataError(
            f"{len(images)} images and {len(frontalized)} frontal views were given; wanted as many of both, and one at "
            "least. Give one view an image."
        )
    cosines, distances = [], []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        pair = embedding(images[part]), embedding(frontalized[part])
        cosines.append(cosine_distance(*pair))
        distances.append(euclidean_distance(*pair))
    return FrontalizationDistance(cosine=torch.cat(cosines), euclidean=torch.cat(distances))
