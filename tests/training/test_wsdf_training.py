"""The loop with the model that it was made for: WSDF on a small sphere with bumps."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.morphable import linear_start
from meshdisent.morphable.linear import LinearConfig
from meshdisent.morphable.linear_start import LinearStartConfig
from meshdisent.morphable.model_file import load
from meshdisent.morphable.tensor_file import read_tensors
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_config import BankConfig, LossConfig, PeopleConfig, WSDFConfig
from meshdisent.nn.principal_encoder import PrincipalEncoderConfig
from meshdisent.nn.spiral import SpiralEncoderConfig
from meshdisent.training.checkpoint import read_checkpoint
from meshdisent.training.loop import run_recipe
from meshdisent.training.progress import Interrupted
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig
from meshdisent.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def heads(shapes) -> ScanDataset:
    """Six subjects, four expressions: subjects are bumps of one kind, expressions of another."""
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(0)
    template = 50 * vertices
    bumps = np.exp(-8 * ((vertices[:, None] - vertices[None, ::9]) ** 2).sum(2))  # (V, bumps)
    who = random.normal(size=(6, bumps.shape[1])) * 3
    what = random.normal(size=(4, bumps.shape[1])) * 2 * np.array([0, 1, 1, 1])[:, None]
    height = (who[:, None] + what[None]) @ bumps.T  # (6, 4, V)
    scans = template + height[..., None] * vertices
    return ScanDataset.from_arrays(
        scans.reshape(-1, *template.shape),
        faces,
        [f"s{s}" for s in range(6) for _ in range(4)],
        ["neutral", "a", "b", "c"] * 6,
        template=template,
        split=["train"] * 20 + ["val"] * 4,
    )


@pytest.fixture
def small(recipe):
    encoder = SpiralEncoderConfig(channels=(4, 8, 8, 8, 8), feature=16)
    config = WSDFConfig(identity_size=4, expression_size=4, fused_size=8, hidden=(16,), encoder=encoder)
    training = TrainingConfig(steps=6, learning_rate=1e-3, sampler=SamplerConfig(anchors=3, partners=3))
    return Recipe(model="wsdf", seed=2, config=config, training=training)


@pytest.fixture
def small_on_people(small, monkeypatch):
    """The same on synthetic people, with everything that is our own."""
    monkeypatch.setattr(linear_start, "_SHOWN", 300)
    config = dataclasses.replace(
        small.config,
        encoders="principal",
        principal=PrincipalEncoderConfig(components=30, hidden=(12,)),
        bank=BankConfig(start="mode"),
        loss=LossConfig(space="millimeters", displacement=1.0, consistency=1.0),
        linear_start=LinearStartConfig(
            neutrals="mode", expressions="carried", learned_from="people", networks_change="codes_and_expressions"
        ),
        people=PeopleConfig(share=1.0),
    )
    return dataclasses.replace(small, config=config)


@pytest.fixture
def small_with_a_small_bank(small):
    """Entries as eight principal coordinates each."""
    config = dataclasses.replace(small.config, bank=BankConfig(start="mode", components=8))
    return dataclasses.replace(small, config=config)


@pytest.mark.parametrize("which", ["small", "small_on_people", "small_with_a_small_bank"])
def test_wsdf_stopped_and_resumed_equals_wsdf_uninterrupted(heads, which, request, tmp_path, monkeypatch):
    small = request.getfixturevalue(which)
    run_recipe(small, heads, tmp_path / "straight", progress=False)
    draw, waiting = WSDF.draw_noise, [3]

    def interrupted(self, count, generator):
        waiting[0] -= 1
        if waiting[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(self, count, generator)

    monkeypatch.setattr(WSDF, "draw_noise", interrupted)
    with pytest.raises(Interrupted, match="after step 3"):
        run_recipe(small, heads, tmp_path / "stopped", progress=False)
    run_recipe(small, heads, tmp_path / "stopped", resume=True, progress=False)
    one, two = (read_checkpoint(RunFolder(tmp_path / name))[0] for name in ("straight", "stopped"))
    for a, b in ((one.model, two.model), (one.optimizers["wsdf"], two.optimizers["wsdf"])):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert {"bank.entries", "bank.coordinates"} & one.model.keys()
    files = [read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("straight", "stopped")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    assert not any("bank" in name for name in files[0]), "what only training needs is left out of a model file"
    assert not any("people" in name for name in one.model), "synthetic people are drawn anew from the scans"


def test_what_is_loaded_is_what_was_trained(heads, small, tmp_path):
    trained = run_recipe(small, heads, tmp_path / "run", progress=False).model
    scans = torch.from_numpy(heads.vertices(heads.rows("val")))
    loaded = load(tmp_path / "run")
    codes = loaded.encode(scans)
    assert torch.equal(codes.identity, trained.encode(scans).identity)
    assert torch.equal(loaded.decode(codes), trained.decode(codes))


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
def test_synthetic_people_do_in_every_precision(heads, small_on_people, precision):
    training = dataclasses.replace(small_on_people.training, precision=precision)
    plain = run_recipe(small_on_people, heads, progress=False).model
    other = run_recipe(dataclasses.replace(small_on_people, training=training), heads, progress=False).model
    scans = torch.from_numpy(heads.vertices(heads.rows("val")))
    codes, again = plain.encode(scans), other.encode(scans)
    assert again.identity.dtype == torch.float32
    assert (other.decode(again) - plain.decode(codes)).abs().max() < (1e-3 if precision == "float64" else 0.5)


def test_a_linear_model_goes_through_the_same_door(heads, tmp_path):
    recipe = Recipe(model="linear", config=LinearConfig(identity_size=3, expression_size=3))
    result = run_recipe(recipe, heads, tmp_path / "run", progress=False)
    assert result.stopped_because == "closed form"
    scans = torch.from_numpy(heads.vertices(heads.rows("val")))
    assert torch.equal(load(tmp_path / "run").encode(scans).identity, result.model.encode(scans).identity)
    assert load(tmp_path / "run").card.recipe == recipe.plain()
