"""The autoencoder: it learns to reconstruct, and says clearly what it cannot do."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent import editing
from meshdisent.errors import RecipeError, UsageError
from meshdisent.evaluation.protocol import evaluate
from meshdisent.metrics import e_avd
from meshdisent.morphable.coma import CoMA, CoMAConfig, build_levels
from meshdisent.morphable.contract import Batch
from meshdisent.morphable.model_file import load
from meshdisent.nn.chebyshev import ChebyshevEncoderConfig
from meshdisent.training.loop import build
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig, read_recipe
from meshdisent.training.validation import validate


@pytest.fixture(scope="module")
def trained(tiny_scans, tiny_config) -> CoMA:
    sampler = SamplerConfig(kind="uniform", anchors=10, partners=0)
    training = TrainingConfig(steps=200, learning_rate=0.01, validate_minutes=None, validate_steps=200, sampler=sampler)
    config = dataclasses.replace(tiny_config["coma"], code_size=6)
    return CoMA.fit(tiny_scans, Recipe(model="coma", seed=1, config=config, training=training))


def test_training_makes_reconstructions_of_training_scans_better_than_the_mean(trained, tiny_scans):
    shown = tiny_scans.vertices(tiny_scans.rows("train"))
    with torch.no_grad():
        decoded = trained.decode(trained.encode(torch.from_numpy(shown))).numpy()
    from_mean = e_avd(np.repeat(shown.mean(axis=0, keepdims=True), len(shown), axis=0), shown).mean()
    assert e_avd(decoded, shown).mean() < 0.75 * from_mean


def test_the_loss_is_the_mean_absolute_difference_in_standardized_coordinates(trained, tiny_scans):
    rows = tiny_scans.rows("test")
    shown = torch.from_numpy(tiny_scans.vertices(rows))
    numbers = torch.from_numpy(rows)
    batch = Batch(vertices=shown, subject=numbers, expression=numbers, rows=numbers)
    with torch.no_grad():
        loss = trained.objective(batch, torch.Generator())["reconstruction"]
        apart = (trained.decode(trained.encode(shown)) - shown) / trained.normalization.deviation
    torch.testing.assert_close(loss, apart.abs().mean(), rtol=1e-4, atol=0)


def test_a_face_at_rest_and_an_expression_alone_are_not_defined(trained):
    with pytest.raises(UsageError, match=r"does not separate.*a face at rest is not defined.*multilinear, wsdf"):
        trained.neutral(torch.zeros(1, 6))
    with pytest.raises(UsageError, match=r"an expression alone is not defined"):
        trained.expression_only(torch.zeros(1, 0))


def test_verbs_that_need_both_codes_say_so_and_sampling_works(trained, tiny_scans):
    scan = tiny_scans.vertices(np.arange(2))
    for verb, ask in {
        "neutralize": lambda: editing.neutralize(trained, scan),
        "transfer": lambda: editing.transfer(trained, scan[0], scan[1]),
        "interpolate": lambda: editing.interpolate(trained, scan[0], scan[1]),
        "express": lambda: editing.express(trained, scan[0], "smile"),
        "draw only one of them": lambda: editing.sample(trained, 2, identity=scan[0]),
    }.items():
        with pytest.raises(UsageError, match=rf"A coma model does not separate.*cannot {verb}\.$"):
            ask()
    drawn = editing.sample(trained, 3, seed=4)
    assert all(np.isfinite(mesh.vertices).all() for mesh in drawn)
    assert not np.allclose(drawn[0].vertices, drawn[1].vertices)
    assert np.array_equal(drawn[2].vertices, editing.sample(trained, 3, seed=4)[2].vertices)


def test_evaluation_leaves_undefined_what_needs_two_codes(trained, tiny_scans):
    figures = evaluate(trained, tiny_scans).figures
    assert figures["E_avd"]["mean"] > 0
    assert all(figures[name] is None for name in ("E_id", "E_exp", "E_neu", "E_neu_kept", "leak"))
    assert "PCA 6" in figures["baselines"]
    validated = validate(trained, tiny_scans)
    assert validated["E_avd"] > 0
    assert validated["E_neu"] is validated["E_id"] is None


def test_half_precision_moves_faces_by_little(trained, tiny_scans, tmp_path):
    trained.save(tmp_path / "half.safetensors", half=True)
    shown = torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("test")))
    again = load(tmp_path / "half.safetensors")
    with torch.no_grad():
        apart = (again.decode(again.encode(shown)) - trained.decode(trained.encode(shown))).norm(dim=2)
    assert apart.max() < 0.1
    assert torch.equal(again.decoder.last.edges, trained.decoder.last.edges)


def test_a_template_too_small_for_so_many_levels_is_refused(tiny_scans, tiny_config):
    deep = CoMAConfig(encoder=ChebyshevEncoderConfig(channels=(4,) * 5), factors=(4.0,) * 5)
    with pytest.raises(RecipeError, match=r"asks for 5 decimations, but the template of 162 vertices allows \d\. Sh"):
        build(Recipe(model="coma", config=deep, training=TrainingConfig(steps=1)), tiny_scans)
    levels = build_levels(tiny_config["coma"], tiny_scans.topology)
    assert [len(rows) for rows in levels.kept] == [41, 11]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"code_size": 0}, r"code_size is 0; wanted at least 1"),
        ({"factors": (4.0, 4.0)}, r"factors is \[4.0, 4.0\] with channels \[16, 16, 16, 32\]; wanted a number above 1"),
        ({"factors": (4.0, 4.0, 4.0, 1.0)}, r"wanted a number above 1 for each channel"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(RecipeError, match=message):
        CoMAConfig(**wrong)


def test_the_recipes_are_the_published_network_with_many_and_with_eight_numbers():
    ours, published = read_recipe("coma"), read_recipe("coma/published")
    assert ours.config.code_size == 64
    assert published.config.code_size == 8
    assert published.config.encoder == ours.config.encoder == ChebyshevEncoderConfig()
    assert published.config.factors == (4.0, 4.0, 4.0, 4.0)
