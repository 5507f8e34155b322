"""The page of a run: what it says, and that pictures show what they are called."""

import re

import numpy as np
import pytest

from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.morphable.linear import LinearConfig, LinearModel
from meshdisent.show.curves import _unit, training_curves
from meshdisent.show.training_report import _scans, training_report


@pytest.fixture(scope="module")
def scans():
    return synthetic_dataset(subjects=12, seed=1, vertex_count=1200)


@pytest.fixture(scope="module")
def model(scans):
    return LinearModel.fit(scans, LinearConfig(identity_size=3, expression_size=3))


def test_the_page_has_curves_scans_people_and_what_it_takes_to_repeat(model, scans):
    rows = [{"step": k, "terms": {"reconstruction": 1.0 / k}, "figures": {"E_avd": 2.0 / k}} for k in (1, 2, 3)]
    model.card.notes["command"] = "meshdisent train <b>"
    page = training_report(model, scans, rows, "a <run>", ["linear, 3 steps"]).html()
    for heading in ("How it went", "Scans and what the codes keep of them", "People who do not exist"):
        assert heading in page
    assert len(re.findall(r"<img[^>]*data:image/png", page)) == 3
    assert "a &lt;run&gt;" in page
    assert "meshdisent train &lt;b&gt;" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page), "it opens offline"
    without = training_report(model, scans, [], "run", []).html()
    assert "How it went" not in without


def test_distances_are_those_of_the_reconstructions(model, scans):
    """A picture of scans that the model keeps nearly whole differs from one of scans that it loses."""
    rows = scans.rows("val")[:2]
    kept = LinearModel.fit(scans, LinearConfig(identity_size=20, expression_size=12))
    assert not np.array_equal(_scans(model, scans, rows), _scans(kept, scans, rows))


def test_the_unit_of_validation_figures_is_that_of_what_was_trained():
    assert _unit([{"step": 1, "figures": {"E_avd": 1.0, "measured": {"scans": 3}}}]) == "mm"
    assert _unit([{"step": 1, "figures": {"SIDE": 1.0, "MAD": 2.0, "identity": None}}]) == "SIDE: 1e-2, MAD: degrees"
    assert training_curves([{"step": 1, "terms": {"a": 1.0}, "figures": {}}]).ndim == 3
