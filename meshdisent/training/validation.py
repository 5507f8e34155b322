"""The figures in mm that training shows, stops by and picks its best weights by.

A light version of ``meshdisent evaluate``: one subject at a time, no baselines, so that it can run every minute.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import mode_neutral
from meshdisent.metrics import e_avd, e_neu, spread_b
from meshdisent.morphable.contract import MorphableModel

#: Scans that go through the model at once.
BLOCK = 64


@torch.no_grad()
def validate(
    model: MorphableModel,
    scans: ScanDataset,
    split: str = "val",
    limit: int | None = None,
) -> dict[str, Any]:
    """Measure a model on scans that it was not trained on; the model is left in evaluation mode.

    Parameters
    ----------
    limit : At most so many scans, evenly spaced over the split.

    Returns
    -------
    ``E_avd``, ``E_neu``, ``E_neu_kept`` (with the scan's detail; means over scans) and ``E_id`` (variant b, mean over
    subjects) in mm, None where not defined. ``E_dis``: how far decoded displacements are from those of the scans beside
    the mode of their subject's scans, which subject labels alone define. And ``measured``: how many ``scans`` and
    ``subjects``, and against which ``neutrals`` E_neu stands: the true neutrals or neutral scans where the dataset
    knows any ("known"), else the medians of each subject's scans ("medians"). Empty if the split has no scans.
    """
    rows = scans.rows(split)
    if len(rows) == 0:
        return {}
    if limit is not None and len(rows) > limit:
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]
    model.eval()
    subjects = np.unique(scans.subject[rows])
    has_neutral = model.identity_size > 0 and model.expression_size > 0
    known = {int(s): rest for s in subjects if (rest := known_neutral(scans, int(s))) is not None}
    avd, neu, kept, spread, moved = [], [], [], [], []
    for subject in subjects:
        own = scans.vertices(rows[scans.subject[rows] == subject])
        decoded, neutral = _through(model, own)
        avd.append(e_avd(decoded, own))
        rest = known.get(int(subject)) if known else np.median(own, axis=0)
        if has_neutral:
            spread.append(spread_b(neutral, np.zeros(len(own), np.int64))[1])
            moved.append(e_avd(decoded - neutral, own - mode_neutral(own, scans.topology)))
        if has_neutral and rest is not None:
            same_subject = np.zeros(len(own), np.int64)
            neu.append(e_neu(neutral, rest[None], same_subject))
            kept.append(e_neu(own - decoded + neutral, rest[None], same_subject))
    measured = {"scans": len(rows), "subjects": len(subjects), "neutrals": "known" if known else "medians"}
    return {
        "E_avd": _mean(avd),
        "E_neu": _mean(neu),
        "E_neu_kept": _mean(kept),
        "E_id": _mean(spread),
        "E_dis": _mean(moved),
        "measured": measured,
    }


def known_neutral(scans: ScanDataset, subject: int) -> Float[np.ndarray, "vertex 3"] | None:
    """A subject's true neutral, else the scan that shows the subject at rest, in mm; None if neither is known."""
    if scans.truth is not None and not np.isnan(scans.truth[subject, 0, 0]):
        return scans.truth[subject]
    row: Int[np.ndarray, " one"] = scans.neutral_row[subject : subject + 1]
    return scans.vertices(row)[0] if row[0] >= 0 else None


def _through(
    model: MorphableModel, vertices: Float[np.ndarray, "scan vertex 3"]
) -> tuple[Float[np.ndarray, "scan vertex 3"], Float[np.ndarray, "scan vertex 3"]]:
    """Reconstructions and neutrals of some scans, in mm."""
    decoded, neutral = [], []
    for start in range(0, len(vertices), BLOCK):
        codes = model.encode(torch.from_numpy(vertices[start : start + BLOCK]).to(model.identity_mean))
        decoded.append(model.decode(codes).float().cpu().numpy())
        is_split = model.identity_size > 0 and model.expression_size > 0
        neutral.append(model.neutral(codes.identity).float().cpu().numpy() if is_split else decoded[-1])
    return np.concatenate(decoded), np.concatenate(neutral)


def _mean(values: list[np.ndarray]) -> float | None:
    mean = float(np.concatenate(values).mean()) if values else math.nan
    return mean if math.isfinite(mean) else None
