"""Several models on the same scans: the numbers of each are its own, and a lead is told only where it is one."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.errors import DataError, TopologyError, UsageError
from meshdisent.evaluation.comparison import clearly_best, compare, finding, size_notes
from meshdisent.evaluation.neutral_estimates import neutral_estimates
from meshdisent.evaluation.protocol import evaluate
from meshdisent.metrics import Resampling


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def models(scans):
    torch.set_num_threads(1)
    return {
        "poor": small_faces.linear(scans, identity_size=1, expression_size=1),
        "good": small_faces.linear(scans, identity_size=3, expression_size=4),
        "one code": small_faces.Unsplit(scans),
    }


@pytest.fixture(scope="module")
def comparison(models, scans):
    return compare(models, scans)


def test_each_model_has_the_figures_of_its_own_evaluation(comparison, models, scans):
    for name in ("poor", "good"):
        alone = evaluate(models[name], scans, with_evidence=True).figures
        together = comparison.evaluations[name].figures
        for key in ("E_avd", "E_id", "E_exp", "E_neu", "E_neu_kept", "leak", "evidence"):
            assert together[key] == alone[key], key


def test_baselines_are_measured_once_and_pca_for_each_code_size(comparison):
    assert list(comparison.baselines) == [
        "input", "mean face", "PCA 2", "PCA 7", "PCA 59", "ridge to mode", "subject's mean scan",
    ]  # fmt: skip


def test_a_model_that_cannot_split_has_undefined_figures(comparison):
    figures = comparison.evaluations["one code"].figures
    assert [figures[key] for key in ("E_id", "E_exp", "E_neu", "leak")] == [None] * 4
    assert figures["E_avd"]["mean"] == 0.0


def test_the_best_is_better_than_every_other_row(comparison):
    assert comparison.best[("E_avd",)] == "one code"
    assert comparison.best[("E_tra", "plain")] is None
    line = next(line for line in comparison.findings if line.startswith("E_avd"))
    assert line.startswith("E_avd: one code is best, 0.000 mm, ")
    assert line.endswith("(95 %)")


def test_a_model_beside_itself_is_not_best(models, scans):
    found = compare({"first": models["good"], "second": models["good"]}, scans, ridge_kinds=())
    neutral = next(line for line in found.findings if line.startswith("E_neu:"))
    assert "not to be told apart from second" in neutral
    assert found.best[("E_neu",)] is None


def test_code_sizes_that_differ_are_said(comparison):
    sizes = f"poor 1 + 1, good 3 + 4, one code 0 + {small_faces.TEMPLATE.size}"
    note = f"code sizes differ (identity + expression: {sizes}); more entries mean a lower E_avd, whatever the model"
    assert note in comparison.notes
    assert size_notes({"a": (4, 4), "b": (4, 4)}) == []
    (note,) = size_notes({"a": (4, 4), "b": (4, 4), "c": (8, 0), "d": (4, 4)})
    assert "(identity + expression: c 8 + 0, all others 4 + 4)" in note


def test_moving_vertices_are_the_same_for_all_rows_and_a_difference_is_said(models, scans):
    first, second = (small_faces.linear(scans) for _ in range(2))
    second.moving.copy_(~second.moving)
    found = compare({"a": models["one code"], "b": first, "c": second}, scans, ridge_kinds=())
    assert "moving vertices are those of b for every row; c had others" in found.notes
    figures = found.figures
    assert figures["b"]["E_neu"]["moving"] == figures["c"]["E_neu"]["moving"]
    assert figures["a"]["E_avd"]["moving"] is not None


def test_the_same_seed_gives_the_same_numbers(comparison, models, scans):
    assert compare(models, scans).as_json() == comparison.as_json()


def test_the_json_is_plain_and_whole(comparison):
    found = json.loads(json.dumps(comparison.as_json(), allow_nan=False))
    assert set(found) == {
        "models", "baselines", "best", "neutral_estimates", "scans", "subjects", "seed", "notes",
    }  # fmt: skip
    assert list(found["models"]) == ["poor", "good", "one code"]
    assert found["models"]["good"]["code"] == {"identity": 3, "expression": 4}
    assert found["best"]["E_avd"] == "one code"
    assert (found["scans"], found["subjects"]) == (20, 4)


def test_progress_names_every_step(models, scans):
    said = []
    compare({"good": models["good"]}, scans, progress=said.append)
    assert said == [
        "good: figures", "good: recognition", "good: probes", "good: factors and shapes", "input", "mean face", "PCA 7",
        "ridge to mode", "neutral estimates",
    ]  # fmt: skip


def test_estimated_neutrals_are_measured_from_the_known_ones(scans, comparison):
    train = scans.rows("train")
    expected = [
        np.linalg.norm(
            scans.vertices(train[scans.subject[train] == s]).mean(0, dtype=np.float64) - small_faces.PEOPLE[s], axis=1
        ).mean()
        for s in range(12)
    ]
    assert comparison.estimates.people == 12
    assert comparison.estimates.scans_each == (5, 5)
    assert comparison.estimates.figures["mean"]["mean"] == pytest.approx(np.mean(expected), rel=1e-5)
    assert neutral_estimates(scans, None, split="val") is None
    everybody_once = ["train", "dropped", "dropped", "dropped", "dropped"] * 16
    assert neutral_estimates(small_faces.scans(split=everybody_once), None) is None


def test_a_lead_that_other_people_might_turn_is_no_lead():
    people = np.arange(40)
    random = np.random.default_rng(0)
    draws = Resampling(people)
    hard, noise = random.uniform(1.0, 3.0, 40), random.normal(size=40)
    rows = {
        "a": (hard.mean(), draws.means(hard, people)),
        "b": (hard.mean() + 0.1, draws.means(hard + 0.1, people)),
        "c": (hard.mean() + 0.05, draws.means(hard + 0.05 + noise - noise.mean(), people)),
    }
    assert clearly_best({name: rows[name] for name in ("a", "b")}) == "a"
    assert clearly_best(rows) is None
    line = finding(("E_neu_kept",), rows, None)
    assert line == f"E_neu kept: a has the least, {hard.mean():.3f} mm, not to be told apart from c"


def test_rows_without_draws_win_nothing():
    draws = np.linspace(0.0, 1.0, 10)
    assert clearly_best({"a": (0.1, None), "b": (0.5, draws)}) is None
    assert clearly_best({"a": (0.1, draws)}) is None


def test_models_of_another_topology_are_all_named_before_any_work(models, scans):
    other = type(scans).from_arrays(
        scans.vertices(), np.ascontiguousarray(scans.topology.faces[1:]), ["a"] * 80, None, split=["test"] * 80
    )
    said = []
    with pytest.raises(TopologyError) as caught:
        compare(models, other, progress=said.append)
    message = str(caught.value)
    assert f"but not so poor ({scans.topology.topology_hash}, 162 vertices), good (" in message
    assert other.topology.topology_hash in message
    assert "leave those models out" in message
    assert said == []


def test_wrong_calls_are_refused(models, scans):
    with pytest.raises(UsageError, match="no model to compare"):
        compare({}, scans)
    for name in ("input", "PCA 4", "ridge to mode", "true neutral"):
        with pytest.raises(UsageError, match=rf"called '{name}', as a baseline is; rename"):
            compare({name: models["good"]}, scans)
    with pytest.raises(DataError, match="no scans in its val split"):
        compare(models, scans, split="val")
