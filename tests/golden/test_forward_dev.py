"""A model that the published program trained and saved: its codes, its faces and its published evaluation."""

import numpy as np
import pytest
import torch

from meshdisent import metrics
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.published import load_published

DTYPES = {"f32": torch.float32, "f64": torch.float64}


@pytest.fixture
def published(golden, golden_path):
    levels = golden("hierarchy")
    template = Mesh(levels["L0.vertices"] * 1000, levels["L0.faces"])
    return load_published(golden_path("published_dev.zip"), template)


def test_codes_and_faces_are_the_published_ones(golden, published):
    arrays = golden("forward_dev")
    assert np.array_equal(arrays["faces"], published.topology.faces)
    evaluated = golden("preprocess")
    ours = {"input_mm": evaluated["test_aligned_mm"][arrays["test_index"]]}
    for precision, dtype in DTYPES.items():
        ours |= forward(published.to(dtype), torch.from_numpy(arrays["input_mm"]).to(dtype), precision)
    ours |= evaluation(published.float(), evaluated)
    arrays.check(ours, tolerance=1e-13, loose={"*_f32": 2e-6, "metrics.*": 2e-6, "metrics.E_id.*": 5e-6})


@torch.no_grad()
def forward(model, scans, precision):
    posterior, codes = model.posterior(scans), model.encode(scans)
    assert torch.equal(codes.identity, posterior.identity[0])
    assert torch.equal(codes.expression, posterior.expression[0])
    values = {
        "mu_id": posterior.identity[0],
        "logvar_id": posterior.identity[1],
        "mu_exp": posterior.expression[0],
        "logvar_exp": posterior.expression[1],
        "reconstruction_mm": model.decode(codes),
        "neutral_mm": model.neutral(codes.identity),
        "expression_only_mm": model.expression_only(codes.expression),
    }
    return {f"{name}_{precision}": value for name, value in values.items()}


@torch.no_grad()
def evaluation(model, evaluated):
    """The four metrics on all test scans, in single precision like the published ones."""
    scans = torch.from_numpy(evaluated["test_aligned_mm"])
    codes = model.encode(scans)
    subject, numbers = evaluated["test_pid"], evaluated["neutral_gt.pid"]
    assert numbers.tolist() == list(range(len(numbers)))
    neutral = model.neutral(codes.identity).numpy()
    values = {
        "E_avd": metrics.e_avd(model.decode(codes).numpy(), scans.numpy()),
        "E_id": metrics.spread_a(neutral, subject)[1],
        "E_exp": metrics.spread_a(model.expression_only(codes.expression).numpy(), evaluated["test_eid"])[1],
        "E_neu": metrics.e_neu(neutral, evaluated["neutral_gt.vertices_mm"], subject),
    }
    ours = {f"metrics.{name}": value for name, value in values.items()}
    for name, value in values.items():
        figures = metrics.summary(value)
        ours[f"metrics.{name}.mean_median"] = np.array([figures["mean"], figures["median"]])
    return ours
