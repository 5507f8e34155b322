"""Several models on the same scans: every figure with its interval, and who is better where that can be told.

Differences are taken on the same draws of people (:mod:`meshdisent.metrics.intervals`). A model is called best on a
figure only if it is better than every other model *and* every baseline, each with an interval that leaves 0 out.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import TopologyError, UsageError
from meshdisent.evaluation.baselines import InputItself, MeanFace
from meshdisent.evaluation.evidence import gather_evidence
from meshdisent.evaluation.measures import Draws
from meshdisent.evaluation.measuring import Measured, measure
from meshdisent.evaluation.methods import ModelMethod
from meshdisent.evaluation.neutral_estimates import NeutralEstimates, neutral_estimates
from meshdisent.evaluation.protocol import LESS_IS_BETTER, Evaluation, Progress, mean_of, measured_baselines
from meshdisent.evaluation.references import NAMES as REFERENCES
from meshdisent.evaluation.references import references
from meshdisent.evaluation.task import Placing, Task, measured_rows
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.metrics import difference
from meshdisent.morphable.contract import MorphableModel

Path = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was measured.

    Attributes
    ----------
    evaluations : Of each model, by name, in the order given.
    sizes : Identity and expression code entries of each model.
    baselines : Figures of what needs no network, references included, by name.
    best : For each figure on which less is better, the one row that is better than every other, or None.
    findings : That, in words: a line for each figure.
    estimates : The neutral bank against the truth; None where it is not known.
    notes : What was left out, what is not comparable, and why.
    """

    evaluations: dict[str, Evaluation]
    sizes: dict[str, tuple[int, int]]
    baselines: dict[str, dict[str, Any]]
    best: dict[Path, str | None]
    findings: list[str]
    estimates: NeutralEstimates | None
    notes: list[str]
    seed: int

    @property
    def figures(self) -> dict[str, dict[str, Any]]:
        """Figures of every row by name: models, baselines, references."""
        return {name: one.figures for name, one in self.evaluations.items()} | self.baselines

    def as_json(self) -> dict[str, Any]:
        """Everything as plain JSON values; what is not defined is null."""
        first = next(iter(self.evaluations.values())).figures
        models = {}
        for name, one in self.evaluations.items():
            own = {key: value for key, value in one.figures.items() if key not in ("baselines", "scans", "subjects")}
            models[name] = {"code": dict(zip(("identity", "expression"), self.sizes[name], strict=True)), **own}
        return {
            "models": models,
            "baselines": self.baselines,
            "best": {".".join(path): name for path, name in self.best.items()},
            "neutral_estimates": self.estimates and {"people": self.estimates.people, **self.estimates.figures},
            "scans": first["scans"],
            "subjects": first["subjects"],
            "seed": self.seed,
            "notes": self.notes,
        }


def compare(
    models: Mapping[str, MorphableModel],
    scans: ScanDataset,
    split: str = "test",
    transfer: TransferPairs | None = None,
    ridge_kinds: tuple[str, ...] = ("mode",),
    progress: Progress = lambda message: None,
    *,
    placing: Placing = "none",
    seed: int = 0,
) -> Comparison:
    """Measure every model and every baseline on the same scans, evidence included.

    Parameters
    ----------
    models : By the names that tables have; one is enough.
    transfer, ridge_kinds, placing : As in :func:`~meshdisent.evaluation.protocol.evaluate`.
    seed : Of everything that is drawn: the same seed gives the same numbers.

    Raises
    ------
    DataError : If the split is empty.
    TopologyError : If a model is of another topology than the scans; all such models are named, before any work.
    UsageError : If there is no model, or one is called like a baseline.
    """
    refuse_strangers(models, scans)
    _refuse_names(models)
    rows = measured_rows(scans, split)
    moving, notes = _moving_vertices(models)
    task = Task.of(scans, rows, moving, transfer, placing, seed)
    found = {name: _model(ModelMethod(model, name), task, progress) for name, model in models.items()}
    sizes = {name: (model.identity_size, model.expression_size) for name, model in models.items()}
    counts = [sum(size) for size in sizes.values()]
    others, left_out = measured_baselines(task, counts, ridge_kinds, progress, with_evidence=True)
    figures = {name: one.figures for name, one in others.items()} | references(task)
    everyone = {name: one for name, (one, _) in found.items()} | others
    best = {path: clearly_best(_competitors(everyone, path)) for path in LESS_IS_BETTER}
    progress("neutral estimates")
    notes += left_out + task.notes + [line for _, why in found.values() for line in why] + size_notes(sizes)
    return Comparison(
        evaluations={name: Evaluation.of(name, one, figures, task, []) for name, (one, _) in found.items()},
        sizes=sizes,
        baselines=figures,
        best=best,
        findings=[finding(path, _competitors(everyone, path), best[path]) for path in best if _defined(everyone, path)],
        estimates=neutral_estimates(scans, task.moving, seed=seed),
        notes=list(dict.fromkeys(notes)),
        seed=seed,
    )


def _model(method: ModelMethod, task: Task, progress: Progress) -> tuple[Measured, list[str]]:
    progress(f"{method.name}: figures")
    measured = measure(method, task)
    measured.figures["evidence"], notes = gather_evidence(method, measured.codes, task, progress)
    return measured, notes


def refuse_strangers(models: Mapping[str, MorphableModel], scans: ScanDataset) -> None:
    """Raise, before any work, for no model at all, or for models of another topology than the scans."""
    if not models:
        raise UsageError("There is no model to compare; give at least one.")
    own = scans.topology.topology_hash
    strangers = {name: model.topology for name, model in models.items() if model.topology.topology_hash != own}
    if strangers:
        named = ", ".join(
            f"{name} ({one.topology_hash}, {one.vertex_count} vertices)" for name, one in strangers.items()
        )
        raise TopologyError(
            f"{scans.path or 'The dataset'} has topology {own} ({scans.topology.vertex_count} vertices), but not so "
            f"{named}. Errors in mm compare on one topology only: leave those models out, or compare them on scans "
            "that were prepared with their topology."
        )


def _refuse_names(models: Mapping[str, MorphableModel]) -> None:
    for name in models:
        if name in (InputItself.name, MeanFace.name, *REFERENCES) or name.startswith(("PCA ", "ridge to ")):
            raise UsageError(f"A model is called {name!r}, as a baseline is; rename its folder or file.")


def _moving_vertices(models: Mapping[str, MorphableModel]) -> tuple[np.ndarray, list[str]]:
    """The mask that all rows are measured on: that of the first model that has one."""
    masks = {name: model.moving.cpu().numpy() for name, model in models.items() if model.moving.any()}
    if not masks:
        return next(iter(models.values())).moving.cpu().numpy(), []
    first, mask = next(iter(masks.items()))
    differing = [name for name, other in masks.items() if not np.array_equal(mask, other)]
    if not differing:
        return mask, []
    return mask, [f"moving vertices are those of {first} for every row; {', '.join(differing)} had others"]


def size_notes(sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Say which models do not have the same code size: more entries reconstruct better, whatever the model."""
    if len(set(sizes.values())) < 2:
        return []
    ((usual, count),) = Counter(sizes.values()).most_common(1)
    is_named = {name: size != usual or count < 3 for name, size in sizes.items()}
    said = [f"{name} {identity} + {expression}" for name, (identity, expression) in sizes.items() if is_named[name]]
    named = ", ".join(said if all(is_named.values()) else [*said, f"all others {usual[0]} + {usual[1]}"])
    return [f"code sizes differ (identity + expression: {named}); more entries mean a lower E_avd, whatever the model"]


#: Name, mean and draws of each row that competes on a figure.
Competitors = dict[str, tuple[float, Draws]]


def _competitors(everyone: Mapping[str, Measured], path: Path) -> Competitors:
    """Rows for which a figure is defined; one answer for everything has no spread, which is no achievement."""
    found: Competitors = {}
    for name, one in everyone.items():
        mean = mean_of(one.figures, path)
        if mean is not None and name not in REFERENCES and not (name == "mean face" and path[0] == "E_id"):
            found[name] = (mean, one.draws.get(path))
    return found


def _defined(everyone: Mapping[str, Measured], path: Path) -> bool:
    return bool(_competitors(everyone, path))


def clearly_best(rows: Competitors) -> str | None:
    """The row with the least mean, if each difference to another has an interval below 0; else None.

    Examples
    --------
    >>> people = np.linspace(1.0, 2.0, 50)
    >>> clearly_best({"a": (1.5, people), "b": (1.6, people + 0.1)})
    'a'
    >>> clearly_best({"a": (1.5, people), "b": (1.6, people[::-1] + 0.1)}) is None
    True
    """
    if len(rows) < 2:
        return None
    best = min(rows, key=lambda name: rows[name][0])
    return best if all(_is_below(rows[best][1], other) for other in _others(rows, best)) else None


def _others(rows: Competitors, name: str) -> Iterable[Draws]:
    return [draws for other, (_, draws) in rows.items() if other != name]


def _is_below(first: Draws, second: Draws) -> bool:
    if first is None or second is None:
        return False
    between = difference(first, second)
    return between is not None and between[1] < 0


def finding(path: Path, rows: Competitors, best: str | None) -> str:
    """One line on a figure: who is best and by how much, or which rows cannot be told apart."""
    figure = " ".join(path).replace("_kept", " kept")
    ranked = sorted(rows, key=lambda name: rows[name][0])
    if len(ranked) == 1:
        return f"{figure}: only {ranked[0]} is measured, {rows[ranked[0]][0]:.3f} mm"
    if best is not None:
        first, second = rows[best][1], rows[ranked[1]][1]
        assert first is not None
        assert second is not None
        between = difference(second, first)
        assert between is not None
        return (
            f"{figure}: {best} is best, {rows[best][0]:.3f} mm, {between[0]:.3f} to {between[1]:.3f} mm below "
            f"{ranked[1]} (95 %)"
        )
    alike = [name for name in ranked[1:] if not _is_below(rows[ranked[0]][1], rows[name][1])]
    least = f"{figure}: {ranked[0]} has the least, {rows[ranked[0]][0]:.3f} mm"
    return f"{least}, not to be told apart from {', '.join(alike)}"
