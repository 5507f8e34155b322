"""The face of the viewer without a browser: sliders, neutral, chance, blends, shapes and JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent import editing
from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.morphable.contract import Codes
from meshdisent.show.viewer_state import FaceState


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    model = small_faces.linear(scans, identity_size=3, expression_size=2)
    model.named_expressions = {"jawOpen": torch.tensor([1.0, -0.5]), "smile": torch.tensor([0.0, 2.0])}
    return model


@pytest.fixture
def state(model):
    return FaceState(model)


def test_it_begins_with_the_mean_person_at_rest(state, model):
    neutral = model.neutral(model.prior().identity_mean[None])[0].numpy()
    assert np.array_equal(state.vertices(), neutral)
    assert state.is_at_rest
    np.testing.assert_allclose(state.sliders("identity"), 0, atol=1e-5)


def test_a_slider_goes_where_it_is_put_and_leaves_the_others(state):
    state.move("identity", 1, -0.7)
    state.move("identity", 2, -1.0)
    state.move("identity", 1, 2.0)
    np.testing.assert_allclose(state.sliders("identity"), [0, 2, -1], atol=1e-4)
    assert state.is_at_rest  # another person, still at rest


def test_one_deviation_moves_the_face_as_far_as_the_slider_says(state):
    before = state.vertices()
    state.move("identity", 0, 1.0)
    moved = np.sqrt(((state.vertices() - before) ** 2).sum(1).mean())
    assert moved == pytest.approx(float(state.directions["identity"].moved_mm[0]), rel=1e-3)


def test_an_expression_slider_ends_the_rest_and_neutralize_brings_it_back(state, model):
    state.move("identity", 0, 1.5)
    rest = state.vertices()
    state.move("expression", 0, 2.0)
    assert not state.is_at_rest
    assert np.abs(state.vertices() - rest).max() > 0.5
    state.neutralize()
    assert np.array_equal(state.vertices(), model.neutral(state.codes.identity)[0].numpy())
    np.testing.assert_allclose(state.vertices(), rest, atol=1e-5)
    state.reset()
    np.testing.assert_allclose(state.sliders("identity"), 0, atol=1e-5)


def test_chance_draws_what_it_is_asked_for_and_the_same_for_the_same_seed(state, model):
    state.randomize(7)
    drawn = model.prior().sample(1, torch.Generator().manual_seed(7))
    assert torch.equal(state.codes.identity, drawn.identity)
    assert torch.equal(state.codes.expression, drawn.expression)
    identity = state.codes.identity
    state.randomize(8, "expression")
    assert torch.equal(state.codes.identity, identity)
    expression = state.codes.expression
    state.randomize(9, "person")
    assert torch.equal(state.codes.expression, expression)
    assert not torch.equal(state.codes.identity, identity)
    state.neutralize()
    state.randomize(9, "person")
    assert state.is_at_rest


@pytest.mark.parametrize("only", ["both", "identity", "expression"])
def test_a_blend_is_what_interpolate_gives(state, scans, model, only):
    first, second = scans.vertices(np.array([1]))[0], scans.vertices(np.array([12]))[0]
    expected = editing.interpolate(model, first, second, steps=5, only=only)[1]
    state.blend(state.encode(first), state.encode(second), 0.25, only)
    np.testing.assert_allclose(state.vertices(), expected.vertices, atol=1e-4)


def test_shapes_are_what_express_gives_and_add_up(state, model):
    state.set_strength("jawOpen", 0.5)
    expected = editing.express(model, "mean", "jawOpen", 0.5)[0].vertices
    np.testing.assert_allclose(state.vertices(), expected, atol=1e-4)
    state.set_strength("smile", 1.0)
    np.testing.assert_allclose(state.codes.expression[0], [0.5, 1.75], atol=1e-6)
    state.set_strength("jawOpen", 0.0)
    np.testing.assert_allclose(state.codes.expression[0], [0.0, 2.0], atol=1e-6)
    assert state.strengths == {"smile": 1.0}


def test_a_misspelled_shape_names_the_nearest(state):
    with pytest.raises(UsageError, match="Did you mean 'jawOpen'"):
        state.set_strength("jawopen", 1.0)
    assert state.is_at_rest


def test_errors_are_distances_of_vertices(state):
    scan = state.vertices() + np.array([0.0, 3.0, 4.0], np.float32)
    np.testing.assert_allclose(state.errors_mm(scan), 5.0, rtol=1e-5)


def test_a_code_comes_back_from_json_bit_for_bit(state, model):
    state.randomize(3)
    codes, text = state.codes, state.to_json()
    other = FaceState(model)
    other.load_json(text)
    assert torch.equal(other.codes.identity, codes.identity)
    assert torch.equal(other.codes.expression, codes.expression)
    assert not other.is_at_rest
    assert other.to_json() == text
    state.reset()
    other.load_json(state.to_json())
    assert other.is_at_rest


def changed(text: str, **values) -> str:
    return json.dumps(json.loads(text) | values)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda text: text[:-5], "no JSON"),
        (lambda text: "[" * 100_000, "no JSON"),
        (lambda text: "[1, 2]", "no code of a face"),
        (lambda text: changed(text, version=2), "no code of a face"),
        (lambda text: changed(text, weights="0" * 16), "mean nothing to another"),
        (lambda text: changed(text, identity=[1.0]), "no identity of 3 finite numbers"),
        (lambda text: changed(text, expression=[1.0, float("nan")]), "no expression of 2 finite numbers"),
        (lambda text: changed(text, expression=[1.0, True]), "no expression of 2 finite numbers"),
        (lambda text: changed(text, expression=[1.0, 10**400]), "no expression of 2 finite numbers"),
        (lambda text: changed(text, at_rest="yes"), "wanted true or false"),
        (lambda text: text + " " * 2_000_000, "another file"),
    ],
)
def test_what_is_no_code_of_this_model_changes_nothing(state, make, says):
    state.randomize(3)
    before = state.to_json()
    with pytest.raises(DataError, match=says):
        state.load_json(make(before))
    assert state.to_json() == before


def test_codes_of_a_model_that_was_trained_again_are_refused(state, scans):
    model = small_faces.linear(scans, identity_size=3, expression_size=2)
    assert (
        FaceState(model).to_json() == FaceState(small_faces.linear(scans, identity_size=3, expression_size=2)).to_json()
    )
    model.rest.add_(0.1)
    with pytest.raises(DataError, match="mean nothing to another"):
        state.load_json(FaceState(model).to_json())


def test_a_scan_of_another_topology_is_refused(state):
    with pytest.raises(MeshdisentError, match="7 vertices"):
        state.encode(np.zeros((7, 3), np.float32))


def test_a_model_of_one_code_has_no_rest():
    class Autoencoder(small_faces.Unsplit):
        def prior(self):
            return self._prior

    model = Autoencoder(small_faces.scans())
    codes = model.encode(model.known.unflatten(1, (-1, 3))).expression.double()
    few = torch.linalg.svd(codes - codes.mean(0), full_matrices=False).Vh[:2] * 3
    size = codes.shape[1]
    from meshdisent.morphable.contract import CodePrior

    factor = torch.eye(size, dtype=torch.float64) * 1e-3
    factor[:, :2] += few.T
    model._prior = CodePrior(
        identity_mean=torch.zeros(0),
        identity_factor=torch.zeros(0, 0),
        expression_mean=codes.mean(0).float(),
        expression_factor=factor.float(),
    )
    state = FaceState(model)
    assert not state.is_at_rest
    assert list(state.directions) == ["expression"]
    with pytest.raises(UsageError, match="does not know a face at rest"):
        state.neutralize()
    state.move("expression", 0, 1.0)
    assert state.sliders("expression")[0] == pytest.approx(1.0, abs=1e-2)
    assert json.loads(state.to_json())["identity"] == []


def test_the_neutral_of_a_model_whose_rest_is_no_code_is_shown_exactly():
    class Odd(small_faces.Oracle):
        """Its zero expression is not its neutral, as in FED."""

        def decode(self, codes: Codes):
            return super().decode(codes) + 1.0

        def encode(self, vertices):
            codes = super().encode(vertices)
            return Codes(codes.identity, codes.expression - 1.0)

        def prior(self):
            found = super().prior()
            return type(found)(
                identity_mean=self.rest.mean(0),
                identity_factor=found.identity_factor,
                expression_mean=found.expression_mean,
                expression_factor=found.expression_factor,
            )

    model = Odd(small_faces.scans(truth=True))
    state = FaceState(model)
    assert np.array_equal(state.vertices(), model.neutral(model.prior().identity_mean[None])[0].numpy())
    assert state.codes.expression.abs().max() > 0
