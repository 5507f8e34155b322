"""The evidence on tiny people whose truth is known, and what is said where it cannot be had."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.evaluation.baselines import InputItself, MeanFace
from meshdisent.evaluation.evidence import gather_evidence
from meshdisent.evaluation.measuring import measure
from meshdisent.evaluation.methods import ModelMethod
from meshdisent.evaluation.protocol import evaluate
from meshdisent.evaluation.recognition import recognition, spread_of_people
from meshdisent.evaluation.shape_quality import compact, entry_counts, generalization, modes, specific
from meshdisent.evaluation.task import Task


def task_of(scans, model, **settings):
    return Task.of(scans, scans.rows("test"), model.moving.numpy(), **settings)


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    torch.set_num_threads(1)
    return small_faces.linear(scans, identity_size=3, expression_size=4)


@pytest.fixture(scope="module")
def task(scans, model):
    return task_of(scans, model)


@pytest.fixture(scope="module")
def evidence(model, task):
    method = ModelMethod(model)
    return gather_evidence(method, measure(method, task).codes, task)


def test_every_question_is_answered(evidence):
    found, _ = evidence
    assert set(found) == {
        "recognition", "support_vectors", "spread_of_people", "probes", "factors", "generalization", "compactness",
        "specificity",
    }  # fmt: skip
    assert all(value is not None for value in found.values())
    assert set(found["probes"]["expression_from_identity"]) == {"linear", "network"}
    assert set(found["probes"]["expression_from_expression"]) == {"linear"}


def test_tiny_people_are_recognized_and_their_expressions_read(evidence):
    found, _ = evidence
    for kind in ("identity_code", "identity_face"):
        assert found["recognition"][kind]["rate"] == 1.0
        assert found["recognition"][kind]["chance"] == pytest.approx(0.25)
    assert found["probes"]["expression_from_expression"]["linear"]["accuracy"] == 1.0
    assert found["probes"]["expression_from_identity"]["linear"]["accuracy"] < 0.6
    assert found["support_vectors"]["accuracy"] == 1.0


def test_neutral_scans_are_no_probes_but_count_as_published(task, scans):
    class Confused(InputItself):
        """Recognizes nobody but by the very scan of the gallery."""

        def neutral(self, codes):
            faces = super().neutral(codes).copy()
            is_neutral = np.isin(faces[:, 0, 0], scans.vertices(scans.neutral_row)[:, 0, 0])
            faces[~is_neutral] = scans.vertices(scans.neutral_row[12:13])
            return faces

    found = recognition(Confused(), Confused().encode(scans.vertices(task.rows)), task)
    # Everybody with an expression looks like the first test person: 4 of 16 are; the 4 neutrals are found as well.
    assert found["identity_code"] is None
    assert found["identity_face"]["rate"] == pytest.approx(4 / 16)
    assert found["identity_face"]["with_neutrals"] == pytest.approx(8 / 20)


def test_recognition_needs_two_neutral_scans(model):
    named = [name.replace("neutral", "sleepy") for name in small_faces.EXPRESSIONS] * 16
    scans = small_faces.scans()
    unmarked = type(scans).from_arrays(
        scans.vertices(), scans.topology.faces, [scans.subjects[s] for s in scans.subject], named,
        split=["train"] * 60 + ["test"] * 20,
    )  # fmt: skip
    task = task_of(unmarked, model)
    found, notes = gather_evidence(ModelMethod(model), measure(ModelMethod(model), task).codes, task)
    assert found["recognition"] is None
    assert (
        "recognition needs the neutral scans of two measured subjects, and other scans of them: it is not defined"
        in notes
    )
    assert found["probes"]["expression_from_identity"]["linear"] is not None


def test_without_labels_people_are_told_by_scan_and_expressions_not_at_all(model):
    task = task_of(small_faces.scans(labels=False), model)
    found, notes = gather_evidence(ModelMethod(model), measure(ModelMethod(model), task).codes, task)
    assert found["probes"]["expression_from_identity"] == {"linear": None, "network": None}
    assert found["probes"]["subject_from_expression"]["linear"]["scans"] == 20
    assert found["factors"] is None
    assert any("too few labels in common for the probes of expression from identity" in note for note in notes)
    assert "linear: without expression labels DCI, SAP and MIG are not defined" in notes


def test_one_person_leaves_nothing_to_recognize_or_hold_out(model):
    alone = small_faces.scans(split=["train"] * 60 + ["test"] * 5 + ["dropped"] * 15)
    task = task_of(alone, model)
    found, _ = gather_evidence(ModelMethod(model), measure(ModelMethod(model), task).codes, task)
    assert (found["recognition"], found["spread_of_people"], found["support_vectors"]) == (None, None, None)
    assert found["probes"]["expression_from_identity"]["linear"] is None
    assert found["generalization"]["scans"] == 5


def test_a_model_with_one_code_has_shapes_only(scans):
    model = small_faces.Unsplit(scans)
    model.expression_factor *= 0.1
    small = Task.of(scans, scans.rows("test"), np.zeros(162, bool))
    found, notes = gather_evidence(ModelMethod(model), measure(ModelMethod(model), small).codes, small)
    assert (found["probes"], found["factors"], found["spread_of_people"]) == (None, None, None)
    assert found["recognition"] == {"identity_code": None, "identity_face": None}
    assert found["specificity"]["samples"] == 200
    assert notes[0].startswith("autoencoder has no two codes")


def test_baselines_are_recognized_by_face_only(task, scans):
    shown = scans.vertices(task.rows)
    for method, rate in ((InputItself(), 1.0), (MeanFace(shown.mean(0)), 0.25)):
        found, _ = gather_evidence(method, method.encode(shown), task)
        assert found["recognition"]["identity_face"]["rate"] == pytest.approx(rate)
        assert found["probes"] is found["generalization"] is None
    assert spread_of_people(MeanFace(shown.mean(0)), np.zeros((20, 0), np.float32), task)["mean"] == 0.0


def test_without_training_scans_specificity_is_not_defined(model):
    task = task_of(small_faces.scans(split=["test"] * 80), model)
    assert specific(model, task) is None


def test_modes_of_a_linear_model_are_the_principal_components_of_its_prior(model, task):
    found = modes(model)
    prior = model.prior()
    generator = torch.Generator().manual_seed(0)
    count = 20000
    noise = torch.randn(count, 7, generator=generator)
    factor = torch.block_diag(prior.identity_factor, prior.expression_factor)
    codes = torch.cat([prior.identity_mean, prior.expression_mean]) + noise @ factor.T
    with torch.no_grad():
        faces = model.decode(type(prior.sample(1, generator))(codes[:, :3], codes[:, 3:])).flatten(1).double().numpy()
    values = np.linalg.svd(faces - faces.mean(0), compute_uv=False)[:7] ** 2 / count / 162
    np.testing.assert_allclose(found.variances, values, rtol=0.05)
    np.testing.assert_allclose((found.directions.T @ found.coordinates).numpy(), np.eye(7), atol=1e-3)


def test_with_all_modes_generalization_is_the_reconstruction_error(model, scans, task):
    found = generalization(model, modes(model), task)
    assert found["entries"] == [1, 2, 4, 7]
    assert found["E_avd"][-1] == pytest.approx(evaluate(model, scans).figures["E_avd"]["mean"], rel=1e-3)
    assert found["E_avd"] == sorted(found["E_avd"], reverse=True)


def test_compactness_grows_to_the_whole(model):
    found = compact(modes(model))
    assert found["share"][-1] == pytest.approx(1.0)
    assert found["share"] == sorted(found["share"])
    cumulative = np.cumsum(modes(model).variances)
    assert found["entries_for_95"] == int((cumulative < 0.95 * cumulative[-1]).sum()) + 1


def test_specificity_is_drawn_by_the_seed(model, scans, task):
    assert specific(model, task) == specific(model, task)
    assert specific(model, task) != specific(model, task_of(scans, model, seed=1))


def test_curves_are_measured_at_doubled_numbers_and_all():
    assert [entry_counts(n) for n in (0, 1, 4, 6)] == [[], [1], [1, 2, 4], [1, 2, 4, 6]]


def test_evidence_is_gathered_when_it_is_asked_for(model, scans):
    evaluation = evaluate(model, scans, with_evidence=True)
    assert evaluation.figures["evidence"]["recognition"]["identity_code"]["rate"] == 1.0
    others = evaluation.figures["baselines"]
    assert others["input"]["evidence"]["recognition"]["identity_face"]["rate"] == 1.0
    assert others["subject's mean scan"]["evidence"] is None
