"""One LatentFace, one set of pictures, all numbers: depth against the truth, and what its codes tell.

Depth is measured in the view of the picture (Unsup3D, Wu et al. 2020). Codes are measured by what a linear probe reads
of the expression, by verification where the data have pairs, and by how often the nearest picture of another sequence
shows the same person (LatentFace, sections on expression recognition and verification). What is not defined is None.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.errors import DataError
from meshdisent.latentface.feature_distance import cosine_distance
from meshdisent.latentface.features import (
    FaceLatents,
    expression_features,
    identity_features,
    offset_features,
    verification_features,
)
from meshdisent.latentface.image_figures import BLOCK, depth_errors
from meshdisent.latentface.probes import LabeledFeatures, probe_expressions, probe_expressions_published
from meshdisent.latentface.verification import verify_linear, verify_linear_published, verify_threshold

if TYPE_CHECKING:
    from meshdisent.latentface.latentface import LatentFace

#: Takes pictures (B, 3, S, S) from 0 to 1 apart into features.
Take = Callable[[Float[Tensor, "batch 3 size size"]], Float[Tensor, "batch feature"]]


@torch.no_grad()
def evaluate_pictures(
    model: "LatentFace",
    data: ImageDataset,
    *,
    seed: int = 0,
    draws: int = 1,
    published: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure a model on the test pictures of a dataset.

    Parameters
    ----------
    seed, draws : Of identities; see :meth:`~meshdisent.latentface.latentface.LatentFace.encode`.
    published : Choose the probe's epoch on the test pictures and train verification on one batch, as published.

    Returns
    -------
    ``pictures``, ``subjects``; ``depth``: SIDE (times 100) and MAD (degrees), each with mean, std and median;
    ``expression``: by kind of features accuracy, macro F1, score, confusion, and the same for each named list of rows;
    ``person``: by kind of features the share of pictures whose nearest one of another sequence shows the same person,
    and by chance; ``verification``: mean and std over folds of the linear and of the threshold protocol.

    Raises
    ------
    DataError : If there are no test pictures.
    """
    rows = data.rows("test")
    if len(rows) == 0:
        raise DataError(
            f"{data.path or 'The dataset'} has no test pictures; wanted some. Prepare it with a test split."
        )
    model.eval()
    kinds = feature_kinds(model, seed=seed, draws=draws)
    progress("depth")
    depth = depth_figures(lambda images: view_depth(model, images), data, rows)
    progress("expression")
    expression = {name: expression_figures(data, take, published) for name, take in kinds.items()}
    progress("person")
    person = {name: person_figures(data, rows, take) for name, take in kinds.items()}
    progress("verification")
    return {
        "pictures": len(rows),
        "subjects": len(np.unique(data.subject[rows][data.subject[rows] >= 0])),
        "depth": depth,
        "expression": None if None in expression.values() else expression,
        "person": None if None in person.values() else person,
        "verification": verification_figures(model, data, seed, draws, published),
    }


def feature_kinds(model: "LatentFace", *, seed: int = 0, draws: int = 1) -> dict[str, Take]:
    """What can be read of a model's codes, by name; without stage two the codes as they are, alone."""
    one = model.stage_one

    def codes(images: Tensor) -> Tensor:
        return torch.cat([one.texture.encoder(2 * images - 1), one.shape.encoder(2 * images - 1)], 1)

    kinds: dict[str, Take] = {"codes": codes}
    for part in model.identities:
        kinds[f"{part} identity"] = _of_part(model, part, seed, draws, is_identity=True)
        kinds[f"{part} expression"] = _of_part(model, part, seed, draws, is_identity=False)
    if {"texture", "shape"} <= set(model.identities):

        def both(read: Callable[[FaceLatents], Tensor]) -> Take:
            return lambda images: read(latents_of(model, images, seed, draws))

        kinds["identity"] = both(identity_features)
        kinds["expression"] = both(lambda face: offset_features(*face))
        kinds["expression and codes"] = both(lambda face: expression_features(*face))
    return kinds


def latents_of(model: "LatentFace", images: Float[Tensor, "batch 3 size size"], seed: int, draws: int) -> FaceLatents:
    """The four latents of pictures from 0 to 1."""
    codes = model.encode(images, seed=seed, draws=draws)
    return FaceLatents(codes.texture, codes.texture_identity, codes.shape, codes.shape_identity)


def view_depth(model: "LatentFace", images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch size size"]:
    """What a model says of the depth in the view of pictures from 0 to 1."""
    return model.stage_one.rebuild(model.explain(images)).view_depth.chunk(2)[0]


@torch.no_grad()
def depth_figures(
    predict: Callable[[Float[Tensor, "batch 3 size size"]], Float[Tensor, "batch size size"]],
    data: ImageDataset,
    rows: Int[np.ndarray, " row"],
) -> dict[str, dict[str, float]] | None:
    """SIDE (times 100) and MAD (degrees) of predicted depths in the view; None where the data do not know the truth.

    ``MAD_published`` is the figure to compare with Unsup3D's table; see
    :class:`~meshdisent.latentface.image_figures.DepthErrors`.
    """
    if "depth" not in data.truth_names:
        return None
    errors = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        errors.append(depth_errors(predict(torch.from_numpy(data.images(block))), data, block))
    side, angle, published = (np.concatenate(kind) for kind in zip(*errors, strict=True))
    return {"SIDE": _summary(100 * side), "MAD": _summary(angle), "MAD_published": _summary(published)}


@torch.no_grad()
def expression_figures(data: ImageDataset, take: Take, published: bool = False) -> dict[str, Any] | None:
    """What a linear probe reads of the expression, on test pictures whose expression is known; None without any."""
    rows = {split: data.rows(split) for split in ("train", "val", "test")}
    rows = {split: own[data.expression[own] >= 0] for split, own in rows.items()}
    if len(rows["train"]) == 0 or len(rows["test"]) == 0 or len(np.unique(data.expression[rows["train"]])) < 2:
        return None
    parts = {split: _labeled(data, own, take) for split, own in rows.items() if len(own)}
    with torch.enable_grad():
        if published:
            probe = probe_expressions_published(parts["train"], parts["test"])
        else:
            probe = probe_expressions(parts["train"], parts["test"], parts.get("val"))
    return {
        "accuracy": probe.accuracy,
        "macro_f1": probe.macro_f1,
        "score": probe.score,
        "confusion": np.asarray(probe.confusion).tolist(),
        "chosen_on": probe.chosen_on,
        "chance": float(np.bincount(data.expression[rows["test"]]).max() / len(rows["test"])),
    }


@torch.no_grad()
def person_figures(data: ImageDataset, rows: Int[np.ndarray, " row"], take: Take) -> dict[str, float] | None:
    """How often the nearest picture of another sequence shows the same person, and how often by chance.

    Cosine distance of features, whose mean is taken out. Only pictures of people with several sequences count; None if
    there are fewer than two such people.
    """
    rows = rows[(data.subject[rows] >= 0) & (data.sequence[rows] >= 0)]
    pairs = np.unique(np.stack([data.subject[rows], data.sequence[rows]], 1), axis=0)
    several = np.flatnonzero(np.bincount(pairs[:, 0], minlength=1) > 1) if len(pairs) else np.empty(0, np.int64)
    rows = rows[np.isin(data.subject[rows], several)]
    if len(several) < 2:
        return None
    subject, sequence = data.subject[rows], data.sequence[rows]
    features = in_blocks(data, rows, take)
    unit = torch.nn.functional.normalize(features - features.mean(0), dim=1)
    hits, chances = 0, 0.0
    for start in range(0, len(rows), 512):
        own = slice(start, start + 512)
        likeness = unit[own] @ unit.T
        is_other = sequence[own, None] != sequence[None]
        likeness[torch.from_numpy(~is_other)] = -2.0
        nearest = likeness.argmax(1).cpu().numpy()
        hits += int((subject[nearest] == subject[own]).sum())
        same = (subject[own, None] == subject[None]) & is_other
        chances += float((same.sum(1) / is_other.sum(1)).sum())
    return {"rate": hits / len(rows), "chance": chances / len(rows)}


@torch.no_grad()
def verification_figures(
    model: "LatentFace", data: ImageDataset, seed: int = 0, draws: int = 1, published: bool = False
) -> dict[str, Any] | None:
    """Whether two pictures show one person, over the folds of the dataset's pairs; None without pairs or stage two."""
    if data.pairs is None or not {"texture", "shape"} <= set(model.identities):
        return None
    rows = np.unique(data.pairs.rows)

    def both_views(images: Tensor) -> Tensor:
        return verification_features(*(latents_of(model, view, seed, draws) for view in (images, images.flip(3))))

    features = in_blocks(data, rows, both_views)
    identities = in_blocks(data, rows, lambda images: identity_features(latents_of(model, images, seed, draws)))
    first, second = (torch.from_numpy(np.searchsorted(rows, data.pairs.rows[:, side])) for side in (0, 1))
    is_same, fold = data.pairs.is_same, data.pairs.fold
    learn = verify_linear_published if published else verify_linear
    with torch.enable_grad():
        linear = learn(features[first], features[second], is_same, fold)
    distance = cosine_distance(identities[first], identities[second]).double().cpu().numpy()
    threshold = verify_threshold(distance, is_same, fold)
    return {
        kind: {"mean": found.mean, "std": found.std, "protocol": found.protocol}
        for kind, found in (("linear", linear), ("threshold", threshold))
    }


@torch.no_grad()
def in_blocks(data: ImageDataset, rows: Int[np.ndarray, " row"], take: Take) -> Float[Tensor, "row feature"]:
    """Features of many pictures."""
    blocks = (torch.from_numpy(data.images(rows[start : start + BLOCK])) for start in range(0, len(rows), BLOCK))
    return torch.cat([take(block).float().cpu() for block in blocks])


def pictures_text(figures: dict[str, Any]) -> str:
    """The figures as a person reads them."""
    lines = [f"{figures['pictures']:,} test pictures of {figures['subjects']:,} subjects"]
    if figures["depth"] is None:
        lines.append("depth: the data do not know the truth")
    else:
        side, angle = figures["depth"]["SIDE"], figures["depth"]["MAD"]
        lines.append(f"depth: SIDE x 100 {side['mean']:.3f} (± {side['std']:.3f}), MAD {angle['mean']:.2f} degrees "
                     f"(± {angle['std']:.2f})")  # fmt: skip
    for name, found in (figures["expression"] or {}).items():
        lines.append(f"expression from {name}: {100 * found['accuracy']:.1f} %, macro F1 {100 * found['macro_f1']:.1f} "
                     f"(most frequent class {100 * found['chance']:.1f} %)")  # fmt: skip
    for name, found in (figures["person"] or {}).items():
        lines.append(f"person from {name}: {100 * found['rate']:.1f} % (by chance {100 * found['chance']:.1f} %)")
    for kind, found in (figures["verification"] or {}).items():
        lines.append(f"verification, {kind}: {100 * found['mean']:.2f} ± {100 * found['std']:.2f} %")
    return "\n".join(lines)


def _of_part(model: "LatentFace", part: str, seed: int, draws: int, *, is_identity: bool) -> Take:
    network = getattr(model.stage_one, part)

    def take(images: Tensor) -> Tensor:
        codes = network.encoder(2 * images - 1)
        identity = model.identity(part, codes, seed=seed, draws=draws)
        return identity if is_identity else codes - identity

    return take


def _labeled(data: ImageDataset, rows: Int[np.ndarray, " row"], take: Take) -> LabeledFeatures:
    return LabeledFeatures(features=in_blocks(data, rows, take), labels=torch.from_numpy(data.expression[rows]))


def _summary(values: Float[np.ndarray, " value"]) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": float(values.std()), "median": float(np.median(values))}
