r"""A model of shapes as such: error on held-out scans, faces that it draws, and how few entries hold its variance.

Code entries have no unit and no order, so all three look at *modes*: principal directions of the faces that the model's
own prior gives, to first order about the mean code. With :math:`F` a factor of the prior's covariance and :math:`J` the
decoder's derivative, their variances are the eigenvalues of :math:`(JF)^T JF / V`, in mm^2 for each vertex. A linear
model gets its principal components.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.evaluation.measuring import BLOCK
from meshdisent.evaluation.task import Task
from meshdisent.metrics import compactness, e_avd, specificity
from meshdisent.morphable.contract import Codes, MorphableModel

#: Faces that are drawn for specificity, and scans on which generalization is measured with fewer modes.
SAMPLES, GENERALIZED = 200, 256


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Directions in the space of both codes, those that move the face most first.

    Attributes
    ----------
    mean : (C,) Both means of the prior, identity first.
    directions : (C, C) A column for each mode: one standard deviation along it.
    coordinates : (C, C) ``(codes - mean) @ coordinates`` are the standard deviations along each mode.
    variances : (C,) mm^2 for each vertex, not increasing.
    """

    mean: Float[Tensor, " code"]
    directions: Float[Tensor, "code mode"]
    coordinates: Float[Tensor, "code mode"]
    variances: Float[np.ndarray, " mode"]


@torch.no_grad()
def modes(model: MorphableModel) -> Modes:
    """Measure the modes of a model; the derivative is a central difference over two standard deviations."""
    prior = model.prior()
    mean = torch.cat([prior.identity_mean, prior.expression_mean])
    factor = torch.block_diag(prior.identity_factor, prior.expression_factor)
    steps = []
    for start in range(0, len(mean), BLOCK):
        step = factor.T[start : start + BLOCK]
        steps.append((_decoded(model, mean + step) - _decoded(model, mean - step)).flatten(1).double() / 2)
    moved = torch.cat(steps)  # (C, 3V)
    gram = moved @ moved.T / model.topology.vertex_count
    values, vectors = torch.linalg.eigh(gram)
    order = torch.argsort(values, descending=True)
    vectors = vectors[:, order].to(factor)
    inverse = torch.linalg.solve_triangular(factor.double(), torch.eye(len(mean)).to(factor).double(), upper=False)
    return Modes(
        mean=mean,
        directions=factor @ vectors,
        coordinates=(inverse.T @ vectors.double()).to(factor),
        variances=values[order].clamp(min=0).cpu().numpy(),
    )


def entry_counts(total: int) -> list[int]:
    """Numbers of modes at which curves are measured: doubled each time, and all.

    Examples
    --------
    >>> entry_counts(12)
    [1, 2, 4, 8, 12]
    """
    return sorted({min(2**k, total) for k in range(total.bit_length() + 1)}) if total else []


@torch.no_grad()
def generalization(model: MorphableModel, found: Modes, task: Task) -> dict[str, Any]:
    """Reconstruction error of held-out scans with the leading modes alone, mm (Davies 2002, section 3.3).

    Other modes stay at the mean of the prior. At most 256 scans, evenly spaced.

    Returns
    -------
    ``entries``, how many modes; ``E_avd`` at each, mm; ``scans``.
    """
    count = min(GENERALIZED, len(task.rows))
    rows = task.rows[np.unique(np.linspace(0, len(task.rows) - 1, count).round().astype(np.int64))]
    counts = entry_counts(len(found.mean))
    errors: list[list[np.ndarray]] = [[] for _ in counts]
    for start in range(0, len(rows), BLOCK):
        shown = task.scans.vertices(rows[start : start + BLOCK])
        codes = torch.cat(model.encode(torch.from_numpy(shown).to(found.mean)), dim=1)
        coordinates = (codes - found.mean) @ found.coordinates
        for place, kept in enumerate(counts):
            partial = found.mean + coordinates[:, :kept] @ found.directions[:, :kept].T
            decoded = _decoded(model, partial).float().cpu().numpy()
            placed = task.placed(decoded, shown)
            assert placed is not None
            errors[place].append(e_avd(placed, shown))
    return {
        "entries": counts,
        "E_avd": [float(np.concatenate(one).mean()) for one in errors],
        "scans": len(rows),
    }


def compact(found: Modes) -> dict[str, Any]:
    """Cumulative variance of the leading modes (:func:`~meshdisent.metrics.compactness`).

    Returns
    -------
    ``entries``; ``variance_mm2`` for each vertex; ``share`` of the whole, and ``entries_for_95`` %: how many modes hold
    that share of it; both None if nothing varies.
    """
    counts = entry_counts(len(found.mean))
    cumulative = compactness(found.variances)
    whole = cumulative[-1] if len(cumulative) else 0.0
    return {
        "entries": counts,
        "variance_mm2": [float(cumulative[k - 1]) for k in counts],
        "share": [float(cumulative[k - 1] / whole) for k in counts] if whole > 0 else None,
        "entries_for_95": int(np.searchsorted(cumulative, 0.95 * whole) + 1) if whole > 0 else None,
    }


@torch.no_grad()
def specific(model: MorphableModel, task: Task) -> dict[str, Any] | None:
    """Distance of 200 drawn faces to their nearest training scans (:func:`~meshdisent.metrics.specificity`).

    Returns
    -------
    ``mean``, ``std`` and ``median`` in mm, and how many ``samples``; None without training scans.
    """
    training = task.scans.rows("train")
    if len(training) == 0:
        return None
    codes = model.prior().sample(SAMPLES, torch.Generator().manual_seed(task.seed))
    both = torch.cat(codes, dim=1)
    drawn = [_decoded(model, both[k : k + BLOCK]).float().cpu().numpy() for k in range(0, SAMPLES, BLOCK)]
    distance = specificity(np.concatenate(drawn), _blocks(task, training))
    spread = {"mean": distance.mean(), "std": distance.std(), "median": np.median(distance)}
    return {name: float(value) for name, value in spread.items()} | {"samples": SAMPLES}


def _blocks(task: Task, rows: Int[np.ndarray, " scan"]) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BLOCK):
        yield task.scans.vertices(rows[start : start + BLOCK])


def _decoded(model: MorphableModel, both: Float[Tensor, "batch code"]) -> Float[Tensor, "batch vertex 3"]:
    return model.decode(Codes(both[:, : model.identity_size], both[:, model.identity_size :]))
