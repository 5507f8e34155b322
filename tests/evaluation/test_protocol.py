"""The figures of an evaluation against plain formulas, and what happens where something is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.errors import DataError, ModelFileError, TopologyError
from meshdisent.evaluation import measuring
from meshdisent.evaluation.protocol import evaluate, mean_of, verdicts
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.metrics import Resampling, interval, rigidly_aligned, spread_b

PAIRS = [(12, 0, 13, 1), (13, 1, 14, 2), (14, 3, 12, 4), (15, 2, 14, 1)]


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def pairs(scans, tmp_path_factory):
    return TransferPairs.read(small_faces.write_pairs(tmp_path_factory.mktemp("pairs"), PAIRS), scans)


@pytest.fixture(scope="module")
def evaluation(model, scans, pairs):
    return evaluate(model, scans, transfer=pairs)


@pytest.fixture(scope="module")
def made(model, scans):
    """Everything that the model makes of the test scans, in float64."""
    rows = scans.rows("test")
    with torch.no_grad():
        codes = model.encode(torch.from_numpy(scans.vertices(rows)))
        faces = {
            "decoded": model.decode(codes),
            "neutral": model.neutral(codes.identity),
            "expression": model.expression_only(codes.expression),
        }
    return {"rows": rows, "codes": codes} | {name: face.numpy().astype(np.float64) for name, face in faces.items()}


def distance(first, second):
    return np.sqrt(((np.asarray(first, np.float64) - second) ** 2).sum(-1))


def assert_summary(summary, per_vertex, moving):
    """``per_vertex`` (N, V) distances."""
    means = per_vertex.mean(1)
    assert summary["mean"] == pytest.approx(means.mean(), rel=1e-5)
    assert summary["std"] == pytest.approx(means.std(), rel=1e-4)
    assert summary["median"] == pytest.approx(np.median(means), rel=1e-5)
    assert summary["moving"] == pytest.approx(per_vertex[:, moving].mean(), rel=1e-5)


def spreads(faces, groups, vertices):
    """Variants a and b of every group, by their definitions."""
    a, b = [], []
    for label in np.unique(groups):
        own = faces[groups == label][:, vertices]
        d = distance(own, own.mean(0))
        a.append(d.std())
        b.append(np.sqrt((d**2).mean()))
    return {"a": np.array(a), "b": np.array(b)}


def test_reconstruction_errors_are_those_of_the_formula(evaluation, made, scans, model):
    d = distance(made["decoded"], scans.vertices(made["rows"]))
    assert_summary(evaluation.figures["E_avd"], d, model.moving.numpy())
    assert evaluation.avd == pytest.approx(d.mean(1), rel=1e-5)
    assert evaluation.error_map == pytest.approx(d.mean(0), rel=1e-5)
    assert evaluation.rows.tolist() == made["rows"].tolist()


def test_neutral_errors_are_measured_from_the_true_neutrals(evaluation, made, scans, model):
    truth = small_faces.PEOPLE[scans.subject[made["rows"]]]
    d = distance(made["neutral"], truth)
    assert_summary(evaluation.figures["E_neu"], d, model.moving.numpy())
    assert evaluation.neu == pytest.approx(d.mean(1), rel=1e-5)
    assert evaluation.neutral_map == pytest.approx(d.mean(0), rel=1e-5)
    kept = scans.vertices(made["rows"]).astype(np.float64) - made["decoded"] + made["neutral"]
    assert_summary(evaluation.figures["E_neu_kept"], distance(kept, truth), model.moving.numpy())


@pytest.mark.parametrize("variant", ["a", "b"])
@pytest.mark.parametrize("figure", ["E_id", "E_exp", "truth"])
def test_spreads_are_those_of_the_formula(evaluation, made, scans, model, figure, variant):
    rows, moving = made["rows"], model.moving.numpy()
    subject, expression = scans.subject[rows], scans.expression[rows]
    faces, groups = {
        "E_id": (made["neutral"], subject),
        "E_exp": (made["expression"], expression),
        "truth": (scans.vertices(rows) - small_faces.PEOPLE[subject], expression),
    }[figure]
    found = evaluation.figures["E_exp"]["truth"] if figure == "truth" else evaluation.figures[figure]
    expected = spreads(faces, groups, slice(None))[variant]
    assert found[variant]["mean"] == pytest.approx(expected.mean(), rel=1e-4)
    assert found[variant]["std"] == pytest.approx(expected.std(), rel=1e-3)
    assert found[variant]["median"] == pytest.approx(np.median(expected), rel=1e-4)
    assert found[variant]["moving"] == pytest.approx(spreads(faces, groups, moving)[variant].mean(), rel=1e-4)


def test_transfer_errors_are_those_of_the_formula(evaluation, model, scans, pairs):
    with torch.no_grad():
        shown = torch.from_numpy(scans.vertices(pairs.identity))
        first = model.encode(shown)
        second = model.encode(torch.from_numpy(scans.vertices(pairs.expression)))
        moved = model.decode(type(first)(first.identity, second.expression))
        kept = shown - model.decode(first) + moved
    truth = np.stack([small_faces.PEOPLE[p] + small_faces.displacement(o, e) for p, _, o, e in PAIRS])
    moving = model.moving.numpy()
    assert_summary(evaluation.figures["E_tra"]["plain"], distance(moved.numpy(), truth), moving)
    assert_summary(evaluation.figures["E_tra"]["kept"], distance(kept.numpy(), truth), moving)


def test_leak_is_the_rate_of_nearest_neighbors_in_standardized_codes(evaluation, made, scans, model):
    rows = made["rows"]
    spread = model.prior().standard_deviations()
    for key, codes, std, labels in (
        ("subject_from_expression", made["codes"].expression, spread.expression, scans.subject[rows]),
        ("expression_from_identity", made["codes"].identity, spread.identity, scans.expression[rows]),
    ):
        between = torch.cdist((codes / std).double(), (codes / std).double()).numpy()
        np.fill_diagonal(between, np.inf)
        found = evaluation.figures["leak"][key]
        assert found["rate"] == pytest.approx((labels[between.argmin(1)] == labels).mean())
        same = sum(n * (n - 1) for n in np.bincount(labels))
        assert found["chance"] == pytest.approx(same / (len(labels) * (len(labels) - 1)))


def test_the_simple_baselines_are_what_their_names_say(evaluation, scans):
    rows, train = scans.rows("test"), scans.rows("train")
    shown, truth = scans.vertices(rows).astype(np.float64), small_faces.PEOPLE[scans.subject[rows]]
    others = evaluation.figures["baselines"]
    assert list(others) == [
        "input", "mean face", "PCA 4", "ridge to mode", "subject's mean scan", "true neutral", "true displacement",
    ]  # fmt: skip
    assert others["input"]["E_neu"]["mean"] == pytest.approx(distance(shown, truth).mean(), rel=1e-5)
    assert others["input"]["E_neu_kept"] == others["input"]["E_neu"]
    mean = scans.vertices(train).mean(0, dtype=np.float64)
    assert others["mean face"]["E_avd"]["mean"] == pytest.approx(distance(mean, shown).mean(), rel=1e-5)
    assert others["mean face"]["E_neu"]["mean"] == pytest.approx(distance(mean, truth).mean(), rel=1e-5)
    assert others["mean face"]["E_id"]["b"]["mean"] == pytest.approx(0.0, abs=1e-4)
    assert others["mean face"]["E_neu_kept"] is None
    flat, center = scans.vertices(train).reshape(len(train), -1).astype(np.float64), mean.ravel()
    directions = np.linalg.svd(flat - center, full_matrices=False)[2][:4]
    decoded = center + (shown.reshape(len(rows), -1) - center) @ directions.T @ directions
    expected = distance(decoded.reshape(shown.shape), shown).mean()
    assert others["PCA 4"]["E_avd"]["mean"] == pytest.approx(expected, rel=1e-4)
    assert others["PCA 4"]["E_neu"] is None
    assert others["PCA 4"]["leak"] is None


def test_ridge_is_the_regression_to_the_pseudo_neutrals(evaluation, scans):
    from meshdisent.data.pseudo_neutrals import pseudo_neutrals

    rows, train = scans.rows("test"), scans.rows("train")
    flat = scans.vertices(train).reshape(len(train), -1).astype(np.float64)
    center = flat.mean(0)
    _, values, directions = np.linalg.svd(flat - center, full_matrices=False)
    keep = values > values[0] * 1e-6
    inputs = (flat - center) @ directions[keep].T / values[keep] * np.sqrt(len(train))
    targets = pseudo_neutrals(scans, "mode")[scans.subject[train]].reshape(len(train), -1)
    gram = inputs.T @ inputs / len(train) + 1e-4 * np.eye(keep.sum())
    weights = np.linalg.solve(gram, inputs.T @ (targets - targets.mean(0)) / len(train))
    shown = scans.vertices(rows).reshape(len(rows), -1).astype(np.float64)
    whitened = (shown - center) @ directions[keep].T / values[keep] * np.sqrt(len(train))
    neutral = (targets.mean(0) + whitened @ weights).reshape(len(rows), -1, 3)
    expected = distance(neutral, small_faces.PEOPLE[scans.subject[rows]]).mean()
    assert mean_of(evaluation.figures["baselines"]["ridge to mode"], ("E_neu",)) == pytest.approx(expected, rel=1e-4)


def test_references_are_the_bounds_that_they_name(evaluation, scans, pairs):
    rows = scans.rows("test")
    others = evaluation.figures["baselines"]
    means = [scans.vertices(rows[scans.subject[rows] == s]).mean(0, dtype=np.float64) for s in range(12, 16)]
    expected = distance(np.stack(means), small_faces.PEOPLE[12:]).mean()
    assert others["subject's mean scan"]["E_neu"]["mean"] == pytest.approx(expected, rel=1e-5)
    truth = np.stack([small_faces.PEOPLE[p] + small_faces.displacement(o, e) for p, _, o, e in PAIRS])
    rest = small_faces.PEOPLE[[p for p, *_ in PAIRS]]
    assert others["true neutral"]["E_tra"]["plain"]["mean"] == pytest.approx(distance(rest, truth).mean(), rel=1e-5)
    # The tiny people are additive, so only the noise of the shown scan is left: sqrt(8/pi) times its deviation.
    assert others["true displacement"]["E_tra"]["plain"]["mean"] == pytest.approx(0.05 * 1.596, rel=0.1)


def test_a_perfect_model_has_no_error_and_the_true_spread(tmp_path):
    scans = small_faces.scans(noise_mm=0.0)
    pairs = TransferPairs.read(small_faces.write_pairs(tmp_path, PAIRS), scans)
    evaluation = evaluate(small_faces.Oracle(scans), scans, transfer=pairs)
    figures = evaluation.figures
    spreads = (("E_id", "a"), ("E_id", "b"))
    for path in (("E_avd",), *spreads, ("E_neu",), ("E_neu_kept",), ("E_tra", "plain"), ("E_tra", "kept")):
        for part in ("mean", "std", "median", "moving"):
            assert mean_of(figures, path, part) == pytest.approx(0.0, abs=2e-5)
    for variant in ("a", "b"):
        assert figures["E_exp"][variant] == pytest.approx(figures["E_exp"]["truth"][variant], rel=1e-3)
    assert [line for line in evaluation.verdicts if "E_avd" in line or "E_neu" in line or "E_tra" in line] == []


def test_the_figures_have_every_key_of_the_format(evaluation):
    summary = {"mean", "std", "median", "moving", "low", "high"}
    both = {"a": summary, "b": summary}
    wanted = {
        "E_avd": summary, "E_id": both, "E_exp": {**both, "truth": both}, "E_neu": summary, "E_neu_kept": summary,
        "E_tra": {"plain": summary, "kept": summary},
        "leak": {"subject_from_expression": {"rate", "chance"}, "expression_from_identity": {"rate", "chance"}},
    }  # fmt: skip

    def check(found, form):
        assert set(found) == set(form)
        for key in found:
            if isinstance(form, dict):
                check(found[key], form[key])
            else:
                assert isinstance(found[key], float)

    check({key: evaluation.figures[key] for key in wanted}, wanted)
    assert set(evaluation.figures) == {*wanted, "evidence", "baselines", "scans", "subjects"}
    assert evaluation.figures["evidence"] is None  # it was not asked for
    assert (evaluation.figures["scans"], evaluation.figures["subjects"]) == (20, 4)
    for other in evaluation.figures["baselines"].values():
        assert set(other) == {*wanted, "evidence"}


def test_the_number_of_scans_at_once_changes_nothing(evaluation, model, scans, pairs, monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK", 3)
    again = evaluate(model, scans, transfer=pairs)

    def compare(first, second):
        if isinstance(first, dict):
            assert first.keys() == second.keys()
            for key in first:
                compare(first[key], second[key])
        elif first is None:
            assert second is None
        else:
            # A spread of zero is a rounding error of the decoder, which depends on the block.
            assert first == pytest.approx(second, rel=1e-4, abs=2e-5)

    compare(evaluation.figures, again.figures)
    assert again.verdicts == evaluation.verdicts


def test_without_training_scans_the_baselines_that_need_them_are_left_out(model, scans):
    everything = ["test"] * len(scans)
    evaluation = evaluate(model, small_faces.scans(split=everything))
    assert list(evaluation.figures["baselines"]) == ["input", "subject's mean scan"]
    assert evaluation.notes == ["no training scans: the mean face, PCA and ridge are left out"]
    assert evaluation.figures["subjects"] == 16


def test_without_expression_labels_the_spread_of_expressions_is_not_defined(model):
    evaluation = evaluate(model, small_faces.scans(labels=False))
    assert evaluation.figures["E_exp"] is None
    assert evaluation.figures["leak"]["expression_from_identity"] == {"rate": None, "chance": None}
    assert evaluation.figures["leak"]["subject_from_expression"]["rate"] is not None
    assert "20 of 20 scans have no expression label: E_exp and the leak leave them out" in evaluation.notes


def test_without_neutrals_their_error_is_not_defined(model):
    renamed = [name.replace("neutral", "sleepy") for name in small_faces.EXPRESSIONS] * 16
    scans = small_faces.scans(truth=False)
    scans = type(scans).from_arrays(
        scans.vertices(), scans.topology.faces, [scans.subjects[s] for s in scans.subject], renamed,
        split=["train"] * 60 + ["test"] * 20,
    )  # fmt: skip
    evaluation = evaluate(model, scans)
    figures = evaluation.figures
    assert (figures["E_neu"], figures["E_neu_kept"], figures["E_exp"]["truth"]) == (None, None, None)
    assert figures["E_exp"]["b"]["mean"] > 0
    assert (evaluation.neu, evaluation.neutral_map) == (None, None)
    assert "no subject has a known neutral: E_neu and the true spread are not defined" in evaluation.notes


def test_some_known_neutrals_are_enough(model, scans):
    people = dict(zip(small_faces.names()[:14], small_faces.PEOPLE[:14], strict=True))
    renamed = [name.replace("neutral", "sleepy") for name in small_faces.EXPRESSIONS] * 16
    some = type(scans).from_arrays(
        scans.vertices(), scans.topology.faces, [scans.subjects[s] for s in scans.subject], renamed,
        split=["train"] * 60 + ["test"] * 20, truth=people,
    )  # fmt: skip
    evaluation = evaluate(model, some)
    note = "2 of 4 subjects have no known neutral: E_neu and the true spread are measured on the others"
    assert note in evaluation.notes
    assert np.isfinite(evaluation.neu).tolist() == [True] * 10 + [False] * 10
    assert evaluation.figures["E_neu"]["mean"] == pytest.approx(evaluation.neu[:10].mean())


def test_a_subject_with_one_scan_has_no_spread_and_does_not_flatter_the_mean(model, scans, evaluation):
    split = ["train"] * 60 + ["test"] * 16 + ["dropped"] * 4
    found = evaluate(model, small_faces.scans(split=split))
    assert "1 of 4 subjects have a single scan: E_id leaves them out" in found.notes
    full = evaluate(model, small_faces.scans(split=["train"] * 60 + ["test"] * 15 + ["dropped"] * 5))
    for variant in ("a", "b"):
        assert found.figures["E_id"][variant] == pytest.approx(full.figures["E_id"][variant])
    # A mean over scans counts a subject as often as it has scans, for the references too.
    own, truth = small_faces.scans().vertices(np.arange(60, 76)).astype(np.float64), small_faces.PEOPLE[12:]
    errors = [distance(own[5 * k : 5 * k + 5].mean(0), truth[k]).mean() for k in range(4)]
    mean = found.figures["baselines"]["subject's mean scan"]["E_neu"]["mean"]
    assert mean == pytest.approx(np.average(errors, weights=[5, 5, 5, 1]), rel=1e-5)
    single = ["train"] * 60 + (["test"] + ["dropped"] * 4) * 4
    found = evaluate(model, small_faces.scans(split=single))
    assert found.figures["E_id"] is None
    assert found.figures["E_exp"]["b"]["mean"] > 0


def test_a_model_without_two_codes_has_only_a_reconstruction_error(scans):
    figures = evaluate(small_faces.Unsplit(scans), scans).figures
    assert figures["E_avd"]["mean"] == 0.0
    assert figures["E_avd"]["moving"] is None
    assert {key for key, value in figures.items() if value is None} == {
        "E_id", "E_exp", "E_neu", "E_neu_kept", "E_tra", "leak", "evidence",
    }  # fmt: skip


def test_a_model_that_does_not_know_what_moves_is_said(scans):
    evaluation = evaluate(small_faces.Unsplit(scans), scans)
    assert "the model does not say which vertices expressions move: those columns are left out" in evaluation.notes


def test_measuring_training_scans_is_said(model, scans, pairs):
    evaluation = evaluate(model, scans, split="train")
    assert evaluation.notes == ["these are the training scans: the figures say how well they are remembered"]
    on_train = TransferPairs(pairs.identity - 60, pairs.expression, pairs.truth)
    assert "4 of 4 transfer pairs show a training scan as the person" in evaluate(model, scans, transfer=on_train).notes


def test_an_empty_split_is_refused(model, scans):
    with pytest.raises(DataError, match=r"has no scans in its val split\. Choose another with --split"):
        evaluate(model, scans, split="val")


def test_another_topology_is_refused_with_both_hashes(model, scans):
    other = type(scans).from_arrays(
        scans.vertices(), np.ascontiguousarray(scans.topology.faces[::-1][:-1]), ["a"] * len(scans), [None] * len(scans)
    )
    with pytest.raises(TopologyError) as caught:
        evaluate(model, other, split="train")
    assert other.topology.topology_hash in str(caught.value)
    assert model.topology.topology_hash in str(caught.value)


def test_faces_that_are_not_finite_are_an_error_and_not_left_out(scans):
    model = small_faces.linear(scans)
    model.rest[5] = torch.nan
    with pytest.raises(ModelFileError, match="not finite"):
        evaluate(model, scans)


def test_every_ridge_gets_a_row(model, scans):
    others = evaluate(model, scans, ridge_kinds=("mean", "median", "mode")).figures["baselines"]
    ridges = [name for name in others if name.startswith("ridge")]
    assert ridges == ["ridge to mean", "ridge to median", "ridge to mode"]
    assert evaluate(model, scans, ridge_kinds=()).figures["baselines"].keys() & {"ridge to mode"} == set()


def test_progress_names_each_method(model, scans):
    said = []
    evaluate(model, scans, name="mine", progress=said.append)
    assert said == ["mine", "input", "mean face", "PCA 4", "ridge to mode"]


def test_verdicts_name_the_figure_and_both_numbers():
    def figures(avd, identity, neutral, plain=None):
        return {
            "E_avd": {"mean": avd}, "E_id": {"b": {"mean": identity}}, "E_neu": {"mean": neutral}, "E_neu_kept": None,
            "E_tra": plain and {"plain": {"mean": plain}, "kept": None},
        }  # fmt: skip

    own = figures(1.0, 0.5, 0.3, 2.0) | {
        "baselines": {
            "mean face": figures(5.0, 0.0, 4.0),
            "PCA 4": {"E_avd": {"mean": 0.9}, "E_id": None, "E_neu": None, "E_neu_kept": None, "E_tra": None},
            "ridge": figures(1.0002, 0.4, 0.29996, 1.0),
            "true displacement": figures(0.1, 0.1, 0.1, 0.1),
        }
    }
    assert verdicts(own) == [
        "loses to PCA 4 on E_avd: 1.000 against 0.900 mm",
        "loses to ridge on E_id b: 0.500 against 0.400 mm",
        "loses to ridge on E_tra plain: 2.000 against 1.000 mm",
    ]


def test_intervals_are_those_of_people_drawn_again(evaluation, scans):
    subject = scans.subject[evaluation.rows]
    resampling = Resampling(np.unique(subject))
    expected = interval(resampling.means(evaluation.avd, subject))
    summary = evaluation.figures["E_avd"]
    assert (summary["low"], summary["high"]) == pytest.approx(expected)
    assert summary["low"] < summary["mean"] < summary["high"]
    np.testing.assert_allclose(evaluation.draws[("E_avd",)], resampling.means(evaluation.avd, subject))


@pytest.mark.parametrize("variant", ["a", "b"])
def test_the_interval_of_an_expression_spread_draws_people_and_keeps_the_center(evaluation, made, scans, variant):
    subject, expression = (values[made["rows"]] for values in (scans.subject, scans.expression))
    times = Resampling(np.unique(subject)).times
    slow = []
    for count in times[:20]:
        spreads = []
        for label in np.unique(expression):
            own = made["expression"][expression == label]
            weight = count[np.searchsorted(np.unique(subject), subject[expression == label])].astype(int)
            d = np.repeat(distance(own, own.mean(0)), weight, axis=0)
            spreads.append(d.std() if variant == "a" else np.sqrt((d**2).mean()))
        slow.append(np.mean(spreads))
    np.testing.assert_allclose(evaluation.draws[("E_exp", variant)][:20], slow, rtol=1e-4)


def test_the_interval_of_an_identity_spread_draws_people_with_their_own_spread(evaluation, made, scans):
    subjects, spread = spread_b(made["neutral"], scans.subject[made["rows"]])
    expected = Resampling(subjects).means(spread, subjects)
    np.testing.assert_allclose(evaluation.draws[("E_id", "b")], expected, rtol=1e-3)


def test_one_subject_has_no_interval(model):
    alone = evaluate(model, small_faces.scans(split=["train"] * 60 + ["test"] * 5 + ["dropped"] * 15))
    for path in (("E_avd",), ("E_id", "b"), ("E_exp", "b"), ("E_neu",)):
        assert mean_of(alone.figures, path, "low") is mean_of(alone.figures, path, "high") is None
    assert "there is one subject: intervals over subjects are not defined" in alone.notes


def test_rows_can_be_given_instead_of_a_split(model, scans, evaluation):
    rows = scans.rows("test")
    assert evaluate(model, scans, rows=rows).figures["E_neu"] == evaluate(model, scans).figures["E_neu"]
    few = evaluate(model, scans, rows=rows[:10])
    assert (few.figures["scans"], few.figures["subjects"]) == (10, 2)
    assert few.avd == pytest.approx(evaluation.avd[:10], rel=1e-4)


class Moved(small_faces.Oracle):
    """Knows everything, but answers turned and moved."""

    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])

    def decode(self, codes):
        return super().decode(codes) @ self.turn + 7.0

    def neutral(self, identity):
        return super().neutral(identity) @ self.turn - 3.0


def test_rigid_placing_takes_a_motion_out_and_nothing_else(scans, pairs):
    plain = evaluate(Moved(scans), scans, transfer=pairs).figures
    placed = evaluate(Moved(scans), scans, transfer=pairs, placing="rigid")
    assert plain["E_avd"]["mean"] > 10
    assert placed.figures["E_avd"]["mean"] < 1e-3
    assert placed.figures["E_neu"]["mean"] < 1e-2
    assert placed.figures["E_tra"]["plain"]["mean"] < 0.2
    assert any(note.startswith("predictions are brought onto the truth by rotation") for note in placed.notes)


def test_rigid_placing_measures_the_spread_of_identities_where_the_truth_is_known(model, scans):
    found = evaluate(model, scans, placing="rigid").figures["E_id"]["b"]
    rows = scans.rows("test")
    with torch.no_grad():
        neutral = model.neutral(model.encode(torch.from_numpy(scans.vertices(rows))).identity).numpy()
    truth = small_faces.PEOPLE[scans.subject[rows]].astype(np.float32)
    expected = spread_b(rigidly_aligned(neutral, truth), scans.subject[rows])[1]
    assert found["mean"] == pytest.approx(expected.mean(), rel=1e-4)
