"""Validation figures against plain formulas, and against the evaluation's metrics."""

import numpy as np
import pytest
import torch
from tiny_autoencoder import TinyAutoencoder, TinyConfig, tiny_scans

from meshdisent.training.loop import build
from meshdisent.training.validation import known_neutral, validate


@pytest.fixture
def scans():
    return tiny_scans(subjects=8, val=3, test=1)


@pytest.fixture
def model(scans, recipe):
    return build(recipe(), scans)


def test_figures_are_those_of_plain_formulas(scans, model):
    rows = scans.rows("val")
    vertices = torch.from_numpy(scans.vertices(rows))
    codes = model.encode(vertices)
    decoded, neutral = model.decode(codes).detach().numpy(), model.neutral(codes.identity).detach().numpy()
    figures = validate(model, scans)
    assert figures["E_avd"] == pytest.approx(np.linalg.norm(decoded - vertices.numpy(), axis=2).mean(), rel=1e-6)
    rest = np.repeat(scans.vertices(rows[::4]), 4, axis=0)  # the first scan of each subject is the neutral one
    assert figures["E_neu"] == pytest.approx(np.linalg.norm(neutral - rest, axis=2).mean(), rel=1e-6)
    own = neutral.reshape(3, 4, -1, 3)
    spread = np.sqrt((np.linalg.norm(own - own.mean(1, keepdims=True), axis=3) ** 2).mean((1, 2)))
    assert figures["E_id"] == pytest.approx(spread.mean(), rel=1e-5)
    assert figures["measured"] == {"scans": 12, "subjects": 3, "neutrals": "known"}
    assert not model.training


def test_true_neutrals_come_before_neutral_scans_and_medians_stand_in_for_unknown_ones(scans, model):
    truth = np.full((30, 3), 7.0)
    given = tiny_scans(subjects=8, val=3, test=1, truth={"s4": truth})
    assert np.array_equal(known_neutral(given, 4), truth)
    assert np.array_equal(known_neutral(given, 5), scans.vertices(np.array([20]))[0])
    nameless = tiny_scans(subjects=8, val=3, test=1, neutral="asleep")
    assert known_neutral(nameless, 4) is None
    figures = validate(model, nameless)
    assert figures["measured"]["neutrals"] == "medians"
    rows = nameless.rows("val")
    neutral = model.neutral(model.encode(torch.from_numpy(nameless.vertices(rows))).identity).detach().numpy()
    rest = np.repeat(np.median(nameless.vertices(rows).reshape(3, 4, -1, 3), axis=1), 4, axis=0)
    assert figures["E_neu"] == pytest.approx(np.linalg.norm(neutral - rest, axis=2).mean(), rel=1e-6)


def test_only_known_neutrals_count_where_some_are_known(scans, model):
    some = tiny_scans(subjects=8, val=3, test=1)
    some.neutral_row[5:] = -1
    rows = some.rows("val")[:4]
    neutral = model.neutral(model.encode(torch.from_numpy(some.vertices(rows))).identity).detach().numpy()
    expected = np.linalg.norm(neutral - some.vertices(rows[:1]), axis=2).mean()
    assert validate(model, some)["E_neu"] == pytest.approx(expected, rel=1e-6)


def test_a_limit_takes_evenly_spaced_scans(scans, model):
    assert validate(model, scans, limit=5)["measured"]["scans"] == 5
    assert validate(model, scans, limit=5)["measured"]["subjects"] == 3
    assert validate(model, scans, limit=12) == validate(model, scans)


def test_a_model_without_a_split_has_no_neutral(scans):
    figures = validate(TinyAutoencoder(TinyConfig(expression_size=0), scans.topology, 8), scans)
    assert figures["E_avd"] > 0
    assert (figures["E_neu"], figures["E_id"]) == (None, None)


def test_what_is_not_finite_is_none_and_an_empty_split_is_empty(scans, model):
    assert validate(model, tiny_scans(val=0)) == {}
    torch.nn.init.constant_(model.decoder.bias, torch.nan)
    figures = validate(model, scans)
    assert (figures["E_avd"], figures["E_neu"], figures["E_id"]) == (None, None, None)


def test_the_watched_figure_may_be_a_sum(model):
    figures = {"E_avd": 1.0, "E_neu": None, "E_id": 0.25, "measured": {}}
    assert model.watched(figures, "sum") == 1.25
    assert model.watched(figures, "E_id") == 0.25
    assert model.watched(figures, "E_neu") is None
    assert model.watched({}, "sum") is None
