"""What WSDF begins with, whatever its choices are: its linear start; and where people and coordinates come from."""

import copy
import dataclasses
import itertools

import numpy as np
import pytest
import torch

from meshdisent.data.pseudo_neutrals import pseudo_neutrals
from meshdisent.morphable import linear_start as module
from meshdisent.morphable.contract import Batch, Codes
from meshdisent.morphable.linear import mirrored_faces
from meshdisent.morphable.linear_start import LinearStartConfig, see
from meshdisent.morphable.model_file import load
from meshdisent.morphable.wsdf import WSDF
from meshdisent.morphable.wsdf_config import BankConfig, LossConfig, PeopleConfig
from meshdisent.nn.principal_encoder import PrincipalEncoderConfig
from meshdisent.nn.synthetic_people import SyntheticPeople
from meshdisent.training.recipe import TrainingConfig
from meshdisent.training.step import Stepper

#: Every choice beside every other.
CHOICES = list(
    itertools.product(
        ("added", "carried"),
        ("scans", "people"),
        ("everything", "codes_and_expressions", "expression"),
        ("spiral", "principal"),
    )
)


@pytest.fixture(autouse=True, scope="module")
def fewer_synthetic_scans():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHOWN", 300)
        yield


@pytest.fixture
def shown(tiny_scans):
    return torch.from_numpy(tiny_scans.vertices())


def chosen(scans, tiny_config, expressions, learned_from, networks_change, encoders) -> WSDF:
    """An untrained network with these choices, to be trained on synthetic people, with every term."""
    config = dataclasses.replace(
        tiny_config["wsdf"],
        encoders=encoders,
        principal=PrincipalEncoderConfig(components=20, hidden=(7,)),
        linear_start=LinearStartConfig(
            neutrals="median",
            expressions=expressions,
            learned_from=learned_from,
            networks_change=networks_change,
        ),
        people=PeopleConfig(share=1.0),
        bank=BankConfig(start="median", confidence_shift=1.0),
        loss=LossConfig(
            space="millimeters", displacement=1.0, consistency=1.0, jacobian_lower=50.0, jacobian_upper=51.0
        ),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WSDF.for_training(config, scans).eval()


@pytest.fixture(scope="module", params=CHOICES, ids="-".join)
def network(request, tiny_scans, tiny_config):
    return chosen(tiny_scans, tiny_config, *request.param)


def trained(network, scans, steps=2):
    network = copy.deepcopy(network)
    rows = scans.rows("train")
    batch = Batch(
        vertices=torch.from_numpy(scans.vertices(rows)),
        subject=torch.from_numpy(scans.subject[rows]),
        expression=torch.from_numpy(scans.expression[rows]),
        rows=torch.from_numpy(rows),
    )
    stepper, generator = Stepper(network, TrainingConfig(steps=steps, learning_rate=1e-2)), torch.Generator()
    for _ in range(steps):
        assert stepper.take([batch], generator.manual_seed(0), 1e-2).skipped == ()
    return network


@torch.no_grad()
def test_whatever_is_chosen_an_untrained_network_is_its_linear_start(network, shown):
    start = network.linear_start
    codes, linear_codes = network.encode(shown), start.encode(shown)
    assert torch.equal(codes.identity, linear_codes.identity)
    assert torch.equal(codes.expression, linear_codes.expression)
    assert torch.equal(network.decode(codes), start.decode(codes))
    assert torch.equal(network.neutral(codes.identity), start.neutral(codes.identity))
    torch.testing.assert_close(network.displacement(codes), start.displacement(codes), rtol=0, atol=5e-5)
    assert (network.posterior(shown).identity[1] == -4.0).all()


def test_whatever_is_chosen_two_steps_move_all_weights_and_keep_what_was_promised(network, tiny_scans, shown):
    change = network.config.linear_start.networks_change
    after, start = trained(network, tiny_scans), network.linear_start
    for name, weight in after.named_parameters():
        if name.endswith("conv.linear.bias") or (after.is_neutral_linear and name == "decoder.generator.net.2.bias"):
            continue  # the norm takes it away again, or the neutral
        assert weight.isfinite().all(), name
        assert (weight != network.get_parameter(name)).any(), name
    assert all(torch.equal(a, b) for a, b in zip(after.linear_start.buffers(), start.buffers(), strict=True))
    assert torch.equal(after.bank.entries, network.bank.entries), "all scans were those of synthetic people"
    codes, linear_codes = after.encode(shown), start.encode(shown)
    assert (codes.expression != linear_codes.expression).any()
    assert torch.equal(codes.identity, linear_codes.identity) == (change == "expression")
    assert after.is_neutral_linear == (change != "everything")
    neutral = after.neutral(codes.identity)
    assert torch.equal(neutral, start.neutral(codes.identity)) == after.is_neutral_linear
    assert (after.displacement(codes) - start.displacement(codes)).abs().max() > 1e-3
    torch.testing.assert_close(after.decode(codes) - neutral, after.displacement(codes), rtol=0, atol=5e-5)
    at_rest = after.decode(Codes(codes.identity, torch.zeros_like(codes.expression)))
    torch.testing.assert_close(at_rest, neutral, rtol=0, atol=5e-5)


@torch.no_grad()
def test_whatever_is_chosen_the_networks_add_a_displacement_that_is_scaled_like_a_scan(network, shown):
    network = copy.deepcopy(network)
    torch.nn.init.normal_(network.decoder.generator.net[-1].weight, generator=torch.Generator().manual_seed(0))
    network.normalization.deviation = torch.linspace(0.5, 2.0, 486).view(162, 3)
    codes, start = network.encode(shown), network.linear_start
    added = network.decoder(*codes) * network.normalization.deviation
    if network.is_neutral_linear:
        at_rest = network.decoder(codes.identity, torch.zeros_like(codes.expression)) * network.normalization.deviation
        expected = start.neutral(codes.identity) + start.displacement(codes, added - at_rest)
    else:
        expected = start.decode(codes) + added
    assert added.abs().max() > 1
    torch.testing.assert_close(network.decode(codes), expected, rtol=0, atol=1e-4)
    displacement = expected - network.neutral(codes.identity)
    torch.testing.assert_close(network.displacement(codes), displacement, rtol=0, atol=1e-4)


def test_whatever_is_chosen_what_is_saved_is_what_is_loaded_bit_for_bit(network, tiny_scans, shown, tmp_path):
    after = trained(network, tiny_scans).eval()
    after.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert not [name for name in loaded.state_dict() if "growth" in name or "people" in name or "bank" in name]
    assert loaded.people is None
    assert loaded.config == after.config
    codes, again = after.encode(shown), loaded.encode(shown)
    assert torch.equal(codes.identity, again.identity)
    assert torch.equal(codes.expression, again.expression)
    assert torch.equal(after.decode(codes), loaded.decode(codes))
    assert torch.equal(after.neutral(codes.identity), loaded.neutral(codes.identity))
    assert torch.equal(after.displacement(codes), loaded.displacement(codes))
    after.save(tmp_path / "half.safetensors", half=True)
    halved = load(tmp_path / "half.safetensors")
    assert 0 < (halved.decode(codes) - after.decode(codes)).abs().max() < 0.1


def test_whatever_is_chosen_the_derivative_along_codes_is_that_of_finite_differences(network, shown):
    double = copy.deepcopy(network).double()
    torch.nn.init.normal_(double.decoder.generator.net[-1].weight, generator=torch.Generator().manual_seed(0))
    codes = Codes(*(code.detach()[:2] for code in double.encode(shown.double())))
    direction = tuple(torch.ones_like(code) for code in codes)
    slope = torch.func.jvp(lambda *pair: double.decode(Codes(*pair)), tuple(codes), direction)[1]
    ends = [double.decode(Codes(*(c + h * d for c, d in zip(codes, direction, strict=True)))) for h in (1e-5, -1e-5)]
    torch.testing.assert_close(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_who_learned_from_people_knows_them_better_than_what_learned_from_scans(tiny_scans, tiny_config):
    errors = {}
    for learned_from in ("scans", "people"):
        network = chosen(tiny_scans, tiny_config, "carried", learned_from, "everything", "principal")
        people = network.people.draw(200, torch.Generator().manual_seed(77))
        codes = torch.randn(200, 2, generator=torch.Generator().manual_seed(78))
        basis, start = network.linear_start.basis, network.linear_start
        found = network.encode(network.people.carry((codes @ basis[3:]).unflatten(1, (-1, 3)), people))
        away = people.neutral.flatten(start_dim=1) - start.rest
        best = away @ basis[:3].T / basis[:3].square().sum(dim=1)
        errors[learned_from] = (found.identity - best).norm().item()
    assert errors["people"] < 0.9 * errors["scans"]


def test_the_principal_encoder_sees_what_the_regression_learned_from(tiny_scans, tiny_config):
    network = chosen(tiny_scans, tiny_config, "added", "people", "everything", "principal")
    assert torch.equal(network.principal_encoder.center, network.linear_start.center)
    network = chosen(tiny_scans, tiny_config, "added", "scans", "everything", "principal")
    scans = torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("train"))).flatten(start_dim=1)
    sight = see(scans, 20)
    assert torch.equal(network.principal_encoder.center, sight.center)
    assert torch.equal(network.principal_encoder.directions, sight.directions)


def test_mirror_images_are_among_the_people_where_they_are_among_the_faces(tiny_scans, tiny_config):
    config = dataclasses.replace(
        tiny_config["wsdf"], linear_start=LinearStartConfig(neutrals="mean", mirrored=True, learned_from="people")
    )
    network = WSDF.for_training(config, tiny_scans)
    own = pseudo_neutrals(tiny_scans, "mean")[:4]
    every = np.concatenate([own, mirrored_faces(own, tiny_scans.topology)])
    expected = SyntheticPeople(every, tiny_scans.topology, mirrored=True)
    assert len(expected.basis) == 7
    for name, value in expected.named_buffers():
        assert torch.equal(network.people.get_buffer(name), value), name
    torch.testing.assert_close(network.linear_start.rest, expected.mean, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tail", [True, False])
def test_people_are_those_of_the_training_subjects(tiny_scans, tiny_config, tail):
    config = dataclasses.replace(
        tiny_config["wsdf"],
        linear_start=LinearStartConfig(neutrals="median", expressions="carried"),
        people=PeopleConfig(tail=tail),
    )
    network = WSDF.for_training(config, tiny_scans)
    expected = SyntheticPeople(pseudo_neutrals(tiny_scans, "median")[:4], tiny_scans.topology, has_tail=tail)
    for name, value in expected.named_buffers():
        assert torch.equal(network.people.get_buffer(name), value), name
    assert len(network.people.tail) == (40 if tail else 0)
