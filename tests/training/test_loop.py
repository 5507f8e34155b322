"""The loop: what it minimizes, what it writes, and what it does when things go wrong."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from tiny_autoencoder import TinyAutoencoder, tiny_scans

from meshdisent.errors import DataError, MeshdisentError, RecipeError, UsageError
from meshdisent.morphable.model_file import load
from meshdisent.training import under_way as loop_module
from meshdisent.training.batches import Batches
from meshdisent.training.loop import build, run_recipe, train
from meshdisent.training.recipe import Recipe, SamplerConfig, read_recipe
from meshdisent.training.step import learning_rate
from meshdisent.training.validation import validate


def same(a, b):
    """Equal keys, and equal tensors bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_learns_faces_that_are_a_sum_of_subject_and_expression(scans, recipe):
    config = {"kl_weight": 1e-4, "identity_size": 5, "expression_size": 3}
    result = run_recipe(recipe(config, steps=400, learning_rate=1e-2, schedule="cosine"), scans, progress=False)
    untrained = validate(build(recipe(config), scans), scans, "train")["E_avd"]
    assert validate(result.model, scans, "train")["E_avd"] < 0.25 * untrained
    assert (result.steps, result.stopped_because) == (400, "steps")


def test_the_same_seed_gives_the_same_weights_and_another_does_not(scans, recipe):
    before = torch.random.get_rng_state()
    first, second, other = (
        run_recipe(recipe(seed=seed), scans, progress=False).model.state_dict() for seed in (1, 1, 2)
    )
    assert same(first, second)
    assert not torch.equal(first["encoder.weight"], other["encoder.weight"])
    assert torch.equal(torch.random.get_rng_state(), before), "training must not disturb the caller's generator"


def test_one_step_is_adamw_on_the_weighted_sum_for_each_player(scans, recipe):
    """Against a step that is written out by hand."""
    settings = recipe(steps=1, weight_decay=0.1)
    expected = build(settings, scans)
    sampler = Batches(scans, settings.training.sampler, torch.device("cpu"), torch.float32)
    batch = sampler.next()
    faces = [*expected.encoder.parameters(), *expected.decoder.parameters()]
    for parameters, objective, weights in [
        (faces, expected.reconstruct, {"reconstruct": 1, "kl": 0.01, "neutral": 0.5, "fool": 0.1}),
        (list(expected.critic.parameters()), expected.judge, {"judge": 1}),
    ]:
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1)
        terms = objective(batch, torch.Generator().manual_seed(settings.seed))
        total = sum(weight * terms[name] for name, weight in weights.items())
        for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            parameter.grad = gradient
        optimizer.step()
    trained = run_recipe(settings, scans, progress=False).model
    for name, value in expected.named_parameters():
        assert torch.allclose(trained.get_parameter(name), value, atol=1e-7), name
    assert torch.allclose(trained.bank, expected.bank, atol=1e-6)


def test_accumulated_batches_count_as_one_large_batch(scans, recipe):
    """The critic's term is a mean over scans and uses no noise: two batches of 4 are one of 8 in its gradient."""
    settings = recipe(steps=1, accumulation=2, sampler=SamplerConfig(kind="uniform", anchors=4, partners=0))
    model = build(settings, scans)
    batches = Batches(scans, settings.training.sampler, torch.device("cpu"), torch.float32)
    pair = [batches.next(), batches.next()]
    stepper = loop_module.Stepper(model, settings.training)
    stepper.players = [stepper.players[1]]
    stepper.take(pair, torch.Generator(), rate=0.0)
    mean = sum(model.judge(b, torch.Generator())["judge"] for b in pair) / 2
    (expected,) = torch.autograd.grad(mean, [model.critic.weight])
    assert torch.allclose(model.critic.weight.grad, expected, rtol=1e-5)


def test_the_gradient_is_clipped_to_its_norm(scans, recipe):
    settings = recipe(gradient_clip=1e-3)
    model = build(settings, scans)
    batches = Batches(scans, settings.training.sampler, torch.device("cpu"), torch.float32)
    loop_module.Stepper(model, settings.training).take([batches.next()], torch.Generator(), rate=0.0)
    gradients = [p.grad for p in (*model.encoder.parameters(), *model.decoder.parameters())]
    assert torch.nn.utils.get_total_norm(gradients).item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16"])
def test_every_precision_trains_and_leaves_a_float32_model(scans, recipe, tmp_path, precision):
    result = run_recipe(recipe(precision=precision, steps=3), scans, tmp_path / "run", progress=False)
    assert {p.dtype for p in result.model.parameters()} == {torch.float32}
    assert same(
        {k: v for k, v in load(tmp_path / "run").state_dict().items() if not k.startswith(("bank", "critic"))},
        {k: v for k, v in result.model.state_dict().items() if not k.startswith(("bank", "critic"))},
    )


def test_a_run_folder_holds_recipe_model_log_and_checkpoint(scans, recipe, tmp_path):
    settings = recipe(steps=6, validate_steps=2)
    result = run_recipe(settings, scans, tmp_path / "run", progress=False, notes={"command": "meshdisent train x"})
    names = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert names == [
        ".lock",
        "checkpoint.previous.safetensors",
        "checkpoint.safetensors",
        "log.jsonl",
        "model.safetensors",
        "recipe.yaml",
    ]
    modes = {p.name: p.stat().st_mode for p in (tmp_path / "run").iterdir() if p.name != ".lock"}
    assert len(set(modes.values())) == 1, "a model is as readable as the recipe beside it"
    assert read_recipe(tmp_path / "run" / "recipe.yaml") == settings
    rows = log_of(tmp_path / "run")
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert set(rows[0]["terms"]) == {
        *(f"faces.{t}" for t in ("reconstruct", "kl", "neutral", "fool", "seen", "total")),
        "critic.judge",
        "critic.total",
    }
    weights = {"reconstruct": 1, "kl": 0.01, "neutral": 0.5, "fool": 0.1}
    total = sum(weight * rows[1]["terms"][f"faces.{name}"] for name, weight in weights.items())
    assert rows[1]["terms"]["faces.total"] == pytest.approx(total, rel=1e-5)
    model = load(tmp_path / "run")
    assert model.card.recipe == settings.plain()
    assert model.card.data_hash == scans.data_hash
    assert model.card.metrics == result.figures == rows[-1]["figures"]
    assert model.card.notes["steps"] == 6
    assert model.card.notes["command"] == "meshdisent train x"
    assert model.moving.sum() == round(0.3 * 30), "the model was calibrated before it was written"
    assert not torch.equal(model.identity_factor, torch.eye(2))


def test_a_model_in_closed_form_leaves_the_same_folder_without_a_loop(scans, tmp_path):
    settings = dataclasses.replace(Recipe.default("tiny_mean"), description="the mean face")
    result = run_recipe(settings, scans, tmp_path / "run", progress=False)
    assert (result.steps, result.stopped_because) == (0, "closed form")
    assert load(tmp_path / "run").card.recipe == settings.plain()
    train_mean = scans.vertices(scans.rows("train")).mean(0)
    val = scans.vertices(scans.rows("val"))
    expected = np.linalg.norm(val - train_mean, axis=2).mean()
    assert result.figures["E_avd"] == pytest.approx(expected, rel=1e-5)
    assert result.figures["E_id"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(RecipeError, match="no training section"):
        train(result.model, scans, settings)


@pytest.mark.parametrize(("figures", "best"), [([5.0, 3.0, 1.0, 2.0, 4.0], 2), ([0.5, 3.0, 1.0, 2.0, 4.0], 0)])
def test_the_best_weights_are_given_back_when_the_recipe_keeps_them(scans, recipe, monkeypatch, figures, best):
    """Also if the untrained model was the best, as one with a linear start may be."""
    coming, seen = iter(figures), []

    def pretended(model, scans, limit=None):
        if limit is None:  # the last measurement, of the model that is given back
            return {"E_avd": 0.0}
        seen.append(model.encoder.weight.detach().clone())
        return {"E_avd": next(coming)}

    monkeypatch.setattr(TinyAutoencoder, "measure", pretended)
    settings = recipe(steps=20, validate_steps=5, keep_best=True)
    result = run_recipe(settings, scans, progress=False)
    assert torch.equal(seen[0], build(settings, scans).encoder.weight)
    assert torch.equal(result.model.encoder.weight, seen[best])
    assert not torch.equal(result.model.encoder.weight, seen[4])


def test_patience_counts_validations_without_a_better_figure(scans, recipe, monkeypatch):
    figures = iter([3.0, 1.0, 2.0, 1.0, 0.5])
    monkeypatch.setattr(TinyAutoencoder, "measure", lambda *a, limit=None: {"E_avd": next(figures) if limit else 0.0})
    result = run_recipe(recipe(steps=100, validate_steps=5, patience=2), scans, progress=False)
    assert (result.steps, result.stopped_because) == (20, "patience")


def test_steps_are_taken_in_training_mode_and_figures_in_evaluation_mode(scans, recipe, monkeypatch):
    modes = []
    judge, encode = TinyAutoencoder.judge, TinyAutoencoder.encode

    def judging(self, batch, generator):
        modes.append(("step", self.training))
        return judge(self, batch, generator)

    def encoding(self, vertices):
        modes.append(("figures", self.training)) if not torch.is_grad_enabled() else None
        return encode(self, vertices)

    monkeypatch.setattr(TinyAutoencoder, "judge", judging)
    monkeypatch.setattr(TinyAutoencoder, "encode", encoding)
    run_recipe(recipe(steps=3, validate_steps=1), scans, progress=False)
    assert modes[:4] == [("step", True), ("figures", False), ("step", True), ("figures", False)]
    assert ("figures", True) not in modes


def test_minutes_end_training_by_the_clock(scans, recipe, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(loop_module, "perf_counter", lambda: float(next(clock)))
    result = run_recipe(recipe(steps=None, minutes=0.5), scans, progress=False)
    assert (result.steps, result.stopped_because) == (30, "minutes")
    assert result.seconds == 30.0


def test_the_learning_rate_rises_then_falls_to_zero(recipe):
    config = recipe(steps=200, schedule="cosine", warmup_steps=10, learning_rate=2.0).training
    rates = [learning_rate(config, step, step / 200) for step in range(201)]
    assert rates[0] == pytest.approx(0.2)
    assert np.argmax(rates) == 9
    assert all(a > b for a, b in itertools.pairwise(rates[9:]))
    assert rates[100] == pytest.approx(1.0)
    assert rates[200] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("breaks", ["loss", "gradient"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_reported(scans, recipe, tmp_path, capsys, breaks):
    """Of steps 1 to 4 the third is broken: weights and bank are those of the second until the fourth."""
    states = {}
    config = {"broken": (3, 4), "breaks": breaks}
    for steps in (2, 3, 4):
        run_recipe(recipe(config, steps=steps), scans, tmp_path / str(steps), progress=False)
        tensors, _ = loop_module.read_checkpoint(loop_module.RunFolder(tmp_path / str(steps)))[:2]
        states[steps] = tensors
    faces = ("encoder", "decoder", "bank", "mean")
    two, four = ({k: v for k, v in states[n].model.items() if k.startswith(faces)} for n in (2, 4))
    # The run of three steps ended in the middle of a bad row, so its newest checkpoint is an older, good one.
    assert states[3].counters["skipped_in_row"] == 0
    assert states[4].counters["skipped"] == 1
    assert not torch.equal(two["encoder.weight"], four["encoder.weight"])
    assert all(v.isfinite().all() for v in four.values())
    rows = log_of(tmp_path / "4")
    assert rows[-1]["skipped"] == 1
    assert math.isfinite(rows[-1]["terms"]["faces.reconstruct"])
    said = "Step 3 was skipped, since faces." + ("reconstruct" if breaks == "loss" else "gradient")
    assert any(w.startswith(said) for w in rows[-1]["warnings"])
    assert capsys.readouterr().err.count("Step 3 was skipped") == 2, "once in each run that came to it"


@pytest.mark.parametrize("breaks", ["loss", "gradient"])
def test_a_skipped_player_keeps_weights_moments_and_bank(scans, recipe, breaks):
    settings = recipe({"broken": (2, 3), "breaks": breaks})
    model = build(settings, scans)
    stepper = loop_module.Stepper(model, settings.training)
    batches = Batches(scans, settings.training.sampler, torch.device("cpu"), torch.float32)
    generator = torch.Generator().manual_seed(0)
    assert stepper.take([batches.next()], generator, 1e-3).skipped == ()
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    moments = {k: v.clone() for k, v in loop_module.optimizer_tensors(stepper.optimizers["faces"]).items()}
    report = stepper.take([batches.next()], generator, 1e-3)
    assert "faces." + ("reconstruct" if breaks == "loss" else "gradient") in report.skipped
    for name in ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias", "bank", "mean"):
        assert torch.equal(model.state_dict()[name], kept[name]), name
    assert same(moments, loop_module.optimizer_tensors(stepper.optimizers["faces"]))
    assert not torch.equal(model.critic.weight, kept["critic.weight"]), "the other player still moves"
    assert stepper.take([batches.next()], generator, 1e-3).skipped == ()


def test_ten_bad_steps_in_a_row_end_training_with_the_last_good_checkpoint(scans, recipe, tmp_path):
    settings = recipe({"broken": (5, 100)}, steps=50, checkpoint_minutes=0.0)
    with pytest.raises(MeshdisentError, match=r"stopped at step 14: 10 steps in a row .* faces\.total") as caught:
        run_recipe(settings, scans, tmp_path / "run", progress=False)
    assert caught.value.exit_code == 3
    assert "last good checkpoint is in" in str(caught.value)
    checkpoint, _, complaint = loop_module.read_checkpoint(loop_module.RunFolder(tmp_path / "run"))
    assert (checkpoint.counters["step"], complaint) == (4, "")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_gradient_that_explodes_is_reported_and_the_run_ends_in_a_model_that_can_be_used(
    scans, recipe, tmp_path, capsys
):
    settings = recipe({"broken": (40, 41), "breaks": "explosion"}, steps=120)
    quiet = run_recipe(recipe(steps=120), scans, progress=False)
    result = run_recipe(settings, scans, tmp_path / "run", progress=False)
    warned = [w for row in log_of(tmp_path / "run") for w in row["warnings"]]
    assert len(warned) == 1
    assert warned[0].startswith("Step 40: the gradient of faces is ")
    assert "training.gradient_clip=1" in warned[0]
    assert warned[0] in capsys.readouterr().err
    errors = [validate(one.model, scans, "train")["E_avd"] for one in (quiet, result)]
    assert errors[1] < 1.5 * errors[0]


def test_codes_that_collapse_are_reported_once(scans, recipe, tmp_path, capsys):
    """A huge weight pulls the posterior onto the prior."""
    settings = recipe({"kl_weight": 1e6}, steps=400, learning_rate=1e-2, schedule="cosine")
    run_recipe(settings, scans, tmp_path / "run", progress=False)
    warned = [w for row in log_of(tmp_path / "run") for w in row["warnings"]]
    assert len(warned) == 1
    assert warned[0].startswith("faces.kl has been below 0.01 for 100 steps")
    assert warned[0] in capsys.readouterr().err


def test_without_validation_scans_the_last_weights_are_kept_and_that_is_said(recipe, capsys):
    result = run_recipe(recipe(keep_best=True, patience=1, validate_steps=1), tiny_scans(val=0), progress=False)
    assert (result.figures, result.steps) == ({}, 20)
    said = capsys.readouterr().err
    assert "no validation scans" in said
    assert "Early stopping is off." in said
    assert "The last weights are kept" in said


def test_a_dataset_without_training_scans_is_refused_before_anything_is_written(recipe, tmp_path):
    scans = tiny_scans(split=["test"] * 24)
    with pytest.raises(DataError, match="no training scans"):
        run_recipe(recipe(), scans, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "split", [["train"] + ["val"] * 23, ["train"] * 4 + ["val"] * 20, ["train"] * 5 + ["val"] * 19]
)
def test_one_scan_one_subject_or_a_subject_with_one_scan_can_be_trained_on(recipe, split):
    scans = tiny_scans(split=split)
    result = run_recipe(recipe(sampler=SamplerConfig(anchors=8, partners=3)), scans, progress=False)
    assert result.steps == 20
    assert all(value.isfinite().all() for value in result.model.state_dict().values())


def test_an_unknown_device_is_refused(scans, recipe):
    for device in ("tpu", "cuda" if not torch.cuda.is_available() else "mps"):
        with pytest.raises(UsageError, match="this machine has cpu"):
            run_recipe(recipe(), scans, device=device, progress=False)


def test_threads_are_set_for_the_run_and_put_back(scans, recipe, monkeypatch):
    before, during = torch.get_num_threads(), []
    monkeypatch.setattr(
        TinyAutoencoder,
        "judge",
        lambda self, batch, generator: during.append(torch.get_num_threads()) or {"judge": self.critic.weight.sum()},
    )
    run_recipe(recipe(steps=2, threads=before + 1), scans, progress=False)
    assert during == [before + 1] * 2
    assert torch.get_num_threads() == before


def test_fit_of_a_model_needs_one_line(scans, recipe):
    model = TinyAutoencoder.fit(scans, recipe(steps=2))
    assert not model.training
    assert model.card.notes["steps"] == 2
