"""FED: what its faces are made of, its unit, and what each player is given."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError
from meshdisent.losses.fed import roughness
from meshdisent.mesh.laplacian import LAPLACIANS
from meshdisent.morphable.contract import Batch, Codes
from meshdisent.morphable.fed import FED
from meshdisent.morphable.fed_beginning import measure
from meshdisent.morphable.fed_config import BottleneckConfig, DiscriminatorConfig, FEDConfig, FEDLossConfig


@pytest.fixture
def config(tiny_config):
    return tiny_config["fed"]


@pytest.fixture
def model(tiny_scans, config):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FED.for_training(dataclasses.replace(config, start="random"), tiny_scans)


@pytest.fixture
def batch(tiny_scans):
    rows = tiny_scans.rows("train")[[0, 1, 5, 6, 12]]
    return Batch(
        vertices=torch.from_numpy(tiny_scans.vertices(rows)),
        subject=torch.from_numpy(tiny_scans.subject[rows]),
        expression=torch.from_numpy(tiny_scans.expression[rows]),
        rows=torch.from_numpy(rows),
        partner=torch.from_numpy(tiny_scans.vertices(rows[[1, 0, 2, 2, 4]])),
        is_same=torch.ones(5, dtype=torch.bool),
        neutral=torch.from_numpy(tiny_scans.neutrals()[0][tiny_scans.subject[rows]]),
        at_rest=torch.tensor([True, False, False, False, False]),
    )


def changed(model, **loss):
    model.config = dataclasses.replace(model.config, loss=dataclasses.replace(model.config.loss, **loss))


def seen(model, batch, seed=0):
    return model.look(batch, model.draw_noise(len(batch.rows), torch.Generator().manual_seed(seed)))


def test_a_face_is_the_mean_and_two_offsets(model, tiny_scans):
    codes = Codes(torch.randn(3, 3), torch.randn(3, 2))
    mean = torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("train")).mean(axis=0))
    sum_of_both = model.neutral(codes.identity) + model.expression_only(codes.expression) - mean
    torch.testing.assert_close(model.decode(codes), sum_of_both, rtol=0, atol=1e-4)
    others = Codes(torch.randn(3, 3), codes.expression)
    moved = [model.decode(c) - model.neutral(c.identity) for c in (codes, others)]
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=1e-4)


def test_the_unit_is_measured_about_the_middle_or_given_about_the_origin(tiny_scans):
    shown = tiny_scans.vertices(tiny_scans.rows("train"))
    away = np.float32([0, 50, -20])
    template, faces = tiny_scans.topology.template, tiny_scans.topology.faces
    shifted = ScanDataset.from_arrays(shown + away, faces, ["a"] * len(shown), template=template)
    coordinates, mean = measure(shifted, None)
    middle = shown.mean(axis=(0, 1)) + away
    assert np.allclose(coordinates.origin, middle, atol=1e-3)
    farthest = np.linalg.norm(shown + away - middle, axis=2).max()
    assert float(coordinates.scale) == pytest.approx(farthest, rel=1e-5)
    assert np.allclose(coordinates.undo(mean[None])[0], shown.mean(axis=0) + away, atol=1e-3)
    published, mean = measure(shifted, 260.0)
    assert (published.origin == 0).all()
    assert np.allclose(mean * 260, shown.mean(axis=0) + away, atol=1e-3)


def test_terms_are_those_with_a_weight(model, batch):
    def names():
        return set(model.make_faces(seen(model, batch), torch.Generator()))

    base = {"reconstruction", "kl_identity", "kl_expression"}
    full = {*base, "latent", "roughness", "adversarial", "fooled"}
    assert names() == full
    changed(model, neutral=1.0)
    assert names() == {*full, "neutral", "expression"}
    changed(model, neutral=0.0, latent=0.0, roughness=0.0, adversarial=0.0)
    assert names() == base
    weights = {player.name: player.weights for player in model.players()}
    assert {name for name, weight in weights["faces"].items() if weight} == base


def test_terms_are_written_out_by_hand(model, batch):
    changed(model, neutral=2.0, expression=3.0)
    model.eval()
    look = seen(model, batch)
    terms = model.make_faces(look, torch.Generator())
    scale, mean = model.coordinates.scale, model.coordinates.undo(model.mean[None])
    neutral = model.neutral(look.codes.identity)
    decoded = model.decode(look.codes)
    expected = {
        "reconstruction": (decoded - batch.vertices).square().mean() / scale**2,
        "neutral": (neutral - batch.neutral).square().mean() / scale**2,
        "expression": (decoded - neutral - (batch.vertices - batch.neutral)).square().mean() / scale**2,
        "roughness": roughness((neutral - mean + mean) / scale, model.laplacian),
    }
    again = model.encoder(model.coordinates(neutral))[0]
    drawn = again[0] + torch.exp(again[1] / 2) * look.noise.identity_again
    expected["latent"] = (drawn - look.codes.identity).abs().mean()
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-3, atol=1e-6)
    assert model.players()[1].weights["neutral"] == 2.0 * model.config.loss.reconstruction


def test_the_divergences_fall_with_the_epochs_of_coma(model, batch):
    first = model.make_faces(seen(model, batch), torch.Generator())
    changed(model, kl_epochs=4)
    for epoch, left in ((0, 0.75), (2, 0.25), (3, 0.0), (9, 0.0)):
        later = dataclasses.replace(batch, epoch=epoch)
        terms = model.make_faces(seen(model, later), torch.Generator())
        torch.testing.assert_close(terms["kl_identity"], left * first["kl_identity"])
        torch.testing.assert_close(terms["kl_expression"], left * first["kl_expression"])


def test_the_bottleneck_counts_the_training_scans_unless_told(tiny_scans, config, batch):
    loss = FEDLossConfig(divergence="bottleneck")
    own = FED.for_training(dataclasses.replace(config, loss=loss), tiny_scans)
    assert own.scan_count == 20
    told = FEDLossConfig(divergence="bottleneck", bottleneck=BottleneckConfig(scan_count=18424))
    model = FED.for_training(dataclasses.replace(config, loss=told), tiny_scans)
    assert model.scan_count == 18424
    free = dataclasses.replace(batch, at_rest=torch.ones(5, dtype=torch.bool))
    paid, unpaid = (model.make_faces(seen(model, b), torch.Generator())["kl_identity"] for b in (batch, free))
    assert paid > unpaid + 10


def test_the_discriminator_is_shown_scans_first_and_gives_the_faces_no_gradient(model, batch):
    look = seen(model, batch)
    shown = []
    judge = model.discriminator.plain
    model.discriminator.plain = lambda pairs: shown.append(pairs.detach()) or judge(pairs)
    model.tell_decoded_apart(look, torch.Generator())["pairs"].backward()
    assert all(p.grad is None for p in [*model.encoder.parameters(), *model.decoder.parameters()])
    assert any(p.grad is not None for p in model.discriminator.parameters())
    (pairs,) = shown
    assert pairs.shape == (10, 162, 6)
    assert torch.equal(pairs[:5, :, :3], pairs[5:, :, :3])
    assert torch.equal(pairs[:5, :, 3:], model.coordinates(batch.partner))
    assert torch.equal(pairs[5:, :, 3:], look.neutral)


def test_the_encoder_is_gone_through_twice_in_a_step(model, batch):
    calls = []
    encoder = model.encoder.forward
    model.encoder.forward = lambda scans: calls.append(len(scans)) or encoder(scans)
    look = seen(model, batch)
    model.tell_decoded_apart(look, torch.Generator())
    model.make_faces(look, torch.Generator())
    assert calls == [5, 5]


def test_dropout_keeps_its_share_and_scales_it(model):
    keep = model._draw_keep(4000, torch.Generator().manual_seed(0))
    assert set(keep.unique().tolist()) == {0.0, 2.0}
    assert keep.mean().item() == pytest.approx(1, abs=0.05)
    noise = model.draw_noise(4, torch.Generator())
    assert noise.keep_pairs is None, "used without dropout, nothing is drawn for it"


@pytest.mark.parametrize("which", sorted(LAPLACIANS))
def test_the_laplacian_is_sparse_and_follows_from_the_topology(tiny_scans, config, which, tmp_path):
    chosen = dataclasses.replace(config, loss=dataclasses.replace(config.loss, laplacian=which))
    model = FED.for_training(chosen, tiny_scans)
    expected = LAPLACIANS[which](tiny_scans.topology)
    assert model.laplacian.layout == torch.sparse_coo
    assert np.allclose(model.laplacian.to_dense(), expected.toarray(), atol=1e-6)
    assert "laplacian" not in model.state_dict()
    assert model.double().laplacian.dtype == torch.float64
    without = dataclasses.replace(config, loss=dataclasses.replace(config.loss, roughness=0.0))
    assert FED.for_training(without, tiny_scans).laplacian is None


def test_a_random_start_is_far_from_the_mean_face_and_the_other_near(tiny_scans, config):
    apart = {}
    for start in ("random", "mean_face"):
        torch.manual_seed(0)
        model = FED.for_training(dataclasses.replace(config, start=start), tiny_scans)
        offset = model.decoder(torch.randn(10, 3), torch.randn(10, 2))
        apart[start] = offset.norm(dim=2).mean().item()
    assert apart["mean_face"] == pytest.approx(0.01 * apart["random"], rel=1e-3)


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        (FEDConfig, {"identity_size": 0}, r"identity_size is 0; wanted at least 1"),
        (FEDConfig, {"scale_mm": 0.0}, r"scale_mm is 0\.0; wanted millimeters above 0"),
        (FEDLossConfig, {"latent": -1.0}, r"loss\.latent is -1\.0; wanted 0 or more"),
        (FEDLossConfig, {"reconstruction": 0.0}, r"loss\.reconstruction is 0\.0; wanted more than 0"),
        (FEDLossConfig, {"kl_epochs": 0}, r"loss\.kl_epochs is 0; wanted at least 1"),
        (DiscriminatorConfig, {"dropout": 1.0}, r"dropout is 1\.0; wanted 0 to below 1"),
        (DiscriminatorConfig, {"pretraining_steps": -1}, r"pretraining_steps -1; wanted 0 or more"),
        (DiscriminatorConfig, {"learning_rate": 0.0}, r"A learning rate of the discriminator is not above 0"),
    ],
)
def test_impossible_settings_are_refused(part, values, message):
    with pytest.raises(RecipeError, match=message):
        part(**values)


@pytest.mark.parametrize(
    ("settings", "is_pretrained"),
    [
        ({}, True),
        ({"pretraining_steps": 0}, False),
        ({"pretraining_epochs": 0}, False),
        ({"pretraining_epochs": 0, "pretraining_steps": 3}, True),
        ({"is_used": False}, False),
    ],
)
def test_steps_of_pretraining_stand_above_epochs(settings, is_pretrained):
    assert DiscriminatorConfig(**settings).is_pretrained == is_pretrained
