"""The figures of a model say the same however many scans are looked at together, and in either precision."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.evaluation import measuring
from meshdisent.evaluation.measuring import measure
from meshdisent.evaluation.methods import ModelMethod
from meshdisent.evaluation.task import Task
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.model_file import load
from meshdisent.training.loop import run_recipe
from meshdisent.training.recipe import read_recipe

SHOWN = ("neutral", "mouthSmile_L", "jawOpen", "browInnerUp_R", "mouthPucker")
PEOPLE = 9


def people_of(model) -> ScanDataset:
    """People of a model with five expressions, and a tenth of a millimeter that it cannot say."""
    generator = torch.Generator().manual_seed(4)
    identity = model.prior().sample(PEOPLE, generator).identity
    known = [torch.zeros(model.expression_size), *(model.named_expressions[name] for name in SHOWN[1:])]
    codes = Codes(identity.repeat_interleave(len(SHOWN), 0), torch.stack(known).repeat(PEOPLE, 1))
    with torch.no_grad():
        faces = model.decode(codes).double().numpy()
    faces += np.random.default_rng(0).normal(0, 0.1, faces.shape)
    subjects = np.repeat([f"s{k}" for k in range(PEOPLE)], len(SHOWN)).tolist()
    split = ["train"] * (5 * len(SHOWN)) + ["test"] * (4 * len(SHOWN))
    template = model.topology.template
    return ScanDataset.from_arrays(
        faces, model.topology.faces, subjects, list(SHOWN) * PEOPLE, template=template, split=split
    )


@pytest.fixture(scope="module")
def zoo():
    return load("wsdf-ict")


@pytest.fixture(scope="module")
def scans(zoo):
    return people_of(zoo)


@pytest.fixture(scope="module")
def fed(scans):
    """Batch norm and max-pooling: what may depend on the others of a batch."""
    recipe = read_recipe(
        "fed-published", ["training.steps=3", "training.epochs=null", "config.discriminator.is_used=false"]
    )
    small = dataclasses.replace(recipe.config.encoder, channels=(16, 32))
    config = dataclasses.replace(recipe.config, encoder=small, hidden=(32,))
    return run_recipe(dataclasses.replace(recipe, config=config), scans, progress=False).model


@pytest.fixture(params=["zoo", "fed"])
def model(request):
    return request.getfixturevalue(request.param)


def figures_of(model, scans) -> dict[str, float]:
    """Every number of the figures under its path."""
    task = Task.of(scans, scans.rows("test"), model.moving.cpu().numpy())
    found: dict[str, float] = {}

    def walk(value, path):
        if isinstance(value, dict):
            for name, part in value.items():
                walk(part, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[path] = float(value)

    walk(measure(ModelMethod(model), task).figures, "")
    return found


@pytest.mark.parametrize("together", [1, 7])
def test_figures_do_not_depend_on_how_many_scans_are_looked_at_together(model, scans, monkeypatch, together):
    expected = figures_of(model, scans)
    assert {"/E_avd/mean", "/E_neu/mean", "/E_id/a/mean", "/E_exp/a/mean"} <= expected.keys(), sorted(expected)
    monkeypatch.setattr(measuring, "BLOCK", together)
    assert figures_of(model, scans) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_figures_in_single_precision_are_those_in_double(model, scans):
    single = figures_of(model, scans)
    exact = type(model).from_parts(model.config_dict(), model.topology, model.state_dict()).double().eval()
    assert figures_of(exact, scans) == pytest.approx(single, abs=1e-3)
    assert figures_of(exact, scans) != single
