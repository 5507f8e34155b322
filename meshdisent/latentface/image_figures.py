"""The figures by which a LatentFace is judged while it is trained, and depth against the truth where it is known."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.metrics.depth import BACKGROUND, eroded, mean_angle, normals_of_depth, side

if TYPE_CHECKING:
    from meshdisent.latentface.latentface import LatentFace

#: Pictures that go through the networks at once.
BLOCK = 64


@torch.no_grad()
def image_figures(
    model: "LatentFace", data: ImageDataset, split: str = "val", limit: int | None = None
) -> dict[str, Any]:
    """Measure a model on pictures that it was not trained on; the model is left in evaluation mode.

    Parameters
    ----------
    limit : At most so many pictures, evenly spaced over the split.

    Returns
    -------
    ``photo``: mean absolute error of the rebuilt pictures where they show a face, in percent of the range of colors.
    ``SIDE``: 100 times the scale-invariant error of the depth in the view, and ``MAD``: the mean angle between normals
    in degrees, where the data know the true depth; None where they do not. ``identity``: how far the persons found in
    pictures of one sequence are from its mean latent, as a part of how far the latents themselves are; None without
    stage two or sequences. And ``measured``: how many pictures. Empty if the split has none.
    """
    rows = data.rows(split)
    if len(rows) == 0:
        return {}
    if limit is not None and len(rows) > limit:
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]
    model.eval()
    photo, sides, angles = [], [], []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        images = torch.from_numpy(data.images(block)).to(model.like)
        found = model.stage_one.rebuild(model.explain(images))
        picture, mask = found.picture.chunk(2)[0], found.mask
        error = ((picture - (2 * images - 1)).abs() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3))).clamp(min=1)
        photo.append(50 * error.double().cpu().numpy())
        if "depth" in data.truth_names:
            errors = depth_errors(found.view_depth.chunk(2)[0], data, block)
            sides.append(100 * errors.side)
            angles.append(errors.angle)
    return {
        "photo": _mean(photo),
        "SIDE": _mean(sides),
        "MAD": _mean(angles),
        "identity": _identity_error(model, data, rows),
        "measured": {"pictures": len(rows)},
    }


class DepthErrors(NamedTuple):
    """Errors of depth maps, one a picture.

    Attributes
    ----------
    side : Scale-invariant error.
    angle : Mean angle between normals, degrees.
    published_angle : The same as Unsup3D computes it: its normals are shorter than 1 by 1e-7 over the length of a cross
        product, so that a flat depth that is perfect has 6.5 degrees at 64 pixels, and 13 at 128.
    """

    side: Float[np.ndarray, " batch"]
    angle: Float[np.ndarray, " batch"]
    published_angle: Float[np.ndarray, " batch"]


def depth_errors(
    depth: Float[Tensor, "batch size size"], data: ImageDataset, rows: Int[np.ndarray, " row"]
) -> DepthErrors:
    """Errors of depth maps in the views of pictures, where both see the face."""
    predicted = depth.double().cpu().numpy()
    truth = data.truth("depth", rows).astype(np.float64)
    seen = data.truth("mask", rows) if "mask" in data.truth_names else truth < truth.max()
    mask = eroded(seen) & eroded(predicted < BACKGROUND)
    # Where there is no face, the true depth may be anything; it must not enter the normals beside it.
    filled = np.where(seen, truth, 1.0)
    normals = normals_of_depth(predicted), normals_of_depth(filled)
    ours, true = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) for vectors in normals)
    return DepthErrors(side(predicted, filled, mask), mean_angle(ours, true, mask), mean_angle(*normals, mask))


def in_words(figures: dict[str, Any]) -> str:
    """Figures as one line."""
    units = {"photo": " % of the colors", "SIDE": "e-2", "MAD": " degrees", "identity": " of the latents' spread"}
    shown = ", ".join(f"{name} {figures[name]:.3f}{unit}" for name, unit in units.items() if figures[name] is not None)
    return f"on {figures['measured']['pictures']} validation pictures: {shown}"


def _identity_error(model: "LatentFace", data: ImageDataset, rows: Int[np.ndarray, " row"]) -> float | None:
    """How far identities of frames are from the mean latent of their sequence, relative to the latents themselves."""
    sequences = [own for own in data.sequences_of(rows) if len(own) > 1]
    if not model.identities or not sequences:
        return None
    chosen = np.concatenate(sequences)
    group = torch.from_numpy(np.repeat(np.arange(len(sequences)), [len(own) for own in sequences]))
    latents = dict(zip(("texture", "shape"), model.latents(data, chosen), strict=True))
    ratios = []
    for part in model.identities:
        codes = latents[part]
        sums = codes.new_zeros(len(sequences), codes.shape[1]).index_add_(0, group.to(codes.device), codes)
        mean = (sums / torch.bincount(group).to(codes)[:, None])[group.to(codes.device)]
        found = model.identity(part, codes)
        ratios.append(float((found - mean).square().mean() / (codes - mean).square().mean()))
    return _finite(float(np.mean(ratios)))


def _mean(values: list[np.ndarray]) -> float | None:
    return _finite(float(np.concatenate(values).mean())) if values else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
