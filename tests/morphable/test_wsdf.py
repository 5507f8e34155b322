"""What is particular to WSDF: its objective, its bank, its spaces. The published numbers are in tests/golden."""

import dataclasses

import numpy as np
import pytest
import torch

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import RecipeError
from meshdisent.morphable.contract import Batch, Codes
from meshdisent.morphable.linear_start import LinearStartConfig
from meshdisent.morphable.model_file import load
from meshdisent.morphable.wsdf import WSDF, Seen
from meshdisent.morphable.wsdf_config import BankConfig, HierarchyConfig, LossConfig, PeopleConfig, WSDFConfig
from meshdisent.nn.mixing import Pairs, draw_pairs, mix_people
from meshdisent.nn.neutral_bank import confidence
from meshdisent.nn.spiral import SpiralEncoderConfig
from meshdisent.training.recipe import Recipe, SamplerConfig, TrainingConfig
from meshdisent.training.step import Stepper

#: What a model needs that trains on synthetic people alone.
PEOPLE = {
    "people": PeopleConfig(share=1.0),
    "linear_start": LinearStartConfig(neutrals="mean"),
    "bank": BankConfig(start="mean"),
}


def made(scans, config, seed=0, **changes) -> WSDF:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return WSDF.for_training(dataclasses.replace(config, **changes), scans)


def batch_of(scans, rows) -> Batch:
    rows = np.asarray(rows)
    return Batch(
        vertices=torch.from_numpy(scans.vertices(rows)),
        subject=torch.from_numpy(scans.subject[rows]),
        expression=torch.from_numpy(scans.expression[rows]),
        rows=torch.from_numpy(rows),
    )


def noise_of(model, count, seed=0):
    return model.draw_noise(count, torch.Generator().manual_seed(seed))


@pytest.fixture
def config(tiny_config) -> WSDFConfig:
    return tiny_config["wsdf"]


@pytest.fixture
def model(tiny_scans, config):
    return made(tiny_scans, config)


def test_the_player_has_all_weights_and_the_configured_ones_of_the_losses(tiny_scans, config):
    loss = LossConfig(
        reconstruction=2.0, kl=3.0, neutral=4.0, jacobian=5.0, compactness=6.0, displacement=7.0, consistency=8.0
    )
    model = made(tiny_scans, config, loss=loss, **PEOPLE)
    (player,) = model.players()
    assert list(player.parameters()) == list(model.parameters())
    weights = {"reconstruction": 2.0, "kl_identity": 3.0, "kl_expression": 3.0}
    weights |= {"neutral": 4.0, "jacobian": 5.0, "compactness": 6.0, "displacement": 7.0, "consistency": 8.0}
    assert player.weights == weights
    terms = player.objective(batch_of(tiny_scans, range(16)), torch.Generator().manual_seed(0))
    assert terms.keys() == player.weights.keys()
    assert all(term.isfinite() and term.shape == () for term in terms.values())


def test_terms_of_weight_zero_are_not_computed(tiny_scans, config):
    model = made(tiny_scans, config, loss=LossConfig(neutral=0.0, jacobian=0.0, compactness=0.0))
    terms = model.objective(batch_of(tiny_scans, range(8)), noise_of(model, 8))
    assert terms.keys() == {"reconstruction", "kl_identity", "kl_expression"}


@pytest.mark.parametrize("term", ["neutral", "displacement", "consistency"])
def test_each_term_of_the_neutral_is_there_alone(tiny_scans, config, term):
    silent = {"reconstruction": 0.0, "neutral": 0.0, "jacobian": 0.0, "compactness": 0.0}
    model = made(tiny_scans, config, loss=LossConfig(**silent | {term: 1.0}), **PEOPLE)
    terms = model.objective(batch_of(tiny_scans, range(8)), noise_of(model, 8))
    assert terms.keys() == {"reconstruction", "kl_identity", "kl_expression", term}


def test_noise_is_drawn_in_the_published_order(model):
    noise = noise_of(model, 8, seed=5)
    again = torch.Generator().manual_seed(5)
    for part, shape in zip(noise, ((8, 3), (8, 2), (2, 3)), strict=True):
        assert torch.equal(part, torch.randn(shape, generator=again))


def test_the_jacobian_term_moves_the_decoder_only(tiny_scans, config):
    model = made(tiny_scans, config, loss=LossConfig(jacobian_lower=30.0, jacobian_upper=31.0))
    model.objective(batch_of(tiny_scans, range(16)), noise_of(model, 16))["jacobian"].backward()
    for encoder in (model.identity_encoder, model.expression_encoder):
        assert all(weight.grad is None or (weight.grad == 0).all() for weight in encoder.parameters())
    # A bias of the last layer moves f(z) and f(0) alike.
    moved = [weight for name, weight in model.decoder.named_parameters() if name != "generator.net.2.bias"]
    assert all((weight.grad != 0).any() for weight in moved)


def test_the_published_pairing_lets_the_codes_of_anchors_meet_those_of_all_scans(tiny_scans, config):
    batch, values = batch_of(tiny_scans, [0, 5, 10, 15, 1, 2, 3, 4]), {}
    for pairing in ("same_scan", "published"):
        loss = LossConfig(jacobian_lower=30.0, jacobian_upper=31.0, pairing=pairing)
        model = made(tiny_scans, config, loss=loss)
        noise = noise_of(model, 8)
        values[pairing] = model.objective(batch, noise)["jacobian"].item()
    assert values["same_scan"] != values["published"]
    # In a batch of one scan eight times without noise all pairs are the same.
    batch = batch_of(tiny_scans, [3] * 8)
    for pairing in ("same_scan", "published"):
        model = made(tiny_scans, config, loss=LossConfig(jacobian_lower=30.0, jacobian_upper=31.0, pairing=pairing))
        silent = type(noise)(*(torch.zeros_like(part) for part in noise))
        values[pairing] = model.objective(batch, silent)["jacobian"].item()
    assert values["same_scan"] == pytest.approx(values["published"], rel=1e-6)


def test_the_bank_starts_at_the_mean_scan_or_at_each_subjects_center(tiny_scans, config):
    rows = tiny_scans.rows("train")
    mean = tiny_scans.vertices(rows).mean(axis=0)
    entries = made(tiny_scans, config).bank.entries.numpy()
    np.testing.assert_allclose(entries, np.broadcast_to(mean, (6, 162, 3)), atol=1e-4)
    entries = made(tiny_scans, config, bank=BankConfig(start="mean")).bank.entries.numpy()
    for subject in range(4):
        own = tiny_scans.vertices(rows[tiny_scans.subject[rows] == subject])
        np.testing.assert_allclose(entries[subject], own.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(entries[4:], np.broadcast_to(mean, (2, 162, 3)), atol=1e-4)


@torch.no_grad()
def test_a_step_moves_the_entries_of_its_subjects_towards_their_reconstructions(tiny_scans, config):
    model = made(tiny_scans, config, bank=BankConfig(start="mean", beta=0.75))
    before = model.bank.entries.clone()
    batch = batch_of(tiny_scans, [0, 1, 2, 10])  # three scans of subject 0, one of subject 2
    noise = noise_of(model, 4)
    posterior = model.posterior(batch.vertices)
    sampled = Codes(
        posterior.identity[0] + torch.exp(posterior.identity[1] / 2) * noise.identity,
        posterior.expression[0] + torch.exp(posterior.expression[1] / 2) * noise.expression,
    )
    decoded = model.decode(sampled)
    model.objective(batch, noise)
    after = model.bank.entries
    assert torch.equal(after[[1, 3, 4, 5]], before[[1, 3, 4, 5]])
    torch.testing.assert_close(after[0], 0.75 * before[0] + 0.25 * decoded[:3].mean(dim=0))
    torch.testing.assert_close(after[2], 0.75 * before[2] + 0.25 * decoded[3])


def test_the_neutral_term_uses_the_bank_as_it_was_before_the_step(tiny_scans, config):
    model = made(tiny_scans, config, bank=BankConfig(start="mean", beta=0.5, confidence_shift=1.0))
    batch, noise = batch_of(tiny_scans, range(8)), noise_of(model, 8)
    first = model.objective(batch, noise)["neutral"]
    assert model.objective(batch, noise)["neutral"] != first
    again = made(tiny_scans, config, bank=BankConfig(start="mean", beta=1.0, confidence_shift=1.0))
    assert again.objective(batch, noise)["neutral"] == first
    assert again.objective(batch, noise)["neutral"] == first


def test_confidence_comes_from_the_number_of_training_scans(tiny_scans, config):
    model = made(tiny_scans, config, bank=BankConfig(confidence_shift=1.0))
    assert torch.equal(model.confidence, confidence(torch.tensor([5, 5, 5, 5, 0, 0]), 1.0))
    # With the published shift, subjects of five scans have no neutral term at all.
    published = made(tiny_scans, config)
    assert published.objective(batch_of(tiny_scans, range(8)), noise_of(model, 8))["neutral"] == 0


def test_mixtures_of_two_subjects_do_not_move_the_bank(tiny_scans, config):
    model = made(tiny_scans, config, bank=BankConfig(start="mean", confidence_shift=1.0))
    batch, noise = batch_of(tiny_scans, [0, 1, 5, 6]), noise_of(model, 4)
    pairs = Pairs(torch.tensor([2, 3, 0, 1]), torch.tensor([0.0, 0.0, 0.7, 0.7]))
    before = model.bank.entries.clone()
    plain = made(tiny_scans, config, bank=BankConfig(start="mean", confidence_shift=1.0)).objective(batch, noise)
    own = Seen(batch.vertices, before[batch.subject], torch.ones(4, dtype=torch.bool))
    same = model.objective(batch, noise, own)
    assert same == plain, "the batch itself, said in other words"
    assert (model.bank.entries[:2] != before[:2]).flatten(start_dim=1).any(dim=1).all()
    model.bank.entries[:] = before
    mixed = mix_people(batch.vertices, before[batch.subject], model.normalization.mean, pairs)
    terms = model.objective(batch, noise, Seen(*mixed, ~pairs.is_mixed))
    assert terms["neutral"] != plain["neutral"]
    assert terms["reconstruction"] != plain["reconstruction"]
    assert (model.bank.entries[0] != before[0]).any()
    assert torch.equal(model.bank.entries[1:], before[1:])


def seen_by_the_player(model, batch, monkeypatch):
    """What the player lets the objective look at."""
    seen = []
    monkeypatch.setattr(model, "objective", lambda batch, noise, seen_now: seen.append((noise, seen_now)) or {})
    model.players()[0].objective(batch, torch.Generator().manual_seed(0))
    return seen[0]


def test_the_player_mixes_the_configured_share(tiny_scans, config, monkeypatch):
    model, batch = made(tiny_scans, config, bank=BankConfig(start="mean"), mixing=1.0), batch_of(tiny_scans, range(20))
    noise, seen = seen_by_the_player(model, batch, monkeypatch)
    generator = torch.Generator().manual_seed(0)
    pairs = draw_pairs(batch.subject, 1.0, generator)
    assert torch.equal(seen.is_own, batch.subject == batch.subject[pairs.partner])
    assert not seen.is_own.all()
    mixed, at_rest = mix_people(batch.vertices, model.bank(batch.subject), model.normalization.mean, pairs)
    assert torch.equal(seen.scans, mixed)
    assert torch.equal(seen.at_rest, at_rest)
    assert torch.equal(noise.identity, model.draw_noise(20, generator).identity), "pairs are drawn before the noise"


@pytest.mark.parametrize(("consistency", "group"), [(0.0, 1), (1.0, 4)])
def test_the_player_shows_synthetic_people(tiny_scans, config, monkeypatch, consistency, group):
    model = made(tiny_scans, config, loss=LossConfig(consistency=consistency, group=4), **PEOPLE)
    batch = batch_of(tiny_scans, range(10))
    noise, seen = seen_by_the_player(model, batch, monkeypatch)
    generator = torch.Generator().manual_seed(0)
    scans, at_rest, _ = model.people.replace(batch.vertices, model.bank(batch.subject), 1.0, generator, group)
    assert torch.equal(seen.scans, scans)
    assert torch.equal(seen.at_rest, at_rest)
    assert not seen.is_own.any()
    assert len(at_rest.unique(dim=0)) == -(-10 // group)
    assert torch.equal(noise.identity, model.draw_noise(10, generator).identity), "people are drawn before the noise"


def test_the_player_replaces_the_configured_share_and_the_bank_follows_the_others(tiny_scans, config, monkeypatch):
    changes = PEOPLE | {"people": PeopleConfig(share=0.5), "bank": BankConfig(start="mean", beta=0.5)}
    model, batch = made(tiny_scans, config, **changes), batch_of(tiny_scans, [0, 5, 10, 15])
    with monkeypatch.context() as patch:
        _, seen = seen_by_the_player(model, batch, patch)
    assert 0 < seen.is_own.sum() < 4
    assert torch.equal(seen.scans[seen.is_own], batch.vertices[seen.is_own])
    before = model.bank.entries.clone()
    model.players()[0].objective(batch, torch.Generator().manual_seed(0))
    moved = (model.bank.entries != before).flatten(start_dim=1).any(dim=1)
    assert torch.equal(moved[:4], seen.is_own)
    assert not moved[4:].any()


def test_a_step_on_synthetic_people_alone_leaves_the_bank_as_it_is(tiny_scans, config):
    model = made(tiny_scans, config, **PEOPLE)
    before = model.bank.entries.clone()
    terms = model.players()[0].objective(batch_of(tiny_scans, range(8)), torch.Generator().manual_seed(0))
    assert torch.equal(model.bank.entries, before)
    assert all(term.isfinite() for term in terms.values())


def test_without_a_share_the_batch_itself_is_seen(tiny_scans, config, monkeypatch):
    model = made(tiny_scans, config, linear_start=LinearStartConfig(neutrals="mean", learned_from="people"))
    assert model.people is not None
    noise, seen = seen_by_the_player(model, batch_of(tiny_scans, range(8)), monkeypatch)
    assert seen is None
    assert torch.equal(noise.identity, noise_of(model, 8).identity)


def test_terms_are_measured_against_what_is_seen(tiny_scans, config):
    loss = LossConfig(displacement=1.0, consistency=1.0, space="millimeters")
    changes = PEOPLE | {"bank": BankConfig(start="mean", confidence_shift=1.0)}
    model, batch = made(tiny_scans, config, loss=loss, **changes), batch_of(tiny_scans, range(8))
    generator = torch.Generator().manual_seed(0)
    scans, at_rest = (batch.vertices + 2 * torch.randn(8, 162, 3, generator=generator) for _ in range(2))
    noise = noise_of(model, 8)
    terms = model.objective(batch, noise, Seen(scans, at_rest, torch.zeros(8, dtype=torch.bool)))
    posterior = model.posterior(scans)
    identity, expression = (mean + (spread / 2).exp() * e for (mean, spread), e in zip(posterior, noise, strict=False))
    decoded, neutral = model.decode(Codes(identity, expression)), model.neutral(identity)
    people = neutral.unflatten(0, (2, 4))
    alpha = model.confidence[batch.subject].float()
    expected = {
        "reconstruction": (decoded - scans).square().sum(dim=2).mean(),
        "neutral": (alpha[:, None] * (neutral - at_rest).square().sum(dim=2)).mean(),
        "displacement": ((decoded - neutral) - (scans - at_rest)).square().sum(dim=2).mean(),
        "consistency": (people - people.mean(dim=1, keepdim=True)).square().sum(dim=3).mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def shifted(shapes):
    """Two datasets with 42 and 162 vertices whose scans are shifted as a whole: people along x, expressions along y."""

    def dataset(subdivisions):
        vertices, faces = shapes.sphere(subdivisions)
        who, what = np.array([-3.0, 0, 1, 2]), np.array([0.0, 1, -2, 3, 1])
        shift = np.stack([np.repeat(who, 5), np.tile(what, 4), np.zeros(20)], axis=1)
        names = np.repeat(list("abcd"), 5).tolist()
        scans = 80 * vertices + shift[:, None]
        return ScanDataset.from_arrays(scans, faces, names, ["?"] * 20, split=["train"] * 20)

    return dataset(1), dataset(2)


def test_in_millimeters_no_term_depends_on_the_number_of_vertices(shifted):
    config = WSDFConfig(
        identity_size=1,
        expression_size=1,
        fused_size=4,
        hidden=(6,),
        encoder=SpiralEncoderConfig(channels=(2, 3, 4, 4, 4), feature=6),
        hierarchy=HierarchyConfig(factors=(2.0, 2.0)),
        bank=BankConfig(start="mean", confidence_shift=1.0),
        linear_start=LinearStartConfig(neutrals="mean"),
    )
    terms = {}
    for space in ("millimeters", "standardized"):
        loss = LossConfig(space=space, jacobian_lower=0.0, jacobian_upper=1e-6)
        for scans in shifted:
            model = made(scans, config, loss=loss)
            found = model.objective(batch_of(scans, range(20)), noise_of(model, 20))
            terms[space, scans.topology.vertex_count] = {name: value.item() for name, value in found.items()}
    few, many = terms["millimeters", 42], terms["millimeters", 162]
    assert few == pytest.approx(many, rel=1e-3)
    assert min(abs(value) for value in few.values()) > 1e-3, "every term is there"
    few, many = terms["standardized", 42], terms["standardized", 162]
    assert many["jacobian"] == pytest.approx(few["jacobian"] * 162 / 42, rel=1e-3)


def test_in_millimeters_the_reconstruction_is_the_mean_squared_distance(tiny_scans, config):
    model = made(tiny_scans, config, loss=LossConfig(space="millimeters"))
    model.silence_networks()
    batch = batch_of(tiny_scans, range(8))
    found = model.objective(batch, noise_of(model, 8))["reconstruction"].item()
    mean = tiny_scans.vertices(tiny_scans.rows("train")).mean(axis=0)
    assert found == pytest.approx(np.square(batch.vertices.numpy() - mean).sum(axis=2).mean(), rel=1e-4)


def test_thirty_steps_lower_the_loss(tiny_scans, config):
    model = made(tiny_scans, config)
    stepper = Stepper(model, TrainingConfig(steps=30, learning_rate=3e-3))
    generator, batch = torch.Generator().manual_seed(0), batch_of(tiny_scans, range(20))
    totals = [stepper.take([batch], generator, 3e-3).terms["total"] for _ in range(30)]
    assert np.mean(totals[-3:]) < 0.6 * np.mean(totals[:3])


def test_fit_trains_with_a_recipe_and_calibrates(tiny_scans, config):
    sampler = SamplerConfig(anchors=2, partners=3)
    recipe = Recipe(model="wsdf", config=config, training=TrainingConfig(steps=2, sampler=sampler))
    model = WSDF.fit(tiny_scans, recipe)
    assert isinstance(model, WSDF)
    assert model.moving.sum() == 49
    assert not model.training
    codes = model.encode(torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("train"))))
    torch.testing.assert_close(model.identity_mean, codes.identity.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_a_model_without_its_bank_refuses_to_be_trained(model, tiny_scans, tmp_path):
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    with pytest.raises(RecipeError, match=r"has no Neutral Bank.*cannot be trained.*--resume, or train anew"):
        loaded.objective(batch_of(tiny_scans, range(8)), noise_of(loaded, 8))


def test_a_checkpoints_state_brings_the_bank_back(model, tiny_scans):
    model.objective(batch_of(tiny_scans, range(8)), noise_of(model, 8))
    again = WSDF.from_parts(model.config_dict(), model.topology, model.state_dict())
    assert torch.equal(again.bank.entries, model.bank.entries)
    assert torch.equal(again.confidence, model.confidence)
    assert again.bank.beta == model.bank.beta


def test_the_exact_recoupler_is_another_function(tiny_scans, config):
    codes = Codes(torch.full((1, 3), 3.5), torch.full((1, 2), -3.5))
    coded, exact = (made(tiny_scans, config, exact_recoupler=choice).decode(codes) for choice in (False, True))
    assert not torch.allclose(coded, exact)


def test_too_few_subjects_for_synthetic_people_are_refused(tiny_scans, config):
    few = ScanDataset.from_arrays(
        tiny_scans.vertices(np.arange(15)),
        tiny_scans.topology.faces,
        np.repeat(list("abc"), 5).tolist(),
        ["?"] * 15,
        split=["train"] * 15,
    )
    with pytest.raises(RecipeError, match=r"there are 3 training subjects; wanted at least 4"):
        made(few, config, **PEOPLE)


def test_unknown_neutrals_are_taken_from_the_bank_when_vertices_that_move_are_sought(tiny_scans, config):
    rows = np.arange(len(tiny_scans))
    unlabeled = ScanDataset.from_arrays(
        tiny_scans.vertices(rows),
        tiny_scans.topology.faces,
        [tiny_scans.subjects[s] for s in tiny_scans.subject],
        [f"face {e}" for e in tiny_scans.expression],
        template=tiny_scans.topology.template,
        split=["train"] * 20 + ["val"] * 5 + ["test"] * 5,
    )
    assert not unlabeled.neutrals()[1].any()
    model = WSDF.for_training(config, unlabeled)
    model.bank.entries[:] = 0.0
    model.bank.entries[:, :50] = torch.from_numpy(unlabeled.vertices(rows).mean(axis=0)[:50])
    model.calibrate(unlabeled)
    assert not model.moving[:50].any(), "near their bank entries, all others are 80 mm away from theirs"
    assert int(model.moving.sum()) == round(0.3 * 162)
