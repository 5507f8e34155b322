"""The loop with two players and two phases: FED on a small sphere with bumps."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch

from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError, RecipeError
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.fed import FED
from meshdisent.morphable.fed_config import DiscriminatorConfig, FEDConfig, FEDLossConfig
from meshdisent.morphable.model_file import load
from meshdisent.morphable.tensor_file import read_tensors
from meshdisent.nn.discriminator import DiscriminatorNetworkConfig
from meshdisent.nn.pointnet import PointEncoderConfig
from meshdisent.training.batches import Batches
from meshdisent.training.checkpoint import optimizer_tensors, read_checkpoint
from meshdisent.training.loop import build, run_recipe
from meshdisent.training.progress import Interrupted
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig, read_recipe
from meshdisent.training.run_folder import RunFolder
from meshdisent.training.step import Stepper
from meshdisent.training.validation import validate


def make_heads(shapes, subjects=6, **replaced) -> ScanDataset:
    """Six subjects, four expressions: subjects are bumps of one kind, expressions of another."""
    vertices, faces = shapes.sphere(2)
    random = np.random.default_rng(0)
    template = 50 * vertices
    bumps = np.exp(-8 * ((vertices[:, None] - vertices[None, ::9]) ** 2).sum(2))  # (V, bumps)
    who = random.normal(size=(subjects, bumps.shape[1])) * 3
    what = random.normal(size=(4, bumps.shape[1])) * 2 * np.array([0, 1, 1, 1])[:, None]
    height = (who[:, None] + what[None]) @ bumps.T  # (S, 4, V)
    scans = template + height[..., None] * vertices
    settings = {"split": ["train"] * (len(scans) * 4 - 4) + ["val"] * 4, "template": template}
    names = [f"s{s}" for s in range(subjects) for _ in range(4)]
    expressions = ["neutral", "a", "b", "c"] * subjects
    given = {"vertices": scans.reshape(-1, *template.shape), "expression_names": expressions} | settings | replaced
    return ScanDataset.from_arrays(given.pop("vertices"), faces, names, given.pop("expression_names"), **given)


@pytest.fixture(scope="module")
def heads(shapes):
    return make_heads(shapes)


@pytest.fixture
def fed():
    """Make a recipe of a tiny FED: four steps of pre-training and eight together, unless told otherwise."""

    def make(discriminator=None, loss=None, config=None, seed=2, **training):
        network = DiscriminatorNetworkConfig(channels=(6, 12), hidden=(8, 6))
        judge = {"network": network, "pretraining_steps": 4, "is_regularized": True} | (discriminator or {})
        sizes = {"identity_size": 4, "expression_size": 3, "hidden": (16,)}
        sizes |= {"encoder": PointEncoderConfig(channels=(8, 16))}
        parts = {"discriminator": DiscriminatorConfig(**judge), "loss": FEDLossConfig(**(loss or {}))}
        chosen = FEDConfig(**(sizes | parts | (config or {})))
        settings = {"steps": 12, "learning_rate": 1e-3, "optimizer": "adam"}
        settings |= {"sampler": SamplerConfig(kind="uniform", anchors=6, partners=0, seed=3)}
        return Recipe(model="fed", seed=seed, config=chosen, training=TrainingConfig(**(settings | training)))

    return make


def checkpoint_of(folder):
    return read_checkpoint(RunFolder(folder))[0]


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def assert_same_run(one, two):
    first, second = checkpoint_of(one), checkpoint_of(two)
    assert_same(first.model, second.model)
    assert first.optimizers.keys() == second.optimizers.keys()
    for player in first.optimizers:
        assert_same(first.optimizers[player], second.optimizers[player])
    assert torch.equal(first.random["generator"], second.random["generator"])
    assert repr(first.random["batches"]) == repr(second.random["batches"])
    timeless = [{k: v for k, v in c.counters.items() if "seconds" not in k} for c in (first, second)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("stopped_after", [2, 3, 4, 7])
def test_stopped_in_either_phase_and_resumed_equals_uninterrupted(heads, fed, tmp_path, monkeypatch, stopped_after):
    """Also exactly between the phases, where optimizers change hands."""
    run_recipe(fed(), heads, tmp_path / "straight", progress=False)
    next_batch, waiting = Batches.next, [stopped_after]

    def interrupted(self):
        waiting[0] -= 1
        if waiting[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return next_batch(self)

    monkeypatch.setattr(Batches, "next", interrupted)
    with pytest.raises(Interrupted, match=f"after step {stopped_after}"):
        run_recipe(fed(), heads, tmp_path / "stopped", progress=False)
    players = set(checkpoint_of(tmp_path / "stopped").optimizers)
    between = {4: set()}  # nobody has moved yet
    assert players == between.get(stopped_after, {"pretraining"} if stopped_after < 4 else {"discriminator", "faces"})
    run_recipe(fed(), heads, tmp_path / "stopped", resume=True, progress=False)
    assert_same_run(tmp_path / "straight", tmp_path / "stopped")
    files = [read_tensors(tmp_path / name / "model.safetensors")[0] for name in ("straight", "stopped")]
    assert_same(*files)
    assert any("discriminator" in name for name in checkpoint_of(tmp_path / "straight").model)
    assert not any("discriminator" in name for name in files[0]), "what only training needs stays out of a model file"


def test_scans_that_are_read_ahead_meet_the_same_partners(heads, fed, tmp_path):
    """Across the phases, too: what was drawn ahead gets the partners of the phase that it is used in."""
    run_recipe(fed(loss={"neutral": 1.0}), heads, tmp_path / "held", progress=False)
    run_recipe(fed(loss={"neutral": 1.0}, memory_gigabytes=0.0), heads, tmp_path / "read", progress=False)
    assert checkpoint_of(tmp_path / "read").random["batches"]["drawn"], "some batches were waiting"
    assert_same(checkpoint_of(tmp_path / "held").model, checkpoint_of(tmp_path / "read").model)


def test_the_phases_train_what_they_should(heads, fed, tmp_path):
    before = build(fed(), heads).state_dict()
    settings = fed(steps=5, validate_steps=2, validate_minutes=None, keep_best=True)
    result = run_recipe(settings, heads, tmp_path / "run", progress=False)
    rows = log_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 2, 4, 5]
    assert [bool(row["figures"]) for row in rows] == [False, False, True, True], "a discriminator alone makes no faces"
    assert set(rows[1]["terms"]) == {"pairs", "right", "total"}
    assert {"discriminator.pairs", "faces.reconstruction", "faces.adversarial", "faces.latent"} <= set(rows[3]["terms"])
    alone = run_recipe(fed(steps=5), heads, tmp_path / "alone", progress=False).model
    assert_same(dict(result.model.named_parameters()), dict(alone.named_parameters()))
    moved = {name.partition(".")[0] for name, value in alone.named_parameters() if not torch.equal(value, before[name])}
    assert moved == {"encoder", "decoder", "discriminator"}


def test_pretraining_moves_the_discriminator_alone_and_learns(shapes, fed):
    many = make_heads(shapes, subjects=20)
    network = DiscriminatorNetworkConfig(channels=(16, 32), hidden=(16, 16))
    judge = {"network": network, "pretraining_rate": 3e-3, "dropout": 0.0}
    recipe = fed(judge, sampler=SamplerConfig(kind="uniform", anchors=24, partners=0))
    model = build(recipe, many)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    phase = model.phases()[0]
    model.train()
    stepper, terms = Stepper(model, recipe.training, phase), []
    with Batches(many, recipe.training.sampler, torch.device("cpu"), torch.float32) as batches:
        batches.accompany(phase.companions, 0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(250):
            terms.append(stepper.take([batches.next()], generator, 1e-3).terms)
    early, late = (np.mean([t["right"] for t in part]) for part in (terms[:20], terms[-50:]))
    assert 0.3 < early < 0.7
    assert late > 0.8
    unmoved = {k: v for k, v in model.state_dict().items() if not k.startswith("discriminator")}
    assert_same(unmoved, {k: start[k] for k in unmoved})


def test_training_together_makes_better_faces(heads, fed):
    recipe = fed(
        loss={"neutral": 1.0},
        config={"start": "mean_face", "encoder": PointEncoderConfig(channels=(16, 64))},
        steps=400,
        learning_rate=3e-3,
        schedule="cosine",
    )
    start = validate(build(recipe, heads), heads, "train")
    result = run_recipe(recipe, heads, progress=False)
    end = validate(result.model, heads, "train")
    assert end["E_avd"] < 0.6 * start["E_avd"]
    assert end["E_neu"] < 0.65 * start["E_neu"]


def test_the_published_default_is_warned_about(heads, fed, tmp_path, capsys):
    run_recipe(fed({"is_regularized": False}, steps=5), heads, tmp_path / "run", progress=False)
    said = "pre-trained with batch norm and dropout and then used without"
    assert capsys.readouterr().err.count(said) == 1
    assert said in log_of(tmp_path / "run")[0]["warnings"][0]
    for quiet in ({"is_regularized": True}, {"is_regularized": False, "pretraining_steps": 0}, {"is_used": False}):
        run_recipe(fed(quiet, steps=5), heads, progress=False)
    assert said not in capsys.readouterr().err


def test_without_a_discriminator_there_is_one_player_and_no_partner(heads, fed, tmp_path):
    run_recipe(fed({"is_used": False}), heads, tmp_path / "run", progress=False)
    checkpoint = checkpoint_of(tmp_path / "run")
    assert set(checkpoint.optimizers) == {"faces"}
    assert not any("discriminator" in name for name in checkpoint.model)
    assert set(log_of(tmp_path / "run")[-1]["terms"]) == {
        *("reconstruction", "kl_identity", "kl_expression", "roughness", "latent", "total")
    }


@pytest.mark.parametrize("precision", ["float64", "bfloat16"])
@pytest.mark.parametrize("is_regularized", [True, False])
def test_every_precision_does(heads, fed, precision, is_regularized):
    plain = run_recipe(fed({"is_regularized": is_regularized}), heads, progress=False).model
    other = run_recipe(fed({"is_regularized": is_regularized}, precision=precision), heads, progress=False).model
    scans = torch.from_numpy(heads.vertices(heads.rows("val")))
    difference = (other.decode(other.encode(scans)) - plain.decode(plain.encode(scans))).norm(dim=2).mean()
    assert difference < (0.2 if precision == "float64" else 3.0)


def test_gradients_add_up_over_accumulated_batches(heads, fed):
    run_recipe(fed(accumulation=2), heads, progress=False)
    recipe = fed({"is_used": False}, accumulation=2)
    model = build(recipe, heads).double().train()
    (phase,) = model.phases()
    with Batches(heads, recipe.training.sampler, torch.device("cpu"), torch.float64) as batches:
        pair = [batches.next(), batches.next()]
    generator = torch.Generator().manual_seed(1)
    expected = [model._draw_and_look(batch, generator) for batch in pair]
    total = sum(
        weight * model.make_faces(seen, generator)[name]
        for seen in expected
        for name, weight in phase.players[0].weights.items()
        if weight
    )
    (gradient,) = torch.autograd.grad(total / 2, [model.encoder.identity_mean.weight])
    model = build(recipe, heads).double().train()
    (phase,) = model.phases()
    Stepper(model, recipe.training, phase).take(pair, torch.Generator().manual_seed(1), rate=0.0)
    torch.testing.assert_close(model.encoder.identity_mean.weight.grad, gradient)


@pytest.mark.parametrize("broken", [("discriminator",), ("faces",), ("discriminator", "faces")])
def test_a_player_that_is_skipped_leaves_nothing_behind_and_the_other_moves(heads, fed, broken):
    recipe = fed({"pretraining_steps": 0})
    model = build(recipe, heads).train()
    (phase,) = model.phases()
    stepper = Stepper(model, recipe.training, phase)
    with Batches(heads, recipe.training.sampler, torch.device("cpu"), torch.float32) as batches:
        batches.accompany(phase.companions, 0)
        first, second = batches.next(), batches.next()
    generator = torch.Generator().manual_seed(0)
    assert stepper.take([first], generator, 1e-3).skipped == ()
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    moments = [{k: v.clone() for k, v in optimizer_tensors(stepper.optimizers[name]).items()} for name in broken]
    draw = model.draw_noise
    spoilt = {("discriminator",): "keep_pairs", ("faces",): "identity_again"}.get(broken, "identity")

    def spoiled(count, generator):
        noise = draw(count, generator)
        return noise._replace(**{spoilt: getattr(noise, spoilt) * torch.nan})

    model.draw_noise = spoiled
    skipped = stepper.take([second], generator, 1e-3).skipped
    assert {name.partition(".")[0] for name in skipped} == set(broken)
    parts = {"discriminator": ("discriminator",), "faces": ("encoder", "decoder")}
    for player, prefixes in parts.items():
        same = [torch.equal(p, kept[name]) for name, p in model.named_parameters() if name.startswith(prefixes)]
        assert all(same) if player in broken else not all(same)
    for name, before in zip(broken, moments, strict=True):
        assert_same(before, optimizer_tensors(stepper.optimizers[name]))
    assert all(value.isfinite().all() for value in model.state_dict().values())
    statistics = {part: [] for part in ("encoder", "discriminator")}
    for name, buffer in model.named_buffers():
        if "running" in name:
            statistics[name.partition(".")[0]].append(torch.equal(buffer, kept[name]))
    assert all(statistics["encoder"]) == ("faces" in broken)
    # The discriminator's move by its own pass, and by that of the faces where they are not skipped.
    assert all(statistics["discriminator"]) == (broken == ("discriminator", "faces"))


def test_rates_and_decay_of_weights_are_those_of_each_player(heads, fed):
    recipe = fed({"learning_rate": 5e-3}, learning_rate=1e-3, weight_decay=0.1, schedule="decay", decay_epochs=1)
    model = build(recipe, heads)
    before, joint = model.phases()
    stepper = Stepper(model, recipe.training, joint)
    settings = {name: optimizer.param_groups[0] for name, optimizer in stepper.optimizers.items()}
    assert {name: group["weight_decay"] for name, group in settings.items()} == {"discriminator": 0.0, "faces": 0.1}
    assert {type(optimizer) for optimizer in stepper.optimizers.values()} == {torch.optim.Adam}
    with Batches(heads, recipe.training.sampler, torch.device("cpu"), torch.float32) as batches:
        batches.accompany(joint.companions, 0)
        stepper.take([batches.next()], torch.Generator(), 0.5e-3)
    assert {name: group["lr"] for name, group in settings.items()} == {"discriminator": 2.5e-3, "faces": 0.5e-3}
    assert before.has_constant_rate
    assert before.players[0].learning_rate == 1e-4


def test_known_neutrals_and_the_bottleneck_are_used(heads, fed, tmp_path):
    loss = {"neutral": 1.0, "expression": 0.5, "divergence": "bottleneck", "kl_epochs": 3}
    run_recipe(fed(loss=loss), heads, tmp_path / "run", progress=False)
    terms = log_of(tmp_path / "run")[-1]["terms"]
    assert terms["faces.neutral"] > 0
    assert terms["faces.expression"] > 0
    model = build(fed(loss=loss), heads)
    assert model.scan_count == 20
    with Batches(heads, fed().training.sampler, torch.device("cpu"), torch.float32) as batches:
        batches.accompany(model.phases()[1].companions, 0)
        batch = batches.next()
    rest = heads.vertices(heads.neutral_row[batch.subject.numpy()])
    assert np.array_equal(batch.neutral.numpy(), rest)
    assert batch.at_rest.tolist() == [heads.expressions[e] == "neutral" for e in batch.expression.tolist()]


def test_data_that_cannot_do_what_the_recipe_asks_is_refused(shapes, fed, tmp_path):
    blind = make_heads(shapes, expression_names=["?"] * 24)
    with pytest.raises(RecipeError, match=r"config.loss.neutral is 2.0.*not tell how 5 of its.*s0, s1, s2, \.\.\."):
        run_recipe(fed(loss={"neutral": 2.0}), blind, tmp_path / "run", progress=False)
    with pytest.raises(DataError, match="neither frames nor a scan at rest"):
        run_recipe(fed(loss={"divergence": "bottleneck"}), blind, progress=False)
    lonely = make_heads(shapes, split=["train"] * 4 + ["val"] * 20)
    with pytest.raises(DataError, match=r"has 1 training subject; a discriminator that tells people apart wants two"):
        run_recipe(fed(), lonely, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    run_recipe(fed({"is_used": False}, steps=2), lonely, progress=False)
    one = SamplerConfig(kind="uniform", anchors=1, partners=0)
    with pytest.raises(RecipeError, match=r"A batch has one scan; batch norm.*training.sampler.anchors"):
        run_recipe(fed(sampler=one), make_heads(shapes), progress=False)
    with pytest.raises(RecipeError, match="pre-training of the discriminator alone takes 4"):
        run_recipe(fed(steps=4), make_heads(shapes), progress=False)


def test_fit_and_a_model_without_discriminator_cannot_go_on(heads, fed, tmp_path):
    model = FED.fit(heads, fed(steps=5))
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.discriminator is None
    with pytest.raises(RecipeError, match="no discriminator, which is kept in checkpoints only"):
        loaded.phases()
    with pytest.raises(RecipeError, match="wanted a recipe whose model is fed"):
        FED.fit(heads, dataclasses.replace(fed(), model="wsdf"))


def test_the_command_does_all_of_it(heads, tmp_path, capsys):
    heads.save(tmp_path / "faces.h5")
    given = ["train", "fed", "--data", str(tmp_path / "faces.h5"), "--out", str(tmp_path / "run"), "--set"]
    sizes = ["config.encoder.channels=[8, 16]", "config.discriminator.network.channels=[6, 12]"]
    short = ["training.minutes=null", "training.epochs=1", "config.discriminator.pretraining_steps=2"]
    assert main([*given, *sizes, *short, "training.sampler.anchors=6"]) == 0
    assert "fed, 6 steps" in capsys.readouterr().out, "2 alone, 4 make an epoch of 20 scans"
    assert load(tmp_path / "run").name == "fed"
    assert main([*given, *sizes, *short, "training.sampler.anchors=6", "--dry-run", "--overwrite"]) == 0
    assert "until 1 epochs" in capsys.readouterr().out


def test_published_recipes_are_those_of_the_facts():
    table = {
        "fed-published": (64, 5000, 3e-5, 5e-4, 0, 1e-2, 1e-2, 1e-4, False, 32, 280),
        "fed-published/facescape-neutrals": (64, 5000, 3e-5, 5e-4, 1, 1e-2, 0, 1e-4, False, 32, 280),
        "fed-published/coma": (4, 600, 5e-7, 5e-4, 0, 5e-3, 1e-2, 1e-4, False, 32, 300),
        "fed-published/coma-neutrals": (4, 5000, 3e-3, 1e-5, 5, 7e-3, 0, 1e-3, True, 32, 300),
        "fed-published/bu3dfe": (40, 250, 3e-5, 1e-3, 0, 5e-2, 10, 1e-4, False, 8, 280),
        "fed-published/bu3dfe-neutrals": (40, 250, 3e-5, 1e-3, 0.5, 5e-2, 10, 1e-4, False, 8, 280),
    }
    for name, expected in table.items():
        recipe = read_recipe(name)
        loss, judge = recipe.config.loss, recipe.config.discriminator
        assert (
            recipe.config.identity_size,
            loss.reconstruction,
            loss.kl_identity,
            loss.adversarial,
            loss.neutral,
            loss.latent,
            loss.roughness,
            judge.learning_rate,
            judge.is_regularized,
            recipe.training.sampler.batch_size,
            recipe.training.epochs,
        ) == expected
        assert loss.kl_identity == loss.kl_expression
        assert loss.expression == (0.5 if name.endswith("bu3dfe-neutrals") else 0)
        assert (loss.kl_epochs, judge.pretraining_epochs) == ((350, 50) if "coma" in name else (None, 100))
        assert recipe.config.scale_mm == (260 if "coma" in name else 156 if "bu3dfe" in name else 573)
        alone = f"{name}-no-discriminator" if "/" in name else "fed-published/facescape-no-discriminator"
        without = read_recipe(alone)
        assert without.config == dataclasses.replace(
            recipe.config, discriminator=dataclasses.replace(judge, is_used=False)
        )
        assert without.training == recipe.training


def test_a_discriminator_that_wins_is_reported_and_the_run_ends_in_a_model_that_can_be_used(
    heads, fed, tmp_path, capsys
):
    """The faces hardly move, and the discriminator learns fast what they lack."""
    network = DiscriminatorNetworkConfig(channels=(16, 32), hidden=(16, 16))
    judge = {"network": network, "pretraining_steps": 0, "is_regularized": False, "learning_rate": 3e-3}
    run_recipe(fed(judge, steps=700, learning_rate=1e-7), heads, tmp_path / "run", progress=False)
    warned = [w for row in log_of(tmp_path / "run") for w in row["warnings"]]
    assert len(warned) == 1
    assert warned[0].startswith("The discriminator has won: faces.fooled has been below 2% for 200 steps")
    assert warned[0] in capsys.readouterr().err
    with torch.no_grad():
        faces = load(tmp_path / "run").decode(Codes(torch.zeros(2, 4), torch.zeros(2, 3)))
    assert faces.isfinite().all()
